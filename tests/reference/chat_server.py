import os
import queue
import threading
from concurrent import futures

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

import messenger_pb2
import messenger_pb2_grpc


class MessengerServer(messenger_pb2_grpc.MessengerServerServicer):
    def __init__(self):
        self._lock = threading.Lock()
        self._queues = []

    def SendMessage(self, request, context):
        with self._lock:
            send_time = Timestamp()
            send_time.GetCurrentTime()
            message = messenger_pb2.ChatMessage(
                author=request.author,
                text=request.text,
                send_time=send_time,
            )
            for messages in self._queues:
                messages.put(message)
        return messenger_pb2.SendMessageResponse(send_time=send_time)

    def ReadMessages(self, request, context):
        messages = queue.Queue()
        with self._lock:
            self._queues.append(messages)
        try:
            while True:
                yield messages.get()
        finally:
            with self._lock:
                self._queues.remove(messages)


def main():
    port = os.environ.get('MESSENGER_SERVER_PORT', '51075')

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    messenger_pb2_grpc.add_MessengerServerServicer_to_server(MessengerServer(), server)
    server.add_insecure_port(f'0.0.0.0:{port}')
    server.start()
    server.wait_for_termination()


if __name__ == '__main__':
    main()
