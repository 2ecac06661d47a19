"""The to-do client that is usually written for this task: a menu, and a thread that
prints what others change."""

import os
import threading

import grpc

import todo_pb2
import todo_pb2_grpc


def watch_tasks(stub):
    try:
        for update in stub.WatchTasks(todo_pb2.WatchTasksRequest()):
            task = update.task
            print(f'\n[update] {update.action}: {task.id} {task.title}', flush=True)
    except grpc.RpcError as error:
        print(f'\n[update] stream ended: {error.code().name}', flush=True)


def add_task(stub):
    title = input('Title: ')
    response = stub.AddTask(todo_pb2.AddTaskRequest(title=title))
    print(f'Added task {response.task.id}: {response.task.title}')


def list_tasks(stub):
    response = stub.GetTasks(todo_pb2.GetTasksRequest())
    if not response.tasks:
        print('No tasks')
    for task in response.tasks:
        mark = 'x' if task.completed else ' '
        print(f'[{mark}] {task.id} {task.title}')


def complete_task(stub):
    task_id = int(input('Task id: '))
    response = stub.CompleteTask(todo_pb2.CompleteTaskRequest(task_id=task_id))
    print('Completed' if response.success else 'Not completed')


def print_menu():
    print()
    print('1. Add task')
    print('2. List tasks')
    print('3. Complete task')
    print('4. Exit')


def main():
    server_address = os.environ.get('MESSENGER_SERVER_ADDR', 'localhost:50051')

    channel = grpc.insecure_channel(server_address)
    stub = todo_pb2_grpc.TodoServiceStub(channel)
    threading.Thread(target=watch_tasks, args=(stub,), daemon=True).start()

    actions = {'1': add_task, '2': list_tasks, '3': complete_task}
    while True:
        print_menu()
        choice = input('Choice: ').strip()
        if choice == '4':
            break
        action = actions.get(choice)
        if action is None:
            print('Unknown choice')
            continue
        try:
            action(stub)
        except grpc.RpcError as error:
            print(f'Error: {error.details()}')
        except ValueError:
            print('Not a number')


if __name__ == '__main__':
    main()
