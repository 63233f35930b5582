//! The tables beside the queues. A step already released never changes: a new version adds one.

pub const MIGRATIONS: &[&str] = &["
    CREATE TABLE claim (key BLOB PRIMARY KEY, content BLOB NOT NULL, message BLOB NOT NULL, until INTEGER NOT NULL)
        WITHOUT ROWID;

    CREATE TABLE dead (
        number INTEGER PRIMARY KEY AUTOINCREMENT, message BLOB NOT NULL UNIQUE, origin BLOB NOT NULL,
        pipeline TEXT NOT NULL, destination TEXT, key TEXT, time INTEGER NOT NULL, at INTEGER NOT NULL, headers TEXT NOT NULL,
        code TEXT NOT NULL, cause TEXT NOT NULL, step TEXT, position TEXT, attempts INTEGER NOT NULL,
        replay_queue TEXT NOT NULL, replay_message BLOB NOT NULL, replay_origin BLOB NOT NULL, replay_key TEXT,
        replay_time INTEGER NOT NULL, replay_headers TEXT NOT NULL, replay_start_at INTEGER NOT NULL, replay_due INTEGER,
        body BLOB NOT NULL, replay_body BLOB);

    CREATE TABLE journal_page (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, hops BLOB NOT NULL);
    CREATE TABLE journal_segment (id INTEGER PRIMARY KEY, last_page INTEGER NOT NULL);
    CREATE TABLE journal_index (segment INTEGER NOT NULL, hash INTEGER NOT NULL, page INTEGER NOT NULL,
        PRIMARY KEY (segment, hash, page)) WITHOUT ROWID;

    CREATE TABLE durable_row (number INTEGER PRIMARY KEY, name TEXT NOT NULL, key TEXT NOT NULL, row TEXT NOT NULL,
        time INTEGER NOT NULL, until INTEGER, UNIQUE (name, key));
    CREATE INDEX durable_row_until ON durable_row (until) WHERE until IS NOT NULL;

    CREATE TABLE grouping (number INTEGER PRIMARY KEY, pipeline TEXT NOT NULL, step TEXT NOT NULL, key TEXT NOT NULL,
        window INTEGER NOT NULL, opened INTEGER, closes INTEGER, touched INTEGER NOT NULL, UNIQUE (pipeline, step, key));
    CREATE INDEX grouping_closes ON grouping (closes) WHERE closes IS NOT NULL;
    CREATE INDEX grouping_empty ON grouping (touched) WHERE opened IS NULL;
    CREATE TABLE member (number INTEGER PRIMARY KEY, grouping INTEGER NOT NULL, message BLOB NOT NULL, value TEXT NOT NULL,
        UNIQUE (grouping, message));

    CREATE TABLE cursor (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE fact (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
", "
    ALTER TABLE claim ADD COLUMN pending INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE settled (entry BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
", "
    CREATE TABLE vault (name TEXT PRIMARY KEY, version INTEGER NOT NULL, value TEXT, holder TEXT, until INTEGER NOT NULL)
        WITHOUT ROWID;
"];
