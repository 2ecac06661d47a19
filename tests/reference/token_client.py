"""A plain gRPC client that sends a token. Prints what a message's sending brought, the
texts of a stream, and how that ended.

token_client.py ADDR TOKEN [CA]

Without CA the token is metadata of each call; with it, the channel's credentials.
"""

import sys

import grpc
from google.protobuf.empty_pb2 import Empty

import messenger_pb2
import messenger_pb2_grpc


def main():
    server, token = sys.argv[1:3]
    if len(sys.argv) == 3:
        metadata = [('authorization', f'Bearer {token}')]
        channel = grpc.insecure_channel(server)
    else:
        metadata = None
        with open(sys.argv[3], 'rb') as ca:
            tls = grpc.ssl_channel_credentials(ca.read())
        caller = grpc.access_token_call_credentials(token)
        credentials = grpc.composite_channel_credentials(tls, caller)
        channel = grpc.secure_channel(server, credentials)
    stub = messenger_pb2_grpc.MessengerServerStub(channel)
    message = messenger_pb2.SendMessageRequest(author='python', text='Hello')
    try:
        stub.SendMessage(message, metadata=metadata)
        print('sent')
    except grpc.RpcError as error:
        print(error.code().name, error.details())
    try:
        for message in stub.ReadMessages(Empty(), metadata=metadata):
            print(message.text)
    except grpc.RpcError as error:
        print(error.code().name, error.details())


if __name__ == '__main__':
    main()
