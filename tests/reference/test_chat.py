"""A suite of blocking HTTP tests for a chat with two bridges, without a sleep: what is on
its way is waited for with `Prefer: wait`. Run it with `messenger demo --once pytest`.

ROUNDS is how often each test is run, 1 by default.
"""

import http.client
import json
import os
import threading

import pytest

ONE, TWO = (os.environ[f"MESSENGER_TEST_CLIENT{n}_ADDR"] for n in (1, 2))
ROUNDS = int(os.environ.get("ROUNDS", "1"))

pytestmark = pytest.mark.parametrize("round", range(ROUNDS))


def post(bridge, path, body=None, prefer=None):
    connection = http.client.HTTPConnection(bridge, timeout=30)
    headers = {"Prefer": prefer} if prefer else {}
    connection.request("POST", path, body and json.dumps(body), headers)
    answer = connection.getresponse()
    body = json.load(answer)
    assert answer.status == 200, body
    connection.close()
    return body


def send(bridge, text, author="anna"):
    return post(bridge, "/sendMessage", {"author": author, "text": text})["sendTime"]


def flush(bridge, count=1):
    return post(bridge, "/getAndFlushMessages", prefer=f"wait=20; min={count}")


def texts(messages):
    return [message["text"] for message in messages]


def test_both_bridges_have_what_one_has_sent(round):
    time = send(ONE, f"Привет {round}", "анна")
    expected = [{"author": "анна", "text": f"Привет {round}", "sendTime": time}]
    assert flush(TWO) == expected
    assert flush(ONE) == expected


def test_all_see_one_order(round):
    senders = [
        threading.Thread(target=lambda bridge=bridge: [send(bridge, str(n)) for n in range(3)])
        for bridge in (ONE, TWO)
    ]
    for sender in senders:
        sender.start()
    one, two = flush(ONE, 6), flush(TWO, 6)
    for sender in senders:
        sender.join()
    assert one == two
    assert sorted(texts(one)) == ["0", "0", "1", "1", "2", "2"]
    times = [message["sendTime"] for message in one]
    assert times == sorted(set(times))


def test_a_flush_that_waits_is_answered_when_the_message_comes(round):
    answers = []
    waiters = [
        threading.Thread(target=lambda bridge=bridge: answers.append(texts(flush(bridge))))
        for bridge in (ONE, TWO)
    ]
    for waiter in waiters:
        waiter.start()
    send(TWO, "now")
    for waiter in waiters:
        waiter.join()
    assert answers == [["now"], ["now"]]


def test_what_was_flushed_is_gone(round):
    send(ONE, "once")
    assert texts(flush(TWO)) == texts(flush(ONE)) == ["once"]
    for bridge in (ONE, TWO):
        assert post(bridge, "/getAndFlushMessages") == []
