//! Programs that wait for others when they start, or take long: each has a thread
//! that does to it what the plan says, and starts it again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use fastrand::Rng;

use super::event::JobsEvent;
use crate::chaos::record::Pen;
use crate::chaos::run::Stop;
use crate::chaos::stage::Stage;
use crate::support::process::{Process, Signal};

/// How soon a program that has ended is started again.
const LOOK: Duration = Duration::from_millis(200);

/// Generous: [`super::promises`] judge how long it took.
const END: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    Kill,
    Terminate,
    Pause,
    Undo,
}

/// A fault that is one of these, which the seed chooses each time.
pub fn fault(
    stage: &mut Stage,
    name: &'static str,
    often: usize,
    seed: u64,
    choice: &'static [Order],
) -> Receiver<Order> {
    let (sender, orders) = unbounded();
    let name_of_its_own: u64 = name.bytes().map(u64::from).sum();
    let mut rng = Rng::with_seed(seed ^ (name_of_its_own << 32));
    stage.own(name, often, move |begins| {
        let order = if begins {
            choice[rng.usize(..choice.len())]
        } else {
            Order::Undo
        };
        // Nobody is left to obey when the clients have failed.
        let _ = sender.send(order);
    });
    orders
}

/// Obeys until all faults are over; then all is as it was.
pub fn obey(orders: &Receiver<Order>, stop: &Stop, mut act: impl FnMut(Order)) {
    loop {
        match orders.recv_timeout(LOOK) {
            Ok(order) => act(order),
            Err(_) if stop.is_stopped() => return act(Order::Undo),
            Err(_) => {}
        }
    }
}

/// A worker, of which a run has one more or less at any time.
pub struct Worker {
    pub name: &'static str,
    pub start: Box<dyn Fn() -> Process + Send + Sync>,
    pub orders: Receiver<Order>,
}

impl Worker {
    pub fn keep(&self, over: &AtomicBool, mut pen: Pen<JobsEvent>) {
        let (mut running, mut down) = (None::<Process>, false);
        while !over.load(Ordering::SeqCst) {
            if running.is_none() && !down {
                running = Some((self.start)());
            }
            let order = self.orders.recv_timeout(LOOK);
            if let Some(process) = &mut running
                && !process.is_alive()
            {
                let code = process.wait_exit(END);
                pen.note(self.ended(code, None));
                running = None;
            }
            match (order, &running) {
                (Ok(Order::Kill), _) => (running, down) = (None, true),
                (Ok(Order::Terminate), _) => {
                    self.terminate(running.take(), &mut pen);
                    down = true;
                }
                (Ok(Order::Pause), Some(process)) => process.signal(Signal::STOP),
                (Ok(Order::Undo), Some(process)) => process.signal(Signal::CONT),
                (Ok(Order::Undo), None) => down = false,
                _ => {}
            }
        }
        self.terminate(running, &mut pen);
    }

    fn terminate(&self, process: Option<Process>, pen: &mut Pen<JobsEvent>) {
        let Some(mut process) = process else { return };
        process.signal(Signal::CONT);
        // Before that it does not listen to signals yet, or waits for its store.
        let was_ready = process.log().contains(" working");
        let asked = Instant::now();
        process.signal(Signal::TERM);
        let code = process.wait_exit(END);
        let ms = u64::try_from(asked.elapsed().as_millis()).expect("a short time");
        if was_ready {
            pen.note(self.ended(code, Some(ms)));
        }
    }

    fn ended(&self, code: i32, asked: Option<u64>) -> JobsEvent {
        let program = self.name.into();
        JobsEvent::Ended {
            program,
            code,
            asked,
        }
    }
}
