//! Credentials against systems on loopback that answer as they are told. The keys in `keys/` were made for these tests.

mod oauth2;
mod rotation;
mod session;
mod sign;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, Url};

use super::{Credentials, Proof};
use crate::connectors::connection::Connection;
use crate::connectors::forms::Outgoing;
use crate::connectors::testing::{self, Asked, Reply, Seen, System};
use crate::message::Fault;
use crate::protocols::Surroundings;
use crate::protocols::http::{Client, ClientSettings};

/// What no log, fault or `Debug` may hold: every secret of these tests has it in it.
const SECRET: &str = "s3cret";

const MIDNIGHT: &str = "2026-01-01T00:00:00Z";

/// A connection's credentials, as one instance has them.
struct Party {
    connection: Arc<Connection>,
    credentials: Credentials,
    client: Client,
}

fn manifest(auth: &str) -> String {
    let auth: String = auth.lines().map(|line| format!("  {line}\n")).collect();
    let head = "system: Test\nroles: [erp]\nverified: { against: recorded answers }\nbase: $connection.url\n";
    let named = "first id key key_id password secret url";
    let settings: String =
        named.split(' ').map(|name| format!("  {name}: {{ type: text, optional: true }}\n")).collect();
    format!("{head}settings:\n{settings}auth:\n{auth}operations: {{}}\n")
}

impl Party {
    fn new(auth: &str, system: &str, around: &Surroundings) -> Party {
        Party::with(auth, &[("url", system)], around).unwrap_or_else(|fault| panic!("{fault}"))
    }

    fn with(auth: &str, settings: &[(&str, &str)], around: &Surroundings) -> Result<Party, Fault> {
        let fixed =
            [("id", "raccord"), ("secret", "s3cret/client+1"), ("password", "s3cret pass"), ("first", "s3cret-r1")];
        let mut all = fixed.to_vec();
        all.extend(settings);
        let connection = testing::connection(&manifest(auth), &all);
        let settings = ClientSettings {
            timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(5),
            proxy: None,
            tls: None,
            max_response: 100_000,
        };
        Ok(Party {
            credentials: Credentials::new(&connection.manifest.head, &connection.name, around)?,
            client: Client::new(&settings, &around.folder, around.clock.clone()).expect("the client is made"),
            connection,
        })
    }

    async fn prove(&self) -> Result<(Outgoing, Proof), Fault> {
        let seen = Seen::of(&self.connection, "null");
        let mut request = request("POST", "https://api.example/orders?page=2&x=%20y", "");
        let proof = self.credentials.prove(&self.client, &mut request, &seen.view()).await;
        if let Err(fault) = &proof {
            assert!(!format!("{fault} {fault:?}").contains(SECRET), "a secret shows: {fault:?}");
        }
        assert!(!format!("{:?} {:?}", self.credentials, request.headers).contains(SECRET), "a secret shows");
        Ok((request, proof?))
    }

    /// The header that the request goes out with, or the fault: `CONNECTOR-TOKEN Reconnect`.
    async fn header(&self, name: &str) -> String {
        match self.prove().await {
            Ok((request, _)) => header(&request, name),
            Err(fault) => format!("{} {:?}", fault.code(), fault.next()),
        }
    }

    async fn authorization(&self) -> String {
        self.header("authorization").await
    }

    async fn fault(&self) -> Fault {
        self.prove().await.expect_err("it cannot prove itself")
    }
}

fn request(method: &str, url: &str, body: &'static str) -> Outgoing {
    Outgoing {
        method: Method::from_bytes(method.as_bytes()).expect("a method"),
        url: Url::parse(url).expect("an address"),
        headers: HeaderMap::new(),
        body: Bytes::from_static(body.as_bytes()),
    }
}

fn header(request: &Outgoing, name: &str) -> String {
    let value = request.headers.get(name).map(|value| value.as_bytes()).unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}

/// A field of a form that was sent.
fn field(asked: &Asked, name: &str) -> Option<String> {
    let url = Url::parse(&format!("form:?{}", asked.text())).expect("a form");
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

#[tokio::test]
async fn what_stays_the_same_is_put_on_each_request() {
    let around = testing::surroundings();
    let check = async |auth: &str, settings: &[(&str, &str)], expect: &str| {
        let said = match Party::with(auth, settings, &around) {
            Err(fault) => fault.to_string(),
            Ok(party) => match party.prove().await {
                Err(fault) => fault.to_string(),
                Ok((request, proof)) => {
                    assert_eq!(proof, Proof::default());
                    assert!(!party.credentials.has_ended(401), "a new one would be the same");
                    party.credentials.forget(proof);
                    assert!(request.headers.values().all(|value| value.is_sensitive()));
                    let headers = request.headers.iter();
                    let shown = headers.map(|(name, value)| format!("{name}: {}", value.to_str().expect("a text")));
                    format!("{} {}", request.url.query().expect("a query"), shown.collect::<Vec<_>>().join(", "))
                }
            },
        };
        assert_eq!(said, expect, "{auth}");
    };
    let key = [("key", "s3cret&key")];
    check("bearer: $connection.key", &key, "page=2&x=%20y authorization: Bearer s3cret&key").await;
    let basic = "basic: { user: $connection.id, password: $connection.password }";
    check(basic, &[], "page=2&x=%20y authorization: Basic cmFjY29yZDpzM2NyZXQgcGFzcw==").await;
    check("api_key: { header: X-Api-Key, value: $connection.key }", &key, "page=2&x=%20y x-api-key: s3cret&key").await;
    check("api_key: { query: key, value: $connection.key }", &key, "page=2&x=%20y&key=s3cret%26key ").await;
    let credential = |said: &str| format!("CONNECTOR-CREDENTIAL: {said}");
    let one_place = credential("a key stands in one place: give `header` or `query` (auth.api_key)");
    check("api_key: { value: $connection.key }", &key, &one_place).await;
    check("api_key: { header: A, query: b, value: $connection.key }", &key, &one_place).await;
    let no_header = credential("this is not the name of a header (auth.api_key.header)");
    check("api_key: { header: 'A B', value: $connection.key }", &key, &no_header).await;
    let nothing = credential("nothing is given for it; complete the connection's settings (auth.bearer)");
    check("bearer: $connection.key?", &[], &nothing).await;
    check("bearer: $connection.key?", &[("key", "")], &nothing).await;
    check(basic, &[("id", "a:b")], &credential("a user name holds no colon (auth.basic.user)")).await;
    let broken = "HTTP-AUTH: the credential holds characters that cannot stand in a header";
    check("bearer: $connection.key", &[("key", "s3cret\n")], broken).await;
}

/// A setting that is missing is the connection's fault: no message is refused for it, and no value is told.
#[tokio::test]
async fn what_is_wrong_with_a_credential_is_not_the_messages_fault() {
    let around = testing::surroundings();
    for (auth, told) in
        [("bearer: $connection.key", "$connection.key"), ("bearer: =number($connection.secret)", "formula fails")]
    {
        let fault = Party::with(auth, &[], &around).expect("it opens").fault().await;
        assert_eq!((fault.code(), fault.next()), ("CONNECTOR-CREDENTIAL", crate::message::Next::Misconfigured));
        assert!(fault.sentence().contains(told), "{fault}");
    }
}
