//! PostgreSQL and RabbitMQ over TLS.

use std::path::Path;

use messenger::compare::load::postgres::Cluster;
use postgres::{Client, NoTls};

use crate::support::SOON;
use crate::support::certificates::{Authority, path};
use crate::support::history::{Store, say, shown};
use crate::support::http::request;
use crate::support::jobs::Place;
use crate::support::postgres::cluster;
use crate::support::programs::Server;
use crate::support::rabbitmq::Broker;

const PASSWORD: &str = "s3cret-of-the-database";

/// A PostgreSQL that takes connections with TLS and the password alone, and its URL
/// without TLS parameters. Its certificate is for localhost.
fn tls_cluster(authority: &Authority) -> (Cluster, String) {
    let cluster = cluster(&[]);
    let pair = authority.issue(&["localhost"]);
    let mut admin = Client::connect(&cluster.url(), NoTls).expect("the database");
    let mut run = |sql: String| admin.batch_execute(&sql).expect("SQL");
    // The server itself writes the files, so that they are its own.
    let mut write = |file: &str, content: &str| {
        run(format!(
            "COPY (SELECT unnest(string_to_array('{}', E'\\n')))
             TO PROGRAM 'umask 077 && cat > {file}'",
            content.trim_end()
        ));
    };
    let read = |file| std::fs::read_to_string(file).expect("a file");
    write("tls.crt", &read(&pair.certificate));
    write("tls.key", &read(&pair.key));
    write("pg_hba.conf", "hostssl all all 127.0.0.1/32 scram-sha-256");
    run(format!("ALTER ROLE postgres PASSWORD '{PASSWORD}'"));
    run("ALTER SYSTEM SET ssl_cert_file = 'tls.crt'".into());
    run("ALTER SYSTEM SET ssl_key_file = 'tls.key'".into());
    run("ALTER SYSTEM SET ssl = on".into());
    run("SELECT pg_reload_conf()".into());
    let url = cluster
        .url()
        .replace("postgres@", &format!("postgres:{PASSWORD}@"));
    (cluster, url)
}

/// Starts a log on this database; what it says when it does not start.
fn refused(url: &str) -> Option<String> {
    let flags = ["--database-timeout", "300ms"];
    let mut process = Store::Url(url.to_owned()).spawn(&flags, &[]);
    let refused = match process.line(SOON) {
        Some(_) => None,
        None => {
            assert_ne!(process.wait_exit(SOON), 0);
            Some(process.log())
        }
    };
    assert!(!process.log().contains(PASSWORD), "{}", process.log());
    refused
}

#[test]
fn postgresql_is_checked_as_the_url_says() {
    let (authority, other) = (Authority::new("database"), Authority::new("other"));
    let (_cluster, address) = tls_cluster(&authority);
    let named = address.replace("127.0.0.1", "localhost");
    let (ours, theirs) = (authority.file(), other.file());
    let (ours, theirs) = (path(&ours), path(&theirs));
    let prefer = String::new();
    for parameters in [
        prefer,
        "?sslmode=prefer".into(),
        "?sslmode=require".into(),
        format!("?sslmode=require&sslrootcert={ours}"),
        // The name is not looked at.
        format!("?sslrootcert={ours}&sslmode=verify-ca&connect_timeout=9"),
    ] {
        assert_eq!(refused(&format!("{address}{parameters}")), None);
    }
    let full = format!("{named}?sslmode=verify-full&sslrootcert={ours}");
    let log = Store::Url(full).replica(&[], &[]);
    assert_eq!(say(log.port(), "anna", "over TLS").status, 200);
    let messages = request("GET", log.port(), "/messages", &[], "");
    assert_eq!(shown(&messages), [(1, 1, "over TLS".to_owned())]);
    for (parameters, reason) in [
        ("?sslmode=disable".into(), "no encryption"),
        (
            format!("?sslmode=verify-full&sslrootcert={ours}"),
            "mismatch",
        ),
        (
            format!("?sslmode=require&sslrootcert={theirs}"),
            "certificate verify failed",
        ),
        (
            format!("?sslmode=verify-ca&sslrootcert={theirs}"),
            "certificate verify failed",
        ),
        ("?sslmode=verify-ca".into(), "certificate verify failed"),
        (
            "?sslmode=verify-full&sslrootcert=system".into(),
            "certificate verify failed",
        ),
    ] {
        let log = refused(&format!("{address}{parameters}"));
        assert!(
            log.as_ref().is_some_and(|log| log.contains(reason)),
            "{parameters}: {log:?}"
        );
    }
    let wrong = refused(&format!(
        "{}?sslmode=require",
        address.replace(PASSWORD, "wrong")
    ));
    assert!(wrong.is_some_and(|log| log.contains("password authentication failed")));
}

#[test]
fn parameters_that_cannot_be_kept_are_refused_at_the_start() {
    let database = "postgresql://me:s3cret-of-the-database@localhost/log";
    for (parameters, reason) in [
        (
            "sslmode=strict",
            "sslmode has to be disable, prefer, require, verify-ca or verify-full",
        ),
        ("sslrootcert=/ca.pem", "sslrootcert needs sslmode="),
        (
            "sslmode=verify-ca&sslrootcert=system",
            "sslrootcert=system needs sslmode=verify-full",
        ),
        (
            "sslmode=verify-ca&sslrootcert=/is/not/there.pem",
            "/is/not/there.pem: ",
        ),
        (
            "sslmode=require&sslcert=/a.pem",
            "sslcert and sslkey need each other",
        ),
    ] {
        let log = refused(&format!("{database}?{parameters}")).expect("an error");
        assert!(
            log.contains("database URL: ") && log.contains(reason),
            "{log}"
        );
    }
}

#[test]
fn rabbitmq_works_over_tls_when_its_certificate_fits() {
    let (authority, other) = (Authority::new("broker"), Authority::new("other"));
    let (server, client) = (
        authority.issue(&["localhost"]),
        authority.issue(&["worker"]),
    );
    let (ours, theirs) = (authority.file(), other.file());
    let broker = Broker::start_with_tls(&server, &ours);
    let amqps =
        |ca: &Path, more: &str| format!("{}?cacertfile={}{more}", broker.tls_url(), path(ca));
    let (certificate, key) = client.paths();
    let mutual = format!("&certfile={certificate}&keyfile={key}");

    // Its certificate is not for this address.
    let named = amqps(&ours, &format!("{mutual}&server_name_indication=localhost"));
    let place = Place::at(&named);
    let message_server = Server::start(&["--services", "message"]);
    let worker = place.work(&message_server.address(), &[]);
    let ids = place.send(&["fact:6"]);
    assert_eq!(place.wait_for(1)[&ids[0]]["result"], "720");
    assert!(!worker.log().contains("password"), "{}", worker.log());

    for (url, reason) in [
        (amqps(&ours, &mutual), "certificate verify failed"),
        (
            amqps(
                &theirs,
                &format!("{mutual}&server_name_indication=localhost"),
            ),
            "certificate verify failed",
        ),
        // A certificate is asked for.
        (
            amqps(&ours, "&server_name_indication=localhost"),
            "127.0.0.1",
        ),
        (named.replace("amqps", "amqp"), "needs amqps://"),
        (format!("{named}&verify=verify_none"), "verify: "),
        (
            amqps(Path::new("/is/not/there.pem"), ""),
            "/is/not/there.pem: ",
        ),
    ] {
        let place = Place::at(&url);
        let mut sender = place.jobs(&["send", "--timeout", "1s", "user42"]);
        assert_ne!(sender.wait_exit(SOON), 0);
        let log = sender.log();
        assert!(log.contains(reason), "{url}: {log}");
        assert!(!log.contains("password"), "{log}");
    }
}
