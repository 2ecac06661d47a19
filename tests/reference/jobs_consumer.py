"""The consumer that is usually written for this task: blocking pika, one task at a
time, a gRPC channel for each, and the result on standard output."""

import os

import grpc
import pika

import message_service_pb2
import message_service_pb2_grpc


def process(stub, task):
    if task.startswith('fact:'):
        request = message_service_pb2.FactorialRequest(n=int(task[5:]))
        return stub.Factorial(request).result
    if task.startswith('freq:'):
        response = stub.MostFrequentLetter(message_service_pb2.TextRequest(text=task[5:]))
        return f'{response.letter} {response.count}'
    return stub.AssignAB(message_service_pb2.ABRequest(user_id=task)).group


def on_message(channel, method, properties, body):
    task = body.decode()
    with grpc.insecure_channel(os.environ.get('GRPC_TARGET', 'localhost:50051')) as grpc_channel:
        stub = message_service_pb2_grpc.MessageServiceStub(grpc_channel)
        print(f'{task} -> {process(stub, task)}', flush=True)
    channel.basic_ack(delivery_tag=method.delivery_tag)


def main():
    url = os.environ.get('AMQP_URL', 'amqp://user:password@localhost:5672')
    queue = os.environ.get('TASK_QUEUE', 'task_queue')

    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare(queue=queue, durable=True)
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue=queue, on_message_callback=on_message)
    print('Waiting for tasks', flush=True)
    channel.start_consuming()


if __name__ == '__main__':
    main()
