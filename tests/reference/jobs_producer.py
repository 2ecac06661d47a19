"""The producer that is usually written for this task: blocking pika, persistent
messages, no confirms."""

import os
import sys

import pika


def main():
    url = os.environ.get('AMQP_URL', 'amqp://user:password@localhost:5672')
    queue = os.environ.get('TASK_QUEUE', 'task_queue')
    tasks = sys.argv[1:] or input('Tasks: ').split(',')

    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare(queue=queue, durable=True)
    for task in tasks:
        channel.basic_publish(
            exchange='',
            routing_key=queue,
            body=os.fsencode(task),
            properties=pika.BasicProperties(delivery_mode=2))
        print(f'Sent {task!r}', flush=True)
    connection.close()


if __name__ == '__main__':
    main()
