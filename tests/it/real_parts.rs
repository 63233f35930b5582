//! The tests' own servers do what the tests need of them: they start, carry a message and a row, break and come back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::parts::certificates::Authority;
use super::parts::medusa::Medusa;
use super::parts::oscar::Oscar;
use super::parts::postgres::{self, Postgres};
use super::parts::proxy::{Mode, Proxy};
use super::parts::rabbitmq::{self, Rabbit, Tls};
use super::parts::tryton::Tryton;
use super::parts::vendure::Vendure;

#[test]
fn a_message_goes_through_the_shared_broker() {
    let vhost = Rabbit::shared().vhost();
    vhost.declare_queue("orders", &json!({ "x-queue-type": "quorum" }));
    assert!(vhost.publish("", "orders", "one"));
    assert!(!vhost.publish("", "nowhere", "lost"), "an unroutable message is told as such");
    vhost.wait_depth("orders", 1);
    assert_eq!(vhost.take("orders", 5)[0]["payload"], "one");
    let (name, other) = (vhost.name().to_owned(), Rabbit::shared().vhost());
    assert_eq!(other.queues(), Vec::<String>::new(), "virtual hosts are apart");
    drop(vhost);
    let gone = Rabbit::shared().api().request("GET", &format!("/api/vhosts/{name}"), None).expect("it answers");
    assert_eq!(gone.0, 404);
}

#[test]
fn a_row_goes_through_the_shared_database() {
    let database = Postgres::shared().database();
    database.query("create table t (x int)");
    database.query("insert into t values (7)");
    assert_eq!(database.query("select x from t"), [[Some("7".to_owned())]]);
    assert!(database.try_query("select nothing").is_err());
    let other = Postgres::shared().database();
    assert!(other.try_query("select x from t").is_err(), "databases are apart");
}

#[test]
fn a_private_broker_is_killed_and_keeps_what_it_confirmed() {
    let rabbit = Rabbit::private(&rabbitmq::Options::default());
    let vhost = rabbit.vhost();
    vhost.declare_queue("orders", &json!({ "x-queue-type": "quorum" }));
    assert!(vhost.publish("", "orders", "one"));
    vhost.wait_depth("orders", 1);
    rabbit.kill9();
    assert!(rabbit.api().request("GET", "/api/overview", None).is_err(), "it is gone");
    rabbit.start();
    vhost.wait_depth("orders", 1);
    rabbit.memory_alarm(true);
    let alarm = || rabbit.api().ask("GET", "/api/nodes", None)[0]["mem_alarm"] == true;
    super::parts::wait_for("the memory alarm", || alarm().then_some(()));
    rabbit.memory_alarm(false);
    super::parts::wait_for("the end of the memory alarm", || (!alarm()).then_some(()));
    rabbit.restart();
    vhost.wait_depth("orders", 1);
}

#[test]
fn a_private_database_is_killed_and_keeps_what_it_committed() {
    let postgres = Postgres::private(&postgres::Options::default());
    let database = postgres.database();
    database.query("create table t (x int)");
    postgres.kill9();
    assert!(database.try_query("select 1").is_err(), "it is gone");
    postgres.start();
    database.query("insert into t values (7)");
    postgres.restart();
    assert_eq!(database.query("select x from t"), [[Some("7".to_owned())]]);
}

#[test]
fn a_private_database_runs_out_of_disk_and_recovers() {
    if !rustix::process::getuid().is_root() {
        panic!(
            "a disk of its own can be mounted by root only: run this test as root, or leave it out with -E 'not test(out_of_disk)'"
        );
    }
    let postgres = Postgres::private(&postgres::Options { disk_mb: Some(96), ..postgres::Options::default() });
    let database = postgres.database();
    database.query("create table t (x text)");
    postgres.fill_disk();
    let insert = "insert into t select repeat('x', 1000) from generate_series(1, 20000)";
    let refused = database.try_query(insert).expect_err("a full disk takes no rows");
    assert!(refused.contains("No space left"), "{refused}");
    postgres.free_disk();
    super::parts::wait_for("the database to take rows again", || database.try_query(insert).ok());
}

#[test]
fn three_brokers_form_a_cluster_that_survives_its_leader() {
    if std::env::var_os("RACCORD_LONG").is_none() {
        println!("SKIPPED: three brokers take a minute; RACCORD_LONG=1 (tests/run --long) runs it");
        return;
    }
    let nodes = Rabbit::cluster(3, &rabbitmq::Options::default());
    let vhost = nodes[0].vhost();
    vhost.declare_queue("orders", &json!({ "x-queue-type": "quorum" }));
    assert!(vhost.publish("", "orders", "one"));
    vhost.wait_depth("orders", 1);
    let leader = vhost.leader("orders").expect("a quorum queue has a leader");
    let (down, up) = nodes.iter().partition::<Vec<_>, _>(|node| node.name() == leader);
    down[0].kill9();
    let elsewhere = vhost.on(up[0]);
    super::parts::wait_for("another leader", || elsewhere.leader("orders").filter(|now| *now != leader));
    assert!(elsewhere.publish("", "orders", "two"));
    down[0].start();
    vhost.wait_depth("orders", 2);
}

#[tokio::test]
async fn a_proxy_forwards_swallows_cuts_and_comes_back() {
    let echo = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = echo.local_addr().expect("a bound address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = echo.accept().await {
            let (mut from, mut to) = stream.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
        }
    });
    let proxy = Proxy::start(port).await;
    let mut stream = TcpStream::connect(proxy.address).await.expect("it accepts");
    assert_eq!(echoed(&mut stream).await, Some(7), "it forwards");
    proxy.set(Mode::BlackHole);
    assert_eq!(echoed(&mut stream).await, None, "it swallows");
    let mut late = TcpStream::connect(proxy.address).await.expect("it still accepts");
    assert_eq!(echoed(&mut late).await, None, "from everybody");
    proxy.set(Mode::Forward);
    assert_eq!(stream.read_u8().await.expect("the network is back"), 7);
    proxy.cut();
    let error = stream.read_u8().await.expect_err("it is cut");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    proxy.set(Mode::Refuse);
    let mut refused = TcpStream::connect(proxy.address).await.expect("the port is open");
    assert!(refused.read_u8().await.is_err(), "it hangs up");
    proxy.set(Mode::Delay(Duration::from_millis(20)));
    let mut slow = TcpStream::connect(proxy.address).await.expect("it accepts");
    assert_eq!(echoed(&mut slow).await, Some(7), "it comes back, slowly");
    assert_eq!(proxy.accepted(), 4);
}

async fn echoed(stream: &mut TcpStream) -> Option<u8> {
    stream.write_all(&[7]).await.ok()?;
    timeout(Duration::from_millis(500), stream.read_u8()).await.ok()?.ok()
}

#[test]
fn private_servers_speak_tls() {
    let authority = Arc::new(Authority::new());
    let options = rabbitmq::Options { tls: Some(Tls::of(&authority, false)), ..rabbitmq::Options::default() };
    let rabbit = Rabbit::private(&options);
    assert!(
        rabbit.log().contains(&format!("TLS (SSL) listener on 127.0.0.1:{}", rabbit.tls_port())),
        "{}",
        rabbit.log()
    );
    let postgres = Postgres::private(&postgres::Options { tls: Some(authority), ..postgres::Options::default() });
    assert_eq!(postgres.database().query("show ssl"), [[Some("on".to_owned())]]);
}

#[test]
fn an_order_goes_through_the_erp_which_is_killed_and_keeps_it() {
    if std::env::var_os("RACCORD_LONG").is_none() {
        println!("SKIPPED: Tryton takes minutes to install; RACCORD_LONG=1 (tests/run --long) runs it");
        return;
    }
    let tryton = Tryton::private();
    let product = tryton.id_of("product.product", &json!([["code", "=", "2000000000015"]]));
    let customer = &tryton.search("party.party", &json!([["code", "=", "CAMILLE"]]), &["addresses"])[0];
    let address = &customer["addresses"][0];
    let line = json!({ "type": "line", "product": product, "unit": 1, "quantity": 2, "unit_price": "12.50" });
    let sale = json!({
        "company": 1, "currency": 1, "party": customer["id"], "invoice_address": address, "shipment_address": address,
        "web_shop": tryton.id_of("web.shop", &json!([])), "web_id": "1042", "reference": "WEB-1042", "lines": [["create", [line]]],
    });
    let made = tryton.post("model/sale.sale", &sale);
    for step in ["quote", "confirm"] {
        tryton.post(&format!("model/sale.sale/{}/{step}", made["id"]), &json!({}));
    }
    tryton.kill();
    assert!(tryton.request("GET", "model/sale.sale", None).is_err(), "it is gone");
    tryton.start();
    let repeat = tryton.request("POST", "model/sale.sale", Some(&sale)).expect("it is back");
    assert_eq!(repeat.0, 400, "a shop's order is taken once: {repeat:?}");
    let fields = ["state", "total_amount", "invoices.state", "shipments.state"];
    let found = tryton.search("sale.sale", &json!([["reference", "=", "WEB-1042"]]), &fields);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["state"], "processing");
    assert_eq!(found[0]["total_amount"]["decimal"], "25.00");
    assert_eq!(found[0]["shipments"][0]["state"], "waiting");
}

#[test]
fn a_paid_order_goes_through_the_shop_and_is_read_with_its_key() {
    if std::env::var_os("RACCORD_LONG").is_none() {
        println!("SKIPPED: Vendure takes minutes to install; RACCORD_LONG=1 (tests/run --long) runs it");
        return;
    }
    let vendure = Vendure::shared();
    let code = vendure.order("2000000000015", 2, "camille@exemple.example");
    let query = "query($code: String!) { orders(options: { filter: { code: { eq: $code } } }) \
                 { items { state totalWithTax customer { emailAddress } lines { quantity productVariant { sku } } } } }";
    let told = vendure.admin(query, json!({ "code": code }));
    let order = &told["orders"]["items"][0];
    assert_eq!(order["state"], "PaymentSettled");
    assert_eq!(order["totalWithTax"], 2 * 1500 + 490);
    assert_eq!(order["customer"]["emailAddress"], "camille@exemple.example");
    assert_eq!(order["lines"], json!([{ "quantity": 2, "productVariant": { "sku": "2000000000015" } }]));
    let key = [("vendure-api-key", vendure.api_key())];
    let asked = json!({ "query": "{ orders { totalItems } }" });
    let answer = super::parts::http::exchange(("127.0.0.1", vendure.port()), "POST", "/admin-api", &key, Some(&asked));
    let body = answer.expect("it answers").body;
    assert!(body["data"]["orders"]["totalItems"].as_u64().is_some_and(|count| count > 0), "{body}");
}

#[test]
fn an_article_goes_into_the_other_shop_and_is_found_by_its_code() {
    if std::env::var_os("RACCORD_LONG").is_none() {
        println!("SKIPPED: Medusa is 700 MB and minutes to install; RACCORD_LONG=1 (tests/run --long) runs it");
        return;
    }
    let medusa = Medusa::shared();
    let code = uuid::Uuid::new_v4().simple().to_string();
    let article = json!({
        "title": "Glass jar", "handle": code, "status": "published", "options": [{ "title": "Kind", "values": ["One"] }],
        "variants": [{
            "title": "Glass jar", "sku": code, "options": { "Kind": "One" },
            "prices": [{ "currency_code": "eur", "amount": 8.4 }],
        }],
    });
    medusa.ask("POST", "/admin/products", Some(&article));
    let found = medusa.ask("GET", &format!("/admin/product-variants?sku={code}"), None);
    assert_eq!(found["count"], 1, "{found}");
    let (status, told) = medusa.request("POST", "/admin/products", Some(&article)).expect("it answers");
    assert_eq!(status, 400, "a handle is taken once: {told}");
}

#[test]
fn an_article_goes_into_the_catalogue_which_is_killed_and_keeps_it() {
    if std::env::var_os("RACCORD_LONG").is_none() {
        println!("SKIPPED: Oscar takes a minute to install; RACCORD_LONG=1 (tests/run --long) runs it");
        return;
    }
    let oscar = Oscar::private();
    let held = oscar.ask("GET", "/api/admin/products/", None);
    assert_eq!(held["count"], 11, "ten articles, three of them of one model: {held}");
    assert!(held["next"].as_str().is_some_and(|next| next.ends_with("/api/admin/products/?page=2")), "{held}");
    let partner = oscar.ask("GET", "/api/admin/partners/", None)["results"][0]["url"].clone();
    let article = json!({
        "structure": "standalone", "upc": "2000000000114", "slug": "glass-jar", "title": "Glass jar", "product_class": "goods",
        "categories": ["Home > Kitchen"], "attributes": [{ "code": "weight_g", "value": 350 }],
        "stockrecords": [{ "partner": partner, "partner_sku": "2000000000114", "price": "8.40", "num_in_stock": 12 }],
    });
    oscar.ask("POST", "/api/admin/products/", Some(&article));
    oscar.kill();
    assert!(oscar.request("GET", "/api/admin/products/", None).is_err(), "it is gone");
    oscar.start();
    let (status, told) = oscar.request("POST", "/api/admin/products/", Some(&article)).expect("it is back");
    assert_eq!((status, &told), (400, &json!({ "upc": ["Product with this UPC already exists."] })));
    let named = json!({ "upc": "2000000000114", "title": "Large glass jar" });
    let found = oscar.ask("PATCH", "/api/admin/products/", Some(&named));
    assert_eq!(found["title"], "Large glass jar");
    assert_eq!(found["stockrecords"][0]["price"], "8.40");
}
