//! What one sees of a server from outside, and how it ends.

mod reflection;
