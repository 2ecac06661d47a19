CREATE TABLE messages (
    number       bigint PRIMARY KEY,
    sender       text   NOT NULL,
    text         text   NOT NULL,
    sent_at      bigint NOT NULL, -- nanoseconds since 1970
    sender_count bigint NOT NULL,
    UNIQUE (sender, sender_count)
);
