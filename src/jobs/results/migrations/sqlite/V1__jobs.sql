CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    task BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'done', 'failed', 'dead')),
    result TEXT,
    error TEXT,
    attempts INTEGER NOT NULL,
    worker TEXT,
    -- Times are nanoseconds since 1970.
    queued_at INTEGER,
    started_at INTEGER,
    finished_at INTEGER,
    -- What the list is sorted by: queued_at, or else started_at.
    sent_at INTEGER NOT NULL
) STRICT;
CREATE INDEX jobs_by_age ON jobs (sent_at, seq);
CREATE INDEX jobs_not_done ON jobs (state, sent_at, seq) WHERE state <> 'done';
