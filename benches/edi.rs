//! EDI read: segments and their components, whole messages, trees checked by their definition, documents; then a stream of
//! 1 GB, and how much memory that took. Orders of 20 lines, EDIFACT and X12, generated.
//!
//! ```text
//! cargo bench --bench edi -- [--megabytes N] [--rounds N] [--stream MEGABYTES]
//! ```
//! Rates are those of the processor's time, the best of the rounds: other work on the machine does not count.

use std::hint::black_box;

use raccord::edi::directory::Library;
use raccord::edi::document::document;
use raccord::edi::findings::Policy;
use raccord::edi::reader::{Event, Options, Reader};
use raccord::edi::syntax::{Limits, Segments};
use raccord::edi::tree::Tree;
use sample::{Endless, Sample, edifact, x12};

#[path = "edi/sample.rs"]
mod sample;

// The hub's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (size, rounds, stream) = (number("--megabytes", 20) << 20, number("--rounds", 5), number("--stream", 1024));
    for (name, sample) in [("ORDERS D.96A", edifact as fn(usize) -> Sample), ("850 004010", x12)] {
        let text = sample(size).whole();
        let rate = |act: &dyn Fn(&[u8])| {
            let seconds = (0..rounds).map(|_| {
                let begun = processor_seconds();
                act(text.as_bytes());
                processor_seconds() - begun
            });
            text.len() as f64 / 1e6 / seconds.fold(f64::INFINITY, f64::min)
        };
        println!("{name}, {:.1} MB", text.len() as f64 / 1e6);
        println!("  segments and components  {:6.0} MB/s", rate(&tokens));
        println!("  messages                 {:6.0} MB/s", rate(&envelopes));
        println!(
            "  trees, checked           {:6.0} MB/s",
            rate(&|bytes| messages(bytes, |tree| assert!(tree.accepted())))
        );
        println!(
            "  documents                {:6.0} MB/s",
            rate(&|bytes| messages(bytes, |tree| drop(black_box(document(tree)))))
        );
    }
    let sample = x12(1 << 20);
    let begun = processor_seconds();
    let before = peak_megabytes();
    let mut count = 0;
    let mut reader = Reader::new(Endless::new(sample, stream << 20), Options::default());
    while let Some(event) = reader.read().expect("memory does not fail") {
        if let Event::Message(message) = event {
            let tree = Tree::read(message, Library::shipped(), &Policy::default(), 100);
            assert!(tree.accepted());
            count += 1;
        }
    }
    let (seconds, after) = (processor_seconds() - begun, peak_megabytes());
    println!(
        "{stream} MB as a stream: {count} messages, {:.0} MB/s, peak {after} MB (before {before} MB)",
        stream as f64 * 1.048 / seconds
    );
}

fn tokens(bytes: &[u8]) {
    let mut segments = Segments::new(bytes, Limits::default());
    while let Some(piece) = segments.read().expect("memory does not fail") {
        for element in piece.segment.elements() {
            element.components().for_each(|component| {
                black_box(component.raw);
            });
        }
    }
}

fn envelopes(bytes: &[u8]) {
    let mut reader = Reader::new(bytes, Options::default());
    while let Some(event) = reader.read().expect("memory does not fail") {
        assert!(event.findings().is_empty());
    }
}

fn messages(bytes: &[u8], act: impl Fn(&Tree<'_>)) {
    let (policy, library) = (Policy::default(), Library::shipped());
    let mut reader = Reader::new(bytes, Options::default());
    while let Some(event) = reader.read().expect("memory does not fail") {
        if let Event::Message(message) = event {
            assert!(message.findings.is_empty());
            act(&Tree::read(message, library, &policy, 100));
        }
    }
}

fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or_default() / 1e9
}

fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0) / 1024
}
