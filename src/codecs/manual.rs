//! The examples of `docs/documents.md` are true.

use super::testing::read;
use crate::message::{Value, json};

struct Block<'t> {
    /// What stands behind the three marks: `json document`.
    what: &'t str,
    text: &'t str,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let marked: Vec<&str> = page.split("```").collect();
    assert!(marked.len() % 2 == 1, "a block is not closed");
    let block = |text| {
        let (what, text) = str::split_once(text, '\n').expect("a block begins with what it is");
        Block { what, text }
    };
    marked.into_iter().skip(1).step_by(2).map(block).collect()
}

#[test]
fn the_examples_of_the_manual_are_true() {
    let blocks = blocks(include_str!("../../docs/documents.md"));
    assert!(blocks.len() >= 3 * super::ALL.len(), "each format has an example");
    for example in blocks.chunks(3) {
        let [settings, bytes, expect] = example else { panic!("an example is settings, bytes, document") };
        assert_eq!(settings.what, "yaml settings");
        let codec = read(settings.text);
        let expect: Vec<Value> = match expect.what {
            "json document" => vec![value(expect.text)],
            "json records" => expect.text.lines().map(value).collect(),
            other => panic!("`{other}` is not known"),
        };
        if example[2].what == "json document" {
            assert_eq!(codec.decode(bytes.text.as_bytes()).expect(bytes.text), expect[0]);
        } else {
            let mut records = codec.records(Box::new(bytes.text.as_bytes())).expect(settings.text);
            let all = std::iter::from_fn(|| records.next());
            let all: Vec<Value> = all.map(|record| record.expect("no fault").document.expect("no fault")).collect();
            assert_eq!(all, expect);
        }
        if bytes.what.ends_with("both ways") {
            let written = codec.encode(&expect[0]).expect(bytes.text);
            assert_eq!(String::from_utf8_lossy(&written).trim_end(), bytes.text.trim_end());
        }
    }
}

fn value(text: &str) -> Value {
    json::read(text.as_bytes()).expect(text)
}
