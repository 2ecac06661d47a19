"""The chat server of chat_server.py with TLS: two lines of grpcio more."""

import os
from concurrent import futures
from pathlib import Path

import grpc

import messenger_pb2_grpc
from chat_server import MessengerServer


def main():
    port = os.environ['MESSENGER_SERVER_PORT']
    key = Path(os.environ['TLS_KEY']).read_bytes()
    certificate = Path(os.environ['TLS_CERT']).read_bytes()

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    messenger_pb2_grpc.add_MessengerServerServicer_to_server(MessengerServer(), server)
    credentials = grpc.ssl_server_credentials([(key, certificate)])
    server.add_secure_port(f'127.0.0.1:{port}', credentials)
    server.start()
    server.wait_for_termination()


if __name__ == '__main__':
    main()
