//! What a manifest may say.

mod answers;
mod auth;
mod cases;
mod operations;
mod request;

use std::collections::BTreeMap;

use crate::config::{Data, Node, Reader, Setting, Shape, Span, StructShape, choice, settings};
use crate::formula::Template;
use crate::message::Text;

pub use answers::{ErrorRule, ErrorThen, Limits};
pub use auth::{
    ApiKey, Assertion, Auth, Basic, ClientAuth, Grant, HookAuth, HookSignature, JwtAlgorithm, OAuth2, Session, Sign,
    SignAlgorithm, SignEncoding,
};
pub use cases::{Exchange, ManifestCase};
pub use operations::{
    Batch, CursorRule, Job, Listen, Next, Operation, OperationKind, PageNumber, PageOffset, Poll, Read, Write,
};
pub use request::{AnswerFormat, Call, GraphQl, JsonRpc, Request, Soap, SoapVersion};

/// A manifest, read and checked.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The file's name without `.yaml`: what a connection names.
    pub name: Text,
    pub head: ManifestHead,
    pub operations: BTreeMap<Text, Operation>,
    /// Where each operation stands, for problems.
    pub spans: BTreeMap<Text, Span>,
    /// Hash of its text: what uses it starts anew when it has changed.
    pub revision: [u8; 16],
}

settings! {
    /// How to talk to one kind of system.
    ///
    /// Formulas here see `$connection` (its settings, and its name: `$connection.name`), and besides what each place says. `$` in a request is the document to
    /// write or the input of a read; where an answer is looked at, `$` is the answer's body and `$headers` its headers.
    pub struct ManifestHead {
        /// The system's name, as people say it.
        system: Text,
        /// What the manifest covers, in a sentence or two.
        about: Option<String>,
        /// What the system is to a retailer.
        roles: Vec<Role>,
        /// The protocol the system is spoken to with.
        protocol: Wire = "http",
        /// What the manifest was seen to work against.
        verified: Verified,
        /// What a connection must give. `name` is none: `$connection.name` is what the connection is called.
        settings: Option<BTreeMap<Text, SettingKind>>,
        /// The address that paths of requests are put behind: `$connection.url`.
        base: Template,
        /// Headers of every request.
        headers: Option<BTreeMap<Text, Template>>,
        /// How the hub proves who it is.
        auth: Option<Auth>,
        /// How fast, how many at once, how long.
        limits: Option<Limits>,
        /// What answers mean; the first that fits wins. What fits none: 408, 425, 429 and 5xx may pass, 401 and 403 wait for a
        /// person, other 4xx refuse the message.
        errors: Vec<ErrorRule>,
        /// A request that succeeds where the connection is well. It must change nothing.
        check: Option<Request>,
        /// Pieces used in several places: `use: NAME` in a map takes the piece's fields, over which those beside `use` go.
        definitions: Option<Data>,
        /// The manifest's own tests, against recorded answers.
        cases: Vec<ManifestCase>,
    }
}

choice! {
    /// What a system is to a retailer.
    pub enum Role {
        /// Enterprise resource planning.
        Erp = "erp",
        /// Tills.
        Pos = "pos",
        /// Customers and what was said to them.
        Crm = "crm",
        /// Product information.
        Pim = "pim",
        /// Orders of all channels.
        Oms = "oms",
        /// A web shop.
        Shop = "shop",
        /// Payment.
        Payment = "payment",
        /// Campaigns and loyalty.
        Marketing = "marketing",
        /// Calls, mails, chats.
        ContactCentre = "contact-centre",
        /// An EDI service.
        Edi = "edi",
        /// A warehouse.
        Wms = "wms",
    }
}

choice! {
    /// The protocol below a manifest.
    pub enum Wire {
        /// HTTP and HTTPS.
        Http = "http",
    }
}

settings! {
    /// What a manifest was seen to work against. Honest: `recorded answers` where nobody ran it against the system.
    pub struct Verified {
        /// The system and its version, or `recorded answers`.
        against: Text,
    }
}

settings! {
    /// A setting of a connection.
    pub struct SettingKind {
        /// What it is.
        r#type: SettingType,
        /// What to write there, for the person who joins the system.
        about: Option<String>,
        /// What holds where it is left out. Without it, and without `optional`, the setting must be given.
        default: Option<Data>,
        /// May be left out: then it is not there.
        optional: bool = "false",
    }
}

choice! {
    /// What a setting is.
    pub enum SettingType {
        /// An address: `https://erp.example`.
        Url = "url",
        /// Any text.
        Text = "text",
        /// A text by reference that is never shown.
        Secret = "secret",
        /// A number.
        Number = "number",
        /// `true` or `false`.
        Boolean = "boolean",
    }
}

impl Role {
    /// The word under `roles:`.
    pub fn word(self) -> &'static str {
        match self {
            Role::Erp => "erp",
            Role::Pos => "pos",
            Role::Crm => "crm",
            Role::Pim => "pim",
            Role::Oms => "oms",
            Role::Shop => "shop",
            Role::Payment => "payment",
            Role::Marketing => "marketing",
            Role::ContactCentre => "contact-centre",
            Role::Edi => "edi",
            Role::Wms => "wms",
        }
    }
}

impl SettingType {
    /// The word under `type:`.
    pub fn word(self) -> &'static str {
        match self {
            SettingType::Url => "url",
            SettingType::Text => "text",
            SettingType::Secret => "secret",
            SettingType::Number => "number",
            SettingType::Boolean => "boolean",
        }
    }
}

/// The shape of a manifest.
pub fn shape() -> Shape {
    let mut shape = StructShape::of::<ManifestHead>();
    shape.fields.push(crate::config::Field {
        name: "operations",
        about: "What the hub can do with the system, by name: `order.changed`, `sale.post`.",
        shape: || Shape::Named(|| Box::new(Operation::shape())),
        default: None,
        required: true,
    });
    Shape::Struct(shape)
}

impl Manifest {
    /// Reads a manifest whose `definitions` have been put in place.
    pub fn read(name: &Text, node: &Node, reader: &mut Reader<'_>) -> Option<Manifest> {
        let mut map = reader.map(node)?;
        let head: Option<ManifestHead> = map.flat(reader);
        let operations: Option<BTreeMap<Text, Operation>> = map.field(reader, "operations");
        let spans = map.node("operations").map(spans).unwrap_or_default();
        map.finish(reader);
        super::check::check(node, reader);
        Some(Manifest { name: name.clone(), head: head?, operations: operations?, spans, revision: [0; 16] })
    }
}

fn spans(operations: &Node) -> BTreeMap<Text, Span> {
    let crate::config::Kind::Map { fields, .. } = &operations.kind else { return BTreeMap::new() };
    fields.iter().map(|(key, _)| (key.name.clone(), key.span)).collect()
}
