//! Every branch of the shorter way, against a target that does as its messages say, and the embedded engine.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::clock::Clock;
use crate::config::{Environment, QueueSettings, render};
use crate::formula::Scope;
use crate::message::json;
use crate::message::{Map, Value};
use crate::pipelines::{Calls, Gate, Memory, load};
use crate::protocols::{NoConnections, Prepared, Receiver};
use crate::store::{self, DeadFilter, DeadLetter};
use crate::telemetry::Metrics;

const HEAD: &str = "about: Orders from one broker to another.\ntrack: { order: $.id }\non_error: { retry: [5s] }\n";
const FROM: &str = "from: { protocol: amqp, broker: { addresses: [rabbit.example] }, queue: orders, format: json }\n";
const TO: &str =
    "to:\n  erp: { protocol: amqp, broker: { addresses: [rabbit.example] }, routing_key: orders, format: json }\n";
const PLAIN: &str = "order_by: none\ndedupe: none\n";
const STEPS: &str =
    "steps:\n  - filter: coalesce($.kind?, '') != 'test'\n  - split: { each: $.lines }\n  - set: { copy: $.answer }\n";

/// A hub with one pipeline, and its gate.
struct Room {
    folder: PathBuf,
    clock: Clock,
    works: Works,
    pipeline: Arc<Pipeline>,
    target: Arc<Fake>,
    gate: Arc<Gate>,
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Room {
    fn new(yaml: &str) -> Room {
        Room::with(yaml, QueueSettings::default(), Fake::default())
    }

    fn plain() -> Room {
        Room::new(&[HEAD, FROM, PLAIN, STEPS, TO].concat())
    }

    fn with(yaml: &str, queue: QueueSettings, target: Fake) -> Room {
        let folder = std::env::temp_dir().join(format!("raccord-relay-{}", MessageId::draw()));
        for (name, text) in [
            ("config/raccord.yaml", "name: test\n"),
            ("config/tables/seen.yaml", "key: [id]\ncolumns: [x]\nretention: 7d\n"),
            ("pipelines/web-order/pipeline.yaml", yaml),
        ] {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("it is in the folder")).expect("folders can be made");
            fs::write(path, text).expect("files can be written");
        }
        let mut loaded = load(&folder, &Environment { only: Some(Default::default()), folder: folder.clone() });
        let Some(configuration) = loaded.configuration.take() else {
            panic!("{}", render(&loaded.files, &loaded.problems, false));
        };
        let clock = Clock::simulated("2026-11-02T09:00:00Z".parse().expect("a time"));
        let works = Works {
            engine: store::open(&folder.join("data"), &queue, clock.clone()).expect("the engine opens"),
            clock: clock.clone(),
            metrics: Metrics::default(),
            tables: configuration.tables.clone(),
            calls: Arc::new(Calls::new(Arc::new(NoConnections), clock.clone())),
            memory: Arc::new(Memory::new(64 << 20)),
            quota: u64::from(queue.quota),
        };
        let pipeline = configuration.pipelines["web-order"].clone();
        let target = Arc::new(target);
        let targets: Vec<Arc<dyn Target>> = vec![target.clone()];
        let gate = Arc::new(Gate::new(pipeline.clone(), works.clone(), &targets));
        Room { folder, clock, works, pipeline, target, gate }
    }

    async fn receive(&self, arrivals: Vec<Arrival>) -> Vec<Receipt> {
        let received = timeout(Duration::from_secs(20), self.gate.receive(arrivals, None)).await;
        received.expect("it does not hang").unwrap_or_else(|fault| panic!("{fault}"))
    }

    fn id(&self, position: &str) -> MessageId {
        MessageId::derive(&[b"web-order", b"position", position.as_bytes()])
    }

    /// Hops of a message: `event message note`, children by their place.
    async fn hops(&self, position: &str) -> Vec<String> {
        let id = self.id(position);
        let children: Vec<MessageId> = (0..5).map(|index| id.child("erp", index)).collect();
        let named = |hop: &Hop| {
            let child = children.iter().position(|child| *child == hop.message).map(|index| format!("erp {index}"));
            let whole = if hop.message == id { "whole" } else { "other" };
            let track: Vec<&str> = hop.track.iter().map(|(_, value)| value.as_str()).collect();
            let named = child.unwrap_or_else(|| whole.to_owned());
            format!("{:?} {named} {} [{}]", hop.event, hop.note.clone().unwrap_or_default(), track.join(","))
        };
        self.works.engine.store.journal(id).await.expect("the journal can be read").iter().map(named).collect()
    }

    async fn waiting(&self, queue: &str) -> u64 {
        self.works.engine.queue.entries(queue).await.expect("the queue can be asked")
    }

    async fn dead(&self) -> Vec<DeadLetter> {
        let all = DeadFilter { most: 100, ..DeadFilter::default() };
        self.works.engine.store.dead_letters(all).await.expect("dead letters can be read")
    }
}

/// A target that answers each message as it says under `answer`.
#[derive(Default)]
struct Fake {
    taken: Mutex<Vec<(MessageId, String)>>,
    /// Runs that came in.
    runs: Mutex<usize>,
    /// Answers nothing while it holds.
    hold: Option<watch::Receiver<bool>>,
    /// Forgets the last answer of each run.
    short: AtomicBool,
    alone: bool,
}

impl Fake {
    fn runs(&self) -> usize {
        *self.runs.lock().expect("no test panics here")
    }

    fn taken(&self) -> Vec<(MessageId, String)> {
        self.taken.lock().expect("no test panics here").clone()
    }
}

#[async_trait]
impl Target for Fake {
    fn prepare(&self, scope: &Scope<'_>) -> Result<Prepared, Fault> {
        if scope.document.get("encode").is_some() {
            return Err(Fault::refuse("ENCODE-JSON", "it cannot be written"));
        }
        let address = Map::from_iter([("routing_key", "orders")]);
        Ok(Prepared { body: scope.document.to_string().into(), address })
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Option<Text>, Fault> {
        self.deliver_all(std::slice::from_ref(delivery)).await.remove(0)
    }

    async fn deliver_all(&self, deliveries: &[Delivery]) -> Vec<Result<Option<Text>, Fault>> {
        *self.runs.lock().expect("no test panics here") += 1;
        if let Some(mut hold) = self.hold.clone() {
            let _ = hold.wait_for(|holds| !holds).await;
        }
        let mut outcomes: Vec<_> = deliveries.iter().map(|delivery| self.answer(delivery)).collect();
        if self.short.load(Ordering::Relaxed) {
            outcomes.pop();
        }
        outcomes
    }

    fn batch(&self) -> usize {
        256
    }

    fn confirms_together(&self) -> bool {
        !self.alone
    }
}

impl Fake {
    fn answer(&self, delivery: &Delivery) -> Result<Option<Text>, Fault> {
        let document = json::read(&delivery.prepared.body).expect("it was made here");
        let answer = document.get("answer").and_then(Value::as_text).unwrap_or("take").to_owned();
        match answer.as_str() {
            "take" => {
                self.taken.lock().expect("no test panics here").push((delivery.id, document.to_string()));
                Ok(Some("seen".into()))
            }
            "refuse" => Err(Fault::refuse("AMQP-TOO-LARGE", "too large")),
            "retry" => Err(Fault::retry("AMQP-NACK", "not now")),
            "reconnect" => Err(Fault::reconnect("AMQP-GONE", "gone")),
            "misconfigured" => Err(Fault::misconfigured("AMQP-MISSING", "no exchange")),
            other => panic!("`{other}` is no answer"),
        }
    }
}

/// A message with one line for each of `answers`.
fn order(position: &str, answers: &[&str]) -> Arrival {
    let lines: Vec<String> = answers.iter().map(|answer| format!(r#"{{"answer":"{answer}"}}"#)).collect();
    arrival(position, &format!(r#"{{"id":"{position}","lines":[{}]}}"#, lines.join(",")))
}

fn arrival(position: &str, body: &str) -> Arrival {
    let headers = Map::from_iter([("store", "lyon")]);
    let position = (!position.is_empty()).then(|| position.to_owned());
    Arrival { body: body.to_owned().into(), document: None, headers, position, fault: None }
}

fn outcomes(receipts: &[Receipt]) -> Vec<ReceiptOutcome> {
    receipts.iter().map(|receipt| receipt.outcome).collect()
}

#[tokio::test]
async fn it_is_taken_only_where_the_ends_and_the_steps_allow_it() {
    let check = |yaml: String, target: Fake, expect: bool| {
        let room = Room::with(&yaml, QueueSettings::default(), target);
        let target: [Arc<dyn Target>; 1] = [room.target.clone()];
        let many: Vec<_> = room.pipeline.destinations.iter().map(|_| target[0].clone()).collect();
        assert_eq!(Relay::of(&room.pipeline, &many, &room.works).is_some(), expect, "{yaml}");
    };
    check([HEAD, FROM, PLAIN, STEPS, TO].concat(), Fake::default(), true);
    check([HEAD, FROM, PLAIN, TO].concat(), Fake::default(), true);
    check([HEAD, FROM, PLAIN, TO].concat(), Fake { alone: true, ..Fake::default() }, false);
    check([HEAD, FROM, "order_by: $.id\ndedupe: none\n", TO].concat(), Fake::default(), false);
    check([HEAD, FROM, "order_by: none\ndedupe: { by: [$.id] }\n", TO].concat(), Fake::default(), false);
    // Nobody said that repeats are harmless.
    check([HEAD, FROM, "order_by: none\n", TO].concat(), Fake::default(), false);
    let remembers = "steps:\n  - remember: { table: seen, row: { id: $.id, x: '1' } }\n";
    check([HEAD, FROM, PLAIN, remembers, TO].concat(), Fake::default(), false);
    let second =
        "  stock: { protocol: amqp, broker: { addresses: [rabbit.example] }, routing_key: stock, format: json }\n";
    check([HEAD, FROM, PLAIN, TO, second].concat(), Fake::default(), false);
    let web = "from: { protocol: http, path: /orders, auth: none, format: json }\n";
    check([HEAD, web, PLAIN, TO].concat(), Fake::default(), false);
}

#[tokio::test]
async fn a_run_is_delivered_and_told_in_the_journal_and_passes_no_queue() {
    let room = Room::plain();
    let receipts = room.receive(vec![order("4711", &["take", "take"]), order("4712", &["take"])]).await;
    assert_eq!(outcomes(&receipts), [ReceiptOutcome::Stored; 2]);
    assert_eq!(receipts[0].id, room.id("4711"));
    let taken = room.target.taken();
    let ids: Vec<_> = taken.iter().map(|(id, _)| *id).collect();
    let child = |order: &str, index| room.id(order).child("erp", index);
    assert_eq!(ids, [child("4711", 0), child("4711", 1), child("4712", 0)]);
    assert_eq!(taken[0].1, r#"{"answer":"take","copy":"take"}"#, "the steps ran");
    assert_eq!(room.hops("4711").await, ["Delivered erp 0 seen [4711]", "Delivered erp 1 seen []"]);
    let found = room.works.engine.store.search("4711", 10).await.expect("it can be searched");
    assert_eq!(found, [room.id("4711")], "where is order 4711?");
    assert_eq!(
        (room.waiting("web-order").await, room.waiting("web-order.to.erp").await, room.dead().await),
        (0, 0, vec![])
    );
    // Given again, it goes again, under the same ids.
    room.receive(vec![order("4711", &["take", "take"])]).await;
    assert_eq!(room.target.taken()[3].0, child("4711", 0));
}

#[tokio::test]
async fn the_ids_are_those_of_the_ordinary_way() {
    let relayed = Room::plain();
    let ordinary = Room::new(&[HEAD, FROM, "order_by: none\n", STEPS, TO].concat());
    let one = relayed.receive(vec![order("4711", &["take"])]).await;
    let other = ordinary.receive(vec![order("4711", &["take"])]).await;
    assert_eq!(one, other);
    assert_eq!((relayed.waiting("web-order").await, ordinary.waiting("web-order").await), (0, 1));
}

#[tokio::test]
async fn what_cannot_be_read_is_a_dead_letter_of_the_intake_and_holds_up_nothing() {
    let room = Room::plain();
    let mut told = arrival("told", "{}");
    told.fault = Some(Fault::refuse("AMQP-HEADERS", "too deep"));
    let untracked = arrival("untracked", r#"{"lines":[]}"#);
    let run = vec![arrival("bad", "{ no JSON"), told, untracked, order("good", &["take"])];
    let receipts = room.receive(run).await;
    let (dead, stored) = (ReceiptOutcome::Dead, ReceiptOutcome::Stored);
    assert_eq!(outcomes(&receipts), [dead, dead, dead, stored]);
    assert_eq!(room.target.taken().len(), 1);
    let letters = room.dead().await;
    let codes: Vec<_> = letters.iter().map(|letter| (letter.code.as_str(), letter.attempts)).collect();
    assert_eq!(codes, [("DECODE-JSON", 0), ("AMQP-HEADERS", 0), ("FORMULA-MISSING", 0)]);
    assert_eq!(letters[0].body, "{ no JSON", "the bytes it came with");
    assert_eq!((letters[0].message, &*letters[0].replay.queue), (room.id("bad"), "web-order"));
    assert_eq!(room.hops("bad").await, ["Dead whole DECODE-JSON []"]);
}

#[tokio::test]
async fn a_step_that_fails_makes_a_dead_letter_with_the_original_bytes() {
    let room = Room::plain();
    let body = r#"{"id":"4711","lines":[{"price":1}]}"#;
    let receipts = room.receive(vec![arrival("4711", body), order("4712", &["take"])]).await;
    assert_eq!(outcomes(&receipts), [ReceiptOutcome::Stored; 2]);
    let letter = room.dead().await.remove(0);
    assert_eq!((letter.code.as_str(), letter.attempts, &letter.body[..]), ("FORMULA-MISSING", 1, body.as_bytes()));
    assert_eq!((letter.destination, letter.replay.headers.get("store").cloned()), (None, Some("lyon".into())));
    assert_eq!(room.hops("4711").await, ["Dead whole FORMULA-MISSING [4711]"]);
}

#[tokio::test]
async fn what_the_target_cannot_encode_is_replayed_for_it_alone() {
    let room = Room::plain();
    let body = r#"{"id":"4711","lines":[{"answer":"take"},{"answer":"take","encode":"bad"}]}"#;
    room.receive(vec![arrival("4711", body)]).await;
    assert!(room.target.taken().is_empty(), "all of a message, or nothing");
    let letter = room.dead().await.remove(0);
    assert_eq!((letter.message, letter.code.as_str()), (room.id("4711").child("erp", usize::MAX), "ENCODE-JSON"));
    assert_eq!((letter.destination.as_deref(), &*letter.replay.queue), (Some("erp"), "web-order"));
    assert_eq!(letter.replay.headers.get(ONLY), Some(&"erp".into()));
}

#[tokio::test]
async fn what_the_steps_leave_out_is_told_so() {
    let room = Room::plain();
    let receipts = room.receive(vec![arrival("4711", r#"{"id":"4711","kind":"test","lines":[]}"#)]).await;
    assert_eq!(outcomes(&receipts), [ReceiptOutcome::Stored]);
    assert_eq!(room.hops("4711").await, ["Filtered whole  [4711]"]);
    assert_eq!(room.target.runs(), 0);
}

#[tokio::test]
async fn a_refusal_is_a_dead_letter_of_the_destination_and_its_siblings_are_delivered() {
    let room = Room::plain();
    room.receive(vec![order("4711", &["take", "refuse", "take"])]).await;
    assert_eq!(
        room.hops("4711").await,
        ["Delivered erp 0 seen [4711]", "Dead erp 1 AMQP-TOO-LARGE []", "Delivered erp 2 seen []"]
    );
    let letter = room.dead().await.remove(0);
    assert_eq!((letter.message, letter.origin), (room.id("4711").child("erp", 1), room.id("4711")));
    assert_eq!((&*letter.replay.queue, letter.attempts), ("web-order.to.erp", 1));
    assert_eq!(letter.replay.body, r#"{"answer":"refuse","copy":"refuse"}"#, "the bytes it would have got");
    assert_eq!(letter.replay.headers.get("routing_key"), Some(&"orders".into()));
}

#[tokio::test]
async fn a_fault_that_may_pass_sends_a_message_the_ordinary_way_and_only_that() {
    let room = Room::plain();
    let receipts = room.receive(vec![order("1", &["take"]), order("2", &["retry"]), order("3", &["take"])]).await;
    assert_eq!(outcomes(&receipts), [ReceiptOutcome::Stored; 3]);
    assert_eq!(receipts[1].id, room.id("2"));
    assert_eq!((room.target.taken().len(), room.waiting("web-order").await), (2, 1));
    assert_eq!(room.hops("2").await, ["Accepted whole  [2]"]);
    // The peer is there: the next run goes straight through.
    room.receive(vec![order("4", &["take"])]).await;
    assert_eq!(room.waiting("web-order").await, 1);
}

#[tokio::test]
async fn without_retries_a_fault_that_may_pass_ends_the_message_as_everywhere() {
    let head = "about: x\ntrack: { order: $.id }\n";
    let room = Room::new(&[head, FROM, PLAIN, STEPS, TO].concat());
    room.receive(vec![order("2", &["retry"])]).await;
    assert_eq!(room.hops("2").await, ["Dead erp 0 AMQP-NACK [2]"]);
}

#[tokio::test]
async fn while_the_peer_is_away_all_waits_in_the_queue_and_it_is_asked_now_and_then() {
    for (answer, rest) in [("reconnect", Duration::from_millis(250)), ("misconfigured", Duration::from_secs(30))] {
        let room = Room::plain();
        room.receive(vec![order("1", &["take"]), order("2", &[answer])]).await;
        assert_eq!((room.target.runs(), room.waiting("web-order").await), (1, 1));
        room.receive(vec![order("3", &["take"])]).await;
        assert_eq!((room.target.runs(), room.waiting("web-order").await), (1, 2), "it rests");
        room.clock.advance(rest);
        room.receive(vec![order("4", &["take"])]).await;
        assert_eq!((room.target.runs(), room.waiting("web-order").await), (2, 2), "it is asked again");
        room.receive(vec![order("5", &["take"])]).await;
        assert_eq!(room.waiting("web-order").await, 2);
    }
}

#[tokio::test]
async fn a_target_that_does_not_answer_all_is_taken_to_be_away() {
    let room = Room::plain();
    room.target.short.store(true, Ordering::Relaxed);
    room.receive(vec![order("1", &["take"]), order("2", &["take"])]).await;
    assert_eq!(room.hops("1").await, ["Delivered erp 0 seen [1]"]);
    assert_eq!(room.hops("2").await, ["Accepted whole  [2]"]);
}

#[tokio::test]
async fn what_nobody_identifies_goes_the_ordinary_way() {
    let room = Room::plain();
    let receipts = room.receive(vec![arrival("", r#"{"id":"1","lines":[]}"#), order("2", &["take"])]).await;
    assert_eq!(outcomes(&receipts), [ReceiptOutcome::Stored; 2]);
    assert_eq!(receipts[1].id, room.id("2"), "answers come in order");
    assert_eq!((room.target.taken().len(), room.waiting("web-order").await), (1, 1));
    let mut read = order("3", &["take"]);
    read.document = Some(json::read(&read.body).expect("it is JSON"));
    room.receive(vec![read]).await;
    assert_eq!(room.waiting("web-order").await, 2);
}

#[tokio::test]
async fn where_there_is_no_room_nothing_is_accepted_and_what_was_delivered_is_not_given_back() {
    let queue = QueueSettings { quota: 0, ..QueueSettings::default() };
    let room = Room::with(&[HEAD, FROM, PLAIN, STEPS, TO].concat(), queue, Fake::default());
    let fault = room.gate.receive(vec![order("1", &["retry"])], None).await.expect_err("there is no room");
    assert_eq!(fault.code(), "STORE-FULL");
    // One is delivered, the other finds no room: the run waits, and neither is given again.
    let run = room.gate.receive(vec![order("2", &["take"]), order("3", &["retry"])], None);
    let mut run = Box::pin(run);
    assert!(timeout(Duration::from_millis(300), &mut run).await.is_err(), "it waits for room");
    room.clock.advance(Duration::from_secs(1));
    assert!(timeout(Duration::from_millis(300), &mut run).await.is_err(), "and tries again");
    assert_eq!((room.target.runs(), room.target.taken().len()), (2, 1), "nothing is delivered twice meanwhile");
}

#[tokio::test]
async fn runs_wait_for_their_confirms_side_by_side_and_not_without_bound() {
    let (hold, held) = watch::channel(true);
    let target = Fake { hold: Some(held), ..Fake::default() };
    let room = Arc::new(Room::with(&[HEAD, FROM, PLAIN, STEPS, TO].concat(), QueueSettings::default(), target));
    let runs: Vec<_> = (0..RUNS + 2)
        .map(|number| {
            let room = room.clone();
            tokio::spawn(async move { room.receive(vec![order(&number.to_string(), &["take"])]).await })
        })
        .collect();
    let all_in = async {
        while room.target.runs() < RUNS {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), all_in).await.expect("several runs are at the target at once");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(room.target.runs(), RUNS, "the others wait");
    assert!(room.hops("0").await.is_empty(), "nothing is told before it is confirmed");
    hold.send_replace(false);
    for run in runs {
        assert_eq!(outcomes(&run.await.expect("it does not panic")), [ReceiptOutcome::Stored]);
    }
}
