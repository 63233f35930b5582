//! Logins.

use super::*;
use crate::connectors::auth::session::cookies;
use crate::message::Next;

const LOGIN: &str = "session:
  login: { post: /login, json: { user: $connection.id, password: $connection.password } }
  keep: { token: $.token, cookie: $headers.set_cookie? }
  headers: { X-Token: $session.token, Cookie: $session.cookie }
  lifetime: 1h
";

fn logged_in(number: u32) -> Reply {
    let reply = Reply::json(&format!(r#"{{"token":"s3cret-{number}"}}"#));
    reply.header("set-cookie", "sid=s3cret; Path=/; HttpOnly").header("set-cookie", "lang=fr")
}

async fn logins() -> System {
    let mut number = 0;
    System::start(move |_| {
        number += 1;
        logged_in(number)
    })
    .await
}

#[tokio::test]
async fn a_login_gives_headers_until_it_ends() {
    let (system, around) = (logins().await, testing::surroundings_at(MIDNIGHT));
    let party = Party::new(LOGIN, system.url(), &around);
    let all = futures_util::future::join_all((0..50).map(|_| party.header("x-token"))).await;
    assert_eq!(all, vec!["s3cret-1"; 50]);
    assert_eq!(party.header("cookie").await, "sid=s3cret; lang=fr");
    assert_eq!(system.lines(), ["POST /login"], "once for all who wait");
    assert_eq!(system.requests()[0].json().to_string(), r#"{"user":"raccord","password":"s3cret pass"}"#);
    around.clock.advance(Duration::from_secs(3599));
    assert_eq!(party.header("x-token").await, "s3cret-1");
    around.clock.advance(Duration::from_secs(1));
    assert_eq!(party.header("x-token").await, "s3cret-2");
    // A refusal of the first says nothing of the second.
    let (_, proof) = party.prove().await.expect("a session");
    party.credentials.forget(Proof(1));
    assert_eq!(party.header("x-token").await, "s3cret-2");
    party.credentials.forget(proof);
    assert_eq!(party.header("x-token").await, "s3cret-3");
    assert!(party.credentials.has_ended(401) && !party.credentials.has_ended(403));
    let other = Party::new(&format!("{LOGIN}  expired: [403, 419]\n"), system.url(), &around);
    assert_eq!([401, 403, 419].map(|status| other.credentials.has_ended(status)), [false, true, true]);
}

#[tokio::test]
async fn an_ended_session_is_replaced_and_the_request_repeated() {
    let mut sessions = 0;
    let system = System::start(move |asked| match asked.path.as_str() {
        "/login" => {
            sessions += 1;
            logged_in(sessions)
        }
        // The first session has ended on the system's side.
        _ if asked.header("x-token") == "s3cret-1" => Reply::status(401),
        _ => Reply::json(r#"{"orders":[]}"#),
    })
    .await;
    let around = testing::surroundings();
    let party = Party::new(LOGIN, system.url(), &around);
    let line = party.connection.line(&around).expect("a line");
    let seen = Seen::of(&party.connection, "null");
    let request = party.connection.manifest.head.check.clone();
    assert!(request.is_none());
    let asked = testing::connection(&format!("{}check: {{ get: /orders }}\n", manifest(LOGIN)), &[]);
    let request = asked.manifest.head.check.clone().expect("a request");
    let reply = line.ask(&request, &seen.view(), &crate::connectors::forms::Extra::default()).await.expect("an answer");
    assert_eq!(reply.body.to_string(), r#"{"orders":[]}"#);
    assert_eq!(system.lines(), ["POST /login", "GET /orders", "POST /login", "GET /orders"]);
}

#[tokio::test]
async fn a_login_that_fails_says_whose_fault_it_is() {
    let check = async |reply: Reply, code: &str, next: Next, told: &str| {
        let system = System::scripted([reply]).await;
        let party = Party::new(LOGIN, system.url(), &testing::surroundings_at(MIDNIGHT));
        let fault = party.fault().await;
        assert_eq!((fault.code(), fault.next()), (code, next), "{fault}");
        assert!(fault.to_string().contains(told), "{fault}");
        let again = party.fault().await;
        assert_eq!((again.code(), system.lines().len()), (code, 1), "it is not asked again at once");
    };
    let refused = ("CONNECTOR-LOGIN", Next::Misconfigured);
    check(Reply::status(401).body("s3cret"), refused.0, refused.1, "the login was refused: answered 401").await;
    check(Reply::status(400).body("s3cret"), refused.0, refused.1, "correct the credentials of the connection").await;
    check(Reply::json("{}"), refused.0, refused.1, "auth.session.keep.token").await;
    check(Reply::status(503).body("s3cret"), "HTTP-503", Next::Retry { after: None }, "answered 503").await;
    check(Reply::json("<html>s3cret"), "CONNECTOR-ANSWER", Next::Retry { after: None }, "not JSON").await;
}

#[test]
fn cookies_are_sent_back_without_their_attributes() {
    let check = |set: &[&str], expect: Option<&str>| {
        let mut headers = HeaderMap::new();
        for value in set {
            headers.append("set-cookie", value.parse().expect("a header"));
        }
        assert_eq!(cookies(&headers).as_deref(), expect, "{set:?}");
    };
    check(&[], None);
    check(&["a=1; Path=/; Expires=Thu, 01 Jan 2026 00:00:00 GMT", "b=x=y; Secure"], Some("a=1; b=x=y"));
    check(&["a=1", "a=2"], Some("a=2"));
    check(&["a=1", "a=; Max-Age=0"], None);
    check(&["nonsense", "=x", " c = 3 ;"], Some("c=3"));
}
