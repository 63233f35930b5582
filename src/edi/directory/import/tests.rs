//! Texts of our own in the form of a directory's.

use super::*;
use crate::edi::directory::Directory;

const MESSAGE: &str = "
                          A message of our own

                                           Message Type : GREETS
                                           Version      : D
                                           Release      : 97A
                                           Contr. Agency: UN

4.1.1  Header section

0010   UNH, Message header
       A service segment.

4.3.1  Segment table

Pos    Tag Name                                     S   R

            HEADER SECTION

0010   UNH Message header                           M   1
0020 * BGM Beginning of message                     M   1
0030   FTX Free text                                C   99

0040       ---- Segment group 1  ------------------ C   10--------------+
0050   NAD Name and address                         M   1               |
                                                                        |
0060 +     ---- Segment group 2  ------------------ M   5--------------+|
0070   CTA Contact information                      M   1              ||
0080   COM Communication contact with a rather long                    ||
               name                                 C   5--------------++

            DETAIL SECTION

0090   UNS Section control                          M   1
0100       ---- Segment group 3  ------------------ C   9999------------+
0110   LIN Line item                                M   1---------------+
0120   UNT Message trailer                          M   1

       Annex: 0130   XYZ what follows the table     M   1
";

const PARTS: &str = "
          A directory of our own. The signs before a name say what changed.

----------------------------------------------------------------------

   *   BGM  BEGINNING

       Function: To begin, as
                 C058 may say
                 3035 times.

010    C901 KIND OF GREETING                           C    1
       9901  Kind, coded                               M      an..3
       9902  Kind                                      C      an..35

020 +  9903 NUMBER OF THE GREETING                     C    5 an..70

       Note: 010 is not a place here.

----------------------------------------------------------------------

       FTX   WORDS

010   9904  WORDS                                          M  an..350

----------------------------------------------------------------------

       NAD  WHO

010    9904 WORDS                                      M    1 an..350

020    C901 KIND OF A GREETING WHOSE NAME
            GOES ON                                    C    9

----------------------------------------------------------------------

       CTA  WHOM

010    9903 NUMBER                                     C    1 an..70

----------------------------------------------------------------------

       COM  HOW

010    9903 NUMBER                                     C    1 an..70

----------------------------------------------------------------------

       LIN  WHAT

010    9905 PIECES                                     M    1 n..6

----------------------------------------------------------------------

       C901 KIND OF GREETING

       Desc: What is said.

010    9901  Kind, coded                               M      an..3
020    9902  Kind                                      C      an..35

----------------------------------------------------------------------

     9901  Kind, coded                                             [C]

     Desc: A code.

     Repr: an..3

----------------------------------------------------------------------
  |  9902  Kind                                                    [B]
     Repr: an..35
----------------------------------------------------------------------
   9903  Number of the greeting
   Repr: an..70
----------------------------------------------------------------------
   9904  Words
   Repr: an..350
----------------------------------------------------------------------
   9905  Pieces
   Repr: n..6
";

const STRUCTURE: &str = "UNH! BGM! FTX:99 (1:10 NAD! (2!:5 CTA! COM:5)) UNS! (1:9999 LIN!) UNT!";

fn read(texts: &[&[u8]]) -> (Import, Vec<Left>) {
    let (mut import, mut left) = (Import::default(), Vec::new());
    for text in texts {
        import.read(text, &mut left);
    }
    (import, left)
}

#[test]
fn a_directory_becomes_tables() {
    let (import, left) = read(&[MESSAGE.as_bytes(), PARTS.as_bytes()]);
    assert_eq!(left, []);
    let made = import.make(None, "", &[]).expect("whole");
    assert_eq!((made.messages, made.segments, made.left.len()), (1, 6, 0));
    let expect = format!(
        "d edifact D.97A\nm GREETS {STRUCTURE}\ns BGM C901 9903*5\ns COM 9903\ns CTA 9903\ns FTX 9904!\ns LIN 9905!\n\
         s NAD 9904! C901*9\nc C901 9901! 9902\ne 9901 an..3\ne 9902 an..35\ne 9903 an..70\ne 9904 an..350\ne 9905 n..6\n\
         l C901 kind of greeting\nl 9901 kind, coded\nl 9902 kind\nl 9903 number of the greeting\nl 9904 words\nl 9905 pieces\n"
    );
    let tables = made.tables.split_once('\n').expect("a comment").1;
    assert_eq!(tables, expect);
    let directory = Directory::parse(Dialect::Edifact, "D.97A", &[&made.tables]).expect("it can be read again");
    assert_eq!(directory.label(Tag::new("9905")), Some("pieces"));
    assert_eq!(directory.label(Tag::new("NAD")), Some("party"));
}

#[test]
fn lines_drawn_as_in_dos_and_tables_without_numbers_are_read() {
    let drawn = MESSAGE
        .replace("--++", "--\u{D9}\u{D9}")
        .replace('|', "\u{B3}")
        .replace("--+", "--\u{BF}")
        .replace('-', "\u{C4}");
    // As bytes of the code page of DOS, which are not UTF-8.
    let bytes: Vec<u8> = drawn.chars().map(|c| u8::try_from(u32::from(c)).expect("one byte")).collect();
    let numberless = |line: &str| {
        if line.len() > 7 && line.starts_with("00") || line.starts_with("01") {
            format!("       {}", &line[7..])
        } else {
            line.to_owned()
        }
    };
    let numberless: Vec<String> = MESSAGE
        .replace(" with a rather long                    ||\n               name    ", "                              ")
        .lines()
        .map(numberless)
        .collect();
    for text in [bytes, numberless.join("\r\n").into_bytes()] {
        let (import, left) = read(&[&text]);
        assert_eq!(left, []);
        assert_eq!(import.messages["GREETS"], STRUCTURE);
    }
}

#[test]
fn what_cannot_be_read_is_left_out_and_told() {
    let check = |from: &str, to: &str, expect: &str| {
        let text = MESSAGE.replace(from, to);
        assert_ne!(text, MESSAGE, "{from}");
        let (_, left) = read(&[text.as_bytes()]);
        assert!(left.len() == 1 && left[0].why.contains(expect), "{left:?}");
    };
    check(
        "0050   NAD Name and address                         M   1               |",
        "0050   NAD Who M 1",
        "1 open groups, but 0 lines at NAD",
    );
    check("0120   UNT", "0120   UNX", "the segment table of GREETS does not end with UNT");
    check("0010   UNH Mess", "0010   UNI Mess", "has no segment table that begins with UNH");
    check("-+|\n", "-++|\n", "the lines at the end do not fit");
    let (import, left) = read(&[MESSAGE.as_bytes(), PARTS.replace("LIN  WHAT", "LAN  WHAT").as_bytes()]);
    assert_eq!(left, []);
    assert_eq!(import.make(None, "", &[]).expect("made").left, ["GREETS: no text describes its segment LIN"]);
    let (_, left) = read(&[PARTS.replace("M    1 n..6", "n..6").as_bytes()]);
    assert!(left[0].why.contains("LIN: `010    9905 PIECES") && left[0].line > 50, "{left:?}");
    let error = |texts: &[&[u8]], release: Option<&str>, only: &[String]| {
        read(texts).0.make(release, "", only).expect_err("not whole")
    };
    assert!(error(&[], None, &[]).contains("say it by --release"));
    assert!(error(&[PARTS.as_bytes()], Some("D.97A"), &[]).contains("there is no message in it"));
    assert!(error(&[MESSAGE.as_bytes()], Some("97A"), &[]).contains("a release is written as"));
    assert!(error(&[MESSAGE.as_bytes()], None, &["ORDERS".to_owned()]).contains("there is no message ORDERS"));
    let other = MESSAGE.replace(": GREETS", ": PARTS").replace(": 97A", ": 98A");
    assert!(error(&[MESSAGE.as_bytes(), other.as_bytes()], None, &[]).contains("several releases (D.97A, D.98A)"));
}

/// Texts cut, doubled and changed anywhere are read without a panic, and what tables come of them can be read.
#[test]
fn damaged_texts_do_no_harm() {
    use proptest::prelude::*;
    let whole = [MESSAGE, PARTS].concat();
    let cases = if std::env::var_os("RACCORD_LONG").is_some() { 20_000 } else { 300 };
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_usize), 1..12))| {
        let mut bytes = whole.clone().into_bytes();
        for (at, byte, act) in edits {
            let at = at.index(bytes.len());
            match act {
                0 => bytes[at] = byte,
                1 => drop(bytes.drain(at..(at + usize::from(byte)).min(bytes.len()))),
                _ => bytes.insert(at, b"|+-M\n 1"[usize::from(byte) % 7]),
            }
        }
        for text in [&bytes[..], &bytes[bytes.len() / 2..]] {
            let (import, _) = read(&[text, PARTS.as_bytes()]);
            if let Ok(made) = import.make(Some("D.97A"), "", &[]) {
                let read = Directory::parse(Dialect::Edifact, "D.97A", &[&made.tables]);
                prop_assert!(read.is_ok(), "{:?}: {}", read.err(), made.tables);
            }
        }
    });
}

#[test]
fn a_spreadsheet_becomes_messages() {
    let heading = |said: &str| Heading::read(said).expect("right").expect("there");
    let sheet = "status;message;note;segment;group;max\nM;ORDERS;a;UNH;;1\nM;ORDERS;;BGM;;1\nR;ORDERS;;SG2;;99\n\
                 M;ORDERS;;NAD;SG2;1\nN;ORDERS;;SG3;SG2;9\nM;ORDERS;;RFF;SG3;1\nO;ORDERS;;SG5;SG2;\nM;ORDERS;;CTA;SG5;1\n\
                 ;;;;;\nC;ORDERS;;CNT;;>\nM;ORDERS;;UNT;;1\n";
    assert!(is_spreadsheet(sheet) && !is_spreadsheet("a;b;c"));
    let made = spreadsheet(sheet, heading("d edifact D.96A OWN")).expect("right");
    let tables = made.tables.split_once('\n').expect("a comment").1;
    assert_eq!(tables, "d edifact D.96A OWN\nm ORDERS UNH! BGM! (2!:99 NAD! (5 CTA!)) CNT:> UNT!\n");
    let check = |rows: &str, line: usize, expect: &str| {
        let text = format!("message,group,segment,status,max\n{rows}");
        let left = spreadsheet(&text, heading("d x12 004010")).expect_err("wrong");
        assert!(left.line == line && left.why.contains(expect), "{left:?}");
    };
    check("", 0, "it has no rows");
    check("850,,ST,M,1\n850,,NAMES,M,1", 3, "`NAMES` is neither a segment nor a group");
    check("850,,ST,M,many", 2, "`many` is not how often");
    check("850,SG1,ST,M,1", 2, "the group SG1 has no row above");
    check("850,,SG1,M,1\n850,,SG1,M,1", 3, "the group SG1 has two rows");
    check("850,,SG1,M,1\n", 2, "does not begin with a segment");
}
