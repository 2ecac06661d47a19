"""SendMessage with initial metadata, and on the text "fail" a status with details."""

import os
from collections import namedtuple
from concurrent import futures

import grpc

import messenger_pb2
import messenger_pb2_grpc

Status = namedtuple('Status', ['code', 'details', 'trailing_metadata'])


class Server(messenger_pb2_grpc.MessengerServerServicer):
    def SendMessage(self, request, context):
        got = dict(context.invocation_metadata())
        if request.text == 'fail':
            details = (('grpc-status-details-bin', b'\x08\x05\x12\x01x'),)
            context.abort_with_status(Status(grpc.StatusCode.NOT_FOUND, 'no such thing', details))
        context.send_initial_metadata(
            (('x-text', got.get('x-asked', '')), ('x-bytes-bin', b'\x00\xff'))
        )
        answer = messenger_pb2.SendMessageResponse()
        answer.send_time.FromNanoseconds(1_700_000_000_123_456_789)
        return answer


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    messenger_pb2_grpc.add_MessengerServerServicer_to_server(Server(), server)
    server.add_insecure_port(f'127.0.0.1:{os.environ["MESSENGER_SERVER_PORT"]}')
    server.start()
    server.wait_for_termination()


if __name__ == '__main__':
    main()
