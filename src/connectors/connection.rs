//! A system joined to the hub: `config/connections/<name>.yaml`, the manifest it names and the settings it gives.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::line::Line;
use super::manifest::{Manifest, SettingKind, SettingType};
use crate::config::{Data, MapReader, Node, Reader, Secret, Setting, Settings, Shape, StructShape, settings};
use crate::message::{Fault, Map, Text, Value};
use crate::protocols::Surroundings;
use crate::protocols::http::{Peer, ProxyAddress, Tls};

settings! {
    /// A system joined to the hub. Beside these stand the settings that its manifest asks for (`raccord connectors NAME`).
    pub struct ConnectionHead {
        /// The manifest: `tryton` for `connectors/tryton.yaml`.
        system: Text,
        /// What this one is: `the shop's ERP, production`.
        about: Option<String>,
        /// Certificates beyond those the system trusts.
        tls: Option<Tls>,
        /// A proxy, such as `http://proxy.example:3128`.
        proxy: Option<ProxyAddress>,
    }
}

/// What stands beside the settings of a connection.
pub(super) const OWN_FIELDS: [&str; 4] = ["system", "about", "tls", "proxy"];

/// Finds the manifest that a node names; one that is not there is reported.
type FindManifest<'f> = dyn Fn(&str, &Node, &mut Reader<'_>) -> Option<Arc<Manifest>> + 'f;

/// A system joined to the hub.
pub struct Connection {
    pub name: Text,
    pub manifest: Arc<Manifest>,
    /// What this one is, for people.
    pub about: Option<String>,
    /// `$connection`: the settings, credentials among them, and the connection's `name`.
    pub settings: Value,
    pub tls: Option<Tls>,
    pub proxy: Option<ProxyAddress>,
    /// Hash of its text and of what its references stand for.
    pub revision: [u8; 16],
    /// Answers in the place of the system (cases).
    pub peer: Option<Arc<dyn Peer>>,
    line: OnceLock<Arc<Line>>,
}

/// What `config/connections/*.yaml` may say.
pub fn connection_shape() -> Shape {
    Shape::Struct(StructShape::of::<ConnectionHead>())
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {} to {}", self.name, self.manifest.name)
    }
}

impl Connection {
    /// A connection with these settings, for tests and cases.
    pub fn new(name: Text, manifest: Arc<Manifest>, settings: Map) -> Connection {
        Connection {
            settings: named(settings, &name),
            name,
            manifest,
            about: None,
            tls: None,
            proxy: None,
            revision: [0; 16],
            peer: None,
            line: OnceLock::new(),
        }
    }

    /// The same, with `peer` in the place of the system.
    #[must_use]
    pub fn answered_by(mut self, peer: Arc<dyn Peer>) -> Connection {
        self.peer = Some(peer);
        self
    }

    /// Its one way out, shared by everything that speaks through it.
    ///
    /// # Errors
    /// `misconfigured`: certificates that cannot be read, a base address that is none.
    pub fn line(&self, surroundings: &Surroundings) -> Result<Arc<Line>, Fault> {
        if let Some(line) = self.line.get() {
            return Ok(line.clone());
        }
        let line = Arc::new(Line::new(self, surroundings)?);
        Ok(self.line.get_or_init(|| line).clone())
    }

    /// Reads the connection called `name`; `find` knows the manifests.
    pub fn read(name: &Text, node: &Node, reader: &mut Reader<'_>, find: &FindManifest<'_>) -> Option<Connection> {
        let mut map = reader.map(node)?;
        let head = ConnectionHead::read_fields(&mut map, reader);
        let system = map.node("system");
        let head = head?;
        let manifest = find(&head.system, system?, reader)?;
        let settings = read_settings(&manifest, &map, reader)?;
        Some(Connection {
            name: name.clone(),
            manifest,
            about: head.about,
            settings: named(settings, name),
            tls: head.tls,
            proxy: head.proxy,
            revision: [0; 16],
            peer: None,
            line: OnceLock::new(),
        })
    }
}

/// `$connection`
fn named(mut settings: Map, name: &Text) -> Value {
    settings.insert("name", name.clone());
    Value::Map(settings)
}

/// The settings the manifest asks for; what else stands there is reported.
fn read_settings(manifest: &Manifest, map: &MapReader<'_>, reader: &mut Reader<'_>) -> Option<Map> {
    let none = std::collections::BTreeMap::new();
    let kinds = manifest.head.settings.as_ref().unwrap_or(&none);
    let given: Vec<_> = map.rest().collect();
    let mut whole = true;
    for (key, _) in given.iter().filter(|(key, _)| !kinds.contains_key(&key.name)) {
        let known = kinds.keys().map(Text::as_str).chain(OWN_FIELDS);
        reader.unknown(key.span, "setting", &key.name, known);
        whole = false;
    }
    let mut settings = Map::new();
    for (name, kind) in kinds {
        let node = given.iter().find(|(key, _)| key.name == *name).map(|(_, node)| node);
        match (node, &kind.default) {
            (Some(node), _) => match read_setting(kind.r#type, node, reader) {
                Some(value) => drop(settings.insert(name.clone(), value)),
                None => whole = false,
            },
            (None, Some(Data(default))) => drop(settings.insert(name.clone(), default.clone())),
            (None, None) if kind.optional => {}
            (None, None) => {
                whole = false;
                missing(name, kind, &manifest.head.system, map, reader);
            }
        }
    }
    whole.then_some(settings)
}

fn missing(name: &str, kind: &SettingKind, system: &str, map: &MapReader<'_>, reader: &mut Reader<'_>) {
    let problem = reader.error(map.span.part(0, 1), format!("`{name}` is missing"));
    problem.label(format!("a connection to {system} gives it"));
    if let Some(about) = &kind.about {
        problem.help(about.clone());
    }
}

fn read_setting(kind: SettingType, node: &Node, reader: &mut Reader<'_>) -> Option<Value> {
    match kind {
        SettingType::Url => reader
            .parsed(node, "an address such as `https://erp.example`", |text| {
                let url = reqwest::Url::parse(text).ok().filter(|url| url.has_host());
                let fits = url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.password().is_none());
                fits.then(|| Text::from(text.trim_end_matches('/')))
            })
            .map(Value::Text),
        SettingType::Text => reader.text(node).map(Value::Text),
        SettingType::Secret => Secret::read(node, reader).map(|secret| Value::from(secret.reveal())),
        SettingType::Number => reader.parsed(node, "a number", Value::number),
        SettingType::Boolean => bool::read(node, reader).map(Value::from),
    }
}
