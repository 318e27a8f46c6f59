-- When a call was recorded, and by what: steps as JSON, empty where it was not.

ALTER TABLE records ADD COLUMN recording TEXT NOT NULL DEFAULT '';
