//! A TCP proxy that loses answers: of each connection it passes on so many bytes of the
//! server, and resets both sides when more come.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

pub struct Lossy {
    port: u16,
    over: Arc<AtomicBool>,
}

impl Lossy {
    /// Before the program that has this port; `bytes` is asked for each connection.
    pub fn start(server: u16, mut bytes: impl FnMut() -> usize + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let bytes = bytes();
                thread::spawn(move || serve(client, server, bytes));
            }
        });
        Self { port, over }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(mut client: TcpStream, server: u16, mut left: usize) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)) else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (Ok(mut from), Ok(mut to)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let forth = thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = server.read(&mut buffer) {
        // An answer may be cut in its middle, too.
        let passed = client.write_all(&buffer[..count.min(left)]);
        if count > left || passed.is_err() {
            // Closed without lingering: a reset. Source: socket(7), SO_LINGER.
            let _ = set_socket_linger(&client, Some(Duration::ZERO));
            break;
        }
        left -= count;
    }
    let _ = (
        client.shutdown(Shutdown::Both),
        server.shutdown(Shutdown::Both),
    );
    let _ = forth.join();
}
