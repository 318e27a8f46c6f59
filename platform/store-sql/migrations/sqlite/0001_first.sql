-- Tenants, users, administrators, sign-ins, call records. Times are milliseconds since 1970.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE tenants (
    id         INTEGER PRIMARY KEY,
    domain     TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
);

CREATE TABLE users (
    id         INTEGER PRIMARY KEY,
    tenant     INTEGER NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    ha1        BLOB NOT NULL, -- sealed
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    UNIQUE (tenant, name)
);
CREATE INDEX users_version ON users (version);

-- Which users went, so that snapshots in memory can follow without reading everything.
CREATE TABLE user_removals (
    realm   TEXT NOT NULL,
    name    TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (realm, name)
) WITHOUT ROWID;
CREATE INDEX user_removals_version ON user_removals (version);

-- One row: the version of the last change to users.
CREATE TABLE user_version (value INTEGER NOT NULL);
INSERT INTO user_version VALUES (0);

CREATE TABLE admins (
    id            INTEGER PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    password_hash TEXT,
    created_at    INTEGER NOT NULL
);

CREATE TABLE links (
    hash       BLOB PRIMARY KEY,
    admin      INTEGER NOT NULL REFERENCES admins (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE sessions (
    hash         BLOB PRIMARY KEY,
    subject_kind INTEGER NOT NULL, -- 0 admin, 1 user
    subject      INTEGER NOT NULL,
    kind         INTEGER NOT NULL, -- 0 cookie, 1 bearer
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_subject ON sessions (subject_kind, subject);

CREATE TABLE records (
    call             INTEGER PRIMARY KEY, -- the bits of an unsigned number
    session_id       TEXT NOT NULL,
    call_id          TEXT NOT NULL,
    tenant           TEXT NOT NULL,
    from_uri         TEXT NOT NULL,
    to_uri           TEXT NOT NULL,
    source           TEXT NOT NULL,
    user_agent       TEXT NOT NULL,
    started_at       INTEGER NOT NULL,
    ringing_at       INTEGER,
    answered_at      INTEGER,
    ended_at         INTEGER,
    cause            TEXT NOT NULL,
    status           INTEGER NOT NULL,
    codecs           TEXT NOT NULL, -- separated by commas
    caller_codec     TEXT NOT NULL,
    caller_packets   INTEGER NOT NULL,
    caller_lost      INTEGER NOT NULL,
    caller_jitter_ms REAL NOT NULL,
    caller_bytes     INTEGER NOT NULL,
    callee_codec     TEXT NOT NULL,
    callee_packets   INTEGER NOT NULL,
    callee_lost      INTEGER NOT NULL,
    callee_jitter_ms REAL NOT NULL,
    callee_bytes     INTEGER NOT NULL,
    opened_epoch     INTEGER NOT NULL,
    opened_seq       INTEGER NOT NULL
);
CREATE INDEX records_started ON records (started_at DESC);
CREATE INDEX records_call_id ON records (call_id);
CREATE INDEX records_from ON records (from_uri, started_at);
CREATE INDEX records_to ON records (to_uri, started_at);
CREATE INDEX records_open ON records (opened_epoch, opened_seq) WHERE ended_at IS NULL;

-- How far each consumer has folded the spine of events.
CREATE TABLE positions (
    consumer TEXT PRIMARY KEY,
    epoch    INTEGER NOT NULL,
    seq      INTEGER NOT NULL
) WITHOUT ROWID;
