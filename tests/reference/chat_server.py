"""The chat server that is usually written for this task: a pool of threads, a
lock, and a queue for each reader."""

import os
import queue
import threading
import time
from concurrent import futures

import grpc

import messenger_pb2
import messenger_pb2_grpc


class MessengerServer(messenger_pb2_grpc.MessengerServerServicer):
    def __init__(self):
        self._lock = threading.Lock()
        self._queues = []
        self._last_time_ns = 0

    def SendMessage(self, request, context):
        with self._lock:
            now_ns = max(time.time_ns(), self._last_time_ns + 1)
            self._last_time_ns = now_ns
            message = messenger_pb2.ChatMessage(author=request.author, text=request.text)
            message.send_time.FromNanoseconds(now_ns)
            for messages in self._queues:
                copy = messenger_pb2.ChatMessage()
                copy.CopyFrom(message)
                messages.put(copy)
        return messenger_pb2.SendMessageResponse(send_time=message.send_time)

    def ReadMessages(self, request, context):
        messages = queue.Queue()
        with self._lock:
            self._queues.append(messages)
        try:
            while context.is_active():
                try:
                    message = messages.get(timeout=1.0)
                except queue.Empty:
                    continue
                yield message
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
