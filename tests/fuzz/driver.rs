//! What makes inputs: mutations of a corpus, which grows by what has an outcome that
//! was not seen before. All follows from the seed.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use fastrand::Rng;

/// Runs inputs, and says what became of each in few words, without what is different for
/// every input: the branch, as it were. An error is a promise that was broken.
pub type Run = Box<dyn FnMut(&[Vec<u8>]) -> Vec<Result<String, String>>>;

pub struct Target {
    /// The name of its corpus, too.
    pub name: &'static str,
    pub start: fn() -> Run,
    /// What random bytes would hardly ever spell; `|` stands between them.
    pub words: &'static str,
    /// The longest input, in bytes.
    pub longest: usize,
    /// How many inputs are run at a time.
    pub together: usize,
}

/// An input that breaks a promise.
pub struct Failure {
    pub input: Vec<u8>,
    pub why: String,
}

pub struct Fuzzer<'a> {
    target: &'a Target,
    words: Vec<&'static str>,
    run: Run,
    rng: Rng,
    pool: Vec<Vec<u8>>,
    /// By outcome, the place of its first input in the pool.
    seen: BTreeMap<String, usize>,
    given: usize,
    /// How many inputs were run, those aside that make a failing one smaller.
    pub executions: u64,
}

/// Outcomes that are remembered; there are far fewer.
const OUTCOMES: usize = 2000;

/// How often a failing input is tried in a smaller form.
const SMALLER: usize = 20_000;

impl<'a> Fuzzer<'a> {
    /// The pool must not be empty.
    pub fn new(target: &'a Target, pool: Vec<Vec<u8>>, seed: u64) -> Self {
        let mut run = (target.start)();
        let outcomes = run(&pool).into_iter().zip(0..);
        let sound = |(outcome, at): (Result<_, _>, _)| (outcome.expect("the corpus is sound"), at);
        Self {
            seen: outcomes.map(sound).collect(),
            executions: pool.len() as u64,
            given: pool.len(),
            rng: Rng::with_seed(seed),
            words: target.words.split('|').collect(),
            target,
            run,
            pool,
        }
    }

    /// Runs the next inputs.
    pub fn step(&mut self) -> Option<Failure> {
        let inputs: Vec<_> = (0..self.target.together).map(|_| self.mutated()).collect();
        let results = (self.run)(&inputs);
        self.executions += results.len() as u64;
        for (input, result) in inputs.into_iter().zip(results) {
            match result {
                Ok(outcome) if self.seen.len() < OUTCOMES && !self.seen.contains_key(&outcome) => {
                    self.seen.insert(outcome, self.pool.len());
                    self.pool.push(input);
                }
                Ok(_) => {}
                Err(why) => {
                    let input = smaller(input, |input| one(&mut self.run, input).is_err());
                    let why = one(&mut self.run, &input).err().unwrap_or(why);
                    return Some(Failure { input, why });
                }
            }
        }
        None
    }

    pub fn outcomes(&self) -> usize {
        self.seen.len()
    }

    /// The first of what no input of the corpus led to: a name made of the outcome, and an
    /// input, made as small as it gets.
    pub fn found(&mut self, most: usize) -> Vec<(String, Vec<u8>)> {
        let (run, pool, given) = (&mut self.run, &self.pool, self.given);
        let mut new: Vec<_> = self.seen.iter().filter(|(_, at)| **at >= given).collect();
        new.sort_by_key(|(_, at)| **at);
        let found = new.into_iter().take(most).map(|(outcome, at)| {
            let input = smaller(pool[*at].clone(), |input| {
                one(run, input).as_ref() == Ok(outcome)
            });
            (file_name(outcome), input)
        });
        found.collect()
    }

    fn mutated(&mut self) -> Vec<u8> {
        let rng = &mut self.rng;
        let mut input = self.pool[rng.usize(..self.pool.len())].clone();
        // One mutation most of the time, and sometimes many.
        for _ in 0..=rng.u32(..16).trailing_zeros().min(6) {
            let other = &self.pool[rng.usize(..self.pool.len())];
            mutate(&mut input, other, &self.words, rng);
        }
        input.truncate(self.target.longest);
        input
    }
}

/// Runs one input alone.
pub fn one(run: &mut Run, input: &[u8]) -> Result<String, String> {
    run(&[input.to_vec()]).remove(0)
}

/// For code that panics when a promise is broken, and returns what became of the input.
pub fn one_by_one(mut judge: impl FnMut(&[u8]) -> String + 'static) -> Run {
    Box::new(move |inputs| {
        let attempt = |input: &Vec<u8>| catch_unwind(AssertUnwindSafe(|| judge(input)));
        let results = quietly(|| inputs.iter().map(attempt).collect::<Vec<_>>());
        results.into_iter().map(|it| it.map_err(why)).collect()
    })
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// A failing input panics again and again while it is made smaller: nothing is printed
/// of it, and other tests go on to print theirs.
pub fn quietly<T>(work: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    QUIET.set(true);
    let done = work();
    QUIET.set(false);
    done
}

/// What a panic says.
pub fn why(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast::<String>().map(|text| *text);
    text.unwrap_or_else(|panic| panic.downcast_ref::<&str>().unwrap_or(&"").to_string())
}

fn mutate(input: &mut Vec<u8>, other: &[u8], words: &[&str], rng: &mut Rng) {
    let at = rng.usize(..=input.len());
    let some = |rng: &mut Rng, of: usize| {
        let most = 1 << rng.u32(..12);
        rng.usize(..=of.min(most))
    };
    let end = at + some(rng, input.len() - at);
    match rng.u32(..10) {
        0 if at < input.len() => input[at] ^= 1 << rng.u32(..8),
        1 if at < input.len() => {
            input[at] = *rng.choice(b"\0\r\n\t ,:;\"\\/%0\x7f\x80\xff").unwrap();
        }
        2 => {
            input.insert(at, rng.u8(..));
        }
        3 => {
            input.drain(at..end);
        }
        4 => {
            let (piece, times) = (input[at..end].to_vec(), 1 << rng.u32(..8));
            input.splice(
                at..at,
                piece.repeat(times.min(1 + 4096 / piece.len().max(1))),
            );
        }
        5 => {
            let from = rng.usize(..=other.len());
            let to = from + some(rng, other.len() - from);
            input.splice(at..end, other[from..to].iter().copied());
        }
        6 => {
            let numbers = [0, 1, 9, 255, 256, 65_536, 1 << 31, u64::MAX >> 1, u64::MAX];
            let text = rng.choice(numbers).unwrap().to_string();
            let digits = input[at..].iter().take_while(|byte| byte.is_ascii_digit());
            let digits = digits.count();
            input.splice(at..at + digits, text.bytes());
        }
        7 => {
            let (bytes, count) = (rng.u64(..).to_le_bytes(), rng.usize(1..=8));
            input.splice(at..end, bytes[..count].iter().copied());
        }
        _ => {
            let word = rng.choice(words).unwrap_or(&"");
            let end = if rng.bool() { at } else { end };
            input.splice(at..end, word.bytes());
        }
    }
}

/// As short an input as can be found for which this still holds: by leaving pieces out,
/// large ones first, then by making bytes plain.
fn smaller(mut input: Vec<u8>, mut holds: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut tries = 0..SMALLER;
    let mut size = input.len().next_power_of_two();
    while size > 0 {
        let (mut at, mut changed) = (0, false);
        while at < input.len() && tries.next().is_some() {
            let mut without = input.clone();
            without.drain(at..(at + size).min(input.len()));
            if holds(&without) {
                (input, changed) = (without, true);
            } else {
                at += size;
            }
        }
        if !(changed && size == 1) {
            size /= 2;
        }
    }
    for at in 0..input.len() {
        for plain in *b"a0" {
            let before = std::mem::replace(&mut input[at], plain);
            if before.is_ascii_graphic() || tries.next().is_none() || !holds(&input) {
                input[at] = before;
            }
        }
    }
    input
}

/// An outcome without what may be different each time: numbers, and what is quoted.
pub fn plain(outcome: &str) -> String {
    let unescaped = outcome.replace("\\\\", "").replace("\\\"", "");
    let unquoted = unescaped.split('"').step_by(2).collect::<Vec<_>>();
    let unquoted = unquoted.join("_");
    let mut plain = String::new();
    for c in unquoted.chars().take(80) {
        match c {
            '0'..='9' if plain.ends_with('0') => {}
            '0'..='9' => plain.push('0'),
            c => plain.push(c),
        }
    }
    plain
}

fn file_name(outcome: &str) -> String {
    let words = outcome.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).take(10).collect();
    words.join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLANTED: Target = Target {
        name: "planted",
        start: || {
            one_by_one(|input| {
                let at = input.windows(4).position(|word| word == b"open");
                assert!(
                    at.is_none_or(|at| input.get(at + 4) != Some(&0xff)),
                    "found"
                );
                at.map_or("shut", |_| "open").into()
            })
        },
        words: "open",
        longest: 64,
        together: 1,
    };

    fn failure(seed: u64) -> (u64, Failure) {
        let mut fuzzer = Fuzzer::new(&PLANTED, vec![b"something".to_vec()], seed);
        loop {
            if let Some(failure) = fuzzer.step() {
                return (fuzzer.executions, failure);
            }
            assert!(fuzzer.executions < 1_000_000, "nothing found");
        }
    }

    #[test]
    fn a_planted_defect_is_found_made_small_and_found_again_by_its_seed() {
        let (executions, found) = failure(1);
        assert_eq!(
            (&*found.input, &*found.why),
            (b"open\xff".as_slice(), "found")
        );
        let (again, _) = failure(1);
        assert_eq!(again, executions);
        assert!((2..4).any(|seed| failure(seed).0 != executions));
    }

    #[test]
    fn every_execution_is_counted_and_is_one() {
        use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
        static RUNS: AtomicU64 = AtomicU64::new(0);
        const COUNTED: Target = Target {
            start: || one_by_one(|_| format!("{}", RUNS.fetch_add(1, Relaxed) / u64::MAX)),
            together: 4,
            ..PLANTED
        };
        let mut fuzzer = Fuzzer::new(&COUNTED, vec![b"a".to_vec(), b"b".to_vec()], 1);
        for _ in 0..250 {
            assert!(fuzzer.step().is_none());
        }
        assert_eq!((fuzzer.executions, RUNS.load(Relaxed)), (1002, 1002));
    }

    #[test]
    fn what_is_different_each_time_is_no_outcome_of_its_own() {
        assert_eq!(
            plain("\"x\\\"\": 25 bytes, at most 4"),
            "_: 0 bytes, at most 0"
        );
        assert_eq!(file_name("refused 0: Host is not"), "refused-0-host-is-not");
    }
}
