//! What the tests of the whole hub stand on: a folder, the real binary as a process, and a peer that behaves as told.

use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How long anything may take before a test says that it never came. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of its own for one test; it stays where the test failed.
pub struct Folder {
    path: PathBuf,
    ours: bool,
}

impl Folder {
    /// An empty folder.
    pub fn new(name: &str) -> Folder {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("the build folder takes folders");
        Folder { path, ours: true }
    }

    /// A folder that is there and is somebody else's to remove.
    pub fn at(path: PathBuf) -> Folder {
        Folder { path, ours: false }
    }

    /// A folder with a hub in it that listens on a free port; `pipelines` are names with their YAML.
    pub fn hub(name: &str, pipelines: &[(&str, &str)]) -> Folder {
        let folder = Folder::new(name);
        folder.write("config/raccord.yaml", "name: test-hub\nlisten: 127.0.0.1:0\n");
        for (name, yaml) in pipelines {
            folder.write(&format!("pipelines/{name}/pipeline.yaml"), yaml);
        }
        folder
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.path.join(relative)
    }

    pub fn write(&self, relative: &str, content: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("a file stands in a folder")).expect("folders can be made");
        fs::write(path, content).expect("files can be written");
    }

    pub fn read(&self, relative: &str) -> String {
        let path = self.path(relative);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Edits a file, where `from` stands.
    #[track_caller]
    pub fn replace(&self, relative: &str, from: &str, to: &str) {
        let text = self.read(relative);
        assert!(text.contains(from), "`{from}` does not stand in {relative}");
        self.write(relative, text.replace(from, to));
    }

    /// The content of a file, or nothing where there is none yet.
    pub fn read_if(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap_or_default()
    }

    /// Names of the files in a folder that are not hidden, sorted; none where there is no folder.
    pub fn names(&self, relative: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(relative)).into_iter().flatten();
        let names = entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }

    /// Runs the binary in the folder, to its end.
    pub fn raccord(&self, arguments: &[&str]) -> Said {
        self.raccord_with(arguments, &[])
    }

    /// Runs the binary with these variables set.
    pub fn raccord_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raccord"));
        command.current_dir(&self.path).args(arguments).envs(variables.iter().copied()).env("NO_COLOR", "1");
        Said::new(command.output().expect("the binary starts"))
    }

    /// What `raccord ... --json` answers.
    pub fn asked(&self, arguments: &[&str]) -> Value {
        let said = self.raccord(&[arguments, &["--json"]].concat());
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{said:?}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what the test left: {}", self.path.display());
        } else if self.ours {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    fn new(output: Output) -> Said {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("raccord writes UTF-8");
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Fails unless the command ended with `code` and said each of `words`, on whichever stream.
    #[track_caller]
    pub fn expect(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(
                self.out.contains(word) || self.err.contains(word),
                "`{word}` is not said:\n{}{}",
                self.out,
                self.err
            );
        }
    }
}

/// The real binary, running a folder. Killed when dropped.
pub struct HubProcess {
    child: Child,
    log: PathBuf,
    /// Where this run's lines begin in the log.
    begins: usize,
    pub address: SocketAddr,
}

impl HubProcess {
    /// Starts the hub of a folder and waits until it is ready.
    pub async fn start(folder: &Folder) -> HubProcess {
        let mut hub = HubProcess::spawn_run(folder);
        hub.wait_ready().await;
        hub
    }

    /// Starts the hub of a folder and waits for nothing.
    pub fn spawn_run(folder: &Folder) -> HubProcess {
        HubProcess::spawn(folder, Command::new(env!("CARGO_BIN_EXE_raccord")).arg("run"))
    }

    /// Starts a command in the folder, with its words in the log.
    pub fn spawn(folder: &Folder, command: &mut Command) -> HubProcess {
        let log = folder.path("hub.log");
        let begins = fs::metadata(&log).map_or(0, |told| usize::try_from(told.len()).expect("a small log"));
        let file: File = OpenOptions::new().create(true).append(true).open(&log).expect("a log can be written");
        let said_on = file.try_clone().expect("a second handle");
        let child = command
            .current_dir(folder.path(""))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(said_on)
            .stderr(file)
            .spawn()
            .expect("the binary starts");
        HubProcess { child, log, begins, address: SocketAddr::from(([127, 0, 0, 1], 0)) }
    }

    /// Waits until the hub says where it listens.
    pub async fn wait_listening(&mut self) {
        self.wait_until(async |_| true).await;
    }

    /// Waits until the hub says where it listens and answers that it is ready.
    pub async fn wait_ready(&mut self) {
        self.wait_until(async |address| get(address, "/health/ready").await.is_some_and(|(status, _)| status == 200))
            .await;
    }

    async fn wait_until(&mut self, holds: impl AsyncFn(SocketAddr) -> bool) {
        let ready = async {
            loop {
                if let Some(address) = self.told_address() {
                    self.address = address;
                    if holds(address).await {
                        return;
                    }
                }
                if let Ok(Some(status)) = self.child.try_wait() {
                    panic!("the hub ended with {status} instead of being ready:\n{}", self.log());
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(PATIENCE, ready).await.is_err() {
            panic!("the hub is not ready:\n{}", self.log());
        }
    }

    fn told_address(&self) -> Option<SocketAddr> {
        let log = self.log();
        let line = log.lines().find(|line| line.contains("the hub runs"))?;
        line.split("listen=").nth(1)?.split_whitespace().next()?.parse().ok()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What this run wrote so far.
    pub fn log(&self) -> String {
        let all = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&all[self.begins.min(all.len())..]).into_owned()
    }

    /// SIGKILL: no warning, no farewell.
    pub fn kill9(&mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("it can be waited for");
    }

    /// SIGTERM, and how the hub ended.
    pub async fn terminate(&mut self) -> ExitStatus {
        let id = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("the process is ours");
        self.ended().await
    }

    /// How the process ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                    return status;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let ended = timeout(PATIENCE, ended).await;
        ended.unwrap_or_else(|_| panic!("the hub does not end:\n{}", fs::read_to_string(&self.log).unwrap_or_default()))
    }
}

impl Drop for HubProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `holds` answers something, and gives it; after [`PATIENCE`] the test fails, naming `what`.
#[track_caller]
pub fn wait_for<T>(what: impl Into<String>, mut holds: impl FnMut() -> Option<T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    let what = what.into();
    async move {
        let waiting = async {
            loop {
                if let Some(value) = holds() {
                    return value;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{place}: it never came: {what}"))
    }
}

/// A client for tests: no proxy, and no waiting for ever.
pub fn client() -> reqwest::Client {
    // A second installation changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(Duration::from_secs(30));
    builder.build().expect("a plain client")
}

/// `GET`: status and body, or nothing where nobody answers.
pub async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let response = client().get(format!("http://{address}{path}")).send().await.ok()?;
    let status = response.status().as_u16();
    Some((status, response.text().await.ok()?))
}

/// `POST`: status and body.
pub async fn post(url: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
    let response = client().post(url).body(body).send().await.unwrap_or_else(|error| panic!("{url}: {error}"));
    let status = response.status().as_u16();
    (status, response.text().await.unwrap_or_default())
}

/// A request a peer got.
#[derive(Clone, Debug)]
pub struct Request {
    pub idempotency_key: String,
    pub body: String,
}

/// What a peer does about a request.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    Status(u16),
    /// The same, late.
    Late(Duration, u16),
    /// Nothing, for as long as the other side waits.
    Nothing,
    /// Hangs up without a word.
    Close,
    /// Bytes that are not HTTP.
    Garbage,
    /// A right answer, one byte a second.
    Drip,
}

/// A small HTTP server that keeps what it got and answers as told.
pub struct Peer {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

type Behaviour = dyn Fn(&Request) -> Answer + Send + Sync;

impl Peer {
    pub async fn start(behaviour: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Peer {
        Peer::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), behaviour).await
    }

    pub async fn start_at(place: SocketAddr, behaviour: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Peer {
        let listener = TcpListener::bind(place).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let (kept, behaviour) = (requests.clone(), Arc::new(behaviour) as Arc<Behaviour>);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, behaviour) = (kept.clone(), behaviour.clone());
                tokio::spawn(async move { serve(BufStream::new(stream), &kept, &*behaviour).await });
            }
        });
        Peer { address, requests, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no test panics while holding them").clone()
    }

    /// Waits until a request's body holds `part`, and gives the first such request.
    #[track_caller]
    pub fn got(&self, part: &str) -> impl Future<Output = Request> {
        let requests = self.requests.clone();
        let part = part.to_owned();
        wait_for(format!("a request with {part}"), move || {
            let requests = requests.lock().expect("no test panics while holding them");
            requests.iter().find(|request| request.body.contains(&part)).cloned()
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Requests of one connection, until one side hangs up.
async fn serve(mut stream: BufStream<TcpStream>, kept: &Mutex<Vec<Request>>, behaviour: &Behaviour) -> Option<()> {
    loop {
        let request = read_request(&mut stream, kept).await?;
        let (status, late) = match behaviour(&request) {
            Answer::Status(status) => (status, Duration::ZERO),
            Answer::Late(delay, status) => (status, delay),
            Answer::Nothing => return std::future::pending().await,
            Answer::Close => return None,
            Answer::Garbage => {
                stream.write_all(b"\x00\xff\x13 not HTTP at all \r\n\r\n").await.ok()?;
                return stream.flush().await.ok();
            }
            Answer::Drip => {
                for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" {
                    stream.write_all(&[*byte]).await.ok()?;
                    stream.flush().await.ok()?;
                    sleep(Duration::from_secs(1)).await;
                }
                continue;
            }
        };
        sleep(late).await;
        let answer = format!("HTTP/1.1 {status} As-Told\r\ncontent-length: 12\r\n\r\nsaid {status:<6}\n");
        stream.write_all(answer.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
    }
}

async fn read_request(stream: &mut BufStream<TcpStream>, kept: &Mutex<Vec<Request>>) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let header = |name: &str| {
        let of_name = |line: &&str| line.split_once(':').is_some_and(|(given, _)| given.eq_ignore_ascii_case(name));
        let line = head.lines().find(of_name)?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().expect("a length"))];
    stream.read_exact(&mut body).await.ok()?;
    let mut kept = kept.lock().expect("no test panics while holding them");
    let request = Request {
        idempotency_key: header("idempotency-key").unwrap_or_default(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    kept.push(request.clone());
    Some(request)
}

/// Random numbers from a seed (SplitMix64).
pub struct Random(u64);

impl Random {
    /// The seed of `RACCORD_SEED`, or a fresh one; either way it is printed.
    pub fn new() -> Random {
        let seed = match std::env::var("RACCORD_SEED") {
            Ok(seed) => seed.parse().expect("RACCORD_SEED is a number"),
            Err(_) => u64::from_be_bytes(uuid::Uuid::new_v4().as_bytes()[8..].try_into().expect("eight bytes")),
        };
        println!("seed {seed}: RACCORD_SEED={seed} makes the same choices again");
        Random(seed)
    }

    /// A stream of its own, which another thread's choices do not disturb.
    pub fn fork(&mut self) -> Random {
        Random(self.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
