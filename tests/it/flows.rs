//! The promises, one by one, on a hub that runs inside the test: each test is named after what it promises.

mod groups;

use std::sync::Arc;

use raccord::clock::Clock;
use raccord::config::Environment;
use raccord::hub::{Hub, Options, StartError};
use raccord::protocols::{Arrival, Receipt, Receiver};
use raccord::store::{DeadFilter, DeadLetter};

use crate::harness::{Folder, client, post, wait_for};

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
        let store = self.hub.works().engine.store.clone();
        let list = move || {
            let store = store.clone();
            async move {
                let filter = DeadFilter { most: 1000, ..DeadFilter::default() };
                store.dead_letters(filter).await.expect("they can be listed")
            }
        };
        let deadline = tokio::time::Instant::now() + crate::harness::PATIENCE;
        loop {
            let dead = list().await;
            if dead.len() == count {
                return dead;
            }
            assert!(tokio::time::Instant::now() < deadline, "{count} dead letters never came: {dead:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Waits until a growing file has this many lines, and gives them.
    async fn lines(&self, file: &str, count: usize) -> Vec<serde_json::Value> {
        wait_for(format!("{count} lines in {file}"), || {
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
