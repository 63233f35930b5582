//! What `check` says about settings.

use crate::protocols::conformance::read_yaml;
use crate::protocols::{read_source, read_target};

fn source(lines: &str) -> String {
    let yaml = format!("protocol: amqp\nbroker: {{ addresses: [rabbit.example] }}\n{lines}");
    read_yaml(&yaml, read_source).err().unwrap_or_default()
}

fn target(lines: &str) -> String {
    let yaml = format!("protocol: amqp\nbroker: {{ addresses: [rabbit.example] }}\n{lines}");
    read_yaml(&yaml, read_target).err().unwrap_or_default()
}

#[track_caller]
fn told(problems: &str, expect: &str) {
    assert!(problems.contains(expect), "expected: {expect}\n{problems}");
}

#[test]
fn a_plain_source_and_target_are_all_right() {
    assert_eq!(source("queue: orders"), "");
    let declared = "queue: orders\nid: order-id\nprefetch: 10\ndeclare:\n  type: classic\n  durable: false\n  arguments: { x-max-length: 100000, x-single-active-consumer: true, 'x-at': { '@timestamp': '2026-01-01T00:00:00Z' } }\n  bind: [{ exchange: shop, routing_key: order.* }]\n";
    assert_eq!(source(declared), "");
    assert_eq!(target("routing_key: $.number"), "");
    let all = "exchange: orders\nrouting_key: \"=concat('order.', $.channel)\"\ndeclare: { type: topic }\nheaders: { store: $.store, at: { '@timestamp': $.at } }\nproperties: { priority: 5, correlation_id: $.number }\n";
    assert_eq!(target(all), "");
}

#[test]
fn mistakes_say_what_is_wrong() {
    told(&source("queue: ''"), "a queue has a name");
    told(&source("queue: q\nprefetch: 0"), "`prefetch` is from 1 to 65535");
    told(&source("queue: q\ndeclare: { durable: false }"), "a quorum queue is always durable");
    told(&source("queue: q\ndeclare: { arguments: { x-max-length: $.much } }"), "no path, no formula");
    told(&source("queue: q\ndeclare: { arguments: { x: { '@bytes': 'no base64!' } } }"), "`@bytes` takes base64");
    told(&source("queue: q\ndeclare: { bind: [{ exchange: '' }] }"), "the default exchange needs no binding");
    told(&source(&format!("queue: {}", "q".repeat(256))), "longer than 255 bytes");
    told(&target("routing_key: x\ndeclare: {}"), "the default exchange is always there");
    told(&target("exchange: orders"), "`routing_key` is missing");
    let login = "protocol: amqp\nbroker: { addresses: [], user: hub }\nqueue: q";
    let problems = read_yaml(login, read_source).expect_err("it is wrong");
    told(&problems, "`addresses` names no broker");
    told(&problems, "`user` and `password` go together");
}
