"""Faults for chat_client.py; see faults.py."""

import json
import select
import socket
import struct
import threading

import chat_client
import messenger_pb2_grpc

# As in faults_server.py.
MARKER = 'marker'

FAULTS = {}


def plant(function):
    """Registers a fault under its name: called at the start, it changes the
    classes of the program."""
    FAULTS[function.__name__.replace('_', '-')] = function
    return function


Handler = chat_client.MessageHandler
plain_post = Handler.do_POST
plain_put = chat_client.PostBox.put_message
plain_collect = chat_client.PostBox.collect_messages
plain_bridge_send = Handler._send_message


def change_content(change):
    """The bridge acts on `change(fields)` of a send."""

    def send(self, content):
        fields = json.loads(content)
        if fields.get('author') != MARKER:
            fields = change(fields)
        return plain_bridge_send(self, json.dumps(fields))

    Handler._send_message = send


def change_postbox(change):
    """What comes into the postbox is what `change(message)` gives."""

    def put(self, message):
        messages = [message] if message.get('author') == MARKER else change(message)
        for message in messages:
            plain_put(self, message)

    chat_client.PostBox.put_message = put


def refuse_unless(accept):
    """Answers 400 to requests that `accept(handler)` does not take."""

    def post(self):
        if accept(self):
            plain_post(self)
        else:
            self.send_error(400)

    Handler.do_POST = post


def is_flush(handler):
    return handler.path == '/getAndFlushMessages'


@plant
def no_time():
    """The answer to a send says nothing."""

    def send(self, content):
        plain_bridge_send(self, content)
        return {}

    Handler._send_message = send


@plant
def twice():
    """Whatever comes in comes twice."""
    change_postbox(lambda message: [message, message])


@plant
def bridge_ascii_only():
    def change(fields):
        text = fields.get('text') or ''
        return {**fields, 'text': text.encode('ascii', 'replace').decode()}

    change_content(change)


@plant
def bridge_drop_empty():
    change_postbox(lambda message: [message] if message.get('text') else [])


@plant
def all_fields_required():
    def change(fields):
        return {'author': fields['author'], 'text': fields['text']}

    change_content(change)


@plant
def no_null():
    def change(fields):
        if None in fields.values():
            raise ValueError('null')
        return fields

    change_content(change)


@plant
def bridge_cut_at_32k():
    def change(fields):
        return {**fields, 'text': fields.get('text', '')[: 32 << 10]}

    change_content(change)


@plant
def json_alone():
    """Refuses bodies that are not called JSON."""
    json_type = 'application/json'
    refuse_unless(lambda handler: handler.headers.get('Content-Type', json_type) == json_type)


@plant
def only_own():
    """Only what was sent through this very bridge is in its flushes."""
    own = set()

    def send(self, content):
        own.add(json.loads(content).get('text', ''))
        return plain_bridge_send(self, content)

    Handler._send_message = send
    change_postbox(lambda message: [message] if message.get('text', '') in own else [])


@plant
def length_required():
    refuse_unless(lambda handler: 'Content-Length' in handler.headers)


@plant
def no_flush_body():
    refuse_unless(
        lambda handler: not is_flush(handler)
        or handler.headers.get('Content-Length', '0') == '0'
    )


@plant
def null_for_nothing():
    chat_client.PostBox.collect_messages = lambda self: plain_collect(self) or None


@plant
def double_flush():
    """The flush after a flush has its messages once more."""
    last = []

    def collect(self):
        again = list(last)
        last[:] = plain_collect(self)
        return again + last

    chat_client.PostBox.collect_messages = collect


@plant
def bridge_swapped():
    held = []

    def change(message):
        if not held:
            held.append(message)
            return []
        return [message, held.pop()]

    change_postbox(change)


@plant
def late():
    """What comes in is in a flush a fifth of a second later."""

    def put(self, message):
        threading.Timer(0.2, plain_put, [self, message]).start()

    chat_client.PostBox.put_message = put


@plant
def milliseconds():
    def change(message):
        return [{**message, 'sendTime': message['sendTime'][:23] + 'Z'}]

    change_postbox(change)


@plant
def no_http_1_0():
    refuse_unless(lambda handler: handler.request_version != 'HTTP/1.0')


@plant
def impatient():
    """Takes only what comes in few pieces."""
    plain_read = Handler._read_content

    def read(self):
        content = plain_read(self)
        info = self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        # tcpi_data_segs_in, see tcp(7) and linux/tcp.h.
        (pieces,) = struct.unpack_from('I', info, 152)
        if pieces > 3:
            raise ValueError(f'{pieces} pieces')
        return content

    Handler._read_content = read


@plant
def drops_clients():
    """Hangs up on a connection that comes while others wait."""
    Server = chat_client.HTTPServer

    def verify(self, request, client_address):
        waiting = select.select([self.socket], [], [], 0)[0]
        return not waiting

    Server.verify_request = verify


@plant
def late_subscription():
    """Subscribes with the first request, though its port is open."""
    asked = threading.Event()
    plain_run = chat_client.StreamReader.run

    def run(self):
        self.subscribed.set()
        asked.wait()
        plain_run(self)

    def post(self):
        asked.set()
        plain_post(self)

    chat_client.StreamReader.run = run
    Handler.do_POST = post


@plant
def deaf():
    """A stream that is lost is lost for ever."""

    class Module:
        def sleep(seconds):
            threading.Event().wait()

    chat_client.time = Module


@plant
def empty_left_out():
    """Empty fields are left out, as by MessageToDict."""
    change_postbox(
        lambda message: [{name: value for name, value in message.items() if value}]
    )
