"""A chat server that knows no idempotency keys, for the tests: one JSON object per
SendMessage on stdout, with the metadata that could be one. A text of "fail" gets
UNAVAILABLE, as if its connection had been lost.

keys_server.py PORT
"""

import json
import sys
import threading
from concurrent import futures

import grpc

import messenger_pb2
import messenger_pb2_grpc


class MessengerServer(messenger_pb2_grpc.MessengerServerServicer):
    def SendMessage(self, request, context):
        sent = dict(context.invocation_metadata())
        keys = {name: value for name, value in sent.items() if name.startswith('idempotency')}
        print(json.dumps({'text': request.text, 'keys': keys}), flush=True)
        if request.text == 'fail':
            context.abort(grpc.StatusCode.UNAVAILABLE, 'on purpose')
        return messenger_pb2.SendMessageResponse()

    def ReadMessages(self, request, context):
        over = threading.Event()
        context.add_callback(over.set)
        over.wait()
        yield from ()


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    messenger_pb2_grpc.add_MessengerServerServicer_to_server(MessengerServer(), server)
    server.add_insecure_port(f'127.0.0.1:{sys.argv[1]}')
    server.start()
    server.wait_for_termination()


if __name__ == '__main__':
    main()
