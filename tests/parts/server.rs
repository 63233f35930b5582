//! A server as a folder: its data, its log, the ids of its processes, and who may end it.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// How long a server may take to start or to do what it is told. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How long the shared servers stay when no test uses them, in seconds.
const IDLE_SECONDS: u32 = 180;

const WATCH: &str = include_str!("watch.sh");

/// `parts/` in the folder that cargo builds into.
pub fn root() -> PathBuf {
    let program = std::env::current_exe().expect("a program knows where it stands");
    let built = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    let built = built.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), Path::to_path_buf);
    let root = built.join("parts");
    fs::create_dir_all(&root).expect("the build folder takes folders");
    // Processes are known by this path: by whatever links it is reached, it is one.
    root.canonicalize().expect("it was just made")
}

/// A file of the root, locked for as long as it is held.
pub fn lock(name: &str) -> File {
    let file = open(&root().join(name));
    file.lock().expect("a file of the build folder can be locked");
    file
}

fn open(path: &Path) -> File {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The folder of a server and the right to end it.
pub struct Folder {
    path: PathBuf,
    /// Held by the owner of a private server: when it is let go, the watchdog ends what is left.
    _owner: Option<File>,
}

impl Folder {
    /// A fresh folder of this test alone; its servers end with it, also when the test is killed.
    pub fn private(kind: &str) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = root().join(kind).join(format!("{}-{number}", std::process::id()));
        end(&path);
        fs::create_dir_all(path.join("pids")).expect("the build folder takes folders");
        let owner = open(&path.join("owner"));
        owner.lock().expect("nobody else knows this file");
        watch(&["owned", text(&path)], &path);
        Folder { path, _owner: Some(owner) }
    }

    /// The folder all processes share, fresh; the caller holds the kind's lock.
    pub fn shared(kind: &str) -> Folder {
        let path = shared_path(kind);
        end(&path);
        fs::create_dir_all(path.join("pids")).expect("the build folder takes folders");
        watch(&["shared", text(&path), &IDLE_SECONDS.to_string()], &path);
        Folder { path, _owner: None }
    }

    /// The folder of a shared server that another process started.
    pub fn found(kind: &str) -> Folder {
        Folder { path: shared_path(kind), _owner: None }
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.path.join(relative)
    }

    pub fn make(&self, relative: &str) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(&path).expect("the build folder takes folders");
        path
    }

    pub fn write(&self, relative: &str, content: &str) -> PathBuf {
        let path = self.path(relative);
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    pub fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap_or_default()
    }

    /// Starts a process that writes into `log`, out of reach of the keyboard's interrupt, and notes its id.
    pub fn spawn(&self, role: &str, log: &str, command: &mut Command) {
        let said = open(&self.path(log));
        let said_too = said.try_clone().expect("a second handle");
        command.env("RACCORD_TEST_PART", &self.path).stdin(Stdio::null()).stdout(said).stderr(said_too);
        let mut child = command.process_group(0).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        self.note(role, child.id());
        // Somebody must hear that it ended, or its id stays taken.
        std::thread::spawn(move || child.wait());
    }

    /// Notes the id of a process of this server.
    pub fn note(&self, role: &str, id: u32) {
        self.write(&format!("pids/{role}"), &id.to_string());
    }

    /// The process of that role, where it runs.
    pub fn process(&self, role: &str) -> Option<Pid> {
        let id: i32 = self.read(&format!("pids/{role}")).trim().parse().ok()?;
        // A process that is just being started has no arguments for a moment, nor has one that ended unheard.
        for _ in 0..100 {
            let told = |file: &str| fs::read(format!("/proc/{id}/{file}"));
            let told = [told("cmdline").ok()?, told("environ").unwrap_or_default()].concat();
            if !told.is_empty() {
                return Pid::from_raw(id).filter(|_| String::from_utf8_lossy(&told).contains(text(&self.path)));
            }
            sleep(Duration::from_millis(5));
        }
        None
    }

    /// Signals the process of that role, where it runs.
    pub fn signal(&self, role: &str, signal: Signal) {
        if let Some(process) = self.process(role) {
            rustix::process::kill_process(process, signal).expect("the process is ours");
        }
    }

    /// Waits until the process of that role is gone.
    pub fn wait_gone(&self, role: &str) {
        wait_for(&format!("the end of {role} in {}", self.path.display()), || {
            self.process(role).is_none().then_some(())
        });
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self._owner.is_some() {
            if std::thread::panicking() {
                self.keep_logs();
            }
            end(&self.path);
        }
    }
}

impl Folder {
    /// The test failed: what its server said stays, beside the folder.
    fn keep_logs(&self) {
        let kept = self.path.with_extension("log");
        let all: String = fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"))
            .map(|entry| fs::read_to_string(entry.path()).unwrap_or_default())
            .collect();
        let _ = fs::write(&kept, all);
        eprintln!("what the server said: {}", kept.display());
    }
}

fn shared_path(kind: &str) -> PathBuf {
    root().join(kind).join("shared")
}

/// This process uses the shared server of that kind, to its end; the caller holds the kind's lock.
pub fn use_shared(kind: &str) -> File {
    fs::create_dir_all(root().join(kind)).expect("the build folder takes folders");
    let users = open(&root().join(kind).join("shared.users"));
    users.lock_shared().expect("only the watchdog takes it alone, for a moment");
    users
}

/// Ends what runs in a folder and removes it.
fn end(path: &Path) {
    let ended = Command::new("sh").args(["-c", WATCH, "watch.sh", "end", text(path)]).status();
    assert!(ended.is_ok_and(|status| status.success()), "the servers of {} cannot be ended", path.display());
    let _ = fs::remove_dir_all(path);
}

/// A watchdog of its own process group, so that it outlives what it watches.
fn watch(arguments: &[&str], folder: &Path) {
    let mut command = Command::new("sh");
    command.args(["-c", WATCH, "watch.sh"]).args(arguments).process_group(0).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("a shell starts");
    fs::write(folder.join("pids/watchdog"), child.id().to_string()).expect("the folder was just made");
    std::thread::spawn(move || child.wait());
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the build folder has a plain name")
}

/// A port nobody listens on, below those the system gives to connections, kept for this process.
pub fn free_port() -> u16 {
    static KEPT: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let mut kept = KEPT.lock().expect("nothing panics while holding it");
    let ports = root().join("ports");
    fs::create_dir_all(&ports).expect("the build folder takes folders");
    for _ in 0..1000 {
        let port = 20_000 + (uuid::Uuid::new_v4().as_u128() % 12_000) as u16;
        let file = open(&ports.join(port.to_string()));
        if file.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            kept.push(file);
            return port;
        }
    }
    panic!("no port between 20000 and 32000 is free");
}

/// Whether somebody listens there.
pub fn listens(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Duration::from_secs(2)).is_ok()
}

/// Waits until `holds` answers something, and gives it; after [`PATIENCE`] the test fails, naming `what`.
#[track_caller]
pub fn wait_for<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    let from = Instant::now();
    loop {
        if let Some(value) = holds() {
            return value;
        }
        assert!(from.elapsed() < PATIENCE, "it never came: {what}");
        sleep(Duration::from_millis(50));
    }
}
