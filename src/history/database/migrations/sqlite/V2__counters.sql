CREATE TABLE head (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    last_number INTEGER NOT NULL,
    last_time   INTEGER NOT NULL
) STRICT;
INSERT INTO head
SELECT 1, coalesce(max(number), 0), coalesce(max(sent_at), 0) FROM messages;

CREATE TABLE senders (
    sender TEXT    PRIMARY KEY,
    count  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO senders
SELECT sender, max(sender_count) FROM messages GROUP BY sender;
