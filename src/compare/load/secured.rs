//! What a server with TLS and tokens needs, and the load that speaks to it: a
//! certificate and a token of one measurement's own.

use std::io;
use std::net::TcpStream;
use std::process::Command;

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslMethod, SslStream};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509Name};

/// The name in the certificate.
const HOST: &str = "localhost";

pub struct Secured {
    folder: tempfile::TempDir,
    connector: SslConnector,
    authorization: String,
}

impl Secured {
    /// Makes both; the token comes from our program with these arguments.
    ///
    /// # Errors
    /// When there is no place for the files, or no token.
    pub fn new(program: impl FnOnce(&[&str]) -> Command) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = |name: &str| folder.path().join(name);
        let (certificate, key) = certificate()?;
        std::fs::write(file("cert.pem"), certificate.to_pem()?)?;
        std::fs::write(file("key.pem"), key)?;
        let tokens = file("tokens").display().to_string();
        let new = ["token", "new", "load", "--right", "*", "--file", &tokens];
        let made = program(&new).output()?;
        let token = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        if !made.status.success() || token.is_empty() {
            return Err(io::Error::other("there is no token"));
        }
        let mut connector = SslConnector::builder(SslMethod::tls_client())?;
        connector.cert_store_mut().add_cert(certificate)?;
        connector.set_alpn_protos(b"\x02h2")?;
        Ok(Self {
            folder,
            connector: connector.build(),
            authorization: format!("Bearer {token}"),
        })
    }

    /// What a server has to be started with.
    pub fn flags(&self) -> Vec<String> {
        let files = [
            ("--tls-cert", "cert.pem"),
            ("--tls-key", "key.pem"),
            ("--auth-tokens", "tokens"),
        ];
        let pair = |(flag, name): (&str, &str)| {
            let file = self.folder.path().join(name);
            [flag.to_owned(), file.display().to_string()]
        };
        files.into_iter().flat_map(pair).collect()
    }

    /// The value of `authorization`.
    pub fn authorization(&self) -> &str {
        &self.authorization
    }

    /// # Errors
    /// When the server's certificate is another one, or the handshake fails.
    pub fn connect(&self, socket: TcpStream) -> io::Result<SslStream<TcpStream>> {
        let connected = self.connector.connect(HOST, socket);
        connected.map_err(|error| io::Error::other(error.to_string()))
    }
}

/// Signed by itself, and its key in PEM.
fn certificate() -> Result<(X509, Vec<u8>), ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let mut name = X509Name::builder()?;
    name.append_entry_by_nid(Nid::COMMONNAME, HOST)?;
    let name = name.build();
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_pubkey(&key)?;
    builder.set_not_before(Asn1Time::days_from_now(0)?.as_ref())?;
    builder.set_not_after(Asn1Time::days_from_now(1)?.as_ref())?;
    let names = SubjectAlternativeName::new()
        .dns(HOST)
        .build(&builder.x509v3_context(None, None))?;
    builder.append_extension(names)?;
    builder.sign(&key, MessageDigest::sha256())?;
    Ok((builder.build(), key.private_key_to_pem_pkcs8()?))
}
