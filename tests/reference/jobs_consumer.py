"""The consumer of a task queue's tutorial: asks the gRPC server about each task, over one channel, and prints."""
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
    if len(task.split()) > 1:
        return stub.ProcessMessage(message_service_pb2.MessageRequest(text=task)).processed_text
    return stub.AssignAB(message_service_pb2.ABRequest(user_id=task)).group


def main():
    url = os.environ.get('AMQP_URL', 'amqp://user:password@localhost:5672')
    queue = os.environ.get('TASK_QUEUE', 'task_queue')
    grpc_channel = grpc.insecure_channel(os.environ.get('GRPC_TARGET', 'localhost:50051'))
    stub = message_service_pb2_grpc.MessageServiceStub(grpc_channel)

    def on_message(channel, method, properties, body):
        for task in body.decode().split(','):
            task = task.strip()
            if task:
                print(f'{task} -> {process(stub, task)}', flush=True)
        channel.basic_ack(delivery_tag=method.delivery_tag)

    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare(queue=queue, durable=True)
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue=queue, on_message_callback=on_message)
    print('Waiting for tasks', flush=True)
    channel.start_consuming()


if __name__ == '__main__':
    main()
