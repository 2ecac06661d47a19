"""A test suite as people write one for the chat: unittest, a server and a bridge at the
addresses in MESSENGER_TEST_SERVER_ADDR and MESSENGER_TEST_CLIENT1_ADDR."""

import json
import os
import threading
import time
import unittest
import urllib.request

import grpc
from google.protobuf.empty_pb2 import Empty

import messenger_pb2
import messenger_pb2_grpc

SERVER = os.environ['MESSENGER_TEST_SERVER_ADDR']
BRIDGE = os.environ['MESSENGER_TEST_CLIENT1_ADDR']


def post(path, body=b''):
    request = urllib.request.Request(f'http://{BRIDGE}{path}', data=body, method='POST')
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def send(author, text):
    return post('/sendMessage', json.dumps({'author': author, 'text': text}).encode())


def flush_until(text):
    """All messages up to this one; the bridge gets them a moment later."""
    messages = []
    while not any(message['text'] == text for message in messages):
        messages += post('/getAndFlushMessages')
    return messages


class Chat(unittest.TestCase):
    def setUp(self):
        self.channel = grpc.insecure_channel(SERVER)
        self.stub = messenger_pb2_grpc.MessengerServerStub(self.channel)
        self.addCleanup(self.channel.close)
        flush_until(send('setup', self.id())['sendTime'] and self.id())

    def say(self, author, text):
        request = messenger_pb2.SendMessageRequest(author=author, text=text)
        return self.stub.SendMessage(request, timeout=10).send_time

    def test_answers_have_rising_times(self):
        times = [self.say('anna', str(number)).ToNanoseconds() for number in range(20)]
        self.assertEqual(times, sorted(set(times)))

    def test_a_reader_gets_all_in_order(self):
        got, ready = [], threading.Event()
        stream = self.stub.ReadMessages(Empty())

        def read():
            try:
                for message in stream:
                    got.append(message.text)
                    ready.set()
            except grpc.RpcError:
                pass

        reader = threading.Thread(target=read)
        reader.start()
        while not ready.is_set():
            self.say('marker', 'hello?')
            ready.wait(0.1)
        for number in range(50):
            self.say('anna', f'number {number}')
        deadline = time.monotonic() + 10
        while f'number 49' not in got and time.monotonic() < deadline:
            ready.wait(0.01)
        stream.cancel()
        reader.join()
        self.assertEqual(
            [text for text in got if text.startswith('number')],
            [f'number {number}' for number in range(50)],
        )

    def test_many_send_at_once(self):
        def work(name):
            for number in range(10):
                self.say(name, f'{name} {number}')

        threads = [threading.Thread(target=work, args=(f'sender{n}',)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.say('anna', 'the end')
        texts = [message['text'] for message in flush_until('the end')]
        for n in range(4):
            own = [text for text in texts if text.startswith(f'sender{n} ')]
            self.assertEqual(own, [f'sender{n} {number}' for number in range(10)])

    def test_over_the_bridge(self):
        answer = send('boris', 'naïve – приве́т')
        (message,) = [m for m in flush_until('naïve – приве́т') if m['author'] == 'boris']
        self.assertEqual(message['sendTime'], answer['sendTime'])

    def test_what_the_two_are_known_to_differ_in(self):
        with self.assertRaises(Exception):
            post('/sendMessage', b'{no json')
        with self.assertRaises(urllib.error.HTTPError):
            post('/nothing')
        with self.assertRaises(urllib.error.HTTPError):
            urllib.request.urlopen(f'http://{BRIDGE}/sendMessage', timeout=10)
        self.say('a' * 300, 'an author of 300 bytes')


if __name__ == '__main__':
    unittest.main()
