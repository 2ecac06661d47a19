//! One file for each topic.

mod bridge;
mod bridge_faults;
mod clock;
mod compare;
mod compare_behaviour;
mod docker;
mod docs;
mod front;
mod health;
mod history;
mod jobs;
mod layout;
mod limits;
mod log;
mod many;
mod message;
mod order;
mod python;
mod shutdown;
mod slow;
mod terminal;
mod terminal_services;
mod ticker;
mod todo;
mod transport;
mod web;
