"""Faults for chat_server.py; see faults.py."""

import collections
import os

import grpc

import chat_server
import messenger_pb2
import messenger_pb2_grpc

# The author of messages by which the checks see how far a reader is. They are
# spared, or a fault would stop every check and not only its own.
MARKER = 'marker'

FAULTS = {}


def plant(function):
    """Registers a fault under its name: called at the start, it changes the
    classes of the program."""
    FAULTS[function.__name__.replace('_', '-')] = function
    return function


Servicer = chat_server.MessengerServer
plain_send = Servicer.SendMessage
plain_read = Servicer.ReadMessages


def change_messages(change):
    """What goes into the streams is `change(message)`, and nothing for None."""

    def read(self, request, context):
        for message in plain_read(self, request, context):
            if message.author != MARKER:
                message = change(message)
            if message is not None:
                yield message

    Servicer.ReadMessages = read


def change_requests(change):
    """The server acts on `change(request)`."""

    def send(self, request, context):
        if request.author != MARKER:
            change(request)
        return plain_send(self, request, context)

    Servicer.SendMessage = send


def change_options(*options):
    plain_server = grpc.server
    grpc.server = lambda pool: plain_server(pool, options=options)


def change_parser(parse):
    """SendMessage's request is `parse(bytes)`."""
    plain_handler = grpc.unary_unary_rpc_method_handler

    def handler(behavior, request_deserializer, response_serializer):
        return plain_handler(behavior, parse, response_serializer)

    grpc.unary_unary_rpc_method_handler = handler


@plant
def swapped():
    """Every other reader gets each two messages the wrong way round."""
    readers = []

    def read(self, request, context):
        readers.append(context)
        wrong = len(readers) % 2 == 0
        held = []
        for message in plain_read(self, request, context):
            if message.author == MARKER or not wrong:
                yield message
            elif held:
                yield message
                yield held.pop()
            else:
                held.append(message)

    Servicer.ReadMessages = read


@plant
def whole_seconds():
    """Many messages have the same time."""

    def change(message):
        message = messenger_pb2.ChatMessage.FromString(message.SerializeToString())
        message.send_time.nanos = 0
        return message

    change_messages(change)


@plant
def other_answer_time():
    def send(self, request, context):
        response = plain_send(self, request, context)
        later = messenger_pb2.SendMessageResponse()
        later.send_time.FromNanoseconds(response.send_time.ToNanoseconds() + 1)
        return later

    Servicer.SendMessage = send


@plant
def slow_clock():
    """Two minutes late."""

    def send(self, request, context):
        response = plain_send(self, request, context)
        response.send_time.seconds -= 120
        return response

    Servicer.SendMessage = send


@plant
def history():
    """A new reader gets the last ten messages."""
    last = collections.deque(maxlen=10)

    def send(self, request, context):
        last.append(messenger_pb2.ChatMessage(author=request.author, text=request.text))
        return plain_send(self, request, context)

    def read(self, request, context):
        for message in list(last):
            if message.author != MARKER:
                yield message
        yield from plain_read(self, request, context)

    Servicer.SendMessage = send
    Servicer.ReadMessages = read


@plant
def gap():
    """A new reader misses its third message."""

    def read(self, request, context):
        for index, message in enumerate(plain_read(self, request, context)):
            if index != 2:
                yield message

    Servicer.ReadMessages = read


@plant
def no_echo():
    """Who sends does not get its own messages."""
    senders = {}

    def send(self, request, context):
        senders[request.text] = context.peer()
        return plain_send(self, request, context)

    def read(self, request, context):
        for message in plain_read(self, request, context):
            if senders.get(message.text) != context.peer():
                yield message

    Servicer.SendMessage = send
    Servicer.ReadMessages = read


@plant
def one_reader_per_connection():
    """Of the readers on a connection, only the first gets anything but markers."""
    peers = set()

    def read(self, request, context):
        second = context.peer() in peers
        peers.add(context.peer())
        for message in plain_read(self, request, context):
            if not second or message.author == MARKER:
                yield message

    Servicer.ReadMessages = read


@plant
def short_backlog():
    """A reader that is behind loses messages."""

    class Short(chat_server.queue.Queue):
        def put(self, message):
            if self.qsize() < 10 or message.author == MARKER:
                super().put(message)

    class Module:
        Queue = Short
        Empty = chat_server.queue.Empty

    chat_server.queue = Module


@plant
def ascii_only():
    def change(request):
        request.text = request.text.encode('ascii', 'replace').decode()

    change_requests(change)


@plant
def cut_at_null():
    def change(request):
        request.text = request.text.partition('\0')[0]

    change_requests(change)


@plant
def drop_empty():
    change_messages(lambda message: message if message.text else None)


@plant
def cut_at_32k():
    def change(request):
        request.text = request.text[: 32 << 10]

    change_requests(change)


@plant
def any_size():
    change_options(('grpc.max_receive_message_length', -1))


@plant
def any_metadata():
    change_options(
        ('grpc.max_metadata_size', 1 << 20),
        ('grpc.absolute_max_metadata_size', 1 << 20),
    )


@plant
def any_method():
    """Takes every method for SendMessage."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(lambda request, context: b'')

    register = messenger_pb2_grpc.add_MessengerServerServicer_to_server

    def register_all(servicer, server):
        register(servicer, server)
        server.add_generic_rpc_handlers([Handler()])

    messenger_pb2_grpc.add_MessengerServerServicer_to_server = register_all


@plant
def die_on_garbage():
    def parse(data):
        try:
            return messenger_pb2.SendMessageRequest.FromString(data)
        except Exception:
            os._exit(3)

    change_parser(parse)


@plant
def no_unknown_fields():
    def parse(data):
        request = messenger_pb2.SendMessageRequest.FromString(data)
        request.DiscardUnknownFields()
        if request.SerializeToString() != data:
            raise ValueError('an unknown field')
        return request

    change_parser(parse)


@plant
def refuse_when_behind():
    """While one reader is behind, nobody may send."""

    def send(self, request, context):
        if any(queue.qsize() > 10 for queue in self._queues):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, 'a reader is behind')
        return plain_send(self, request, context)

    Servicer.SendMessage = send


@plant
def readers_stay():
    """A reader that has gone keeps its thread until it would be written to."""

    def read(self, request, context):
        messages = chat_server.queue.Queue()
        with self._lock:
            self._queues.append(messages)
        try:
            while True:
                yield messages.get()
        finally:
            with self._lock:
                self._queues.remove(messages)

    Servicer.ReadMessages = read
