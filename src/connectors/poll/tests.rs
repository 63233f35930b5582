//! Polls against a system on loopback, by a clock the tests move.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::PollSource;
use crate::connectors::manifest::Operation;
use crate::connectors::testing::{Asked, Reply, System, connection, surroundings_at};
use crate::message::{Fault, Next, Text, Value};
use crate::protocols::conformance::{self, Mood, Recorder, SourcePeer, Told, bounded};
use crate::protocols::{Arrival, Receipt, Receiver, Source, SourceSettings, Surroundings};

const HEAD: &str = "
system: Test
verified: { against: nothing }
base: $connection.url
settings:
  url: { type: url }
limits: { concurrency: 3 }
";

const NOON: &str = "2026-11-02T12:00:00Z";

fn open(operation: &str, url: &str, around: &Surroundings) -> Box<dyn Source> {
    let connection =
        connection(&format!("{HEAD}operations:\n  changed:\n    kind: poll\n{operation}"), &[("url", url)]);
    let Operation::Poll(poll) = connection.manifest.operations["changed"].clone() else { panic!("a poll") };
    let source = PollSource { connection, operation: "changed".into(), poll, every: None };
    source.open("orders", conformance::codec(), around).expect("the source opens")
}

/// One run of a poll, until it ends or is stopped.
struct Run {
    around: Surroundings,
    recorder: Arc<Recorder>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Fault>>,
}

impl Run {
    fn start(operation: &str, system: &System) -> Run {
        Run::start_at(operation, system, Arc::default(), surroundings_at(NOON))
    }

    fn start_at(operation: &str, system: &System, recorder: Arc<Recorder>, around: Surroundings) -> Run {
        let mut source = open(operation, system.url(), &around);
        let (receiver, stop) = (recorder.clone(), CancellationToken::new());
        let stopped = stop.clone();
        let task = tokio::spawn(async move { source.run(receiver, stopped).await });
        Run { around, recorder, stop, task }
    }

    /// Moves the clock by seconds until `holds`; fails, naming `what`, where it never does.
    async fn pass(&self, what: &str, holds: impl Fn() -> bool) {
        bounded(what, async {
            while !holds() {
                self.around.clock.advance(Duration::from_secs(1));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    /// Lets the clock stand until `holds`.
    async fn stand(&self, what: &str, holds: impl Fn() -> bool) {
        bounded(what, async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    async fn stop(self) -> Arc<Recorder> {
        self.stop.cancel();
        bounded("the end", self.task).await.expect("no panic").expect("a stop is no fault");
        self.recorder
    }

    /// The fault the run ends with, the clock moving on.
    async fn fault(self) -> (Fault, Arc<Recorder>) {
        self.pass("a fault", || self.task.is_finished()).await;
        (self.task.await.expect("no panic").expect_err("a fault"), self.recorder)
    }
}

/// The documents; of what has none, the body.
fn bodies(arrivals: &[Arrival]) -> Vec<String> {
    let body = |arrival: &Arrival| String::from_utf8_lossy(&arrival.body).into_owned();
    arrivals.iter().map(|arrival| arrival.document.as_ref().map_or_else(|| body(arrival), Value::to_string)).collect()
}

async fn cursor(recorder: &Recorder) -> String {
    let stored = recorder.cursor("poll:orders").await.expect("the recorder answers");
    stored.as_ref().and_then(|stored| stored.get("cursor")).map_or("none".to_owned(), Value::to_string)
}

fn query(asked: &Asked) -> BTreeMap<String, String> {
    let url = reqwest::Url::parse(&format!("http://x/?{}", asked.query)).expect("a query");
    url.query_pairs().into_owned().collect()
}

fn number(asked: &Asked, name: &str) -> usize {
    query(asked).get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Orders of a shop: number and time of change.
type Orders = Arc<Mutex<Vec<(usize, String)>>>;

fn orders(of: &[(usize, &str)]) -> Orders {
    Arc::new(Mutex::new(of.iter().map(|(number, time)| (*number, (*time).to_owned())).collect()))
}

/// Gives orders changed since `since` (that moment too) in the order they stand, `limit` from `offset`.
fn shop(orders: &Orders) -> impl FnMut(&Asked) -> Reply + Send + 'static {
    let orders = orders.clone();
    move |asked| {
        let query = query(asked);
        let since = query.get("since").cloned().unwrap_or_default();
        let orders = orders.lock().expect("no panic");
        let fit = orders.iter().filter(|(_, changed)| *changed >= since);
        let page = fit.skip(number(asked, "offset")).take(number(asked, "limit"));
        let page: Vec<String> =
            page.map(|(number, changed)| format!(r#"{{"id":{number},"changed":"{changed}"}}"#)).collect();
        Reply::json(&format!("[{}]", page.join(",")))
    }
}

const SHOP: &str = "
    every: 60s
    request:
      get: /orders
      query: { since: $cursor?, offset: $page.offset, limit: '2' }
    next: { offset: { size: 2 } }
";

#[tokio::test]
async fn items_become_messages_and_the_next_round_goes_on_from_the_largest() {
    let orders = orders(&[(1, "2026-11-02T10:00:00Z"), (2, "2026-11-02T10:30:00Z"), (3, "2026-11-02T10:20:00Z")]);
    let system = System::start(shop(&orders)).await;
    let operation = format!(
        "{SHOP}
    cursor: {{ value: $item.changed, start: 1d }}
    keep: $item.id != 3
    id: \"=concat($item.id, '@', $item.changed)\"
    document:
      number: $item.id
      round: $cursor
"
    );
    let run = Run::start(&operation, &system);
    run.stand("the first round", || run.recorder.stored().len() == 2).await;
    run.pass("the second round", || system.lines().len() == 3).await;
    let recorder = run.stop().await;
    let stored = recorder.stored();
    assert_eq!(
        bodies(&stored),
        [r#"{"number":1,"round":"2026-11-01T12:00:00Z"}"#, r#"{"number":2,"round":"2026-11-01T12:00:00Z"}"#]
    );
    assert_eq!(stored[0].position.as_deref(), Some("1@2026-11-02T10:00:00Z"));
    assert_eq!(stored[0].document.as_ref().map(Value::to_string), Some(bodies(&stored)[0].clone()));
    let headers = Value::Map(stored[0].headers.clone()).to_string();
    assert_eq!(headers, r#"{"connection":"test","operation":"changed"}"#);
    assert_eq!(cursor(&recorder).await, r#""2026-11-02T10:30:00Z""#);
    let asked = system.lines();
    assert_eq!(asked[0], "GET /orders?limit=2&offset=0&since=2026-11-01T12%3A00%3A00Z");
    assert_eq!(asked[2], "GET /orders?limit=2&offset=0&since=2026-11-02T10%3A30%3A00Z");
}

#[tokio::test]
async fn what_an_overlap_brings_again_is_a_repeat_and_what_changed_is_not() {
    let orders = orders(&[(1, "2026-11-02T10:00:00Z"), (2, "2026-11-02T10:04:00Z")]);
    let system = System::start(shop(&orders)).await;
    let operation =
        format!("{SHOP}    cursor: {{ value: $item.changed, overlap: 5m }}\n    document: {{ id: $item.id }}\n");
    let run = Run::start(&operation, &system);
    run.stand("the first round", || run.recorder.stored().len() == 2).await;
    // One changes with a time before the cursor: it was being written then.
    orders.lock().expect("no panic")[0].1 = "2026-11-02T10:01:00Z".to_owned();
    run.pass("the change", || run.recorder.stored().len() > 2).await;
    let asked = system.lines().len();
    run.pass("two rounds more", || system.lines().len() >= asked + 6).await;
    let recorder = run.stop().await;
    assert_eq!(bodies(&recorder.stored()), [r#"{"id":1}"#, r#"{"id":2}"#, r#"{"id":1}"#]);
    let positions = |recorder: &Recorder| -> BTreeSet<_> {
        recorder.handed().iter().map(|arrival| arrival.position.clone()).collect()
    };
    assert_eq!((recorder.handed().len(), positions(&recorder).len()), (3, 3), "each state once");
    let again = Run::start(&operation, &system);
    again.stand("a round of another run", || again.recorder.stored().len() == 2).await;
    let again = positions(&*again.stop().await);
    assert!(again.is_subset(&positions(&recorder)), "the same each time, whoever asks");
    assert_eq!(cursor(&recorder).await, r#""2026-11-02T10:04:00Z""#, "it does not move backwards");
}

#[tokio::test]
async fn a_bad_item_is_a_dead_letter_and_its_neighbours_pass() {
    let page = r#"[{"id":1,"at":1,"name":"a"},{"id":2,"at":2},{"id":3,"at":[],"name":"c"},{"id":4,"at":4,"name":"d"}]"#;
    let system = System::start(move |_| Reply::json(page)).await;
    let operation = "
    request: { get: /orders }
    cursor: { value: $item.at }
    document: { name: $item.name }
";
    let run = Run::start(operation, &system);
    run.stand("the page", || run.recorder.stored().len() == 4).await;
    run.pass("another round", || system.lines().len() >= 3).await;
    let recorder = run.stop().await;
    let handed = recorder.handed();
    assert_eq!(handed.len(), 4, "what was handed over once is not again");
    let told = |fault: &Fault| format!("{} {}", fault.code(), fault.position().unwrap_or_default());
    let faults: Vec<Option<String>> = handed.iter().take(4).map(|arrival| arrival.fault.as_ref().map(told)).collect();
    assert_eq!(
        faults,
        [
            None,
            Some("FORMULA-MISSING changed, items[1], document, $item.name".into()),
            Some("CONNECTOR-CURSOR changed, items[2]".into()),
            None
        ]
    );
    assert_eq!(bodies(&handed)[1], r#"{"id":2,"at":2}"#, "a dead letter holds the item");
    let again = Run::start(operation, &system);
    again.stand("the page, of another run", || again.recorder.stored().len() == 4).await;
    let again = again.stop().await.handed();
    assert_eq!(handed[1].position, again[1].position, "another run brings the same dead letter");
    assert_eq!(cursor(&recorder).await, "4");
}

#[tokio::test]
async fn values_that_do_not_compare_stop_the_round() {
    let system = System::scripted([Reply::json(r#"[{"at":1},{"at":"x"}]"#)]).await;
    let (fault, recorder) =
        Run::start("    request: { get: /x }\n    cursor: { value: $item.at }\n", &system).fault().await;
    assert_eq!((fault.code(), fault.position()), ("CONNECTOR-CURSOR", Some("items[1]")));
    assert!(recorder.stored().is_empty());
}

const CALLS: &str = "
    request: { get: /orders }
    cursor: { value: $item }
    calls:
      - name: order
        request: { get: \"=concat('/orders/', $item)\" }
    document: { number: $item, total: $calls.order.total }
";

#[tokio::test]
async fn calls_are_made_for_each_item_and_order_is_kept() {
    let failures = Mutex::new(2);
    let system = System::start(move |asked| match asked.path.as_str() {
        "/orders" => Reply::json("[1,2,3,4,5,6,7]"),
        // It may pass.
        "/orders/2" if std::mem::take(&mut *failures.lock().expect("no panic")) > 0 => Reply::status(503),
        "/orders/4" => Reply::status(404),
        other => Reply::json(&format!(r#"{{"total":"{}"}}"#, other.trim_start_matches("/orders/"))),
    })
    .await;
    let run = Run::start(CALLS, &system);
    run.pass("the page", || run.recorder.stored().len() == 7).await;
    let recorder = run.stop().await;
    let stored = recorder.stored();
    let expect: Vec<String> = (1..=7)
        .map(|number| if number == 4 { "4".to_owned() } else { format!(r#"{{"number":{number},"total":"{number}"}}"#) })
        .collect();
    assert_eq!(bodies(&stored), expect);
    assert_eq!(stored[3].fault.as_ref().map(Fault::code), Some("HTTP-404"));
    assert_eq!(cursor(&recorder).await, "7");
}

#[tokio::test]
async fn a_call_that_does_not_pass_skips_nothing() {
    let system = System::start(|asked| match asked.path.as_str() {
        "/orders" => Reply::json("[1,2]"),
        "/orders/2" => Reply::status(503),
        _ => Reply::json(r#"{"total":1}"#),
    })
    .await;
    let (fault, recorder) = Run::start(CALLS, &system).fault().await;
    assert_eq!(fault.code(), "HTTP-503");
    assert!(recorder.handed().is_empty());
    assert_eq!(cursor(&recorder).await, "none");
}

const NUMBERED: &str = "
    every: 60s
    request: { get: /x, query: { page: $page.number } }
    next: { number: { size: 1 } }
";

#[tokio::test]
async fn a_storm_of_429_is_waited_out() {
    let around = surroundings_at(NOON);
    let (clock, times) = (around.clock.clone(), Arc::<Mutex<Vec<i64>>>::default());
    let asked = times.clone();
    let system = System::start(move |_| {
        let mut asked = asked.lock().expect("no panic");
        asked.push(clock.now().as_second());
        match asked.len() {
            1 => Reply::json("[1]"),
            2..=4 => Reply::status(429).header("retry-after", "30"),
            5 => Reply::json("[2]"),
            _ => Reply::json("[]"),
        }
    })
    .await;
    let run = Run::start_at(NUMBERED, &system, Arc::default(), around);
    run.pass("the second page", || run.recorder.stored().len() == 2).await;
    let recorder = run.stop().await;
    let times = times.lock().expect("no panic");
    let waits: Vec<i64> = times[1..5].windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.iter().all(|wait| *wait >= 30), "asked before the time the system named: {waits:?}");
    assert_eq!(bodies(&recorder.stored()), ["1", "2"]);
    assert_eq!(recorder.handed().len(), 2, "page 1 was not read again");
}

#[tokio::test]
async fn a_fault_of_the_first_page_ends_the_run() {
    let check = async |reply: Reply, code: &str, next: Next| {
        let system = System::scripted([reply]).await;
        let (fault, recorder) = Run::start(NUMBERED, &system).fault().await;
        assert_eq!((fault.code(), fault.next()), (code, next), "{fault}");
        assert!(recorder.handed().is_empty());
    };
    let html = Reply::status(200).header("content-type", "text/html").body("<html>We are back soon</html>");
    check(html, "CONNECTOR-ANSWER", Next::Retry { after: None }).await;
    let after = Some(Duration::from_secs(30));
    check(Reply::status(429).header("retry-after", "30"), "HTTP-429", Next::Retry { after }).await;
    check(Reply::status(401), "HTTP-401", Next::Misconfigured).await;
    check(Reply::json("7"), "CONNECTOR-ITEMS", Next::Retry { after: None }).await;
}

#[tokio::test]
async fn a_page_that_comes_again_ends_the_round() {
    let system = System::start(|_| Reply::json("[1]")).await;
    let operation = format!("{NUMBERED}    cursor: {{ value: $item }}\n");
    let (fault, recorder) = Run::start(&operation, &system).fault().await;
    assert_eq!(fault.code(), "CONNECTOR-PAGE-LOOP");
    assert_eq!(bodies(&recorder.stored()), ["1"], "what came before is stored");
    assert_eq!(cursor(&recorder).await, "none");
}

#[tokio::test]
async fn a_round_of_too_many_pages() {
    let system = System::start(|asked| {
        let first = number(asked, "since") + number(asked, "page");
        Reply::json(&if first > 5 { "[]".to_owned() } else { format!("[{first}]") })
    })
    .await;
    let operation = |ordered: bool| {
        format!(
            "
    every: 60s
    request: {{ get: /x, query: {{ since: $cursor?, page: $page.number }} }}
    next: {{ number: {{ size: 1 }} }}
    cursor: {{ value: $item, ordered: {ordered} }}
    most_pages: 2
"
        )
    };
    let (fault, recorder) = Run::start(&operation(false), &system).fault().await;
    assert_eq!((fault.code(), fault.next()), ("CONNECTOR-PAGES", Next::Misconfigured));
    assert_eq!((bodies(&recorder.stored()), cursor(&recorder).await), (vec!["1".into(), "2".into()], "none".into()));

    let run = Run::start(&operation(true), &system);
    run.pass("the rounds", || run.recorder.stored().len() == 5).await;
    let recorder = run.stop().await;
    assert_eq!(bodies(&recorder.stored()), ["1", "2", "3", "4", "5"]);
    assert_eq!(cursor(&recorder).await, "5");
}

#[tokio::test]
async fn items_said_to_be_in_order_that_are_not_keep_the_cursor_to_the_last_page() {
    let replies = [Reply::json("[5]"), Reply::json("[3]"), Reply::json("[9]"), Reply::status(500), Reply::status(400)];
    let system = System::scripted(replies).await;
    let operation = format!("{NUMBERED}    cursor: {{ value: $item, ordered: true }}\n");
    let (fault, recorder) = Run::start(&operation, &system).fault().await;
    assert_eq!(fault.code(), "HTTP-400");
    assert_eq!(bodies(&recorder.stored()), ["5", "3", "9"]);
    assert_eq!(cursor(&recorder).await, "5", "kept after page 1, not after page 3");
}

#[tokio::test]
async fn one_page_is_asked_for_ahead_and_no_more() {
    let system = System::start(|asked| Reply::json(&format!("[{}]", number(asked, "page")))).await;
    let run = Run::start(NUMBERED, &system);
    run.recorder.set(Mood::Hold);
    run.recorder.until("the first page is handed over", |state| state.waiting > 0).await;
    run.stand("the second is asked for", || system.lines().len() == 2).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(system.lines().len(), 2);
    run.stop().await;
}

/// A receiver whose hub is killed at one hand-over: before it is stored, or before the source hears of it.
struct Killed {
    recorder: Arc<Recorder>,
    left: Mutex<usize>,
    stores_last: bool,
    dead: CancellationToken,
}

#[async_trait]
impl Receiver for Killed {
    async fn receive(&self, arrivals: Vec<Arrival>, cursor: Option<(Text, Value)>) -> Result<Vec<Receipt>, Fault> {
        let last = {
            let mut left = self.left.lock().expect("no panic");
            *left -= 1;
            *left == 0
        };
        let mut receipts = Ok(Vec::new());
        if !last || self.stores_last {
            receipts = self.recorder.receive(arrivals, cursor).await;
        }
        if last {
            self.dead.cancel();
            std::future::pending::<()>().await;
        }
        receipts
    }

    async fn cursor(&self, name: &str) -> Result<Option<Value>, Fault> {
        self.recorder.cursor(name).await
    }

    async fn reply(&self, arrival: Arrival) -> Result<Value, Fault> {
        self.recorder.reply(arrival).await
    }
}

/// What is stored before a kill, at any hand-over, and what after it, is all there is.
#[tokio::test]
async fn a_kill_between_a_page_and_its_cursor_skips_nothing() {
    let times: Vec<String> = (1..=6).map(|number| format!("2026-11-02T10:0{number}:00Z")).collect();
    let list: Vec<(usize, &str)> = (1..).zip(times.iter().map(String::as_str)).collect();
    // Three pages; where items are not in order the cursor is a fourth hand-over.
    for (ordered, hand_overs) in [(false, 4), (true, 3)] {
        for (killed_at, stores_last) in (1..=hand_overs).flat_map(|at| [(at, false), (at, true)]) {
            let system = System::start(shop(&orders(&list))).await;
            let operation = format!("{SHOP}    cursor: {{ value: $item.changed, ordered: {ordered} }}\n");
            let (recorder, dead) = (Arc::<Recorder>::default(), CancellationToken::new());
            let left = Mutex::new(killed_at);
            let killed = Killed { recorder: recorder.clone(), left, stores_last, dead: dead.clone() };
            let mut source = open(&operation, system.url(), &surroundings_at(NOON));
            let run = tokio::spawn(async move { source.run(Arc::new(killed), CancellationToken::new()).await });
            bounded("the kill", dead.cancelled()).await;
            run.abort();
            let run = Run::start_at(&operation, &system, recorder, surroundings_at(NOON));
            let last = Some(Value::from(times[5].as_str()));
            let cursor = |value: &Value| value.get("cursor").cloned();
            run.recorder.until("the cursor", |state| state.cursors.get("poll:orders").and_then(cursor) == last).await;
            let stored = bodies(&run.stop().await.stored());
            let distinct: BTreeSet<&String> = stored.iter().collect();
            let case = format!("ordered {ordered}, killed at {killed_at}, stored {stores_last}");
            assert_eq!((distinct.len(), stored.len()), (6, 6), "{case}");
        }
    }
}

#[tokio::test]
async fn a_receiver_without_room_is_asked_again() {
    let system = System::scripted([Reply::json("[1,2]")]).await;
    let recorder = Arc::new(Recorder::default());
    recorder.set(Mood::Refuse);
    let run = Run::start_at(
        "    request: { get: /x }\n    cursor: { value: $item }\n",
        &system,
        recorder,
        surroundings_at(NOON),
    );
    run.pass("refusals", || run.recorder.refused() == 3).await;
    run.recorder.set(Mood::Accept);
    run.pass("the page", || run.recorder.stored().len() == 2).await;
    let recorder = run.stop().await;
    assert_eq!((bodies(&recorder.stored()), cursor(&recorder).await), (vec!["1".into(), "2".into()], "2".into()));
    assert_eq!(system.lines().len(), 1, "the page was kept");
}

#[tokio::test]
async fn items_that_appear_while_pages_are_asked_for_come_in() {
    let list = orders(&[(1, "2026-11-02T10:01:00Z"), (2, "2026-11-02T10:02:00Z"), (3, "2026-11-02T10:03:00Z")]);
    let growing = list.clone();
    let mut answer = shop(&list);
    let system = System::start(move |asked| {
        let reply = answer(asked);
        let mut orders = growing.lock().expect("no panic");
        if orders.len() < 8 {
            let number = orders.len() + 1;
            orders.push((number, format!("2026-11-02T10:0{number}:00Z")));
        }
        reply
    })
    .await;
    let run = Run::start(&format!("{SHOP}    cursor: {{ value: $item.changed }}\n"), &system);
    run.pass("all", || run.recorder.stored().len() == 8).await;
    let stored: BTreeSet<String> = bodies(&run.stop().await.stored()).into_iter().collect();
    assert_eq!(stored.len(), 8);
}

/// The system's clock is an hour behind the hub's, or ahead: what it writes down is compared with what it wrote down.
#[tokio::test]
async fn clocks_that_differ_by_an_hour_skip_nothing() {
    for hour in [11, 13] {
        let orders = orders(&[(1, &format!("2026-11-02T{hour}:00:00Z"))]);
        let system = System::start(shop(&orders)).await;
        let run = Run::start(&format!("{SHOP}    cursor: {{ value: $item.changed, start: 1d }}\n"), &system);
        for number in 2..=5 {
            run.pass("the order before", || run.recorder.stored().len() == number - 1).await;
            let changed = format!("2026-11-02T{hour}:0{number}:00Z");
            orders.lock().expect("no panic").push((number, changed));
        }
        run.pass("the last", || run.recorder.stored().len() == 5).await;
        let last = Value::from(format!("2026-11-02T{hour}:05:00Z"));
        let cursor = |value: &Value| value.get("cursor").cloned();
        let moved = |stored: Option<&Value>| stored.and_then(cursor).as_ref() == Some(&last);
        run.recorder.until("the cursor", |state| moved(state.cursors.get("poll:orders"))).await;
        run.stop().await;
    }
}

const JOB: &str = "
    every: 1h
    job:
      create: { post: /jobs, json: { since: $cursor? } }
      poll: { get: \"=concat('/jobs/', $job.id)\" }
      every: 5s
      done: $.state == 'done' and $job.state == 'done'
      failed: $.state == 'failed'
      within: 1m
      download: { get: $job.file }
    cursor: { value: $item }
";

#[tokio::test]
async fn a_job_is_asked_for_waited_for_and_fetched() {
    let replies = [
        Reply::json(r#"{"id":"j7"}"#),
        Reply::json(r#"{"id":"j7","state":"running"}"#),
        Reply::status(503),
        Reply::json(r#"{"id":"j7","state":"done","file":"/files/7"}"#),
        Reply::json("[1,2]"),
    ];
    let system = System::scripted(replies).await;
    let run = Run::start(JOB, &system);
    run.pass("the items", || run.recorder.stored().len() == 2).await;
    let recorder = run.stop().await;
    assert_eq!(cursor(&recorder).await, "2");
    assert_eq!(system.lines(), ["POST /jobs", "GET /jobs/j7", "GET /jobs/j7", "GET /jobs/j7", "GET /files/7"]);
}

#[tokio::test]
async fn a_job_that_fails_or_takes_too_long_ends_the_run() {
    let created = || Reply::json(r#"{"id":"j7"}"#);
    let failed = System::scripted([created(), Reply::json(r#"{"id":"j7","state":"failed"}"#)]).await;
    let (fault, _) = Run::start(JOB, &failed).fault().await;
    assert_eq!(fault.to_string(), "CONNECTOR-JOB: the system says that a job failed");

    let mut first = true;
    let slow = move |_: &Asked| if std::mem::take(&mut first) { created() } else { Reply::json(r#"{"id":"j7"}"#) };
    let slow = System::start(slow).await;
    let (fault, _) = Run::start(JOB, &slow).fault().await;
    assert_eq!(fault.to_string(), "CONNECTOR-JOB: a job was not done within 60s");
}

#[tokio::test]
async fn a_stop_ends_the_wait_for_a_job_at_once() {
    let system = System::start(|_| Reply::json(r#"{"id":"j7"}"#)).await;
    let run = Run::start(JOB, &system);
    run.stand("the job", || system.lines().len() == 1).await;
    // The clock stands: only the stop can end this.
    run.stop().await;
}

/// A system that holds texts, each with a number.
struct Peer {
    system: System,
    texts: Arc<Mutex<Vec<String>>>,
    around: Surroundings,
}

const TEXTS: &str = "
    every: 5s
    request: { get: /texts, query: { after: $cursor? } }
    cursor: { value: $item.number }
    id: $item.number
    document: { text: $item.text }
";

impl Peer {
    async fn new() -> Peer {
        let texts = Arc::<Mutex<Vec<String>>>::default();
        let held = texts.clone();
        let system = System::start(move |asked| {
            let held = held.lock().expect("no panic");
            let items = held.iter().enumerate().skip(number(asked, "after"));
            let items = items.map(|(at, text)| format!(r#"{{"number":{},"text":"{text}"}}"#, at + 1));
            Reply::json(&format!("[{}]", items.collect::<Vec<_>>().join(",")))
        });
        Peer { system: system.await, texts, around: surroundings_at(NOON) }
    }
}

#[async_trait]
impl SourcePeer for Peer {
    fn open(&self) -> Result<Box<dyn Source>, Fault> {
        Ok(open(TEXTS, self.system.url(), &self.around))
    }

    async fn send(&self, message: &str, recorder: &Recorder) -> Told {
        let (stored, refused) = (recorder.stored().len(), recorder.refused());
        self.texts.lock().expect("no panic").push(message.to_owned());
        loop {
            self.around.clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(2)).await;
            if recorder.stored().len() > stored {
                return Told::Accepted;
            }
            if recorder.refused() > refused {
                return Told::ComeBack;
            }
        }
    }
}

#[tokio::test]
async fn a_poll_passes_the_suite_of_all_sources() {
    conformance::source(Peer::new).await;
}
