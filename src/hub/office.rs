//! What people ask of a hub: send a message in, look at dead letters, replay or discard them, reload, status.
//!
//! A running hub answers on a Unix socket in its data folder, which only its user may open. Without a running hub the same
//! office works on the hub's files. One line of JSON asks, one answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::supervise::{Doing, turn_of};
use super::{Hub, Options, StartError, health, open_works};
use crate::config::render;
use crate::message::{Fault, Map, MessageId, Text, Value, json};
use crate::partners;
use crate::pipelines::{self, Configuration, Gate, Works, mask};
use crate::protocols::{Arrival, Receiver, Surroundings};
use crate::store::{Away, DeadFilter, DeadLetter, Hop, Instance};
use crate::telemetry::Traffic;

/// Largest question: a message sent in by hand.
const MAX_QUESTION: u64 = 64 << 20;
/// Largest file that is sent in by hand, which base64 makes a third longer.
pub const MAX_SENT: u64 = 45 << 20;
const SOCKET: &str = "raccord.sock";

/// Answers what people ask.
pub struct Office {
    works: Works,
    pipelines: Vec<Arc<pipelines::Pipeline>>,
    /// The running hub, if there is one.
    hub: Option<Arc<Hub>>,
    folder: PathBuf,
    /// Other instances may share the queues.
    distributed: bool,
}

impl Office {
    /// An office on the files of a hub that does not run.
    pub async fn open(configuration: &Configuration, options: &Options) -> Result<Office, Fault> {
        let works = open_works(configuration, options).await?;
        let pipelines = configuration.pipelines.values().cloned().collect();
        let (folder, distributed) = (options.folder.clone(), configuration.hub.is_distributed());
        Ok(Office { works, pipelines, hub: None, folder, distributed })
    }

    /// Leaves shared queues as it found them; for an office without a hub.
    pub async fn close(self) {
        self.works.engine.instances.leave().await;
    }

    /// What an answer waits for, where it is known: a server that does not answer, and why.
    pub fn waits_for(&self) -> Option<String> {
        let away = self.works.engine.store.away().into_iter().next()?;
        Some(format!("the {}: {}", away.server.word(), away.why))
    }

    fn of(hub: Arc<Hub>) -> Office {
        let distributed = hub.settings.is_distributed();
        let (folder, pipelines) = (hub.options.folder.clone(), hub.registry.pipelines());
        Office { works: hub.works.clone(), pipelines, hub: Some(hub), folder, distributed }
    }

    /// Answers a question: `{ "do": "dead.list", ... }`.
    pub async fn answer(&self, question: &Value) -> Result<Value, Fault> {
        let word = |name: &str| question.get(name).and_then(Value::as_text);
        match word("do").unwrap_or_default() {
            "send" => self.send(question).await,
            "dead.list" => self.dead_list(question).await,
            "dead.show" => self.dead_show(question).await,
            "dead.replay" => {
                let (store, around) = (&*self.works.engine.store, self.surroundings());
                let dead = pipelines::replay_through(store, id(question)?, |name| self.gate(name), &around).await?;
                Ok(summary(&dead))
            }
            "dead.discard" => {
                let why = word("why").unwrap_or_default();
                let now = self.works.clock.now();
                let dead = pipelines::discard(&*self.works.engine.store, id(question)?, why, now).await?;
                Ok(summary(&dead))
            }
            "journal" => self.journal(question).await,
            "partners" => self.partners(question).await,
            "reload" => self.reload().await,
            "status" => self.status().await,
            other => Err(Fault::refuse("OFFICE-UNKNOWN", format!("the hub does not know how to `{other}`"))),
        }
    }

    async fn send(&self, question: &Value) -> Result<Value, Fault> {
        let name = question.get("pipeline").and_then(Value::as_text).unwrap_or_default();
        let unknown = || {
            let known: Vec<&str> = self.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
            Fault::refuse("OFFICE-PIPELINE", format!("there is no pipeline `{name}`; known: {}", known.join(", ")))
        };
        let gate = self.gate(name).ok_or_else(unknown)?;
        let body = question.get("body").and_then(Value::as_text).unwrap_or_default();
        let body = STANDARD
            .decode(body)
            .map_err(|error| Fault::refuse("OFFICE-BODY", "the body is not base64").cause(error))?;
        let pipeline = self.pipelines.iter().find(|pipeline| pipeline.name == name).ok_or_else(unknown)?;
        let headers = question.get("headers").and_then(Value::as_map).cloned().unwrap_or_default();
        let mut receipts = Vec::new();
        for arrivals in arrivals(pipeline, Bytes::from(body), headers) {
            for receipt in gate.receive(arrivals, None).await? {
                let outcome = format!("{:?}", receipt.outcome).to_lowercase();
                let map: Map = [("id", receipt.id.to_string()), ("outcome", outcome)].into_iter().collect();
                receipts.push(map.into());
            }
        }
        Ok(Value::List(receipts))
    }

    /// What sources may use: of the hub, or without one, with its vault.
    fn surroundings(&self) -> Surroundings {
        match &self.hub {
            Some(hub) => hub.surroundings.clone(),
            None => Surroundings {
                vault: self.works.engine.store.clone(),
                ..Surroundings::without_hub(self.works.clock.clone(), self.folder.clone())
            },
        }
    }

    /// The gate of a pipeline: of the running one, or one of its own.
    fn gate(&self, name: &str) -> Option<Arc<Gate>> {
        match &self.hub {
            Some(hub) => hub.registry.gate(name),
            None => {
                let pipeline = self.pipelines.iter().find(|pipeline| pipeline.name == name)?;
                Some(Arc::new(Gate::new(pipeline.clone(), self.works.clone(), &[])))
            }
        }
    }

    /// What became of the documents sent to partners.
    async fn partners(&self, question: &Value) -> Result<Value, Fault> {
        let word = |name: &str| question.get(name).and_then(Value::as_text);
        let most = word("most").and_then(|most| most.parse().ok()).unwrap_or(100).clamp(1, 10_000);
        // Those of one state may be far back.
        let reach = if word("state").is_some() { most.max(1_000) } else { most };
        let sent = partners::sent(&*self.works.engine.store, word("partner"), self.works.clock.now(), reach).await?;
        let wanted =
            |map: &Map| word("state").is_none_or(|state| map.get("state").and_then(Value::as_text) == Some(state));
        Ok(Value::List(sent.into_iter().filter(wanted).take(10_000).map(Value::from).collect()))
    }

    async fn dead_list(&self, question: &Value) -> Result<Value, Fault> {
        let word = |name: &str| question.get(name).and_then(Value::as_text).map(Text::from);
        let filter = DeadFilter {
            pipeline: word("pipeline"),
            destination: word("destination"),
            code: word("code"),
            after: word("after").and_then(|after| after.parse().ok()),
            most: 200,
        };
        let letters = self.works.engine.store.dead_letters(filter).await?;
        Ok(Value::List(letters.iter().map(summary).collect()))
    }

    async fn dead_show(&self, question: &Value) -> Result<Value, Fault> {
        let id = id(question)?;
        let unknown = || Fault::refuse("DEAD-UNKNOWN", format!("there is no dead letter {id}"));
        let dead = self.works.engine.store.dead_letter(id).await?.ok_or_else(unknown)?;
        let mut out = summary(&dead).as_map().cloned().unwrap_or_default();
        let reveal = question.get("reveal") == Some(&Value::Bool(true));
        let body = self.body(&dead, reveal);
        if std::str::from_utf8(&dead.body).is_err() && self.shows_all(&dead, reveal) {
            // The text shows what is readable; this is every byte.
            out.insert("body_base64", STANDARD.encode(&dead.body));
        }
        out.insert("body", body);
        out.insert("hops", hops(&self.works.engine.store.journal(dead.origin).await?));
        Ok(out.into())
    }

    /// Whether nothing of the body is masked.
    fn shows_all(&self, dead: &DeadLetter, reveal: bool) -> bool {
        let private =
            |pipeline: &&Arc<pipelines::Pipeline>| pipeline.name == dead.pipeline && !pipeline.private.is_empty();
        reveal || !self.pipelines.iter().any(|pipeline| private(&pipeline))
    }

    /// The body as a person may see it: people's data masked, unless `reveal`.
    fn body(&self, dead: &DeadLetter, reveal: bool) -> Value {
        let as_text = || Value::from(String::from_utf8_lossy(&dead.body).into_owned());
        let pipeline = self.pipelines.iter().find(|pipeline| pipeline.name == dead.pipeline);
        match pipeline {
            Some(pipeline) if !reveal && !pipeline.private.is_empty() => {
                let document = || pipelines::document(pipeline, &dead.body, (dead.message, dead.time)).ok();
                match document().filter(|_| !pipelines::is_unread(dead)) {
                    Some(document) => mask(pipeline, document),
                    None => Value::from("*** (cannot be masked part by part; --reveal shows it)"),
                }
            }
            _ => as_text(),
        }
    }

    async fn journal(&self, question: &Value) -> Result<Value, Fault> {
        let store = &self.works.engine.store;
        let word = question.get("find").and_then(Value::as_text).unwrap_or_default();
        let origins = match word.parse::<MessageId>() {
            Ok(id) => vec![id],
            Err(_) => {
                // A private value is found by its pseudonym.
                let mut origins = store.search(word, 20).await?;
                origins.extend(store.search(&pipelines::pseudonym(word), 20).await?);
                origins
            }
        };
        let mut out = Vec::new();
        for origin in origins {
            let map: Map =
                [("message", Value::from(origin.to_string())), ("hops", hops(&store.journal(origin).await?))]
                    .into_iter()
                    .collect();
            out.push(map.into());
        }
        Ok(Value::List(out))
    }

    async fn reload(&self) -> Result<Value, Fault> {
        let Some(hub) = &self.hub else {
            return Err(Fault::refuse("OFFICE-NOT-RUNNING", "no hub runs here; it reads its files when it starts"));
        };
        match hub.reload().await {
            Ok(changes) => Ok(changes.to_value()),
            Err(StartError::Fault(fault)) => Err(fault),
            Err(StartError::Configuration(problems)) => {
                let said = render(&problems.0.files, &problems.0.problems, false);
                Err(Fault::refuse(
                    "CONFIG-ERRORS",
                    format!("the configuration has errors, the old one goes on\n\n{said}"),
                ))
            }
        }
    }

    /// What a pipeline's source does, where it does not simply run.
    fn source(&self, pipeline: &pipelines::Pipeline, instances: &[Instance]) -> Option<String> {
        let turn = turn_of(&pipeline.name);
        let holder = instances.iter().find(|instance| instance.holds.contains(&turn));
        match self.hub.as_ref()?.registry.source(&pipeline.name)? {
            Doing::Runs => None,
            Doing::Waits => Some(match holder {
                Some(holder) => format!("waits for its turn (held by {})", holder.name),
                None => "waits for its turn (held by nobody yet)".to_owned(),
            }),
            Doing::Rests(why) => Some(format!("rests: {why}")),
        }
    }

    async fn status(&self) -> Result<Value, Fault> {
        let reasons = match &self.hub {
            Some(hub) => hub.reasons_not_ready().await,
            None => Vec::new(),
        };
        // What a hub whose broker or database is away can still tell is told.
        let ill = match &self.hub {
            Some(hub) => hub.engine_ill().await.is_some(),
            None => false,
        };
        let instances = match &self.hub {
            Some(_) if ill => Vec::new(),
            None if self.distributed => health::first_instances(&self.works).await?,
            _ => health::running_instances(&self.works).await?,
        };
        let mut list = Vec::new();
        for pipeline in &self.pipelines {
            let mut out = Map::new();
            out.insert("pipeline", pipeline.name.clone());
            out.insert("about", pipeline.about.as_str());
            let mut queues = Map::new();
            for queue in pipeline.destinations.iter().map(|to| &to.queue).chain([&pipeline.name]).filter(|_| !ill) {
                let depth = self.works.engine.queue.depth(queue).await?;
                queues.insert(queue.clone(), Value::from(usize::try_from(depth.entries).unwrap_or(usize::MAX)));
            }
            out.insert("queues", queues);
            if let Some(source) = self.source(pipeline, &instances) {
                out.insert("source", source);
            }
            list.push(Value::Map(out));
        }
        let away = if ill { self.hub.as_ref().map(|hub| hub.away()).unwrap_or_default() } else { Vec::new() };
        let mut out = Map::new();
        out.insert("running", self.hub.is_some());
        let connections = self.works.metrics.traffic();
        out.insert("connections", Value::List(connections.into_iter().map(told_traffic).collect()));
        out.insert("away", Value::List(away.iter().map(told_away).collect()));
        out.insert("not_ready", Value::List(reasons.into_iter().map(Value::from).collect()));
        out.insert("pipelines", list);
        out.insert("instances", Value::List(instances.iter().map(|one| told(one, &instances)).collect()));
        let resting = self.hub.as_ref().map(|hub| hub.registry.resting()).unwrap_or_default();
        out.insert("resting", resting.into_iter().collect::<Map>());
        let left = if ill { Vec::new() } else { health::left_over(&self.works, &self.pipelines).await };
        out.insert("left_over", counts(left));
        let dead = if ill { Vec::new() } else { self.works.engine.store.dead_count().await? };
        out.insert("dead_letters", counts(dead));
        Ok(out.into())
    }
}

fn counts(of: Vec<(Text, u64)>) -> Map {
    of.into_iter().map(|(name, count)| (name, usize::try_from(count).unwrap_or(usize::MAX))).collect()
}

/// Most records handed over at once.
const RECORDS: usize = 1000;

/// A file sent in by hand: one message, or one a record where the pipeline takes records, some at a time.
fn arrivals(pipeline: &pipelines::Pipeline, body: Bytes, headers: Map) -> impl Iterator<Item = Vec<Arrival>> + Send {
    let input = Box::new(std::io::Cursor::new(body.clone()));
    let mut records = if pipeline.takes_records() { pipeline.codec.records(input) } else { None };
    let mut whole = records.is_none().then(|| body.clone());
    std::iter::from_fn(move || {
        let arrival =
            |body, document, fault| Arrival { body, document, headers: headers.clone(), position: None, fault };
        if let Some(body) = whole.take() {
            return Some(vec![arrival(body, None, None)]);
        }
        let mut some = Vec::new();
        while let Some(record) = records.as_mut().filter(|_| some.len() < RECORDS).and_then(|records| records.next()) {
            some.push(match record {
                Ok(record) => {
                    let bytes = record.bytes();
                    match record.document {
                        Ok(document) => arrival(bytes, Some(document), None),
                        Err(fault) => arrival(bytes, None, Some(fault)),
                    }
                }
                Err(fault) => arrival(body.clone(), None, Some(fault)),
            });
        }
        (!some.is_empty()).then_some(some)
    })
}

/// What went to a connected system.
fn told_traffic((connection, traffic): (String, Traffic)) -> Value {
    let count = |count: u64| Value::from(usize::try_from(count).unwrap_or(usize::MAX));
    let mut out = Map::new();
    out.insert("connection", connection);
    out.insert("requests", count(traffic.requests));
    out.insert("failed", count(traffic.failed));
    if let Some(at) = traffic.last_round {
        out.insert("last_round", seconds(at));
    }
    out.into()
}

fn told_away(away: &Away) -> Value {
    let mut out = Map::new();
    out.insert("server", away.server.word());
    out.insert("since", seconds(away.since));
    out.insert("why", away.why.to_string());
    out.into()
}

/// A time as people read it, without parts of a second.
pub(super) fn seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// An instance, beside the one that is asked.
fn told(instance: &Instance, all: &[Instance]) -> Value {
    let mut out = Map::new();
    out.insert("name", instance.name.clone());
    out.insert("revision", instance.revision.clone());
    out.insert("differs", all.iter().any(|other| other.this && other.revision != instance.revision));
    out.insert("seen", instance.seen.to_string());
    out.insert("this", instance.this);
    out.insert("holds", Value::List(instance.holds.iter().cloned().map(Value::Text).collect()));
    out.into()
}

fn id(question: &Value) -> Result<MessageId, Fault> {
    let word = question.get("id").and_then(Value::as_text).unwrap_or_default();
    word.parse().map_err(|_| Fault::refuse("OFFICE-ID", format!("`{word}` is not a message id")))
}

fn summary(dead: &DeadLetter) -> Value {
    let mut out = Map::new();
    out.insert("id", dead.message.to_string());
    out.insert("pipeline", dead.pipeline.clone());
    if let Some(destination) = &dead.destination {
        out.insert("destination", destination.clone());
    }
    out.insert("code", dead.code.clone());
    out.insert("cause", dead.cause.as_str());
    if let Some(step) = &dead.step {
        out.insert("step", step.as_str());
    }
    if let Some(position) = &dead.position {
        out.insert("position", position.as_str());
    }
    out.insert("attempts", i64::from(dead.attempts));
    out.insert("at", dead.at.to_string());
    out.insert("bytes", dead.body.len());
    out.into()
}

fn hops(hops: &[Hop]) -> Value {
    let one = |hop: &Hop| {
        let mut out = Map::new();
        out.insert("at", hop.at.to_string());
        out.insert("event", format!("{:?}", hop.event).to_lowercase());
        out.insert("pipeline", hop.pipeline.clone());
        if let Some(destination) = &hop.destination {
            out.insert("destination", destination.clone());
        }
        if let Some(note) = &hop.note {
            out.insert("note", note.clone());
        }
        if !hop.track.is_empty() {
            out.insert("track", hop.track.iter().cloned().collect::<Map>());
        }
        Value::Map(out)
    };
    Value::List(hops.iter().map(one).collect())
}

fn socket(data: &Path) -> PathBuf {
    data.join(SOCKET)
}

/// Takes the hub's socket in its data folder.
///
/// # Errors
/// `HUB-SOCKET`: another hub answers there, or it cannot be made.
pub(super) async fn occupy(data: &Path) -> Result<UnixListener, Fault> {
    let path = socket(data);
    if UnixStream::connect(&path).await.is_ok() {
        let said =
            format!("another hub runs on {}: give each instance a folder of its own (queue.folder)", data.display());
        return Err(Fault::misconfigured("HUB-SOCKET", said));
    }
    // Nobody answers: a socket that stands there is a dead hub's.
    let _ = std::fs::remove_file(&path);
    let cannot =
        |error| Fault::misconfigured("HUB-SOCKET", format!("cannot listen on {}", path.display())).cause(error);
    let listener = UnixListener::bind(&path).map_err(cannot)?;
    let only_owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&path, only_owner).map_err(cannot)?;
    Ok(listener)
}

/// Answers on the hub's socket until `stop`.
pub(super) fn listen(hub: Arc<Hub>, listener: UnixListener, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match stream {
                Ok((stream, _)) => {
                    let office = Office::of(hub.clone());
                    tokio::spawn(converse(stream, async move |question: Value| office.answer(&question).await));
                }
                Err(error) => {
                    warn!("the office's socket: {error}");
                    hub.works.clock.sleep(Duration::from_secs(1)).await;
                }
            }
        }
        let _ = std::fs::remove_file(socket(&hub.data()));
    })
}

/// Reads the question, answers it and hangs up.
pub(super) async fn converse<A>(stream: UnixStream, answer: impl FnOnce(Value) -> A)
where
    A: Future<Output = Result<Value, Fault>>,
{
    let (read, mut write) = stream.into_split();
    let mut line = Vec::new();
    if BufReader::new(read.take(MAX_QUESTION)).read_until(b'\n', &mut line).await.is_err() {
        return;
    }
    let answer = match json::read(&line) {
        Ok(question) => answer(question).await,
        Err(error) => Err(Fault::refuse("OFFICE-JSON", "the question is not JSON").cause(error)),
    };
    let map: Map = match answer {
        Ok(value) => [("ok", value)].into_iter().collect(),
        Err(fault) => {
            let fault: Map = [("code", fault.code().to_owned()), ("what", fault.sentence())].into_iter().collect();
            [("fault", Value::Map(fault))].into_iter().collect()
        }
    };
    let mut text = json::to_text(&map.into());
    text.push('\n');
    // Who asked may have gone.
    let _ = write.write_all(text.as_bytes()).await;
}

/// Asks the hub that runs on `data`; `None` where none does.
pub async fn ask(data: &Path, question: &Value) -> Option<Result<Value, (Text, String)>> {
    let stream = UnixStream::connect(socket(data)).await.ok()?;
    let answer = match converse_with(stream, question).await {
        Ok(answer) => answer,
        Err(error) => {
            return Some(Err(("OFFICE-GONE".into(), format!("the hub hung up before it answered: {error}"))));
        }
    };
    if let Some(fault) = answer.get("fault") {
        let word = |name: &str| fault.get(name).and_then(Value::as_text).unwrap_or_default().to_owned();
        return Some(Err((word("code").into(), word("what"))));
    }
    Some(Ok(answer.get("ok").cloned().unwrap_or_default()))
}

async fn converse_with(mut stream: UnixStream, question: &Value) -> std::io::Result<Value> {
    let mut text = json::to_text(question);
    text.push('\n');
    stream.write_all(text.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    json::read(&answer).map_err(|error| std::io::Error::other(error.to_string()))
}
