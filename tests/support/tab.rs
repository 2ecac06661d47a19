//! A tab of the browser: what a person does with a page, and sees of it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use super::SOON;
use super::browser::Wire;

pub struct Tab {
    wire: Arc<Wire>,
    session: String,
}

impl Tab {
    pub fn new(wire: Arc<Wire>, session: &str) -> Self {
        Self {
            wire,
            session: session.into(),
        }
    }

    /// The value of an expression, or of its promise.
    pub fn eval(&self, expression: &str) -> Value {
        let answer = self.evaluate(expression);
        match answer.get("exceptionDetails") {
            Some(exception) => panic!("{expression}: {exception}"),
            None => answer["result"]["value"].clone(),
        }
    }

    fn evaluate(&self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        self.call("Runtime.evaluate", parameters)
    }

    /// Waits until the document changes so that a condition holds.
    pub fn until(&self, condition: &str) {
        let seconds = SOON.as_secs();
        let script = format!(
            "new Promise((resolve) => {{
                const late = setTimeout(() => end(false), {seconds}000);
                const end = (held) => {{ watch.disconnect(); clearTimeout(late); resolve(held); }};
                const look = () => {{ if ({condition}) end(true); }};
                const watch = new MutationObserver(look);
                watch.observe(document, {{ subtree: true, childList: true, attributes: true, characterData: true }});
                addEventListener('load', look);
                look();
            }})"
        );
        loop {
            let answer = self.evaluate(&script);
            match (&answer["result"]["value"], answer.get("exceptionDetails")) {
                (Value::Bool(true), _) => return,
                (Value::Bool(false), _) => {
                    let text = self.eval("document.body.innerText");
                    panic!("not within {SOON:?}: {condition}; the page says:\n{text}");
                }
                // The document went away under the question.
                (_, None) => {}
                (_, Some(exception)) => panic!("{condition}: {exception}"),
            }
        }
    }

    /// Waits until the text of an element has these words.
    pub fn shows(&self, selector: &str, words: &str) {
        let (selector, words) = (json!(selector), json!(words));
        self.until(&format!(
            "[...document.querySelectorAll({selector})].some((e) => e.checkVisibility() && e.innerText.includes({words}))"
        ));
    }

    pub fn text(&self, selector: &str) -> String {
        let text = self.eval(&format!(
            "document.querySelector({}).innerText",
            json!(selector)
        ));
        text.as_str().unwrap_or_default().into()
    }

    pub fn count(&self, selector: &str) -> u64 {
        let count = self.eval(&format!(
            "document.querySelectorAll({}).length",
            json!(selector)
        ));
        count.as_u64().expect("a number")
    }

    pub fn click(&self, selector: &str) {
        self.eval(&format!(
            "document.querySelector({}).click()",
            json!(selector)
        ));
    }

    /// Puts text into a field, as if it was typed in place of what is there.
    pub fn fill(&self, selector: &str, text: &str) {
        let selector = json!(selector);
        self.eval(&format!(
            "(() => {{ const field = document.querySelector({selector}); field.focus(); field.select(); }})()"
        ));
        self.write(text);
    }

    /// Types into what has the focus.
    pub fn write(&self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Presses a key by its DOM name: `Enter`, `Tab`, `ArrowRight`, ` `.
    pub fn press(&self, key: &str) {
        self.press_with(key, 0);
    }

    /// `modifiers`: 8 is Shift.
    pub fn press_with(&self, key: &str, modifiers: u8) {
        // The key's number in the old events, by which the browser acts.
        let (number, text) = match key {
            "Tab" => (9, None),
            "Enter" => (13, Some("\r")),
            " " => (32, Some(" ")),
            "End" => (35, None),
            "Home" => (36, None),
            "ArrowLeft" => (37, None),
            "ArrowRight" => (39, None),
            other => panic!("{other:?} is not in this table"),
        };
        let event = |kind: &str| json!({"type": kind, "key": key, "windowsVirtualKeyCode": number, "modifiers": modifiers});
        let mut down = event(if text.is_some() {
            "keyDown"
        } else {
            "rawKeyDown"
        });
        if let Some(text) = text {
            down["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", down);
        self.call("Input.dispatchKeyEvent", event("keyUp"));
    }

    /// Where the focus is: the element's id, or its label or text.
    pub fn focus(&self) -> String {
        let focus = self.eval(
            "(() => { const e = document.activeElement; return e.id || e.ariaLabel || e.labels?.[0]?.innerText || e.innerText; })()",
        );
        focus.as_str().unwrap_or_default().into()
    }

    /// Exceptions and refusals of the content policy on this page so far.
    pub fn complaints(&self) -> Vec<String> {
        self.wire.complaints(&self.session)
    }

    /// Keeps a picture of the page, for people, in `target/screenshots`.
    pub fn screenshot(&self, name: &str) {
        // A tab behind another one is not drawn.
        self.call("Page.bringToFront", json!({}));
        let picture = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let picture = picture["data"].as_str().expect("a picture");
        let bytes = BASE64_STANDARD.decode(picture).expect("base64");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../screenshots");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join(format!("{name}.png")), bytes).expect("a file");
    }

    pub fn call(&self, method: &str, parameters: Value) -> Value {
        self.wire.call(&self.session, method, parameters)
    }
}
