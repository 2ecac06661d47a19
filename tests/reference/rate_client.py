"""A plain gRPC client that calls often, for the tests: one JSON object per line.

rate_client.py ADDR [--from IP] [--token TOKEN] [--pause SECONDS] [--count N]

Calls SendMessage again and again. With --count it prints how it went after so many
calls: {"ok": 3, "refused": 1}. Without, it prints the status of the first call that
was refused, and the sums when a line comes in on stdin. The status has what
`grpc-status-details-bin` says, decoded as grpcio-status does it, and then comes that
of a stream: {"code": ..., "details": {...}}.

--from calls from another address of the loopback interface, by a relay.
"""

import argparse
import json
import socket
import sys
import threading
import time

import grpc
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2
from google.protobuf import json_format, message_factory
from google.protobuf.empty_pb2 import Empty

import messenger_pb2
import messenger_pb2_grpc

# google/rpc/status.proto and error_details.proto, as published.
DESCRIPTION = {
    'name': 'google/rpc/test.proto',
    'package': 'google.rpc',
    'syntax': 'proto3',
    'dependency': ['google/protobuf/any.proto', 'google/protobuf/duration.proto'],
    'messageType': [
        {
            'name': 'Status',
            'field': [
                {'name': 'code', 'number': 1, 'type': 'TYPE_INT32'},
                {'name': 'message', 'number': 2, 'type': 'TYPE_STRING'},
                {
                    'name': 'details',
                    'number': 3,
                    'label': 'LABEL_REPEATED',
                    'type': 'TYPE_MESSAGE',
                    'typeName': '.google.protobuf.Any',
                },
            ],
        },
        {
            'name': 'RetryInfo',
            'field': [
                {
                    'name': 'retry_delay',
                    'number': 1,
                    'type': 'TYPE_MESSAGE',
                    'typeName': '.google.protobuf.Duration',
                }
            ],
        },
    ],
}


def status_type():
    # What it depends on is in the pool once it is imported.
    assert any_pb2.DESCRIPTOR and duration_pb2.DESCRIPTOR
    pool = descriptor_pool.Default()
    file = json_format.ParseDict(DESCRIPTION, descriptor_pb2.FileDescriptorProto())
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName('google.rpc.Status'))


def show(**fields):
    print(json.dumps(fields), flush=True)


def show_status(error):
    trailers = dict(error.trailing_metadata() or ())
    details = STATUS.FromString(trailers.get('grpc-status-details-bin', b''))
    show(
        code=error.code().name,
        message=error.details(),
        details=json_format.MessageToDict(details),
    )


def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    target.close()


def relay(address, source):
    """Passes connections on from another address; returns its own."""
    host, port = address.rsplit(':', 1)
    listener = socket.create_server(('127.0.0.1', 0))

    def run():
        while True:
            client, _ = listener.accept()
            server = socket.create_connection((host, int(port)), source_address=(source, 0))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=copy, args=pair, daemon=True).start()

    threading.Thread(target=run, daemon=True).start()
    return f'127.0.0.1:{listener.getsockname()[1]}'


def calls(stub, args, metadata):
    sums = {'ok': 0, 'refused': 0}
    over = threading.Event()
    if args.count is None:
        threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
    while not over.is_set():
        request = messenger_pb2.SendMessageRequest(author='rate', text='x')
        try:
            stub.SendMessage(request, timeout=10, metadata=metadata)
            sums['ok'] += 1
        except grpc.RpcError as error:
            sums['refused'] += 1
            if args.count is None and sums['refused'] == 1:
                show_status(error)
                refused_stream(stub, metadata)
        if sums['ok'] + sums['refused'] == args.count:
            break
        over.wait(args.pause)
    show(**sums)


def refused_stream(stub, metadata):
    """Opens many at a time, until one is refused."""
    while True:
        streams = [stub.ReadMessages(Empty(), metadata=metadata) for _ in range(50)]
        time.sleep(0.2)
        over = [stream for stream in streams if not stream.is_active()]
        for stream in streams:
            stream.cancel()
        if over:
            return show_status(over[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('address')
    parser.add_argument('--from', dest='source')
    parser.add_argument('--token')
    parser.add_argument('--pause', type=float, default=0)
    parser.add_argument('--count', type=int)
    args = parser.parse_args()
    address = relay(args.address, args.source) if args.source else args.address
    metadata = [('authorization', f'Bearer {args.token}')] if args.token else []
    with grpc.insecure_channel(address) as channel:
        calls(messenger_pb2_grpc.MessengerServerStub(channel), args, metadata)


STATUS = status_type()

if __name__ == '__main__':
    main()
