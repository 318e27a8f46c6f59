-- Why a call ended in the words of the telephone network (Q.850), and whose doing it was.

ALTER TABLE records ADD COLUMN q850 INTEGER NOT NULL DEFAULT 0;
ALTER TABLE records ADD COLUMN ended_by TEXT NOT NULL DEFAULT '';
