-- The last number and date are those of the last message. A process of the version
-- before, which reads head, fails from here on, and stores nothing.
DROP TABLE head;
ALTER TABLE messages ADD COLUMN key TEXT;
CREATE UNIQUE INDEX messages_key ON messages (key) WHERE key IS NOT NULL;
CREATE INDEX senders_by_count ON senders (count DESC, sender);
