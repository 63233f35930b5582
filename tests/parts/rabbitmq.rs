//! RabbitMQ: one broker that the tests of a run share, or a private one (or three) that a test may ill-treat.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::certificates::Authority;
use super::http::Place;
use super::server::{Folder, free_port, listens, lock, use_shared, wait_for};
use super::{install, server};

/// What a private broker is started with, beside its ports and folders.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Lines for `rabbitmq.conf`, such as `consumer_timeout = 60000` or `max_message_size = 65536`.
    pub config: Vec<String>,
    /// Also listens with TLS, with these files.
    pub tls: Option<Tls>,
    /// Leaves out what makes counts of messages fresher at the price of speed.
    pub for_speed: bool,
}

/// The files of a broker that speaks TLS, in PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificates that may have signed a client's.
    pub authority: String,
    pub certificate: String,
    pub key: String,
    /// Whether a client without a certificate is turned away.
    pub client_must_show_one: bool,
}

impl Tls {
    /// For a broker at `localhost` and `127.0.0.1`.
    pub fn of(authority: &Authority, client_must_show_one: bool) -> Tls {
        let issued = authority.server(&["localhost", "127.0.0.1"]);
        Tls { authority: authority.pem(), certificate: issued.certificate, key: issued.key, client_must_show_one }
    }
}

/// One broker. It ends when the last clone of a private one is dropped.
#[derive(Clone)]
pub struct Rabbit {
    inner: Arc<Inner>,
}

struct Inner {
    place: Place,
    host: String,
    port: u16,
    /// None for a broker that somebody else runs.
    node: Option<Node>,
}

struct Node {
    folder: Arc<Folder>,
    number: u16,
    ports: Ports,
}

#[derive(Clone, Copy)]
struct Ports {
    amqp: u16,
    tls: u16,
    http: u16,
    distribution: u16,
    epmd: u16,
}

impl Ports {
    fn free(epmd: u16) -> Ports {
        Ports { amqp: free_port(), tls: free_port(), http: free_port(), distribution: free_port(), epmd }
    }
}

impl Rabbit {
    /// The broker all tests of a run share: ask it for a virtual host, and leave the rest of it alone.
    pub fn shared() -> &'static Rabbit {
        static SHARED: OnceLock<(Rabbit, Option<File>)> = OnceLock::new();
        let (rabbit, _) = SHARED.get_or_init(|| match std::env::var("RACCORD_TEST_AMQP") {
            Ok(url) => (Rabbit::given(&url), None),
            Err(_) => {
                std::fs::create_dir_all(server::root().join("rabbitmq")).expect("the build folder takes folders");
                let _lock = lock("rabbitmq/shared.lock");
                let users = use_shared("rabbitmq");
                (Rabbit::found().unwrap_or_else(Rabbit::start_shared), Some(users))
            }
        });
        rabbit
    }

    /// A broker of this test alone.
    pub fn private(options: &Options) -> Rabbit {
        let rabbit = Rabbit::prepare(Arc::new(Folder::private("rabbitmq")), 1, Ports::free(free_port()), options, 1);
        rabbit.start();
        rabbit
    }

    /// Brokers of this test that form one cluster, the first the oldest. Half a minute and 150 MB each.
    pub fn cluster(count: u16, options: &Options) -> Vec<Rabbit> {
        let folder = Arc::new(Folder::private("rabbitmq"));
        let epmd = free_port();
        let prepare = |number| Rabbit::prepare(folder.clone(), number, Ports::free(epmd), options, count);
        let nodes: Vec<Rabbit> = (1..=count).map(prepare).collect();
        nodes[0].start();
        std::thread::scope(|scope| {
            for node in &nodes[1..] {
                scope.spawn(|| node.start());
            }
        });
        wait_for("a cluster with all its nodes", || {
            let told = nodes[0].api().request("GET", "/api/nodes", None).ok()?.1;
            let running = told.as_array()?.iter().filter(|node| node["running"] == true).count();
            (running == usize::from(count)).then_some(())
        });
        nodes
    }

    fn given(url: &str) -> Rabbit {
        let parts = reqwest::Url::parse(url).unwrap_or_else(|error| panic!("RACCORD_TEST_AMQP: {error}"));
        let host = parts.host_str().unwrap_or("127.0.0.1").to_owned();
        let (user, password) = match parts.username() {
            "" => ("guest", "guest"),
            user => (user, parts.password().unwrap_or_default()),
        };
        let api = std::env::var("RACCORD_TEST_AMQP_API").unwrap_or_else(|_| format!("http://{host}:15672"));
        let api = reqwest::Url::parse(&api).unwrap_or_else(|error| panic!("RACCORD_TEST_AMQP_API: {error}"));
        let place = Place {
            host: api.host_str().unwrap_or("127.0.0.1").to_owned(),
            port: api.port_or_known_default().unwrap_or(15672),
            user: user.to_owned(),
            password: password.to_owned(),
        };
        if !matches!(place.request("GET", "/api/overview", None), Ok((200, _))) {
            panic!(
                "the broker of RACCORD_TEST_AMQP does not answer at {api}: name its management URL in RACCORD_TEST_AMQP_API"
            );
        }
        Rabbit { inner: Arc::new(Inner { place, host, port: parts.port().unwrap_or(5672), node: None }) }
    }

    /// The shared broker, where another process of this run started it.
    fn found() -> Option<Rabbit> {
        let folder = Folder::found("rabbitmq");
        let told = folder.read("ports");
        let mut ports = told.split(' ').map(|port| port.trim().parse::<u16>());
        let mut next = || ports.next()?.ok();
        let ports = Ports { amqp: next()?, tls: next()?, http: next()?, distribution: next()?, epmd: next()? };
        let lives = folder.process("node1").is_some() && listens(ports.amqp) && listens(ports.http);
        lives.then(|| Rabbit::of(Arc::new(folder), 1, ports))
    }

    fn start_shared() -> Rabbit {
        let folder = Arc::new(Folder::shared("rabbitmq"));
        let ports = Ports::free(free_port());
        let rabbit = Rabbit::prepare(folder.clone(), 1, ports, &Options::default(), 1);
        rabbit.start();
        // Written last: a broker whose ports are told has started.
        let Ports { amqp, tls, http, distribution, epmd } = ports;
        folder.write("ports", &format!("{amqp} {tls} {http} {distribution} {epmd}"));
        rabbit
    }

    fn of(folder: Arc<Folder>, number: u16, ports: Ports) -> Rabbit {
        let (user, password) = ("guest".to_owned(), "guest".to_owned());
        let place = Place { host: "127.0.0.1".into(), port: ports.http, user, password };
        let node = Some(Node { folder, number, ports });
        Rabbit { inner: Arc::new(Inner { place, host: "127.0.0.1".into(), port: ports.amqp, node }) }
    }

    /// Writes what a node reads.
    fn prepare(folder: Arc<Folder>, number: u16, ports: Ports, options: &Options, of: u16) -> Rabbit {
        let home = folder.make("home");
        let cookie = home.join(".erlang.cookie");
        if !cookie.exists() {
            std::fs::write(&cookie, uuid::Uuid::new_v4().simple().to_string()).expect("the folder was just made");
            std::fs::set_permissions(&cookie, PermissionsExt::from_mode(0o400)).expect("the file is ours");
        }
        folder.make(&format!("n{number}"));
        let Ports { amqp, tls, http, .. } = ports;
        let mut config = vec![
            format!("listeners.tcp.default = 127.0.0.1:{amqp}"),
            "management.tcp.ip = 127.0.0.1".to_owned(),
            format!("management.tcp.port = {http}"),
            "log.console = true".into(),
            "log.console.level = info".into(),
            "log.file = false".into(),
            "disk_free_limit.absolute = 50MB".into(),
        ];
        if !options.for_speed {
            config.push("raft.wal_max_size_bytes = 16000000".into());
            config.push("collect_statistics_interval = 500".into());
        }
        if of > 1 && number > 1 {
            config.push("cluster_formation.peer_discovery_backend = classic_config".into());
            config.push("cluster_formation.classic_config.nodes.1 = rc1@localhost".into());
            config.push(format!("cluster_formation.classic_config.nodes.2 = rc{number}@localhost"));
        }
        if let Some(files) = &options.tls {
            let file = |name: &str, pem: &str| folder.write(name, pem).display().to_string();
            config.push(format!("listeners.ssl.default = 127.0.0.1:{tls}"));
            config.push(format!("ssl_options.cacertfile = {}", file("authority.pem", &files.authority)));
            config.push(format!("ssl_options.certfile = {}", file("certificate.pem", &files.certificate)));
            config.push(format!("ssl_options.keyfile = {}", file("key.pem", &files.key)));
            config.push("ssl_options.verify = verify_peer".into());
            config.push(format!("ssl_options.fail_if_no_peer_cert = {}", files.client_must_show_one));
        }
        config.extend(options.config.iter().cloned());
        config.push(String::new());
        folder.write(&format!("n{number}/rabbitmq.conf"), &config.join("\n"));
        let advanced = if options.for_speed { "[]." } else { "[{rabbit, [{quorum_tick_interval, 500}]}]." };
        folder.write(&format!("n{number}/advanced.config"), advanced);
        folder.write(&format!("n{number}/enabled_plugins"), "[rabbitmq_management].");
        Rabbit::of(folder, number, ports)
    }

    #[track_caller]
    fn node(&self) -> &Node {
        self.inner.node.as_ref().expect("this broker was named in RACCORD_TEST_AMQP: the test may not touch it")
    }

    /// Starts a node that does not run, with the data it has, and waits until it serves.
    pub fn start(&self) {
        let node = self.node();
        let Node { folder, number, ports } = node;
        let role = format!("node{number}");
        assert!(folder.process(&role).is_none(), "{role} runs already");
        if folder.process("epmd").is_none() {
            let mut epmd = Command::new("epmd");
            epmd.args(["-address", "127.0.0.1", "-port", &ports.epmd.to_string()]);
            folder.spawn("epmd", "epmd.log", &mut epmd);
            wait_for("the port mapper", || listens(ports.epmd).then_some(()));
        }
        let console = format!("n{number}.log");
        let began = folder.read(&console).len();
        let _ = std::fs::remove_file(folder.path(&format!("n{number}/pid")));
        folder.spawn(&format!("script{number}"), &console, &mut self.command("rabbitmq-server"));
        wait_for(&format!("a broker that has started; it said:\n{}", folder.path(&console).display()), || {
            let told = folder.read(&console);
            let serves = told.get(began..).is_some_and(|told| told.contains("completed with"));
            let ended = folder.process(&format!("script{number}")).is_none();
            assert!(serves || !ended, "the broker ended as it started:\n{told}");
            let id: u32 = folder.read(&format!("n{number}/pid")).trim().parse().ok().filter(|_| serves)?;
            folder.note(&role, id);
            (listens(ports.amqp) && listens(ports.http)).then_some(())
        });
    }

    /// One of RabbitMQ's programs, in the surroundings of this node.
    fn command(&self, program: &str) -> Command {
        let Node { folder, number, ports } = self.node();
        let of_node = |name: &str| folder.path(&format!("n{number}/{name}"));
        let mut command = Command::new(install::rabbitmq().join(program));
        let local = "-kernel inet_dist_use_interface {127,0,0,1}";
        command
            .env("HOME", folder.path("home"))
            .env("RABBITMQ_NODENAME", format!("rc{number}@localhost"))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", ports.amqp.to_string())
            .env("RABBITMQ_DIST_PORT", ports.distribution.to_string())
            .env("RABBITMQ_MNESIA_BASE", of_node("data"))
            .env("RABBITMQ_LOG_BASE", of_node("log"))
            .env("RABBITMQ_PID_FILE", of_node("pid"))
            .env("RABBITMQ_CONFIG_FILE", of_node("rabbitmq.conf"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", of_node("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", of_node("enabled_plugins"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", of_node("generated"))
            .env("ERL_EPMD_PORT", ports.epmd.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", local)
            .env("RABBITMQ_CTL_ERL_ARGS", local)
            // The file that core dumps of the runtime go to would be large and read by nobody.
            .env("ERL_CRASH_DUMP_BYTES", "0")
            .current_dir(folder.path(""));
        command
    }

    /// `rabbitmqctl`, which takes about half a second; it must succeed.
    #[track_caller]
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } =
            self.command("rabbitmqctl").arg("-q").args(arguments).output().expect("the program starts");
        let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "rabbitmqctl {arguments:?}: {out}{err}");
        out.into_owned()
    }

    /// SIGKILL: no warning, no farewell.
    pub fn kill9(&self) {
        self.signal_and_wait(Signal::KILL);
    }

    /// A clean stop.
    pub fn stop(&self) {
        self.signal_and_wait(Signal::TERM);
    }

    /// Stops cleanly and starts with the same data.
    pub fn restart(&self) {
        self.stop();
        self.start();
    }

    fn signal_and_wait(&self, signal: Signal) {
        let Node { folder, number, .. } = self.node();
        folder.signal(&format!("node{number}"), signal);
        folder.wait_gone(&format!("node{number}"));
        folder.wait_gone(&format!("script{number}"));
    }

    /// SIGSTOP: the process stands still, its connections stay open.
    pub fn pause(&self) {
        let Node { folder, number, .. } = self.node();
        folder.signal(&format!("node{number}"), Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        let Node { folder, number, .. } = self.node();
        folder.signal(&format!("node{number}"), Signal::CONT);
    }

    /// The id of the broker's own process, for what it used of the machine.
    pub fn process_id(&self) -> u32 {
        let Node { folder, number, .. } = self.node();
        let process = folder.process(&format!("node{number}")).expect("the broker runs");
        u32::try_from(process.as_raw_nonzero().get()).expect("process ids are positive")
    }

    /// Raises the memory alarm (`connection.blocked` for publishers), or lets it go.
    pub fn memory_alarm(&self, raised: bool) {
        self.ctl(&["set_vm_memory_high_watermark", if raised { "0.000001" } else { "0.4" }]);
    }

    /// Closes every connection, as an operator may; answers how many.
    pub fn close_connections(&self) -> usize {
        let told = self.api().ask("GET", "/api/connections", None);
        let connections = told.as_array().cloned().unwrap_or_default();
        for name in connections.iter().filter_map(|connection| connection["name"].as_str()) {
            let _ = self.api().request("DELETE", &format!("/api/connections/{}", escaped(name)), None);
        }
        connections.len()
    }

    /// The management interface.
    pub fn api(&self) -> &Place {
        &self.inner.place
    }

    pub fn host(&self) -> &str {
        &self.inner.host
    }

    /// Where AMQP is spoken without TLS.
    pub fn port(&self) -> u16 {
        self.inner.port
    }

    /// Where it is spoken with TLS, for a broker started with [`Options::tls`].
    pub fn tls_port(&self) -> u16 {
        self.node().ports.tls
    }

    /// What the nodes call this one, such as `rc1@localhost`.
    pub fn name(&self) -> String {
        format!("rc{}@localhost", self.node().number)
    }

    /// What the broker wrote so far.
    pub fn log(&self) -> String {
        let Node { folder, number, .. } = self.node();
        folder.read(&format!("n{number}.log"))
    }

    /// A fresh virtual host, deleted when dropped.
    pub fn vhost(&self) -> Vhost {
        let name = format!("test-{}", uuid::Uuid::new_v4().simple());
        self.api().ask("PUT", &format!("/api/vhosts/{name}"), Some(&json!({})));
        let user = self.api().user.clone();
        let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        self.api().ask("PUT", &format!("/api/permissions/{name}/{user}"), Some(&all));
        Vhost { rabbit: self.clone(), name }
    }
}

/// A virtual host of one test.
pub struct Vhost {
    rabbit: Rabbit,
    name: String,
}

impl Vhost {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn rabbit(&self) -> &Rabbit {
        &self.rabbit
    }

    /// The same virtual host, asked about through another node of the cluster.
    pub fn on(&self, rabbit: &Rabbit) -> Vhost {
        Vhost { rabbit: rabbit.clone(), name: self.name.clone() }
    }

    /// `amqp://user:password@host:port/vhost`.
    pub fn url(&self) -> String {
        self.url_through(self.rabbit.port())
    }

    /// The same through another port, such as a proxy's.
    pub fn url_through(&self, port: u16) -> String {
        let Place { user, password, .. } = self.rabbit.api();
        format!("amqp://{user}:{password}@{}:{port}/{}", self.rabbit.host(), self.name)
    }

    /// The same with TLS, for a broker started with [`Options::tls`].
    pub fn tls_url(&self) -> String {
        self.url_through(self.rabbit.tls_port()).replacen("amqp:", "amqps:", 1)
    }

    /// The same as another user.
    pub fn url_as(&self, user: &str) -> String {
        format!("amqp://{user}:{user}@{}:{}/{}", self.rabbit.host(), self.rabbit.port(), self.name)
    }

    /// A request about something in this virtual host: `kind` such as `queues`.
    fn about(&self, kind: &str, name: &str) -> String {
        format!("/api/{kind}/{}/{}", self.name, escaped(name))
    }

    /// Declares a durable queue with these arguments, such as `{"x-queue-type": "quorum"}`.
    pub fn declare_queue(&self, queue: &str, arguments: &Value) {
        let asked = json!({ "durable": true, "arguments": arguments });
        self.rabbit.api().ask("PUT", &self.about("queues", queue), Some(&asked));
    }

    pub fn delete_queue(&self, queue: &str) {
        self.rabbit.api().ask("DELETE", &self.about("queues", queue), None);
    }

    /// Empties a queue of what is ready.
    pub fn purge(&self, queue: &str) {
        self.rabbit.api().ask("DELETE", &format!("{}/contents", self.about("queues", queue)), None);
    }

    /// Declares a durable exchange of that kind: `direct`, `topic`, `fanout`.
    pub fn declare_exchange(&self, exchange: &str, kind: &str) {
        let asked = json!({ "durable": true, "type": kind });
        self.rabbit.api().ask("PUT", &self.about("exchanges", exchange), Some(&asked));
    }

    pub fn delete_exchange(&self, exchange: &str) {
        self.rabbit.api().ask("DELETE", &self.about("exchanges", exchange), None);
    }

    pub fn bind(&self, exchange: &str, queue: &str, routing_key: &str) {
        let path = format!("/api/bindings/{}/e/{}/q/{}", self.name, escaped(exchange), escaped(queue));
        self.rabbit.api().ask("POST", &path, Some(&json!({ "routing_key": routing_key })));
    }

    /// Takes away the binding of a queue to an exchange under that key.
    pub fn unbind(&self, exchange: &str, queue: &str, routing_key: &str) {
        let path = format!("/api/bindings/{}/e/{}/q/{}", self.name, escaped(exchange), escaped(queue));
        // The interface names a binding by its key as it would stand in a path.
        self.rabbit.api().ask("DELETE", &format!("{path}/{}", escaped(&escaped(routing_key))), None);
    }

    /// A policy on every queue whose name matches.
    pub fn policy(&self, name: &str, pattern: &str, definition: &Value) {
        let asked = json!({ "pattern": pattern, "definition": definition, "apply-to": "queues" });
        self.rabbit.api().ask("PUT", &self.about("policies", name), Some(&asked));
    }

    /// A user named as its password who may configure, write and read what matches; gone with nothing but its test.
    pub fn user(&self, name: &str, configure: &str, write: &str, read: &str) {
        let api = self.rabbit.api();
        api.ask("PUT", &format!("/api/users/{name}"), Some(&json!({ "password": name, "tags": "" })));
        let asked = json!({ "configure": configure, "write": write, "read": read });
        api.ask("PUT", &self.about("permissions", name), Some(&asked));
    }

    /// The names of the queues, sorted.
    pub fn queues(&self) -> Vec<String> {
        let told = self.rabbit.api().ask("GET", &format!("/api/queues/{}?columns=name", self.name), None);
        let names = told.as_array().into_iter().flatten().filter_map(|queue| queue["name"].as_str());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        names
    }

    /// What the management interface tells about a queue, where it exists.
    pub fn queue(&self, queue: &str) -> Option<Value> {
        match self.rabbit.api().request("GET", &self.about("queues", queue), None) {
            Ok((200, told)) => Some(told),
            _ => None,
        }
    }

    /// Ready and unacknowledged messages of a queue, as last counted: some hundred milliseconds old, 0 just after a
    /// start. Wait for a number rather than asserting one at once.
    pub fn depth(&self, queue: &str) -> Option<u64> {
        self.queue(queue)?["messages"].as_u64()
    }

    /// Waits until a queue holds as many.
    #[track_caller]
    pub fn wait_depth(&self, queue: &str, depth: u64) {
        wait_for(&format!("{depth} messages in {queue}, now {:?}", self.depth(queue)), || {
            (self.depth(queue) == Some(depth)).then_some(())
        });
    }

    /// The node that leads a quorum queue.
    pub fn leader(&self, queue: &str) -> Option<String> {
        Some(self.queue(queue)?["leader"].as_str()?.to_owned())
    }

    /// Publishes one persistent message, through an exchange or (named "amq.default") right into the queue named as
    /// the key; answers whether it was routed.
    pub fn publish(&self, exchange: &str, routing_key: &str, payload: &str) -> bool {
        let exchange = if exchange.is_empty() { "amq.default" } else { exchange };
        let asked = json!({
            "properties": { "delivery_mode": 2 }, "routing_key": routing_key, "payload": payload,
            "payload_encoding": "string",
        });
        let told =
            self.rabbit.api().ask("POST", &format!("{}/publish", self.about("exchanges", exchange)), Some(&asked));
        told["routed"] == true
    }

    /// Takes up to `count` messages out of a queue: payload, properties, headers and all as the interface tells them.
    pub fn take(&self, queue: &str, count: usize) -> Vec<Value> {
        let asked = json!({ "count": count, "ackmode": "ack_requeue_false", "encoding": "auto" });
        let told = self.rabbit.api().ask("POST", &format!("{}/get", self.about("queues", queue)), Some(&asked));
        told.as_array().cloned().unwrap_or_default()
    }

    /// Closes this virtual host's connections, and answers how many.
    pub fn close_connections(&self) -> usize {
        let told = self.rabbit.api().ask("GET", &format!("/api/vhosts/{}/connections", self.name), None);
        let connections = told.as_array().cloned().unwrap_or_default();
        for name in connections.iter().filter_map(|connection| connection["name"].as_str()) {
            let _ = self.rabbit.api().request("DELETE", &format!("/api/connections/{}", escaped(name)), None);
        }
        connections.len()
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        let _ = self.rabbit.api().request("DELETE", &format!("/api/vhosts/{}", self.name), None);
    }
}

/// A name as a part of a path.
fn escaped(name: &str) -> String {
    name.bytes().fold(String::new(), |mut told, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            told.push(char::from(byte));
        } else {
            told.push_str(&format!("%{byte:02X}"));
        }
        told
    })
}
