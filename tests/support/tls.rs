//! What speaks TLS with our servers here: OpenSSL and the C core.

use std::net::TcpStream;

use grpcio::{ChannelBuilder, ChannelCredentialsBuilder, Client};
use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslStream, SslVersion};
use openssl::x509::X509;

use super::SOON;
use super::certificates::{Authority, Pair, path};
use super::rpc::environment;

/// The flags of a server with this certificate.
pub fn flags(pair: &Pair) -> [&str; 4] {
    let (certificate, key) = pair.paths();
    ["--tls-cert", certificate, "--tls-key", key]
}

/// A handshake with exactly this version: the certificate that the server shows, or
/// why there is no connection. It is signed by this authority.
pub fn handshake(port: u16, authority: &Authority, version: SslVersion) -> Result<X509, String> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    builder.set_ca_file(authority.file()).unwrap();
    builder.set_min_proto_version(Some(version)).unwrap();
    builder.set_max_proto_version(Some(version)).unwrap();
    builder.set_alpn_protos(b"\x02h2").unwrap();
    // So that versions that nobody should speak are tried at all.
    builder.set_cipher_list("DEFAULT:@SECLEVEL=0").unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
    let stream = builder.build().connect("localhost", socket);
    let stream = stream.map_err(|error| error.to_string())?;
    let shown = stream.ssl().peer_certificate();
    shown.ok_or_else(|| "no certificate".into())
}

/// A connection of its own that trusts this authority, without our client's code.
pub fn raw(server: &str, authority: &Authority) -> Client {
    let ca = std::fs::read(authority.file()).unwrap();
    let channel = ChannelBuilder::new(environment())
        .use_local_subchannel_pool(true)
        .enable_retry(false)
        .set_credentials(ChannelCredentialsBuilder::new().root_cert(ca).build())
        .connect(server);
    Client::new(channel)
}

/// The path of an authority's own certificate, as a command line takes it.
pub fn ca(authority: &Authority) -> String {
    path(&authority.file()).to_owned()
}

/// A session that trusts this authority and shows this certificate.
pub fn session(
    port: u16,
    authority: &Authority,
    shown: Option<&Pair>,
) -> Result<SslStream<TcpStream>, String> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    builder.set_ca_file(authority.file()).unwrap();
    if let Some(Pair { certificate, key }) = shown {
        builder.set_certificate_chain_file(certificate).unwrap();
        builder.set_private_key_file(key, SslFiletype::PEM).unwrap();
    }
    let socket = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
    socket.set_read_timeout(Some(2 * SOON)).unwrap();
    socket.set_write_timeout(Some(2 * SOON)).unwrap();
    let stream = builder.build().connect("localhost", socket);
    stream.map_err(|error| error.to_string())
}
