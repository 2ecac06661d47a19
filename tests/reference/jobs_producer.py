"""The producer of a task queue's tutorial: what is said is one message, a comma starts a new task."""
import os
import sys

import pika


def main():
    url = os.environ.get('AMQP_URL', 'amqp://user:password@localhost:5672')
    queue = os.environ.get('TASK_QUEUE', 'task_queue')
    message = ' '.join(sys.argv[1:]) or 'New Task!'

    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare(queue=queue, durable=True)
    channel.basic_publish(
        exchange='',
        routing_key=queue,
        body=message.encode(),
        properties=pika.BasicProperties(delivery_mode=2))
    print(f'Sent {message!r}', flush=True)
    connection.close()


if __name__ == '__main__':
    main()
