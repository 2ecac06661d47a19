//! Who may ask, and how often.

mod rate;
