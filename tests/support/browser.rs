//! Chromium without a window, driven over the DevTools protocol on a pipe: JSON
//! messages, each ended by a zero byte, on descriptors 3 and 4.
//! Source: <https://chromedevtools.github.io/devtools-protocol/>

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crossbeam_channel::{Sender, bounded};
use serde_json::{Value, json};

use super::tab::Tab;
use super::{SOON, need};

/// A browser with a profile of its own; killed when it is dropped.
pub struct Browser {
    child: Child,
    wire: Arc<Wire>,
    log: PathBuf,
    _profile: tempfile::TempDir,
}

/// What the browser and its tabs share.
pub struct Wire {
    out: Mutex<(ChildStdin, u64)>,
    /// Who waits for the answer of this number.
    waiting: Mutex<HashMap<u64, Sender<Value>>>,
    /// Exceptions and refusals of the content policy, with the tab's session.
    complaints: Mutex<Vec<(String, String)>>,
}

impl Browser {
    pub fn start() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|folder| folder.join("chromium").exists());
        need("Chromium (chromium in the PATH)", found);
        let profile = tempfile::tempdir().expect("a temporary folder");
        let log = profile.path().join("stderr");
        // The shell moves the pipes to where Chromium expects them. Its sandbox
        // does not work for root, and these are our own pages.
        let script = "exec chromium --headless --no-sandbox --disable-gpu --hide-scrollbars \
            --disable-dev-shm-usage --no-first-run --force-color-profile=srgb --lang=en-GB \
            --remote-debugging-pipe --user-data-dir=\"$1\" about:blank 3<&0 4>&1 >/dev/null 2>\"$2\"";
        let mut child = Command::new("sh")
            .args(["-c", script, "sh"])
            .args([profile.path(), log.as_path()])
            .env("LC_ALL", "en_GB.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let out = child.stdin.take().expect("a pipe");
        let wire = Arc::new(Wire {
            out: Mutex::new((out, 0)),
            waiting: Mutex::default(),
            complaints: Mutex::default(),
        });
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let reader = wire.clone();
        thread::spawn(move || {
            for message in answers.split(0).map_while(Result::ok) {
                reader.received(serde_json::from_slice(&message).expect("JSON"));
            }
        });
        Self {
            child,
            wire,
            log,
            _profile: profile,
        }
    }

    /// Opens a page in a tab of its own, which has loaded when this returns.
    pub fn open(&self, url: &str) -> Tab {
        self.open_as(url, &Look::default())
    }

    pub fn open_as(&self, url: &str, look: &Look) -> Tab {
        let call = |method: &str, parameters| self.wire.call("", method, parameters);
        let target = call("Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let session = call("Target.attachToTarget", target)["sessionId"].clone();
        let session = session.as_str().expect("a session");
        let tab = Tab::new(self.wire.clone(), session);
        for domain in ["Page", "Runtime", "Log"] {
            tab.call(&format!("{domain}.enable"), json!({}));
        }
        let scheme = json!([{"name": "prefers-color-scheme", "value": look.scheme}]);
        tab.call("Emulation.setEmulatedMedia", json!({"features": scheme}));
        let size = json!({"width": look.size.0, "height": look.size.1, "deviceScaleFactor": 1, "mobile": look.phone});
        tab.call("Emulation.setDeviceMetricsOverride", size);
        // Of several tabs all count as seen.
        tab.call(
            "Emulation.setFocusEmulationEnabled",
            json!({"enabled": true}),
        );
        tab.call("Page.navigate", json!({"url": url}));
        tab.until("location.protocol !== 'about:' && document.readyState === 'complete'");
        tab
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let log = log.lines().filter(|line| !line.contains("dbus"));
            eprintln!(
                "--- chromium wrote:\n{}\n---",
                log.collect::<Vec<_>>().join("\n")
            );
        }
    }
}

/// What a page is shown on.
pub struct Look {
    pub size: (u32, u32),
    pub phone: bool,
    /// "light" or "dark"
    pub scheme: &'static str,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            size: (1200, 800),
            phone: false,
            scheme: "light",
        }
    }
}

impl Wire {
    /// Calls a method, of a tab's session or of the browser (""), and waits.
    pub fn call(&self, session: &str, method: &str, parameters: Value) -> Value {
        let (sender, answer) = bounded(1);
        {
            let mut out = self.out.lock().unwrap();
            out.1 += 1;
            let mut message = json!({"id": out.1, "method": method, "params": parameters});
            if !session.is_empty() {
                message["sessionId"] = json!(session);
            }
            self.waiting.lock().unwrap().insert(out.1, sender);
            write!(out.0, "{message}\0").expect("a browser that listens");
        }
        let answer = answer.recv_timeout(2 * SOON);
        let answer = answer.unwrap_or_else(|e| panic!("chromium, {method}: {e}"));
        // A page that navigates away takes the question along.
        let error = answer
            .get("error")
            .and_then(|error| error["message"].as_str());
        match error {
            Some(error)
                if !error.contains("context was destroyed") && !error.contains("navigated") =>
            {
                panic!("{method}: {error}")
            }
            _ => answer["result"].clone(),
        }
    }

    /// Exceptions and refusals of the content policy in a tab so far.
    pub fn complaints(&self, session: &str) -> Vec<String> {
        let complaints = self.complaints.lock().unwrap();
        let mine = complaints.iter().filter(|(of, _)| of == session);
        mine.map(|(_, complaint)| complaint.clone()).collect()
    }

    fn received(&self, message: Value) {
        if let Some(id) = message["id"].as_u64() {
            if let Some(waiting) = self.waiting.lock().unwrap().remove(&id) {
                let _ = waiting.send(message);
            }
            return;
        }
        let parameters = &message["params"];
        let complaint = match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => parameters["exceptionDetails"].to_string(),
            // That a server is down is on the page, and no fault of the page.
            Some("Log.entryAdded") if parameters["entry"]["source"] != "network" => {
                parameters["entry"]["text"].to_string()
            }
            _ => return,
        };
        let session = message["sessionId"].as_str().unwrap_or_default().to_owned();
        self.complaints.lock().unwrap().push((session, complaint));
    }
}
