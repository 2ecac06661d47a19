//! Which fault comes when: a plan that follows from a seed and from what there is to
//! disturb, and from nothing else.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// How the link between two programs behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Weather {
    #[default]
    Clear,
    /// Each piece is held so long, and up to so much longer.
    Delay { ms: u64, jitter_ms: u64 },
    /// Bytes per second in each direction.
    Throttle(u64),
    /// Nothing passes, and nobody is told.
    BlackHole,
    /// Nothing passes towards the server, or from it.
    OneWay { to_server: bool },
    /// The connections that there are, are reset.
    Reset,
    /// The client's side is reset; the server's side stays and hears nothing.
    HalfOpen,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Fault {
    Link {
        link: String,
        weather: Weather,
    },
    /// SIGSTOP, and SIGCONT at its end.
    Pause {
        program: String,
    },
    /// SIGKILL, and a new start at its end.
    Kill {
        program: String,
    },
    /// SIGTERM, and a new start at its end.
    Terminate {
        program: String,
    },
    /// The clock of all programs steps to so many seconds off, and stays there.
    Clock {
        seconds: i64,
    },
    /// Something that only this service knows.
    Own {
        name: String,
    },
}

impl Fault {
    /// Whether this program does not run from its beginning to its end.
    pub fn takes_down(&self, name: &str) -> bool {
        match self {
            Self::Kill { program } | Self::Terminate { program } => program == name,
            _ => false,
        }
    }

    pub fn ends_a_program(&self) -> bool {
        matches!(self, Self::Kill { .. } | Self::Terminate { .. })
    }

    /// What it acts upon: one fault at a time for each.
    fn target(&self) -> &str {
        match self {
            Self::Link { link, .. } => link,
            Self::Pause { program } | Self::Kill { program } | Self::Terminate { program } => {
                program
            }
            Self::Clock { .. } => "clock",
            Self::Own { name } => name,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { link, weather } => write!(f, "{weather:?} on the link {link}"),
            Self::Pause { program } => write!(f, "SIGSTOP of {program}"),
            Self::Kill { program } => write!(f, "SIGKILL of {program}"),
            Self::Terminate { program } => write!(f, "SIGTERM of {program}"),
            Self::Clock { seconds } => write!(f, "clock stepped to {seconds:+} s"),
            Self::Own { name } => write!(f, "{name}"),
        }
    }
}

/// What there is to disturb.
#[derive(Clone, Debug, Default)]
pub struct Menu {
    pub links: Vec<&'static str>,
    pub programs: Vec<&'static str>,
    pub clock: bool,
    /// Name, and how often beside one for each link and program.
    pub own: Vec<(&'static str, usize)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub at: Duration,
    pub until: Duration,
    pub fault: Fault,
}

/// On average so long from one fault to the next.
const PAUSE: Duration = Duration::from_millis(300);

/// The plan for so long a run.
pub fn plan(seed: u64, length: Duration, menu: &Menu) -> Vec<Step> {
    let mut rng = Rng::with_seed(seed);
    let mut steps: Vec<Step> = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += PAUSE.mul_f64(2.0 * rng.f64());
        if at >= length {
            return steps;
        }
        let Some((fault, lasts)) = draw(&mut rng, menu) else {
            return steps;
        };
        let busy = steps.iter().any(|step| {
            let same = step.fault.target() == fault.target();
            same && step.until + Duration::from_millis(50) > at
        });
        let until = (at + lasts).min(length);
        if !busy {
            steps.push(Step { at, until, fault });
        }
    }
}

fn draw(rng: &mut Rng, menu: &Menu) -> Option<(Fault, Duration)> {
    let own: usize = menu.own.iter().map(|(_, often)| often).sum();
    let clock = usize::from(menu.clock);
    let links = menu.links.len();
    let all = links + menu.programs.len() + clock + own;
    let mut choice = rng.usize(..all.max(1));
    let millis = |rng: &mut Rng, range| Duration::from_millis(rng.u64(range));
    if let Some(link) = menu.links.get(choice) {
        let (weather, lasts) = weather(rng);
        let link = (*link).into();
        return Some((Fault::Link { link, weather }, lasts));
    }
    choice -= links;
    if let Some(program) = menu.programs.get(choice) {
        let program = (*program).into();
        return Some(match rng.u8(..4) {
            0 => (Fault::Kill { program }, millis(rng, 1..800)),
            1 => (Fault::Terminate { program }, millis(rng, 1..800)),
            _ => (Fault::Pause { program }, millis(rng, 20..2_500)),
        });
    }
    choice -= menu.programs.len();
    if choice < clock {
        let seconds = rng.i64(-7_200..7_200);
        return Some((Fault::Clock { seconds }, Duration::ZERO));
    }
    choice -= clock;
    for (name, often) in &menu.own {
        if choice < *often {
            let name = (*name).into();
            return Some((Fault::Own { name }, millis(rng, 50..2_000)));
        }
        choice -= often;
    }
    None
}

fn weather(rng: &mut Rng) -> (Weather, Duration) {
    let weather = match rng.u8(..10) {
        0 | 1 => Weather::Delay {
            ms: rng.u64(1..60),
            jitter_ms: rng.u64(..60),
        },
        2 => Weather::Throttle(1 << rng.u32(10..20)),
        3 => Weather::BlackHole,
        4 | 5 => Weather::OneWay {
            to_server: rng.bool(),
        },
        6 | 7 => Weather::Reset,
        _ => Weather::HalfOpen,
    };
    let most = match weather {
        Weather::Reset => 5,
        // Long enough, now and then, for deadlines and keepalive.
        Weather::BlackHole | Weather::OneWay { .. } if rng.u8(..8) == 0 => 15_000,
        _ => 2_000,
    };
    (weather, Duration::from_millis(rng.u64(1..most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_plan_and_one_fault_at_a_time_for_each_target() {
        let menu = Menu {
            links: vec!["readers", "senders"],
            programs: vec!["server"],
            clock: true,
            own: vec![("disk full", 2)],
        };
        let length = Duration::from_secs(600);
        let steps = plan(7, length, &menu);
        assert_eq!(steps, plan(7, length, &menu));
        assert_ne!(steps, plan(8, length, &menu));
        assert!(steps.len() > 500, "{}", steps.len());
        for (index, step) in steps.iter().enumerate() {
            assert!(step.at <= step.until && step.until <= length);
            let same = |other: &&Step| other.fault.target() == step.fault.target();
            let next = steps[index + 1..].iter().find(same);
            assert!(next.is_none_or(|next| next.at > step.until), "{step:?}");
        }
        let told: String = steps.iter().map(|step| step.fault.to_string()).collect();
        for word in [
            "SIGKILL",
            "SIGTERM",
            "SIGSTOP",
            "clock",
            "disk full",
            "HalfOpen",
        ] {
            assert!(told.contains(word), "{word}");
        }
    }
}
