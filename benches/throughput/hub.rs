//! A hub in a process of its own, so that its processor time and memory are its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running hub; dropping it stops it and removes its folder.
pub struct Hub {
    pub folder: PathBuf,
    pub address: SocketAddr,
    process: Child,
    keep: bool,
}

impl Hub {
    /// Starts a hub of these pipelines (name and YAML) and waits until it takes messages.
    pub fn start(scenario: &str, pipelines: &[(&str, String)], quota: usize, keep: bool) -> Hub {
        let folder = fresh_folder(scenario);
        let address = free_address();
        let quota = quota.max(1_000_000);
        write(
            &folder.join("config/raccord.yaml"),
            &format!("name: throughput\nlisten: {address}\nqueue: {{ quota: {quota} }}\n"),
        );
        for (name, yaml) in pipelines {
            write(&folder.join(format!("pipelines/{name}/pipeline.yaml")), yaml);
        }
        let log = fs::File::create(folder.join("hub.log")).expect("the folder was just made");
        let process = Command::new(env!("CARGO_BIN_EXE_raccord"))
            .args(["run", "--no-watch", "-C"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be cloned"))
            .stderr(log)
            .spawn()
            .expect("the hub's binary starts");
        let mut hub = Hub { folder, address, process, keep };
        hub.wait_until_ready();
        hub
    }

    fn wait_until_ready(&mut self) {
        loop {
            if let Some((200, _)) = get(self.address, "/health/ready") {
                return;
            }
            if let Ok(Some(status)) = self.process.try_wait() {
                let log = fs::read_to_string(self.folder.join("hub.log")).unwrap_or_default();
                panic!("the hub ended with {status}:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The sum of a metric over all labels that contain `of`.
    pub fn metric(&self, name: &str, of: &str) -> u64 {
        let (_, text) = get(self.address, "/metrics").expect("a running hub answers");
        let samples = text.lines().filter(|line| line.starts_with(name) && line.contains(of));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    }

    /// Waits until a pipeline has delivered so many in all, and nothing of it waits any more.
    pub fn wait_until_delivered(&self, pipeline: &str, count: usize) {
        let delivered = format!("outcome=\"delivered\",pipeline=\"{pipeline}\"");
        let waiting = format!("queue=\"{pipeline}");
        while (self.metric("raccord_deliveries_total", &delivered) as usize) < count
            || self.metric("raccord_queue_entries", &waiting) > 0
        {
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    /// Processor seconds the process has used.
    pub fn cpu(&self) -> f64 {
        cpu_of(&self.process.id().to_string())
    }

    /// Forgets the peak of memory so far: the next one is of what comes now.
    pub fn forget_peak(&self) {
        // Not allowed everywhere; then the peak is of the whole life.
        let _ = fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5");
    }

    /// The most memory the process has had, in kilobytes.
    pub fn peak_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
        line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if !self.keep && !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// User and system seconds of a process.
pub fn cpu_of(process: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    // The 14th and 15th field, in hundredths of a second on every Linux there is.
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

/// An empty folder, on the disk the binaries are built on.
pub fn fresh_folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("throughput").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the target folder takes a folder");
    folder
}

pub fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a path inside the folder")).expect("the folder takes a folder");
    fs::write(path, text).expect("the folder takes a file");
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    listener.local_addr().expect("a bound listener has an address")
}

/// Status and body; `None` where nobody answers.
fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
}
