//! `message.MessageService`, which answers tasks at once, and jobs as JSON.

use grpcio::Method;
use serde_json::{Value, json};

use super::job::Job;
use super::task::{Group, Letter};
use crate::error::Error;
use crate::fanout::clock::Timestamp;
use crate::grpc::method;
use crate::json::{object, unknown};

pub use crate::generated::message_service::{
    ABRequest, ABResponse, FactorialRequest, FactorialResponse, LetterResponse, MessageRequest,
    MessageResponse, TextRequest,
};

/// The name under which the service is known to health checks.
pub const SERVICE: &str = "message.MessageService";

pub const PROCESS_MESSAGE: Method<MessageRequest, MessageResponse> =
    method::unary("/message.MessageService/ProcessMessage");
pub const ASSIGN_AB: Method<ABRequest, ABResponse> =
    method::unary("/message.MessageService/AssignAB");
pub const FACTORIAL: Method<FactorialRequest, FactorialResponse> =
    method::unary("/message.MessageService/Factorial");
pub const MOST_FREQUENT_LETTER: Method<TextRequest, LetterResponse> =
    method::unary("/message.MessageService/MostFrequentLetter");

pub fn message_response(processed_text: String) -> MessageResponse {
    MessageResponse {
        processed_text,
        ..Default::default()
    }
}

pub fn ab_response(user_id: String, group: Group) -> ABResponse {
    ABResponse {
        user_id,
        group: group.name().into(),
        ..Default::default()
    }
}

pub fn factorial_response(result: String) -> FactorialResponse {
    FactorialResponse {
        result,
        ..Default::default()
    }
}

pub fn letter_response(letter: Letter) -> LetterResponse {
    LetterResponse {
        letter: letter.letter.into(),
        count: i64::try_from(letter.count).unwrap_or(i64::MAX),
        ..Default::default()
    }
}

/// A job as JSON: what is not known is null.
pub fn job_json(job: &Job) -> Value {
    let time = |time: Option<Timestamp>| time.map(Timestamp::rfc3339);
    json!({
        "id": job.id,
        "task": job.text(),
        "state": job.state.name(),
        "result": job.result,
        "error": job.error,
        "attempts": job.attempts,
        "worker": job.worker,
        "queuedAt": time(job.queued_at),
        "startedAt": time(job.started_at),
        "finishedAt": time(job.finished_at),
    })
}

/// Most texts in one request.
const TASKS: usize = 1000;

/// The body of the console's `POST /api/jobs/send`: texts with tasks in them, at
/// least one.
///
/// # Errors
/// `InvalidArgument` that says what is wrong and where.
pub fn parse_tasks(body: &[u8]) -> Result<Vec<String>, Error> {
    let mut fields = object(body)?;
    let wrong = || {
        let message = format!("\"tasks\" has to be an array of 1 to {TASKS} strings");
        Error::invalid(message)
    };
    let tasks = match fields.remove("tasks") {
        Some(Value::Array(tasks)) if (1..=TASKS).contains(&tasks.len()) => tasks,
        _ => return Err(wrong()),
    };
    unknown(&fields, "\"tasks\"")?;
    let text = |task| match task {
        Value::String(text) => Ok(text),
        _ => Err(wrong()),
    };
    tasks.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use protobuf::Message as _;

    use super::*;

    /// The field numbers of the Python programs' schema.
    #[test]
    fn the_group_comes_before_the_user() {
        let response = ab_response("user42".into(), Group::B);
        let bytes = response.write_to_bytes().unwrap();
        assert_eq!(bytes, b"\x0a\x01B\x12\x06user42");
    }
}
