//! A TCP proxy between two programs, on a link whose weather changes.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use super::schedule::Weather;

/// How soon a thread that waits for a peer sees that its connection is cut.
const TICK: Duration = Duration::from_millis(50);

/// Listens on a port of its own and passes on to another one. It ends, and cuts all
/// connections, when this is dropped.
pub struct Proxy {
    port: u16,
    link: Arc<Link>,
}

struct Link {
    server: u16,
    weather: Mutex<Weather>,
    changed: Condvar,
    connections: Mutex<Vec<Weak<Connection>>>,
    /// Of half-open connections.
    left_behind: Mutex<Vec<TcpStream>>,
    closed: AtomicBool,
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    cut: AtomicBool,
}

impl Proxy {
    /// Before the program that has this port of the loopback interface, also when it
    /// is started later.
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let link = Arc::new(Link {
            server,
            weather: Mutex::default(),
            changed: Condvar::new(),
            connections: Mutex::default(),
            left_behind: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let accepting = link.clone();
        thread::spawn(move || accepting.accept(&listener));
        Self { port, link }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// From now on; a fault of single connections befalls those that there are.
    pub fn set(&self, weather: Weather) {
        lock(&self.link.left_behind).clear();
        // Before what the old weather holds may pass.
        match weather {
            Weather::Reset => self.link.cut(true),
            Weather::HalfOpen => self.link.cut(false),
            _ => {}
        }
        *self.link.weather() = weather;
        self.link.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.link.closed.store(true, Ordering::SeqCst);
        self.set(Weather::Reset);
        // Ends the wait for a connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    fn weather(&self) -> MutexGuard<'_, Weather> {
        lock(&self.weather)
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            let Ok(client) = client else { continue };
            let link = self.clone();
            thread::spawn(move || {
                let _ = link.serve(client);
            });
        }
    }

    fn serve(self: Arc<Self>, client: TcpStream) -> io::Result<()> {
        // The kernel has taken the connection; what passes on is up to the weather.
        while matches!(*self.weather(), Weather::BlackHole) && !self.closed.load(Ordering::SeqCst) {
            let _ = self.changed.wait_timeout(self.weather(), TICK);
        }
        let server = TcpStream::connect(("127.0.0.1", self.server))?;
        for side in [&client, &server] {
            side.set_nodelay(true)?;
            side.set_read_timeout(Some(TICK))?;
            side.set_write_timeout(Some(TICK))?;
        }
        let connection = Arc::new(Connection {
            client,
            server,
            cut: AtomicBool::new(false),
        });
        {
            let mut connections = lock(&self.connections);
            connections.retain(|it| it.strong_count() > 0);
            connections.push(Arc::downgrade(&connection));
        }
        let back = (self.clone(), connection.clone());
        thread::spawn(move || back.0.pump(&back.1, false));
        self.pump(&connection, true);
        Ok(())
    }

    /// Passes on what comes, in one direction, until an end or a cut.
    fn pump(&self, connection: &Connection, to_server: bool) {
        let sides = (&connection.client, &connection.server);
        let (mut from, to) = if to_server { sides } else { (sides.1, sides.0) };
        let mut buffer = vec![0; 16 * 1024];
        loop {
            if connection.is_cut() {
                return;
            }
            let count = match from.read(&mut buffer) {
                Err(error) if is_timeout(&error) => continue,
                Err(_) => return connection.reset(),
                Ok(count) => count,
            };
            if !self.pass(connection, to_server, count) {
                return;
            }
            if count == 0 {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            if connection.write(to, &buffer[..count]).is_err() {
                return connection.reset();
            }
        }
    }

    /// Waits until so many bytes may go on; false when the connection is cut.
    fn pass(&self, connection: &Connection, to_server: bool, bytes: usize) -> bool {
        let came = Instant::now();
        let jitter = fastrand::f64();
        let mut weather = self.weather();
        loop {
            if connection.is_cut() {
                return false;
            }
            let wait = match *weather {
                Weather::BlackHole => TICK,
                Weather::OneWay { to_server: stopped } if stopped == to_server => TICK,
                Weather::Delay { ms, jitter_ms } => {
                    let ms = ms as f64 + jitter * jitter_ms as f64;
                    Duration::from_secs_f64(ms / 1e3).saturating_sub(came.elapsed())
                }
                Weather::Throttle(rate) => {
                    let due = Duration::from_secs_f64(bytes as f64 / rate as f64);
                    due.saturating_sub(came.elapsed())
                }
                _ => Duration::ZERO,
            };
            if wait.is_zero() {
                return true;
            }
            let waited = self.changed.wait_timeout(weather, wait.min(TICK));
            weather = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Resets all connections, or their clients' sides only.
    fn cut(&self, both: bool) {
        for connection in lock(&self.connections).drain(..) {
            let Some(connection) = connection.upgrade() else {
                continue;
            };
            if both {
                connection.reset();
            } else {
                let server = connection.server.try_clone();
                lock(&self.left_behind).extend(server);
                let _ = set_socket_linger(&connection.client, Some(Duration::ZERO));
                connection.cut.store(true, Ordering::SeqCst);
            }
        }
    }
}

impl Connection {
    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// Both sides get a reset when both threads have seen it: a socket that is closed
    /// without lingering sends no end, but a reset. Source: socket(7), SO_LINGER.
    fn reset(&self) {
        for side in [&self.client, &self.server] {
            let _ = set_socket_linger(side, Some(Duration::ZERO));
        }
        self.cut.store(true, Ordering::SeqCst);
    }

    fn write(&self, mut to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match to.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if is_timeout(&error) && !self.is_cut() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection through a proxy, and both of its ends.
    fn through() -> (Proxy, TcpStream, TcpStream) {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap().port());
        let client = TcpStream::connect(proxy.address()).unwrap();
        let (served, _) = server.accept().unwrap();
        for side in [&client, &served] {
            side.set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
        }
        (proxy, client, served)
    }

    fn crosses(mut from: &TcpStream, mut to: &TcpStream) {
        from.write_all(b"x").unwrap();
        let mut byte = [0];
        to.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    /// What the next read gives within a moment.
    fn read(mut side: &TcpStream) -> io::Result<usize> {
        side.set_read_timeout(Some(Duration::from_millis(300)))?;
        let read = side.read(&mut [0]);
        side.set_read_timeout(Some(Duration::from_secs(10)))?;
        read
    }

    #[test]
    fn each_weather_does_what_it_says() {
        let (proxy, mut client, server) = through();
        crosses(&client, &server);
        crosses(&server, &client);
        proxy.set(Weather::OneWay { to_server: true });
        crosses(&server, &client);
        client.write_all(b"y").unwrap();
        assert!(is_timeout(&read(&server).unwrap_err()));
        proxy.set(Weather::BlackHole);
        assert!(is_timeout(&read(&server).unwrap_err()));
        proxy.set(Weather::Clear);
        assert_eq!(read(&server).unwrap(), 1, "what was held comes");
        proxy.set(Weather::Delay {
            ms: 200,
            jitter_ms: 0,
        });
        let began = Instant::now();
        crosses(&client, &server);
        assert!(began.elapsed() >= Duration::from_millis(200));
        proxy.set(Weather::HalfOpen);
        assert_eq!(
            read(&client).unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
        assert!(is_timeout(&read(&server).unwrap_err()), "it hears nothing");

        let (proxy, client, server) = through();
        crosses(&client, &server);
        proxy.set(Weather::Reset);
        for side in [&client, &server] {
            assert_eq!(read(side).unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
        let (_proxy, client, server) = through();
        drop(client);
        assert_eq!(read(&server).unwrap(), 0, "an end is passed on");
    }
}
