//! A partner's lanes shared by two instances, one of which is killed again and again: the numbers of its interchanges have no gap, and
//! none is used twice, whoever allocates them.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Instance, Site};
use crate::harness::{Folder, HubProcess, Random, post, wait_for};
use crate::partners::{Dialect, Side, dead, judge, states};

const ORDERS: &str = "\
about: Orders.
order_by: none
dedupe: { by: [$.number] }
on_error: { retry: [100ms, 1s, 1s, 1s] }
from: { protocol: http, path: /orders, auth: none, format: json }
to: { them: { partner: $.to, document: ORDERS } }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_share_a_partner_leave_no_number_out_and_use_none_twice() {
    let (count, kills) = if std::env::var_os("RACCORD_LONG").is_some() { (2_000, 20) } else { (120, 3) };
    let mut random = Random::new();
    let root = Folder::new("partners-shared");
    let extra = "acknowledgments: { within: 1h }\n";
    let sells = Side { dialect: Dialect::Edifact, name: "supplier", other: "buyer", extra: "" }.folder(&root);
    let buys = Side { dialect: Dialect::Edifact, name: "buyer", other: "supplier", extra };
    let site = Site::shared("partners", &[("orders", ORDERS)]);
    let mut instances = Vec::new();
    for number in 1..=2 {
        let folder = site.folder(number);
        buys.profile(&root, &folder);
        instances.push(Instance { hub: HubProcess::start(&folder).await, folder });
    }
    let _supplier = HubProcess::start(&sells).await;
    for number in 1..=count {
        let order = json!({ "to": "supplier", "number": format!("PO-{number}"), "quantity": "1" });
        let to = instances[number % 2].url("/orders");
        let (status, said) = post(&to, order.to_string()).await;
        assert!((200..300).contains(&status), "{status} {said}");
        if number % (count / (kills + 1)) == 0 && number < count {
            let which = usize::from(random.below(2) == 1);
            instances[which].hub.kill9();
            instances[which].again().await;
        }
    }
    wait_for("all orders", || (sells.names("out").len() >= count).then_some(())).await;
    let all = BTreeMap::from([("accepted".to_owned(), count)]);
    wait_for("all are accepted", || (states(&instances[0].folder) == all).then_some(())).await;
    judge(&root, &sells, count);
    assert_eq!((dead(&instances[1].folder), dead(&sells)), (Vec::new(), Vec::new()));
}
