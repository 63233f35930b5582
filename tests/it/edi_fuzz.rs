//! A short run of the fuzz targets (`fuzz/src/targets.rs`) that needs no fuzzer: samples changed at random from a seed, and
//! every input that once failed (`tests/edi/found`, named after its target). `tests/run --fuzz` is the long run.

use std::path::Path;

use super::sources::root;

#[path = "../../fuzz/src/targets.rs"]
mod targets;

/// That of `RACCORD_SEED`, else always the same: a run of minutes is for finding, this one for keeping.
const SEED: u64 = 20_260_105;
const CASES: u64 = 1500;

type Target = (&'static str, fn(&[u8]));
const TARGETS: [Target; 4] =
    [("edifact", targets::edifact), ("x12", targets::x12), ("tree", targets::tree), ("writer", targets::writer)];

/// What a change puts in: delimiters, service segments, what numbers and texts are made of.
const WORDS: [&[u8]; 24] = [
    b"'",
    b"+",
    b":",
    b"?",
    b"*",
    b"~",
    b">",
    b"^",
    b"\n",
    b"\r\n",
    b" ",
    b"\0",
    b"\xC3\xA9",
    b"\xFF",
    b"UNA:+.? '",
    b"UNB+UNOC:3+A+B'",
    b"UNH+1+ORDERS:D:96A:UN'",
    b"UNT+2+1'",
    b"UNZ+1+1'",
    b"ISA*00*",
    b"GS*PO*",
    b"ST*850*0001~",
    b"SE*2*0001~",
    b"IEA*1*1~",
];

#[test]
fn samples_changed_at_random_do_no_harm() {
    let seed = std::env::var("RACCORD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    let cases = if std::env::var_os("RACCORD_LONG").is_some() { CASES * 100 } else { CASES };
    println!("RACCORD_SEED={seed}");
    let samples = samples(&root().join("tests/edi"));
    for (name, target) in TARGETS {
        for case in 0..cases {
            let data = changed(&samples, &mut Random(seed ^ (case << 20)));
            run(&format!("RACCORD_SEED={seed}, {name}, case {case}"), target, &data);
        }
    }
}

#[test]
fn what_once_failed_fails_no_more() {
    let mut run_ = 0;
    for entry in std::fs::read_dir(root().join("tests/edi/found")).expect("it ships").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let target = TARGETS.iter().find(|(target, _)| name.starts_with(&format!("{target}-")));
        let (_, target) = target.unwrap_or_else(|| panic!("{name} does not begin with the name of a target"));
        run(&name, *target, &std::fs::read(entry.path()).expect("it was just listed"));
        run_ += 1;
    }
    assert!(run_ > 0, "nothing was read");
}

/// A failure says what it failed on.
fn run(name: &str, target: fn(&[u8]), data: &[u8]) {
    if std::panic::catch_unwind(|| target(data)).is_err() {
        panic!("{name}: {}", data.escape_ascii());
    }
}

fn samples(folder: &Path) -> Vec<Vec<u8>> {
    let read = |name: &str| std::fs::read(folder.join(name)).expect("it ships");
    vec![read("orders.edi"), read("850.x12"), Vec::new()]
}

fn changed(samples: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut data = samples[random.below(samples.len())].clone();
    for _ in 0..random.below(12) {
        let at = random.below(data.len() + 1);
        let end = (at + 1 + random.below(40)).min(data.len());
        match random.below(6) {
            0 | 1 => drop(data.splice(at..at, WORDS[random.below(WORDS.len())].iter().copied())),
            2 => drop(data.drain(at..end)),
            3 => {
                let part = data[at..end].to_vec();
                data.splice(at..at, part);
            }
            4 if at < data.len() => data[at] = random.below(256) as u8,
            _ => {
                let noise: Vec<u8> = (0..random.below(60)).map(|_| random.below(256) as u8).collect();
                data.splice(at..at, noise);
            }
        }
    }
    data
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((word ^ (word >> 31)) % count.max(1) as u64) as usize
    }
}
