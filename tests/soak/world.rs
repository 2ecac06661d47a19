//! Our processes, as one installation would have them, on embedded stores.

use tempfile::TempDir;

use super::sample::Series;
use crate::support::history::Store;
use crate::support::jobs::Place;
use crate::support::process::Process;
use crate::support::programs::{Bridge, Console, Program, Server};

pub struct World {
    pub server: Program,
    pub bridges: [Program; 2],
    pub log: Program,
    pub console: Program,
    pub jobs: Place,
    worker: Process,
    _store: Store,
    _folder: TempDir,
}

impl World {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let tasks = folder.path().to_string_lossy().into_owned();
        let server = Server::start(&["--data-dir", &tasks, "--ticker-interval", "100ms"]);
        let address = server.address();
        let store = Store::sqlite();
        let log = store.replica(&[], &[]);
        let jobs = Place::embedded();
        Self {
            bridges: [(), ()].map(|()| Bridge::start(&address, &[])),
            console: Console::start(&address, &["--history", &log.address()]),
            worker: jobs.work(&address, &[]),
            server,
            log,
            jobs,
            _store: store,
            _folder: folder,
        }
    }

    pub fn series(&self) -> Vec<Series> {
        let [first, second] = &self.bridges;
        let all: [(_, &Process); 6] = [
            ("server", &self.server),
            ("bridge 1", first),
            ("bridge 2", second),
            ("console", &self.console),
            ("log", &self.log),
            ("worker", &self.worker),
        ];
        let series = all.map(|(name, process)| Series::new(name, process.pid()));
        series.into()
    }
}
