//! The distributed engine with real brokers and databases, and with what goes wrong with them: several instances of the real
//! binary share RabbitMQ queues and a PostgreSQL store.

mod broker;
mod cluster;
mod crash;
mod database;
mod instances;
mod load;
mod network;
mod partners;
mod poison;
mod remember;
mod sharing;

use crate::harness::{Folder, HubProcess};
use crate::parts::postgres::{Database, Postgres};
use crate::parts::rabbitmq::{Rabbit, Vhost};

/// What instances share: a virtual host, a database, the same pipelines.
struct Site {
    name: String,
    vhost: Vhost,
    database: Database,
    /// Where the brokers and the database are, each `host:port`: the real ones, or proxies before them.
    brokers: Vec<String>,
    postgres: String,
    /// Who connects to the broker; the password is the same word, but for the broker's first user.
    user: String,
    /// More lines for `queue.rabbitmq`, such as `declare: false`.
    broker_settings: Vec<String>,
    pipelines: Vec<(String, String)>,
}

impl Site {
    /// A site on the servers that all tests share.
    fn shared(name: &str, pipelines: &[(&str, &str)]) -> Site {
        Site::on(name, Rabbit::shared(), Postgres::shared(), pipelines)
    }

    fn on(name: &str, rabbit: &Rabbit, postgres: &Postgres, pipelines: &[(&str, &str)]) -> Site {
        let (vhost, database) = (rabbit.vhost(), postgres.database());
        Site {
            name: name.to_owned(),
            brokers: vec![format!("{}:{}", rabbit.host(), rabbit.port())],
            postgres: database.place().address,
            user: rabbit.api().user.clone(),
            broker_settings: Vec::new(),
            pipelines: pipelines.iter().map(|(name, yaml)| ((*name).to_owned(), (*yaml).to_owned())).collect(),
            vhost,
            database,
        }
    }

    /// The folder of one instance. Short times, so that what is waited for in a test comes within seconds.
    fn folder(&self, instance: usize) -> Folder {
        let pipelines: Vec<(&str, &str)> = self.pipelines.iter().map(|(name, yaml)| (&**name, &**yaml)).collect();
        let folder = Folder::hub(&format!("{}-{instance}", self.name), &pipelines);
        let (api, place) = (self.vhost.rabbit().api(), self.database.place());
        let password = if self.user == api.user { &api.password } else { &self.user };
        folder.write("secrets/amqp", password);
        folder.write("secrets/postgres", &place.password);
        let quoted: Vec<String> = self.brokers.iter().map(|address| format!("\"{address}\"")).collect();
        let mut settings = vec![
            "name: test-hub".to_owned(),
            "listen: 127.0.0.1:0".into(),
            "stop_within: 5s".into(),
            "queue:".into(),
            "  rabbitmq:".into(),
            format!("    addresses: [{}]", quoted.join(", ")),
            format!("    vhost: {}", self.vhost.name()),
            format!("    user: {}", self.user),
            "    password: ${file:secrets/amqp}".into(),
            "    heartbeat: 2s".into(),
            "    confirm_within: 5s".into(),
            "    partitions: 4".into(),
        ];
        settings.extend(self.broker_settings.iter().map(|line| format!("    {line}")));
        settings.extend([
            "store:".to_owned(),
            "  postgres:".into(),
            format!("    addresses: [\"{}\"]", self.postgres),
            format!("    database: {}", place.database),
            format!("    user: {}", place.user),
            "    password: ${file:secrets/postgres}".into(),
            "    statement_within: 5s".into(),
            String::new(),
        ]);
        folder.write("config/raccord.yaml", settings.join("\n"));
        folder
    }

    /// An instance that is ready.
    async fn start(&self, instance: usize) -> Instance {
        let folder = self.folder(instance);
        let hub = HubProcess::start(&folder).await;
        Instance { hub, folder }
    }

    /// The queues of the hub in the virtual host whose name begins so, without their prefix.
    fn queues(&self, begin: &str) -> Vec<String> {
        let names = self.vhost.queues().into_iter();
        let ours = names.filter_map(|name| Some(name.strip_prefix("raccord.")?.to_owned()));
        ours.filter(|name| name.starts_with(begin)).collect()
    }
}

/// One instance: the process before its folder, so that it ends first.
struct Instance {
    hub: HubProcess,
    folder: Folder,
}

impl Instance {
    fn url(&self, path: &str) -> String {
        self.hub.url(path)
    }

    /// Starts it again after it ended.
    async fn again(&mut self) {
        self.hub = HubProcess::start(&self.folder).await;
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.hub.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
        rustix::process::kill_process(id, signal).expect("the process is ours");
    }

    /// The sum of a metric over the labels that contain `of`; nothing where the hub does not answer.
    async fn metric(&self, name: &str, of: &str) -> Option<f64> {
        let (_, text) = crate::harness::get(self.hub.address, "/metrics").await?;
        let samples = text.lines().filter(|line| line.starts_with(name) && line.contains(of));
        Some(samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Waits until a metric is at least so much.
    async fn wait_metric(&self, name: &str, of: &str, least: f64) {
        let waiting = async {
            while self.metric(name, of).await.is_none_or(|value| value < least) {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        let waited = tokio::time::timeout(crate::harness::PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("{name}{{{of}}} never became {least}:\n{}", self.hub.log()));
    }

    async fn is_ready(&self) -> bool {
        crate::harness::get(self.hub.address, "/health/ready").await.is_some_and(|(status, _)| status == 200)
    }

    /// Waits until it says that it is ready.
    async fn wait_ready(&self, ready: bool) {
        let waiting = async {
            while self.is_ready().await != ready {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        let waited = tokio::time::timeout(crate::harness::PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("ready never became {ready}:\n{}", self.hub.log()));
    }
}

/// Does what blocks, beside the runtime: servers that start, cut and stop.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("what stands aside does not panic")
}
