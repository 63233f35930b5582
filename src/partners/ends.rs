//! The ends of a pipeline that name a partner and a document.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::codec::{CONTENT, HEADERS, MessageCodec, PARTNER};
use super::hand_over::{Waiting, give};
use super::load::Partners;
use super::outgoing::{Outgoing, document_body, mapped, not_outgoing, write};
use super::settings::Direction;
use crate::codecs::Codec;
use crate::config::{MapReader, Reader, StructShape, settings};
use crate::edi::writer::Header;
use crate::formula::{Meta, Scope, Template};
use crate::message::{Fault, Map, MessageId, Text, Value, json};
use crate::protocols::{
    Arrival, Delivery, Pipelines, Prepared, Source, SourceSettings, Surroundings, Target, TargetSettings,
};

settings! {
    /// A document of a trading partner: each message of its interchanges is one message here, as the partner's `map` gives it.
    ///
    /// `$headers` holds `partner`, `document`, `interchange` (its control number) and `reference` (of the message in it).
    pub struct PartnerSourceSettings {
        /// The partner: `lampes` for `config/partners/lampes.yaml`, or `*` for all. A pipeline that names the partner goes before one
        /// that takes from all.
        partner: Text,
        /// The document, by the name it has in the profile.
        document: Text,
    }
}

settings! {
    /// A document for a trading partner. It is numbered, put into an interchange, and goes over the partner's transport, in a lane
    /// of the partner's own (`<partner>.out`).
    pub struct PartnerTargetSettings {
        /// The partner's name: a path, a formula, or a name.
        partner: Template,
        /// The document, by the name it has in the profile.
        document: Text,
    }
}

/// What may stand under `from` besides a protocol.
pub fn source_shape() -> StructShape {
    StructShape::of::<PartnerSourceSettings>()
}

/// What may stand under a destination besides a protocol.
pub fn target_shape() -> StructShape {
    StructShape::of::<PartnerTargetSettings>()
}

/// The document a pipeline takes, and of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// `*` for all.
    pub partner: Text,
    pub document: Text,
}

/// A pipeline's source.
#[derive(Debug)]
pub struct PartnerSource {
    pub taken: Taken,
    partners: Arc<Partners>,
}

/// A pipeline's destination.
#[derive(Debug)]
pub struct PartnerTarget {
    partner: Template,
    document: Text,
    partners: Arc<Partners>,
}

impl Partners {
    /// The source a map with `partner:` describes, and the codec of what it brings.
    pub fn read_source(
        self: &Arc<Self>,
        map: &mut MapReader<'_>,
        reader: &mut Reader<'_>,
    ) -> Option<(Arc<PartnerSource>, Arc<dyn Codec>)> {
        let settings: Option<PartnerSourceSettings> = map.flat(reader);
        let [partner_at, document_at] =
            ["partner", "document"].map(|name| map.node(name).map_or(map.span, |node| node.span));
        let PartnerSourceSettings { partner, document } = settings?;
        self.mix(reader);
        if !self.check((&partner, partner_at), (&document, document_at), Direction::In, reader) {
            return None;
        }
        let taken = Taken { partner, document };
        Some((Arc::new(PartnerSource { taken, partners: self.clone() }), Arc::new(MessageCodec(self.clone()))))
    }

    /// The target a map with `partner:` describes.
    pub fn read_target(
        self: &Arc<Self>,
        map: &mut MapReader<'_>,
        reader: &mut Reader<'_>,
    ) -> Option<Arc<dyn TargetSettings>> {
        let settings: Option<PartnerTargetSettings> = map.flat(reader);
        let [partner_at, document_at] =
            ["partner", "document"].map(|name| map.node(name).map_or(map.span, |node| node.span));
        let PartnerTargetSettings { partner, document } = settings?;
        self.mix(reader);
        let named = partner.as_constant().map(|name| name.plain().unwrap_or_default());
        let named = named.as_deref().unwrap_or("*");
        if !self.check((named, partner_at), (&document, document_at), Direction::Out, reader) {
            return None;
        }
        Some(Arc::new(PartnerTarget { partner, document, partners: self.clone() }))
    }

    /// What names a partner changes with the profiles.
    fn mix(&self, reader: &mut Reader<'_>) {
        use sha2::{Digest, Sha256};
        let revisions = self.partners.values().map(|partner| partner.revision);
        let hash = revisions.fold(Sha256::new().chain_update(reader.resolved), |hash, of| hash.chain_update(of));
        reader.resolved = hash.finalize().into();
    }
}

impl SourceSettings for PartnerSource {
    fn open(&self, _pipeline: &str, _codec: Arc<dyn Codec>, _around: &Surroundings) -> Result<Box<dyn Source>, Fault> {
        Ok(Box::new(Waiting))
    }

    fn document(&self, stored: &Value, (id, time): (MessageId, Timestamp)) -> Option<Result<Value, Fault>> {
        let name = stored.get(PARTNER)?.as_text()?;
        let (content, headers) = (stored.get(CONTENT)?, stored.get(HEADERS)?.as_map()?);
        let made = || {
            let gone = || Fault::refuse("PARTNER-UNKNOWN", format!("there is no partner `{name}` any more"));
            let partner = self.partners.get(name).ok_or_else(gone)?;
            let called = headers.get("document").and_then(Value::as_text).unwrap_or_default();
            if called != self.taken.document {
                let said = format!("it is a {called} of {name}, and this pipeline takes {}", self.taken.document);
                return Err(Fault::refuse("PARTNER-DOCUMENT", said));
            }
            let Some(document) = partner.documents.get(called) else { return Ok(content.clone()) };
            let scope = Scope {
                document: content,
                headers,
                meta: &Meta::default(),
                item: None,
                partner: None,
                connection: None,
                locals: None,
                time,
                id,
                tables: &*self.partners.tables,
            };
            mapped(&self.partners, partner, document, &scope)
        };
        Some(made())
    }

    /// The message itself, without its envelope: sent again it may come under other numbers.
    fn content(&self, codec: &dyn Codec, body: &[u8]) -> Option<String> {
        let stored = codec.decode(body).ok()?;
        let mut content = stored.get(CONTENT)?.as_map()?.clone();
        for segment in ["UNH", "UNT", "ST", "SE"] {
            content.remove(segment);
        }
        Some(json::to_text(&content.into()))
    }

    fn claims(&self) -> Vec<String> {
        let Taken { partner, document } = &self.taken;
        let of = if partner == "*" { "any partner".to_owned() } else { format!("the partner {partner}") };
        vec![format!("document {document} of {of}")]
    }
}

impl TargetSettings for PartnerTarget {
    fn open(&self, _name: &str, _codec: Arc<dyn Codec>, around: &Surroundings) -> Result<Arc<dyn Target>, Fault> {
        Ok(Arc::new(self.target(Some(around.pipelines.clone()))))
    }

    fn rehearse(&self) -> Option<Arc<dyn Target>> {
        Some(Arc::new(self.target(None)))
    }
}

impl PartnerTarget {
    fn target(&self, pipelines: Option<Arc<dyn Pipelines>>) -> Opened {
        let (partner, document, partners) = (self.partner.clone(), self.document.clone(), self.partners.clone());
        Opened { partner, document, partners, pipelines }
    }
}

struct Opened {
    partner: Template,
    document: Text,
    partners: Arc<Partners>,
    /// None in a rehearsal.
    pipelines: Option<Arc<dyn Pipelines>>,
}

/// Under these names stand, in a prepared message, its partner, the EDI document, and the headers.
const TO: &str = "partner";
const MESSAGE: &str = "message";
const CARRIED: &str = "headers";

#[async_trait]
impl Target for Opened {
    /// The partner is found, the document goes through its map, and is written once: what cannot be written is known here.
    fn prepare(&self, scope: &Scope<'_>) -> Result<Prepared, Fault> {
        let name = self.partner.render(scope)?.and_then(|name| name.plain()).unwrap_or_default();
        let partner = self.partners.get(&name).ok_or_else(|| {
            let near = crate::config::nearest(&name, self.partners.partners.keys().map(Text::as_str));
            let near = near.map(|near| format!("; is it `{near}`?")).unwrap_or_default();
            Fault::refuse("PARTNER-UNKNOWN", format!("there is no partner `{name}`{near}"))
        })?;
        let document = partner.outgoing(&self.document).ok_or_else(|| not_outgoing(partner, &self.document))?;
        let content = mapped(&self.partners, partner, document, scope)?;
        let body = document_body(&self.document, scope);
        let header = Header {
            sender: partner.us.party(),
            receiver: partner.them.party(),
            date: "20260101".to_owned(),
            time: "0000".to_owned(),
            reference: "000000001".to_owned(),
            ..Header::default()
        };
        write(partner, &self.partners.library, header, &[Outgoing::of(document, &content)])?;
        let mut headers = scope.headers.clone();
        headers.insert("partner", partner.name.clone());
        headers.insert("document", self.document.clone());
        let mut address = Map::from_iter([(TO, Value::from(partner.name.clone())), (CARRIED, headers.into())]);
        if self.pipelines.is_none() {
            address.insert(MESSAGE, content);
        }
        Ok(Prepared { body: json::to_text(&body).into(), address })
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Option<Text>, Fault> {
        let Prepared { body, address } = &delivery.prepared;
        let partner = address.get(TO).and_then(Value::as_text).unwrap_or_default();
        let headers = address.get(CARRIED).and_then(Value::as_map).cloned().unwrap_or_default();
        let Some(pipelines) = &self.pipelines else { return Ok(None) };
        if self.partners.get(partner).is_none() {
            return Err(Fault::refuse("PARTNER-UNKNOWN", format!("there is no partner `{partner}` any more")));
        }
        let arrival = Arrival { body: body.clone(), document: None, headers, position: None, fault: None };
        give(&**pipelines, &format!("{partner}.out"), arrival, delivery).await
    }
}
