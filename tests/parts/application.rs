//! A business system: one process on a port of this machine, on a database of its own in the shared PostgreSQL.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::postgres::{Database, Postgres};
use super::server::{Folder, free_port, listens, lock, use_shared, wait_for};

/// What differs between the systems.
pub struct Kind {
    /// Names its folder in `parts/`.
    pub name: &'static str,
    /// The SQL a fresh database of this system is read from; made on first need.
    pub template: fn() -> PathBuf,
    /// What starts it.
    pub command: fn(&Start) -> Command,
    /// Whether it serves at that port, with that database.
    pub serves: fn(u16, &str) -> bool,
}

/// What a system is started with.
pub struct Start<'a> {
    pub port: u16,
    pub database_url: &'a str,
    /// For what it writes.
    pub folder: &'a Path,
}

/// One running system. A private one ends when it is dropped.
pub struct Application {
    kind: &'static Kind,
    folder: Folder,
    port: u16,
    database_url: String,
    /// Of a private one: gone with it.
    _database: Option<Database>,
}

impl Application {
    /// The one all tests of a run share, and the right to use it to the end of this process.
    pub fn shared(kind: &'static Kind) -> (Application, File) {
        let template = (kind.template)();
        // Used from here on: it does not end before this process does.
        let postgres = Postgres::shared();
        let _lock = lock(&format!("{}/shared.lock", kind.name));
        let users = use_shared(kind.name);
        let found = Application::found(kind, postgres);
        (found.unwrap_or_else(|| Application::start_shared(kind, postgres, &template)), users)
    }

    /// One of this test alone.
    pub fn private(kind: &'static Kind) -> Application {
        let template = (kind.template)();
        let database = Postgres::shared().database();
        database.restore(&template);
        let folder = Folder::private(kind.name);
        let application =
            Application { kind, folder, port: free_port(), database_url: database.url(), _database: Some(database) };
        application.start();
        application
    }

    /// The shared one, where another process of this run started it on the database that still runs.
    fn found(kind: &'static Kind, postgres: &Postgres) -> Option<Application> {
        let folder = Folder::found(kind.name);
        let port = folder.read("port").trim().parse().ok()?;
        let database_url = folder.read("database");
        let lives = folder.process("server").is_some() && listens(port) && database_url.starts_with(&postgres.url(""));
        lives.then(|| Application { kind, folder, port, database_url, _database: None })
    }

    fn start_shared(kind: &'static Kind, postgres: &Postgres, template: &Path) -> Application {
        let folder = Folder::shared(kind.name);
        let database = postgres.database();
        database.restore(template);
        let database_url = database.leave();
        let application = Application { kind, folder, port: free_port(), database_url, _database: None };
        application.start();
        application.folder.write("database", &application.database_url);
        // Written last: a server whose port is told has started.
        application.folder.write("port", &application.port.to_string());
        application
    }

    /// Starts a system that does not run, on the same port and database, and waits until it serves.
    pub fn start(&self) {
        let Application { kind, folder, port, database_url, .. } = self;
        assert!(folder.process("server").is_none(), "{} runs already", kind.name);
        let start = Start { port: *port, database_url, folder: &folder.path("") };
        folder.spawn("server", "server.log", &mut (kind.command)(&start));
        wait_for(&format!("{} that serves on port {port}", kind.name), || {
            let ended = folder.process("server").is_none();
            assert!(!ended, "{} ended as it started:\n{}", kind.name, self.log());
            (kind.serves)(*port, database_url).then_some(())
        });
    }

    /// SIGKILL: no warning, no farewell.
    pub fn kill(&self) {
        self.folder.signal("server", Signal::KILL);
        self.folder.wait_gone("server");
    }

    /// A clean stop.
    pub fn stop(&self) {
        self.folder.signal("server", Signal::TERM);
        self.folder.wait_gone("server");
    }

    /// SIGSTOP: the process stands still, its connections stay open.
    pub fn pause(&self) {
        self.folder.signal("server", Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.folder.signal("server", Signal::CONT);
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// What the system wrote so far.
    pub fn log(&self) -> String {
        self.folder.read("server.log")
    }
}

/// The database's name in its URL.
pub fn name_of(database_url: &str) -> &str {
    database_url.rsplit_once('/').map_or("", |(_, name)| name)
}
