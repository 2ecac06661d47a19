//! The programs of a run and the links between them, and what is done to them.

use std::thread;
use std::time::{Duration, Instant};

use super::proxy::Proxy;
use super::record::{Event, Note, Pen};
use super::schedule::{Fault, Menu, Step, Weather};
use crate::support::clock::Clock;
use crate::support::process::Signal;
use crate::support::programs::Program;

/// What a program of ours may take after SIGTERM; it promises less.
const END: Duration = Duration::from_secs(20);

/// How often a program is started that may end at once, when nothing keeps it from
/// running any more.
const TRIES: usize = 20;

/// A program that is started again after it was ended.
struct Kept {
    name: &'static str,
    start: Box<dyn Fn() -> Option<Program> + Send>,
    running: Option<Program>,
}

impl Kept {
    /// Whether it runs; one that does not is started, if it can be.
    fn runs(&mut self) -> bool {
        if self.running.is_none() {
            self.running = (self.start)();
        }
        self.running.is_some()
    }
}

/// Brings a fault about that only one service knows (true), and undoes it (false).
type Own = Box<dyn FnMut(bool) + Send>;

#[derive(Default)]
pub struct Stage {
    links: Vec<(&'static str, Proxy)>,
    programs: Vec<Kept>,
    clock: Option<Clock>,
    own: Vec<(&'static str, usize, Own)>,
}

impl Stage {
    /// A link to the program with this port; returns the link's own port. Links of one name
    /// are disturbed together.
    pub fn link(&mut self, name: &'static str, server: u16) -> u16 {
        let proxy = Proxy::start(server);
        let port = proxy.port();
        self.links.push((name, proxy));
        port
    }

    /// Starts it, now and after each end.
    pub fn program(&mut self, name: &'static str, start: impl Fn() -> Program + Send + 'static) {
        self.restarted(name, move || Some(start()));
    }

    /// The same with a program that ends again when it lacks something at its start,
    /// as its database: it is started again when a fault would meet it, and in the
    /// end.
    pub fn restarted(
        &mut self,
        name: &'static str,
        start: impl Fn() -> Option<Program> + Send + 'static,
    ) {
        let start = Box::new(start);
        let running = (0..TRIES).find_map(|_| start());
        assert!(running.is_some(), "{name} starts when all is whole");
        self.programs.push(Kept {
            name,
            start,
            running,
        });
    }

    /// A clock that the programs believe.
    pub fn clock(&mut self, clock: Clock) {
        self.clock = Some(clock);
    }

    /// A fault that is drawn `often` times as often as the end or pause of a program.
    pub fn own(
        &mut self,
        name: &'static str,
        often: usize,
        fault: impl FnMut(bool) + Send + 'static,
    ) {
        self.own.push((name, often, Box::new(fault)));
    }

    pub fn menu(&self) -> Menu {
        Menu {
            links: {
                let mut links: Vec<_> = self.links.iter().map(|(name, _)| *name).collect();
                links.dedup();
                links
            },
            programs: self.programs.iter().map(|kept| kept.name).collect(),
            clock: self.clock.is_some(),
            own: self.own.iter().map(|(name, n, _)| (*name, *n)).collect(),
        }
    }

    /// Does what the plan says, when it says it. In the end all is whole again.
    pub fn perform<E: Event>(&mut self, plan: &[Step], pen: &mut Pen<E>) {
        let begun = Instant::now();
        let begins = plan.iter().map(|step| (step.at, true, &step.fault));
        let ends = plan.iter().map(|step| (step.until, false, &step.fault));
        let mut moments: Vec<_> = begins.chain(ends).collect();
        moments.sort_by_key(|(at, begins, _)| (*at, !*begins));
        for (at, begins, fault) in moments {
            thread::sleep(at.saturating_sub(begun.elapsed()));
            if begins {
                self.begin(fault);
                pen.write(Note::Begun(fault.clone()));
            } else {
                pen.write(Note::Ending(fault.clone()));
                self.end(fault);
            }
        }
        for kept in &mut self.programs {
            let started = (0..TRIES).any(|_| kept.runs());
            assert!(started, "{} starts when all is whole again", kept.name);
        }
    }

    fn begin(&mut self, fault: &Fault) {
        match fault {
            Fault::Link { link, weather } => self.set(link, *weather),
            Fault::Pause { program } => self.signal(program, Signal::STOP),
            // Dropping a process kills it with SIGKILL, and waits for its end.
            Fault::Kill { program } => drop(self.kept(program).running.take()),
            Fault::Terminate { program } => {
                let kept = self.kept(program);
                if !kept.runs() {
                    return;
                }
                let mut program = kept.running.take().expect("a program");
                program.signal(Signal::TERM);
                let code = program.wait_exit(END);
                assert_eq!(code, 0, "ended by SIGTERM: {}", program.log());
            }
            Fault::Clock { seconds } => {
                let clock = self.clock.as_ref().expect("a clock");
                clock.step(&format!("{seconds:+}"));
            }
            Fault::Own { name } => self.do_own(name, true),
        }
    }

    fn end(&mut self, fault: &Fault) {
        match fault {
            Fault::Link { link, .. } => self.set(link, Weather::Clear),
            Fault::Pause { program } => self.signal(program, Signal::CONT),
            Fault::Kill { program } | Fault::Terminate { program } => {
                self.kept(program).runs();
            }
            Fault::Clock { .. } => {}
            Fault::Own { name } => self.do_own(name, false),
        }
    }

    fn set(&self, link: &str, weather: Weather) {
        for (_, proxy) in self.links.iter().filter(|(name, _)| *name == link) {
            proxy.set(weather);
        }
    }

    fn signal(&mut self, program: &str, signal: Signal) {
        let kept = self.kept(program);
        if kept.runs() {
            kept.running.as_ref().expect("a program").signal(signal);
        }
    }

    fn kept(&mut self, program: &str) -> &mut Kept {
        let mut named = self.programs.iter_mut().filter(|it| it.name == program);
        named.next().expect("a program")
    }

    fn do_own(&mut self, fault: &str, begins: bool) {
        let mut named = self.own.iter_mut().filter(|(name, ..)| *name == fault);
        (named.next().expect("a fault").2)(begins);
    }
}
