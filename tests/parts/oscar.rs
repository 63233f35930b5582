//! django-oscar 4.2 with django-oscar-api 3.3 as the PIM of a test, on PostgreSQL: an invented shop, made by `oscar/fixture.py`.
//!
//! `oscar/README.md` says what the shop holds and how its API was seen to behave.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::application::{Application, Kind, Start};
use super::http::exchange;
use super::install;
use super::kept::{kept, run};
use super::postgres::Postgres;

const REQUIREMENTS: &str = include_str!("oscar/requirements.txt");
const SETTINGS: &str = include_str!("oscar/settings.py");
const URLS: &str = include_str!("oscar/urls.py");
const FIXTURE: &str = include_str!("oscar/fixture.py");

/// The administrator of the fixture.
const USER: &str = "admin";
const PASSWORD: &str = "raccord-admin";

static OSCAR: Kind = Kind { name: "oscar", template, command: server, serves };

/// A server with its database. A private one ends when it is dropped.
pub struct Oscar {
    /// None for a server that somebody else runs.
    application: Option<Application>,
    host: String,
    port: u16,
    key: String,
}

impl Oscar {
    /// The server all tests of a run share: what a test makes there, others see.
    ///
    /// `RACCORD_TEST_OSCAR=http://host:port`, with the administrator of this file, names another to use in its place, filled
    /// by `tests/parts/oscar/fixture.py`.
    pub fn shared() -> &'static Oscar {
        static SHARED: OnceLock<(Oscar, Option<File>)> = OnceLock::new();
        let (oscar, _) = SHARED.get_or_init(|| match std::env::var("RACCORD_TEST_OSCAR") {
            Ok(url) => (Oscar::given(&url), None),
            Err(_) => {
                let (application, users) = Application::shared(&OSCAR);
                (Oscar::of(application), Some(users))
            }
        });
        oscar
    }

    /// A server of this test alone, with a fresh copy of the shop.
    pub fn private() -> Oscar {
        Oscar::of(Application::private(&OSCAR))
    }

    fn given(url: &str) -> Oscar {
        let url = reqwest::Url::parse(url).unwrap_or_else(|error| panic!("RACCORD_TEST_OSCAR: {error}"));
        assert_eq!(url.scheme(), "http", "RACCORD_TEST_OSCAR: the tests' own client speaks plain HTTP only");
        let host = url.host_str().unwrap_or("127.0.0.1").to_owned();
        let port = url.port_or_known_default().unwrap_or(80);
        Oscar { application: None, host, port, key: String::new() }.with_key()
    }

    fn of(application: Application) -> Oscar {
        let port = application.port();
        Oscar { application: Some(application), host: "127.0.0.1".into(), port, key: String::new() }.with_key()
    }

    /// Fetches the administrator's key, which is made on first need and stays.
    fn with_key(mut self) -> Oscar {
        let login = json!({ "username": USER, "password": PASSWORD });
        let answer = exchange((&self.host, self.port), "POST", "/api/token/", &[], Some(&login));
        let told = answer.as_ref().ok().and_then(|answer| answer.body["token"].as_str());
        told.unwrap_or_else(|| panic!("nobody is let in: {answer:?}")).clone_into(&mut self.key);
        self
    }

    /// `http://host:port`
    pub fn url(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// For `Authorization: Token KEY` on everything below `/api/`.
    pub fn key(&self) -> &str {
        &self.key
    }

    #[track_caller]
    fn application(&self) -> &Application {
        self.application.as_ref().expect("this server was named in RACCORD_TEST_OSCAR: the test may not touch it")
    }

    /// SIGKILL; what was committed is in the database.
    pub fn kill(&self) {
        self.application().kill();
    }

    /// Starts it again, on the same port and database, and waits until it serves.
    pub fn start(&self) {
        self.application().start();
    }

    /// SIGSTOP: connections stay open, nothing answers.
    pub fn pause(&self) {
        self.application().pause();
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.application().resume();
    }

    /// What the server wrote so far.
    pub fn log(&self) -> String {
        self.application().log()
    }

    /// Status and body of a request such as `GET /api/admin/products/?page=2`, or why there was none.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<(u16, Value)> {
        let token = format!("Token {}", self.key);
        let answer = exchange((&self.host, self.port), method, path, &[("authorization", &token)], body)?;
        Ok((answer.status, answer.body))
    }

    /// The body of an answer that went well, or the test fails.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        match self.request(method, path, body) {
            Ok((200..300, body)) => body,
            answer => panic!("{method} {path} of Oscar: {answer:?}"),
        }
    }
}

/// A Python with Oscar in it, and beside it the site's settings.
fn programs() -> PathBuf {
    kept("oscar", "programs", &[REQUIREMENTS, SETTINGS, URLS], |folder| {
        eprintln!("installing Oscar from PyPI (once)");
        run(Command::new(install::python()).args(["-m", "venv"]).arg(folder));
        for (name, text) in [("requirements.txt", REQUIREMENTS), ("settings.py", SETTINGS), ("urls.py", URLS)] {
            std::fs::write(folder.join(name), text).expect("the folder was just made");
        }
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        run(pip.arg(folder.join("requirements.txt")));
    })
}

/// The database of the fixture, as SQL: a minute of work, once.
fn template() -> PathBuf {
    let programs = programs();
    let made = kept("oscar", "template", &[REQUIREMENTS, SETTINGS, FIXTURE], |folder| {
        eprintln!("making Oscar's database (once, about a minute)");
        let database = Postgres::shared().database();
        run(program(&programs, "django-admin", &database.url(), folder).args(["migrate", "--verbosity", "0"]));
        let script = folder.join("fixture.py");
        std::fs::write(&script, FIXTURE).expect("the folder was just made");
        run(program(&programs, "python", &database.url(), folder).arg(script).args([USER, PASSWORD]));
        database.dump(&folder.join("database.sql"));
    });
    made.join("database.sql")
}

/// One of Oscar's programs, told where its settings and its database are and where it may write.
fn program(programs: &Path, name: &str, database_url: &str, folder: &Path) -> Command {
    let mut command = Command::new(programs.join("bin").join(name));
    command.env("PYTHONPATH", programs).env("DJANGO_SETTINGS_MODULE", "settings");
    command.env("DATABASE_URL", database_url).env("MEDIA_ROOT", folder.join("media")).current_dir(folder);
    command
}

fn server(start: &Start) -> Command {
    let mut command = program(&programs(), "waitress-serve", start.database_url, start.folder);
    command.arg(format!("--listen=127.0.0.1:{}", start.port)).args(["--call", "django.core.wsgi:get_wsgi_application"]);
    command
}

/// The list is there once the server has its database.
fn serves(port: u16, _database_url: &str) -> bool {
    exchange(("127.0.0.1", port), "GET", "/api/products/", &[], None).is_ok_and(|answer| answer.status == 200)
}
