CREATE TABLE jobs (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    -- Not TEXT, which takes no null character.
    task BYTEA NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'done', 'failed', 'dead')),
    result TEXT,
    error TEXT,
    attempts BIGINT NOT NULL,
    worker TEXT,
    -- Times are nanoseconds since 1970.
    queued_at BIGINT,
    started_at BIGINT,
    finished_at BIGINT,
    -- What the list is sorted by: queued_at, or else started_at.
    sent_at BIGINT NOT NULL
);
CREATE INDEX jobs_by_age ON jobs (sent_at, seq);
CREATE INDEX jobs_not_done ON jobs (state, sent_at, seq) WHERE state <> 'done';
