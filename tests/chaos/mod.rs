//! Whole services under faults, judged afterwards. Clients write down what they ask
//! and what they see ([`record`]), a plan that follows from a seed disturbs programs
//! and the links between them ([`schedule`], [`stage`], [`proxy`]), and validators,
//! one for each promise, judge the run ([`verdict`]). [`run`] puts this together.
//!
//! A new service is a folder with a [`run::World`] (its programs and its clients), an
//! event type that says what its clients can note, and its promises, each with a
//! fault in a recorded history that it has to find. [`mutants`] are defects of the
//! programs that the runs have to find.

mod bridge;
mod cases;
mod chat;
mod disk;
mod history;
mod jobs;
mod limits;
mod mutants;
pub mod proxy;
mod record;
mod run;
pub mod schedule;
mod several;
mod stage;
mod todo;
mod verdict;
