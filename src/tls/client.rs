//! TLS towards servers by OpenSSL: PostgreSQL, RabbitMQ and HTTP, which is all but
//! gRPC.

use std::collections::HashMap;
use std::path::PathBuf;

use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslFiletype, SslMethod, SslVersion};
use openssl::x509::store::X509StoreBuilder;

/// Whom a client trusts, and what it shows. Files are PEM, and are read again for
/// each [`Files::connector`], so a new connection takes new ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The authorities that may have signed the server's certificate; the system's
    /// if not given.
    pub ca: Option<PathBuf>,
    /// The client's own certificate, with those in between, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Files {
    /// Takes them from the parameters of a URL, which are named so: authorities,
    /// certificate, key.
    ///
    /// # Errors
    /// A certificate without its key, or a key without its certificate.
    pub fn take(from: &mut HashMap<String, String>, names: [&str; 3]) -> Result<Self, String> {
        let [ca, certificate, key] = names.map(|name| {
            let file = from.remove(name).filter(|file| !file.is_empty());
            file.map(PathBuf::from)
        });
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(format!("{} and {} need each other", names[1], names[2])),
        };
        Ok(Self { ca, identity })
    }

    /// TLS 1.2 or newer. Checks the server's certificate, and that it is for the
    /// name that the connection is made with.
    ///
    /// # Errors
    /// One line that names the file that cannot be used.
    pub fn connector(&self) -> Result<SslConnectorBuilder, String> {
        let name = |file: &PathBuf, error: &ErrorStack| format!("{}: {error}", file.display());
        let mut builder = secure().map_err(|error| error.to_string())?;
        if let Some(ca) = &self.ca {
            // Instead of the system's, not besides them.
            let only = X509StoreBuilder::new().map(|store| builder.set_cert_store(store.build()));
            let set = only.and_then(|()| builder.set_ca_file(ca));
            set.map_err(|error| name(ca, &error))?;
        }
        if let Some((certificate, key)) = &self.identity {
            let chain = builder.set_certificate_chain_file(certificate);
            chain.map_err(|error| name(certificate, &error))?;
            let key_set = builder.set_private_key_file(key, SslFiletype::PEM);
            let fits = key_set.and_then(|()| builder.check_private_key());
            fits.map_err(|error| name(key, &error))?;
        }
        Ok(builder)
    }
}

fn secure() -> Result<SslConnectorBuilder, ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    Ok(builder)
}

/// Takes the parameters of these names out of a URL's query: the URL without them,
/// and what they are set to.
pub fn take_parameters(url: &str, names: &[&str]) -> (String, HashMap<String, String>) {
    let Some((start, query)) = url.split_once('?') else {
        return (url.to_owned(), HashMap::new());
    };
    let is_ours = |pair: &&str| names.contains(&pair.split('=').next().unwrap_or_default());
    let (ours, others): (Vec<&str>, Vec<&str>) = query.split('&').partition(is_ours);
    // A + is no space in such a URL.
    let ours = ours.join("&").replace('+', "%2B");
    let taken = form_urlencoded::parse(ours.as_bytes())
        .into_owned()
        .collect();
    (format!("{start}?{}", others.join("&")), taken)
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
