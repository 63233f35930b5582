//! The promises, one by one, on a hub that runs inside the test: each test is named after what it promises.

mod answers;
mod change;
mod destinations;
mod groups;
mod hooks;
mod order;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use raccord::clock::Clock;
use raccord::config::Environment;
use raccord::hub::{Hub, Options, StartError};
use raccord::message::MessageId;
use raccord::pipelines::{discard, replay};
use raccord::protocols::{Arrival, Receipt, Receiver};
use raccord::store::{DeadFilter, DeadLetter, Event};
use tokio::time::{sleep, timeout};

use crate::harness::{Folder, PATIENCE, client, post, wait_for};

/// A hub inside the test, with its folder.
struct Flow {
    folder: Folder,
    hub: Arc<Hub>,
    clock: Clock,
}

impl Flow {
    /// A hub with these pipelines, by name and YAML.
    async fn start(name: &str, pipelines: &[(&str, &str)]) -> Flow {
        Flow::of(Folder::hub(name, pipelines), Clock::real()).await
    }

    async fn of(folder: Folder, clock: Clock) -> Flow {
        let hub = run(&folder, &clock).await;
        Flow { folder, hub, clock }
    }

    /// Stops the hub and starts it again on the same folder.
    async fn again(self) -> Flow {
        let Flow { folder, hub, clock } = self;
        hub.stop().await;
        drop(hub);
        Flow::of(folder, clock).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.hub.address())
    }

    /// Sends a message in, which must be taken.
    async fn send(&self, path: &str, body: impl Into<String>) {
        let (status, said) = post(&self.url(path), body.into()).await;
        assert_eq!(status, 202, "{said}");
    }

    /// Hands messages over as a source would: all in one commit.
    async fn receive(&self, pipeline: &str, bodies: impl IntoIterator<Item = String>) -> Vec<Receipt> {
        let arrival = |body: String| Arrival {
            body: body.into(),
            document: None,
            headers: Default::default(),
            position: None,
            fault: None,
        };
        let gate = self.hub.registry().gate(pipeline).expect("the pipeline runs");
        gate.receive(bodies.into_iter().map(arrival).collect(), None).await.expect("the hub takes them")
    }

    async fn dead(&self) -> Vec<DeadLetter> {
        let filter = DeadFilter { most: 1000, ..DeadFilter::default() };
        self.hub.works().engine.store.dead_letters(filter).await.expect("they can be listed")
    }

    /// Waits for this many dead letters, and gives them.
    async fn dead_letters(&self, count: usize) -> Vec<DeadLetter> {
        let waiting = async {
            loop {
                let dead = self.dead().await;
                if dead.len() == count {
                    return dead;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{count} dead letters never came"))
    }

    /// What `raccord dead replay` does.
    async fn replay(&self, message: MessageId) {
        let now = self.clock.now();
        replay(&*self.hub.works().engine.store, message, now).await.expect("it is there");
    }

    /// What `raccord dead discard` does.
    async fn discard(&self, message: MessageId) {
        let now = self.clock.now();
        discard(&*self.hub.works().engine.store, message, "not wanted", now).await.expect("it is there");
    }

    /// The events of a message's life so far.
    async fn journal(&self, origin: MessageId) -> Vec<Event> {
        let hops = self.hub.works().engine.store.journal(origin).await.expect("it can be read");
        hops.into_iter().map(|hop| hop.event).collect()
    }

    /// Waits until this has happened to a message.
    async fn until(&self, origin: MessageId, event: Event) {
        let waiting = async {
            while !self.journal(origin).await.contains(&event) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{event:?} never came"));
    }

    async fn depth(&self, queue: &str) -> u64 {
        self.hub.works().engine.queue.depth(queue).await.expect("it can be told").entries
    }

    /// Waits until a growing file has this many lines, and gives them.
    async fn lines(&self, file: &str, count: usize) -> Vec<serde_json::Value> {
        wait_for(format!("{count} lines in {file}"), || {
            // Who sleeps by a simulated clock looks again.
            self.clock.advance(Duration::from_secs(1));
            let text = self.folder.read_if(file);
            (text.ends_with('\n') && text.lines().count() >= count).then_some(())
        })
        .await;
        let text = self.folder.read(file);
        text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    }
}

async fn run(folder: &Folder, clock: &Clock) -> Arc<Hub> {
    let _ = client();
    let options = Options {
        folder: folder.path(""),
        environment: Environment { only: Some(Default::default()), folder: folder.path("") },
        clock: clock.clone(),
        watch: false,
        listen: None,
    };
    match Hub::start(options).await {
        Ok(hub) => hub,
        Err(StartError::Fault(fault)) => panic!("the hub does not start: {fault}"),
        Err(StartError::Configuration(problems)) => {
            panic!("{}", raccord::config::render(&problems.0.files, &problems.0.problems, false))
        }
    }
}
