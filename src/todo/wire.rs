//! The to-do list's methods and messages: `todo.TodoService`.

use grpcio::Method;
use protobuf::{Message as _, MessageField};
use serde_json::{Value, json};

use super::list::{Action, Change, Task};
use crate::error::Error;
use crate::generated::todo as proto;
use crate::grpc::method::{self, Encoded};
use crate::json::{object, take_string, unknown};

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

/// A task as JSON: `{"id":1,"title":"...","completed":false}`.
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

/// The body of the console's `POST /api/tasks`: the title.
///
/// # Errors
/// `InvalidArgument` that says what is wrong and where.
pub fn parse_title(body: &[u8]) -> Result<String, Error> {
    let mut fields = object(body)?;
    let title = take_string(&mut fields, "title")?;
    unknown(&fields, "\"title\"")?;
    Ok(title)
}

/// The body of the console's `POST /api/tasks/complete`: the task's id.
///
/// # Errors
/// `InvalidArgument` that says what is wrong and where.
pub fn parse_id(body: &[u8]) -> Result<i32, Error> {
    let mut fields = object(body)?;
    let id = match fields.remove("id") {
        None | Some(Value::Null) => 0,
        Some(value) => value
            .as_i64()
            .and_then(|id| i32::try_from(id).ok())
            .ok_or_else(|| Error::invalid("\"id\" has to be a whole number of 32 bits"))?,
    };
    unknown(&fields, "\"id\"")?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_an_id_name_the_field() {
        for (body, named) in [
            (r#"{"id":1.5}"#, "\"id\" has to be a whole number"),
            (r#"{"id":"1"}"#, "\"id\" has to be a whole number"),
            (r#"{"id":2147483648}"#, "\"id\" has to be a whole number"),
            (r#"{"task":1}"#, "\"task\": there is no such field"),
        ] {
            let message = parse_id(body.as_bytes()).unwrap_err().message;
            assert!(message.contains(named), "{body}: {message}");
        }
    }
}
