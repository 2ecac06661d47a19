//! A file of tokens, as `messenger token` writes it, and calls with them.

use std::path::PathBuf;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use futures_util::{SinkExt as _, StreamExt as _};
use grpcio::{
    CallOption, Client, ClientDuplexReceiver, ClientDuplexSender, GrpcSlice, Marshaller,
    MetadataBuilder, Method, MethodType, RpcStatus, WriteFlags,
};
use messenger::access::Bearer;
use messenger::access::file::{self, Entry};
use messenger::grpc::blocking;
use messenger::grpc::client::{Connection, Settings};
use tempfile::TempDir;

use super::SOON;
use super::rpc::environment;

/// All tokens here start so, to be found in logs.
pub const SECRET: &str = "secret-";

pub struct Tokens {
    folder: TempDir,
    path: String,
}

impl Tokens {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokens.jsonl");
        std::fs::write(&path, "").unwrap();
        let path = path.to_string_lossy().into_owned();
        Self { folder, path }
    }

    pub fn path(&self) -> PathBuf {
        PathBuf::from(&self.path)
    }

    /// For a command that is asked.
    pub fn flags(&self) -> [&str; 2] {
        ["--auth-tokens", &self.path]
    }

    /// A new token with these rights.
    pub fn add(&self, name: &str, rights: &[&str]) -> String {
        self.insert(name, rights, None)
    }

    /// One that expires at this time.
    pub fn add_until(&self, name: &str, rights: &[&str], expires: SystemTime) -> String {
        self.insert(name, rights, Some(expires))
    }

    fn insert(&self, name: &str, rights: &[&str], expires: Option<SystemTime>) -> String {
        let token = format!("{SECRET}{name}-{}", fastrand::u64(..));
        self.change(|entries| {
            entries.push(Entry {
                name: name.into(),
                sha256: file::hash(token.as_bytes()),
                rights: rights.iter().map(|right| right.parse().unwrap()).collect(),
                expires: expires.map(|time| DateTime::<Utc>::from(time).to_rfc3339()),
            });
        });
        token
    }

    pub fn remove(&self, name: &str) {
        self.change(|entries| entries.retain(|entry| entry.name != name));
    }

    pub fn change(&self, change: impl FnOnce(&mut Vec<Entry>)) {
        file::change(&self.path(), change).unwrap();
    }

    /// A client's file with this token, for `--token-file`.
    pub fn file(&self, name: &str, token: &str) -> String {
        let path = self.folder.path().join(name);
        let new = path.with_extension("new");
        std::fs::write(&new, format!("{token}\n")).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path.to_string_lossy().into_owned()
    }

    /// A connection of ours that sends this token.
    pub fn connection(&self, server: &str, token: &str) -> Connection {
        let file = self.file(&format!("of-{token}"), token);
        let settings = Settings {
            token: Some(Bearer::open(file.as_ref()).expect("a token")),
            ..Settings::default()
        };
        Connection::new(environment(), server, &settings)
    }
}

/// The value of `authorization`.
pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Any method with bytes for messages: on the wire, all kinds of calls look like a stream
/// in both directions.
pub struct Call {
    sender: ClientDuplexSender<Vec<u8>>,
    receiver: ClientDuplexReceiver<Vec<u8>>,
}

impl Call {
    /// With these values of `authorization`.
    pub fn open(client: &Client, method: &str, authorization: &[&str]) -> Self {
        let mut metadata = MetadataBuilder::new();
        for value in authorization {
            metadata.add_str("authorization", value).unwrap();
        }
        let options = CallOption::default().headers(metadata.build());
        let opened = client.duplex_streaming(&bytes(method), options);
        let (sender, receiver) = opened.expect("a call");
        Self { sender, receiver }
    }

    /// Sends a request, and none after it if `last`. A call that is over takes none.
    pub fn ask(&mut self, request: &[u8], last: bool) {
        let request = (request.to_vec(), WriteFlags::default());
        let _ = blocking::wait(self.sender.send(request), Some(SOON)).expect("in time");
        if last {
            let _ = blocking::wait(self.sender.close(), Some(SOON)).expect("in time");
        }
    }

    /// The next message, or the status at the end.
    pub fn next(&mut self) -> Result<Vec<u8>, RpcStatus> {
        match blocking::wait(self.receiver.next(), Some(SOON)).expect("an answer in time") {
            Some(Ok(message)) => Ok(message),
            Some(Err(grpcio::Error::RpcFailure(status))) => Err(status),
            Some(Err(error)) => panic!("{error}"),
            None => Err(RpcStatus::ok()),
        }
    }

    /// The status after all messages.
    pub fn end(&mut self) -> RpcStatus {
        loop {
            if let Err(status) = self.next() {
                return status;
            }
        }
    }
}

fn bytes(name: &str) -> Method<Vec<u8>, Vec<u8>> {
    let marshaller = || Marshaller {
        ser: |bytes: &Vec<u8>, slot: &mut GrpcSlice| {
            *slot = GrpcSlice::from(bytes.clone());
            Ok(())
        },
        de: |mut message| {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut message, &mut bytes).expect("bytes in memory");
            Ok(bytes)
        },
    };
    Method {
        ty: MethodType::Duplex,
        name: Box::leak(name.to_owned().into_boxed_str()),
        req_mar: marshaller(),
        resp_mar: marshaller(),
    }
}
