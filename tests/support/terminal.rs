//! A program in a pseudo-terminal, as a person sees it and types into it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::ops::{Deref, DerefMut};
use std::process::Command;
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, unbounded};
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use super::SOON;
use super::process::Process;

/// The program, and the person's side of its terminal.
pub struct Terminal {
    process: Process,
    keyboard: File,
    output: Receiver<Vec<u8>>,
    /// What is on the screen and was not waited for yet.
    screen: String,
}

impl Terminal {
    /// All three standard streams are the terminal.
    pub fn spawn(command: Command) -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&person).expect("a terminal of our own");
        unlockpt(&person).expect("a terminal that can be opened");
        let path = ptsname(&person, Vec::new()).expect("the terminal's name");
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let program = File::from(open(path, flags, Mode::empty()).expect("the program's side"));
        let process = Process::start(command, |command, _| {
            let side = || program.try_clone().expect("the program's side");
            command
                .stdin(side())
                .stdout(side())
                .stderr(program.try_clone().unwrap());
        });
        let keyboard = File::from(person);
        let mut shown = keyboard.try_clone().expect("the person's side");
        let (sender, output) = unbounded();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end is an error: nobody has the program's side open any more.
            while let Ok(count @ 1..) = shown.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            process,
            keyboard,
            output,
            screen: String::new(),
        }
    }

    /// Types this and presses Enter.
    pub fn enter(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").expect("a terminal that takes input");
    }

    /// Presses these keys.
    pub fn press(&mut self, keys: &str) {
        let pressed = self.keyboard.write_all(keys.as_bytes());
        pressed.expect("a terminal that takes input");
    }

    /// Whether it is as a program finds it: lines at a time, and what is typed is shown.
    pub fn is_as_before(&self) -> bool {
        let modes = tcgetattr(&self.keyboard).expect("settings").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Waits until the screen shows this; what was shown before it is returned
    /// and not looked at again.
    pub fn wait_for(&mut self, words: &str) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(at) = self.screen.find(words) {
                let rest = self.screen.split_off(at + words.len());
                return std::mem::replace(&mut self.screen, rest);
            }
            match self.output.recv_deadline(deadline) {
                // The programs here write whole characters at a time.
                Ok(bytes) => self.screen += &String::from_utf8_lossy(&bytes),
                Err(error) => panic!("{words:?}: {error}; shown: {:?}", self.screen),
            }
        }
    }
}

impl Deref for Terminal {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Terminal {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
