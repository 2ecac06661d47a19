//! The to-do list's methods and messages: `todo.TodoService`.

use grpcio::Method;
use protobuf::{Message as _, MessageField};
use serde_json::{Value, json};

use super::generated::todo as proto;
use super::method::{self, Encoded};
use crate::domain::todo::{Action, Change, Task};

pub use proto::{
    AddTaskRequest, AddTaskResponse, CompleteTaskRequest, CompleteTaskResponse, GetTasksRequest,
    GetTasksResponse, TaskUpdate, WatchTasksRequest,
};

/// The name under which the service is known to health checks.
pub const SERVICE: &str = "todo.TodoService";

pub const ADD_TASK: Method<AddTaskRequest, AddTaskResponse> =
    method::unary("/todo.TodoService/AddTask");
pub const GET_TASKS: Method<GetTasksRequest, GetTasksResponse> =
    method::unary("/todo.TodoService/GetTasks");
pub const COMPLETE_TASK: Method<CompleteTaskRequest, CompleteTaskResponse> =
    method::unary("/todo.TodoService/CompleteTask");

const WATCH: &str = "/todo.TodoService/WatchTasks";
pub const WATCH_TASKS: Method<WatchTasksRequest, TaskUpdate> = method::server_stream(WATCH);
pub const WATCH_TASKS_ENCODED: Method<WatchTasksRequest, Encoded> = method::encoded_stream(WATCH);

/// The names of the changes on the wire.
const ACTIONS: [(Action, &str); 2] = [(Action::Added, "ADDED"), (Action::Completed, "COMPLETED")];

pub fn action_name(action: Action) -> &'static str {
    let row = ACTIONS.iter().find(|(known, _)| *known == action);
    row.map_or("", |(_, name)| name)
}

pub fn task_to_wire(task: &Task) -> proto::Task {
    proto::Task {
        id: task.id,
        title: task.title.as_ref().into(),
        completed: task.completed,
        ..Default::default()
    }
}

pub fn task(wire: &proto::Task) -> Task {
    Task {
        id: wire.id,
        title: wire.title.as_str().into(),
        completed: wire.completed,
    }
}

pub fn add_response(task: &Task) -> AddTaskResponse {
    AddTaskResponse {
        task: MessageField::some(task_to_wire(task)),
        ..Default::default()
    }
}

pub fn list_response(tasks: &[Task]) -> GetTasksResponse {
    GetTasksResponse {
        tasks: tasks.iter().map(task_to_wire).collect(),
        ..Default::default()
    }
}

pub fn complete_response() -> CompleteTaskResponse {
    CompleteTaskResponse {
        success: true,
        ..Default::default()
    }
}

/// As people's programs get it: `{"id":1,"title":"...","completed":false}`.
pub fn task_json(task: &Task) -> Value {
    json!({ "id": task.id, "title": &*task.title, "completed": task.completed })
}

/// `{"action":"ADDED","task":{...}}`.
pub fn change_json(change: &Change) -> Value {
    json!({ "action": action_name(change.action), "task": task_json(&change.task) })
}

pub fn encode(change: &Change) -> Encoded {
    let update = TaskUpdate {
        task: MessageField::some(task_to_wire(&change.task)),
        action: action_name(change.action).into(),
        ..Default::default()
    };
    let bytes = update.write_to_bytes();
    Encoded::new(bytes.expect("a message without required fields always encodes"))
}

/// A change from the stream; `None` if its action has a name that is not known.
pub fn change(wire: &TaskUpdate) -> Option<Change> {
    let row = ACTIONS.iter().find(|(_, name)| *name == wire.action);
    row.map(|(action, _)| Change {
        task: task(&wire.task),
        action: *action,
    })
}
