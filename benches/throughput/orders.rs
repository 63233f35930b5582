//! `http-file` and `http-http`: orders in over HTTP, 20 fields mapped, out to a file or to another system.

use std::time::Instant;

use super::Options;
use super::bare::{Bare, append_and_sync};
use super::doorman::receive_append_and_sync;
use super::hub::Hub;
use super::messages::{MAPPING, orders};
use super::peer::Peer;
use super::report::{Line, Report};
use super::sender;

/// Half of what a bare loop reaches.
const TARGET: f64 = 0.5;

pub fn http_to_file(options: &Options) -> Report {
    let pipeline = pipeline("/orders", &to_file());
    let hub = Hub::start("http-file", &[("orders", pipeline)], options.messages * 2, options.keep);
    measure("HTTP in → 20 fields mapped → file out", options, &hub, || {
        hub.wait_until_delivered("orders", options.messages);
    })
}

pub fn http_to_http(options: &Options) -> Report {
    let peer = Peer::start(true);
    let pipeline = pipeline("/orders", &to_peer(&peer));
    let hub = Hub::start("http-http", &[("orders", pipeline)], options.messages * 2, options.keep);
    measure("HTTP in → 20 fields mapped → HTTP out", options, &hub, || {
        peer.wait_until_answered(options.messages);
        hub.wait_until_delivered("orders", options.messages);
    })
}

fn measure(title: &str, options: &Options, hub: &Hub, delivered: impl FnOnce()) -> Report {
    let (orders, count) = (orders(), options.messages);
    let once: Vec<Vec<u8>> = orders.iter().map(|order| order.clone().into_bytes()).collect();
    // What goes out is about a third shorter than what came in.
    let twice: Vec<Vec<u8>> = once.iter().map(|order| [&order[..], &order[..order.len() * 2 / 3]].concat()).collect();
    let before = append_and_sync(&once, count);
    let (start, cpu) = (Instant::now(), hub.cpu());
    let sent = sender::send(hub.address, "/orders", &orders, count);
    let cpu_at_intake = hub.cpu() - cpu;
    delivered();
    let whole = Line::new("hub, to the last delivery", count, start.elapsed(), hub.cpu() - cpu).peak(hub.peak_kb());
    let after = append_and_sync(&once, count);
    let both = append_and_sync(&twice, count);
    let wire = receive_append_and_sync(&orders, count);
    let reference = (before.rate() + after.rate()) / 2.0;
    let mut report = Report::new(title);
    report.line(bare("bare: what came in, appended and synced by 256 (before)", &before));
    report.line(bare("bare: the same (after)", &after));
    report.line(bare("bare: what came in and what goes out", &both));
    report.line(bare("bare over HTTP: received, appended, synced, answered", &wire));
    report.line(Line::new("hub, to the last acceptance", count, sent.took, cpu_at_intake).beside(reference, None));
    let beside_wire = whole.rate() / wire.rate();
    report.line(whole.beside(reference, Some(TARGET)));
    report.note(format!("Beside the bare receiver over HTTP, the hub with its whole work reaches {beside_wire:.2}."));
    if sent.refused > 0 {
        report.note(format!("{} requests were told to come back.", sent.refused));
    }
    report
}

pub fn bare(what: &str, bare: &Bare) -> Line {
    Line::new(what, bare.count, bare.took, bare.cpu)
}

pub fn pipeline(path: &str, to: &str) -> String {
    format!(
        "about: Each order is mapped and handed on.\nfrom: {{ protocol: http, path: {path} }}\n\
         order_by: none\ndedupe: none\nsteps:{MAPPING}\nto:\n{to}\non_error:\n  retry: [5s, 30s]\n"
    )
}

pub fn to_file() -> String {
    "  file:\n    protocol: file\n    folder: out\n    name: orders.ndjson\n    mode: append\n    format: ndjson\n"
        .into()
}

/// An hour of patience: a peer that holds its answers back stands for one that is slow for ever.
pub fn to_peer(peer: &Peer) -> String {
    format!("  peer:\n    protocol: http\n    url: http://{}/orders\n    timeout: 1h\n", peer.address)
}
