CREATE TABLE tasks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT,
    body BLOB NOT NULL,
    queued_at INTEGER,
    -- The process that has it now.
    owner TEXT,
    deliveries INTEGER NOT NULL DEFAULT 0,
    -- Why it is dead.
    reason TEXT,
    attempts INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX tasks_waiting ON tasks (seq) WHERE owner IS NULL AND reason IS NULL;
CREATE INDEX tasks_owned ON tasks (owner) WHERE owner IS NOT NULL;
CREATE INDEX tasks_dead ON tasks (seq) WHERE reason IS NOT NULL;
