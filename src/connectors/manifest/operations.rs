//! What a manifest can do with its system: poll, listen, read, write.

use std::time::Duration;

use super::{Call, HookAuth, Request};
use crate::config::{MapReader, Node, Reader, Setting, Settings, Shape, StructShape, one_of, settings};
use crate::formula::{Condition, Template};
use crate::message::Text;

/// Something a manifest can do with its system.
#[derive(Clone, Debug)]
pub enum Operation {
    Poll(Box<Poll>),
    Listen(Box<Listen>),
    Read(Box<Read>),
    Write(Box<Write>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    Poll,
    Listen,
    Read,
    Write,
}

settings! {
    /// Asks the system again and again for what is new: a source.
    pub struct Poll {
        /// What it brings, in a sentence.
        about: Option<String>,
        /// The canonical document it gives, of `config/canonical/`.
        gives: Option<Text>,
        /// How long from the end of one round to the next.
        every: Duration = "30s",
        /// The question. It sees `$cursor` (where the last round ended) and `$page`.
        request: Option<Request>,
        /// The question of a system that makes its answer in the background, instead of `request`.
        job: Option<Job>,
        /// The list in the answer. Left out: the answer itself.
        items: Option<Template>,
        /// How the next page is asked for. Left out: there is one page.
        next: Option<Next>,
        /// Where to go on from in the next round.
        cursor: Option<CursorRule>,
        /// Which items are wanted: sees `$item` and `$cursor`. Those left out move the cursor all the same.
        keep: Option<Condition>,
        /// Further requests for each item, which they see as `$item`.
        calls: Vec<Call>,
        /// What identifies an item's state, so that the same one read again is a repeat: `"=concat($item.id, '@', $item.changed)"`.
        /// Sees `$calls` too. Left out: the item's content. Content is what the system said, whatever `document` makes of it. The
        /// same id with other content is a conflict, which goes to dead letters: name all that may change, or leave it out.
        id: Option<Template>,
        /// The message's document, from `$item` and `$calls`. Left out: the item.
        document: Option<Template>,
        /// Most pages of a round; a system that has more is asked again in the next.
        most_pages: u32 = "10000",
    }
}

settings! {
    /// An answer made in the background: asked for, waited for, fetched. `$job` is what the last answer of `create` or `poll` said.
    pub struct Job {
        /// Asks for it.
        create: Request,
        /// Asks how far it is.
        poll: Request,
        /// How long between two of these.
        every: Duration = "5s",
        /// It is there: sees `$` and `$job`, the answer to `poll`.
        done: Condition,
        /// It has failed.
        failed: Option<Condition>,
        /// Longer than this is a failure.
        within: Duration = "1h",
        /// Fetches it. Left out: the last answer to `poll` holds it.
        download: Option<Request>,
    }
}

one_of! {
    /// How the next page is asked for. A page that comes twice ends the round with a fault.
    pub enum Next {
        /// A word for the next page, from the answer; none is the end. The request sends `$page.cursor?`.
        Cursor(Template) = "cursor",
        /// Numbered pages. The request sends `$page.number`.
        Number(PageNumber) = "number",
        /// Counted items. The request sends `$page.offset`.
        Offset(PageOffset) = "offset",
        /// The value of the last item of the page (`$item`). The request sends `$page.after?`. An empty page is the end.
        After(Template) = "after",
        /// The `Link` header (RFC 8288) with this relation, usually `next`.
        Link(Text) = "link",
        /// The next page's address or path, from the answer; none is the end.
        Url(Template) = "url",
    }
}

settings! {
    /// Numbered pages. The end is the last page where `pages` says how many there are, else an empty page, or one with fewer than
    /// `size` items.
    pub struct PageNumber {
        /// The number of the first.
        first: u32 = "1",
        /// Items of a full page.
        size: Option<u32>,
        /// How many pages there are, from the answer.
        pages: Option<Template>,
    }
}

settings! {
    /// Counted items. The end is at `total` where it is given, else an empty page, or one with fewer than `size` items.
    pub struct PageOffset {
        /// Items of a full page.
        size: Option<u32>,
        /// How many items there are, from the answer.
        total: Option<Template>,
    }
}

settings! {
    /// Where to go on from in the next round: the largest `value` of the items so far. It is kept once the items are stored: after
    /// a kill they come again.
    pub struct CursorRule {
        /// From `$item`: a time (RFC 3339, or what `date` makes of the system's own), a number, or a text that sorts.
        value: Template,
        /// Where the very first round begins: so long ago (`1d`), or a value. Left out: `$cursor` is not there in the first round.
        start: Option<Text>,
        /// Each round begins so much earlier than the last ended, for systems whose items appear late. Times only. What comes
        /// again is known by `id` and is no new message.
        overlap: Option<Duration>,
        /// Items come in the order of `value`: the cursor is kept after each page, not only after the last.
        ordered: bool = "false",
    }
}

settings! {
    /// The system calls the hub: a source. `$` is the body, `$headers` its headers.
    pub struct Listen {
        /// What it brings, in a sentence.
        about: Option<String>,
        /// The canonical document it gives, of `config/canonical/`.
        gives: Option<Text>,
        /// How the system proves who it is.
        auth: Option<HookAuth>,
        /// A question the system asks before it trusts the hub with its events.
        challenge: Option<Challenge>,
        /// Which events are wanted: others are answered as if they were taken.
        keep: Option<Condition>,
        /// The events in a body that holds several. Left out: the body is one. Below, `$item` is the event.
        items: Option<Template>,
        /// What identifies an event, so that one sent twice is known: `$item.id`. Left out: its content.
        id: Option<Template>,
        /// Further requests for each event, which they see as `$item`: many systems say only that something has changed.
        calls: Vec<Call>,
        /// The message's document, from `$item` and `$calls`. Left out: the event.
        document: Option<Template>,
        /// What the system wants to hear.
        status: u32 = "200",
    }
}

settings! {
    /// A question that is answered at once: `when` it is one, with `answer`.
    pub struct Challenge {
        /// Holds for the question; sees `$`, the body, or for GET the query parameters.
        when: Condition,
        /// The answer: a text is sent as it is, anything else as JSON.
        answer: Template,
    }
}

settings! {
    /// One question, one answer: what `call` asks. `$` is the input.
    pub struct Read {
        /// What it answers, in a sentence.
        about: Option<String>,
        /// The canonical document it gives, of `config/canonical/`.
        gives: Option<Text>,
        /// The question.
        request: Option<Request>,
        /// Several questions, in order, instead of `request`.
        calls: Vec<Call>,
        /// The answer's document, from `$` (with `request`) and `$calls`, and `$input`. Left out: the (last) answer's body.
        result: Option<Template>,
        /// There is nothing: sees what `result` sees.
        missing: Option<Condition>,
    }
}

settings! {
    /// Gives the system a document: a target. `$` is the document.
    ///
    /// A write is repeated after a fault and after a kill, under the same `$meta.id`. So the system must know a repeat: by an
    /// idempotency key it honours, or by a first call that looks whether it is there already.
    pub struct Write {
        /// What it does, in a sentence.
        about: Option<String>,
        /// The canonical document it takes, of `config/canonical/`.
        takes: Option<Text>,
        /// The request.
        request: Option<Request>,
        /// Several requests, in order, instead of `request`; each sees the results of those before. A repeat begins with the first.
        calls: Vec<Call>,
        /// The key that tells the system a repeat.
        idempotency: Option<Idempotency>,
        /// What is kept of the answer, for the journal and for `remember:` of the destination (`$result`); from `$`, `$calls` and
        /// `$input`, the document.
        result: Option<Template>,
        /// Sends several documents in one request; `$` is then the list of them.
        batch: Option<Batch>,
    }
}

settings! {
    /// The key that tells the system a repeat.
    pub struct Idempotency {
        /// The header that holds it.
        header: Text,
        /// The key.
        value: Template,
    }
}

settings! {
    /// Several documents in one request, each with its own result: one that is refused refuses none beside it.
    pub struct Batch {
        /// Most documents of a request.
        size: u32 = "100",
        /// The list of results in the answer.
        results: Template,
        /// What joins a result (`$item`) to its document, where they do not come in the same order.
        key: Option<Template>,
        /// The same of a document (`$item`).
        document_key: Option<Template>,
        /// The result (`$item`) says that its document was not taken.
        failed: Condition,
        /// It may pass: that document is sent again. Others that failed are refused.
        retry: Option<Condition>,
        /// What to tell people about it.
        say: Option<Template>,
        /// What is kept of a result that is well.
        result: Option<Template>,
    }
}

impl Operation {
    pub fn kind(&self) -> OperationKind {
        match self {
            Operation::Poll(_) => OperationKind::Poll,
            Operation::Listen(_) => OperationKind::Listen,
            Operation::Read(_) => OperationKind::Read,
            Operation::Write(_) => OperationKind::Write,
        }
    }

    /// The canonical document it gives or takes.
    pub fn canonical(&self) -> Option<&str> {
        let named = match self {
            Operation::Poll(poll) => &poll.gives,
            Operation::Listen(listen) => &listen.gives,
            Operation::Read(read) => &read.gives,
            Operation::Write(write) => &write.takes,
        };
        named.as_deref()
    }

    pub fn about(&self) -> &str {
        let about = match self {
            Operation::Poll(poll) => &poll.about,
            Operation::Listen(listen) => &listen.about,
            Operation::Read(read) => &read.about,
            Operation::Write(write) => &write.about,
        };
        about.as_deref().unwrap_or_default()
    }
}

impl OperationKind {
    /// The word under `kind:`.
    pub fn word(self) -> &'static str {
        match self {
            OperationKind::Poll => "poll",
            OperationKind::Listen => "listen",
            OperationKind::Read => "read",
            OperationKind::Write => "write",
        }
    }
}

impl Setting for Operation {
    fn shape() -> Shape {
        Shape::Tagged {
            tag: "kind",
            about: "Something the hub can do with the system.",
            variants: vec![
                ("poll", StructShape::of::<Poll>()),
                ("listen", StructShape::of::<Listen>()),
                ("read", StructShape::of::<Read>()),
                ("write", StructShape::of::<Write>()),
            ],
        }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Operation> {
        fn boxed<T: Settings>(map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Box<T>> {
            map.flat(reader).map(Box::new)
        }
        use OperationKind::{Listen, Poll, Read, Write};
        let mut map = reader.map(node)?;
        let Some(kind) = map.node("kind") else {
            reader.error(map.span.part(0, 1), "`kind` is missing").label("`poll`, `listen`, `read` or `write`");
            return None;
        };
        let kinds = [Poll, Listen, Read, Write].map(|kind| (kind.word(), kind));
        let operation = match reader.word(kind, "kind", &kinds)? {
            Poll => boxed(&mut map, reader).map(Operation::Poll),
            Listen => boxed(&mut map, reader).map(Operation::Listen),
            Read => boxed(&mut map, reader).map(Operation::Read),
            Write => boxed(&mut map, reader).map(Operation::Write),
        };
        map.finish(reader);
        operation
    }
}
