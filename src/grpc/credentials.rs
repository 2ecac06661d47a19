//! From certificates and keys to what the C core takes; it speaks TLS 1.2 and 1.3.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use grpcio::{
    CertificateRequestType, ChannelCredentials, ChannelCredentialsBuilder, ServerCredentials,
    ServerCredentialsBuilder, ServerCredentialsFetcher,
};

use crate::reload::Live;
use crate::tls;

/// For one port. The C core asks at each handshake whether there is another
/// certificate; connections that stand are left alone.
pub fn server(tls: Option<&Arc<Live<tls::Server>>>) -> ServerCredentials {
    let Some(live) = tls else {
        return ServerCredentials::insecure();
    };
    let fetcher = Fetcher {
        live: live.clone(),
        given: AtomicU64::new(0),
    };
    let request = request(&live.get());
    ServerCredentials::with_fetcher(Box::new(fetcher), request)
}

pub fn client(tls: &tls::Client) -> ChannelCredentials {
    let mut builder = ChannelCredentialsBuilder::new();
    if let Some(ca) = &tls.ca {
        builder = builder.root_cert(tls::pem(ca));
    }
    if let Some(identity) = &tls.identity {
        builder = builder.cert(identity.chain_pem(), identity.key_pem());
    }
    builder.build()
}

struct Fetcher {
    live: Arc<Live<tls::Server>>,
    /// The version that this port has.
    given: AtomicU64,
}

impl ServerCredentialsFetcher for Fetcher {
    fn fetch(&self) -> Result<Option<ServerCredentialsBuilder>, Box<dyn Error>> {
        let version = self.live.version();
        if self.given.swap(version, Ordering::Relaxed) == version {
            return Ok(None);
        }
        let now = self.live.get();
        let (chain, key) = (now.identity.chain_pem(), now.identity.key_pem());
        let mut builder = ServerCredentialsBuilder::new().add_cert(chain, key);
        if let Some(ca) = &now.client_ca {
            builder = builder.root_cert(tls::pem(ca), request(&now));
        }
        Ok(Some(builder))
    }
}

fn request(tls: &tls::Server) -> CertificateRequestType {
    match tls.client_ca {
        Some(_) => CertificateRequestType::RequestAndRequireClientCertificateAndVerify,
        None => CertificateRequestType::DontRequestClientCertificate,
    }
}
