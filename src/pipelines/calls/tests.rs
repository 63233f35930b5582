//! A stage whose steps ask a simulated system, on the embedded engine: what is asked, how often, and what follows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::reply::reply;
use super::super::spec::Names;
use super::*;
use crate::config::{Environment, Files, QueueSettings, Reader, parse, render};
use crate::connectors::Connectors;
use crate::formula::Scope;
use crate::message::Map;
use crate::pipelines::{Condition, Gate, Memory, Pipeline, Stage, replay};
use crate::protocols::{Arrival, Delivery, Prepared, Receiver, Target};
use crate::queue::Window;
use crate::queue::embedded::Scratch;
use crate::steps::{ConnectionNames, CsvTables, TableNames};
use crate::store::{self, DeadFilter, DeadLetter, Event};
use crate::telemetry::Metrics;

const HEAD: &str = "about: Orders, with what the ERP knows.\norder_by: none\ndedupe: none\non_error: { retry: [5s] }\n\
    from: { protocol: raccord, format: json }\nto: { out: { protocol: file, folder: out, name: x.json, format: json } }\n";
const CALL: &str = "- call: { connection: erp, operation: product.find, with: { gtin: $.g }, into: article";
const EACH: &str =
    "- call: { connection: erp, operation: product.find, each: $.l, with: { gtin: $item.g }, into: article }\n";

/// What the ERP does when it is asked for something.
#[derive(Clone, Debug)]
enum Does {
    Has(&'static str),
    Fails(Fault),
    Hangs,
}

/// A system that counts what it is asked.
struct Erp {
    /// By operation and input.
    does: Mutex<BTreeMap<String, Does>>,
    asked: Mutex<Vec<String>>,
    /// Questions under way.
    under_way: Mutex<usize>,
    /// Answers nothing before so many questions have been under way at once.
    waits_for: Mutex<usize>,
    peak: watch::Sender<usize>,
}

impl Erp {
    fn new() -> Arc<Erp> {
        Arc::new(Erp {
            does: Mutex::default(),
            asked: Mutex::default(),
            under_way: Mutex::default(),
            waits_for: Mutex::default(),
            peak: watch::channel(0).0,
        })
    }

    fn does(&self, question: &str, does: Does) {
        self.does.lock().expect("no test panics here").insert(question.to_owned(), does);
    }

    /// What it was asked since it was last looked at, sorted.
    fn asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().expect("no test panics here"));
        asked.sort();
        asked
    }

    /// So many questions more are under way.
    fn under_way(&self, more: isize) {
        let mut under_way = self.under_way.lock().expect("no test panics here");
        *under_way = under_way.saturating_add_signed(more);
        self.peak.send_modify(|peak| *peak = (*peak).max(*under_way));
    }
}

#[async_trait]
impl Connections for Erp {
    async fn call(
        &self,
        connection: &str,
        operation: &str,
        input: &Value,
        _: MessageId,
        _: Timestamp,
    ) -> Result<Option<Value>, Fault> {
        assert_eq!(connection, "erp");
        let question = format!("{operation} {input}");
        self.asked.lock().expect("no test panics here").push(question.clone());
        self.under_way(1);
        let count = *self.waits_for.lock().expect("no test panics here");
        let mut peak = self.peak.subscribe();
        let reached = timeout(PATIENCE, peak.wait_for(|peak| *peak >= count)).await.is_ok();
        assert!(reached, "{count} questions under way never came");
        let does = self.does.lock().expect("no test panics here").get(&question).cloned();
        if let Some(Does::Hangs) = does {
            std::future::pending::<()>().await;
        }
        self.under_way(-1);
        match does {
            None => Ok(None),
            Some(Does::Has(name)) => Ok(Some([("name", name)].into_iter().collect::<Map>().into())),
            Some(Does::Fails(fault)) => Err(fault),
            Some(Does::Hangs) => unreachable!("it hangs"),
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
const LAMP: &str = r#"product.find {"gtin":"1"}"#;
const CHAIR: &str = r#"product.find {"gtin":"2"}"#;
const STOCK: &str = r#"stock.list {"gtin":"1"}"#;

fn away() -> Does {
    Does::Fails(Fault::reconnect("HTTP-CONNECT", "the ERP cannot be reached"))
}

fn busy() -> Does {
    Does::Fails(Fault::retry("HTTP-503", "the ERP is busy"))
}

/// A hub's folder with one pipeline.
struct Shop {
    scratch: Scratch,
    clock: Clock,
    erp: Arc<Erp>,
    pipeline: Arc<Pipeline>,
}

/// The pipeline at work, until it is killed.
struct Work {
    works: Works,
    gate: Gate,
    clock: Clock,
    stage: JoinHandle<()>,
}

fn read(yaml: &str) -> Pipeline {
    let (files, environment) =
        (Files::default(), Environment { only: Some(Default::default()), folder: PathBuf::from(".") });
    let mut reader = Reader::new(&files, &environment);
    let file = files.add("pipeline.yaml", yaml);
    let node = parse(file, &files.text(file), &mut reader.problems).expect("this is YAML");
    let operations = ["product.find", "stock.list"].map(|name| (name.into(), true)).into_iter().collect();
    let connections = ConnectionNames([("erp".into(), operations)].into_iter().collect());
    let (tables, connectors, partners) = (TableNames::default(), Connectors::default(), Arc::default());
    let names = Names { tables: &tables, connections: &connections, connectors: &connectors, partners: &partners };
    let pipeline = Pipeline::read("web-order", &node, &mut reader, std::path::Path::new("."), names);
    pipeline.filter(|_| !reader.has_errors()).unwrap_or_else(|| panic!("{}", render(&files, &reader.problems, false)))
}

impl Shop {
    fn new(steps: &str) -> Shop {
        let steps: String = steps.lines().map(|line| format!("  {line}\n")).collect();
        let pipeline = Arc::new(read(&format!("{HEAD}steps:\n{steps}")));
        let clock = Clock::simulated("2026-11-02T09:00:00Z".parse().expect("a time"));
        let shop = Shop { scratch: Scratch::make(), clock, erp: Erp::new(), pipeline };
        shop.erp.does(LAMP, Does::Has("Lamp"));
        shop.erp.does(CHAIR, Does::Has("Chair"));
        shop
    }

    fn works(&self) -> Works {
        let queue = QueueSettings::default();
        let opened = store::open(&self.scratch.0.join("data"), &queue, self.clock.clone());
        Works {
            engine: opened.unwrap_or_else(|fault| panic!("{fault}")),
            clock: self.clock.clone(),
            metrics: Metrics::default(),
            tables: Arc::new(CsvTables::default()),
            calls: Arc::new(Calls::new(self.erp.clone(), self.clock.clone())),
            memory: Arc::new(Memory::new(64 << 20)),
            quota: u64::from(queue.quota),
        }
    }

    fn work(&self) -> Work {
        let works = self.works();
        let targets: Vec<Arc<dyn Target>> = vec![Arc::new(AsJson)];
        let gate = Gate::new(self.pipeline.clone(), works.clone(), &targets);
        let stage = Stage::new(self.pipeline.clone(), targets, works.clone(), Condition::default());
        let stage = tokio::spawn(stage.run(CancellationToken::new()));
        Work { works, gate, clock: self.clock.clone(), stage }
    }
}

impl Work {
    async fn send(&self, documents: &[&str]) -> Vec<MessageId> {
        let arrival = |document: &&str| Arrival {
            body: Bytes::copy_from_slice(document.as_bytes()),
            document: None,
            headers: Map::new(),
            position: None,
            fault: None,
        };
        let receipts = self.gate.receive(documents.iter().map(arrival).collect(), None).await;
        receipts.expect("it is taken").into_iter().map(|receipt| receipt.id).collect()
    }

    /// What was routed: waits until it is `count`, while time goes on.
    async fn routed(&self, count: usize) -> Vec<String> {
        let window = Window { entries: 1000, bytes: 1 << 20 };
        let mut consumer = self.works.engine.queue.consume("web-order.to.out", window).await.expect("it can be read");
        let mut bodies = Vec::new();
        while bodies.len() < count {
            tokio::select! {
                entries = timeout(PATIENCE, consumer.next(1000)) => {
                    let entries = entries.expect("what was to be routed never came").expect("it can be read");
                    bodies.extend(entries.iter().map(|entry| String::from_utf8_lossy(&entry.entry.body).into_owned()));
                }
                () = self.time_passes() => {}
            }
        }
        bodies.sort();
        bodies
    }

    async fn time_passes(&self) {
        loop {
            tokio::time::sleep(Duration::from_millis(2)).await;
            self.clock.advance(Duration::from_millis(250));
        }
    }

    /// The dead letters, once there are `count`.
    async fn dead(&self, count: usize) -> Vec<DeadLetter> {
        let all = DeadFilter { most: 100, ..DeadFilter::default() };
        let looking = async {
            loop {
                let dead = self.works.engine.store.dead_letters(all.clone()).await.expect("they can be read");
                if dead.len() >= count {
                    return dead;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
                self.clock.advance(Duration::from_millis(250));
            }
        };
        timeout(PATIENCE, looking).await.expect("the dead letter never came")
    }

    async fn replay(&self, id: MessageId) {
        replay(&*self.works.engine.store, id, self.clock.now()).await.expect("it can be replayed");
    }

    async fn retries(&self, id: MessageId) -> Vec<String> {
        let hops = self.works.engine.store.journal(id).await.expect("it can be read");
        let retries = hops.into_iter().filter(|hop| hop.event == Event::Retry);
        retries.map(|hop| hop.note.unwrap_or_default().to_string()).collect()
    }

    /// Ends at once, with nothing settled.
    async fn kill(self) {
        self.stage.abort();
        assert!(self.stage.await.is_err_and(|ended| ended.is_cancelled()));
    }
}

struct AsJson;

#[async_trait]
impl Target for AsJson {
    fn prepare(&self, scope: &Scope<'_>) -> Result<Prepared, Fault> {
        Ok(Prepared { body: json::to_text(scope.document).into(), address: Map::new() })
    }

    async fn deliver(&self, _: &Delivery) -> Result<Option<Text>, Fault> {
        Ok(None)
    }
}

#[tokio::test]
async fn what_a_killed_stage_was_told_is_not_asked_again() {
    let second = "- call: { connection: erp, operation: stock.list, with: { gtin: $.g }, into: stock, within: 5m }";
    let shop = Shop::new(&format!("{CALL} }}\n{second}\n"));
    shop.erp.does(STOCK, Does::Hangs);
    let work = shop.work();
    work.send(&[r#"{"g":"1"}"#]).await;
    // The second question is asked once the first answer is on disk.
    let asked = async {
        while shop.erp.asked.lock().expect("no test panics here").len() < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, asked).await.expect("the second question never came");
    work.kill().await;
    assert_eq!(shop.erp.asked(), [LAMP, STOCK]);
    shop.erp.does(LAMP, Does::Has("Another lamp"));
    shop.erp.does(STOCK, Does::Has("plenty"));
    let work = shop.work();
    let expect = r#"{"g":"1","article":{"name":"Lamp"},"stock":{"name":"plenty"}}"#;
    assert_eq!(work.routed(1).await, [expect]);
    assert_eq!(shop.erp.asked(), [STOCK]);
}

#[tokio::test]
async fn a_replay_goes_on_with_the_answers_it_had() {
    let shop = Shop::new(&format!("{CALL} }}\n- validate: {{ rules: [{{ that: 1 == 2, otherwise: never }}] }}\n"));
    let work = shop.work();
    let id = work.send(&[r#"{"g":"1"}"#]).await[0];
    assert_eq!(work.dead(1).await[0].code, "VALIDATE-RULE");
    work.replay(id).await;
    let dead = async {
        while work.works.engine.queue.entries("web-order").await.expect("it can be asked") > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, dead).await.expect("the replay never ended");
    assert_eq!(work.dead(1).await[0].code, "VALIDATE-RULE");
    assert_eq!(shop.erp.asked(), [LAMP]);
}

#[tokio::test]
async fn what_a_system_had_not_is_asked_again_by_a_replay() {
    let shop = Shop::new(&format!("{CALL}, keep: 1h }}\n"));
    shop.erp.does.lock().expect("no test panics here").clear();
    let work = shop.work();
    let id = work.send(&[r#"{"g":"1"}"#]).await[0];
    let dead = work.dead(1).await;
    assert_eq!((dead[0].code.as_str(), dead[0].step.as_deref()), ("CALL-MISSING", Some("steps[0] call")));
    shop.erp.does(LAMP, Does::Has("Lamp"));
    work.replay(id).await;
    assert_eq!(work.routed(1).await, [r#"{"g":"1","article":{"name":"Lamp"}}"#]);
    assert_eq!(shop.erp.asked(), [LAMP, LAMP]);
}

#[tokio::test]
async fn what_may_be_missing_is_an_answer_too() {
    let shop = Shop::new(&format!(
        "{CALL}, missing: leave_out }}\n- call: {{ connection: erp, operation: stock.list, with: {{ gtin: $.g }}, into: s }}\n"
    ));
    shop.erp.does.lock().expect("no test panics here").clear();
    shop.erp.does(STOCK, busy());
    let work = shop.work();
    let id = work.send(&[r#"{"g":"1"}"#]).await[0];
    work.dead(1).await;
    assert_eq!(shop.erp.asked(), [LAMP, STOCK, STOCK], "tried twice, and only what had no answer");
    assert_eq!(work.retries(id).await, ["HTTP-503"]);
    shop.erp.does(LAMP, Does::Has("Lamp"));
    shop.erp.does(STOCK, Does::Has("plenty"));
    work.replay(id).await;
    assert_eq!(work.routed(1).await, [r#"{"g":"1","s":{"name":"plenty"}}"#]);
    assert_eq!(shop.erp.asked(), [STOCK]);
}

#[tokio::test]
async fn a_system_that_is_away_delays_and_kills_nothing() {
    let shop = Shop::new(&format!("{CALL} }}\n"));
    shop.erp.does(LAMP, away());
    let work = shop.work();
    let ids = work.send(&[r#"{"g":"1"}"#, r#"{"g":"2"}"#]).await;
    // More often than `retry` has delays.
    let often = async {
        while shop.erp.asked.lock().expect("no test panics here").len() < 6 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            shop.clock.advance(Duration::from_millis(250));
        }
    };
    timeout(PATIENCE, often).await.expect("it is asked again and again");
    shop.erp.does(LAMP, Does::Has("Lamp"));
    let expect = [r#"{"g":"1","article":{"name":"Lamp"}}"#, r#"{"g":"2","article":{"name":"Chair"}}"#];
    assert_eq!(work.routed(2).await, expect);
    assert_eq!(work.dead(0).await, []);
    assert_eq!(work.retries(ids[0]).await, [""; 0], "a rest is no attempt");
    assert_eq!(shop.erp.asked().iter().filter(|question| *question == CHAIR).count(), 1, "the other went on");
}

#[tokio::test]
async fn a_fallback_stands_in_for_what_is_away_or_too_slow_and_not_for_a_refusal() {
    let shop = Shop::new(&format!("{CALL}, otherwise: {{ name: unknown }} }}\n"));
    let work = shop.work();
    for does in [away(), busy(), Does::Hangs] {
        shop.erp.does(LAMP, does);
        work.send(&[r#"{"g":"1"}"#]).await;
    }
    assert_eq!(work.routed(3).await, [r#"{"g":"1","article":{"name":"unknown"}}"#; 3]);
    shop.erp.does(LAMP, Does::Fails(Fault::refuse("HTTP-422", "the ERP refuses")));
    work.send(&[r#"{"g":"1"}"#]).await;
    assert_eq!(work.dead(1).await[0].code, "HTTP-422");
}

#[tokio::test]
async fn a_system_that_is_too_slow_is_tried_again() {
    let shop = Shop::new(&format!("{CALL} }}\n"));
    shop.erp.does(LAMP, Does::Hangs);
    let work = shop.work();
    let id = work.send(&[r#"{"g":"1"}"#]).await[0];
    assert_eq!(work.dead(1).await[0].code, "CALL-TIMEOUT");
    assert_eq!(work.retries(id).await, ["CALL-TIMEOUT"]);
    assert_eq!(shop.erp.asked(), [LAMP, LAMP]);
}

#[tokio::test]
async fn the_questions_of_a_list_are_asked_eight_at_a_time_and_each_once() {
    let shop = Shop::new(EACH);
    let items: Vec<String> = (0..40).map(|n| format!(r#"{{"g":"{}"}}"#, n % 20)).collect();
    for number in 0..20 {
        shop.erp.does(&format!(r#"product.find {{"gtin":"{number}"}}"#), Does::Has("Lamp"));
    }
    *shop.erp.waits_for.lock().expect("no test panics here") = AT_ONCE;
    let work = shop.work();
    work.send(&[&format!(r#"{{"l":[{}]}}"#, items.join(","))]).await;
    let routed = work.routed(1).await;
    assert_eq!(routed[0].matches(r#""article":{"name":"Lamp"}"#).count(), 40);
    assert_eq!((shop.erp.asked().len(), *shop.erp.peak.borrow()), (20, AT_ONCE));
}

#[tokio::test]
async fn messages_wait_for_a_system_together() {
    let shop = Shop::new(&format!("{CALL} }}\n"));
    *shop.erp.waits_for.lock().expect("no test panics here") = 4;
    let work = shop.work();
    work.send(&[r#"{"g":"1"}"#; 4]).await;
    assert_eq!(work.routed(4).await.len(), 4);
    assert_eq!(shop.erp.asked(), [LAMP; 4]);
}

#[tokio::test]
async fn of_several_questions_only_what_failed_is_asked_again() {
    let shop = Shop::new(EACH);
    shop.erp.does(CHAIR, busy());
    let work = shop.work();
    let id = work.send(&[r#"{"l":[{"g":"1"},{"g":"2"}]}"#]).await[0];
    work.dead(1).await;
    shop.erp.does(CHAIR, Does::Has("Chair"));
    work.replay(id).await;
    let expect = r#"{"l":[{"g":"1","article":{"name":"Lamp"}},{"g":"2","article":{"name":"Chair"}}]}"#;
    assert_eq!(work.routed(1).await, [expect]);
    assert_eq!(shop.erp.asked(), [LAMP, CHAIR, CHAIR, CHAIR]);
}

#[tokio::test]
async fn an_answer_is_kept_for_other_messages_if_told() {
    let shop = Shop::new(&format!("{CALL}, keep: 10m }}\n"));
    let work = shop.work();
    work.send(&[r#"{"g":"1"}"#]).await;
    work.routed(1).await;
    work.send(&[r#"{"g":"1"}"#, r#"{"g":"2"}"#]).await;
    work.routed(3).await;
    assert_eq!(shop.erp.asked(), [LAMP, CHAIR]);
    shop.clock.advance(Duration::from_secs(600));
    work.send(&[r#"{"g":"1"}"#]).await;
    work.routed(4).await;
    assert_eq!(shop.erp.asked(), [LAMP]);
}

#[tokio::test]
async fn a_reply_asks_at_once_and_keeps_nothing() {
    let call = format!("  {CALL} }}\n");
    let yaml = format!(
        "about: Prefills.\nfrom: {{ protocol: http, path: /prefill, auth: none, format: json, reply: {{ within: 2s }} }}\nsteps:\n{call}reply: {{ name: $.article.name }}\n"
    );
    let shop = Shop::new("- log: x");
    let (pipeline, works) = (read(&yaml), shop.works());
    let arrival = Arrival {
        body: Bytes::from_static(br#"{"g":"1"}"#),
        document: None,
        headers: Map::new(),
        position: None,
        fault: None,
    };
    let answer = reply(&pipeline, &works, arrival.clone()).await.expect("it replies");
    assert_eq!(answer.to_string(), r#"{"name":"Lamp"}"#);
    shop.erp.does(LAMP, busy());
    assert_eq!(reply(&pipeline, &works, arrival).await.expect_err("the ERP is busy").code(), "HTTP-503");
    assert_eq!(shop.erp.asked(), [LAMP, LAMP]);
}

#[tokio::test]
async fn a_destinations_own_question_delays_the_message_too() {
    let shop = Shop::new("- log: x");
    let steps = format!("steps: [{{ {} }} }}]", CALL.trim_start_matches("- "));
    let yaml = HEAD.replace("name: x.json,", &format!("name: x.json, {steps},"));
    let shop = Shop { pipeline: Arc::new(read(&yaml)), ..shop };
    shop.erp.does(LAMP, away());
    let work = shop.work();
    work.send(&[r#"{"g":"1"}"#]).await;
    let often = async {
        while shop.erp.asked.lock().expect("no test panics here").len() < 4 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            shop.clock.advance(Duration::from_millis(250));
        }
    };
    timeout(PATIENCE, often).await.expect("it is asked again and again");
    shop.erp.does(LAMP, Does::Has("Lamp"));
    assert_eq!(work.routed(1).await, [r#"{"g":"1","article":{"name":"Lamp"}}"#]);
    assert_eq!(work.dead(0).await, []);
}
