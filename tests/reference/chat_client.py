import json
import os
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict, ParseDict

import messenger_pb2
import messenger_pb2_grpc


class PostBox:
    def __init__(self):
        self._lock = threading.Lock()
        self._messages = []

    def put_message(self, message):
        with self._lock:
            self._messages.append(message)

    def collect_messages(self):
        with self._lock:
            messages = self._messages
            self._messages = []
        return messages


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
        request = ParseDict(json.loads(content), messenger_pb2.SendMessageRequest())
        return MessageToDict(self.stub.SendMessage(request))


def read_messages(stream, postbox):
    for message in stream:
        postbox.put_message(MessageToDict(message))


def main():
    grpc_server_address = os.environ.get('MESSENGER_SERVER_ADDR', 'localhost:51075')
    http_port = int(os.environ.get('MESSENGER_HTTP_PORT', '8080'))

    channel = grpc.insecure_channel(grpc_server_address)
    stub = messenger_pb2_grpc.MessengerServerStub(channel)
    postbox = PostBox()

    stream = stub.ReadMessages(Empty(), wait_for_ready=True)
    threading.Thread(target=read_messages, args=(stream, postbox), daemon=True).start()

    MessageHandler.stub = stub
    MessageHandler.postbox = postbox
    HTTPServer(('0.0.0.0', http_port), MessageHandler).serve_forever()


if __name__ == '__main__':
    main()
