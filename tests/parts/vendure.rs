//! Vendure 3.7 as the web shop, order system and product catalogue of a test, on PostgreSQL: an invented shop, made by
//! `vendure/server.js`.
//!
//! `vendure/README.md` says what the shop holds and how its API was seen to behave.

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
use super::server::free_port;

const PACKAGE: &str = include_str!("vendure/package.json");
const SERVER: &str = include_str!("vendure/server.js");

static VENDURE: Kind = Kind { name: "vendure", template, command: server, serves };

/// A server with its database. A private one ends when it is dropped.
pub struct Vendure {
    /// None for a server that somebody else runs.
    application: Option<Application>,
    host: String,
    port: u16,
    token: String,
    key: String,
}

impl Vendure {
    /// The server all tests of a run share: what a test makes there, others see.
    ///
    /// `RACCORD_TEST_VENDURE=http://user:password@host:port` names another to use in its place, with the shop of
    /// `tests/parts/vendure/server.js` in it.
    pub fn shared() -> &'static Vendure {
        static SHARED: OnceLock<(Vendure, Option<File>)> = OnceLock::new();
        let (vendure, _) = SHARED.get_or_init(|| match std::env::var("RACCORD_TEST_VENDURE") {
            Ok(url) => (Vendure::given(&url), None),
            Err(_) => {
                let (application, users) = Application::shared(&VENDURE);
                (Vendure::of(application), Some(users))
            }
        });
        vendure
    }

    /// A server of this test alone, with a fresh copy of the shop.
    pub fn private() -> Vendure {
        Vendure::of(Application::private(&VENDURE))
    }

    fn given(url: &str) -> Vendure {
        let url = reqwest::Url::parse(url).unwrap_or_else(|error| panic!("RACCORD_TEST_VENDURE: {error}"));
        assert_eq!(url.scheme(), "http", "RACCORD_TEST_VENDURE: the tests' own client speaks plain HTTP only");
        let host = url.host_str().unwrap_or("127.0.0.1").to_owned();
        let port = url.port_or_known_default().unwrap_or(3000);
        let vendure = Vendure { application: None, host, port, token: String::new(), key: String::new() };
        vendure.logged_in(url.username(), url.password().unwrap_or_default())
    }

    fn of(application: Application) -> Vendure {
        let (host, port) = ("127.0.0.1".to_owned(), application.port());
        let vendure = Vendure { application: Some(application), host, port, token: String::new(), key: String::new() };
        vendure.logged_in("superadmin", "superadmin")
    }

    /// Has a token, and a key of its own that does not end with the session.
    fn logged_in(mut self, user: &str, password: &str) -> Vendure {
        let query = "mutation($user: String!, $password: String!) \
                     { login(username: $user, password: $password) { __typename } }";
        let (_, token) = self.exchange("admin", query, json!({ "user": user, "password": password }), "");
        self.token = token.unwrap_or_else(|| panic!("Vendure does not let {user} in"));
        let roles = self.admin("{ roles { items { id code } } }", json!({}));
        let roles = roles["roles"]["items"].as_array().cloned().unwrap_or_default();
        let all = roles.iter().find(|role| role["code"] == "__super_admin_role__").expect("there is that role");
        let query = "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { apiKey } }";
        let translations = [json!({ "languageCode": "en", "name": "raccord" })];
        let made = self.admin(query, json!({ "input": { "roleIds": [all["id"]], "translations": translations } }));
        made["createApiKey"]["apiKey"].as_str().expect("a key was made").clone_into(&mut self.key);
        self
    }

    /// `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where administrators' GraphQL is spoken.
    pub fn admin_api(&self) -> String {
        format!("{}/admin-api", self.url())
    }

    /// Where the shop's visitors' GraphQL is spoken.
    pub fn shop_api(&self) -> String {
        format!("{}/shop-api", self.url())
    }

    /// For `Authorization: bearer TOKEN` on the administrators' interface; a year old at most.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// For `vendure-api-key: KEY` in its place; it does not end.
    pub fn api_key(&self) -> &str {
        &self.key
    }

    #[track_caller]
    fn application(&self) -> &Application {
        self.application.as_ref().expect("this server was named in RACCORD_TEST_VENDURE: the test may not touch it")
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

    /// The `data` of an administrator's query or mutation; the test fails where the answer has errors.
    #[track_caller]
    pub fn admin(&self, query: &str, variables: Value) -> Value {
        data(query, self.exchange("admin", query, variables, &self.token).0)
    }

    /// The same as a visitor of the shop: `session` is empty or what an earlier answer gave, and is given again.
    #[track_caller]
    pub fn shop(&self, query: &str, variables: Value, session: &mut String) -> Value {
        let (answer, token) = self.exchange("shop", query, variables, session);
        if let Some(token) = token {
            *session = token;
        }
        data(query, answer)
    }

    /// Places an order of one article and pays it; answers its code. The customer is made by that, where new.
    #[track_caller]
    pub fn order(&self, sku: &str, quantity: u32, email: &str) -> String {
        let variant =
            "query($sku: String!) { productVariants(options: { filter: { sku: { eq: $sku } } }) { items { id } } }";
        let variant = self.admin(variant, json!({ "sku": sku }))["productVariants"]["items"][0]["id"].clone();
        let session = &mut String::new();
        let mut step = |name: &str, query: &str, variables: Value| {
            let told = self.shop(query, variables, session)[name].clone();
            assert_eq!(told["__typename"], "Order", "{name}: {told}");
            told
        };
        let error = "__typename ... on ErrorResult { errorCode message }";
        step(
            "addItemToOrder",
            &format!(
                "mutation($variant: ID!, $quantity: Int!) {{ addItemToOrder(productVariantId: $variant, quantity: $quantity) {{ {error} }} }}"
            ),
            json!({ "variant": variant, "quantity": quantity }),
        );
        step(
            "setCustomerForOrder",
            &format!("mutation($input: CreateCustomerInput!) {{ setCustomerForOrder(input: $input) {{ {error} }} }}"),
            json!({ "input": { "firstName": "Camille", "lastName": "Exemple", "emailAddress": email } }),
        );
        step(
            "setOrderShippingAddress",
            &format!(
                "mutation($input: CreateAddressInput!) {{ setOrderShippingAddress(input: $input) {{ {error} }} }}"
            ),
            json!({ "input": {
                "fullName": "Camille Exemple", "streetLine1": "1 quai des Essais", "postalCode": "44000",
                "city": "Nantes", "countryCode": "FR",
            } }),
        );
        step(
            "setOrderShippingMethod",
            &format!("mutation {{ setOrderShippingMethod(shippingMethodId: [\"1\"]) {{ {error} }} }}"),
            json!({}),
        );
        step(
            "transitionOrderToState",
            &format!("mutation {{ transitionOrderToState(state: \"ArrangingPayment\") {{ {error} }} }}"),
            json!({}),
        );
        let paid = step(
            "addPaymentToOrder",
            &format!(
                "mutation {{ addPaymentToOrder(input: {{ method: \"card\", metadata: {{}} }}) {{ {error} ... on Order {{ code state }} }} }}"
            ),
            json!({}),
        );
        assert_eq!(paid["state"], "PaymentSettled");
        paid["code"].as_str().expect("an order has a code").to_owned()
    }

    /// The answer's body, and the token where one was given.
    #[track_caller]
    fn exchange(&self, api: &str, query: &str, variables: Value, token: &str) -> (Value, Option<String>) {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let headers = if token.is_empty() { &headers[..0] } else { &headers[..] };
        let body = json!({ "query": query, "variables": variables });
        match exchange((&self.host, self.port), "POST", &format!("/{api}-api"), headers, Some(&body)) {
            Ok(answer) => (answer.body.clone(), answer.header("vendure-auth-token").map(str::to_owned)),
            Err(error) => panic!("{query}: {error}"),
        }
    }
}

#[track_caller]
fn data(query: &str, answer: Value) -> Value {
    assert!(answer.get("errors").is_none() && answer["data"].is_object(), "{query}: {answer}");
    answer["data"].clone()
}

/// The folder with the packages and the server's script.
fn programs() -> PathBuf {
    kept("vendure", "programs", &[PACKAGE, SERVER], |folder| {
        eprintln!("installing Vendure from npm (once)");
        std::fs::write(folder.join("package.json"), PACKAGE).expect("the folder was just made");
        std::fs::write(folder.join("server.js"), SERVER).expect("the folder was just made");
        let mut npm = Command::new(install::npm());
        run(npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder));
    })
}

/// The shop's database, as SQL.
fn template() -> PathBuf {
    let made = kept("vendure", "template", &[PACKAGE, SERVER], |folder| {
        eprintln!("making Vendure's database (once)");
        let database = Postgres::shared().database();
        run(server(&Start { port: free_port(), database_url: &database.url(), folder }).arg("fill"));
        database.dump(&folder.join("database.sql"));
    });
    made.join("database.sql")
}

fn server(start: &Start) -> Command {
    let mut command = Command::new("node");
    command.arg(programs().join("server.js")).current_dir(start.folder);
    command.env("PORT", start.port.to_string()).env("DATABASE_URL", start.database_url);
    command.env("VENDURE_DISABLE_TELEMETRY", "true");
    command
}

fn serves(port: u16, _: &str) -> bool {
    let asked = json!({ "query": "{ __typename }" });
    let answer = exchange(("127.0.0.1", port), "POST", "/admin-api", &[], Some(&asked));
    answer.is_ok_and(|answer| answer.status == 200)
}
