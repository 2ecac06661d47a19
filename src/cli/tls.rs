//! Flags for TLS: one set for what listens, one for what connects. A command that does
//! both has the second set with the name of what it connects to.

use std::ffi::OsString;
use std::sync::Arc;

use clap::builder::FalseyValueParser;

use super::Error;
use crate::reload::Live;
use crate::tls::{Client, ClientFiles, IdentityFiles, Named, Server, ServerFiles};

const FILE: &str = "FILE";
const LISTEN: &str = "TLS";

/// For what listens.
#[derive(clap::Args, Debug)]
pub struct Listen {
    /// Listen with TLS: the certificate in PEM, and those that lead to its authority. Like
    /// the other files, it is read again when it changes, and on SIGHUP
    #[arg(long, env = "MESSENGER_TLS_CERT", value_name = FILE, help_heading = LISTEN)]
    tls_cert: Option<OsString>,
    /// The key of --tls-cert in PEM, without a passphrase
    #[arg(long, env = "MESSENGER_TLS_KEY", value_name = FILE, help_heading = LISTEN)]
    tls_key: Option<OsString>,
    /// Mutual TLS: only clients with a certificate of one of these authorities
    #[arg(long, env = "MESSENGER_TLS_CLIENT_CA", value_name = FILE, help_heading = LISTEN)]
    tls_client_ca: Option<OsString>,
}

impl Listen {
    /// `None` is plain text.
    ///
    /// # Errors
    /// A flag without the one that it needs, or a file that cannot be used.
    pub fn read(&self) -> Result<Option<Arc<Live<Server>>>, Error> {
        let cert = named("--tls-cert", self.tls_cert.as_ref());
        let key = named("--tls-key", self.tls_key.as_ref());
        let client_ca = named("--tls-client-ca", self.tls_client_ca.as_ref());
        let Some(identity) = identity(cert, key)? else {
            let alone = client_ca.map(|_| "--tls-client-ca needs --tls-cert and --tls-key");
            return alone.map_or(Ok(None), |error| Err(error.into()));
        };
        let files = ServerFiles {
            identity,
            client_ca,
        };
        Ok(Some(files.read()?))
    }
}

/// Flags of a client, with a prefix for the flags and one for the variables.
macro_rules! client {
    ($name:ident, $whom:literal, $flag:literal, $variable:literal) => {
        #[doc = concat!("For what connects to ", $whom, ".")]
        #[derive(clap::Args, Clone, Debug, Default)]
        pub struct $name {
            #[arg(id = concat!($flag, "tls"), long = concat!($flag, "tls"), global = true,
                env = concat!($variable, "TLS"), help_heading = concat!("TLS to ", $whom),
                value_parser = FalseyValueParser::new(), help = concat!("Speak TLS to ", $whom,
                    ", with a certificate of one of the system's authorities"))]
            on: bool,
            #[arg(id = concat!($flag, "tls-ca"), long = concat!($flag, "tls-ca"), global = true,
                env = concat!($variable, "TLS_CA"), help_heading = concat!("TLS to ", $whom),
                value_name = FILE, help = concat!("Speak TLS to ", $whom,
                    ", with a certificate of these authorities, in PEM"))]
            ca: Option<OsString>,
            #[arg(id = concat!($flag, "tls-cert"), long = concat!($flag, "tls-cert"), global = true,
                env = concat!($variable, "TLS_CERT"), help_heading = concat!("TLS to ", $whom),
                value_name = FILE, help = "The certificate that is shown (mutual TLS), in PEM")]
            cert: Option<OsString>,
            #[arg(id = concat!($flag, "tls-key"), long = concat!($flag, "tls-key"), global = true,
                env = concat!($variable, "TLS_KEY"), help_heading = concat!("TLS to ", $whom),
                value_name = FILE, help = concat!("The key of --", $flag, "tls-cert in PEM, without a passphrase"))]
            key: Option<OsString>,
            #[arg(id = concat!($flag, "tls-name"), long = concat!($flag, "tls-name"), global = true,
                env = concat!($variable, "TLS_NAME"), help_heading = concat!("TLS to ", $whom),
                value_name = "HOST", help =
                "The name in the certificate, if it is not the one that is connected to")]
            name: Option<String>,
        }

        impl $name {
            /// `None` is plain text.
            ///
            /// # Errors
            /// A flag without the one that it needs, or a file that cannot be used.
            pub fn read(&self) -> Result<Option<Arc<Live<Client>>>, Error> {
                let cert = named(concat!("--", $flag, "tls-cert"), self.cert.as_ref());
                let key = named(concat!("--", $flag, "tls-key"), self.key.as_ref());
                let files = ClientFiles {
                    ca: named(concat!("--", $flag, "tls-ca"), self.ca.as_ref()),
                    identity: identity(cert, key)?,
                    name: self.name.clone().filter(|name| !name.is_empty()),
                };
                if self.on || files.ca.is_some() {
                    return Ok(Some(files.read()?));
                }
                if files.identity.is_some() || files.name.is_some() {
                    return Err(concat!(
                        "--", $flag, "tls-cert and --", $flag, "tls-name need --", $flag,
                        "tls-ca, or --", $flag, "tls for the system's authorities"
                    ).into());
                }
                Ok(None)
            }
        }
    };
}

client!(Connect, "the server", "", "MESSENGER_");
client!(ConnectToLog, "the log", "history-", "MESSENGER_HISTORY_");
client!(
    ConnectToServer,
    "the server",
    "server-",
    "MESSENGER_SERVER_"
);

/// Compose files set variables to nothing when they mean none.
fn named(flag: &'static str, path: Option<&OsString>) -> Option<Named> {
    let path = path.filter(|path| !path.is_empty())?.into();
    Some(Named { flag, path })
}

fn identity(chain: Option<Named>, key: Option<Named>) -> Result<Option<IdentityFiles>, Error> {
    let (has, lacks) = match (&chain, &key) {
        (Some(chain), None) => (chain.flag, chain.flag.replace("cert", "key")),
        (None, Some(key)) => (key.flag, key.flag.replace("key", "cert")),
        _ => {
            return Ok(chain
                .zip(key)
                .map(|(chain, key)| IdentityFiles { chain, key }));
        }
    };
    Err(format!("{has} needs {lacks}").into())
}
