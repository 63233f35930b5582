//! Medusa 2.21 as the web shop and order system of a test, on PostgreSQL: an invented shop, made by `medusa/fixture.mjs`.
//!
//! `medusa/README.md` says what the shop holds and how its API was seen to behave. 700 MB and minutes of installation:
//! tests that want it stand behind `RACCORD_LONG`.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::application::{Application, Kind, Start};
use super::http::exchange;
use super::install;
use super::kept::{kept, run};
use super::postgres::Postgres;
use super::server::{Folder, free_port, wait_for};

const PACKAGE: &str = include_str!("medusa/package.json");
const CONFIG: &str = include_str!("medusa/medusa-config.js");
const FIXTURE: &str = include_str!("medusa/fixture.mjs");

/// The administrator of the fixture.
const EMAIL: &str = "admin@harbour-and-pine.example";
const PASSWORD: &str = "raccord-admin";

static MEDUSA: Kind = Kind { name: "medusa", template, command: server, serves };

/// A server with its database. A private one ends when it is dropped.
pub struct Medusa {
    /// None for a server that somebody else runs.
    application: Option<Application>,
    host: String,
    port: u16,
    email: String,
    password: String,
    token: String,
    key: String,
}

impl Medusa {
    /// The server all tests of a run share: what a test makes there, others see.
    ///
    /// `RACCORD_TEST_MEDUSA=http://host:port`, with the administrator of this file, names another to use in its place, filled
    /// by `tests/parts/medusa/fixture.mjs`.
    pub fn shared() -> &'static Medusa {
        static SHARED: OnceLock<(Medusa, Option<File>)> = OnceLock::new();
        let (medusa, _) = SHARED.get_or_init(|| match std::env::var("RACCORD_TEST_MEDUSA") {
            Ok(url) => (Medusa::given(&url), None),
            Err(_) => {
                let (application, users) = Application::shared(&MEDUSA);
                (Medusa::of(application), Some(users))
            }
        });
        medusa
    }

    /// A server of this test alone, with a fresh copy of the shop.
    pub fn private() -> Medusa {
        Medusa::of(Application::private(&MEDUSA))
    }

    fn given(url: &str) -> Medusa {
        let url = reqwest::Url::parse(url).unwrap_or_else(|error| panic!("RACCORD_TEST_MEDUSA: {error}"));
        assert_eq!(url.scheme(), "http", "RACCORD_TEST_MEDUSA: the tests' own client speaks plain HTTP only");
        let host = url.host_str().unwrap_or("127.0.0.1").to_owned();
        Medusa::at(None, host, url.port_or_known_default().unwrap_or(9000))
    }

    fn of(application: Application) -> Medusa {
        let port = application.port();
        Medusa::at(Some(application), "127.0.0.1".into(), port)
    }

    fn at(application: Option<Application>, host: String, port: u16) -> Medusa {
        let (email, password) = (EMAIL.to_owned(), PASSWORD.to_owned());
        let mut medusa = Medusa { application, host, port, email, password, token: String::new(), key: String::new() };
        medusa.log_in();
        let made = medusa.ask("POST", "/admin/api-keys", Some(&json!({ "title": "raccord", "type": "secret" })));
        made["api_key"]["token"].as_str().expect("a key was made").clone_into(&mut medusa.key);
        medusa
    }

    /// Has a fresh token; one lasts a day.
    fn log_in(&mut self) {
        let asked = json!({ "email": self.email, "password": self.password });
        let told = self.ask("POST", "/auth/user/emailpass", Some(&asked));
        told["token"].as_str().expect("Medusa lets its administrator in").clone_into(&mut self.token);
    }

    /// `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn email(&self) -> &str {
        &self.email
    }

    pub fn password(&self) -> &str {
        &self.password
    }

    /// For `Authorization: Bearer TOKEN` on everything below `/admin/`.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// For `Authorization: Basic base64("KEY:")`; it does not end.
    pub fn secret_key(&self) -> &str {
        &self.key
    }

    #[track_caller]
    fn application(&self) -> &Application {
        self.application.as_ref().expect("this server was named in RACCORD_TEST_MEDUSA: the test may not touch it")
    }

    /// SIGKILL; what was committed is in the database.
    pub fn kill(&self) {
        self.application().kill();
    }

    /// Starts it again, on the same port and database, and waits until it serves.
    pub fn start(&self) {
        self.application().start();
    }

    /// What the server wrote so far.
    pub fn log(&self) -> String {
        self.application().log()
    }

    /// Status and body of a request as the administrator, such as `GET /admin/orders`, or why there was none.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<(u16, Value)> {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("authorization", bearer.as_str())];
        let headers = if self.token.is_empty() { &headers[..0] } else { &headers[..] };
        let answer = exchange((&self.host, self.port), method, path, headers, body)?;
        Ok((answer.status, answer.body))
    }

    /// The body of an answer that went well, or the test fails.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        match self.request(method, path, body) {
            Ok((200..300, body)) => body,
            answer => panic!("{method} {path} of Medusa: {answer:?}"),
        }
    }
}

/// The folder with the packages and the server's settings.
fn programs() -> PathBuf {
    kept("medusa", "programs", &[PACKAGE, CONFIG], |folder| {
        eprintln!("installing Medusa from npm (once, 700 MB)");
        std::fs::write(folder.join("package.json"), PACKAGE).expect("the folder was just made");
        std::fs::write(folder.join("medusa-config.js"), CONFIG).expect("the folder was just made");
        let mut npm = Command::new(install::npm());
        run(npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder));
    })
}

/// The shop's database, as SQL.
fn template() -> PathBuf {
    let made = kept("medusa", "template", &[PACKAGE, CONFIG, FIXTURE], |folder| {
        eprintln!("making Medusa's database (once)");
        let database = Postgres::shared().database();
        let url = database.url();
        run(medusa(&url).args(["db:migrate", "--skip-scripts"]));
        run(medusa(&url).args(["user", "--email", EMAIL, "--password", PASSWORD]));
        let running = Folder::private("medusa");
        let port = free_port();
        let start = Start { port, database_url: &url, folder };
        running.spawn("server", "server.log", &mut server(&start));
        wait_for("Medusa that serves", || {
            assert!(running.process("server").is_some(), "Medusa ended as it started:\n{}", running.read("server.log"));
            serves(port, &url).then_some(())
        });
        let script = folder.join("fixture.mjs");
        std::fs::write(&script, FIXTURE).expect("the folder was just made");
        run(Command::new("node").arg(script).arg(format!("http://127.0.0.1:{port}")).args([EMAIL, PASSWORD]));
        drop(running);
        database.dump(&folder.join("database.sql"));
    });
    made.join("database.sql")
}

/// Medusa's own program, in the folder that holds it.
fn medusa(database_url: &str) -> Command {
    let programs = programs();
    let mut command = Command::new("node");
    command.arg(programs.join("node_modules/@medusajs/cli/cli.js")).current_dir(programs);
    command.env("DATABASE_URL", database_url).env("MEDUSA_DISABLE_TELEMETRY", "true").env("NODE_ENV", "production");
    command
}

fn server(start: &Start) -> Command {
    let mut command = medusa(start.database_url);
    command.args(["start", "--host", "127.0.0.1", "--port", &start.port.to_string()]);
    command
}

fn serves(port: u16, _: &str) -> bool {
    exchange(("127.0.0.1", port), "GET", "/health", &[], None).is_ok_and(|answer| answer.status == 200)
}
