//! Which broker, and how to connect to it.

use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;

use lapin::runtime::default_runtime;
use lapin::tcp::AMQPUriTcpExt;
use lapin::types::ShortString;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use openssl::ssl::SslConnector;

use super::exchange::{EXCHANGE, Over};
use crate::reload::Live;
use crate::tls::Client;
use crate::tls::session::{named_in_url, take_parameters};

/// Heartbeat interval; a broker that is silent for twice as long has gone.
const HEARTBEAT_SECONDS: u16 = 10;

/// Which broker, and which queue there.
#[derive(Clone, Debug)]
pub struct Broker {
    /// That of plain AMQP: TLS is ours.
    pub uri: AMQPUri,
    tls: Option<Tls>,
    pub queue: String,
}

/// For `amqps`.
#[derive(Clone, Debug)]
struct Tls {
    files: Option<Arc<Live<Client>>>,
    /// The name that the broker's certificate has to be for.
    name: String,
}

/// The parameters of TLS, which lapin does not know.
/// Source: <https://www.rabbitmq.com/docs/uri-query-parameters>
const TLS_PARAMETERS: [&str; 5] = [
    "cacertfile",
    "certfile",
    "keyfile",
    "server_name_indication",
    "verify",
];

impl Broker {
    /// `url` is `amqp://user:password@host:port/vhost`, or `amqps` for TLS, which checks
    /// the broker's certificate and name; with `cacertfile`, `certfile`, `keyfile` and
    /// `server_name_indication` as RabbitMQ's own clients take them.
    ///
    /// # Errors
    /// One line that says what is wrong with it.
    pub fn new(url: &str, queue: &str) -> Result<Self, String> {
        let (url, mut given) = take_parameters(url, &TLS_PARAMETERS);
        let mut uri: AMQPUri = url.parse()?;
        let scheme = std::mem::take(&mut uri.scheme);
        if scheme == AMQPScheme::AMQP
            && let Some(parameter) = given.keys().next()
        {
            return Err(format!("{parameter} needs amqps://"));
        }
        let files = named_in_url(&given, ["cacertfile", "certfile", "keyfile"]);
        let files = files.map_err(|error| error.to_string())?;
        if given
            .get("verify")
            .is_some_and(|verify| verify != "verify_peer")
        {
            return Err("verify: the broker's certificate is always checked".into());
        }
        let name = given.remove("server_name_indication");
        let tls = (scheme == AMQPScheme::AMQPS).then(|| Tls {
            files,
            name: name.unwrap_or_else(|| uri.authority.host.clone()),
        });
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        // In milliseconds.
        uri.query
            .connection_timeout
            .get_or_insert(EXCHANGE.as_secs() * 1000);
        let queue = ShortString::try_new(queue).map_err(|error| error.to_string())?;
        Ok(Self {
            uri,
            tls,
            queue: queue.as_str().into(),
        })
    }

    pub fn address(&self) -> String {
        let authority = &self.uri.authority;
        format!("{}:{}", authority.host, authority.port)
    }
}

impl Tls {
    /// With the files as they are now.
    fn connector(&self) -> io::Result<SslConnector> {
        let files = self.files.as_ref().map(|files| files.get());
        Ok(files.unwrap_or_default().connector()?.build())
    }
}

/// Checks that the broker answers at all: lapin leaks a thread for each connection
/// to one that accepts and stays silent, until that one closes it.
pub fn probe(broker: &Broker) -> Result<(), Over> {
    let probe = || {
        let mut stream = dial(broker)?;
        stream.write_all(b"AMQP\0\0\x09\x01")?;
        stream.read_exact(&mut [0])
    };
    probe().map_err(|error: io::Error| Over::Lost(error.to_string()))
}

/// A connection that blocks.
pub trait Stream: io::Read + io::Write {}

impl<T: io::Read + io::Write> Stream for T {}

/// Connects for who speaks AMQP by itself; each read and write has a timeout.
pub fn dial(broker: &Broker) -> io::Result<Box<dyn Stream>> {
    let authority = &broker.uri.authority;
    let mut addresses = (&*authority.host, authority.port).to_socket_addrs()?;
    let address = addresses.next().ok_or(io::ErrorKind::NotFound)?;
    let stream = TcpStream::connect_timeout(&address, EXCHANGE)?;
    stream.set_read_timeout(Some(EXCHANGE))?;
    stream.set_write_timeout(Some(EXCHANGE))?;
    let Some(tls) = &broker.tls else {
        return Ok(Box::new(stream));
    };
    let stream = tls.connector()?.connect(&tls.name, stream);
    let stream = stream.map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Box::new(stream))
}

/// lapin's own way to TLS trusts the system's authorities too, and knows no names but
/// the host's.
pub async fn connect(broker: &Broker, options: ConnectionProperties) -> lapin::Result<Connection> {
    let tls = match &broker.tls {
        Some(tls) => Some((tls.connector()?, tls.name.clone())),
        None => None,
    };
    let connect = async move |uri: AMQPUri, runtime| {
        let plain = AMQPUriTcpExt::connect_async(&uri, &runtime).await?;
        let Some((connector, name)) = &tls else {
            return Ok(plain);
        };
        Ok(plain.into_openssl(connector, name).await?)
    };
    Connection::connector(broker.uri.clone(), default_runtime()?, connect, options).await
}

/// The dead-letter queue of this queue.
pub fn dead_name(queue: &str) -> String {
    format!("{queue}.dead")
}
