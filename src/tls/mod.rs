//! Certificates and keys for TLS, as files in PEM, for what listens and for what connects.
//! OpenSSL checks them here. gRPC makes its credentials from them; all else speaks TLS by
//! OpenSSL itself ([`session`]).

pub mod session;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::SslContext;
use openssl::x509::X509;

use crate::reload::Live;

/// The largest file: all authorities of a system are a quarter of it.
const FILE_BYTES: u64 = 1024 * 1024;

/// A file, and the flag that names it.
#[derive(Clone, Debug)]
pub struct Named {
    pub flag: &'static str,
    pub path: PathBuf,
}

/// Why there is no TLS: names flag and file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} {}: {reason}", file.flag, file.path.display())]
    File { file: Named, reason: String },
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
    #[error(transparent)]
    OpenSsl(#[from] ErrorStack),
}

/// The files of one who shows a certificate.
#[derive(Clone, Debug)]
pub struct IdentityFiles {
    /// The certificate, then those that sign it, up to the authority.
    pub chain: Named,
    pub key: Named,
}

/// The files of what listens.
#[derive(Clone, Debug)]
pub struct ServerFiles {
    pub identity: IdentityFiles,
    /// Whose certificates clients have to show; without it, they show none.
    pub client_ca: Option<Named>,
}

/// The files of what connects.
#[derive(Clone, Debug, Default)]
pub struct ClientFiles {
    /// Who has signed the server's certificate; one of the system's authorities without it.
    pub ca: Option<Named>,
    pub identity: Option<IdentityFiles>,
    /// The name in the server's certificate, if it is not the one that is connected to.
    pub name: Option<String>,
}

/// A certificate with what leads to its authority, and the key that fits it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// At least one; the first is its own.
    pub chain: Vec<X509>,
    pub key: PKey<Private>,
}

/// What a listener needs.
#[derive(Clone, Debug)]
pub struct Server {
    pub identity: Identity,
    /// Not empty: mutual TLS.
    pub client_ca: Option<Vec<X509>>,
    /// For the handshakes of our own sockets.
    pub context: SslContext,
}

/// What a connection needs.
#[derive(Clone, Debug, Default)]
pub struct Client {
    pub ca: Option<Vec<X509>>,
    pub identity: Option<Identity>,
    pub name: Option<String>,
}

impl ServerFiles {
    /// Reads the files, now and whenever they change.
    ///
    /// # Errors
    /// A file that cannot be read or used.
    pub fn read(self) -> Result<Arc<Live<Server>>, Error> {
        let files = self.identity.files().chain(&self.client_ca);
        let files: Vec<_> = files.map(|file| file.path.clone()).collect();
        Live::read("the server's certificate", files, move || {
            let identity = self.identity.read()?;
            let client_ca = self.client_ca.as_ref().map(certificates).transpose()?;
            let context = session::server(&identity, client_ca.as_deref())?;
            Ok(Server {
                identity,
                client_ca,
                context,
            })
        })
    }
}

impl ClientFiles {
    /// As [`ServerFiles::read`].
    ///
    /// # Errors
    /// As [`ServerFiles::read`].
    pub fn read(self) -> Result<Arc<Live<Client>>, Error> {
        let identity = self.identity.iter().flat_map(IdentityFiles::files);
        let files = identity.chain(&self.ca).map(|file| file.path.clone());
        let files: Vec<_> = files.collect();
        Live::read("the client's certificate or authority", files, move || {
            let identity = self.identity.as_ref().map(IdentityFiles::read);
            Ok(Client {
                ca: self.ca.as_ref().map(certificates).transpose()?,
                identity: identity.transpose()?,
                name: self.name.clone(),
            })
        })
    }
}

impl IdentityFiles {
    fn files(&self) -> impl Iterator<Item = &Named> {
        [&self.chain, &self.key].into_iter()
    }

    fn read(&self) -> Result<Identity, Error> {
        let chain = certificates(&self.chain)?;
        let key = key(&self.key)?;
        if !chain[0].public_key()?.public_eq(&key) {
            let chain = &self.chain;
            let reason = format!(
                "it does not fit the certificate in {} {}",
                chain.flag,
                chain.path.display()
            );
            return Err(refused(&self.key, &reason));
        }
        Ok(Identity { chain, key })
    }
}

impl Identity {
    /// The chain in PEM.
    pub fn chain_pem(&self) -> Vec<u8> {
        pem(&self.chain)
    }

    /// The key in PEM, without a passphrase.
    pub fn key_pem(&self) -> Vec<u8> {
        // Only without memory. gRPC refuses what is empty.
        self.key.private_key_to_pem_pkcs8().unwrap_or_default()
    }
}

/// Certificates in PEM, one after the other.
pub fn pem(certificates: &[X509]) -> Vec<u8> {
    let each = certificates.iter().map(|each| each.to_pem());
    each.flat_map(Result::unwrap_or_default).collect()
}

/// At least one.
fn certificates(file: &Named) -> Result<Vec<X509>, Error> {
    let found = X509::stack_from_pem(&content(file)?);
    let found = found.map_err(|_| refused(file, "not a certificate in PEM"))?;
    if found.is_empty() {
        return Err(refused(file, "no certificate in PEM in it"));
    }
    Ok(found)
}

fn key(file: &Named) -> Result<PKey<Private>, Error> {
    let content = content(file)?;
    let mut locked = false;
    // Without this, OpenSSL asks the terminal.
    let key = PKey::private_key_from_pem_callback(&content, |_| {
        locked = true;
        Ok(0)
    });
    key.map_err(|_| match locked {
        true => refused(file, "the key is encrypted: give one without a passphrase"),
        false => refused(file, "not a private key in PEM"),
    })
}

fn content(file: &Named) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    let opened = File::open(&file.path);
    let read = opened.and_then(|opened| opened.take(FILE_BYTES + 1).read_to_end(&mut content));
    read.map_err(|error| refused(file, &error.to_string()))?;
    if content.len() as u64 > FILE_BYTES {
        return Err(refused(file, "more than 1 MiB"));
    }
    Ok(content)
}

fn refused(file: &Named, reason: &str) -> Error {
    Error::File {
        file: file.clone(),
        reason: reason.into(),
    }
}
