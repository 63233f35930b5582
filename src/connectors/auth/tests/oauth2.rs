//! Tokens that are only in memory: how they are asked for, how long they are used, and what refusals mean.

use super::*;
use crate::message::Next;

const CLIENT: &str = "oauth2:
  grant: client_credentials
  token_url: /oauth/token
  client_id: $connection.id
  client_secret: $connection.secret
  scope: orders stock
";

fn token(number: u32) -> Reply {
    Reply::json(&format!(
        r#"{{"access_token":"s3cret-a{number}","token_type":"Bearer","expires_in":3600,"expires_at":1}}"#
    ))
}

/// Tokens one after the other: `a1`, `a2`...
async fn tokens() -> System {
    let mut number = 0;
    System::start(move |_| {
        number += 1;
        token(number)
    })
    .await
}

#[tokio::test]
async fn each_grant_asks_as_it_should() {
    let check = async |auth: &str, expect: &str| {
        let system = tokens().await;
        let party = Party::new(auth, system.url(), &testing::surroundings_at(MIDNIGHT));
        assert_eq!(party.authorization().await, "Bearer s3cret-a1");
        let [asked] = &system.requests()[..] else { panic!("asked once: {:?}", system.lines()) };
        let said = format!("{} {} [{}]", asked.line(), asked.text(), asked.header("authorization"));
        assert_eq!(said, expect);
        assert_eq!(asked.header("content-type"), "application/x-www-form-urlencoded");
        assert_eq!(asked.header("accept"), "application/json");
    };
    // base64 of `raccord:s3cret%2Fclient%2B1`
    let basic = "Basic cmFjY29yZDpzM2NyZXQlMkZjbGllbnQlMkIx";
    check(CLIENT, &format!("POST /oauth/token grant_type=client_credentials&scope=orders+stock [{basic}]")).await;
    let in_body = format!("{CLIENT}  client_auth: body\n  parameters: {{ audience: 'https://api.example' }}\n");
    let form = "grant_type=client_credentials&scope=orders+stock&audience=https%3A%2F%2Fapi.example&client_id=raccord&client_secret=s3cret%2Fclient%2B1";
    check(&in_body, &format!("POST /oauth/token {form} []")).await;
    let password = "oauth2: { grant: password, token_url: =concat($connection.url, '/t'), client_id: $connection.id, user: ada, password: $connection.password }";
    let password = password.replace("=concat($connection.url, '/t')", "\"=concat($connection.url, '/t')\"");
    check(&password, "POST /t grant_type=password&username=ada&password=s3cret+pass&client_id=raccord []").await;
}

#[tokio::test]
async fn a_token_is_used_until_shortly_before_its_end() {
    let (system, around) = (tokens().await, testing::surroundings_at(MIDNIGHT));
    let party = Party::new(CLIENT, system.url(), &around);
    for (seconds, expect) in
        [(0, "Bearer s3cret-a1"), (3539, "Bearer s3cret-a1"), (1, "Bearer s3cret-a2"), (0, "Bearer s3cret-a2")]
    {
        around.clock.advance(Duration::from_secs(seconds));
        assert_eq!(party.authorization().await, expect, "{seconds} s later");
    }
    assert_eq!(system.lines().len(), 2);
}

#[tokio::test]
async fn a_short_life_and_one_without_end_are_lived() {
    let bodies = [
        (r#"{"access_token":"s3cret-a","expires_in":"30"}"#, 14, 1),
        (r#"{"access_token":"s3cret-a","expires_in":"30"}"#, 15, 2),
        (r#"{"access_token":"s3cret-a"}"#, 1_000_000, 1),
        (r#"{"access_token":"s3cret-a","expires_in":-5}"#, 0, 2),
        (r#"{"access_token":"s3cret-a","expires_in":1e400}"#, 1000, 1),
        (r#"{"access_token":"s3cret-a","expires_in":99999999999999999}"#, 1000, 1),
    ];
    for (body, seconds, expect) in bodies {
        let (system, around) = (System::start(move |_| Reply::json(body)).await, testing::surroundings_at(MIDNIGHT));
        let party = Party::new(CLIENT, system.url(), &around);
        assert_eq!(party.authorization().await, "Bearer s3cret-a");
        around.clock.advance(Duration::from_secs(seconds));
        assert_eq!(party.authorization().await, "Bearer s3cret-a");
        assert_eq!(system.lines().len(), expect, "{body}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_near_the_end_costs_nothing_before_it() {
    let around = testing::surroundings_at(MIDNIGHT);
    let system = System::scripted([token(1), Reply::status(503), Reply::status(503), token(2)]).await;
    let party = Party::new(CLIENT, system.url(), &around);
    assert_eq!(party.authorization().await, "Bearer s3cret-a1");
    around.clock.advance(Duration::from_secs(3550));
    assert_eq!(party.authorization().await, "Bearer s3cret-a1");
    assert_eq!(party.authorization().await, "Bearer s3cret-a1");
    assert_eq!(system.lines().len(), 2, "it was not asked again at once");
    around.clock.advance(Duration::from_secs(50));
    assert_eq!(party.authorization().await, "CONNECTOR-TOKEN Retry { after: None }");
    around.clock.advance(Duration::from_secs(1));
    assert_eq!(party.authorization().await, "Bearer s3cret-a2");
}

#[tokio::test]
async fn fifty_who_wait_ask_once() {
    let (system, around) = (tokens().await, testing::surroundings_at(MIDNIGHT));
    let party = Party::new(CLIENT, system.url(), &around);
    let all = futures_util::future::join_all((0..50).map(|_| party.authorization())).await;
    assert_eq!(all, vec!["Bearer s3cret-a1"; 50]);
    assert_eq!(system.lines().len(), 1);
}

#[tokio::test]
async fn a_storm_of_429_is_answered_with_patience() {
    let around = testing::surroundings_at(MIDNIGHT);
    let slow = || Reply::status(429).header("retry-after", "30");
    let system = System::scripted([slow(), slow(), token(1)]).await;
    let party = Party::new(CLIENT, system.url(), &around);
    for round in 1..=2 {
        let all = futures_util::future::join_all((0..50).map(|_| party.authorization())).await;
        assert_eq!(all, vec!["CONNECTOR-TOKEN Retry { after: Some(30s) }"; 50]);
        around.clock.advance(Duration::from_secs(29));
        assert_eq!(party.authorization().await, "CONNECTOR-TOKEN Retry { after: Some(30s) }");
        assert_eq!(system.lines().len(), round, "nobody asked meanwhile");
        around.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(party.authorization().await, "Bearer s3cret-a1");
}

/// A refusal of an old token does not throw the new one away.
#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let (system, around) = (tokens().await, testing::surroundings_at(MIDNIGHT));
    let party = Party::new(CLIENT, system.url(), &around);
    let (_, old) = party.prove().await.expect("a token");
    assert!(party.credentials.has_ended(401) && !party.credentials.has_ended(403));
    party.credentials.forget(old);
    let (request, new) = party.prove().await.expect("a token");
    assert_eq!(header(&request, "authorization"), "Bearer s3cret-a2");
    assert_ne!(old, new);
    party.credentials.forget(old);
    assert_eq!(party.authorization().await, "Bearer s3cret-a2");
    party.credentials.forget(new);
    assert_eq!(party.authorization().await, "Bearer s3cret-a3");
    assert_eq!(system.lines().len(), 3);
}

async fn refusal(auth: &str, reply: Reply, settings: &[(&str, &str)]) -> Fault {
    let system = System::scripted([reply]).await;
    let mut all = vec![("url", system.url())];
    all.extend(settings);
    let fault = Party::with(auth, &all, &testing::surroundings_at(MIDNIGHT)).expect("it opens").fault().await;
    Fault::in_other_words(fault.clone(), fault.sentence().replace(system.url(), "SERVER"))
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    let check = async |reply: Reply, expect: &str| {
        let fault = refusal(CLIENT, reply, &[]).await;
        let next = match fault.next() {
            Next::Retry { .. } => "retry",
            Next::Reconnect => "reconnect",
            Next::Refuse => "refuse",
            Next::Misconfigured => "misconfigured",
        };
        assert_eq!(format!("{next} {}: {}", fault.code(), fault.sentence()), expect);
    };
    let error = |status: u16, error: &str| Reply::json(&format!(r#"{{"error":"{error}"}}"#)).with_status(status);
    let client = "misconfigured CONNECTOR-LOGIN: SERVER refused a token (invalid_client): the client or its secret is not known there: correct `client_id` and `client_secret`";
    check(error(401, "invalid_client"), client).await;
    check(error(400, "invalid_client"), client).await;
    check(error(200, "invalid_client"), client).await;
    check(error(400, "invalid_scope"), "misconfigured CONNECTOR-LOGIN: SERVER refused a token (invalid_scope): `scope` is not granted: correct it, or allow it in the system's administration").await;
    check(error(400, "A1 s3cret"), "misconfigured CONNECTOR-LOGIN: SERVER refused a token (an error of its own): correct the credentials of the connection").await;
    check(
        error(400, "temporarily_unavailable"),
        "retry CONNECTOR-TOKEN: SERVER gives no token now: temporarily_unavailable",
    )
    .await;
    check(
        error(500, "invalid_client"),
        "retry CONNECTOR-TOKEN: SERVER answered 500 Internal Server Error instead of a token",
    )
    .await;
    check(
        Reply::status(503).body("s3cret"),
        "retry CONNECTOR-TOKEN: SERVER answered 503 Service Unavailable instead of a token",
    )
    .await;
    check(Reply::status(404).body("s3cret"), "misconfigured CONNECTOR-LOGIN: SERVER answered 404 Not Found instead of a token, and gave no reason; correct `token_url`").await;
    check(Reply::status(302).header("location", "/s3cret"), "misconfigured CONNECTOR-LOGIN: SERVER answered 302 Found instead of a token, and gave no reason; correct `token_url`").await;
    check(Reply::json("<html>s3cret</html>"), "retry CONNECTOR-TOKEN: SERVER answered something that is not JSON instead of a token; if it stays so, correct `token_url`").await;
    check(Reply::json(&format!(r#"{{"access_token":"{}"}}"#, "x".repeat(200_000))), "retry CONNECTOR-TOKEN: SERVER answered more than a token can be instead of a token; if it stays so, correct `token_url`").await;
    for body in ["{}", "[1]", "null", r#"{"access_token":5}"#, r#"{"access_token":""}"#] {
        check(
            Reply::json(body),
            "misconfigured CONNECTOR-LOGIN: the answer of SERVER holds no `access_token`; correct `token_url`",
        )
        .await;
    }
    // Its own words help, and may repeat what it was sent.
    let told =
        r#"{"error":"invalid_client","error_description":"secret s3cret/client+1 of raccord has ended\n on Monday"}"#;
    check(Reply::json(told).with_status(401), &format!("{client}: secret *** of raccord has ended  on Monday")).await;
}

#[tokio::test]
async fn a_server_that_is_not_reached_is_not_the_messages_fault() {
    let fault = refusal(CLIENT, Reply::lost(), &[]).await;
    assert_eq!((fault.code(), fault.next()), ("CONNECTOR-TOKEN", Next::Reconnect), "{fault}");
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    let party = Party::new(CLIENT, &format!("http://{nobody}"), &testing::surroundings_at(MIDNIGHT));
    assert_eq!(party.authorization().await, "CONNECTOR-TOKEN Reconnect");
}

#[tokio::test]
async fn what_a_grant_lacks_is_told() {
    let check = |auth: &str, expect: &str| {
        let fault = Party::with(auth, &[], &testing::surroundings()).err().expect("it does not open");
        assert_eq!(fault.to_string(), format!("CONNECTOR-CREDENTIAL: this grant wants `{expect}` too (auth.oauth2)"));
    };
    check("oauth2: { grant: client_credentials, token_url: /t }", "client_id");
    check("oauth2: { grant: password, token_url: /t }", "user");
    check("oauth2: { grant: password, token_url: /t, user: a }", "password");
    check("oauth2: { grant: refresh_token, token_url: /t }", "refresh_token");
    check("oauth2: { grant: jwt_bearer, token_url: /t }", "assertion");
}

const ASSERTION: &str = "oauth2:
  grant: jwt_bearer
  token_url: /oauth/token
  assertion:
    key: $connection.key
    algorithm: HS256
    issuer: raccord
    subject: ada@harbour.example
    audience: https://login.example
    claims: { department: { code: 7 } }
";

#[tokio::test]
async fn an_assertion_holds_times_by_our_clock() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let (system, around) = (tokens().await, testing::surroundings_at(MIDNIGHT));
    let settings = [("url", system.url()), ("key", "s3cret hmac")];
    let party = Party::with(ASSERTION, &settings, &around).expect("it opens");
    assert_eq!(party.authorization().await, "Bearer s3cret-a1");
    let asked = &system.requests()[0];
    assert_eq!(field(asked, "grant_type").as_deref(), Some("urn:ietf:params:oauth:grant-type:jwt-bearer"));
    let assertion = field(asked, "assertion").expect("an assertion");
    let claims = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1).expect("claims")).expect("base64");
    let claims = crate::message::json::read(&claims).expect("JSON");
    let jti = claims.get("jti").and_then(|jti| jti.as_text()).expect("an id");
    let expect = format!(
        r#"{{"iss":"raccord","sub":"ada@harbour.example","aud":"https://login.example","department":{{"code":7}},"iat":1767225600,"exp":1767225900,"jti":"{jti}"}}"#
    );
    assert_eq!(claims.to_string(), expect);
}

#[tokio::test]
async fn a_clock_that_is_off_is_blamed() {
    let check = async |date: &str, expect: &str| {
        let reply = Reply::json(r#"{"error":"invalid_grant"}"#).with_status(400).header("date", date);
        let fault = refusal(ASSERTION, reply, &[("key", "s3cret hmac")]).await;
        let (_, note) = fault
            .sentence()
            .split_once("administration shows")
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .expect("it says what to compare");
        assert_eq!((fault.next(), note.as_str()), (Next::Misconfigured, expect), "{date}");
    };
    check("Thu, 01 Jan 2026 01:01:00 GMT", "; this machine's clock is off by 61 minutes: set it right").await;
    check("Wed, 31 Dec 2025 23:00:10 GMT", "; this machine's clock is off by 60 minutes: set it right").await;
    check("Thu, 01 Jan 2026 00:04:59 GMT", "").await;
    check("today", "").await;
}
