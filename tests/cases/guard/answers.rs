//! Answers that nobody takes.
