//! Tryton 8.2 as the ERP, till and CRM of a test, on PostgreSQL: an invented retailer, made by `tryton/fixture.py`.
//!
//! `tryton/README.md` says what the fixture holds and how the API was seen to behave.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};

use super::application::{Application, Kind, Start, name_of};
use super::http::exchange;
use super::install;
use super::kept::{kept, run};
use super::postgres::Postgres;

const REQUIREMENTS: &str = include_str!("tryton/requirements.txt");
const FIXTURE: &str = include_str!("tryton/fixture.py");

/// What is switched on in the database, with all that these depend on.
const MODULES: &[&str] = &[
    "account_invoice_stock",
    "edocument_uncefact",
    "purchase",
    "sale",
    "sale_opportunity",
    "sale_point",
    "sale_price_list",
    "web_shop",
];

/// The administrator of the fixture.
const USER: &str = "admin";
const PASSWORD: &str = "raccord-admin";

static TRYTON: Kind = Kind { name: "tryton", template, command, serves };

/// A server and one of its databases. A private one ends when it is dropped.
pub struct Tryton {
    /// None for a server that somebody else runs.
    application: Option<Application>,
    host: String,
    port: u16,
    database: String,
    user: String,
    password: String,
    key: String,
}

impl Tryton {
    /// The server all tests of a run share: what a test makes there, others see.
    ///
    /// `RACCORD_TEST_TRYTON=http://user:password@host:port/database` names another to use in its place; its database
    /// was filled by `tests/parts/tryton/fixture.py`.
    pub fn shared() -> &'static Tryton {
        static SHARED: OnceLock<(Tryton, Option<File>)> = OnceLock::new();
        let (tryton, _) = SHARED.get_or_init(|| match std::env::var("RACCORD_TEST_TRYTON") {
            Ok(url) => (Tryton::given(&url), None),
            Err(_) => {
                let (application, users) = Application::shared(&TRYTON);
                (Tryton::of(application), Some(users))
            }
        });
        tryton
    }

    /// A server of this test alone, with a fresh copy of the database.
    pub fn private() -> Tryton {
        Tryton::of(Application::private(&TRYTON))
    }

    fn given(url: &str) -> Tryton {
        let url = reqwest::Url::parse(url).unwrap_or_else(|error| panic!("RACCORD_TEST_TRYTON: {error}"));
        assert_eq!(url.scheme(), "http", "RACCORD_TEST_TRYTON: the tests' own client speaks plain HTTP only");
        let host = url.host_str().unwrap_or("127.0.0.1").to_owned();
        let (user, password) = (url.username().to_owned(), url.password().unwrap_or_default().to_owned());
        let database = url.path().trim_matches('/').to_owned();
        let port = url.port_or_known_default().unwrap_or(8000);
        Tryton { application: None, host, port, database, user, password, key: String::new() }.with_key()
    }

    fn of(application: Application) -> Tryton {
        let (port, database) = (application.port(), name_of(application.database_url()).to_owned());
        let (user, password) = (USER.to_owned(), PASSWORD.to_owned());
        let tryton = Tryton {
            application: Some(application),
            host: "127.0.0.1".into(),
            port,
            database,
            user,
            password,
            key: String::new(),
        };
        tryton.with_key()
    }

    /// Has a key of its own made for the REST interface.
    fn with_key(mut self) -> Tryton {
        let user = self.session().1;
        let made =
            self.rpc("model.res.user.application.create", json!([[{ "application": "rest", "user": user }], {}]));
        let told = self.rpc("model.res.user.application.read", json!([made, ["key", "state"], {}]));
        if told[0]["state"] != "validated" {
            self.rpc("model.res.user.application.validate", json!([made, {}]));
        }
        told[0]["key"].as_str().expect("an application has a key").clone_into(&mut self.key);
        self
    }

    /// `http://host:port`, without the database.
    pub fn url(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The database's name, the first part of every path.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// For `Authorization: bearer KEY` on everything below `/DATABASE/rest/`.
    pub fn api_key(&self) -> &str {
        &self.key
    }

    #[track_caller]
    fn application(&self) -> &Application {
        self.application.as_ref().expect("this server was named in RACCORD_TEST_TRYTON: the test may not touch it")
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

    /// Status and body of a request below `/DATABASE/rest/`, such as `GET model/party.party?s=10`, or why there was none.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<(u16, Value)> {
        let path = format!("/{}/rest/{path}", self.database);
        let bearer = format!("bearer {}", self.key);
        let answer = exchange((&self.host, self.port), method, &path, &[("authorization", &bearer)], body)?;
        Ok((answer.status, answer.body))
    }

    /// The body of an answer that went well, or the test fails.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.ask("GET", path, None)
    }

    /// The same for a request with a body, such as `POST model/party.party` or `POST model/sale.sale/1/quote`.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", path, Some(body))
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        match self.request(method, path, body) {
            Ok((200..300, body)) => body,
            answer => panic!("{method} {path} of Tryton: {answer:?}"),
        }
    }

    /// The records of a model that match a domain such as `[["code", "=", "CAMILLE"]]`, oldest first, with these fields
    /// (dotted ones go through relations) and their `id`.
    #[track_caller]
    pub fn search(&self, model: &str, domain: &Value, fields: &[&str]) -> Vec<Value> {
        let encode = |value: &Value| URL_SAFE.encode(value.to_string());
        let fields: String = fields.iter().map(|field| format!("&f={field}")).collect();
        let (domain, order) = (encode(domain), encode(&json!([["id", "ASC"]])));
        let found = self.get(&format!("model/{model}?d={domain}&o={order}{fields}"));
        found.as_array().cloned().unwrap_or_default()
    }

    /// The id of the one record that matches; the test fails where there is none or another.
    #[track_caller]
    pub fn id_of(&self, model: &str, domain: &Value) -> i64 {
        let found = self.search(model, domain, &["rec_name"]);
        assert_eq!(found.len(), 1, "{model} {domain}: {found:?}");
        found[0]["id"].as_i64().expect("records have ids")
    }

    /// The result of a JSON-RPC call as the administrator, such as `model.sale.sale.read`; the last parameter is the context.
    #[track_caller]
    pub fn rpc(&self, method: &str, params: Value) -> Value {
        let key = format!("Session {}", STANDARD.encode(self.session().0));
        let answer = self.rpc_raw(method, params, &[("authorization", &key)]);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// A fresh session, as its key wants it, and the user's id.
    fn session(&self) -> (String, i64) {
        let answer = self.rpc_raw("common.db.login", json!([self.user, { "password": self.password }, "en"]), &[]);
        let (id, session) = (answer["result"][0].as_i64(), answer["result"][1].as_str());
        let (Some(id), Some(session)) = (id, session) else { panic!("nobody is let in: {answer}") };
        (format!("{}:{id}:{session}", self.user), id)
    }

    #[track_caller]
    fn rpc_raw(&self, method: &str, params: Value, headers: &[(&str, &str)]) -> Value {
        let path = format!("/{}/rpc/", self.database);
        let body = json!({ "id": 1, "method": method, "params": params });
        match exchange((&self.host, self.port), "POST", &path, headers, Some(&body)) {
            Ok(answer) if answer.status == 200 => answer.body,
            answer => panic!("{method}: {answer:?}"),
        }
    }
}

/// A Python with Tryton in it.
fn programs() -> PathBuf {
    let made = kept("tryton", "programs", &[REQUIREMENTS], |folder| {
        eprintln!("installing Tryton from PyPI (once)");
        let python = install::python();
        run(Command::new(python).args(["-m", "venv"]).arg(folder));
        let file = folder.join("requirements.txt");
        std::fs::write(&file, REQUIREMENTS).expect("the folder was just made");
        let mut pip = Command::new(folder.join("bin/pip"));
        run(pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(file));
    });
    made.join("bin")
}

/// The database of the fixture, as SQL: a minute of work, once.
fn template() -> PathBuf {
    let programs = programs();
    let recipe = [REQUIREMENTS, FIXTURE, &MODULES.join(" ")];
    let made = kept("tryton", "template", &recipe, |folder| {
        eprintln!("making Tryton's database (once, about a minute)");
        let database = Postgres::shared().database();
        let config = configuration(&Start { port: 0, database_url: &database.url(), folder });
        let password = folder.join("password");
        std::fs::write(&password, PASSWORD).expect("the folder was just made");
        let admin = || {
            let mut command = Command::new(programs.join("trytond-admin"));
            command.arg("-c").arg(&config).args(["-d", database.name()]).env("TRYTONPASSFILE", &password);
            command
        };
        run(admin().args(["--all", "--email", "admin@harbour-and-pine.example"]));
        run(admin().arg("-u").args(MODULES).arg("--activate-dependencies"));
        let script = folder.join("fixture.py");
        std::fs::write(&script, FIXTURE).expect("the folder was just made");
        run(Command::new(programs.join("python")).arg(script).arg(uri_of(&database.url())));
        database.dump(&folder.join("database.sql"));
    });
    made.join("database.sql")
}

/// As Tryton spells it.
fn uri_of(database_url: &str) -> String {
    database_url.replacen("postgres://", "postgresql://", 1)
}

/// Writes the server's settings into the folder.
fn configuration(start: &Start) -> PathBuf {
    let uri = uri_of(start.database_url);
    let server = uri.strip_suffix(name_of(&uri)).unwrap_or_default();
    let (files, port) = (start.folder.join("files").display().to_string(), start.port);
    let text = format!(
        "[database]\nuri = {server}\npath = {files}\n[web]\nlisten = 127.0.0.1:{port}\n[session]\nauthentications = password\n"
    );
    let file = start.folder.join("trytond.conf");
    std::fs::write(&file, text).expect("the folder was just made");
    file
}

fn command(start: &Start) -> Command {
    let mut command = Command::new(programs().join("trytond"));
    command.arg("-c").arg(configuration(start)).args(["-d", name_of(start.database_url)]).current_dir(start.folder);
    command
}

/// Nobody is let in without a key once the server knows the database.
fn serves(port: u16, database_url: &str) -> bool {
    let path = format!("/{}/rest/model/party.party", name_of(database_url));
    exchange(("127.0.0.1", port), "GET", &path, &[], None).is_ok_and(|answer| answer.status == 401)
}
