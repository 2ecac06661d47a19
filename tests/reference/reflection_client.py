"""A client that knows no .proto: it asks the server what it serves, describes that,
and calls a method of it. Prints one JSON line for each."""

import json
import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)


def describe(pool, name):
    service = pool.FindServiceByName(name)
    return {method.name: method.input_type.full_name for method in service.methods}


def call(channel, pool, service, method, request):
    method = pool.FindServiceByName(service).FindMethodByName(method)
    question = message_factory.GetMessageClass(method.input_type)
    answer = message_factory.GetMessageClass(method.output_type)
    stub = channel.unary_unary(
        f'/{service}/{method.name}',
        request_serializer=question.SerializeToString,
        response_deserializer=answer.FromString,
    )
    answer = stub(json_format.ParseDict(request, question()), timeout=15)
    return json_format.MessageToDict(answer)


def main():
    server, service, method, request = sys.argv[1:]
    with grpc.insecure_channel(server) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = descriptor_pool.DescriptorPool(database)
        services = database.get_services()
        print(json.dumps(list(services)))
        print(json.dumps({name: describe(pool, name) for name in services}))
        print(json.dumps(call(channel, pool, service, method, json.loads(request))))


if __name__ == '__main__':
    main()
