//! Authorities and certificates of a test's own, as PEM files in its own folder.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name};

/// Signs certificates.
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
    folder: tempfile::TempDir,
}

/// The files of a certificate and its key.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = new_key();
        let mut builder = builder(name, &key);
        let own_name = builder_name(name);
        builder.set_issuer_name(&own_name).unwrap();
        let is_authority = BasicConstraints::new().critical().ca().build().unwrap();
        builder.append_extension(is_authority).unwrap();
        let usage = KeyUsage::new().key_cert_sign().crl_sign().build().unwrap();
        builder.append_extension(usage).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        let certificate = builder.build();
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("ca.pem"), certificate.to_pem().unwrap()).unwrap();
        Self {
            certificate,
            key,
            folder,
        }
    }

    /// Its own certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for these hosts: names and addresses. The first is its subject
    /// too.
    pub fn issue(&self, hosts: &[&str]) -> Pair {
        let file = |ending| {
            let name = format!("{}{ending}", fastrand::u64(..));
            self.folder.path().join(name)
        };
        let pair = Pair {
            certificate: file(".pem"),
            key: file(".key"),
        };
        self.renew(&pair, hosts);
        pair
    }

    /// Another certificate in the place of this one, as a renewal does it: each file
    /// is replaced by a rename.
    pub fn renew(&self, pair: &Pair, hosts: &[&str]) {
        let key = new_key();
        let mut builder = builder(hosts[0], &key);
        builder
            .set_issuer_name(self.certificate.subject_name())
            .unwrap();
        let mut names = SubjectAlternativeName::new();
        for host in hosts {
            match host.parse::<IpAddr>() {
                Ok(_) => names.ip(host),
                Err(_) => names.dns(host),
            };
        }
        let names = names.build(&builder.x509v3_context(Some(&self.certificate), None));
        builder.append_extension(names.unwrap()).unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        replace(&pair.key, &key.private_key_to_pem_pkcs8().unwrap());
        replace(&pair.certificate, &builder.build().to_pem().unwrap());
    }
}

impl Pair {
    /// Their paths as a command line takes them.
    pub fn paths(&self) -> (&str, &str) {
        (path(&self.certificate), path(&self.key))
    }
}

/// A path as a command line takes it.
pub fn path(file: &Path) -> &str {
    file.to_str().expect("a path in UTF-8")
}

/// Puts the file there whole.
pub fn replace(file: &Path, content: &[u8]) {
    let new = file.with_extension("new");
    fs::write(&new, content).expect("a file");
    fs::rename(&new, file).expect("a file");
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn builder_name(name: &str) -> X509Name {
    let mut builder = X509Name::builder().unwrap();
    builder.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    builder.build()
}

/// With subject, key, time and number.
fn builder(name: &str, key: &PKey<Private>) -> X509Builder {
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let mut number = BigNum::new().unwrap();
    number.rand(127, MsbOption::MAYBE_ZERO, false).unwrap();
    let number = number.to_asn1_integer().unwrap();
    builder.set_serial_number(&number).unwrap();
    builder.set_subject_name(&builder_name(name)).unwrap();
    builder.set_pubkey(key).unwrap();
    let (from, until) = (Asn1Time::days_from_now(0), Asn1Time::days_from_now(2));
    builder.set_not_before(&from.unwrap()).unwrap();
    builder.set_not_after(&until.unwrap()).unwrap();
    builder
}
