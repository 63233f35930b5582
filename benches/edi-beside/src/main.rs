//! The hub's reading of EDI beside two crates that read EDIFACT, `edifact-rs` and `edifact-parser`, in one run on the same
//! generated files: tokens, whole segments, and the hub's messages, checked trees and documents, each beside the faster crate.
//! They read no X12: there the hub stands alone. Then a stream of 1 GB.
//!
//! ```text
//! cargo run --release --locked --manifest-path benches/edi-beside/Cargo.toml -- [--megabytes N] [--rounds N] [--stream MEGABYTES] [--assert]
//! ```
//! Rates are those of the processor's time, the best of the rounds, which take turns. Peak memory is that of a process of
//! its own for each, which reads the file: at once where it must be, else as a stream.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufReader, Read};
use std::path::Path;
use std::process::Command;

use raccord_edi_beside::edi::directory::Library;
use raccord_edi_beside::edi::document::document;
use raccord_edi_beside::edi::findings::Policy;
use raccord_edi_beside::edi::reader::{Event, Message, Options, Reader};
use raccord_edi_beside::edi::syntax::{Limits, Segments};
use raccord_edi_beside::edi::tree::Tree;
use sample::{Endless, Sample, edifact, x12};

#[path = "../../edi/sample.rs"]
mod sample;

// The hub's own allocator, for all of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is measured.
struct Entry {
    name: &'static str,
    /// The two crates read only EDIFACT.
    edifact: bool,
    act: Act,
}

/// What it does; it gives back how much it saw.
#[derive(Clone, Copy)]
enum Act {
    /// It needs all of the file at once.
    Slice(fn(&[u8]) -> usize),
    Stream(fn(&mut dyn Read) -> usize),
}

const ENTRIES: [Entry; 9] = [
    Entry { name: "edifact-rs: tokens", edifact: true, act: Act::Slice(edifact_rs_tokens) },
    Entry { name: "edifact-rs: segments", edifact: true, act: Act::Slice(edifact_rs_segments) },
    Entry { name: "edifact-rs: as a stream", edifact: true, act: Act::Stream(edifact_rs_stream) },
    Entry { name: "edifact-parser: tokens", edifact: true, act: Act::Slice(edifact_parser_tokens) },
    Entry { name: "edifact-parser: segments", edifact: true, act: Act::Slice(edifact_parser_segments) },
    Entry { name: "hub: tokens", edifact: false, act: Act::Stream(tokens) },
    Entry { name: "hub: messages", edifact: false, act: Act::Stream(messages) },
    Entry { name: "hub: trees, checked", edifact: false, act: Act::Stream(trees) },
    Entry { name: "hub: documents", edifact: false, act: Act::Stream(documents) },
];

impl Act {
    fn on(self, bytes: &[u8]) -> usize {
        match self {
            Act::Slice(act) => act(bytes),
            Act::Stream(act) => act(&mut &bytes[..]),
        }
    }

    fn on_file(self, path: &Path) -> usize {
        match self {
            Act::Slice(act) => act(&std::fs::read(path).expect("it was just written")),
            Act::Stream(act) => act(&mut File::open(path).expect("it was just written")),
        }
    }
}

/// How many times the tokens of the faster crate the hub's are to be; its checked trees are to be faster than those tokens.
const TOKENS: f64 = 4.0;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value =
        |name: &str| arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
    let number = |name: &str, default: usize| value(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (size, rounds, stream) = (number("--megabytes", 20) << 20, number("--rounds", 5), number("--stream", 1024));
    if let (Some(name), Some(path)) = (value("--one"), value("--file")) {
        let entry = ENTRIES.iter().find(|entry| entry.name == name).expect("it is named by this program");
        black_box(entry.act.on_file(Path::new(path)));
        println!("{}", peak_megabytes());
        return;
    }
    if arguments.iter().any(|argument| argument == "--only-stream") {
        return streamed(stream);
    }
    let mut missed = Vec::new();
    for (title, make) in SAMPLES {
        let text = make(size).whole();
        let path = std::env::temp_dir().join(format!("raccord-edi-beside-{}", std::process::id()));
        std::fs::write(&path, &text).expect("there is room for it");
        let entries: Vec<&Entry> = ENTRIES.iter().filter(|entry| title == EDIFACT || !entry.edifact).collect();
        let mut best = vec![f64::INFINITY; entries.len()];
        let mut seen = vec![0; entries.len()];
        for _ in 0..rounds {
            for (at, entry) in entries.iter().enumerate() {
                let begun = processor_seconds();
                seen[at] = entry.act.on(text.as_bytes());
                best[at] = best[at].min(processor_seconds() - begun);
            }
        }
        let rates: Vec<f64> = best.iter().map(|seconds| text.len() as f64 / 1e6 / seconds).collect();
        let named = |name: &str| entries.iter().position(|entry| entry.name == name).map(|at| rates[at]);
        let others = ["edifact-rs: tokens", "edifact-parser: tokens"];
        let faster = others.iter().filter_map(|name| named(name)).reduce(f64::max);
        println!("{title}, {:.1} MB", text.len() as f64 / 1e6);
        println!("  {:26} {:>8} {:>8} {:>10} {:>8}", "", "MB/s", "ratio", "saw", "peak MB");
        for (at, entry) in entries.iter().enumerate() {
            let ratio = faster.map_or("-".to_owned(), |faster| format!("{:.2}", rates[at] / faster));
            let peak = peak(entry.name, &path);
            println!("  {:26} {:8.0} {ratio:>8} {:10} {peak:8}", entry.name, rates[at], seen[at]);
        }
        let _ = std::fs::remove_file(&path);
        let hub = [("hub: tokens", TOKENS), ("hub: trees, checked", 1.0)];
        for (name, wanted) in hub {
            if let (Some(rate), Some(faster)) = (named(name), faster) {
                let reached = rate / faster;
                let verdict = if reached >= wanted { "reached" } else { "missed" };
                println!("  {name}: {reached:.2} times the faster crate's tokens, {wanted:.0} wanted: {verdict}");
                missed.extend((reached < wanted).then(|| name.to_owned()));
            }
        }
    }
    let mut command = Command::new(std::env::current_exe().expect("a program knows where it stands"));
    command.args(["--only-stream", "--stream", &stream.to_string()]).status().expect("it starts");
    if !missed.is_empty() && arguments.iter().any(|argument| argument == "--assert") {
        eprintln!("missed: {}", missed.join(", "));
        std::process::exit(1);
    }
}

const EDIFACT: &str = "ORDERS D.96A";
type Make = (&'static str, fn(usize) -> Sample);
const SAMPLES: [Make; 2] = [(EDIFACT, edifact), ("850 004010", x12)];

/// The peak memory of a process that does this one thing with the file.
fn peak(name: &str, path: &Path) -> String {
    let mut command = Command::new(std::env::current_exe().expect("a program knows where it stands"));
    let output = command.args(["--one", name, "--file"]).arg(path).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// An interchange without end, read message by message: the memory is that of one message.
fn streamed(megabytes: usize) {
    let before = peak_megabytes();
    let (begun, mut count) = (processor_seconds(), 0);
    let mut quarter = 0;
    let total = megabytes << 20;
    let mut reader = Reader::new(Endless::new(x12(1 << 20), total), Options::default());
    while let Some(event) = reader.read().expect("memory does not fail") {
        if let Event::Message(message) = event {
            assert!(Tree::read(message, Library::shipped(), &Policy::default(), 100).accepted());
            count += 1;
            if count == 50_000 {
                quarter = peak_megabytes();
            }
        }
    }
    let rate = megabytes as f64 * 1.048_576 / (processor_seconds() - begun);
    let after = peak_megabytes();
    println!("{megabytes} MB as a stream: {count} messages checked, {rate:.0} MB/s");
    println!("  peak {after} MB: {before} MB before it, {quarter} MB after 50000 messages");
}

fn edifact_rs_tokens(bytes: &[u8]) -> usize {
    let advice = edifact_rs::ServiceStringAdvice::from_bytes_unchecked(bytes);
    good(edifact_rs::Tokenizer::new(bytes, advice))
}

fn edifact_rs_segments(bytes: &[u8]) -> usize {
    good(edifact_rs::from_bytes(bytes))
}

fn edifact_rs_stream(source: &mut dyn Read) -> usize {
    good(edifact_rs::from_bufread(BufReader::new(source)))
}

/// Looks at each.
fn good<T, E: std::fmt::Debug>(all: impl Iterator<Item = Result<T, E>>) -> usize {
    let mut count = 0;
    for one in all {
        black_box(one.expect("a good file"));
        count += 1;
    }
    count
}

/// Segments, their elements, their components: the three steps its own parser takes.
fn edifact_parser_tokens(bytes: &[u8]) -> usize {
    let tokenizer = edifact_parser::EdifactTokenizer::new(edifact_primitives::EdifactDelimiters::default());
    let mut count = 0;
    for segment in tokenizer.tokenize_segments(bytes) {
        for element in tokenizer.tokenize_elements(segment) {
            for component in tokenizer.tokenize_components(element) {
                black_box(component);
                count += 1;
            }
        }
    }
    count
}

fn edifact_parser_segments(bytes: &[u8]) -> usize {
    #[derive(Default)]
    struct Count(usize);
    impl edifact_parser::EdifactHandler for Count {
        fn on_segment(&mut self, segment: &edifact_primitives::RawSegment<'_>) -> edifact_primitives::Control {
            black_box(segment);
            self.0 += 1;
            edifact_primitives::Control::Continue
        }
    }
    let mut count = Count::default();
    edifact_parser::EdifactStreamParser::parse(bytes, &mut count).expect("a good file");
    count.0
}

fn tokens(source: &mut dyn Read) -> usize {
    let mut segments = Segments::new(source, Limits::default());
    let mut count = 0;
    while let Some(piece) = segments.read().expect("memory does not fail") {
        for element in piece.segment.elements() {
            for component in element.components() {
                black_box(component.raw);
                count += 1;
            }
        }
    }
    count
}

fn messages(source: &mut dyn Read) -> usize {
    each(source, |_| {})
}

fn trees(source: &mut dyn Read) -> usize {
    let library = Library::shipped();
    each(source, |message| assert!(Tree::read(message, library, &Policy::default(), 100).accepted()))
}

fn documents(source: &mut dyn Read) -> usize {
    let library = Library::shipped();
    each(source, |message| drop(black_box(document(&Tree::read(message, library, &Policy::default(), 100)))))
}

fn each(source: &mut dyn Read, act: impl Fn(&Message)) -> usize {
    let mut reader = Reader::new(source, Options::default());
    let mut count = 0;
    while let Some(event) = reader.read().expect("memory does not fail") {
        if let Event::Message(message) = event {
            assert!(message.findings.is_empty());
            act(message);
            count += 1;
        }
    }
    count
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
