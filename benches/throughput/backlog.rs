//! `backlog`: whether memory stays flat and the rate unchanged while very many messages wait for a peer that does not answer.

use std::time::{Duration, Instant};

use super::Options;
use super::hub::Hub;
use super::messages::orders;
use super::orders::{pipeline, to_file, to_peer};
use super::peer::Peer;
use super::report::{Line, Report};
use super::sender::{self, Sent};

/// Within the noise of a shared machine.
const UNCHANGED: f64 = 0.8;

pub fn backlog(options: &Options) -> Report {
    let (orders, count, most) = (orders(), options.messages, options.backlog);
    let peer = Peer::start(false);
    let pipelines = [("orders", pipeline("/orders", &to_file())), ("held", pipeline("/held", &to_peer(&peer)))];
    let hub = Hub::start("backlog", &pipelines, most * 2, options.keep);
    let mut report = Report::new(format!("{most} messages waiting for a peer that does not answer"));

    let through = |what: &str, already: usize| {
        quiet_disk();
        hub.forget_peak();
        let (start, cpu) = (Instant::now(), hub.cpu());
        sender::send(hub.address, "/orders", &orders, count);
        hub.wait_until_delivered("orders", already + count);
        Line::new(what, count, start.elapsed(), hub.cpu() - cpu).peak(hub.peak_kb())
    };
    let without = through("HTTP → file, nothing waiting elsewhere", 0);
    hub.forget_peak();
    let cpu = hub.cpu();
    let filled = sender::send(hub.address, "/held", &orders, most);
    let filling = Line::new("filling the backlog", most, filled.took, hub.cpu() - cpu).peak(hub.peak_kb());
    let (first, last) = (tenth(&filled, most, 0), tenth(&filled, most, 9));
    wait_until_standing(&hub, most);
    let with = through("HTTP → file, with the backlog standing", count);
    hub.forget_peak();
    let (start, cpu) = (Instant::now(), hub.cpu());
    peer.release();
    peer.wait_until_answered(most);
    hub.wait_until_delivered("held", most);
    let draining = Line::new("draining it to the peer", most, start.elapsed(), hub.cpu() - cpu).peak(hub.peak_kb());

    let after = through("HTTP → file, once it is drained", 2 * count);
    let (rate, memory) = (without.rate(), without.peak_kb);
    report.line(without);
    report.line(filling);
    report.line(with.beside(rate, Some(UNCHANGED)));
    report.line(draining);
    report.line(after.beside(rate, None));
    report.note(format!(
        "Filling: {first:.0}/s in the first tenth, {last:.0}/s in the last ({:.2}). Peak memory without a backlog was {} MB.",
        last / first,
        memory.unwrap_or(0) / 1024
    ));
    report
}

/// What an earlier line left to be written by the system must not slow the next.
fn quiet_disk() {
    let _ = std::process::Command::new("sync").status();
}

/// The stage has handed all to the destination's queue.
fn wait_until_standing(hub: &Hub, most: usize) {
    while (hub.metric("raccord_queue_entries", "held.to.peer") as usize) < most {
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The rate within one tenth of a sending.
fn tenth(sent: &Sent, count: usize, which: usize) -> f64 {
    let at = |mark: usize| if mark == 0 { Duration::ZERO } else { sent.marks[mark - 1] };
    let per_tenth = sent.marks.len() / 10;
    let took = at((which + 1) * per_tenth) - at(which * per_tenth);
    count as f64 / 10.0 / took.as_secs_f64()
}
