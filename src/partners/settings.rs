//! What may be written in `config/partners/<name>.yaml`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::codecs::edi::{CharsetName, LineBreak, Separators, Una, Weights};
use crate::config::{Data, Field, Setting, Shape, StructShape, choice, settings};
use crate::message::Text;
use crate::protocols;

settings! {
    /// A trading partner: who they are, what is exchanged, how it is written, and over which wire.
    pub struct PartnerHead {
        /// Who this is, in a sentence: shown in alerts and in the console.
        about: String,
        /// The family of EDI that is spoken with them.
        dialect: DialectWord,
        /// Whether what is exchanged counts.
        mode: Mode = "production",
        /// How they address us: what stands as sender of what we send, and as receiver of what they send.
        us: Identity,
        /// How they name themselves.
        them: Identity,
        /// Whom to ask, and whom to call when that does not help.
        contact: Option<Contact>,
        /// What maps need to know of the partner, as `$partner.values`: an account number, a depot.
        values: Option<Data>,
        /// What is exchanged, by the name that pipelines use for it.
        documents: BTreeMap<Text, DocumentSettings>,
        /// How interchanges for them are written.
        writes: Option<Writes>,
        /// How interchanges of theirs are read.
        reads: Option<Reads>,
        /// Who acknowledges what.
        acknowledgments: Option<Acknowledgments>,
        /// How interchanges are numbered, and what is thought of their numbers.
        control_numbers: Option<ControlNumbers>,
        /// Documents of one type that come within a while go out as one interchange. Left out: each is one of its own.
        batch: Option<Batch>,
    }
}

choice! {
    /// The two families of EDI.
    pub enum DialectWord {
        /// UN/EDIFACT: UNB to UNZ.
        Edifact = "edifact",
        /// ASC X12: ISA to IEA.
        X12 = "x12",
    }
}

choice! {
    /// Whether what is exchanged counts.
    pub enum Mode {
        /// It does: an interchange of theirs that is marked as a test is refused.
        Production = "production",
        /// It does not: what we send is marked as a test, and what they send must be.
        Test = "test",
    }
}

settings! {
    /// One end of an interchange.
    pub struct Identity {
        /// The identification: a GLN, a DUNS number, a word. UNB 0004 or 0010; ISA06 or ISA08.
        id: Text,
        /// What kind of identification it is: `14` for a GLN, `ZZ` for one that both agreed on. EDIFACT 0007, ISA05 or ISA07.
        qualifier: Option<Text>,
        /// Address within the company, of EDIFACT: 0008 or 0014.
        internal: Option<Text>,
        /// The identification in the group, of X12: GS02 or GS03. Left out: `id`.
        group: Option<Text>,
    }
}

settings! {
    /// The people at the partner's.
    pub struct Contact {
        /// Who answers for the exchange.
        name: Option<Text>,
        /// Where they are written to.
        email: Option<Text>,
        /// Where they are called.
        phone: Option<Text>,
        /// Whom to turn to when they do not answer.
        escalation: Option<Text>,
    }
}

settings! {
    /// A document that is exchanged: its type, and what stands between it and the pipelines.
    pub struct DocumentSettings {
        /// Which way it goes.
        direction: Direction,
        /// The message type (`ORDERS`) or transaction set (`850`). Left out: the document's name.
        message: Option<Text>,
        /// The release it is written in: `D.96A`; of X12 the version `004010`, or with its industry `004010VICS`. Documents that go
        /// out need it; of those that come in it tells two of the same type apart.
        release: Option<Text>,
        /// The guideline it follows: EDIFACT 0057 (`EAN008`), of X12 ST03.
        association: Option<Text>,
        /// The functional group, of X12 (GS01). Left out: the usual one of the set.
        function: Option<Text>,
        /// A mapping in a file beside the profile: what the pipeline gives → EDI document, or EDI document → what the pipeline gets.
        /// Left out: they are the same.
        map: Option<PathBuf>,
        /// Values that are agreed on, by element: `{ E6411: [PCE, KGM] }`. Any other value is `EDI-CODE`.
        codes: Option<BTreeMap<Text, Vec<Text>>>,
        /// Within which time they acknowledge it, where that differs from `acknowledgments.within`.
        within: Option<Duration>,
    }
}

choice! {
    /// Which way a document goes.
    pub enum Direction {
        /// From us to them.
        Out = "out",
        /// From them to us.
        In = "in",
    }
}

settings! {
    /// How interchanges for the partner are written.
    pub struct Writes {
        /// The syntax identifier of EDIFACT (UNB 0001): `UNOA`, `UNOB`, `UNOC`…, which says the character set.
        syntax: Option<Text>,
        /// The version of the syntax: `3` (or `1`, `2`, `4`) of EDIFACT, `00401` of X12. Left out: `3`, or that of the release.
        version: Option<Text>,
        /// The character set of the values, where it is another than the syntax declares.
        charset: Option<CharsetName>,
        /// Whether interchanges of EDIFACT begin with a UNA.
        una: Una = "always",
        /// What stands after each segment.
        newline: LineBreak = "none",
        /// The mark of decimals: `.` or `,`.
        decimal: Option<char>,
        /// The delimiters, where they are not the usual ones.
        delimiters: Option<Separators>,
        /// What follows from a finding in what we write, by its code. By default what a definition does not allow is refused, values
        /// that are too long, too short or no numbers too.
        findings: Option<Weights>,
    }
}

settings! {
    /// How interchanges of the partner are read.
    pub struct Reads {
        /// The character set of the values, whatever the interchange declares.
        charset: Option<CharsetName>,
        /// What follows from a finding, by its code: `{ EDI-COUNT: warn }`. `raccord explain EDI-COUNT` tells what one is about.
        /// By default wrong counts and references and missing mandatory parts refuse the message, and an interchange whose end is
        /// missing or counts wrongly is refused whole.
        findings: Option<Weights>,
    }
}

settings! {
    /// Who acknowledges what. An acknowledgment is never acknowledged.
    pub struct Acknowledgments {
        /// What we send for what they send. Left out: `[functional]`.
        send: Option<Vec<SendWord>>,
        /// When we send it.
        when: When = "always",
        /// The functional acknowledgment of X12.
        r#as: FunctionalSet = "997",
        /// Whether the interchange asks them for one: UNB 0031, ISA14.
        ask: bool = "false",
        /// Within which time they acknowledge what we send. Past it the document is overdue. Left out: nothing is expected.
        within: Option<Duration>,
    }
}

choice! {
    /// An acknowledgment.
    pub enum SendWord {
        /// What became of each message: CONTRL with action 7 or 4; 997 or 999 for each group.
        Functional = "functional",
        /// That the interchange has come: CONTRL with action 8; TA1.
        Receipt = "receipt",
    }
}

choice! {
    /// When acknowledgments are sent.
    pub enum When {
        /// For every interchange.
        Always = "always",
        /// Where the interchange asks for it: UNB 0031, ISA14. What is refused is told in any case.
        Asked = "asked",
    }
}

choice! {
    /// The functional acknowledgment of X12.
    pub enum FunctionalSet {
        /// The set of all versions.
        S997 = "997",
        /// Of version 005010.
        S999 = "999",
    }
}

settings! {
    /// How interchanges are numbered, and what is thought of their numbers.
    pub struct ControlNumbers {
        /// The first number, where another system has numbered before. Numbers that were allocated since are not changed by it.
        first: u32 = "1",
        /// How many digits a number has: past the largest it begins at 1 again. X12 has 9; EDIFACT at most 14.
        width: u32 = "9",
        /// Whether numbers of EDIFACT are filled with zeros to their width. Those of X12 are.
        padded: bool = "false",
        /// What is thought of numbers of theirs that leave one out.
        gaps: Gaps = "accept",
        /// How long their numbers are remembered, so that a repeat is known.
        window: Duration = "400d",
    }
}

choice! {
    /// What is thought of numbers that leave one out.
    pub enum Gaps {
        /// Nothing: many systems number for several receivers at once.
        Accept = "accept",
        /// It is told in the log and counted: an interchange is on its way, or lost.
        Tell = "tell",
    }
}

settings! {
    /// Documents of one type that go out as one interchange.
    pub struct Batch {
        /// How long the first of them waits for others.
        within: Duration = "15m",
        /// So many are enough.
        most: u32 = "500",
    }
}

/// The shape of `config/partners/<name>.yaml`.
pub fn shape() -> Shape {
    let about = "The wires to and from the partner.";
    let transport = Field { name: "transport", about, shape: transport_shape, default: None, required: true };
    Shape::Struct(StructShape::of::<PartnerHead>().and(vec![transport]))
}

settings! {
    /// A mailbox of another partner, through which this one sends too.
    pub struct SharedMailbox {
        /// The partner whose `transport.in` says where it is.
        shared_with: Text,
    }
}

fn transport_shape() -> Shape {
    let field = |name, about, shape| Field { name, about, shape, default: None, required: false };
    let r#in =
        "Where their interchanges come from: a protocol with its settings. Partners who state the very same share it.";
    let out = "Where interchanges for them go: a protocol with its settings. Its formulas see `$.partner`, `$.document`, \
               `$.interchange` (the control number) and `$.count`.";
    let retry = "Delays before each further attempt. Left out: `[30s, 2m, 10m, 1h, 6h]`.";
    let fields = vec![
        field("in", r#in, || Shape::Either(vec![protocols::source_shape(&[]), SharedMailbox::shape()])),
        field("out", out, || protocols::target_shape(&[])),
        field("retry", retry, Vec::<Duration>::shape),
    ];
    Shape::Struct(StructShape { name: "Transport", about: "The wires to and from the partner.", fields })
}
