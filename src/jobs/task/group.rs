//! The group of a user in an A/B test: nothing is stored, the name decides.

use sha2::{Digest as _, Sha256};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    A,
    B,
}

impl Group {
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }
}

/// `A` if the first byte of the SHA-256 of the user's UTF-8 is below 128, else
/// `B`. In Python: `"AB"[hashlib.sha256(user.encode()).digest()[0] >> 7]`.
pub fn group(user: &str) -> Group {
    match Sha256::digest(user)[0] {
        0..128 => Group::A,
        128.. => Group::B,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked out with Python's hashlib.
    #[test]
    fn is_the_one_that_the_documentation_specifies() {
        let groups: String = ["", "user42", "user1", "user2", "Ивáн", "alice", "bob"]
            .map(|user| group(user).name())
            .concat();
        assert_eq!(groups, "BBAABAB");
    }

    #[test]
    fn halves_a_hundred_thousand_users() {
        for prefix in ["", "user", "user-", "пользователь "] {
            let users = (0..100_000).map(|number| format!("{prefix}{number}"));
            let in_a = users.filter(|user| group(user) == Group::A).count();
            assert!((49_500..=50_500).contains(&in_a), "{prefix:?}: {in_a}");
        }
    }
}
