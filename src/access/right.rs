//! The rights that a token can have, and what a call needs.

/// A right of a token, written `service:what`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    ChatRead,
    ChatWrite,
    TodoRead,
    TodoWrite,
    TickerRead,
    /// The message service: answers are computed, and nothing changes.
    MessageCall,
    JobsRead,
    JobsWrite,
    HistoryRead,
    HistoryWrite,
}

/// As a right, it stands for all of them.
pub const ALL: &str = "*";

const NAMES: [(Right, &str); 10] = [
    (Right::ChatRead, "chat:read"),
    (Right::ChatWrite, "chat:write"),
    (Right::TodoRead, "todo:read"),
    (Right::TodoWrite, "todo:write"),
    (Right::TickerRead, "ticker:read"),
    (Right::MessageCall, "message:call"),
    (Right::JobsRead, "jobs:read"),
    (Right::JobsWrite, "jobs:write"),
    (Right::HistoryRead, "history:read"),
    (Right::HistoryWrite, "history:write"),
];

impl Right {
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }
}

/// The rights of one token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u16);

impl Rights {
    /// # Errors
    /// One that there is not, with those that there are.
    pub fn parse(names: &[impl AsRef<str>]) -> Result<Self, String> {
        let mut rights = 0;
        for name in names {
            let name = name.as_ref();
            let known = NAMES
                .iter()
                .filter(|(_, known)| name == ALL || name == *known);
            let bits = known.fold(0, |bits, (right, _)| bits | 1 << *right as u16);
            if bits == 0 {
                let known: Vec<_> = NAMES.iter().map(|(_, name)| *name).collect();
                let known = known.join(", ");
                return Err(format!(
                    "no right {name:?}: there are {known}, and {ALL} for all"
                ));
            }
            rights |= bits;
        }
        Ok(Self(rights))
    }

    pub fn has(self, right: Right) -> bool {
        self.0 & 1 << right as u16 != 0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_the_order_of_the_rights() {
        for (right, name) in NAMES {
            assert_eq!(right.name(), name);
            let rights = Rights::parse(&[name]).unwrap();
            for (other, _) in NAMES {
                assert_eq!(rights.has(other), other == right, "{name} {other:?}");
            }
            assert!(Rights::parse(&[ALL]).unwrap().has(right));
            assert!(!Rights::default().has(right));
        }
        let error = Rights::parse(&["chat:read", "chat:reed"]).unwrap_err();
        assert!(
            error.contains("\"chat:reed\"") && error.contains("todo:write"),
            "{error}"
        );
    }
}
