"""A client of Subscribe, made from the .proto alone: one JSON object per line on stdout.

STACK ADDR [EPOCH NANOSECONDS]      STACK is grpcio or grpclib
    {"epoch": "...", "ns": 0, "gap": false} when the subscription is registered, then a
    line per message, and at the end the status: {"code": "...", "details": "..."}.
    With a cursor it goes on behind that place.
"""

import asyncio
import json
import sys

from subscribe_pb2 import Cursor, SubscribeRequest, SubscribeResponse


def show(**fields):
    print(json.dumps(fields), flush=True)


def show_response(response):
    if response.HasField('subscribed'):
        position, gap = response.subscribed.position, response.subscribed.gap
        show(epoch=position.epoch, ns=position.send_time.ToNanoseconds(), gap=gap)
    for message in response.messages:
        show(author=message.author, text=message.text, ns=message.send_time.ToNanoseconds())


def with_grpcio(address, request):
    import grpc
    from subscribe_pb2_grpc import ChatStub

    with grpc.insecure_channel(address) as channel:
        try:
            for response in ChatStub(channel).Subscribe(request):
                show_response(response)
        except grpc.RpcError as error:
            show(code=error.code().name, details=error.details())


async def with_grpclib(address, request):
    from grpclib.client import Channel, UnaryStreamMethod
    from grpclib.exceptions import GRPCError

    host, port = address.rsplit(':', 1)
    async with Channel(host, int(port)) as channel:
        name = '/messenger.v1.Chat/Subscribe'
        method = UnaryStreamMethod(channel, name, SubscribeRequest, SubscribeResponse)
        try:
            async with method.open() as stream:
                await stream.send_message(request, end=True)
                async for response in stream:
                    show_response(response)
        except GRPCError as error:
            show(code=error.status.name, details=error.message)


def main(stack, address, *after):
    request = SubscribeRequest()
    if after:
        cursor = Cursor(epoch=after[0])
        cursor.send_time.FromNanoseconds(int(after[1]))
        request.after.CopyFrom(cursor)
    if stack == 'grpcio':
        with_grpcio(address, request)
    else:
        asyncio.run(with_grpclib(address, request))


main(*sys.argv[1:])
