-- The chat's order. A row is added once and never changed, so that what a snapshot
-- somewhere (pg_dump) holds on to costs nothing.
CREATE TABLE chat_messages (
    number  bigint PRIMARY KEY,     -- from 1, without gaps
    sent_at bigint NOT NULL,        -- nanoseconds since 1970; rises strictly with the number
    bytes   bigint NOT NULL,        -- of all messages up to the end of this one's batch, about
    sender  text   NOT NULL,        -- here and in the text, U+0001 is written as U+0001 '1',
    text    text   NOT NULL,        -- and U+0000, which cannot be stored, as U+0001 '0'
    key     text COLLATE "C"
);
CREATE UNIQUE INDEX chat_messages_key ON chat_messages (key) WHERE key IS NOT NULL;

-- There is no message up to this number any more.
CREATE TABLE chat_gone (number bigint NOT NULL);
INSERT INTO chat_gone VALUES (0);

-- Each promotion of a standby, which may lack the newest messages, begins an epoch.
CREATE TABLE chat_epochs (
    nth      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name     text   NOT NULL UNIQUE,
    timeline text   NOT NULL, -- of the write-ahead log
    after    bigint NOT NULL  -- the time of the last message before the epoch
);

-- Held until the transaction is committed.
CREATE FUNCTION lock_chat_messages() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'the chat sees too little in a transaction that is %: behind a pooler that drops settings, ALTER ROLE % SET default_transaction_isolation = ''read committed''',
            current_setting('transaction_isolation'), quote_ident(current_user)
            USING ERRCODE = 'invalid_transaction_state';
    END IF;
    -- Without a limit, who was given up waits for the lock for ever, and appends then.
    IF current_setting('statement_timeout') = '0' THEN
        SET LOCAL lock_timeout = '4s';
    END IF;
    -- 'mlog', and which table.
    PERFORM pg_advisory_xact_lock((1835822951::bigint << 32) + 'chat_messages'::regclass::oid::bigint);
END
$$;

-- Appends a batch in its order. new_keys is NULL if nobody gave one; one that is there
-- twice violates the index. Returns numbers and times of what is new, and before them a
-- row for each whose key is in the table already: its place in the batch, and the number
-- that the message has, or 0 if that is another one.
--
-- One call is one round trip, so that no server waits for another's network while the
-- lock is held; and what other servers wrote is not returned, since a client that does
-- not read a long answer would hold the lock meanwhile. The function is VOLATILE: with
-- READ COMMITTED each of its statements sees what was committed before that statement,
-- so all after the lock see what the server wrote that had it before.
CREATE FUNCTION append_chat_messages(new_senders text[], new_texts text[], new_keys text[])
RETURNS TABLE (number bigint, sender text, text text, sent_at bigint, sender_count bigint, place bigint)
LANGUAGE plpgsql VOLATILE
-- Plans are made once, and have to be good also if the table was small then.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    last bigint;
    first_time bigint;
    bytes_now bigint;
BEGIN
    PERFORM lock_chat_messages();
    SELECT m.number, m.sent_at, m.bytes INTO last, first_time, bytes_now
      FROM chat_messages m ORDER BY m.number DESC LIMIT 1;
    last := coalesce(last, 0);
    -- clock_timestamp() is not from before the wait.
    first_time := greatest(first_time + 1, (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint);

    -- Subqueries with one row each: as a join they might read the whole table.
    IF new_keys IS NOT NULL THEN
        RETURN QUERY
        SELECT * FROM (
            SELECT (SELECT CASE WHEN m.sender = d.sender AND m.text = d.text THEN m.number ELSE 0 END
                      FROM chat_messages m WHERE m.key = d.key) AS number,
                   NULL::text, NULL::text, NULL::bigint, NULL::bigint, d.place
              FROM unnest(new_senders, new_texts, new_keys) WITH ORDINALITY AS d (sender, text, key, place)
        ) AS known WHERE known.number IS NOT NULL;
        SELECT array_agg(d.sender ORDER BY d.place), array_agg(d.text ORDER BY d.place),
               array_agg(d.key ORDER BY d.place)
          INTO new_senders, new_texts, new_keys
          FROM unnest(new_senders, new_texts, new_keys) WITH ORDINALITY AS d (sender, text, key, place)
         WHERE (SELECT m.number FROM chat_messages m WHERE m.key = d.key) IS NULL;
        -- A commit that wrote nothing would not wait for a synchronous standby, which may
        -- lack what is known here: the primary has shown it since it came back from a crash.
        IF new_keys IS NULL THEN
            PERFORM pg_logical_emit_message(true, 'messenger', '');
        END IF;
    END IF;

    -- The arrays without their heads. To measure each text and to sum them up would cost a
    -- tenth more.
    bytes_now := coalesce(bytes_now, 0) + pg_column_size(new_senders) - 24
        + pg_column_size(new_texts) - 24 + coalesce(pg_column_size(new_keys) - 24, 0);
    RETURN QUERY
    INSERT INTO chat_messages AS m (number, sent_at, bytes, sender, text, key)
    SELECT last + d.place, first_time + d.place - 1, bytes_now, d.sender, d.text, d.key
      FROM unnest(new_senders, new_texts, new_keys) WITH ORDINALITY AS d (sender, text, key, place)
    RETURNING m.number, '', NULL::text, m.sent_at, 0::bigint, NULL::bigint;
END
$$;

-- To be called from time to time: removes at most so many of the oldest, except the
-- newest ones, those of an age in nanoseconds, the newest ones of so many bytes (each may be
-- NULL), and the last ten. Returns whether there is more to do. Does nothing while another
-- server is at it.
CREATE FUNCTION keep_chat_messages(most bigint, newest bigint, age bigint, size bigint DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE
-- Planned for the rows of this call: another plan may read all of the table.
SET plan_cache_mode = force_custom_plan SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    gone bigint;
    last bigint;
    last_bytes bigint;
    up_to bigint;
    removed bigint;
    since bigint := (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint - age;
BEGIN
    SELECT g.number INTO gone FROM chat_gone g FOR UPDATE SKIP LOCKED;
    SELECT m.number, m.bytes INTO last, last_bytes
      FROM chat_messages m ORDER BY m.number DESC LIMIT 1;
    IF gone IS NULL OR last IS NULL THEN RETURN false; END IF;
    up_to := least(gone + most, last - 10);
    SELECT max(m.number) INTO removed FROM chat_messages m
     WHERE m.number > gone AND m.number <= up_to
       AND (m.number <= last - newest OR m.sent_at < since
            -- A batch has one sum, up to its end; one large message is a batch.
            OR last_bytes - m.bytes + octet_length(m.sender) + octet_length(m.text) > size);
    IF removed IS NULL THEN RETURN false; END IF;
    DELETE FROM chat_messages m WHERE m.number > gone AND m.number <= removed;
    UPDATE chat_gone SET number = removed;
    RETURN removed - gone = most;
END
$$;

-- The number of the last message up to this time, and so the one after which a reader
-- goes on who has all up to then. No row if some of what came later is gone. Times rise
-- with the numbers, so it is found by bisection, and appends need no second index.
CREATE FUNCTION number_in_chat_messages(up_to bigint) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
    gone bigint := (SELECT g.number FROM chat_gone g);
    -- It is below `later`, and not below `found`.
    found bigint := gone;
    later bigint := 1 + coalesce((SELECT m.number FROM chat_messages m ORDER BY m.number DESC LIMIT 1), gone);
    middle bigint;
BEGIN
    WHILE later - found > 1 LOOP
        middle := (found + later) / 2;
        IF (SELECT m.sent_at FROM chat_messages m WHERE m.number = middle) <= up_to THEN
            found := middle;
        ELSE
            later := middle;
        END IF;
    END LOOP;
    IF found > gone OR gone = 0 THEN RETURN NEXT found; END IF;
END
$$;

-- All epochs, the one that is now last. One begins with a new timeline of the
-- write-ahead log, or if the caller has seen a message of a later time than there is.
-- To be called on each new connection, before anything is appended.
CREATE FUNCTION epochs_of_chat_messages(seen bigint) RETURNS TABLE (name text, after bigint)
LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
DECLARE
    timeline_now text := left(pg_walfile_name(pg_current_wal_lsn()), 8);
    last bigint;
BEGIN
    PERFORM lock_chat_messages();
    SELECT m.sent_at INTO last FROM chat_messages m ORDER BY m.number DESC LIMIT 1;
    last := coalesce(last, 0);
    INSERT INTO chat_epochs (name, timeline, after)
    SELECT replace(gen_random_uuid()::text, '-', ''), timeline_now, last
     WHERE seen > last OR timeline_now IS DISTINCT FROM
           (SELECT e.timeline FROM chat_epochs e ORDER BY e.nth DESC LIMIT 1);
    RETURN QUERY SELECT e.name, e.after FROM chat_epochs e ORDER BY e.nth;
END
$$;
