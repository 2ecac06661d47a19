//! Each promise finds the faults that break it, in a history that is sound without.
