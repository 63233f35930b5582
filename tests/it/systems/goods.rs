//! Articles, stock and prices on their way from PIM and ERP to shop and tills.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::{Variables, asked_for, eventually, lay_out, run};
use crate::harness::{Folder, post};
use crate::parts::medusa::Medusa;
use crate::parts::tryton::Tryton;
use crate::parts::vendure::Vendure;

/// Says what the cross-reference has of an article.
const ASK_FOR_IDS: &str = r"
about: What the systems call an article.
from: { protocol: http, path: /ids, reply: { within: 5s, otherwise: {} } }
steps:
  - lookup: { table: article-ids, where: { system: pim, sku: $.sku }, into: pim, missing: leave_out }
  - lookup: { table: article-ids, where: { system: shop, sku: $.sku }, into: shop, missing: leave_out }
  - lookup: { table: article-ids, where: { system: erp, sku: $.sku }, into: erp, missing: leave_out }
reply: { pim: $.pim.id?, shop: $.shop.id?, erp: $.erp.id? }
";

/// Till tickets as the ERP takes them.
const TICKETS: &str = r"
about: Each ticket of the tills is a sale of the ERP.
from: { protocol: http, path: /tickets }
track: { ticket: $.number }
order_by: $.till
dedupe: { by: [$.till, $.number] }
to: { erp: { connection: erp, operation: sale.post, retry: [1s, 5s, 30s] } }
";

/// An article is released, renamed and withdrawn in the PIM; shop and ERP follow, and each one's id is known to the hub.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn articles_of_the_pim_are_made_changed_and_switched_off() {
    if !asked_for() {
        return;
    }
    let made =
        spawn_blocking(|| (Arc::new(Tryton::private()), Arc::new(Vendure::private()), Arc::new(Medusa::private())));
    let (erp, shop, pim) = made.await.expect("all three start");
    let variables = Variables::new().tryton(&erp).vendure(&shop).medusa(&pim);
    let folder = lay_out("systems-articles", &["article-changes"]);
    folder.write("pipelines/ids/pipeline.yaml", ASK_FOR_IDS);
    let mut hub = run(&folder, &variables).await;

    let product = blocking(&pim, |pim| make_in_the_pim(pim, "GOODS-JAR", "9520001900013", "Glass jar", "draft")).await;
    blocking(&pim, |pim| make_in_the_pim(pim, "GOODS-LID", "9520001900020", "Tin lid", "published")).await;
    let lid = {
        let shop = shop.clone();
        eventually("the lid in the shop", &hub, move || in_the_shop(&shop, "GOODS-LID")).await
    };
    assert_eq!((&lid["name"], &lid["product"]["enabled"]), (&json!("Tin lid"), &json!(true)));
    assert_eq!(lid["priceWithTax"], 840);
    // The jar was made before the lid, and came with it: it was seen to be a draft.
    let (none_there, none_here) =
        (blocking(&shop, |shop| in_the_shop(shop, "GOODS-JAR")), blocking(&erp, |erp| in_the_erp(erp, "GOODS-JAR")));
    assert_eq!((none_there.await, none_here.await), (None, None), "a draft stays in the PIM\n{}", hub.log());

    let changed = json!({ "status": "published" });
    let path = format!("/admin/products/{product}");
    set_in_the_pim(&pim, &path, &changed).await;
    let jar = {
        let shop = shop.clone();
        eventually("the jar in the shop", &hub, move || in_the_shop(&shop, "GOODS-JAR")).await
    };
    let jar_here = {
        let erp = erp.clone();
        eventually("the jar in the ERP", &hub, move || in_the_erp(&erp, "GOODS-JAR")).await
    };
    assert_eq!(jar_here["template"]["name"], "Glass jar");
    assert_eq!(jar_here["identifiers"][0]["code"], "9520001900013");
    let known = format!("http://{}/ids", hub.address);
    let ids = loop {
        let (status, said) = post(&known, json!({ "sku": "GOODS-JAR" }).to_string()).await;
        assert_eq!(status, 200, "{said}");
        let ids: Value = serde_json::from_str(&said).expect("JSON");
        if ids.get("shop").is_some() && ids.get("erp").is_some() {
            break ids;
        }
        sleep(Duration::from_millis(200)).await;
    };
    let variant = blocking(&pim, |pim| pim.ask("GET", "/admin/product-variants?sku=GOODS-JAR&fields=id", None)).await;
    let expect = json!({ "pim": variant["variants"][0]["id"], "shop": jar["id"], "erp": jar_here["id"].to_string() });
    assert_eq!(ids, expect);

    set_in_the_pim(&pim, &path, &json!({ "title": "Glass jar with lid" })).await;
    let (there, here) = (shop.clone(), erp.clone());
    eventually("the jar's new name", &hub, move || {
        let renamed =
            in_the_shop(&there, "GOODS-JAR").is_some_and(|jar| jar["product"]["name"] == "Glass jar with lid");
        let here = in_the_erp(&here, "GOODS-JAR").is_some_and(|jar| jar["template"]["name"] == "Glass jar with lid");
        (renamed && here).then_some(())
    })
    .await;

    assert!(hub.terminate().await.success());
    set_in_the_pim(&pim, &path, &json!({ "status": "draft" })).await;
    let mut hub = run(&folder, &variables).await;
    let there = shop.clone();
    eventually("the jar is switched off", &hub, move || {
        in_the_shop(&there, "GOODS-JAR").filter(|jar| jar["product"]["enabled"] == false)
    })
    .await;
    let here = blocking(&erp, |erp| in_the_erp(erp, "GOODS-JAR")).await.expect("the ERP keeps it");
    assert_eq!(here["active"], true);
    assert_eq!(dead(&folder, &variables), json!([]), "{}", hub.log());
    assert!(hub.terminate().await.success());
}

/// What is counted and sold in the ERP is what the shop may sell, less the safety stock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_of_the_erp_becomes_what_the_shop_may_sell() {
    if !asked_for() {
        return;
    }
    let made = spawn_blocking(|| (Arc::new(Tryton::private()), Arc::new(Vendure::private())));
    let (erp, shop) = made.await.expect("both start");
    let variables = Variables::new().tryton(&erp).vendure(&shop);
    let folder = lay_out("systems-stock", &["web-stock"]);
    folder.write("pipelines/tickets/pipeline.yaml", TICKETS);
    add_row(&folder, "articles", "9520001900037,GOODS-TEA,Glass tea,the,5.5,warehouse");
    let (jar, tea, counter) = blocking(&erp, |erp| {
        let made = [("GOODS-JAR", "9520001900013"), ("GOODS-TEA", "9520001900037"), ("GOODS-COUNTER", "9520001900044")];
        let [jar, tea, counter] = made.map(|(sku, gtin)| make_in_the_erp(erp, sku, gtin));
        (jar, tea, counter)
    })
    .await;
    blocking(&shop, |shop| ["GOODS-JAR", "GOODS-TEA"].map(|sku| make_in_the_shop(shop, sku, 840))).await;
    let mut hub = run(&folder, &variables).await;

    blocking(&erp, move |erp| count(erp, &[(jar, 42), (tea, 42), (counter, 42)])).await;
    level(&shop, &hub, "GOODS-JAR", 40).await;
    level(&shop, &hub, "GOODS-TEA", 36).await;
    assert!(hub.log().contains("stock of GOODS-COUNTER is not told: the shop has no such article"), "{}", hub.log());

    let sold = json!({
        "number": "GOODS-1", "type": "sale", "store": "0101", "till": "Shop 1, till 1", "business_day": "2026-01-05",
        "sold_at": "2026-01-05T10:00:00+01:00", "currency": "EUR", "tax_included": true,
        "lines": [{ "sku": "GOODS-JAR", "quantity": 3, "unit_price": 8.4, "tax_rate": 20 }],
        "payments": [{ "method": "cash", "amount": 25.2 }], "totals": { "gross": 25.2 },
    });
    let (status, said) = post(&format!("http://{}/tickets", hub.address), sold.to_string()).await;
    assert_eq!(status, 202, "{said}");
    level(&shop, &hub, "GOODS-JAR", 37).await;

    // What the shop has sold and the ERP has not heard of is still held for its customers.
    blocking(&shop, |shop| shop.order("GOODS-JAR", 2, "camille.goods@exemple.example")).await;
    level(&shop, &hub, "GOODS-JAR", 35).await;
    blocking(&erp, move |erp| count(erp, &[(jar, 30)])).await;
    level(&shop, &hub, "GOODS-JAR", 28).await;
    blocking(&erp, move |erp| count(erp, &[(jar, 1)])).await;
    level(&shop, &hub, "GOODS-JAR", 0).await;
    assert_eq!(dead(&folder, &variables), json!([]), "{}", hub.log());
    assert!(hub.terminate().await.success());
}

/// Prices of the PIM are in the shop and in the tills' files; a promotion is written ahead, moved, and ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prices_of_the_pim_reach_shop_and_tills() {
    if !asked_for() {
        return;
    }
    let made = spawn_blocking(|| (Arc::new(Vendure::private()), Arc::new(Medusa::private())));
    let (shop, pim) = made.await.expect("both start");
    let variables = Variables::new().vendure(&shop).medusa(&pim);
    let folder = lay_out("systems-prices", &["article-changes", "price-changes", "till-prices"]);
    folder.replace("pipelines/till-prices/pipeline.yaml", "within: 1m", "within: 3s");
    let product =
        blocking(&pim, |pim| make_in_the_pim(pim, "GOODS-JAR", "9520001900013", "Glass jar", "published")).await;
    let variant = blocking(&pim, |pim| pim.ask("GET", "/admin/product-variants?sku=GOODS-JAR&fields=id", None)).await;
    let variant = variant["variants"][0]["id"].as_str().expect("an id").to_owned();
    // The ERP is away, which delays nobody else.
    let mut hub = run(&folder, &variables).await;
    price(&shop, &hub, 840).await;
    let told = till_told(&folder, &hub, r#"<amount currency="EUR">8.40</amount>"#).await;
    assert!(told.iter().any(|price| price.starts_with("west")) && told.iter().any(|price| price.starts_with("east")));

    let path = format!("/admin/products/{product}/variants/{variant}");
    set_in_the_pim(&pim, &path, &json!({ "prices": [{ "currency_code": "eur", "amount": 9.9 }] })).await;
    price(&shop, &hub, 990).await;
    till_told(&folder, &hub, r#"<amount currency="EUR">9.90</amount>"#).await;

    let list = json!({
        "title": "Winter", "description": "Winter", "type": "sale", "status": "active",
        "starts_at": "2099-12-01T00:00:00+01:00", "ends_at": "2099-12-31T23:59:59+01:00",
        "prices": [{ "currency_code": "eur", "amount": 6.5, "variant_id": variant }],
    });
    let made = set_in_the_pim(&pim, "/admin/price-lists", &list).await;
    let list = format!("/admin/price-lists/{}", made["price_list"]["id"].as_str().expect("an id"));
    let told = till_told(&folder, &hub, r#"<amount currency="EUR">6.50</amount>"#).await;
    for price in &told {
        assert!(price.contains(r#"action="set" type="promotion""#), "{price}");
        assert!(
            price.contains("<from>2099-12-01T00:00:00+01:00</from><through>2099-12-31T23:59:59+01:00</through>"),
            "{price}"
        );
        assert!(!price.contains("<replaces>"), "{price}");
    }

    set_in_the_pim(&pim, &list, &json!({ "starts_at": "2099-12-08T00:00:00+01:00" })).await;
    let told = till_told(&folder, &hub, "<replaces>2099-12-01T00:00:00+01:00</replaces>").await;
    assert!(told.iter().all(|price| price.contains("<from>2099-12-08T00:00:00+01:00</from>")), "{told:?}");

    set_in_the_pim(&pim, &list, &json!({ "status": "draft" })).await;
    let told = till_told(&folder, &hub, r#"action="end""#).await;
    assert!(told.iter().all(|price| price.contains("<replaces>2099-12-08T00:00:00+01:00</replaces>")), "{told:?}");
    price(&shop, &hub, 990).await;
    assert_eq!(dead(&folder, &variables), json!([]), "{}", hub.log());
    assert!(hub.terminate().await.success());
}

/// Runs what blocks beside the runtime.
async fn blocking<S: Send + Sync + 'static, T: Send + 'static>(
    system: &Arc<S>,
    work: impl FnOnce(&S) -> T + Send + 'static,
) -> T {
    let system = system.clone();
    spawn_blocking(move || work(&system)).await.expect("the system answers")
}

/// An article of the PIM, at 8.40 with tax; answers its product's id.
fn make_in_the_pim(pim: &Medusa, sku: &str, gtin: &str, name: &str, status: &str) -> String {
    let variant = json!({
        "title": name, "sku": sku, "ean": gtin, "options": { "Kind": "One" },
        "prices": [{ "currency_code": "eur", "amount": 8.4 }],
    });
    let options = json!([{ "title": "Kind", "values": ["One"] }]);
    let product = json!({
        "title": name, "handle": sku.to_lowercase(), "status": status, "options": options, "variants": [variant],
    });
    let made = pim.ask("POST", "/admin/products", Some(&product));
    made["product"]["id"].as_str().expect("an id").to_owned()
}

async fn set_in_the_pim(pim: &Arc<Medusa>, path: &str, change: &Value) -> Value {
    let (path, change) = (path.to_owned(), change.clone());
    blocking(pim, move |pim| pim.ask("POST", &path, Some(&change))).await
}

/// The one article of the shop with this code; the test fails where there are several.
fn in_the_shop(shop: &Vendure, sku: &str) -> Option<Value> {
    let query = "query($sku: String!) { productVariants(options: { filter: { sku: { eq: $sku } } }) { items {
        id name priceWithTax stockLevels { stockOnHand stockAllocated } product { id name enabled } } } }";
    let found = shop.admin(query, json!({ "sku": sku }));
    let found = found["productVariants"]["items"].as_array().cloned().unwrap_or_default();
    assert!(found.len() < 2, "{sku} is in the shop once: {found:?}");
    found.into_iter().next()
}

fn make_in_the_shop(shop: &Vendure, sku: &str, cents: u32) {
    let text = json!([{ "languageCode": "en", "name": sku, "slug": sku.to_lowercase(), "description": "" }]);
    let query = "mutation($input: CreateProductInput!) { createProduct(input: $input) { id } }";
    let made = shop.admin(query, json!({ "input": { "enabled": true, "translations": text } }));
    let variant = json!([{
        "productId": made["createProduct"]["id"], "sku": sku, "price": cents, "taxCategoryId": "1", "trackInventory": "TRUE",
        "translations": [{ "languageCode": "en", "name": sku }],
    }]);
    let query = "mutation($input: [CreateProductVariantInput!]!) { createProductVariants(input: $input) { id } }";
    shop.admin(query, json!({ "input": variant }));
}

/// Waits until the shop may sell so many.
async fn level(shop: &Arc<Vendure>, hub: &crate::harness::HubProcess, sku: &'static str, pieces: i64) {
    let shop = shop.clone();
    eventually(&format!("{pieces} of {sku} in the shop"), hub, move || {
        let found = in_the_shop(&shop, sku)?;
        let level = &found["stockLevels"][0];
        (level["stockOnHand"].as_i64()? - level["stockAllocated"].as_i64()? == pieces).then_some(())
    })
    .await;
}

/// Waits until the jar costs so many cents in the shop, with tax.
async fn price(shop: &Arc<Vendure>, hub: &crate::harness::HubProcess, cents: i64) {
    let shop = shop.clone();
    eventually(&format!("a price of {cents} cents in the shop"), hub, move || {
        in_the_shop(&shop, "GOODS-JAR").filter(|jar| jar["priceWithTax"] == cents)
    })
    .await;
}

/// The one article of the ERP with this code; the test fails where there are several.
fn in_the_erp(erp: &Tryton, sku: &str) -> Option<Value> {
    let fields = ["active", "template.name", "identifiers.code"];
    let found = erp.search("product.product", &json!([["code", "=", sku]]), &fields);
    assert!(found.len() < 2, "{sku} is in the ERP once: {found:?}");
    found.into_iter().next()
}

/// An article of the ERP; answers its id.
fn make_in_the_erp(erp: &Tryton, sku: &str, gtin: &str) -> i64 {
    let unit = erp.id_of("product.uom", &json!([["unece_code", "=", "C62"]]));
    let category = erp.id_of("product.category", &json!([["name", "=", "Goods"], ["accounting", "=", true]]));
    let article = json!({ "suffix_code": sku, "identifiers": [["create", [{ "type": "ean", "code": gtin }]]] });
    let price = json!({ "__class__": "Decimal", "decimal": "7.00" });
    let template = json!({
        "name": sku, "type": "goods", "salable": true, "list_price": price, "default_uom": unit, "sale_uom": unit,
        "account_category": category, "products": [["create", [article]]],
    });
    erp.rpc("model.product.template.create", json!([[template], { "company": 1 }]));
    erp.id_of("product.product", &json!([["code", "=", sku]]))
}

/// Counts what lies in the ERP's storage.
fn count(erp: &Tryton, counted: &[(i64, u32)]) {
    let storage = erp.id_of("stock.location", &json!([["code", "=", "STO"]]));
    let lines: Vec<Value> = counted.iter().map(|(id, pieces)| json!({ "product": id, "quantity": pieces })).collect();
    let inventory = json!({ "location": storage, "lines": [["create", lines]] });
    let made = erp.rpc("model.stock.inventory.create", json!([[inventory], { "company": 1 }]));
    erp.rpc("model.stock.inventory.confirm", json!([made, { "company": 1 }]));
}

/// Waits until the tills' files hold a price with these words; answers all such, each behind the name of its group.
async fn till_told(folder: &Folder, hub: &crate::harness::HubProcess, words: &'static str) -> Vec<String> {
    let files = folder.path("out/till-prices");
    eventually(&format!("`{words}` for the tills"), hub, move || {
        let read = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path()).ok();
        let files = std::fs::read_dir(&files).ok()?.flatten().filter_map(read);
        let told: Vec<String> = files.flat_map(|file| prices(&file)).filter(|price| price.contains(words)).collect();
        (told.len() > 1).then_some(told)
    })
    .await
}

/// The prices in a file of the tills, each behind the name of its group.
fn prices(file: &str) -> Vec<String> {
    let group = file.split_once(r#"group=""#).and_then(|(_, rest)| rest.split_once('"')).map_or("", |(group, _)| group);
    file.split("<price ").skip(1).map(|price| format!("{group} {price}")).collect()
}

fn add_row(folder: &Folder, table: &str, row: &str) {
    let file = format!("config/tables/{table}.csv");
    let rows = folder.read(&file);
    folder.write(&file, format!("{}\n{row}\n", rows.trim_end()));
}

/// What `raccord dead list` says.
fn dead(folder: &Folder, variables: &Variables) -> Value {
    let variables: Vec<(&str, &str)> = variables.0.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let said = folder.raccord_with(&["dead", "list", "--json"], &variables);
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}\n{said:?}"))
}
