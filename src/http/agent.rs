//! ureq's agents over TLS: whom they trust, what they show, and by which name they ask.

use std::io;

use openssl::error::ErrorStack;
use openssl::x509::X509;
use ureq::config::{Config, ConfigBuilder};
use ureq::http::header::{HOST, HeaderValue};
use ureq::http::uri::Authority;
use ureq::http::{Request, Uri};
use ureq::middleware::MiddlewareNext;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};
use ureq::typestate::AgentScope;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, SendBody};

use crate::tls::Client;

/// An agent for what listens at `address`, and how the URLs begin there. It speaks
/// TLS with `tls`, or if the address begins with `https://`; the certificate has to be
/// for the host, or for the name that `tls` has.
///
/// # Errors
/// What OpenSSL refuses of `tls`, and an address that is none.
pub fn agent(
    address: &str,
    tls: Option<&Client>,
    config: ConfigBuilder<AgentScope>,
) -> io::Result<(Agent, String)> {
    let encrypted = tls.is_some() || address.starts_with("https://");
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    if !encrypted {
        return Ok((config.build().into(), format!("http://{address}")));
    }
    let system = Client::default();
    let tls = tls.unwrap_or(&system);
    let real = format!("https://{address}").parse::<Uri>();
    let real = real.map_err(io::Error::other)?;
    let name = tls.name.as_deref().or(real.host()).unwrap_or_default();
    let port = real.port_u16().unwrap_or(443);
    let path = real.path().trim_end_matches('/');
    let start = format!("https://{name}:{port}{path}");
    let host = real.authority().map_or("", Authority::as_str);
    let host = HeaderValue::from_str(host).map_err(io::Error::other)?;
    // The name is the certificate's alone.
    let config = config.middleware(
        move |mut request: Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
            request.headers_mut().insert(HOST, host.clone());
            next.handle(request)
        },
    );
    let config = config.tls_config(settings(tls)?).build();
    let at = At(real, DefaultResolver::default());
    Ok((
        Agent::with_parts(config, DefaultConnector::new(), at),
        start,
    ))
}

fn settings(tls: &Client) -> io::Result<TlsConfig> {
    let all = |certificates: &[X509]| {
        let each = certificates.iter().map(|certificate| {
            let der = certificate.to_der()?;
            Ok(Certificate::from_der(&der).to_owned())
        });
        each.collect::<Result<Vec<_>, ErrorStack>>()
    };
    let roots = match &tls.ca {
        Some(ca) => RootCerts::new_with_certs(&all(ca)?),
        None => RootCerts::PlatformVerifier,
    };
    let shown = match &tls.identity {
        Some(identity) => {
            let key = PrivateKey::from_pem(&identity.key_pem()).map_err(io::Error::other)?;
            Some(ClientCert::new_with_certs(&all(&identity.chain)?, key))
        }
        None => None,
    };
    let settings = TlsConfig::builder().provider(TlsProvider::NativeTls);
    Ok(settings.root_certs(roots).client_cert(shown).build())
}

/// Connects to this address, by whichever name the request asks.
#[derive(Debug)]
struct At(Uri, DefaultResolver);

impl Resolver for At {
    fn resolve(
        &self,
        _: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.1.resolve(&self.0, config, timeout)
    }
}
