//! The dockerfiles and the compose file, walked against the tree, and the images'
//! health checks run beside the programs: no engine runs here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::layout::{files, root};
use super::terminal::help;
use crate::support::process::Process;
use crate::support::programs::{Server, free_port, messenger_with};
use crate::support::{SOON, eventually};

/// Lines of a dockerfile, with continued ones joined.
fn instructions(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap().replace("\\\n", " ");
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

#[test]
fn what_the_dockerfiles_copy_and_run_is_there() {
    let script = fs::read_to_string(root().join("docker/install.sh")).unwrap();
    let (_, cases) = script
        .rsplit_once("\ncase ")
        .expect("a case at the end of the script");
    let patterns = cases
        .lines()
        .filter_map(|line| line.trim().split_once(')'))
        .map(|(left, _)| left);
    let known: BTreeSet<_> = patterns.flat_map(|p| p.split('|')).map(str::trim).collect();
    assert!(
        known.contains("build") && known.contains("runtime"),
        "{known:?}"
    );
    let dockerfiles = files(&root().join("docker"), ".dockerfile");
    assert_eq!(dockerfiles.len(), 2);
    for file in dockerfiles {
        let (mut copies, mut runs) = (0, 0);
        for instruction in instructions(&file) {
            let words: Vec<_> = instruction.split_whitespace().collect();
            if words[0] == "COPY" && !words[1].starts_with("--from=") {
                for source in &words[1..words.len() - 1] {
                    assert!(root().join(source).exists(), "{}: {source}", file.display());
                    let of_laboratory = ["docker", "docs", "tests"];
                    let of_laboratory = of_laboratory.iter().any(|part| source.starts_with(part));
                    assert!(!of_laboratory, "{}: {source}", file.display());
                    copies += 1;
                }
            }
            if let Some(mount) = words[1].strip_prefix("--mount=type=bind,source=") {
                let (source, target) = mount.split_once(",target=").expect("a target");
                assert!(root().join(source).exists(), "{}: {source}", file.display());
                assert_eq!(words[2], target, "{}", file.display());
                assert!(known.contains(words[3]), "{}: {words:?}", file.display());
                runs += 1;
            }
            let builds = instruction.contains("cargo build");
            assert!(!builds || instruction.contains("--no-default-features"));
            if words[0] == "ENTRYPOINT" || instruction.contains("CMD [") {
                let arguments = arguments(&instruction);
                let (code, _) = help(&[arguments, vec!["--help".into()]].concat());
                assert_eq!(code, 0, "{}: {instruction}", file.display());
            }
        }
        assert!(copies >= 5 && runs >= 2, "{} was read", file.display());
    }
}

/// The arguments of an instruction in JSON form, without the program's name.
fn arguments(instruction: &str) -> Vec<String> {
    let (_, array) = instruction.split_once('[').unwrap();
    let mut words: Vec<String> = serde_json::from_str(&format!("[{array}")).unwrap();
    assert_eq!(words.remove(0), "messenger", "{instruction}");
    words
}

/// What an image starts and how it checks that.
struct Image {
    start: Vec<String>,
    check: Vec<String>,
}

impl Image {
    fn read(dockerfile: &str) -> Self {
        let instructions = instructions(&root().join("docker").join(dockerfile));
        let last = |name: &str| {
            let mut found = instructions.iter().rev();
            let found = found.find(|instruction| instruction.starts_with(name));
            arguments(found.unwrap_or_else(|| panic!("{dockerfile}: {name}")))
        };
        Self {
            start: last("ENTRYPOINT"),
            check: last("HEALTHCHECK"),
        }
    }

    /// The entry point in a container with these variables.
    fn start(&self, variables: &[(&str, &str)]) -> Process {
        run(&self.start, variables)
    }

    /// Whether the check calls it healthy.
    fn is_healthy(&self, variables: &[(&str, &str)]) -> bool {
        let code = run(&self.check, variables).wait_exit(SOON);
        assert!([0, 1].contains(&code), "{code}");
        code == 0
    }
}

fn run(arguments: &[String], variables: &[(&str, &str)]) -> Process {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    messenger_with(&arguments, variables)
}

#[test]
fn the_images_check_the_ports_that_their_variables_name_and_nobody_elses() {
    let (server, client) = (
        Image::read("server.dockerfile"),
        Image::read("client.dockerfile"),
    );
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().to_string();
    let variables = [
        ("MESSENGER_SERVER_PORT", &*port),
        ("MESSENGER_DATA_DIR", folder.path().to_str().unwrap()),
        // Of another container: who starts it with all variables of a project.
        ("MESSENGER_SERVER_ADDR", "127.0.0.1:1"),
    ];
    assert!(!server.is_healthy(&variables), "nothing runs");
    let process = Server::listening(server.start(&variables), 1);
    assert!(server.is_healthy(&variables));

    let address = format!("127.0.0.1:{port}");
    let http = free_port().to_string();
    let variables = [
        ("MESSENGER_SERVER_ADDR", &*address),
        ("MESSENGER_HTTP_PORT", &http),
        ("MESSENGER_HTTP_ADDR", &address),
    ];
    assert!(!client.is_healthy(&variables), "no bridge, but its server");
    let bridge = client.start(&variables);
    bridge.wait_for_line(SOON, "messenger client listening on");
    assert!(client.is_healthy(&variables));
    drop(bridge);
    assert!(!client.is_healthy(&variables));
    drop(process);
    let variables = [("MESSENGER_SERVER_PORT", &*port)];
    eventually(SOON, "unhealthy", || !server.is_healthy(&variables));
}

/// Of everything at once, and of one chat over several servers.
const COMPOSE_FILES: [&str; 2] = ["compose.yaml", "several.yaml"];

/// A compose file, with its merge keys applied.
fn compose(file: &str) -> Value {
    let text = fs::read_to_string(root().join("docker").join(file)).unwrap();
    let mut yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
    // Once for each service that stands for another one.
    for _ in 0..4 {
        yaml.apply_merge().unwrap();
    }
    serde_json::to_value(yaml).unwrap()
}

fn services(compose: &Value) -> BTreeMap<&str, &Value> {
    let services = compose["services"].as_object().unwrap().iter();
    services
        .map(|(name, service)| (name.as_str(), service))
        .collect()
}

fn texts(value: &Value) -> Vec<&str> {
    let values = value.as_array().into_iter().flatten();
    values.map(|value| value.as_str().unwrap()).collect()
}

/// Of `messenger` commands, what their help says.
fn help_of(command: &Value) -> String {
    let mut words = texts(command);
    assert_eq!(words.remove(0), "messenger", "{command}");
    let words: Vec<_> = words.into_iter().map(str::to_owned).collect();
    let (code, text) = help(&[words, vec!["--help".to_owned()]].concat());
    assert_eq!(code, 0, "{command}");
    // The help breaks lines where they are full.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn published<'a>(services: &BTreeMap<&'a str, &Value>) -> BTreeMap<&'a str, Value> {
    let ports = services.iter();
    ports
        .map(|(name, service)| (*name, json!(texts(&service["ports"]))))
        .collect()
}

#[test]
fn the_compose_file_publishes_what_the_tasks_reach_and_nothing_else() {
    let compose = compose("compose.yaml");
    let services = services(&compose);
    let expected = [
        ("server", json!([])),
        ("proxy", json!(["51075:51075", "50051:51075"])),
        ("client1", json!(["8080:8080"])),
        ("client2", json!(["8081:8080"])),
        ("history1", json!(["8070:8070"])),
        ("history2", json!(["8071:8070"])),
        // No login, or one that everybody knows: for this machine only.
        ("console", json!(["127.0.0.1:8090:8090"])),
        (
            "rabbitmq",
            json!(["127.0.0.1:5672:5672", "127.0.0.1:15672:15672"]),
        ),
        ("database", json!([])),
        ("worker", json!([])),
        ("load", json!([])),
        ("producer", json!([])),
    ];
    assert_eq!(published(&services), BTreeMap::from(expected));
    // What the console shows is what the worker stores.
    assert_eq!(
        services["console"]["volumes"],
        services["worker"]["volumes"]
    );
    assert_eq!(
        texts(&services["worker"]["volumes"]),
        ["jobs:/var/lib/messenger"]
    );
}

#[test]
fn that_of_several_servers_publishes_bridges_and_load_balancer() {
    let compose = compose("several.yaml");
    let services = services(&compose);
    let expected = [
        ("balancer", json!(["51075:51075", "50051:51075"])),
        ("client1", json!(["8080:8080"])),
        ("client2", json!(["8081:8080"])),
        ("chat1", json!([])),
        ("chat2", json!([])),
        ("chat3", json!([])),
        ("primary", json!([])),
        ("standby", json!([])),
    ];
    assert_eq!(published(&services), BTreeMap::from(expected));
    let configuration = fs::read_to_string(root().join("docker/several.cfg")).unwrap();
    let variables = services["balancer"]["environment"].as_object().unwrap();
    let chat = &services["chat1"]["environment"];
    for (variable, value) in variables {
        assert!(configuration.contains(&format!("\"${{{variable}}}\"")));
        if variable.contains("HEALTH") {
            assert_eq!(*value, chat["MESSENGER_METRICS_PORT"]);
        }
    }
    assert_eq!(configuration.matches("\"${").count(), variables.len());
    // What primary.sh waits for.
    let name = services["standby"]["environment"]["PGAPPNAME"].as_str();
    let script = fs::read_to_string(root().join("docker/primary.sh")).unwrap();
    assert!(script.contains(&format!("synchronous_standby_names = '{}'", name.unwrap())));
}

#[test]
fn the_compose_files_name_only_commands_variables_and_things_that_exist() {
    let files = COMPOSE_FILES.map(compose);
    let mut images: Vec<_> = files.iter().flat_map(images_of).collect();
    let once = files.iter().flat_map(|file| {
        let services = file["services"].as_object().unwrap().iter();
        services.filter(|(_, service)| !service["profiles"].is_null())
    });
    assert_eq!(
        once.map(|(name, _)| name).collect::<Vec<_>>(),
        ["load", "producer"]
    );
    for file in crate::cases::layout::files(&root().join("docker"), ".dockerfile") {
        let instructions = instructions(&file);
        let from = instructions
            .iter()
            .filter_map(|line| line.strip_prefix("FROM "));
        images.extend(from.map(|image| image.split(' ').next().unwrap().to_owned()));
    }
    let pinned = |image: &str| {
        let tag = image.rsplit_once(':').map(|(_, tag)| tag);
        tag.is_some_and(|tag| tag.contains('.') && tag.starts_with(|c: char| c.is_ascii_digit()))
    };
    assert!(
        images.len() >= 6 && images.iter().all(|image| pinned(image)),
        "{images:?}"
    );
}

/// Looks at all services of a compose file; the images that it takes as they are.
fn images_of(compose: &Value) -> Vec<String> {
    let services = services(compose);
    let mut images = Vec::new();
    for (name, service) in &services {
        if let Some(image) = service["image"].as_str() {
            images.push(image.to_owned());
        } else {
            let dockerfile = service["build"]["dockerfile"].as_str().unwrap();
            assert!(root().join(dockerfile).is_file(), "{name}: {dockerfile}");
            let file = dockerfile.rsplit('/').next().unwrap();
            let default = json!([&["messenger".to_owned()][..], &Image::read(file).start].concat());
            let command = &service["entrypoint"];
            let help = help_of(if command.is_null() { &default } else { command });
            let variables = service["environment"].as_object().into_iter().flatten();
            for (variable, _) in variables {
                assert!(
                    help.contains(&format!("[env: {variable}")),
                    "{name}: {variable}"
                );
            }
        }
        // Else it would be killed in the middle of its drain.
        if service["image"].is_null() {
            assert_eq!(service["stop_grace_period"], "40s", "{name}");
        }
        // What `up` leaves out runs once, when it is called by its name.
        let once = !service["profiles"].is_null();
        let restart = if once { "no" } else { "unless-stopped" };
        assert_eq!(service["restart"], restart, "{name}");
        let check = &service["healthcheck"]["test"];
        if texts(check).get(1) == Some(&"messenger") {
            help_of(&json!(texts(check)[1..]));
        }
        for (other, when) in service["depends_on"].as_object().into_iter().flatten() {
            let disabled = &services[&**other]["healthcheck"]["disable"];
            let healthy = when["condition"] == "service_healthy";
            assert!(
                !healthy || *disabled != true,
                "{name}: {other} has no check"
            );
        }
        for volume in texts(&service["volumes"]) {
            let volume = volume.split(':').next().unwrap();
            let file = volume.starts_with("./") && root().join("docker").join(volume).is_file();
            let known = file || compose["volumes"].get(volume).is_some();
            assert!(known, "{name}: {volume}");
        }
    }
    images
}

/// RabbitMQ's maintainers support their newest series alone.
#[test]
fn the_broker_is_current_and_the_results_can_be_listed_where_they_are() {
    let compose = compose("compose.yaml");
    let services = services(&compose);
    let image = services["rabbitmq"]["image"].as_str().unwrap();
    let series = image.strip_prefix("rabbitmq:").unwrap();
    let series = series.strip_suffix("-management").unwrap();
    let numbers = series.split('.').map(|part| part.parse::<u32>().unwrap());
    assert!(numbers.collect::<Vec<_>>() >= vec![4, 2], "{image}");
    let mut told = 0;
    for page in ["docker/compose.yaml", "docs/operations.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        for command in text.lines().filter_map(|line| line.split_once(" exec ")) {
            let command = command.1.split('#').next().unwrap();
            let (service, command) = command.split_once(' ').unwrap();
            assert!(services.contains_key(service), "{service}");
            help_of(&json!(command.split_whitespace().collect::<Vec<_>>()));
            told += 1;
        }
    }
    assert!(told >= 3, "they are told how");
}

#[test]
fn the_example_of_the_environment_has_all_defaults_of_the_compose_files() {
    let text = fs::read_to_string(root().join("docker/.env.example")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let example: BTreeMap<_, _> = lines.map(|line| line.split_once('=').unwrap()).collect();
    let compose = COMPOSE_FILES.map(|file| root().join("docker").join(file));
    let compose = compose
        .map(|file| fs::read_to_string(file).unwrap())
        .concat();
    let used: BTreeMap<_, _> = compose
        .split("${")
        .skip(1)
        .map(|rest| {
            let variable = rest.split_once('}').unwrap().0;
            variable.split_once(":-").expect("a default")
        })
        .collect();
    assert_eq!(example, used);
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap();
    assert!(
        ignored.lines().any(|line| line == "/docker/.env"),
        "passwords stay at home"
    );
}

/// The builder's Rust has to be new enough, and both it and the base of the image
/// are named with their versions.
#[test]
fn the_dockerfiles_pin_what_they_start_from() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let numbers = |version: &str| -> Vec<u32> {
        let numbers = version.split('.').map(|part| part.parse().unwrap());
        numbers.collect()
    };
    let wanted = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "));
    let wanted = numbers(wanted.expect("a rust-version").trim_matches('"'));
    for file in files(&root().join("docker"), ".dockerfile") {
        let bases: Vec<_> = instructions(&file)
            .iter()
            .filter_map(|line| line.strip_prefix("FROM ").map(str::to_owned))
            .collect();
        assert_eq!(bases.len(), 2, "{}", file.display());
        let version = |base: &str, name: &str| {
            let tag = base.strip_prefix(name).expect("the image");
            numbers(tag.split('-').next().unwrap())
        };
        let rust = version(&bases[0], "rust:");
        assert!(rust.len() == 3 && rust >= wanted, "{bases:?}");
        assert_eq!(version(&bases[1], "debian:").len(), 2, "{bases:?}");
    }
}
