//! The gate of our HTTP ports: who may ask, and how often.
//!
//! It must not know what the paths mean. Runs on the threads of the front, and never
//! waits.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::rate::{Key, Limiter, Rate};
use super::sessions::Sessions;
use super::{Access, Admission, Denied, Grant, Need};
use crate::error::{Code, Error};
use crate::http::{Asked, Gate, Pass, Refusal};
use crate::status;

/// What a path needs: the method, all if empty; the path, and all below it if it ends
/// in a slash; what is needed, all of it, or nothing. Of several, the first counts.
pub type Path = (&'static str, &'static str, &'static [Need]);

/// What is asked for health, which is open to all, without a token or a limit.
const HEALTH: &[&str] = &["/healthz", "/livez", "/readyz"];

/// Where a token is given for a session, and where its page is.
pub const LOGIN: &str = "/api/login";
pub const LOGIN_PAGE: &str = "/login";
const COOKIE: &str = "messenger-session";

/// Tries to log in from one address: in a minute, and at once.
const LOGINS: (&str, NonZeroU32) = ("30/m", NonZeroU32::new(10).unwrap());

/// The gate of one service.
#[derive(Debug)]
pub struct Door {
    admission: Admission,
    paths: &'static [Path],
    /// For people, who log in.
    browsers: Option<Browsers>,
}

#[derive(Debug)]
struct Browsers {
    sessions: Arc<Sessions>,
    logins: Limiter,
    /// Cookies are for TLS only.
    secure: bool,
}

/// Whose a request is, if it has come by a cookie.
type Session<'a> = Option<(&'a Browsers, &'a str)>;

impl Door {
    /// A path that is not among `paths` needs any token.
    pub fn new(admission: Admission, paths: &'static [Path]) -> Self {
        Self {
            admission,
            paths,
            browsers: None,
        }
    }

    /// One before pages, on which a token is typed in once for a session. Over TLS, its
    /// cookie is `secure`.
    #[must_use]
    pub fn with_login(mut self, secure: bool) -> Self {
        let (rate, burst) = LOGINS;
        self.browsers = self.admission.access.as_ref().and_then(|_| {
            Some(Browsers {
                sessions: Arc::default(),
                logins: Limiter::new(rate.parse::<Rate>().ok()?, Some(burst)),
                secure,
            })
        });
        self
    }

    /// Whether people log in here.
    pub fn has_login(&self) -> bool {
        self.browsers.is_some()
    }

    /// Begins a session with a token. Returns the value of Set-Cookie. Secret.
    ///
    /// # Errors
    /// UNAUTHENTICATED, or what [`Sessions::begin`] says.
    pub fn log_in(&self, authorization: Option<&str>) -> Result<String, Error> {
        let (access, browsers) = (self.admission.access.as_ref(), self.browsers.as_ref());
        let none = || Error::new(Code::Unimplemented, "there is no login here");
        let (access, browsers) = access.zip(browsers).ok_or_else(none)?;
        let grant = access.check(authorization.map(str::as_bytes), Need::Token)?;
        let id = browsers.sessions.begin(grant)?;
        Ok(browsers.cookie(&id))
    }

    /// Ends the session of this Cookie, if there is one. Returns the value of
    /// Set-Cookie.
    pub fn log_out(&self, cookie: Option<&str>) -> Option<String> {
        let browsers = self.browsers.as_ref()?;
        let id = cookie.and_then(session);
        id.into_iter().for_each(|id| browsers.sessions.end(id));
        Some(browsers.cookie("; Max-Age=0"))
    }

    fn needs(&self, asked: &Asked<'_>) -> &'static [Need] {
        let fits = |(method, path, _): &&Path| {
            let below = path.len() > 1 && path.ends_with('/') && asked.path.starts_with(path);
            (method.is_empty() || *method == asked.method) && (below || *path == asked.path)
        };
        let row = self.paths.iter().find(fits);
        row.map_or(&[Need::Token], |(.., needs)| needs)
    }

    /// By a token, or else by the session that is returned too.
    fn grant<'a>(
        &'a self,
        access: &Access,
        asked: &Asked<'a>,
    ) -> Result<(Grant, Session<'a>), Denied> {
        let mut authorization = asked.header("authorization");
        match (authorization.next(), authorization.next()) {
            (Some(_), Some(_)) => Err(Denied::Malformed),
            (Some(value), None) => Ok((access.check(Some(value.as_bytes()), Need::Token)?, None)),
            _ => {
                let id = asked.header("cookie").find_map(session);
                let (browsers, id) = self.browsers.as_ref().zip(id).ok_or(Denied::Missing)?;
                let grant = browsers.sessions.check(id, access)?;
                Ok((grant, Some((browsers, id))))
            }
        }
    }

    fn refusal(&self, error: Error, asked: &Asked<'_>) -> Refusal {
        let page = asked.header("accept").any(|it| it.contains("text/html"));
        match error.code {
            Code::Unauthenticated if page && asked.method == "GET" && self.has_login() => {
                Refusal::new(303, error.message).with_header("Location", LOGIN_PAGE)
            }
            Code::Unauthenticated => Refusal::new(401, error.message)
                .with_header("WWW-Authenticate", "Bearer realm=\"messenger\""),
            _ => refusal(error),
        }
    }
}

impl Browsers {
    fn cookie(&self, value: &str) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{COOKIE}={value}; HttpOnly; SameSite=Strict; Path=/{secure}")
    }
}

impl Gate for Door {
    fn connection(&self, peer: IpAddr) -> Result<(), Refusal> {
        self.admission.connection(peer).map_err(refusal)
    }

    fn request(&self, peer: IpAddr, asked: &Asked<'_>) -> Result<Pass, Refusal> {
        if HEALTH.contains(&asked.path) {
            return Ok(None);
        }
        if let (Some(browsers), LOGIN) = (&self.browsers, asked.path) {
            browsers.logins.check(&Key::peer(peer)).map_err(refusal)?;
        }
        let needs = self.needs(asked);
        if needs.is_empty() {
            return self.admission.open(peer).map(|()| None).map_err(refusal);
        }
        let mut session = None;
        let check = |access: &Access| {
            let (grant, by) = self.grant(access, asked)?;
            session = by.map(|(browsers, id)| (browsers.sessions.clone(), id.to_owned()));
            let all = needs.iter().map(|need| access.check_again(&grant, *need));
            all.fold(Ok(grant.clone()), Result::and)
        };
        let granted = self.admission.admit(check, || peer);
        let granted = granted.map_err(|error| self.refusal(error, asked))?;
        Ok(self
            .admission
            .access
            .clone()
            .zip(granted)
            .map(|(access, grant)| {
                Box::new(move || {
                    let goes_on = session.as_ref().is_none_or(|(all, id)| all.has(id));
                    let granted = |need: &Need| access.check_again(&grant, *need).is_ok();
                    goes_on && needs.iter().all(granted)
                }) as _
            }))
    }
}

/// The session's id in a Cookie.
fn session(cookie: &str) -> Option<&str> {
    let mut cookies = cookie
        .split(';')
        .filter_map(|one| one.trim().split_once('='));
    cookies.find_map(|(name, id)| (name == COOKIE).then_some(id))
}

fn refusal(error: Error) -> Refusal {
    match error.retry_after {
        Some(wait) => Refusal::too_many(error.message, wait),
        None => Refusal::new(status::http(error.code), error.message),
    }
}
