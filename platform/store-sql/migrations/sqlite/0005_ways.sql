-- What was heard of the way between a side and us (marks, reports): JSON, empty where nothing was.

ALTER TABLE records ADD COLUMN caller_way TEXT NOT NULL DEFAULT '';
ALTER TABLE records ADD COLUMN callee_way TEXT NOT NULL DEFAULT '';
