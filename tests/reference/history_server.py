"""The message log that is usually written for this task: FastAPI and asyncpg, a
transaction for each request, exact by a row lock on a counter."""

import os
from contextlib import asynccontextmanager
from datetime import timezone

import asyncpg
import uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel

SCHEMA = """
CREATE TABLE IF NOT EXISTS counter (one int PRIMARY KEY, last bigint NOT NULL, last_time timestamptz NOT NULL);
INSERT INTO counter VALUES (1, 0, 'epoch') ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS sender_counter (sender text PRIMARY KEY, count bigint NOT NULL);
CREATE TABLE IF NOT EXISTS message (
    number bigint PRIMARY KEY, sender text NOT NULL, text text NOT NULL,
    sent_at timestamptz NOT NULL, sender_count bigint NOT NULL);
"""


class Draft(BaseModel):
    sender: str
    text: str


@asynccontextmanager
async def lifespan(app):
    app.state.pool = await asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=1, max_size=25
    )
    async with app.state.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(1)")
        await connection.execute(SCHEMA)
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=lifespan)


@app.post("/")
async def append(draft: Draft, request: Request):
    async with request.app.state.pool.acquire() as connection, connection.transaction():
        number, sent_at = await connection.fetchrow(
            "UPDATE counter SET last = last + 1, last_time = greatest(last_time, clock_timestamp())"
            " RETURNING last, last_time"
        )
        count = await connection.fetchval(
            "INSERT INTO sender_counter VALUES ($1, 1)"
            " ON CONFLICT (sender) DO UPDATE SET count = sender_counter.count + 1 RETURNING count",
            draft.sender,
        )
        await connection.execute(
            "INSERT INTO message VALUES ($1, $2, $3, $4, $5)",
            number, draft.sender, draft.text, sent_at, count,
        )
        rows = await connection.fetch(
            "SELECT * FROM message WHERE number <= $1 ORDER BY number DESC LIMIT 10", number
        )
    return [
        {
            "sender": row["sender"],
            "text": row["text"],
            "sentAt": row["sent_at"].astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f000Z"),
            "number": row["number"],
            "senderCount": row["sender_count"],
        }
        for row in reversed(rows)
    ]


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning", access_log=False
    )
