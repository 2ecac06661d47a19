"""A plain gRPC client for the tests: one JSON object per line on stdout.

read ADDR [--count N] [--stall-after N]
    {"opened": true}, then one line per message, and at the end the status:
    {"code": "UNAVAILABLE", "details": "..."} or {"code": "OK"}, which also
    stands at the end when --count messages have come.
    With --stall-after it prints {"stalled": true} after N messages and stops
    reading, its process alive, until a line comes in on stdin.
send ADDR AUTHOR TEXT...    one message per TEXT, one line per answer
    With --idempotency KEY each of them has this idempotency key.
health ADDR [SERVICE]       {"status": "SERVING"}

--ca FILE speaks TLS, with --cert FILE and --key FILE as a client with a certificate.

send and health end with exit code 1 and the status line when a call fails.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import grpc
from google.protobuf.empty_pb2 import Empty
from grpc_health.v1 import health_pb2, health_pb2_grpc

import messenger_pb2
import messenger_pb2_grpc


def show(**fields):
    line = (json.dumps(fields) + '\n').encode()
    # print loses the rest of a long line when SIGSTOP comes while it is written.
    while line:
        line = line[os.write(1, line):]


def show_error(error):
    show(code=error.code().name, details=error.details())


def stall():
    show(stalled=True)
    if not sys.stdin.readline():
        while True:
            time.sleep(60)


def read(channel, args):
    stream = messenger_pb2_grpc.MessengerServerStub(channel).ReadMessages(Empty())
    show(opened=True)
    seen = 0
    try:
        if args.stall_after == 0:
            stall()
        while args.count is None or seen < args.count:
            message = next(stream)
            seen += 1
            show(
                author=message.author,
                text=message.text,
                sendTime=message.send_time.ToJsonString(),
                ns=message.send_time.ToNanoseconds(),
            )
            if seen == args.stall_after:
                stall()
        stream.cancel()
        show(code='OK')
    except StopIteration:
        show(code='OK')
    except grpc.RpcError as error:
        show_error(error)
    return 0


def send(channel, args):
    stub = messenger_pb2_grpc.MessengerServerStub(channel)
    metadata = [] if args.idempotency is None else [('idempotency-key', args.idempotency)]
    for text in args.text:
        request = messenger_pb2.SendMessageRequest(author=args.author, text=text)
        try:
            send_time = stub.SendMessage(request, timeout=10, metadata=metadata).send_time
        except grpc.RpcError as error:
            show_error(error)
            return 1
        show(sendTime=send_time.ToJsonString(), ns=send_time.ToNanoseconds())
    return 0


def health(channel, args):
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service=args.service)
    try:
        status = stub.Check(request, timeout=10).status
    except grpc.RpcError as error:
        show_error(error)
        return 1
    show(status=health_pb2.HealthCheckResponse.ServingStatus.Name(status))
    return 0


def connect(args):
    if args.ca is None:
        return grpc.insecure_channel(args.address)
    files = [file and Path(file).read_bytes() for file in (args.ca, args.key, args.cert)]
    return grpc.secure_channel(args.address, grpc.ssl_channel_credentials(*files))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser('read')
    command.add_argument('address')
    command.add_argument('--count', type=int)
    command.add_argument('--stall-after', type=int)
    command.set_defaults(run=read)

    command = commands.add_parser('send')
    command.add_argument('address')
    command.add_argument('author')
    command.add_argument('text', nargs='+')
    command.add_argument('--idempotency')
    command.set_defaults(run=send)

    command = commands.add_parser('health')
    command.add_argument('address')
    command.add_argument('service', nargs='?', default='')
    command.set_defaults(run=health)

    for command in commands.choices.values():
        command.add_argument('--ca')
        command.add_argument('--cert')
        command.add_argument('--key')

    args = parser.parse_args()
    with connect(args) as channel:
        return args.run(channel, args)


if __name__ == '__main__':
    sys.exit(main())
