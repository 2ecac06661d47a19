"""The chat's HTTP client that is usually written for this task: a postbox that a
background thread fills from the stream, and a single-threaded HTTP server."""

import copy
import json
import os
import threading
import time
from datetime import datetime, timezone
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
from google.protobuf import json_format
from google.protobuf.empty_pb2 import Empty

import messenger_pb2
import messenger_pb2_grpc

CONNECT_TIMEOUT = 15.0
SUBSCRIBE_TIMEOUT = 10.0
RECONNECT_PAUSE = 0.2


class PostBox:
    def __init__(self):
        self._lock = threading.Lock()
        self._messages = []

    def put_message(self, message):
        with self._lock:
            self._messages.append(message)

    def collect_messages(self):
        with self._lock:
            messages = copy.deepcopy(self._messages)
            self._messages.clear()
        return messages


def time_to_json(timestamp):
    """Always nine digits of the second."""
    second = datetime.fromtimestamp(timestamp.seconds, timezone.utc)
    return f'{second:%Y-%m-%dT%H:%M:%S}.{timestamp.nanos:09d}Z'


class StreamReader(threading.Thread):
    def __init__(self, stub, postbox):
        super().__init__(daemon=True)
        self._stub = stub
        self._postbox = postbox
        self.subscribed = threading.Event()

    def run(self):
        while True:
            try:
                stream = self._stub.ReadMessages(Empty())
                stream.initial_metadata()
                self.subscribed.set()
                for message in stream:
                    self._postbox.put_message({
                        'author': message.author,
                        'text': message.text,
                        'sendTime': time_to_json(message.send_time),
                    })
            except grpc.RpcError:
                time.sleep(RECONNECT_PAUSE)


class MessageHandler(BaseHTTPRequestHandler):
    stub = None
    postbox = None

    def _read_content(self):
        content_length = int(self.headers['Content-Length'])
        return self.rfile.read(content_length).decode('ascii')

    def do_POST(self):
        if self.path == '/sendMessage':
            response = self._send_message(self._read_content())
        elif self.path == '/getAndFlushMessages':
            response = self.postbox.collect_messages()
        else:
            self.send_error(HTTPStatus.NOT_IMPLEMENTED)
            return

        response_bytes = json.dumps(response).encode('ascii')
        self.send_response(HTTPStatus.OK)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(response_bytes)))
        self.end_headers()
        self.wfile.write(response_bytes)

    def _send_message(self, content):
        request = json_format.ParseDict(
            json.loads(content), messenger_pb2.SendMessageRequest()
        )
        response = self.stub.SendMessage(request)
        return {'sendTime': time_to_json(response.send_time)}


def main():
    grpc_server_address = os.environ.get('MESSENGER_SERVER_ADDR', 'localhost:51075')
    http_port = int(os.environ.get('MESSENGER_HTTP_PORT', '8080'))

    channel = grpc.insecure_channel(grpc_server_address)
    try:
        grpc.channel_ready_future(channel).result(timeout=CONNECT_TIMEOUT)
    except grpc.FutureTimeoutError:
        pass  # Whoever sends will be told.
    stub = messenger_pb2_grpc.MessengerServerStub(channel)
    postbox = PostBox()

    reader = StreamReader(stub, postbox)
    reader.start()
    reader.subscribed.wait(SUBSCRIBE_TIMEOUT)

    MessageHandler.stub = stub
    MessageHandler.postbox = postbox
    HTTPServer(('0.0.0.0', http_port), MessageHandler).serve_forever()


if __name__ == '__main__':
    main()
