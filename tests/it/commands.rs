//! The commands as a person gives them: the hub that `init` makes, and the hub that ships.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::sources::root;

#[test]
fn the_hub_that_init_makes_is_sound() {
    let room = Room::new("init");
    said(&room.0, &["init", "my-hub"], "is a working hub");
    let hub = room.0.join("my-hub");
    said(&hub, &["check", "--strict"], "No problem found");
    said(&hub, &["test"], "0 failed");
}

#[test]
fn the_hub_that_ships_is_sound_and_its_cases_pass() {
    said(&root(), &["check", "--strict"], "No problem found");
    said(&root(), &["test"], ", 0 failed");
}

#[test]
fn a_case_that_expects_something_else_fails() {
    let room = Room::new("case");
    said(&room.0, &["init", "my-hub"], "is a working hub");
    let case = room.0.join("my-hub/pipelines/orders/cases/paid.yaml");
    let text = std::fs::read_to_string(&case).expect("init wrote it");
    std::fs::write(&case, text.replace("total_net: 20.00", "total_net: 20.01")).expect("the folder is ours");
    let output = raccord(&room.0.join("my-hub"), &["test"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && shown.contains("total_net: expected 20.01, got 20.00"), "{shown}");
}

#[test]
fn a_mistake_is_shown_where_it_stands() {
    let room = Room::new("mistake");
    said(&room.0, &["init", "my-hub"], "is a working hub");
    let pipeline = room.0.join("my-hub/pipelines/orders/pipeline.yaml");
    let text = std::fs::read_to_string(&pipeline).expect("init wrote it");
    std::fs::write(&pipeline, text.replace("- filter:", "- filtre:")).expect("the folder is ours");
    let output = raccord(&room.0.join("my-hub"), &["check"]);
    let shown = [output.stdout, output.stderr].concat();
    let shown = String::from_utf8_lossy(&shown);
    for part in ["unknown step `filtre`", "pipelines/orders/pipeline.yaml:", "did you mean `filter`?"] {
        assert!(!output.status.success() && shown.contains(part), "`{part}` is not in: {shown}");
    }
}

/// A system of one request, on loopback.
fn system(status: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let mut seen = Vec::new();
        while !seen.windows(4).any(|end| end == b"\r\n\r\n") {
            let mut piece = [0; 1024];
            let read = stream.read(&mut piece)?;
            seen.extend_from_slice(&piece[..read]);
        }
        write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
        )
    });
    address
}

const MANIFEST: &str = r#"
system: Quai 9 Stock
about: A warehouse.
roles: [wms]
verified: { against: recorded answers }
settings:
  url: { type: url, about: The address of the API }
  key: { type: secret, about: An API key }
  site: { type: text, default: main }
base: $connection.url
auth: { bearer: $connection.key }
check: { get: /me }
operations:
  level:
    kind: poll
    about: Levels that have changed.
    gives: stock
    request: { get: /levels }
cases:
  - about: Nothing has changed.
    operation: level
    exchange: [{ request: { path: /levels }, json: [] }]
    expect: { documents: [] }
"#;

/// A hub with a manifest.
fn joined(name: &str) -> Room {
    let room = Room::new(name);
    said(&room.0, &["init", "my-hub"], "is a working hub");
    let folder = room.0.join("my-hub/connectors");
    std::fs::create_dir_all(&folder).expect("the folder is ours");
    std::fs::write(folder.join("quai9.yaml"), MANIFEST).expect("the folder is ours");
    room
}

#[test]
fn systems_are_listed_shown_and_joined() {
    let room = joined("systems");
    let hub = room.0.join("my-hub");
    said(&hub, &["connectors"], "Quai 9 Stock");
    said(&hub, &["connectors", "quai9"], "gives canonical/stock");
    let shown = raccord(&hub, &["--json", "connectors", "quai9"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("\"about\": \"An API key\"") && shown.contains("\"manifest\": \"own\""), "{shown}");

    let refused = |arguments: &[&str], expect: &str| {
        let output = raccord(&hub, arguments);
        let shown = [output.stdout, output.stderr].concat();
        let shown = String::from_utf8_lossy(&shown);
        assert!(
            !output.status.success() && shown.contains(expect),
            "raccord {arguments:?} did not say `{expect}`: {shown}"
        );
    };
    refused(&["connectors", "quai"], "did you mean `quai9`?");
    refused(&["connect", "quai9"], "--set key='${QUAI9_KEY}'    An API key");
    refused(&["connect", "quai9", "--set", "key=abc"], "a command line is remembered");
    refused(&["connect", "quai9", "--set", "kee=abc"], "did you mean `key`?");

    let url = format!("url={}", system("200 OK"));
    // The variable is one of those that `raccord` sets.
    let set = ["connect", "quai9", "--name", "dock", "--set", &url, "--set", "key=${ERP_TOKEN}"];
    said(&hub, &set, "ok      dock (Quai 9 Stock)");
    let written = std::fs::read_to_string(hub.join("config/connections/dock.yaml")).expect("it was written");
    assert!(written.contains("key: ${ERP_TOKEN}\n") && !written.contains("demo-erp-token"), "{written}");
    refused(&set, "is there already");
    said(&hub, &["connectors"], "dock");
    said(&hub, &["check"], "No problem found");
    // Its system has gone.
    refused(&["connectors", "check"], "HTTP-CONNECT");
    refused(&["connectors", "check", "dok"], "did you mean `dock`?");
}

#[test]
fn a_connection_that_is_refused_is_told_with_what_to_do() {
    let room = joined("refused");
    let hub = room.0.join("my-hub");
    let url = format!("url={}", system("401 Unauthorized"));
    let output = raccord(&hub, &["connect", "quai9", "--set", &url, "--set", "key=${ERP_TOKEN}"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(
        shown.contains("HTTP-401") && shown.contains("correct the connection's settings or credentials"),
        "{shown}"
    );
    assert!(!shown.contains("demo-erp-token"), "{shown}");
}

#[test]
fn cases_of_manifests_are_run_with_those_of_pipelines() {
    let room = joined("manifest-case");
    let hub = room.0.join("my-hub");
    said(&hub, &["test"], "ok      connectors/quai9: Nothing has changed.");
    let wrong = MANIFEST.replace("path: /levels }, json", "path: /stock }, json");
    std::fs::write(hub.join("connectors/quai9.yaml"), wrong).expect("the folder is ours");
    let output = raccord(&hub, &["test"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    let expect = "exchange[0].request.path: expected \"/stock\", got \"/levels\"";
    assert!(output.status.code() == Some(1) && shown.contains(expect) && shown.contains("1 failed"), "{shown}");
    said(&hub, &["test", "orders"], "0 failed");
}

#[test]
fn whoever_reads_no_further_makes_no_command_panic() {
    let room = Room::new("head");
    said(&room.0, &["init", "my-hub"], "is a working hub");
    let hub = room.0.join("my-hub");
    let pipeline = hub.join("pipelines/orders/pipeline.yaml");
    let text = std::fs::read_to_string(&pipeline).expect("init wrote it");
    let unread = |arguments: &[&str]| {
        // Nobody reads either, from the first byte on.
        let closed = || std::io::pipe().expect("there are pipes").1;
        let mut command = command(&hub, arguments);
        command.stdout(closed()).stderr(closed()).status().expect("the binary was built with the tests").code()
    };
    let orders = hub.join("in/orders/first.json");
    let orders = orders.to_str().expect("the path is text");
    for done in [&["send", orders, "--to", "orders"][..], &["test"], &["explain"], &["status"], &["schema", "pipeline"]]
    {
        assert_eq!(unread(done), Some(0), "{done:?}");
    }
    said(&hub, &["status"], "orders");
    assert_eq!(unread(&["explain", "nothing"]), Some(1));
    std::fs::write(&pipeline, text.replace("- filter:", "- filtre:")).expect("the folder is ours");
    assert_eq!(unread(&["check"]), Some(1));
    assert_eq!(unread(&["--folder", "nowhere", "status"]), Some(3));
}

/// Runs a command in `folder`, which must succeed and say `expect`.
fn said(folder: &Path, arguments: &[&str], expect: &str) {
    let output = raccord(folder, arguments);
    let shown = [output.stdout, output.stderr].concat();
    let shown = String::from_utf8_lossy(&shown);
    assert!(output.status.success() && shown.contains(expect), "raccord {arguments:?} did not say `{expect}`: {shown}");
}

fn raccord(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("the binary was built with the tests")
}

/// With the variables of `config/demo.env`.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let variables = std::fs::read_to_string(root().join("config/demo.env")).expect("it ships");
    let lines = variables.lines().filter(|line| !line.starts_with('#'));
    let mut command = Command::new(env!("CARGO_BIN_EXE_raccord"));
    command.args(arguments).current_dir(folder).envs(lines.filter_map(|line| line.split_once('=')));
    command
}

/// A folder of the test's own, gone when it ends.
struct Room(PathBuf);

impl Room {
    fn new(name: &str) -> Room {
        let path = std::env::temp_dir().join(format!("raccord-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the system's temporary folder can be written");
        Room(path)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
