//! The rights that a token can have, and what a call needs.

use std::fmt;
use std::str::FromStr;

use serde::de::IntoDeserializer as _;
use serde::{Deserialize, Serialize};

/// A right of a token; its name is the one in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Right {
    #[serde(rename = "chat:read")]
    ChatRead,
    #[serde(rename = "chat:write")]
    ChatWrite,
    #[serde(rename = "todo:read")]
    TodoRead,
    #[serde(rename = "todo:write")]
    TodoWrite,
    #[serde(rename = "ticker:read")]
    TickerRead,
    /// The message service: answers are computed, and nothing changes.
    #[serde(rename = "message:call")]
    MessageCall,
    #[serde(rename = "jobs:read")]
    JobsRead,
    #[serde(rename = "jobs:write")]
    JobsWrite,
    #[serde(rename = "history:read")]
    HistoryRead,
    #[serde(rename = "history:write")]
    HistoryWrite,
    /// All of them.
    #[serde(rename = "*")]
    All,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl FromStr for Right {
    type Err = serde::de::value::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::deserialize(name.into_deserializer())
    }
}

/// What a call needs; each method declares it where it is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Open to everybody, as health checks are.
    Nothing,
    /// Any token that is valid.
    Token,
    Right(Right),
}

impl From<Right> for Need {
    fn from(right: Right) -> Self {
        Self::Right(right)
    }
}
