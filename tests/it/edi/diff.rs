//! Two versions of a supplier's file compared as a person does: by a glance, by a script, against JSON.

use raccord::message::{Value, json};

use super::{holds, path, raccord, sample, told};

/// The sample in another interchange, its first order with another quantity.
fn changed() -> Vec<u8> {
    let text = std::fs::read_to_string(sample("orders.edi")).expect("it ships");
    let changed = text.replace("IC1042", "IC1043").replacen("QTY+21:12'", "QTY+21:10'", 1);
    assert_ne!(text.replace("IC1042", "IC1043"), changed, "the sample has another quantity");
    changed.into_bytes()
}

#[test]
fn a_person_sees_what_differs_and_a_script_the_exit_code() {
    let orders = sample("orders.edi");
    assert_eq!(told(&["diff", path(&orders), path(&orders)], 0), "No difference in 2 messages.\n");
    let output = raccord(&["diff", path(&orders), "-"], &changed());
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1));
    let expect = format!(
        "--- {}\n+++ standard input\n\nThe interchange around the messages\n  reference\n  - IC1042\n  + IC1043\n\n\
         ORDERS 1\n  LIN_group[0].QTY[0].C186.E6060  quantity (line 1, quantity 21)\n  - 12\n  + 10\n",
        orders.display()
    );
    assert_eq!(shown, expect);
    holds(&String::from_utf8_lossy(&output.stderr), &["1 of 2 messages differ, 1 envelope around them."]);
    // Without envelopes, for machines.
    let output = raccord(&["diff", "--content", "--json", path(&orders), "-"], &changed());
    let read = json::read(&output.stdout).expect("JSON");
    let all = read.as_list().expect("a list");
    assert_eq!(all.len(), 1, "{read:?}");
    let one = &all[0].get("differences").and_then(Value::as_list).expect("a list")[0];
    let said = |name: &str| one.get(name).and_then(Value::as_text).unwrap_or_default();
    assert_eq!(["what", "about", "from", "to"].map(said), ["changed", "content", "12", "10"]);
    assert_eq!(said("place"), "LIN_group[0].QTY[0].C186.E6060");
    let only_envelope = std::fs::read_to_string(&orders).expect("it ships").replace("IC1042", "IC1043");
    for (more, code) in [(&["--content"][..], 0), (&[][..], 1)] {
        let output = raccord(&[&["diff"], more, &[path(&orders), "-"]].concat(), only_envelope.as_bytes());
        assert_eq!(output.status.code(), Some(code), "{more:?}");
    }
}

#[test]
fn edi_is_compared_with_json() {
    for name in ["orders.edi", "850.x12"] {
        let documents = told(&["convert", path(&sample(name))], 1);
        let output = raccord(&["diff", path(&sample(name)), "-"], documents.as_bytes());
        assert_eq!(String::from_utf8_lossy(&output.stdout), "No difference in 2 messages.\n", "{name}");
        // A number of JSON is the number.
        let numbers = documents.replace(r#":"12""#, ":12.0");
        assert_ne!(numbers, documents);
        let output = raccord(&["diff", "-", path(&sample(name))], numbers.as_bytes());
        assert_eq!(output.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn what_cannot_be_compared_is_two() {
    let orders = sample("orders.edi");
    let check = |arguments: &[&str], input: &[u8], expect: &str| {
        let output = raccord(arguments, input);
        holds(&String::from_utf8_lossy(&output.stderr), &[expect]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    };
    check(&["diff", path(&orders), "/no/such/file"], b"", "cannot read /no/such/file");
    check(&["diff", path(&orders), "-"], b"%PDF-1.7", "standard input is not EDI, it looks like a PDF");
    check(&["diff", path(&orders), "-"], b"{\"order\": 1}", "JSON document 1 has no map `interchange`");
    check(&["diff", "-", "-"], b"", "only one of the two can be standard input");
    check(&["diff", path(&orders)], b"", "required arguments were not provided");
}
