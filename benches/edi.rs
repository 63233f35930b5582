//! EDI read: segments and their components, whole messages, trees checked by their definition, documents; then a stream of
//! 1 GB, and how much memory that took. Orders of 20 lines, EDIFACT and X12, generated.
//!
//! ```text
//! cargo bench --bench edi -- [--megabytes N] [--rounds N] [--stream MEGABYTES]
//! ```
//! Rates are those of the processor's time, the best of the rounds: other work on the machine does not count.

use std::hint::black_box;
use std::io::Read;

use raccord::edi::directory::Library;
use raccord::edi::document::document;
use raccord::edi::findings::Policy;
use raccord::edi::reader::{Event, Options, Reader};
use raccord::edi::syntax::{Limits, Segments};
use raccord::edi::tree::Tree;

// The hub's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LINES: usize = 20;

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

/// An interchange in three parts; the one in the middle may stand as often as wanted.
struct Sample {
    head: String,
    middle: String,
    tail: String,
}

impl Sample {
    fn whole(&self) -> String {
        [self.head.as_str(), &self.middle, &self.tail].concat()
    }
}

fn edifact(size: usize) -> Sample {
    let mut middle = String::new();
    let mut number = 0;
    while middle.len() < size {
        number += 1;
        let head = "BGM+220+4711+9'DTM+137:20260101:102'NAD+BY+5412345000013::9'NAD+SU+4012345500004::9'";
        middle += &format!("UNH+{number}+ORDERS:D:96A:UN:EAN008'{head}");
        for line in 1..=LINES {
            let item = "IMD+F++:::Walking shoe?, brown'QTY+21:12'MOA+203:294.00'PRI+AAA:24.50:CA'RFF+PL:SPRING26'";
            middle += &format!("LIN+{line}++4012345678901:EN'PIA+5+WS-4711-BR:SA'{item}");
        }
        middle += &format!("UNS+S'UNT+{}+{number}'", 7 + 7 * LINES);
    }
    let head = "UNB+UNOC:3+5412345000013:14+4012345500004:14+260101:1200+7'".to_owned();
    Sample { head, middle, tail: format!("UNZ+{number}+7'") }
}

fn x12(size: usize) -> Sample {
    let mut middle = String::new();
    let mut number = 0;
    while middle.len() < size {
        number += 1;
        middle += &format!(
            "ST*850*{number:04}~BEG*00*SA*4711**20260101~REF*DP*031~DTM*002*20260108~N1*BY*Alpha Stores*92*0001~"
        );
        for line in 1..=LINES {
            middle += &format!(
                "PO1*{line}*12*EA*24.50**UP*614141000012*VN*WS-4711-BR~PID*F****Walking shoe, brown~PO4*6*1*EA~"
            );
        }
        middle += &format!("CTT*{LINES}~SE*{}*{number:04}~", 7 + 3 * LINES);
    }
    let isa =
        "ISA*00*          *00*          *ZZ*ALPHA          *ZZ*BETA           *260101*1200*U*00401*000000007*0*P*>~";
    let head = format!("{isa}GS*PO*ALPHA*BETA*20260101*1200*3*X*004010~");
    Sample { head, middle, tail: format!("GE*{number}*3~IEA*1*000000007~") }
}

/// Gives the middle of a sample again and again.
struct Endless {
    sample: Sample,
    part: usize,
    at: usize,
    left: usize,
}

impl Endless {
    fn new(sample: Sample, left: usize) -> Endless {
        Endless { sample, part: 0, at: 0, left }
    }
}

impl Read for Endless {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let part = [&self.sample.head, &self.sample.middle, &self.sample.tail][self.part].as_bytes();
        let count = out.len().min(part.len() - self.at);
        out[..count].copy_from_slice(&part[self.at..self.at + count]);
        self.at += count;
        if self.at == part.len() && self.part < 2 {
            self.left = self.left.saturating_sub(part.len());
            self.part = if self.left == 0 { 2 } else { 1 };
            self.at = 0;
        }
        Ok(count)
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
