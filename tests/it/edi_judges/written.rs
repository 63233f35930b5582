//! Interchanges the hub's writer makes: of the samples, of documents made for it, of a corpus, in many notations.

use raccord::edi::charset::Charset;
use raccord::edi::directory::Library;
use raccord::edi::findings::Policy;
use raccord::edi::reader::{Event, Interchange, Options, Party, Reader};
use raccord::edi::syntax::{Delimiters, Dialect};
use raccord::edi::tree::Tree;
use raccord::edi::writer::{GroupHeader, Header, InterchangeWriter, Newline, Profile, ServiceString, WriteError};

/// A file the writer made.
pub struct Written {
    pub name: String,
    pub bytes: Vec<u8>,
    pub messages: usize,
}

pub fn header() -> Header {
    let party = |id: &str| Party { id: id.to_owned(), qualifier: "ZZ".to_owned(), ..Party::default() };
    Header {
        sender: party("ALPHA"),
        receiver: party("BETA"),
        date: "20260105".to_owned(),
        time: "0930".to_owned(),
        reference: "42".to_owned(),
        ..Header::default()
    }
}

/// What is accepted without a finding of `bytes`, written again as `change` wants; none where nothing is.
pub fn again(name: &str, bytes: &[u8], change: impl Fn(&mut Profile)) -> Option<Written> {
    let (library, policy) = (Library::shipped(), Policy::default());
    let mut reader = Reader::new(bytes, Options::default());
    let mut opened: Option<Interchange> = None;
    let mut groups: Vec<(GroupHeader, Vec<raccord::edi::reader::Message>)> = Vec::new();
    while let Some(event) = reader.read().expect("a slice does not fail") {
        match event {
            // One interchange is made of all of them, in the notation of the first.
            Event::Interchange(interchange) => drop(opened.get_or_insert_with(|| interchange.clone())),
            Event::Group(group) => {
                let party = |id: &str| Party { id: id.to_owned(), ..Party::default() };
                let header = GroupHeader {
                    function: group.function.clone(),
                    sender: party("ALPHA"),
                    receiver: party("BETA"),
                    reference: (groups.len() + 1).to_string(),
                    agency: group.agency.clone(),
                    version: group.version.clone(),
                };
                groups.push((header, Vec::new()));
            }
            Event::Message(message) => {
                if groups.is_empty() {
                    groups.push((GroupHeader::default(), Vec::new()));
                }
                if let Some((_, messages)) = groups.last_mut() {
                    messages.push(message.clone());
                }
            }
            _ => {}
        }
    }
    let mut profile = Profile::like(&opened?);
    change(&mut profile);
    if profile.delimiters.fault().is_some() || !profile.delimiters.component.is_ascii() {
        return None;
    }
    let mut writer = InterchangeWriter::new(Vec::new(), &profile, library, header()).expect("a good header");
    let mut written = 0;
    for (group, messages) in &groups {
        let mut begun = profile.dialect == Dialect::Edifact && group.function.is_empty();
        for message in messages {
            let tree = Tree::read(message, library, &policy, 100);
            if tree.found.is_none() || !tree.findings.is_empty() || !message.findings.is_empty() {
                continue;
            }
            if !begun {
                writer.group(group.clone()).expect("a good group");
                begun = true;
            }
            let document = raccord::edi::document::document(&tree);
            match writer.message(&message.kind, &(written + 1).to_string(), &document) {
                Ok(findings) => assert!(findings.is_empty(), "{name}: {:?}", findings.list()),
                Err(WriteError::Refused(findings)) => panic!("{name}: {:?}", findings.list()),
                Err(WriteError::Io(error)) => panic!("{name}: {error}"),
            }
            written += 1;
        }
    }
    (written > 0).then(|| Written { name: name.to_owned(), bytes: writer.finish().expect("memory"), messages: written })
}

/// X12 by one of the two versions pyx12 knows; EDIFACT by a syntax, where the partner named none.
pub fn known(profile: &mut Profile) {
    if profile.syntax.is_empty() {
        (profile.syntax, profile.version) = ("UNOC".to_owned(), "3".to_owned());
    }
    if profile.dialect == Dialect::X12 {
        let repeats = profile.delimiters.repetition.is_some();
        profile.version = if repeats { "00501" } else { "00401" }.to_owned();
    }
}

/// A name, and what it changes of a profile.
type Notation<'a> = (&'a str, &'a dyn Fn(&mut Profile));

/// Interchanges in every notation a profile can ask for.
pub fn generated() -> Vec<Written> {
    let with = |change: &dyn Fn(&mut Delimiters)| {
        let mut delimiters = Delimiters::EDIFACT;
        change(&mut delimiters);
        delimiters
    };
    let edifact: [Notation<'_>; 9] = [
        ("plain", &|_| {}),
        ("no UNA", &|profile| profile.service_string = ServiceString::Never),
        ("UNA when needed", &|profile| profile.service_string = ServiceString::WhenNeeded),
        ("lines", &|profile| profile.newline = Newline::Lf),
        ("lines of DOS", &|profile| profile.newline = Newline::CrLf),
        ("decimal comma", &|profile| profile.delimiters.decimal = b','),
        ("UTF-8", &|profile| {
            (profile.syntax, profile.charset) = ("UNOY".to_owned(), Charset::UTF_8);
        }),
        ("syntax 4", &|profile| profile.version = "4".to_owned()),
        ("other delimiters", &|profile| {
            profile.delimiters = with(&|all| (all.element, all.component, all.segment) = (b'|', b'^', b'~'));
        }),
    ];
    let x12: [Notation<'_>; 6] = [
        ("4010", &|_| {}),
        ("5010", &|profile| {
            (profile.version, profile.delimiters.repetition) = ("00501".to_owned(), Some(b'^'));
        }),
        ("lines", &|profile| profile.newline = Newline::Lf),
        ("lines of DOS", &|profile| profile.newline = Newline::CrLf),
        ("a newline ends", &|profile| profile.delimiters.segment = b'\n'),
        ("other delimiters", &|profile| {
            let delimiters = &mut profile.delimiters;
            (delimiters.element, delimiters.component, delimiters.segment) = (b'|', b':', b'!');
        }),
    ];
    let mut all = Vec::new();
    for (kind, text) in [("orders", orders("", &["?+", "?'", "??", "?:", "é", "ß"])), ("groups", grouped_orders())] {
        let bytes = Charset::LATIN_1;
        let mut encoded = Vec::new();
        bytes.encode(&text, &mut encoded).expect("it is Latin-1");
        all.extend(edifact.iter().filter_map(|(name, change)| again(&format!("{kind}, {name}"), &encoded, change)));
    }
    let utf_8 = orders("UNOY", &["日本", "ż", "€"]);
    all.extend(again("orders beyond Latin-1", utf_8.as_bytes(), |_| {}));
    for (kind, text) in [("sets", sets(false)), ("repeated", sets(true))] {
        let able = x12.iter().filter(|(name, _)| kind == "sets" || *name == "5010");
        all.extend(able.filter_map(|(name, change)| again(&format!("{kind}, {name}"), text.as_bytes(), change)));
    }
    all
}

/// Three orders, whose texts hold each of `pieces`.
fn orders(syntax: &str, pieces: &[&str]) -> String {
    let syntax = if syntax.is_empty() { "UNOC" } else { syntax };
    let mut text = format!("UNA:+.? 'UNB+{syntax}:3+A:14+B:14+260105:0930+1'");
    for number in 1..=3 {
        text += &format!("UNH+{number}+ORDERS:D:{}:UN'BGM+220+PO-{number}+9'", if number == 3 { "01B" } else { "96A" });
        text += "DTM+137:20260105:102'";
        for piece in pieces {
            text += &format!("FTX+AAI+++it?'s 5 ?+ 5 of {piece}?: yes??:{piece}'");
        }
        text += &format!("NAD+BY+5412345000013::9++Maison {}'LIN+1++4006381000017:EN'QTY+21:12.5'", pieces.join(" "));
        text += &format!("UNS+S'UNT+{}+{number}'", 8 + pieces.len());
    }
    text + "UNZ+3+1'"
}

/// The same in two groups.
fn grouped_orders() -> String {
    let text = orders("", &["?+"]);
    let (head, rest) = text.split_once("UNH+1+").expect("it is there");
    let (first, rest) = rest.split_once("UNH+3+").expect("it is there");
    let (second, _) = rest.split_once("UNZ+").expect("it is there");
    let group = |number: usize, release: &str| format!("UNG+ORDERS+A+B+260105:0930+{number}+UN+D:{release}'");
    format!("{head}{}UNH+1+{first}UNE+2+1'{}UNH+3+{second}UNE+1+2'UNZ+2+1'", group(1, "96A"), group(2, "01B"))
}

/// Orders, invoices and a despatch advice in groups of their own; `repeated`: with elements that are repeated.
fn sets(repeated: bool) -> String {
    let (version, standard) = if repeated { ("00501", "^") } else { ("00401", "U") };
    let release = if repeated { "005010" } else { "004010" };
    let isa = format!(
        "ISA*00*          *00*          *ZZ*ALPHA          *ZZ*BETA           *260105*0930*{standard}*{version}*000000001*0*P*>~"
    );
    let group = |function: &str, number: usize, sets: &[String]| {
        let head = format!("GS*{function}*ALPHA*BETA*20260105*0930*{number}*X*{release}~");
        format!("{head}{}GE*{}*{number}~", sets.concat(), sets.len())
    };
    let order = |number: usize| {
        let item = "PO1*1*12*EA*24.5**UP*614141000012~PID*F****Walking shoe, 5 + 5 = 10, it's 'brown'?~MEA**WT*5*LB>1~";
        format!(
            "ST*850*{number:04}~BEG*00*SA*PO-{number}**20260105~N1*BY*Maison Exemple*92*017~{item}CTT*1~SE*8*{number:04}~"
        )
    };
    let person = if repeated { "DMG*D8*19900105*F**A>RET>1^B>RET>2^C~" } else { "N4*Exempleville*QC*H0H 0H0*CA~" };
    let invoice = format!(
        "ST*810*0001~BIG*20260105*INV-1**PO-1~N1*BY*Maison Exemple*92*017~{person}IT1*1*12*EA*24.5**UP*614141000012~\
         TDS*29400~SE*7*0001~"
    );
    let despatch = "ST*856*0001~BSN*00*ASN-1*20260105*0930~HL*1**S~HL*2*1*O~PRF*PO-1~HL*3*2*I~LIN**UP*614141000012~\
        SN1**12*EA~HL*4*2*I~LIN**UP*614141000029~SN1**3*EA~SE*12*0001~"
        .to_owned();
    let groups = [group("PO", 1, &[order(1), order(2)]), group("IN", 2, &[invoice]), group("SH", 3, &[despatch])];
    format!("{isa}{}IEA*3*000000001~", groups.concat())
}
