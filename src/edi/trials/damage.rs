//! Valid interchanges, cut off and with bytes changed at random: any result will do, but there must be one, every byte kept.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::large::{edifact, x12};
use crate::edi::acknowledgments::{Acknowledgment, Receipt, contrl, functional};
use crate::edi::directory::Library;
use crate::edi::document::document;
use crate::edi::findings::Policy;
use crate::edi::reader::{Event, Options, Reader};
use crate::edi::tree::Tree;
use crate::edi::writer::{Header, InterchangeWriter, Profile};

/// Reads `bytes` as far as can be, and writes what was read.
fn survive(bytes: &[u8]) {
    let begun = Instant::now();
    let mut reader = Reader::new(bytes, Options::default());
    let (mut raw, mut profile, mut receipt) = (Vec::new(), Profile::edifact(), Receipt::default());
    while let Some(event) = reader.read().expect("a slice does not fail") {
        raw.extend_from_slice(event.raw());
        event.findings().list().iter().for_each(|finding| drop(finding.to_string()));
        match event {
            Event::Interchange(interchange) => profile = Profile::like(interchange),
            Event::Message(message) => {
                let tree = Tree::read(message, Library::shipped(), &Policy::default(), 100);
                let document = document(&tree);
                if let Some(read) = Acknowledgment::read(&document) {
                    read.reasons().for_each(|(_, reason)| drop(reason.to_string()));
                    read.fate_of("1", "1");
                }
                let policy = Policy::tolerant();
                let tolerant = Profile { policy, ..profile.clone() };
                let writer = InterchangeWriter::new(Vec::new(), &tolerant, Library::shipped(), Header::default());
                // A damaged message may be refused: that is a result too.
                if let Ok(mut writer) = writer {
                    drop(writer.message(&message.kind, &message.reference, &document));
                }
            }
            Event::Other(other) => {
                let segment = other.record.get(0);
                segment.and_then(|segment| Acknowledgment::read_ta1(&segment, &profile.notation()));
            }
            _ => {}
        }
        receipt.note(&event, None);
        drop(contrl(&receipt, false));
        receipt.groups.iter().for_each(|group| drop(functional(group, true)));
    }
    assert_eq!(raw, bytes, "every byte is kept");
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
}

/// A runner and its seed: that of `RACCORD_SEED`, else another each time. With `RACCORD_LONG` it has a hundred times the cases.
fn runner(cases: u32) -> (TestRunner, u64) {
    let told = std::env::var("RACCORD_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = told.unwrap_or_else(|| RandomState::new().hash_one(cases));
    let cases = if std::env::var_os("RACCORD_LONG").is_some() { cases * 100 } else { cases };
    let bytes: Vec<u8> = (0..4).flat_map(|part: u64| seed.wrapping_add(part).to_le_bytes()).collect();
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    (TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)), seed)
}

/// A failing case is printed made small, with the seed that makes it again.
fn check(sample: &str, cases: u32) {
    let bytes = sample.as_bytes().to_vec();
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"'+:?*~>^\r\n UNBIZSAG0".to_vec())];
    let change = (any::<Index>(), byte, 0..4u8);
    let damage = (prop::collection::vec(change, 0..8), any::<Index>(), any::<bool>());
    let (mut runner, seed) = runner(cases);
    let run = runner.run(&damage, |(changes, cut, whole)| {
        let mut bytes = bytes.clone();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes.insert(at, byte),
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                2 => bytes[at] ^= 1 << (byte & 7),
                _ => bytes[at] = byte,
            }
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        survive(&bytes);
        Ok(())
    });
    if let Err(failure) = run {
        panic!("RACCORD_SEED={seed}: {failure}");
    }
}

#[test]
fn damaged_edifact_is_survived() {
    check(&edifact(2, 3), 500);
    check(&format!("UNA:+.?*'\r\n{}", edifact(1, 1).replace("UNOC:3", "UNOC:4").replace('\'', "'\r\n")), 200);
}

#[test]
fn damaged_x12_is_survived() {
    check(&x12(2, 3), 500);
    check(&x12(1, 1).replace("*00401*", "*00501*").replace("*U*", "*^*").replace('~', "\n"), 200);
}

#[test]
fn damaged_acknowledgments_are_survived() {
    check(
        "UNB+UNOC:3+BETA:14+ALPHA:14+260101:1300+9'UNH+1+CONTRL:D:3:UN'UCI+77+ALPHA:14+BETA:14+7'UCM+1+ORDERS:D:96A:UN+4+29+UNT+1'\
         UCS+3+99'UCD+13+1:2'UCF+G1+A+B+4+30'UCF+G2+A+B+7'UCM+1+ORDERS:D:96A:UN+4'UNT+9+1'UNZ+1+9'",
        300,
    );
    check(
        "ISA*00*          *00*          *ZZ*BETA           *ZZ*ALPHA          *260101*1300*U*00401*000000009*0*P*>~\
         TA1*000000007*260101*1200*R*025~GS*FA*BETA*ALPHA*20260101*1300*9*X*004010~ST*997*0001~AK1*PO*3~AK2*850*0002~\
         AK3*BEG*2**8~AK4*3>1*324*1*X~AK5*R*4*5~AK9*P*3*3*2~SE*8*0001~GE*1*9~IEA*1*000000009~",
        300,
    );
}

#[test]
fn noise_is_survived() {
    let (mut runner, seed) = runner(500);
    let head = prop::sample::select(vec![
        "",
        "UNA",
        "UNB+UNOC:3+",
        "ISA*00*",
        "UNA:+.? 'UNB",
        "UNH+1+ORDERS:D:96A:UN'",
        "ISA",
    ]);
    let noise = (head, prop::collection::vec(any::<u8>(), 0..600));
    let run = runner.run(&noise, |(head, tail)| {
        survive(&[head.as_bytes(), &tail].concat());
        Ok(())
    });
    if let Err(failure) = run {
        panic!("RACCORD_SEED={seed}: {failure}");
    }
}
