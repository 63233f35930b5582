//! PostgreSQL: one server that the tests of a run share, each with a database of its own, or a private one.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use rustix::process::Signal;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::certificates::Authority;
use super::server::{Folder, free_port, listens, lock, use_shared, wait_for};
use super::{install, kept, server};

/// The user of the tests' servers, and its password.
const USER: &str = "raccord";

/// What a private server is started with, beside its port and folders.
#[derive(Clone, Default)]
pub struct Options {
    /// Lines for `postgresql.conf`, such as `max_connections = 10`.
    pub config: Vec<String>,
    /// Puts the data on a disk of its own of so many megabytes (at least 64), so that it can be filled. As root only.
    pub disk_mb: Option<u32>,
    /// Also takes encrypted connections, with a certificate of this authority for `localhost` and `127.0.0.1`.
    pub tls: Option<Arc<Authority>>,
}

/// One server. A private one ends when its last clone is dropped.
#[derive(Clone)]
pub struct Postgres {
    inner: Arc<Inner>,
}

struct Inner {
    /// Without the database's name: `postgres://user:password@host:port`.
    url: String,
    /// None for a server that somebody else runs.
    own: Option<Own>,
}

struct Own {
    folder: Folder,
    data: PathBuf,
    port: u16,
}

impl Postgres {
    /// The server all tests of a run share: ask it for a database, and leave the rest of it alone.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<(Postgres, Option<File>)> = OnceLock::new();
        let (postgres, _) = SHARED.get_or_init(|| match std::env::var("RACCORD_TEST_POSTGRES") {
            Ok(url) => (Postgres::given(&url), None),
            Err(_) => {
                std::fs::create_dir_all(server::root().join("postgres")).expect("the build folder takes folders");
                let _lock = lock("postgres/shared.lock");
                let users = use_shared("postgres");
                (Postgres::found().unwrap_or_else(Postgres::start_shared), Some(users))
            }
        });
        postgres
    }

    /// A server of this test alone. It syncs as one in production does.
    pub fn private(options: &Options) -> Postgres {
        let postgres = Postgres::prepare(Folder::private("postgres"), options);
        postgres.start();
        postgres
    }

    fn given(url: &str) -> Postgres {
        let mut url = reqwest::Url::parse(url).unwrap_or_else(|error| panic!("RACCORD_TEST_POSTGRES: {error}"));
        url.set_path("");
        Postgres { inner: Arc::new(Inner { url: url.as_str().trim_end_matches('/').to_owned(), own: None }) }
    }

    /// The shared server, where another process of this run started it.
    fn found() -> Option<Postgres> {
        let folder = Folder::found("postgres");
        let port = folder.read("port").trim().parse().ok()?;
        let data = PathBuf::from(folder.read("place"));
        (folder.process("server").is_some() && listens(port)).then(|| Postgres::of(folder, data, port))
    }

    fn start_shared() -> Postgres {
        // Nobody kills this one, so that syncing would protect nothing; private ones sync.
        let options =
            Options { config: vec!["fsync = off".into(), "max_connections = 200".into()], ..Options::default() };
        let postgres = Postgres::prepare(Folder::shared("postgres"), &options);
        postgres.start();
        // Written last: a server whose port is told has started.
        let own = postgres.own();
        own.folder.write("port", &own.port.to_string());
        postgres
    }

    fn of(folder: Folder, data: PathBuf, port: u16) -> Postgres {
        let url = format!("postgres://{USER}:{USER}@127.0.0.1:{port}");
        Postgres { inner: Arc::new(Inner { url, own: Some(Own { folder, data, port }) }) }
    }

    /// Makes the data folder and writes what the server reads.
    fn prepare(folder: Folder, options: &Options) -> Postgres {
        let account = Account::of_server();
        let data = account.data_of(&folder);
        if let Some(size) = options.disk_mb {
            assert!(
                rustix::process::getuid().is_root(),
                "a disk of its own can be mounted by root only: run this test as root"
            );
            let size = format!("size={size}m");
            let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&data).output();
            assert!(mounted.as_ref().is_ok_and(|done| done.status.success()), "mount: {mounted:?}");
        }
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).expect("the folder is ours");
        account.give(&data);
        folder.write("place", data.to_str().expect("the build folder has a plain name"));
        let mut init = Command::new(install::postgres().join("initdb"));
        init.args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]);
        init.args(["--no-sync", "--wal-segsize", "1", "--no-instructions"]);
        let password = data.with_extension("password");
        std::fs::write(&password, USER).expect("the data's folder was just made beside it");
        init.arg("--pwfile").arg(&password).arg("--pgdata").arg(&data).current_dir("/");
        let done = account.wear(&mut init).output().expect("initdb starts");
        let _ = std::fs::remove_file(&password);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "initdb: {}{said}", String::from_utf8_lossy(&done.stdout));
        let port = free_port();
        let mut config = vec![
            "listen_addresses = '127.0.0.1'".to_owned(),
            format!("port = {port}"),
            "unix_socket_directories = ''".into(),
            "shared_buffers = 32MB".into(),
            "min_wal_size = 2MB".into(),
            "max_wal_size = 64MB".into(),
            "log_min_messages = warning".into(),
        ];
        if let Some(authority) = &options.tls {
            let issued = authority.server(&["localhost", "127.0.0.1"]);
            for (name, pem) in
                [("server.crt", &issued.certificate), ("server.key", &issued.key), ("root.crt", &authority.pem())]
            {
                let file = data.join(name);
                std::fs::write(&file, pem).expect("the folder was just made");
                std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("the file is ours");
                account.give(&file);
            }
            config.extend(["ssl = on".to_owned(), "ssl_ca_file = 'root.crt'".into()]);
        }
        config.extend(options.config.iter().cloned());
        let file = data.join("postgresql.auto.conf");
        std::fs::write(&file, config.join("\n") + "\n").expect("the folder was just made");
        account.give(&file);
        Postgres::of(folder, data, port)
    }

    #[track_caller]
    fn own(&self) -> &Own {
        self.inner.own.as_ref().expect("this server was named in RACCORD_TEST_POSTGRES: the test may not touch it")
    }

    /// Starts a server that does not run, with the data it has, and waits until it answers.
    pub fn start(&self) {
        let own = self.own();
        assert!(own.folder.process("server").is_none(), "the server runs already");
        let mut command = Command::new(install::postgres().join("postgres"));
        command.arg("-D").arg(&own.data).current_dir("/");
        own.folder.spawn("server", "server.log", Account::of_server().wear(&mut command));
        wait_for("a database that has started", || {
            let ended = own.folder.process("server").is_none();
            assert!(!ended, "the database ended as it started:\n{}", self.log());
            self.try_query("postgres", "select 1").ok()
        });
    }

    /// Starts it unless it runs: one without disk may have ended itself.
    pub fn start_if_ended(&self) {
        if self.own().folder.process("server").is_none() {
            self.start();
        }
    }

    /// SIGKILL of the server; its sessions notice and end.
    pub fn kill9(&self) {
        let own = self.own();
        own.folder.signal("server", Signal::KILL);
        own.folder.wait_gone("server");
        // A new server refuses the data while an old session still has its memory.
        wait_for("the end of the old sessions", || sessions_of(&own.data).is_empty().then_some(()));
    }

    /// A fast stop: sessions are cut, what was committed is on disk.
    pub fn stop(&self) {
        let own = self.own();
        own.folder.signal("server", Signal::INT);
        own.folder.wait_gone("server");
    }

    /// Stops fast and starts with the same data.
    pub fn restart(&self) {
        self.stop();
        self.start();
    }

    /// SIGSTOP of the server and of every session: connections stay open, nothing answers.
    pub fn pause(&self) {
        self.signal_all(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    fn signal_all(&self, signal: Signal) {
        let own = self.own();
        own.folder.signal("server", signal);
        for session in sessions_of(&own.data) {
            let _ = rustix::process::kill_process(session, signal);
        }
    }

    /// Fills the disk of [`Options::disk_mb`] to its last byte; [`Postgres::free_disk`] undoes it.
    pub fn fill_disk(&self) {
        let mut file = File::create(self.own().data.join("ballast")).expect("the disk takes a file");
        for size in [1 << 20, 1 << 12, 1] {
            let block = vec![0_u8; size];
            while file.write_all(&block).is_ok() {}
        }
    }

    pub fn free_disk(&self) {
        std::fs::remove_file(self.own().data.join("ballast")).expect("the disk was filled");
    }

    pub fn port(&self) -> u16 {
        self.own().port
    }

    /// What the server wrote so far.
    pub fn log(&self) -> String {
        self.own().folder.read("server.log")
    }

    /// A fresh database, deleted when dropped.
    pub fn database(&self) -> Database {
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        self.query("postgres", &format!("create database {name}"));
        Database { postgres: self.clone(), name }
    }

    /// Where a database of that name is, or would be: `postgres://user:password@host:port/database`.
    pub fn url(&self, database: &str) -> String {
        format!("{}/{database}", self.inner.url)
    }

    #[track_caller]
    fn query(&self, database: &str, sql: &str) -> Vec<Vec<Option<String>>> {
        match self.try_query(database, sql) {
            Ok(rows) => rows,
            Err(why) => panic!("{sql}: {why}"),
        }
    }

    /// Rows as text, over a connection of its own.
    fn try_query(&self, database: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        let (url, sql) = (self.url(database), sql.to_owned());
        // A thread of its own: the caller may stand in a runtime, which cannot be blocked on.
        let asked = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|error| error.to_string())?.block_on(async {
                let connected = tokio_postgres::connect(&url, NoTls).await;
                let (client, connection) = connected.map_err(|error| format!("{error:?}"))?;
                let connection = tokio::spawn(connection);
                let told = client.simple_query(&sql).await.map_err(|error| format!("{error:?}"))?;
                drop(client);
                let _ = connection.await;
                let rows = told.into_iter().filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => {
                        Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
                    }
                    _ => None,
                });
                Ok(rows.collect())
            })
        });
        asked.join().map_err(|_| "the query panicked".to_owned())?
    }
}

/// Where a database is, and who connects.
#[derive(Clone, Debug)]
pub struct Place {
    /// `host:port`.
    pub address: String,
    pub database: String,
    pub user: String,
    pub password: String,
}

/// A database of one test.
pub struct Database {
    postgres: Postgres,
    name: String,
}

impl Database {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// `postgres://user:password@host:port/database`.
    pub fn url(&self) -> String {
        self.postgres.url(&self.name)
    }

    /// The parts of the URL, as the hub's settings want them.
    pub fn place(&self) -> Place {
        let url = reqwest::Url::parse(&self.url()).expect("the URL of a server that answers");
        let address = format!("{}:{}", url.host_str().unwrap_or("127.0.0.1"), url.port().unwrap_or(5432));
        let (user, password) = (url.username().to_owned(), url.password().unwrap_or_default().to_owned());
        Place { address, database: self.name.clone(), user, password }
    }

    /// The same through another port of this machine, such as a proxy's.
    pub fn url_through(&self, port: u16) -> String {
        let mut url = reqwest::Url::parse(&self.url()).expect("the URL of a server that answers");
        url.set_port(Some(port)).expect("a URL with a host takes a port");
        url.into()
    }

    /// Runs SQL over a connection of its own and gives its rows as text.
    #[track_caller]
    pub fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.postgres.query(&self.name, sql)
    }

    /// The same, where it may fail.
    pub fn try_query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        self.postgres.try_query(&self.name, sql)
    }

    /// Writes all of it into a file of SQL.
    pub fn dump(&self, file: &Path) {
        let mut command = Command::new(install::postgres().join("pg_dump"));
        command.args(["--no-owner", "--file"]).arg(file).arg(format!("--dbname={}", self.url()));
        kept::run(&mut command);
    }

    /// Reads what [`Database::dump`] wrote; this one is empty before.
    pub fn restore(&self, file: &Path) {
        let mut command = Command::new(install::postgres().join("psql"));
        command.args(["--no-psqlrc", "--quiet", "--output=/dev/null", "--single-transaction"]);
        command.args(["--variable=ON_ERROR_STOP=1", "--file"]).arg(file).arg(format!("--dbname={}", self.url()));
        kept::run(&mut command);
    }

    /// Leaves it in the server, for whoever knows its name; gives its URL.
    pub fn leave(self) -> String {
        let url = self.url();
        std::mem::forget(self);
        url
    }

    /// Cuts every session on this database, as an administrator may.
    pub fn cut_sessions(&self) {
        let sql = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{}' and pid <> pg_backend_pid()",
            self.name
        );
        self.postgres.query("postgres", &sql);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self.postgres.try_query("postgres", &format!("drop database if exists {} with (force)", self.name));
    }
}

/// Whom the server runs as: it refuses root.
struct Account(Option<(u32, u32)>);

impl Account {
    /// This process's own, or `postgres` (or `nobody`) where this process is root.
    fn of_server() -> Account {
        if !rustix::process::getuid().is_root() {
            return Account(None);
        }
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let find = |name: &str| {
            let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut ids = line.split(':').skip(2).map(str::parse);
            Some((ids.next()?.ok()?, ids.next()?.ok()?))
        };
        let found = find("postgres").or_else(|| find("nobody"));
        Account(Some(found.expect("PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`")))
    }

    /// Where the data goes: into the folder, or, where the server's user cannot enter it (the home of root is closed),
    /// among the temporary files; the watchdog removes it from there as well.
    fn data_of(&self, folder: &Folder) -> PathBuf {
        let inside = folder.path("data");
        let data = if self.reaches(&inside) {
            inside
        } else {
            std::env::temp_dir().join(format!("raccord-test-{}", uuid::Uuid::new_v4().simple()))
        };
        std::fs::create_dir_all(&data).expect("folders can be made");
        data
    }

    fn wear<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
        command
    }

    fn give(&self, path: &Path) {
        let Some((user, group)) = self.0 else { return };
        std::os::unix::fs::chown(path, Some(user), Some(group)).expect("root may give files away");
    }

    /// Whether the server's user can enter every folder above.
    fn reaches(&self, path: &Path) -> bool {
        let open = |folder: &Path| std::fs::metadata(folder).is_ok_and(|told| told.mode() & 0o001 != 0);
        self.0.is_none() || path.ancestors().skip(1).all(open)
    }
}

/// The processes whose working folder is the data: the server's sessions and workers.
fn sessions_of(data: &Path) -> Vec<rustix::process::Pid> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let theirs =
        processes.filter(|process| std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == data));
    theirs.filter_map(|process| rustix::process::Pid::from_raw(process.file_name().to_str()?.parse().ok()?)).collect()
}
