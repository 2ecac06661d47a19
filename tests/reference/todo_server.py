"""The to-do server that is usually written for this task: a list, a lock, and a
queue for each watcher."""

import os
import queue
import threading
from concurrent import futures

import grpc

import todo_pb2
import todo_pb2_grpc


class TodoService(todo_pb2_grpc.TodoServiceServicer):
    def __init__(self):
        self._lock = threading.Lock()
        self._tasks = []
        self._next_id = 1
        self._watchers = []

    def _notify(self, task, action):
        update = todo_pb2.TaskUpdate(task=task, action=action)
        for updates in self._watchers:
            updates.put(update)

    def AddTask(self, request, context):
        with self._lock:
            task = todo_pb2.Task(id=self._next_id, title=request.title, completed=False)
            self._next_id += 1
            self._tasks.append(task)
            self._notify(task, 'ADDED')
            return todo_pb2.AddTaskResponse(task=task)

    def GetTasks(self, request, context):
        with self._lock:
            return todo_pb2.GetTasksResponse(tasks=self._tasks)

    def CompleteTask(self, request, context):
        with self._lock:
            for task in self._tasks:
                if task.id == request.task_id:
                    task.completed = True
                    self._notify(task, 'COMPLETED')
                    return todo_pb2.CompleteTaskResponse(success=True)
        context.abort(grpc.StatusCode.NOT_FOUND, 'Task not found')

    def WatchTasks(self, request, context):
        updates = queue.Queue()
        with self._lock:
            self._watchers.append(updates)
        try:
            while context.is_active():
                try:
                    update = updates.get(timeout=1.0)
                except queue.Empty:
                    continue
                yield update
        finally:
            with self._lock:
                self._watchers.remove(updates)


def main():
    port = os.environ.get('MESSENGER_SERVER_PORT', '50051')

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    todo_pb2_grpc.add_TodoServiceServicer_to_server(TodoService(), server)
    server.add_insecure_port(f'0.0.0.0:{port}')
    server.start()
    server.wait_for_termination()


if __name__ == '__main__':
    main()
