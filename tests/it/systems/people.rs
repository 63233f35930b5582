//! Customers and what they write: shop and stores make one record of a person in the CRM, and what is written to the contact
//! centre is joined to it.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use raccord::clock::Clock;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::{Variables, asked_for, eventually, lay_out, run};
use crate::harness::{Answer, HubProcess, Peer, client, wait_for};
use crate::parts::tryton::Tryton;
use crate::parts::vendure::Vendure;

/// As `config/demo.env` has them.
const SECRET: &str = "demo-contact-secret";
const CALLER: &str = "demo-caller-token";

const UPDATE: &str = "mutation($input: UpdateCustomerInput!) { updateCustomer(input: $input) { __typename } }";

const SIGNUPS: &str = "\
store;card;signed_up_at;first_name;last_name;email;telephone;street;postcode;city;country;newsletter;sms
0101;EX-700001;03/11/2026 18:30;ODILE;PEOPLE;Odile.People@Courriel.example;01 99 00 07 02;1 rue de l'Essai;49000;Angers;;yes;no
0101;EX-700002;03/11/2026 18:40;odile;people;;01.99.00.07.01;;;;FR;;
0102;EX-700003;03/11/2026 11:05;MARIE-ANNE;DE L'ORME-PEOPLE;;01 99 00 07 03;4 place du Test;21000;Dijon;;no;
0102;EX-700004;03/11/2026 11:06;Basile;De l'Orme-People;;01 99 00 07 04;;;;;no;
0102;EX-70005;03/11/2026 11:20;Basile;???;basile.people;;;;;;;
";

/// A customer of the shop becomes one record of the CRM and stays it, whatever they change there and whatever a store knows of
/// them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_of_shop_and_store_is_one_record_of_the_crm() {
    if !asked_for() {
        return;
    }
    let (tryton, vendure) = start().await;
    let folder = lay_out("systems-people", &["shop-customer", "store-signup", "customer"]);
    let shop = folder.read("config/connections/shop.yaml");
    folder.write("config/connections/shop.yaml", format!("{shop}dial: \"+33\"\n"));
    let variables = Variables::new().tryton(&tryton).vendure(&vendure);
    let id = shop_customer(&vendure, "Odile.People@Courriel.example", "01 99 00 07 01").await;
    let mut hub = run(&folder, &variables).await;
    let found =
        party(&hub, &tryton, "odile.people@courriel.example", |party| party["addresses"][0]["city"] == "Angers").await;
    assert_eq!(found["name"], "Odile People");
    assert_eq!(found["addresses"][0]["postal_code"], "49000");
    assert!(holds(&found, "+33199000701"), "the telephone is international: {found}");

    // Changed twice quickly: the newest stays.
    for name in ["Provisoire", "People-Modèle"] {
        let (vendure, id) = (vendure.clone(), id.clone());
        spawn_blocking(move || {
            vendure.admin(UPDATE, json!({ "input": { "id": id, "lastName": name } }));
        })
        .await
        .expect("the shop takes it");
    }
    party(&hub, &tryton, "odile.people@courriel.example", |party| party["name"] == "Odile People-Modèle").await;

    // A new mail: the shop's id leads to the same record.
    let shop = vendure.clone();
    let change = json!({ "input": { "id": id, "emailAddress": "odile.new-people@courriel.example" } });
    spawn_blocking(move || shop.admin(UPDATE, change)).await.expect("the shop takes it");
    let moved = party(&hub, &tryton, "odile.new-people@courriel.example", |_| true).await;
    assert_eq!(moved["id"], found["id"]);

    // The store's file is older than that: it adds a telephone, and leaves the name.
    folder.write("in/signups/angers.csv", SIGNUPS);
    let found = party(&hub, &tryton, "odile.people@courriel.example", |party| holds(party, "+33199000702")).await;
    assert_eq!(found["name"], "Odile People-Modèle");
    let other = party(&hub, &tryton, "+33199000703", |_| true).await;
    assert_eq!((&other["name"], &other["code"]), (&json!("Marie-Anne de L'Orme-People"), &json!("EX-700003")));
    party(&hub, &tryton, "+33199000704", |_| true).await;
    let rejects = || folder.read_if("out/rejects/signups-0102.csv");
    wait_for("the rejected row", || (rejects().lines().count() == 2).then_some(())).await;
    assert!(
        rejects().contains("0102;EX-70005;03/11/2026 11:20;the card number is not EX- and six digits | the last name")
    );

    // The same file again, after a kill: nobody is made twice, and no row is rejected twice.
    hub.kill9();
    let mut hub = run(&folder, &variables).await;
    folder.write("in/signups/angers-again.csv", SIGNUPS);
    wait_for("the file", || (folder.names("in/signups/done").len() == 2).then_some(())).await;
    sleep(Duration::from_secs(5)).await;
    let all = tryton.clone();
    let parties =
        spawn_blocking(move || all.search("party.party", &json!([["name", "ilike", "%People%"]]), &["name", "code"]));
    let parties = parties.await.expect("the CRM answers");
    assert_eq!(parties.len(), 3, "Odile, Marie-Anne and Basile: {parties:?}\n{}", hub.log());
    assert_eq!(rejects().lines().count(), 2);
    nobody_is_told_of(&hub);
    assert!(hub.terminate().await.success());
}

/// Messages come twice, out of order, from people the CRM knows and from others: each counts once, at its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_joined_to_customer_and_conversation() {
    if !asked_for() {
        return;
    }
    let tryton = Arc::new(spawn_blocking(Tryton::private).await.expect("it starts"));
    let screens = Peer::start(|_| Answer::Status(204)).await;
    let folder = lay_out("systems-messages", &["contact-message", "who-is-calling"]);
    let variables = Variables::new().tryton(&tryton).set("CONTACT_URL", screens.url(""));
    let mut hub = run(&folder, &variables).await;
    let crm = tryton.clone();
    let customer = spawn_blocking(move || {
        let mechanisms = json!([["create", [
            { "type": "email", "value": "odile.people@courriel.example" },
            { "type": "phone", "value": "+33199000711" },
        ]]]);
        let party = json!({ "name": "Odile People", "code": "PEOPLE-1", "contact_mechanisms": mechanisms });
        crm.post("model/party.party", &party)["id"].clone()
    });
    let customer = customer.await.expect("the CRM takes it");

    let from = json!({ "address": "Odile.People@Courriel.example" });
    let first = message("m-1", "people-c1", "email", &from, "Where is my satchel?", "2026-11-05T09:00:00+01:00");
    let second = message("m-2", "people-c1", "email", &from, "And the pens?", "2026-11-05T09:30:00+01:00");
    let sms = json!({ "telephone": "+33 1 99 00 07 11" });
    let sms = message("m-3", "people-c2", "sms", &sms, "It came, thank you.", "2026-11-06T18:00:00Z");
    let stranger = json!({ "address": "zoe.people@courriel.example" });
    let stranger = message("m-4", "people-c3", "email", &stranger, "Do you sell ink?", "2026-11-06T18:00:00Z");
    assert_eq!(tell(&hub, &second).await, 202);
    screens.got("And the pens?").await;
    for message in [&first, &sms, &stranger] {
        assert_eq!(tell(&hub, message).await, 202);
    }
    for message in [&first, &second, &stranger] {
        assert_eq!(tell(&hub, message).await, 200, "a repeat is known");
    }
    assert_eq!(told(&hub, &first, "another secret").await, 401);

    let (party, texts) = lead_of(&hub, &tryton, "people-c1", 2).await;
    assert_eq!(party, customer);
    assert!(texts[0].contains("And the pens?") && texts[1].contains("Where is my satchel?"), "as they came: {texts:?}");
    let (party, _) = lead_of(&hub, &tryton, "people-c2", 1).await;
    assert_eq!(party, customer, "found by the telephone");
    let (party, texts) = lead_of(&hub, &tryton, "people-c3", 1).await;
    assert_eq!(party, Value::Null);
    assert!(texts[0].contains("zoe.people@courriel.example"), "{texts:?}");

    screens.got("people-c3").await;
    let seen = screens_of(&screens, "people-c1");
    assert_eq!(seen.len(), 2, "the repeats had no effect: {seen:?}");
    assert_eq!(seen[1]["customer"]["number"], "PEOPLE-1");
    assert_eq!((&seen[1]["count"], &seen[1]["last_at"]), (&json!(2), &json!("2026-11-05T08:30:00Z")));
    let texts = seen[1]["messages"].to_string();
    assert!(texts.find("satchel") < texts.find("pens"), "{texts}");
    assert_eq!(screens_of(&screens, "people-c3")[0]["customer"]["known"], false);

    let caller = who_is_calling(&hub, "0199000711", true).await;
    assert_eq!(caller["number"], "PEOPLE-1");
    assert_eq!(caller["last_contact"]["conversation"], "people-c2");
    who_is_calling(&hub, "0199000799", false).await;
    nobody_is_told_of(&hub);
    assert!(hub.terminate().await.success());
}

/// Who ordered in the shop and then writes is known, with the order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_ordered_and_then_writes_is_known_with_the_order() {
    if !asked_for() {
        return;
    }
    let (tryton, vendure) = start().await;
    let screens = Peer::start(|_| Answer::Status(204)).await;
    let folder = lay_out("systems-buyer", &["shop-buyer", "customer", "contact-message", "who-is-calling"]);
    let variables = Variables::new().tryton(&tryton).vendure(&vendure).set("CONTACT_URL", screens.url(""));
    let mut hub = run(&folder, &variables).await;
    let shop = vendure.clone();
    let order = spawn_blocking(move || shop.order("2000000000015", 2, "camille.people@courriel.example"));
    let order = order.await.expect("it is placed");
    let found = party(&hub, &tryton, "camille.people@courriel.example", |_| true).await;
    assert_eq!(found["addresses"][0]["city"], "Nantes");

    let from = json!({ "address": "camille.people@courriel.example" });
    tell(&hub, &message("m-5", "people-c5", "email", &from, "Where is it?", "2026-11-05T09:00:00+01:00")).await;
    screens.got("people-c5").await;
    let screen = screens_of(&screens, "people-c5").remove(0);
    assert_eq!(screen["customer"]["number"], found["code"]);
    assert!(screen["know"].to_string().contains(&order), "{screen}");
    nobody_is_told_of(&hub);
    assert!(hub.terminate().await.success());
}

/// The CRM is killed, the hub too, and messages go on coming: once all are back, each conversation is there and whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_is_lost_while_the_crm_is_away() {
    if !asked_for() {
        return;
    }
    let tryton = Arc::new(spawn_blocking(Tryton::private).await.expect("it starts"));
    let screens = Peer::start(|_| Answer::Status(204)).await;
    let folder = lay_out("systems-crm-away", &["contact-message", "who-is-calling"]);
    let ladder = "retry: [5s, 30s, 2m, 10m, 1h, 6h]";
    folder.replace("pipelines/contact-message/pipeline.yaml", ladder, &format!("retry: [{}30m]", "5s, ".repeat(30)));
    let variables = Variables::new().tryton(&tryton).set("CONTACT_URL", screens.url(""));
    let mut hub = run(&folder, &variables).await;
    let crm = tryton.clone();
    let customer = spawn_blocking(move || {
        let mechanisms = json!([["create", [{ "type": "email", "value": "ines.people@courriel.example" }]]]);
        let party = json!({ "name": "Inès People", "code": "PEOPLE-2", "contact_mechanisms": mechanisms });
        let made = crm.post("model/party.party", &party)["id"].clone();
        crm.kill();
        made
    });
    let customer = customer.await.expect("the CRM takes it, and ends");

    let from = json!({ "address": "ines.people@courriel.example" });
    for conversation in 0..10 {
        for (turn, text) in [(1, "It rains."), (2, "It still rains.")] {
            let (id, name) = (format!("m-{conversation}-{turn}"), format!("people-away-{conversation}"));
            let at = format!("2026-11-05T09:0{turn}:00+01:00");
            assert_eq!(tell(&hub, &message(&id, &name, "email", &from, text, &at)).await, 202);
        }
        if conversation == 4 {
            hub.kill9();
            hub = run(&folder, &variables).await;
        }
    }
    // An answer, though nobody can be asked.
    who_is_calling(&hub, "0199000721", false).await;
    assert!(screens.requests().is_empty(), "nobody becomes unknown because the CRM is away");
    let crm = tryton.clone();
    spawn_blocking(move || crm.start()).await.expect("it is back");

    for conversation in 0..10 {
        let name = format!("people-away-{conversation}");
        let (party, texts) = lead_of(&hub, &tryton, &name, 2).await;
        assert_eq!(party, customer, "{name}");
        assert!(texts[0].contains("It rains.") && texts[1].contains("It still rains."), "{texts:?}");
        wait_for(&*name, || (screens_of(&screens, &name).last()?["count"] == 2).then_some(())).await;
    }
    nobody_is_told_of(&hub);
    assert!(hub.terminate().await.success());
}

async fn start() -> (Arc<Tryton>, Arc<Vendure>) {
    let (tryton, vendure) = spawn_blocking(|| (Tryton::private(), Vendure::private())).await.expect("both start");
    (Arc::new(tryton), Arc::new(vendure))
}

/// Makes Odile in the shop, with an address; answers her id there.
async fn shop_customer(vendure: &Arc<Vendure>, email: &'static str, telephone: &'static str) -> Value {
    let vendure = vendure.clone();
    let made = spawn_blocking(move || {
        let query =
            "mutation($input: CreateCustomerInput!) { createCustomer(input: $input) { ... on Customer { id } } }";
        let input =
            json!({ "firstName": "Odile", "lastName": "People", "emailAddress": email, "phoneNumber": telephone });
        let id = vendure.admin(query, json!({ "input": input }))["createCustomer"]["id"].clone();
        let query = "mutation($id: ID!, $input: CreateAddressInput!) { createCustomerAddress(customerId: $id, input: $input) { id } }";
        let address = json!({ "fullName": "Odile People", "streetLine1": "1 rue de l'Essai", "postalCode": "49000",
            "city": "Angers", "countryCode": "FR", "defaultShippingAddress": true });
        vendure.admin(query, json!({ "id": id, "input": address }));
        id
    });
    made.await.expect("the shop takes it")
}

/// The one party of a mail or telephone, once it is as wanted.
async fn party(hub: &HubProcess, tryton: &Arc<Tryton>, contact: &'static str, wanted: fn(&Value) -> bool) -> Value {
    let tryton = tryton.clone();
    let fields = ["name", "code", "contact_mechanisms.value", "addresses.postal_code", "addresses.city"];
    eventually(contact, hub, move || {
        let found = tryton.search("party.party", &json!([["contact_mechanisms.value", "=", contact]]), &fields);
        assert!(found.len() < 2, "one person, one record: {found:?}");
        found.into_iter().find(wanted)
    })
    .await
}

/// Whether a party has a mail or telephone.
fn holds(party: &Value, contact: &str) -> bool {
    let mechanisms = party["contact_mechanisms"].as_array();
    mechanisms.is_some_and(|all| all.iter().any(|mechanism| mechanism["value"] == contact))
}

/// Party and texts of the one lead of a conversation, once it has as many: its own, then its notes, the oldest first.
async fn lead_of(hub: &HubProcess, tryton: &Arc<Tryton>, conversation: &str, count: usize) -> (Value, Vec<String>) {
    let (tryton, named) = (tryton.clone(), conversation.to_owned());
    eventually(conversation, hub, move || {
        let found =
            tryton.search("sale.opportunity", &json!([["reference", "=", named]]), &["party", "comment", "state"]);
        let mut leads = found.iter().filter(|lead| lead["state"] != "cancelled");
        let lead = leads.next()?;
        assert!(leads.next().is_none(), "one conversation, one record: {found:?}");
        let of_it = json!([["resource", "=", format!("sale.opportunity,{}", lead["id"])]]);
        let notes = tryton.search("ir.note", &of_it, &["message"]);
        let texts = std::iter::once(&lead["comment"]).chain(notes.iter().map(|note| &note["message"]));
        let texts: Vec<String> = texts.filter_map(Value::as_str).map(str::to_owned).collect();
        assert!(texts.len() <= count, "each message once: {texts:?}");
        (texts.len() == count).then(|| (lead["party"].clone(), texts))
    })
    .await
}

fn message(id: &str, conversation: &str, channel: &str, from: &Value, text: &str, at: &str) -> String {
    let message = json!({
        "event": "message.received", "id": id, "conversation": conversation, "channel": channel, "from": from,
        "subject": "A question", "text": text, "sent_at": at,
    });
    message.to_string()
}

/// Tells the hub of a message as the contact centre does; answers the status.
async fn tell(hub: &HubProcess, message: &str) -> u16 {
    told(hub, message, SECRET).await
}

async fn told(hub: &HubProcess, message: &str, secret: &str) -> u16 {
    let now = Clock::real().now().as_second().to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any secret fits");
    mac.update(format!("{now}.{message}").as_bytes());
    let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = client().post(hub.url("/contact/messages")).header("X-Contact-Time", now);
    let request = request.header("X-Contact-Signature", format!("sha256={signature}")).body(message.to_owned());
    request.send().await.expect("the hub answers").status().as_u16()
}

/// What the agent's screen is told of a caller. Where the CRM is slow there is less, and the screen asks again.
async fn who_is_calling(hub: &HubProcess, telephone: &str, known: bool) -> Value {
    let mut told = Value::Null;
    for _ in 0..30 {
        let request = client().get(hub.url(&format!("/caller?telephone={telephone}"))).bearer_auth(CALLER);
        let answer = request.send().await.expect("the hub answers").text().await.expect("it has a body");
        told = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
        if told["known"] == known && told["telephone"].is_string() {
            return told;
        }
        sleep(Duration::from_secs(1)).await;
    }
    panic!("the last answer was {told}\n{}", hub.log());
}

/// What the agent's screen of a conversation was given, oldest first.
fn screens_of(screens: &Peer, conversation: &str) -> Vec<Value> {
    let given = screens.requests().into_iter().filter_map(|request| serde_json::from_str::<Value>(&request.body).ok());
    given.filter(|screen| screen["conversation"] == conversation).collect()
}

/// No mail, name, telephone or text of anybody stands in the hub's log, and nothing went to dead letters.
#[track_caller]
fn nobody_is_told_of(hub: &HubProcess) {
    let log = hub.log();
    for word in ["courriel.example", "People", "1990007", "99 00 07", "satchel", "rains", "dead letter"] {
        assert!(!log.contains(word), "`{word}` stands in the log:\n{log}");
    }
}
