CREATE TABLE messages (
    number       INTEGER PRIMARY KEY,
    sender       TEXT    NOT NULL,
    text         TEXT    NOT NULL,
    sent_at      INTEGER NOT NULL, -- nanoseconds since 1970
    sender_count INTEGER NOT NULL,
    UNIQUE (sender, sender_count)
) STRICT;
