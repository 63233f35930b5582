//! Two texts compared, and what is told of them.

use std::io::Cursor;

use proptest::prelude::*;

use super::super::Input;
use super::*;

fn side(text: &str) -> Side {
    let bytes = text.as_bytes().to_vec();
    let input = Input { name: "a text".to_owned(), window: bytes.clone(), bytes: Box::new(Cursor::new(bytes)) };
    Side::of(input, &Reading::default()).expect("EDI or JSON")
}

fn joined(one: &str, other: &str, most_waiting: usize) -> Vec<Pair> {
    let mut all = Vec::new();
    pairs(&mut side(one), &mut side(other), Library::shipped(), most_waiting, |pair| all.push(pair))
        .expect("in memory");
    all
}

/// What differs in the messages of two texts, a line each; of the envelope after `!`.
fn differences(one: &str, other: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for pair in joined(one, other, MOST_WAITING) {
        let (first, second) = match pair {
            Pair::Both(first, second) => (first, second),
            Pair::First(item) => {
                lines.push(format!("- {} {}", item.kind.name, item.reference));
                continue;
            }
            Pair::Second(item) => {
                lines.push(format!("+ {} {}", item.kind.name, item.reference));
                continue;
            }
        };
        let found = Library::shipped().find(first.dialect, &first.kind, first.syntax);
        let told = compare(found, first.dialect, &first.document, &second.document);
        let all = told.envelope.iter().map(|difference| ("!", difference));
        for (sign, difference) in all.chain(told.content.iter().map(|difference| ("", difference))) {
            let Difference { what, place, label, of, from, to, .. } = difference;
            lines.push(match what {
                What::Moved => format!("{sign}{place} ~"),
                What::Added => format!("{sign}{place} {label} ({of}) + {to}"),
                What::Removed => format!("{sign}{place} {label} ({of}) - {from}"),
                What::Changed => format!("{sign}{place} {label} ({of}) {from} -> {to}"),
            });
        }
    }
    lines
}

fn check(one: &str, other: &str, expect: &[&str]) {
    assert_eq!(differences(one, other), expect, "{one}\n{other}");
    let back: Vec<String> = differences(other, one);
    assert_eq!(back.is_empty(), expect.is_empty(), "{back:?}");
}

/// Messages of these bodies in an interchange.
fn edifact(bodies: &[&str]) -> String {
    let mut out = "UNB+UNOC:3+4012345000009:14+5412345000006:14+260105:0930+IC1'".to_owned();
    for (at, body) in bodies.iter().enumerate() {
        let (reference, segments) = (at + 1, body.matches('\'').count() + 2);
        out.push_str(&format!("UNH+{reference}+ORDERS:D:96A:UN'{body}UNT+{segments}+{reference}'"));
    }
    format!("{out}UNZ+{}+IC1'", bodies.len())
}

const BODY: &str = "BGM+220+PO-1+9'DTM+137:20260105:102'NAD+BY+5412345000006::9'NAD+SU+4012345000009::9'\
                    LIN+1++4006381000017:EN'QTY+21:12'PRI+AAA:5.00'LIN+2++4006381000024:EN'QTY+21:6'\
                    LIN+3++4006381000031:EN'QTY+21:7'UNS+S'";

fn changed(from: &str, to: &str) -> String {
    let body = BODY.replace(from, to);
    assert_ne!(body, BODY, "{from}");
    edifact(&[&body])
}

#[test]
fn values_are_compared_as_what_they_are() {
    let one = edifact(&[BODY]);
    check(&one, &one, &[]);
    check(&one, &changed("QTY+21:12'", "QTY+21:012.0'"), &[]);
    check(&one, &changed("PRI+AAA:5.00'", "PRI+AAA:5'"), &[]);
    check(&one, &changed("PRI+AAA:5.00'", "PRI+AAA: 5,0 '"), &[]);
    check(&one, &changed("PO-1+9'", "PO-1 +9+'"), &[]);
    check(&one, &one.replace('\'', "'\r\n"), &[]);
    let delimiters =
        format!("UNA#*,? ~{}", one.replace(':', "#").replace('+', "*").replace('\'', "~").replace("5.00", "5,00"));
    check(&one, &delimiters, &[]);
    // An article number is no number.
    let more = changed("4006381000024", "04006381000024");
    let article = "LIN_group[1].LIN.C212.E7140 article number (line 2) 4006381000024 -> 04006381000024";
    check(&one, &more, &[article]);
    let quantity = "LIN_group[1].QTY[0].C186.E6060 quantity (line 2, quantity 21) 6 -> 6.01";
    check(&one, &changed("QTY+21:6'", "QTY+21:6.01'"), &[quantity]);
    for (text, plain) in [("007", "7"), ("-0,50", "-0.5"), ("+1.0", "1"), ("0.00", "0"), (".5", "0.5"), ("5.", "5")] {
        assert_eq!(meaning::plain_number(text).as_deref(), Some(plain), "{text}");
    }
    for text in ["", "-", ".", "1.2.3", "1e3", "a dozen", "1 2"] {
        assert_eq!(meaning::plain_number(text), None, "{text}");
    }
}

#[test]
fn lists_are_aligned_before_they_are_compared() {
    let one = edifact(&[BODY]);
    let parties = "NAD+BY+5412345000006::9'NAD+SU+4012345000009::9'";
    check(&one, &changed(parties, "NAD+SU+4012345000009::9'NAD+BY+5412345000006::9'"), &["NAD_group ~"]);
    check(
        &one,
        &changed(parties, "NAD+BY+5412345000006::9'"),
        &["!UNT.E0074 segments () 14 -> 13", "NAD_group[1] party () - SU 4012345000009 9"],
    );
    // A line put in: those after it have other numbers, and nothing else.
    let more = changed(
        "LIN+2++4006381000024:EN'QTY+21:6'LIN+3+",
        "LIN+2++4006381000048:EN'LIN+3++4006381000024:EN'QTY+21:6'LIN+4+",
    );
    check(
        &one,
        &more,
        &[
            "!UNT.E0074 segments () 14 -> 15",
            "LIN_group[1].LIN.E1082 line number (line 2) 2 -> 3",
            "LIN_group[2].LIN.E1082 line number (line 3) 3 -> 4",
            "LIN_group[1] line () + 2 4006381000048 EN",
        ],
    );
    // Many lines with other numbers are one difference.
    let lines =
        |from: usize| -> String { (0..9).map(|at| format!("LIN+{}++40063810000{at}:EN'", from + at)).collect() };
    let numbered = |from: usize| edifact(&[&format!("BGM+220+PO-1+9'{}UNS+S'", lines(from))]);
    let told = "LIN_group[].LIN.E1082 line number () 1, 2, 3 … (9 lines) -> 4, 5, 6 … (9 lines)";
    check(&numbered(1), &numbered(4), &[told]);
    // Another article on the same line.
    check(
        &one,
        &changed("LIN+3++4006381000031", "LIN+3++4006381000055"),
        &["LIN_group[2].LIN.C212.E7140 article number (line 3) 4006381000031 -> 4006381000055"],
    );
    check(
        &one,
        &changed("DTM+137:20260105:102'", "DTM+2:20260112:102'DTM+137:20260105:102'"),
        &["!UNT.E0074 segments () 14 -> 15", "DTM[0] date or period () + 2 20260112 102"],
    );
    // Segments the definition does not have.
    check(
        &one,
        &changed("UNS+S'", "XXX+1:2'UNS+S'"),
        &["!UNT.E0074 segments () 14 -> 15", "LIN_group[2]._other[0]  (line 3) + XXX 1 2"],
    );
}

#[test]
fn messages_are_joined_by_reference_then_by_what_they_begin_with() {
    let [a, b, c] = ["PO-1", "PO-2", "PO-3"].map(|number| BODY.replace("PO-1", number));
    let three = edifact(&[&a, &b, &c]);
    check(&three, &three, &[]);
    // The references are others: what they begin with tells.
    let two = edifact(&[&b, &c]).replace("UNH+1+", "UNH+91+").replace("UNH+2+", "UNH+92+");
    let told = differences(&three, &two);
    let content: Vec<&String> = told.iter().filter(|line| !line.starts_with('!')).collect();
    assert_eq!(content, ["- ORDERS 1"], "{told:?}");
    // Else their order.
    let other = edifact(&[&a.replace("PO-1", "PO-7")]).replace("UNH+1+", "UNH+8+");
    let told = differences(&edifact(&[&a]), &other);
    assert_eq!(told, ["!UNH.E0062 message reference () 1 -> 8", "BGM.E1004 document number () PO-1 -> PO-7"]);
    let other_type = edifact(&[&a]).replace("ORDERS:", "ORDRSP:");
    check(&edifact(&[&a]), &other_type, &["- ORDERS 1", "+ ORDRSP 1"]);
    // What may wait is bounded: what waits longest is then joined by its type.
    let swapped =
        edifact(&[&c, &b, &a]).replace("UNH+1+", "UNH+X+").replace("UNH+3+", "UNH+1+").replace("UNH+X+", "UNH+3+");
    let both = |most: usize| {
        joined(&three, &swapped, most)
            .iter()
            .filter(|pair| match pair {
                Pair::Both(one, other) => one.reference == other.reference,
                _ => false,
            })
            .count()
    };
    assert_eq!((both(MOST_WAITING), both(10)), (3, 1));
}

#[test]
fn x12_is_compared_the_same_way() {
    let set = |lines: &str| {
        format!(
            "ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *260105*0930*U*00401*000000042*1*P*>~\
             GS*PO*S*R*20260105*0930*42*X*004010~ST*850*0001~BEG*00*SA*PO-1**20260105~REF*DP*099~REF*IA*1~\
             N1*BY*Shop*92*17~N1*ST*Store*92*18~{lines}CTT*2~SE*11*0001~GE*1*42~IEA*1*000000042~"
        )
    };
    let one = set("PO1*1*12*EA*5.00**UP*400638100001~PO1*2*6*EA*1**UP*400638100002~");
    check(&one, &one, &[]);
    check(
        &one,
        &set("PO1*1*12.0*EA*5**UP*400638100001~PO1*02*6*EA*1**UP*400638100002~"),
        &["PO1_loop[1].PO1.PO101 line number (order line 2) 2 -> 02"],
    );
    check(&one, &one.replace("REF*DP*099~REF*IA*1~", "REF*IA*1~REF*DP*099~"), &["REF ~"]);
    check(&one, &one.replace("*92*18~", "*92*19~"), &["N1_loop[1].N1.N104 id (party ST) 18 -> 19"]);
}

#[test]
fn json_of_another_shape_is_compared_too() {
    let json = |bgm: &str| {
        format!(
            r#"{{"interchange": {{"dialect": "edifact", "version": "3"}}, "message": {{"type": "ORDERS", "version": "D", "release": "96A",
            "reference": "1"}}, "document": {{{bgm}}}}}"#
        )
    };
    let one = json(r#""BGM": "PO-1""#);
    check(&one, &one, &[]);
    check(&one, &json(r#""BGM": "PO-2""#), &["BGM  () PO-1 -> PO-2"]);
    check(&one, &json(r#""BGM": {"E1004": "PO-1", "more": [1, {"deep": 2}]}"#), &["BGM  () PO-1 -> PO-1 1 2"]);
    check(&json(r#""QTY": {"C186": {"x": 1}}"#), &json(r#""QTY": {"C186": {"x": 2}}"#), &["QTY  () 1 -> 2"]);
    check(
        &json(r#""BGM": {"E1004": ["a", "b"]}"#),
        &json(r#""BGM": {"E1004": ["a", "c"]}"#),
        &["BGM.E1004 document number () a b -> a c"],
    );
    let line = |inner: &str| json(&format!(r#""LIN_group": [{{"LIN": {{"E1082": "1"{inner}}}}}]"#));
    check(&line(""), &line(r#", "C212": {}, "E1229": " ""#), &[]);
    check(&line(r#", "C212": "x""#), &line(r#", "C212": "y""#), &["LIN_group[0].LIN.C212 article (line 1) x -> y"]);
    check(&line(r#", "own": 1"#), &line(r#", "own": 2"#), &["LIN_group[0].LIN.own  (line 1) 1 -> 2"]);
    check(
        &line(r#"}, "QTY": {"a": "x""#),
        &line(r#"}, "QTY": ["y"], "PIA": {"a": "y""#),
        &["LIN_group[0].PIA[0] other article codes (line 1) + y", "LIN_group[0].QTY  (line 1) x -> y"],
    );
    // Deeper than any message.
    let deep = |inner: &str| json(&format!("\"NAD\": {}{inner}{}", "{\"a\": ".repeat(90), "}".repeat(90)));
    check(&deep("1"), &deep("1"), &[]);
}

/// Whatever the first file says, it says the same as itself, and as itself written in another way.
#[test]
fn any_message_is_equal_to_itself() {
    let cases = if std::env::var_os("RACCORD_LONG").is_some() { 5_000 } else { 60 };
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let segment = prop::sample::select(vec![
        "DTM+137:20260105:102'",
        "DTM+2:20260112:102'",
        "NAD+BY+1::9'",
        "NAD+SU+2::9'",
        "RFF+ON:7'",
        "FTX+AAI+++words'",
        "LIN+1++400:EN'",
        "LIN+2++401:EN'",
        "LIN+2++400:EN'",
        "LIN'",
        "QTY+21:5'",
        "QTY+21:6'",
        "QTY+12:5'",
        "PIA+1+9:SA'",
        "PAC+3'",
        "MOA+203:12.50'",
        "ALC+A'",
        "XYZ+1:2+3'",
        "UNS+S'",
        "CNT+2:2'",
    ]);
    proptest!(config, |(segments in prop::collection::vec(segment, 0..40), at in any::<prop::sample::Index>())| {
        let body = format!("BGM+220+PO-1+9'{}", segments.concat());
        let one = edifact(&[&body]);
        prop_assert_eq!(differences(&one, &one), Vec::<String>::new());
        // One segment less is always a difference: of the count, and of what it said.
        if !segments.is_empty() {
            let mut fewer = segments.clone();
            let gone = fewer.remove(at.index(segments.len()));
            let told = differences(&one, &edifact(&[&format!("BGM+220+PO-1+9'{}", fewer.concat())]));
            prop_assert!(told.iter().any(|line| !line.starts_with('!') && !line.ends_with('~')), "{gone} {told:?}");
        }
    });
}
