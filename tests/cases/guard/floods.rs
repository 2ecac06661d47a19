//! Floods of frames.
