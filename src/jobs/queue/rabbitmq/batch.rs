//! Messages that are written to the broker and not all confirmed yet. Each has its own
//! confirmation: what the broker refuses is written again after a while, on the same
//! connection, and nothing else is.

use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use lapin::message::Delivery as Message;
use lapin::{BasicProperties, Confirmation};

use super::exchange::{CONFIRM, FIRST_WAIT};
use super::message::{dead_letter_properties, properties, requeue_properties};
use crate::error::Error;
use crate::jobs::queue::{DeadLetter, Publication, Token};
use crate::retry::Retry;

/// The longest wait before what was refused is written again.
const REFUSED_WAIT: Duration = Duration::from_secs(30);

/// What is written, and what for.
pub enum Content {
    Tasks(Publication),
    /// Of a delivery with these properties, which is acknowledged when they are there.
    DeadLetters(Token, Box<BasicProperties>, Vec<DeadLetter>),
    /// From the dead-letter queue, where they are acknowledged when they are back.
    Requeued {
        messages: Vec<Message>,
        deadline: Instant,
        reply: Sender<Result<u64, Error>>,
    },
}

impl Content {
    pub fn len(&self) -> usize {
        match self {
            Self::Tasks(publication) => publication.tasks.len(),
            Self::DeadLetters(_, _, dead) => dead.len(),
            Self::Requeued { messages, .. } => messages.len(),
        }
    }

    /// Body and properties of one message, for frames of this size.
    pub fn message(&self, place: usize, frame: u32) -> (&[u8], BasicProperties) {
        match self {
            Self::Tasks(publication) => {
                let task = &publication.tasks[place];
                (&task.body, properties(task))
            }
            Self::DeadLetters(_, properties, dead) => {
                let dead = &dead[place];
                (&dead.body, dead_letter_properties(properties, dead, frame))
            }
            Self::Requeued { messages, .. } => {
                let message = &messages[place];
                (&message.data, requeue_properties(&message.properties))
            }
        }
    }

    /// Until when somebody waits for it.
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Tasks(publication) => Some(publication.deadline),
            Self::DeadLetters(..) => None,
            Self::Requeued { deadline, .. } => Some(*deadline),
        }
    }

    /// Tells who waits for it why it has failed.
    pub fn fail(self, reason: &str) {
        let error = Err(Error::unavailable(reason));
        // Nobody may wait any more.
        match self {
            Self::Tasks(publication) => drop(publication.reply.send(error)),
            Self::Requeued { reply, .. } => drop(reply.send(error.map(|()| 0))),
            Self::DeadLetters(..) => {}
        }
    }
}

pub struct Batch {
    pub content: Content,
    /// Whether each message is confirmed.
    confirmed: Vec<bool>,
    /// Messages that the broker has, and has not answered.
    under_way: usize,
    /// When the broker has to have answered.
    due: Instant,
    refused: Vec<usize>,
    /// When what was refused is written again.
    again: Option<Instant>,
    retry: Retry,
    /// A refusal was logged.
    told: bool,
    reason: String,
}

/// What is to be done about a batch now.
pub enum Due {
    Nothing,
    /// These are written again.
    Write(Vec<usize>),
    /// The broker does not answer.
    Silent,
    /// Nobody waits for it any more, with the reason to tell.
    Late(String),
}

impl Batch {
    pub fn new(content: Content) -> Self {
        Self {
            confirmed: vec![false; content.len()],
            content,
            under_way: 0,
            due: Instant::now() + CONFIRM,
            refused: Vec::new(),
            again: None,
            retry: Retry::new(FIRST_WAIT, REFUSED_WAIT),
            told: false,
            reason: "no confirmation in time".into(),
        }
    }

    /// So many messages are being written.
    pub fn written(&mut self, count: usize) {
        self.under_way += count;
        self.due = Instant::now() + CONFIRM;
    }

    /// Notes the answer to one message; returns whether all are confirmed.
    pub fn answered(&mut self, place: usize, answer: &Confirmation) -> bool {
        self.under_way -= 1;
        if let Confirmation::Ack(None) = answer {
            self.confirmed[place] = true;
            // There is room again.
            self.retry.succeeded();
        } else {
            self.refused.push(place);
            self.reason = reason(answer);
        }
        if self.under_way == 0 && !self.refused.is_empty() {
            self.again = Some(Instant::now() + self.retry.next_wait());
            if !std::mem::replace(&mut self.told, true) {
                let count = self.refused.len();
                tracing::warn!(count, "written again: {}", self.reason);
            }
        }
        self.under_way == 0 && self.refused.is_empty()
    }

    /// Whether the broker has to answer for dead letters yet.
    pub fn is_burying(&self) -> bool {
        matches!(self.content, Content::DeadLetters(..)) && self.under_way > 0
    }

    /// When to look at [`Batch::due`] again.
    pub fn next(&self) -> Instant {
        let next = self.again.unwrap_or(self.due);
        self.content.deadline().map_or(next, |late| late.min(next))
    }

    pub fn due(&mut self, now: Instant) -> Due {
        if self.content.deadline().is_some_and(|late| late <= now) {
            let left = self.confirmed.iter().filter(|done| !**done).count();
            let all = self.confirmed.len();
            return Due::Late(format!(
                "{left} of {all} tasks are not confirmed: {}",
                self.reason
            ));
        }
        match self.again {
            Some(again) if again <= now => {
                self.again = None;
                Due::Write(std::mem::take(&mut self.refused))
            }
            None if self.due <= now => Due::Silent,
            _ => Due::Nothing,
        }
    }

    /// What another connection has to write: the tasks that are not confirmed.
    pub fn rest(self, reason: &str) -> Option<Publication> {
        let Content::Tasks(mut publication) = self.content else {
            self.content.fail(reason);
            return None;
        };
        let mut confirmed = self.confirmed.into_iter();
        publication
            .tasks
            .retain(|_| confirmed.next() == Some(false));
        Some(publication)
    }
}

/// Why the broker has not taken a message, as far as it says.
fn reason(answer: &Confirmation) -> String {
    match answer {
        Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
            format!(
                "the broker has sent a task back: {} {}",
                returned.reply_code, returned.reply_text
            )
        }
        _ => "the broker refuses a task (basic.nack): its queue may be full, by x-max-length \
              with x-overflow=reject-publish"
            .into(),
    }
}
