//! Two hubs that trade with each other over folders: orders one way, responses the other, acknowledgments both ways, in both
//! dialects; what comes in wrong; and both of them killed again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::{Folder, HubProcess, Random, wait_for};

/// The dialect, and what it calls things.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dialect {
    Edifact,
    X12,
}

const ORDERS: &str = "\
BGM: { C002: { E1001: '220' }, E1004: $.number }
DTM: [ { C507: { E2005: '137', E2380: '20261122', E2379: '102' } } ]
NAD_group:
  - NAD: { E3035: BY, C082: { E3039: $partner.us.id, E3055: '9' } }
LIN_group:
  - LIN: { E1082: '1', C212: { E7140: '4000000000013', E7143: EN } }
    QTY: [ { C186: { E6063: '21', E6060: $.quantity } } ]
UNS: { E0081: S }
";
const ORDERS_BACK: &str = "{ number: $.BGM.E1004, quantity: '$.LIN_group[0].QTY[0].C186.E6060' }\n";
const SET_850: &str = "\
BEG: { BEG01: '00', BEG02: DS, BEG03: $.number, BEG05: '20261122' }
PO1_loop:
  - PO1: { PO101: '1', PO102: $.quantity, PO103: EA, PO106: UP, PO107: '400000000001' }
";
const SET_850_BACK: &str = "{ number: $.BEG.BEG03, quantity: '$.PO1_loop[0].PO1.PO102' }\n";

/// A hub called `name` that knows the other: what one sends is what the other takes.
pub struct Side<'a> {
    pub dialect: Dialect,
    pub name: &'a str,
    pub other: &'a str,
    /// Extra lines of the profile.
    pub extra: &'a str,
}

impl Side<'_> {
    fn id(&self, name: &str) -> String {
        match self.dialect {
            Dialect::Edifact => format!("{{ id: '30000000{:05}', qualifier: '14' }}", name.len()),
            Dialect::X12 => format!("{{ id: {}, qualifier: ZZ }}", name.to_uppercase()),
        }
    }

    /// A hub's folder with the profile of the other and a pipeline of this side's.
    pub fn folder(&self, root: &Folder) -> Folder {
        let folder = Folder::at(root.path(self.name));
        folder.write("config/raccord.yaml", format!("name: {}\nlisten: 127.0.0.1:0\n", self.name));
        self.profile(root, &folder);
        folder.write("pipelines/orders/pipeline.yaml", if self.name == "buyer" { BUYS } else { SELLS });
        folder
    }

    /// Writes the profile of the other into a hub's folder; interchanges pass through folders of `root`.
    pub fn profile(&self, root: &Folder, folder: &Folder) {
        let (buys, dialect) = (self.name == "buyer", self.dialect);
        let (word, message, release, there, back) = match dialect {
            Dialect::Edifact => ("edifact", "ORDERS", "D.96A", ORDERS, ORDERS_BACK),
            Dialect::X12 => ("x12", "'850'", "'004010'", SET_850, SET_850_BACK),
        };
        folder.write("config/partners/maps/order.yaml", if buys { there } else { back });
        let direction = if buys { "out" } else { "in" };
        let place = |from: &str, to: &str| root.path(&format!("{from}-to-{to}")).display().to_string();
        for way in [place(self.name, self.other), place(self.other, self.name)] {
            std::fs::create_dir_all(way).expect("folders can be made");
        }
        let profile = format!(
            "about: The other one.\ndialect: {word}\nus: {}\nthem: {}\ndocuments:\n  ORDERS: {{ direction: {direction}, \
             message: {message}, release: {release}, map: maps/order.yaml }}\n{}transport:\n  \
             in: {{ protocol: file, folder: '{}', complete: rename, poll: 200ms }}\n  \
             out: {{ protocol: file, folder: '{}', name: \"=concat($.document, '-', $.interchange, '.edi')\" }}\n  \
             retry: [100ms, 1s, 1s, 1s]\n",
            self.id(self.name),
            self.id(self.other),
            self.extra,
            place(self.other, self.name),
            place(self.name, self.other),
        );
        folder.write(&format!("config/partners/{}.yaml", self.other), profile);
    }
}

const BUYS: &str = "\
about: Orders.
order_by: none
dedupe: { by: [$.number] }
on_error: { retry: [100ms, 1s] }
track: { order: $.number }
from: { protocol: file, folder: in, complete: rename, poll: 200ms, format: ndjson }
to: { them: { partner: $.to, document: ORDERS } }
";
const SELLS: &str = "\
about: Orders.
order_by: none
dedupe: none
on_error: { retry: [100ms, 1s] }
track: { order: $.number }
from: { partner: '*', document: ORDERS }
to: { out: { protocol: file, folder: out, name: \"=concat($.number, '-', uuid(), '.json')\", format: json } }
";

/// Both sides, in a folder of their own.
fn sides(name: &str, dialect: Dialect, buyer: &str, seller: &str) -> (Folder, Folder, Folder) {
    let root = Folder::new(name);
    let buys = Side { dialect, name: "buyer", other: "supplier", extra: buyer }.folder(&root);
    let sells = Side { dialect, name: "supplier", other: "buyer", extra: seller }.folder(&root);
    (root, buys, sells)
}

/// A file put where it appears at once.
fn put(root: &Folder, folder: &str, name: &str, content: impl AsRef<[u8]>) {
    root.write(&format!("{folder}/.{name}"), content);
    std::fs::rename(root.path(&format!("{folder}/.{name}")), root.path(&format!("{folder}/{name}"))).expect("renames");
}

fn orders(numbers: impl Iterator<Item = usize>) -> String {
    numbers.fold(String::new(), |mut text, n| {
        writeln!(text, r#"{{"to":"supplier","number":"PO-{n}","quantity":"{n}"}}"#).expect("a text takes it");
        text
    })
}

/// Documents by state, as `raccord partners` tells them.
pub fn states(folder: &Folder) -> BTreeMap<String, usize> {
    let mut states = BTreeMap::new();
    for document in folder.asked(&["partners", "--most", "10000"]).as_array().into_iter().flatten() {
        *states.entry(document["state"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    states
}

pub fn dead(folder: &Folder) -> Vec<(String, String)> {
    let letters = folder.asked(&["dead", "list"]);
    let text = |letter: &Value, key: &str| letter[key].as_str().unwrap_or_default().to_owned();
    let all = letters.as_array().into_iter().flatten();
    all.map(|letter| (text(letter, "pipeline"), text(letter, "code"))).collect()
}

async fn trade(name: &str, dialect: Dialect, buyer: &str, seller: &str) {
    let (root, buys, sells) = sides(name, dialect, buyer, seller);
    let hubs = (HubProcess::start(&buys).await, HubProcess::start(&sells).await);
    put(&root, "buyer/in", "orders.ndjson", orders(1..=20));
    let seen =
        wait_for("20 orders at the supplier", || Some(sells.names("out")).filter(|names| names.len() == 20)).await;
    let numbers: BTreeSet<&str> = seen.iter().filter_map(|name| name.get(..5)).collect();
    assert_eq!(numbers.len(), 20, "{seen:?}");
    let one = seen.iter().find(|name| name.starts_with("PO-7-")).expect("it is there");
    let order: Value = serde_json::from_str(&sells.read(&format!("out/{one}"))).expect("it is JSON");
    assert_eq!(order, json!({ "number": "PO-7", "quantity": "7" }));
    wait_for("all are accepted", || (states(&buys) == BTreeMap::from([("accepted".to_owned(), 20)])).then_some(()))
        .await;
    // Both sides find it: by the order, and by the number of its interchange.
    let documents = buys.asked(&["partners", "supplier"]);
    let interchange = documents[0]["interchange"].as_str().expect("it has one").to_owned();
    sells.raccord(&["trace", "PO-7"]).expect(0, &["order=PO-7", "partner=buyer", "delivered"]);
    sells.raccord(&["trace", &interchange]).expect(0, &["buyer.in", &format!("={interchange}")]);
    buys.raccord(&["trace", &interchange]).expect(0, &["supplier.out", "delivered"]);
    assert_eq!((dead(&buys), dead(&sells)), (Vec::new(), Vec::new()));
    drop(hubs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hubs_trade_in_edifact() {
    let asks = "acknowledgments: { ask: true, within: 1h }\n";
    trade("partners-edifact", Dialect::Edifact, asks, "acknowledgments: { when: asked }\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hubs_trade_in_x12_in_batches() {
    let buyer = "batch: { within: 1s, most: 8 }\nacknowledgments: { within: 1h }\n";
    trade("partners-x12", Dialect::X12, buyer, "acknowledgments: { send: [receipt, functional] }\n").await;
}

const CONTRL: &str = "UNH+1+CONTRL:D:3:UN'";

/// An interchange of the supplier's, of these messages.
fn from_supplier(number: &str, test: bool, messages: &str, count: usize) -> String {
    let test = if test { "++++++1" } else { "" };
    format!("UNB+UNOC:3+3000000000008:14+3000000000005:14+261122:1130+{number}{test}'{messages}UNZ+{count}+{number}'")
}

fn response(reference: usize, order: &str, segments: usize) -> String {
    format!(
        "UNH+{reference}+ORDRSP:D:96A:UN'BGM+231+R-{order}+29'DTM+137:20261122:102'RFF+ON:{order}'UNS+S'UNT+{segments}+{reference}'"
    )
}

/// The buyer alone; a pipeline takes responses.
fn buyer(name: &str, extra: &str) -> (Folder, Folder) {
    let (root, buys, _) = sides(name, Dialect::Edifact, extra, "");
    buys.replace(
        "config/partners/supplier.yaml",
        "documents:\n",
        "documents:\n  ORDRSP: { direction: in, release: D.96A }\n",
    );
    buys.write(
        "pipelines/responses/pipeline.yaml",
        "about: Responses.\norder_by: none\ndedupe: none\non_error: { retry: [1s] }\n\
         from: { partner: supplier, document: ORDRSP }\n\
         to: { out: { protocol: file, folder: out, name: \"=concat($headers.interchange, '-', $headers.reference, '-', $.BGM.E1004, '.json')\", format: json } }\n",
    );
    (root, buys)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_partner_sends_wrong_is_kept_with_its_cause_and_the_rest_goes_on() {
    let (root, buys) = buyer("partners-wrong", "control_numbers: { gaps: tell }\n");
    let hub = HubProcess::start(&buys).await;
    let way = "supplier-to-buyer";
    let two = |order: &str| format!("{}{}", response(1, order, 6), response(2, order, 9));
    put(&root, way, "1.edi", from_supplier("901", false, &two("PO-1"), 2));
    wait_for("the good one", || (buys.names("out") == ["901-1-R-PO-1.json"]).then_some(())).await;
    // Again, again with other content, as a test, from nobody, for somebody else, and no EDI at all.
    put(&root, way, "2.edi", from_supplier("901", false, &two("PO-1"), 2));
    put(&root, way, "3.edi", from_supplier("901", false, &two("PO-2"), 2));
    put(&root, way, "4.edi", from_supplier("902", true, &response(1, "PO-3", 6), 1));
    put(
        &root,
        way,
        "5.edi",
        from_supplier("903", false, &response(1, "PO-4", 6), 1).replace("3000000000008", "4000000000008"),
    );
    put(
        &root,
        way,
        "6.edi",
        from_supplier("904", false, &response(1, "PO-5", 6), 1).replace("3000000000005", "4000000000005"),
    );
    put(&root, way, "7.edi", "<order>PO-6</order>");
    // What the profile does not have, and what leaves numbers out.
    put(
        &root,
        way,
        "8.edi",
        from_supplier("907", false, "UNH+1+INVOIC:D:96A:UN'BGM+380+1'DTM+137:20261122:102'UNS+S'MOA+79:1'UNT+6+1'", 1),
    );
    put(&root, way, "9.edi", from_supplier("908", false, &response(1, "PO-7", 6), 1));
    wait_for("the last one", || buys.names("out").contains(&"908-1-R-PO-7.json".to_owned()).then_some(())).await;
    let expected = [
        ("responses", "EDI-COUNT"),
        ("supplier.in", "EDI-STRAY"),
        ("supplier.in", "PARTNER-DOCUMENT"),
        ("supplier.in", "PARTNER-MODE"),
        ("supplier.in", "PARTNER-NUMBER"),
        ("supplier.in", "PARTNER-RECEIVER"),
        ("supplier.in", "PARTNER-UNKNOWN"),
    ];
    let sorted = || {
        let mut dead = dead(&buys);
        dead.sort();
        dead
    };
    wait_for("each has its cause", || (sorted().len() == expected.len()).then_some(())).await;
    let told = sorted();
    assert_eq!(told.iter().map(|(of, code)| (of.as_str(), code.as_str())).collect::<Vec<_>>(), expected);
    assert_eq!(buys.names("out"), ["901-1-R-PO-1.json", "908-1-R-PO-7.json"]);
    assert!(hub.log().contains("interchange 907 follows 902"), "{}", hub.log());
    // The supplier was told of the bad message, in each acknowledgment of its interchange.
    let answers = root.names("buyer-to-supplier");
    let refused = answers
        .iter()
        .filter(|name| root.read(&format!("buyer-to-supplier/{name}")).contains("UCM+2+ORDRSP:D:96A:UN+4+29"));
    assert_eq!(refused.count(), 2, "{answers:?}");
    let acknowledged =
        |what: &str| answers.iter().any(|name| root.read(&format!("buyer-to-supplier/{name}")).contains(what));
    assert!(acknowledged("UCI+902+3000000000008:14+3000000000005:14+4"), "a test is refused");
    // Once the profile knows the sender and the document, a replay is enough.
    buys.replace("config/partners/supplier.yaml", "3000000000008", "4000000000008");
    buys.replace(
        "config/partners/supplier.yaml",
        "documents:\n",
        "documents:\n  INVOIC: { direction: in, release: D.96A }\n",
    );
    wait_for("the edit is taken", || hub.log().contains("reloaded").then_some(())).await;
    let unknown = buys.asked(&["dead", "list", "--code", "PARTNER-UNKNOWN"]);
    buys.raccord(&["dead", "replay", unknown[0]["id"].as_str().expect("it has an id")]).expect(0, &["goes again"]);
    wait_for("it is taken", || buys.names("out").contains(&"903-1-R-PO-4.json".to_owned()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_partner_refuses_comes_back_with_its_reasons_and_is_sent_again_under_a_new_number() {
    let (root, buys) = buyer("partners-refused", "acknowledgments: { within: 2s }\n");
    let hub = HubProcess::start(&buys).await;
    put(&root, "buyer/in", "orders.ndjson", orders(1..=3));
    wait_for("three interchanges", || (root.names("buyer-to-supplier").len() == 3).then_some(())).await;
    let told = |number: &str, fate: &str| {
        let ours = "3000000000005:14+3000000000008:14";
        let segments = 3 + fate.matches('\'').count();
        format!("{CONTRL}UCI+{number}+{ours}+7'{fate}UNT+{segments}+1'")
    };
    let way = "supplier-to-buyer";
    put(&root, way, "1.edi", from_supplier("1", false, &told("1", ""), 1));
    put(&root, way, "2.edi", from_supplier("2", false, &told("2", "UCM+1+ORDERS:D:96A:UN+4'UCS+6+13'"), 1));
    put(&root, way, "9.edi", from_supplier("3", false, &told("77", ""), 1));
    let states = |one: &str, two: &str, three: &str| {
        let mut documents: Vec<(String, String)> = Vec::new();
        for document in buys.asked(&["partners"]).as_array().into_iter().flatten() {
            let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
            documents.push((text("interchange"), text("state")));
        }
        documents.sort();
        let wanted = [("1", one), ("2", two), ("3", three)];
        documents.iter().take(3).map(|(number, state)| (number.as_str(), state.as_str())).eq(wanted)
    };
    wait_for("their states", || states("accepted", "rejected", "overdue").then_some(())).await;
    assert!(hub.log().contains("it is about interchange 77"), "{}", hub.log());
    let letters = buys.asked(&["dead", "list"]);
    assert_eq!(
        (letters[0]["code"].as_str(), letters[0]["pipeline"].as_str()),
        (Some("PARTNER-REJECTED"), Some("supplier.out"))
    );
    let cause = letters[0]["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("ORDERS 1 of interchange 2: segment 6"), "{cause}");
    buys.raccord(&["dead", "replay", letters[0]["id"].as_str().expect("it has an id")]).expect(0, &["goes again"]);
    wait_for("a fourth interchange", || {
        root.names("buyer-to-supplier").contains(&"ORDERS-4.edi".to_owned()).then_some(())
    })
    .await;
    assert!(
        root.read("buyer-to-supplier/ORDERS-4.edi").contains(&part_of(&root.read("buyer-to-supplier/ORDERS-2.edi")))
    );
    // A late word still counts.
    put(&root, way, "3.edi", from_supplier("4", false, &told("3", ""), 1));
    wait_for("the late one", || states("accepted", "rejected", "accepted").then_some(())).await;
}

/// Its message, without the envelope.
fn part_of(interchange: &str) -> String {
    let begins = interchange.find("UNH").expect("it has a message");
    interchange[begins..interchange.find("UNZ").expect("it ends")].to_owned()
}

/// Both hubs are killed at any moment while orders pass: each arrives once, no number is left out or used twice, and all are
/// acknowledged. `RACCORD_SEED` repeats a run, `RACCORD_LONG=1` makes it ten times as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_hubs_leave_no_number_out_and_use_none_twice() {
    let mut random = Random::new();
    let (count, kills) = if std::env::var_os("RACCORD_LONG").is_some() { (4_000, 60) } else { (400, 6) };
    let (root, buys, sells) = sides("partners-killed", Dialect::Edifact, "acknowledgments: { within: 1h }\n", "");
    let mut hubs = [HubProcess::start(&buys).await, HubProcess::start(&sells).await];
    for part in 0..10 {
        let of = count / 10;
        put(&root, "buyer/in", &format!("orders-{part}.ndjson"), orders(part * of + 1..=(part + 1) * of));
    }
    let arrived = || sells.names("out").len();
    for kill in 1..=kills {
        let progress = count * kill / (kills + 1);
        wait_for(format!("{progress} orders"), || (arrived() >= progress).then_some(())).await;
        let which = usize::from(random.below(2) == 1);
        hubs[which].kill9();
        if random.below(2) == 0 {
            sleep(Duration::from_millis(random.below(300))).await;
        }
        hubs[which] = HubProcess::start([&buys, &sells][which]).await;
    }
    wait_for("all orders", || (arrived() >= count).then_some(())).await;
    wait_for("all are accepted", || (states(&buys) == BTreeMap::from([("accepted".to_owned(), count)])).then_some(()))
        .await;
    judge(&root, &sells, count);
    assert_eq!((dead(&buys), dead(&sells)), (Vec::new(), Vec::new()));
}

/// Each order is at the supplier once, and the interchanges that brought them are numbered without a gap.
pub fn judge(root: &Folder, sells: &Folder, count: usize) {
    let names = sells.names("out");
    let numbers: BTreeSet<&str> = names.iter().filter_map(|name| name.split('-').nth(1)).collect();
    assert_eq!((names.len(), numbers.len()), (count, count), "each order once");
    let done = root.names("buyer-to-supplier/done");
    let used = done.iter().filter_map(|name| name.strip_prefix("ORDERS-")?.strip_suffix(".edi")?.parse().ok());
    let mut used: Vec<usize> = used.collect();
    used.sort_unstable();
    assert_eq!(used, (1..=count).collect::<Vec<_>>(), "no number is left out or used twice");
}

/// One of them says that all is a test: each refuses what the other sends, and neither answers a refusal with a refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_refuse_each_other_come_to_an_end() {
    for dialect in [Dialect::Edifact, Dialect::X12] {
        let (root, buys, sells) = sides(&format!("partners-test-{dialect:?}"), dialect, "", "mode: test\n");
        let hubs = (HubProcess::start(&buys).await, HubProcess::start(&sells).await);
        put(&root, "buyer/in", "orders.ndjson", orders(1..=1));
        wait_for("the refusal is refused", || (dead(&buys).len() == 1).then_some(())).await;
        sleep(Duration::from_secs(1)).await;
        let told = |pipeline: &str| vec![(pipeline.to_owned(), "PARTNER-MODE".to_owned())];
        assert_eq!((dead(&buys), dead(&sells)), (told("supplier.in"), told("buyer.in")), "{dialect:?}");
        assert_eq!(root.names("buyer-to-supplier/done").len(), 1, "{dialect:?}");
        drop(hubs);
    }
}
