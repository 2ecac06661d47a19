CREATE TABLE head (
    one         integer PRIMARY KEY CHECK (one = 1),
    last_number bigint NOT NULL,
    last_time   bigint NOT NULL
);
INSERT INTO head
SELECT 1, coalesce(max(number), 0), coalesce(max(sent_at), 0) FROM messages;

CREATE TABLE senders (
    sender text   PRIMARY KEY,
    count  bigint NOT NULL
);
INSERT INTO senders
SELECT sender, max(sender_count) FROM messages GROUP BY sender;

-- Appends a batch in its order. Returns what an answer shows: up to nine
-- messages from before the batch, and the batch, without its texts, which the
-- caller has.
--
-- One call is one round trip, so that no replica waits for another's network
-- while the row of head is locked. The function is VOLATILE: with READ COMMITTED
-- each of its statements sees what was committed before that statement, so all
-- of them see what the replica wrote that had the lock before.
CREATE FUNCTION append_messages(new_senders text[], new_texts text[])
RETURNS TABLE (number bigint, sender text, text text, sent_at bigint, sender_count bigint)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    base bigint;
    now_or_last bigint;
BEGIN
    -- Locks the row until the transaction ends. clock_timestamp() is read anew
    -- for the row's newest version, so it is not from before the wait.
    UPDATE head
       SET last_number = last_number + cardinality(new_senders),
           last_time = greatest(last_time, (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint)
    RETURNING last_number - cardinality(new_senders), last_time
         INTO STRICT base, now_or_last;

    RETURN QUERY
    SELECT m.number, m.sender, m.text, m.sent_at, m.sender_count
      FROM messages m WHERE m.number <= base ORDER BY m.number DESC LIMIT 9;

    RETURN QUERY
    WITH drafts AS (
        SELECT d.sender, d.text, d.place,
               row_number() OVER (PARTITION BY d.sender ORDER BY d.place) AS nth
          FROM unnest(new_senders, new_texts) WITH ORDINALITY AS d (sender, text, place)
    ), counted AS (
        INSERT INTO senders AS s (sender, count)
        SELECT d.sender, count(*) FROM drafts d GROUP BY d.sender
        ON CONFLICT (sender) DO UPDATE SET count = s.count + excluded.count
        RETURNING s.sender, s.count
    ), added AS (
        SELECT d.sender, count(*) AS count FROM drafts d GROUP BY d.sender
    )
    INSERT INTO messages AS m (number, sender, text, sent_at, sender_count)
    SELECT base + d.place, d.sender, d.text, now_or_last, c.count - a.count + d.nth
      FROM drafts d JOIN counted c USING (sender) JOIN added a USING (sender)
    RETURNING m.number, m.sender, NULL::text, m.sent_at, m.sender_count;
END
$$;
