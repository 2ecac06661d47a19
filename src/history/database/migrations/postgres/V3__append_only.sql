-- The log is appended to, and nothing else is changed by it: neither a row of head nor
-- one of senders. What one snapshot somewhere (pg_dump) keeps of rows that are changed
-- for each batch has to be passed by the next one, and that costs more and more.

-- Replicas of the version before that are in a transaction are waited for here, and
-- those that begin one wait in turn: so not for long.
SET LOCAL lock_timeout = '10s';

-- How far each of two things has got that are done from time to time, in small steps.
ALTER TABLE head RENAME TO progress;
ALTER TABLE progress DROP COLUMN last_time;
ALTER TABLE progress RENAME COLUMN last_number TO counted; -- the senders are counted up to here
ALTER TABLE progress ADD COLUMN gone bigint NOT NULL DEFAULT 0; -- there is none up to here

-- The senders' counts up to progress.counted.
CREATE INDEX senders_by_count ON senders (count DESC, sender);

ALTER TABLE messages ADD COLUMN key text COLLATE "C";
CREATE UNIQUE INDEX messages_key ON messages (key) WHERE key IS NOT NULL;

-- Appends a batch in its order. new_keys is NULL if nobody gave one; one that is
-- there twice violates the index.
-- Returns what an answer shows: up to nine messages from before the batch, and those of
-- the batch, without their texts, which the caller has. Before them a row for each whose
-- key is in the log already: its place in the batch, and the number that the message
-- has, or 0 if that is another one.
--
-- One call is one round trip, so that no replica waits for another's network while the
-- lock is held. The function is VOLATILE: with READ COMMITTED each of its statements
-- sees what was committed before that statement, so all after the first see what the
-- replica wrote that had the lock before.
CREATE FUNCTION append_messages(new_senders text[], new_texts text[], new_keys text[])
RETURNS TABLE (number bigint, sender text, text text, sent_at bigint, sender_count bigint, place bigint)
LANGUAGE plpgsql VOLATILE
-- Plans are made once, and have to be good also if the table was small then.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    base bigint;
    now_or_last bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'append_messages sees too little in a transaction that is %',
            current_setting('transaction_isolation') USING ERRCODE = 'invalid_transaction_state';
    END IF;
    -- 'mlog', and which table. Held until the transaction is committed.
    PERFORM pg_advisory_xact_lock((1835822951::bigint << 32) + 'messages'::regclass::oid::bigint);
    SELECT m.number, m.sent_at INTO base, now_or_last
      FROM messages m ORDER BY m.number DESC LIMIT 1;
    base := coalesce(base, 0);
    -- clock_timestamp() is not from before the wait.
    now_or_last := greatest(now_or_last, (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint);

    -- Subqueries with one row each, here and below: as a join they might read the whole
    -- table.
    IF new_keys IS NOT NULL THEN
        RETURN QUERY
        SELECT * FROM (
            SELECT (SELECT CASE WHEN m.sender = d.sender AND m.text = d.text THEN m.number ELSE 0 END
                      FROM messages m WHERE m.key = d.key) AS number,
                   NULL::text, NULL::text, NULL::bigint, NULL::bigint, d.place
              FROM unnest(new_senders, new_texts, new_keys) WITH ORDINALITY AS d (sender, text, key, place)
        ) AS known WHERE known.number IS NOT NULL;
        SELECT array_agg(d.sender ORDER BY d.place), array_agg(d.text ORDER BY d.place),
               array_agg(d.key ORDER BY d.place)
          INTO new_senders, new_texts, new_keys
          FROM unnest(new_senders, new_texts, new_keys) WITH ORDINALITY AS d (sender, text, key, place)
         WHERE (SELECT m.number FROM messages m WHERE m.key = d.key) IS NULL;
    END IF;

    RETURN QUERY
    SELECT m.number, m.sender, m.text, m.sent_at, m.sender_count, NULL::bigint
      FROM messages m WHERE m.number <= base ORDER BY m.number DESC LIMIT 9;

    RETURN QUERY
    INSERT INTO messages AS m (number, sender, text, sent_at, sender_count, key)
    SELECT base + d.place, d.sender, d.text, now_or_last,
           max(d.before) OVER (PARTITION BY d.sender) + d.nth, d.key
      FROM (
        SELECT u.sender, u.text, u.key, u.place, row_number() OVER of_sender AS nth,
               CASE row_number() OVER of_sender WHEN 1 THEN coalesce(
                   (SELECT l.sender_count FROM messages l WHERE l.sender = u.sender
                     ORDER BY l.sender_count DESC LIMIT 1),
                   (SELECT s.count FROM senders s WHERE s.sender = u.sender), 0) END AS before
          FROM unnest(new_senders, new_texts, new_keys) WITH ORDINALITY AS u (sender, text, key, place)
        WINDOW of_sender AS (PARTITION BY u.sender ORDER BY u.place)
      ) AS d
    RETURNING m.number, m.sender, NULL::text, m.sent_at, m.sender_count, NULL::bigint;
END
$$;

-- For replicas of the version before, until they are replaced.
CREATE OR REPLACE FUNCTION append_messages(new_senders text[], new_texts text[])
RETURNS TABLE (number bigint, sender text, text text, sent_at bigint, sender_count bigint)
LANGUAGE sql VOLATILE AS $$
    SELECT number, sender, text, sent_at, sender_count
      FROM append_messages(new_senders, new_texts, NULL);
$$;

-- To be called from time to time: takes at most so many of the newest messages into the
-- senders' counts, and removes at most so many of the oldest, except the newest ones,
-- those of an age in nanoseconds (either may be NULL), those that are not counted, and
-- the ten that an answer shows. Returns whether there is more to do. Does nothing while
-- another replica is at it.
CREATE FUNCTION keep_messages(most bigint, newest bigint, age bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE
-- Planned for the rows of this call: another plan may read all of the table.
SET plan_cache_mode = force_custom_plan SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    at progress;
    last bigint;
    up_to bigint;
    oldest bigint;
    removed bigint;
    since bigint := (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint - age;
BEGIN
    SELECT * INTO at FROM progress FOR UPDATE SKIP LOCKED;
    SELECT m.number INTO last FROM messages m ORDER BY m.number DESC LIMIT 1;
    IF at IS NULL OR last IS NULL THEN RETURN false; END IF;
    IF last > at.counted THEN
        up_to := least(at.counted + most, last);
        INSERT INTO senders AS s (sender, count)
        SELECT m.sender, max(m.sender_count) FROM messages m
         WHERE m.number > at.counted AND m.number <= up_to GROUP BY m.sender
            ON CONFLICT (sender) DO UPDATE SET count = excluded.count;
        UPDATE progress SET counted = up_to;
        at.counted := up_to;
    END IF;
    IF newest IS NOT NULL OR age IS NOT NULL THEN
        -- Somebody may have removed some by hand.
        SELECT m.number INTO oldest
          FROM messages m WHERE m.number > at.gone ORDER BY m.number LIMIT 1;
        up_to := least(oldest - 1 + most, at.counted, last - 10);
        SELECT max(m.number) INTO removed FROM messages m
         WHERE m.number >= oldest AND m.number <= up_to
           AND (m.number <= last - newest OR m.sent_at < since);
        IF removed IS NOT NULL THEN
            DELETE FROM messages m WHERE m.number >= oldest AND m.number <= removed;
            UPDATE progress SET gone = removed;
        END IF;
    END IF;
    RETURN at.counted < last OR coalesce(removed - oldest + 1 = most, false);
END
$$;

-- The senders with the most messages: as they were counted last, and those who have
-- sent something since.
CREATE FUNCTION senders_of_messages(most bigint) RETURNS TABLE (sender text, count bigint)
LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
    WITH since AS MATERIALIZED (
        SELECT m.sender, max(m.sender_count) AS count FROM messages m
         WHERE m.number > (SELECT p.counted FROM progress p) GROUP BY m.sender
    ), before AS MATERIALIZED (
        SELECT s.sender, s.count FROM senders s
         WHERE s.sender NOT IN (SELECT sender FROM since)
         ORDER BY s.count DESC, s.sender LIMIT most
    )
    SELECT sender, count FROM (SELECT * FROM since UNION ALL SELECT * FROM before) AS all_of_them
     ORDER BY count DESC, sender LIMIT most;
$$;
