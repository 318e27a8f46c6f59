-- Telephone numbers granted to users: each to one.

CREATE TABLE numbers (
    number TEXT PRIMARY KEY,
    user   INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX numbers_user ON numbers (user);
