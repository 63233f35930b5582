//! Whatever comes in wrong gets one clear error, and nothing is lost: the hub goes on, what was good arrives, and what was bad
//! was refused with a reason or is kept as it came.

use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::harness::{Answer, Folder, HubProcess, Peer, client, get, post, wait_for};

/// A web hook into a growing file. `FROM` is replaced by what is special.
const WEBHOOK: &str = r"
about: What comes in goes into a file.
from: { protocol: http, path: /in, FROM }
order_by: none
dedupe: none
to:
  out: { protocol: file, folder: out, name: all.ndjson, mode: append, format: ndjson }
on_error: { retry: [50ms] }
";

/// Files of rows into a growing file.
const FILES: &str = r"
about: Each row goes into a file.
from: { protocol: file, folder: in, complete: rename, FROM }
order_by: none
dedupe: none
to:
  out: { protocol: file, folder: out, name: all.ndjson, mode: append, format: ndjson }
on_error: { retry: [50ms] }
";

#[tokio::test]
async fn truncated_json_is_kept_and_told() {
    let said = ["DECODE-JSON", "truncated?", "line 1 column", "kept as a dead letter"];
    webhook_keeps("truncated", "auth: none, format: json", br#"{"order": [1, 2"#, r#"{"good": 1}"#, &said).await;
}

#[tokio::test]
async fn nesting_a_thousand_deep_is_kept_and_told() {
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let said = ["DECODE-JSON", "nested deeper than 128 levels"];
    webhook_keeps("deep-json", "auth: none, format: json", deep.as_bytes(), r#"{"good": 1}"#, &said).await;
    let deep = format!("{}{}", "<a>".repeat(1000), "</a>".repeat(1000));
    let said = ["DECODE-XML", "nested deeper than 128 levels"];
    webhook_keeps("deep-xml", "auth: none, format: xml", deep.as_bytes(), "<good/>", &said).await;
}

#[tokio::test]
async fn a_wrong_encoding_is_kept_byte_by_byte_and_told() {
    let said = ["DECODE-JSON", "UTF-8"];
    webhook_keeps("latin1", "auth: none, format: json", b"{\"caf\xe9\": 1}", r#"{"good": 1}"#, &said).await;
}

#[tokio::test]
async fn a_doctype_bomb_is_kept_unopened_and_told() {
    let mut bomb = "<!DOCTYPE lolz [<!ENTITY lol \"lol\">".to_owned();
    for level in 1..10 {
        let below = if level == 1 { "lol".to_owned() } else { format!("lol{}", level - 1) };
        bomb += &format!("<!ENTITY lol{level} \"{}\">", format!("&{below};").repeat(10));
    }
    bomb += "]><lolz>&lol9;</lolz>";
    let said = ["DECODE-XML", "DOCTYPE"];
    webhook_keeps("bomb", "auth: none, format: xml", bomb.as_bytes(), "<good/>", &said).await;
}

#[tokio::test]
async fn a_row_with_too_many_columns_is_kept_and_the_others_pass() {
    let dead = file_keeps("columns", "format: csv", b"sku,price\nGOOD-1,1\nBAD,2,3,4\nGOOD-2,5\n").await;
    assert_eq!(dead.code, "DECODE-CSV", "{dead:?}");
    assert_eq!(dead.cause, "expected 2 cells, found 4");
    assert_eq!(dead.position.as_deref(), Some("line 3"), "{dead:?}");
    assert!(String::from_utf8_lossy(&dead.body).contains("BAD,2,3,4"), "{dead:?}");
}

#[tokio::test]
async fn a_row_in_another_encoding_is_kept_and_the_others_pass() {
    let dead = file_keeps("encoding", "format: csv", b"sku,name\nGOOD-1,a\nBAD,caf\xe9\nGOOD-2,b\n").await;
    assert_eq!(dead.code, "DECODE-CSV", "{dead:?}");
    assert!(dead.cause.contains("byte E9 is not utf-8; set `charset`"), "{dead:?}");
    assert!(dead.body.windows(8).any(|part| part == b"BAD,caf\xe9"), "the bytes as they came: {dead:?}");
}

#[tokio::test]
async fn a_line_of_ten_megabytes_is_no_message_and_the_others_pass() {
    let mut lines = b"{\"sku\":\"GOOD-1\"}\n{\"sku\":\"BAD".to_vec();
    lines.resize(11 << 20, b'x');
    lines.extend_from_slice(b"\"}\n{\"sku\":\"GOOD-2\"}\n");
    let dead = file_keeps("long-line", "format: ndjson", &lines).await;
    assert_eq!(dead.code, "DECODE-NDJSON", "{:.300}", dead.cause);
    assert!(dead.cause.contains("longer than"), "{:.300}", dead.cause);
    assert_eq!(dead.position.as_deref(), Some("line 2"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_kept() {
    let folder = hub("over", &WEBHOOK.replace("FROM", "auth: none, format: json, max_body: 1KB"));
    let hub = HubProcess::start(&folder).await;
    let (status, said) = post(&hub.url("/in"), format!(r#"{{"long":"{}"}}"#, "x".repeat(2000))).await;
    assert_eq!(status, 413, "{said}");
    assert!(said.contains("HTTP-413") && said.contains("1024 bytes"), "{said}");
    goes_on(&folder, &hub, r#"{"good": 1}"#).await;
    assert_eq!(folder.asked(&["dead", "list"]), json!([]), "what was refused is not kept");
}

#[tokio::test]
async fn a_bad_signature_is_refused_and_nothing_is_kept() {
    let auth = "format: json, auth: { hmac: { secret: '${SHOP_SECRET}', header: X-Signature } }";
    let folder = hub("signature", &WEBHOOK.replace("FROM", auth));
    folder.write("secret", "s3cret");
    let yaml = folder.read("pipelines/in/pipeline.yaml").replace("${SHOP_SECRET}", "${file:secret}");
    folder.write("pipelines/in/pipeline.yaml", yaml);
    let hub = HubProcess::start(&folder).await;
    let send = async |signature: &str, body: &'static str| {
        let request = client().post(hub.url("/in")).header("X-Signature", signature).body(body);
        let response = request.send().await.expect("the hub answers");
        (response.status().as_u16(), response.text().await.unwrap_or_default())
    };
    let bad = r#"{"forged": 1}"#;
    for signature in ["", "00", &signed("wrong", bad), &signed("s3cret", "{}")] {
        let (status, said) = send(signature, bad).await;
        assert_eq!(status, 401, "{signature}: {said}");
        assert!(said.contains("HTTP-401") && !said.contains("s3cret"), "{said}");
    }
    let good = r#"{"good": 1}"#;
    assert_eq!(send(&signed("s3cret", good), good).await.0, 202);
    wait_for("the signed message", || folder.read_if("out/all.ndjson").contains("good").then_some(())).await;
    assert!(!folder.read("out/all.ndjson").contains("forged"));
    assert_eq!(folder.asked(&["dead", "list"]), json!([]));
    assert!(!folder.read("hub.log").contains("s3cret"));
}

/// A peer that answers wrongly, beside a file that takes everything: `moody` messages go wrong, others pass.
async fn check_peer(name: &str, answer: Answer, code: &str, attempts: u64, said: &str) {
    let well = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let peer = Peer::start({
        let well = well.clone();
        move |request| {
            let wrong = request.body.contains("moody") && !well.load(std::sync::atomic::Ordering::SeqCst);
            if wrong { answer } else { Answer::Status(200) }
        }
    })
    .await;
    let yaml = format!(
        r"
about: To a peer that answers wrongly, and to a file.
from: {{ protocol: http, path: /in, auth: none, format: json }}
order_by: $.key
dedupe: none
to:
  out: {{ protocol: file, folder: out, name: all.ndjson, mode: append, format: ndjson }}
  peer: {{ protocol: http, url: {}, format: json, timeout: 700ms }}
on_error: {{ retry: [50ms] }}
",
        peer.url("/")
    );
    let folder = hub(name, &yaml);
    let hub = HubProcess::start(&folder).await;
    for body in [r#"{"key": 1, "is": "moody"}"#, r#"{"key": 1, "is": "later"}"#, r#"{"key": 2, "is": "other"}"#] {
        assert_eq!(post(&hub.url("/in"), body).await.0, 202);
    }
    peer.got("other").await;
    peer.got("later").await;
    let dead = only_dead(&folder).await;
    assert_eq!((dead.code.as_str(), dead.attempts), (code, attempts), "{dead:?}");
    assert!(dead.cause.contains(said), "{dead:?}");
    assert_eq!(serde_json::from_slice::<Value>(&dead.body).expect("JSON"), json!({"key": 1, "is": "moody"}));
    wait_for("all three in the file", || (folder.read_if("out/all.ndjson").lines().count() == 3).then_some(())).await;
    let requests = peer.requests();
    let tried: Vec<_> = requests.iter().filter(|request| request.body.contains("moody")).collect();
    assert_eq!(tried.len() as u64, attempts, "{tried:?}");
    // Once the peer is well again, a person replays it: the same message to the peer.
    well.store(true, std::sync::atomic::Ordering::SeqCst);
    folder.raccord(&["dead", "replay", &dead.id]).expect(0, &["goes again"]);
    wait_for("the replay", || (peer.requests().len() == requests.len() + 1).then_some(())).await;
    let again = peer.requests().pop().expect("just counted");
    assert_eq!((&again.idempotency_key, &again.body), (&tried[0].idempotency_key, &tried[0].body));
    wait_for("an end", || (folder.asked(&["dead", "list"]) == json!([])).then_some(())).await;
}

#[tokio::test]
async fn a_destination_that_answers_400_refuses_that_message_at_once() {
    check_peer("answers-400", Answer::Status(400), "HTTP-400", 1, "answered 400 Bad Request: said 400").await;
}

#[tokio::test]
async fn a_destination_that_answers_500_is_asked_again() {
    check_peer("answers-500", Answer::Status(500), "HTTP-500", 2, "answered 500").await;
}

#[tokio::test]
async fn a_destination_that_answers_nothing_is_not_waited_for_for_ever() {
    check_peer("answers-nothing", Answer::Nothing, "HTTP-TIMEOUT", 2, "did not answer in full within 700ms").await;
}

#[tokio::test]
async fn a_destination_that_hangs_up_is_asked_again() {
    check_peer("hangs-up", Answer::Close, "HTTP-BROKEN", 2, "hung up or did not answer in HTTP").await;
}

#[tokio::test]
async fn a_destination_that_answers_garbage_is_asked_again() {
    check_peer("answers-garbage", Answer::Garbage, "HTTP-BROKEN", 2, "hung up or did not answer in HTTP").await;
}

#[tokio::test]
async fn a_destination_that_answers_one_byte_a_second_is_not_waited_for() {
    check_peer("drips", Answer::Drip, "HTTP-TIMEOUT", 2, "did not answer in full within 700ms").await;
}

#[tokio::test]
async fn a_wrong_configuration_does_not_start() {
    let check = |name: &str, from: &str, to: &str, said: &[&str]| {
        let good = WEBHOOK.replace("FROM", "auth: none, format: json");
        assert!(good.contains(from), "{from}");
        let folder = hub(name, &good.replace(from, to));
        folder.raccord(&["check"]).expect(1, said);
        folder.raccord(&["run"]).expect(1, said);
        assert!(!folder.path("data").exists(), "nothing was begun");
    };
    let file = "pipelines/in/pipeline.yaml";
    check("wrong-yaml", "order_by: none", "order_by: [none", &[file, "error: "]);
    let formula = "order_by: =upper($.a";
    check("wrong-formula", "order_by: none", formula, &[&format!("{file}:4:17"), "the `)` of this one is missing"]);
    check("wrong-path", "order_by: none", "order_by: $.a[", &[&format!("{file}:4:"), "error: "]);
    check("wrong-bytes", "out: {", "caf\u{0}: {", &[file, "error: "]);
    check("wrong-type", "[50ms]", "[fifty]", &[&format!("{file}:8:21"), "`fifty` is not a duration"]);
    let folder = hub("latin1-yaml", "about: x\n");
    folder.write(file, b"about: caf\xe9\n");
    folder.raccord(&["check"]).expect(1, &[file, "UTF-8"]);
}

#[tokio::test]
async fn a_disk_without_its_reserve_takes_nothing_in() {
    let folder = hub("reserve", &WEBHOOK.replace("FROM", "auth: none, format: json"));
    let config = folder.read("config/raccord.yaml");
    // No disk is as large: this one is as good as full.
    folder.write("config/raccord.yaml", format!("{config}queue: {{ reserve: 4000000GB }}\n"));
    let mut hub = HubProcess::spawn_run(&folder);
    hub.wait_listening().await;
    let (status, said) = post(&hub.url("/in"), r#"{"early": 1}"#).await;
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("STORE-FULL") && said.contains("nothing was taken; send it again later"), "{said}");
    let (status, said) = get(hub.address, "/health/ready").await.expect("the hub answers");
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("the disk of the store is full; make room, the hub goes on by itself"), "{said}");
    assert!(!folder.path("data/reserve").exists(), "a reserve that does not fit takes no room");
    assert!(hub.terminate().await.success(), "{}", hub.log());
    folder.write("config/raccord.yaml", config);
    let hub = HubProcess::start(&folder).await;
    goes_on(&folder, &hub, r#"{"good": 1}"#).await;
}

#[tokio::test]
async fn a_full_disk_stops_what_comes_in_until_there_is_room() {
    let peer = Peer::start(|_| Answer::Status(200)).await;
    let to = format!("peer: {{ protocol: http, url: {}, format: json }}", peer.url("/"));
    let webhook =
        WEBHOOK.replace("FROM", "auth: none, format: json").replace("dedupe: none", "dedupe: { by: [$.number] }");
    let out = webhook.lines().find(|line| line.starts_with("  out:")).expect("a destination").trim();
    let folder = hub("full", &webhook.replace(out, &to));
    // No file of the hub may grow past a bound, as on a disk that is full. The signal that comes with it is left out, which
    // every shell can do; the bound itself is ours to set and lift while the hub runs.
    let run = "trap '' XFSZ; exec \"$0\" run";
    let mut hub = HubProcess::spawn(&folder, Command::new("sh").args(["-c", run, env!("CARGO_BIN_EXE_raccord")]));
    hub.wait_ready().await;
    let fill = "x".repeat(50_000);
    let body = |number: usize| format!(r#"{{"number": {number}, "fill": "{fill}"}}"#);
    assert_eq!(post(&hub.url("/in"), body(0)).await.0, 202);
    bound_files(&hub, Some(600_000));
    let mut number = 0;
    let said = loop {
        number += 1;
        let (status, said) = post(&hub.url("/in"), body(number)).await;
        if status != 202 {
            assert_eq!(status, 503, "{said}");
            break said;
        }
        assert!(number < 1000, "50 MB went into files of 600 KB");
    };
    assert!(said.contains("STORE-IO") && said.contains("nothing was taken; send it again later"), "{said}");
    // Now not even a line of the log finds room.
    bound_files(&hub, Some(4096));
    assert_eq!(post(&hub.url("/in"), body(number)).await.0, 503);
    let (status, said) = get(hub.address, "/health/ready").await.expect("the hub still answers");
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("the disk did not take or give the store's data"), "{said}");

    bound_files(&hub, None);
    let sent_again = async {
        while post(&hub.url("/in"), body(number)).await.0 == 503 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(crate::harness::PATIENCE, sent_again).await.expect("there is room again");
    for number in 0..=number {
        peer.got(&format!("\"number\":{number},")).await;
    }
    hub.wait_ready().await;
    let mut keys: Vec<String> = peer.requests().into_iter().map(|request| request.idempotency_key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), number + 1, "each message is one message");
    assert_eq!(folder.asked(&["dead", "list"]), json!([]));
    assert!(!hub.log().contains("panicked"), "{}", hub.log());
    assert!(hub.terminate().await.success());
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_written_is_told_at_the_start() {
    let folder = hub("read-only", &WEBHOOK.replace("FROM", "auth: none, format: json"));
    // Nobody makes files there, whoever asks.
    folder.write("config/raccord.yaml", "name: test-hub\nlisten: 127.0.0.1:0\nqueue: { folder: /sys/kernel }\n");
    folder
        .raccord(&["run"])
        .expect(3, &["STORE-READONLY", "/sys/kernel", "give the hub's user the right to write there"]);
    // A file in the place of the folder.
    folder.write("taken", "");
    folder.write("config/raccord.yaml", "name: test-hub\nlisten: 127.0.0.1:0\nqueue: { folder: taken/data }\n");
    folder.raccord(&["run"]).expect(3, &["STORE-IO", "taken/data", "cannot be used"]);
}

#[tokio::test]
async fn a_second_hub_on_the_same_data_says_who_holds_it() {
    let folder = hub("second", &WEBHOOK.replace("FROM", "auth: none, format: json"));
    let hub = HubProcess::start(&folder).await;
    let holder = format!("process {} already runs on ", hub.id());
    folder.raccord(&["run"]).expect(3, &["STORE-LOCKED", &holder, "stop it, or give this hub another folder"]);
    goes_on(&folder, &hub, r#"{"good": 1}"#).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_at_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("a bound address");
    let folder = hub("port", &WEBHOOK.replace("FROM", "auth: none, format: json"));
    folder.write("config/raccord.yaml", format!("name: test-hub\nlisten: {address}\n"));
    folder.raccord(&["run"]).expect(3, &["HUB-LISTEN", &format!("cannot listen on {address}"), "config/raccord.yaml"]);
}

/// A dead letter as a person sees it.
#[derive(Debug)]
struct Dead {
    id: String,
    code: String,
    cause: String,
    position: Option<String>,
    attempts: u64,
    body: Vec<u8>,
}

fn hub(name: &str, yaml: &str) -> Folder {
    Folder::hub(name, &[("in", yaml)])
}

/// Sends something bad to a web hook, then something good.
async fn webhook_keeps(name: &str, from: &str, bad: &[u8], good: &str, said: &[&str]) {
    let folder = hub(name, &WEBHOOK.replace("FROM", from));
    let hub = HubProcess::start(&folder).await;
    let (status, answer) = post(&hub.url("/in"), bad.to_vec()).await;
    assert_eq!(status, 422, "{answer}");
    for word in said {
        assert!(answer.contains(word), "`{word}` is not said: {answer}");
    }
    goes_on(&folder, &hub, good).await;
    let dead = only_dead(&folder).await;
    assert!(answer.contains(&dead.id) && answer.contains(&dead.code), "{answer} {dead:?}");
    assert_eq!(dead.body, bad, "the bytes as they came");
    folder.raccord(&["explain", &dead.code]).expect(0, &["What to do"]);
}

/// Puts a file with one bad record between `GOOD-1` and `GOOD-2`; gives the dead letter.
async fn file_keeps(name: &str, from: &str, content: &[u8]) -> Dead {
    let folder = hub(name, &FILES.replace("FROM", from));
    let hub = HubProcess::start(&folder).await;
    folder.write("in/.arriving", content);
    std::fs::rename(folder.path("in/.arriving"), folder.path("in/rows.txt")).expect("renames");
    wait_for("both good rows", || {
        let out = folder.read_if("out/all.ndjson");
        (out.contains("GOOD-1") && out.contains("GOOD-2")).then_some(())
    })
    .await;
    assert_eq!(folder.read("out/all.ndjson").lines().count(), 2);
    wait_for("the file is put away", || (folder.names("in/done") == ["rows.txt"]).then_some(())).await;
    let dead = only_dead(&folder).await;
    drop(hub);
    dead
}

/// The hub takes and delivers a good message.
async fn goes_on(folder: &Folder, hub: &HubProcess, good: &str) {
    let (status, said) = post(&hub.url("/in"), good.to_owned()).await;
    assert_eq!(status, 202, "{said}");
    wait_for("the good message", || folder.read_if("out/all.ndjson").contains("good").then_some(())).await;
    assert_eq!(folder.read("out/all.ndjson").lines().count(), 1, "the good message alone");
}

async fn only_dead(folder: &Folder) -> Dead {
    let list = wait_for("a dead letter", || {
        let list = folder.asked(&["dead", "list"]);
        list.as_array().is_some_and(|list| !list.is_empty()).then_some(list)
    })
    .await;
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list:#}");
    let id = list[0]["id"].as_str().expect("an id").to_owned();
    let shown = folder.asked(&["dead", "show", &id, "--reveal"]);
    let text = |name: &str| shown[name].as_str().map(str::to_owned);
    let body = match text("body_base64") {
        Some(bytes) => STANDARD.decode(bytes).expect("base64"),
        None => text("body").expect("a body").into_bytes(),
    };
    Dead {
        id,
        code: text("code").expect("a code"),
        cause: text("cause").expect("a cause"),
        position: text("position"),
        attempts: shown["attempts"].as_u64().expect("a number"),
        body,
    }
}

fn signed(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any secret fits");
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bounds how far the files of a running hub may grow, or lifts that.
fn bound_files(hub: &HubProcess, bytes: Option<u64>) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let id = i32::try_from(hub.id()).ok().and_then(Pid::from_raw);
    prlimit(id, Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("the process is ours");
}
