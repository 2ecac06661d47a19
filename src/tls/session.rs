//! Sessions of OpenSSL itself, TLS 1.2 and newer: the HTTP front, and what connects to
//! PostgreSQL, RabbitMQ and HTTP servers. Here is what is checked of the other side.

use std::collections::HashMap;
use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::ssl::{
    SslAcceptor, SslConnector, SslConnectorBuilder, SslContext, SslContextBuilder, SslMethod,
    SslOptions, SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use openssl::stack::Stack;
use openssl::x509::X509;
use openssl::x509::store::{X509Store, X509StoreBuilder};

use super::{Client, ClientFiles, Error, Identity, IdentityFiles, Named};
use crate::reload::Live;

impl Client {
    /// Checks the server's certificate, and that it is for the name that a connection
    /// is made with.
    ///
    /// # Errors
    /// What OpenSSL refuses.
    pub fn connector(&self) -> Result<SslConnectorBuilder, ErrorStack> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        if let Some(ca) = &self.ca {
            builder.set_cert_store(store(ca)?);
        }
        if let Some(identity) = &self.identity {
            show(&mut builder, identity)?;
        }
        Ok(builder)
    }
}

/// With `client_ca`, clients have to show a certificate that one of these has signed,
/// at every handshake: no session is resumed.
pub(super) fn server(
    identity: &Identity,
    client_ca: Option<&[X509]>,
) -> Result<SslContext, ErrorStack> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    show(&mut builder, identity)?;
    // A request says itself whether it is whole.
    builder.set_options(SslOptions::NO_RENEGOTIATION | SslOptions::IGNORE_UNEXPECTED_EOF);
    // What a client needs to resume is in its ticket, not in our memory.
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    if let Some(ca) = client_ca {
        let mut names = Stack::new()?;
        for authority in ca {
            names.push(authority.subject_name().to_owned()?)?;
        }
        builder.set_client_ca_list(names);
        builder.set_cert_store(store(ca)?);
        builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        builder.set_options(SslOptions::NO_TICKET);
        builder.set_num_tickets(0)?;
    }
    Ok(builder.build().into_context())
}

fn show(builder: &mut SslContextBuilder, identity: &Identity) -> Result<(), ErrorStack> {
    let mut chain = identity.chain.iter();
    chain
        .next()
        .map_or(Ok(()), |own| builder.set_certificate(own))?;
    for signer in chain {
        builder.add_extra_chain_cert(signer.clone())?;
    }
    builder.set_private_key(&identity.key)
}

/// These alone, not those of the system.
fn store(authorities: &[X509]) -> Result<X509Store, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    for authority in authorities {
        store.add_cert(authority.clone())?;
    }
    Ok(store.build())
}

/// Takes the parameters of these names out of a URL's query: the URL without them,
/// and what they are set to, unless that is nothing.
pub fn take_parameters(url: &str, names: &[&str]) -> (String, HashMap<String, String>) {
    let Some((start, query)) = url.split_once('?') else {
        return (url.to_owned(), HashMap::new());
    };
    let is_ours = |pair: &&str| names.contains(&pair.split('=').next().unwrap_or_default());
    let (ours, others): (Vec<&str>, Vec<&str>) = query.split('&').partition(is_ours);
    // A + is no space in such a URL.
    let ours = ours.join("&").replace('+', "%2B");
    let taken = form_urlencoded::parse(ours.as_bytes()).into_owned();
    let taken = taken.filter(|(_, value)| !value.is_empty()).collect();
    (format!("{start}?{}", others.join("&")), taken)
}

/// The files that a URL's parameters of these names name: authorities, certificate,
/// key. `None` without any.
///
/// # Errors
/// A certificate without its key, or a key without its certificate; files that cannot
/// be used.
pub fn named_in_url(
    parameters: &HashMap<String, String>,
    names: [&'static str; 3],
) -> Result<Option<Arc<Live<Client>>>, Error> {
    let [ca, chain, key] = names.map(|flag| {
        let path = parameters.get(flag)?.into();
        Some(Named { flag, path })
    });
    let identity = match (chain, key) {
        (Some(chain), Some(key)) => Some(IdentityFiles { chain, key }),
        (None, None) => None,
        (Some(file), None) | (None, Some(file)) => {
            let reason = format!("{} and {} need each other", names[1], names[2]);
            return Err(Error::File { file, reason });
        }
    };
    if ca.is_none() && identity.is_none() {
        return Ok(None);
    }
    let name = None;
    ClientFiles { ca, identity, name }.read().map(Some)
}

#[cfg(test)]
mod tests {
    use super::take_parameters;

    #[test]
    fn parameters_are_taken_out_and_others_stay_as_they_are() {
        let url = "postgres://a:b%3F@h/d?sslmode=require&options=-c%20x+y&sslrootcert=/c%2B+/a.pem";
        let (rest, taken) = take_parameters(url, &["sslmode", "sslrootcert"]);
        assert_eq!(rest, "postgres://a:b%3F@h/d?options=-c%20x+y");
        assert_eq!(taken["sslmode"], "require");
        assert_eq!(taken["sslrootcert"], "/c++/a.pem");
        let plain = "amqp://h";
        assert_eq!(take_parameters(plain, &["verify"]).0, plain);
    }
}
