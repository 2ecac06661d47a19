//! Our programs side by side with others of the same contract: what they do
//! (`behaviour`) and what it costs (`speed`), and the report of both; and live, under the
//! load of somebody else (`shadow`).
//!
//! Whatever is compared runs in processes of its own. This process is the
//! client of all of them, the same for each.

pub mod behaviour;
pub mod differences;
pub mod load;
pub mod machine;
pub mod peer;
pub mod prepare;
pub mod report;
pub mod shadow;
pub mod speed;
