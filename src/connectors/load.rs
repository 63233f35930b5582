//! Reading `connectors/*.yaml` and `config/connections/*.yaml`, and finding what pipelines name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

use super::connection::Connection;
use super::manifest::{Manifest, Operation, OperationKind};
use crate::config::{FileId, Key, Kind, MAX_BYTES, Node, Reader, Span, parse};
use crate::message::Text;
use crate::steps::Canonical;

/// The manifests that ship with raccord, for hubs whose folder has none of that name.
#[derive(RustEmbed)]
#[folder = "connectors/"]
struct Shipped;

/// All systems a hub knows, and those it is joined to.
#[derive(Debug, Default)]
pub struct Connectors {
    /// Those of the hub's folder, and the shipped ones that a connection names.
    pub manifests: BTreeMap<Text, Arc<Manifest>>,
    pub connections: BTreeMap<Text, Arc<Connection>>,
    /// What `gives:` and `takes:` name.
    pub canonical: Canonical,
    /// Manifests that could not be read, which was reported.
    wrong: BTreeSet<Text>,
}

/// Reads the manifests and connections of the hub in `folder`; what is wrong is reported, and left out.
pub fn load(folder: &Path, reader: &mut Reader<'_>) -> Connectors {
    let mut connectors = Connectors { canonical: Canonical::load(folder, reader), ..Connectors::default() };
    for (name, relative) in yaml_files(folder, "connectors") {
        let Some((file, text)) = read_text(folder, &relative, reader) else { continue };
        connectors.read_manifest(&name, file, &text, reader);
    }
    for (name, relative) in yaml_files(folder, "config/connections") {
        let Some((file, text)) = read_text(folder, &relative, reader) else { continue };
        let Some(node) = parse(file, &text, &mut reader.problems) else { continue };
        let before = std::mem::take(&mut reader.resolved);
        let connection = connectors.connection(&name, &node, reader);
        let hash = Sha256::new().chain_update(text.as_bytes()).chain_update(reader.resolved).finalize();
        reader.resolved = before;
        if let Some(mut connection) = connection {
            connection.revision = half(&hash);
            connectors.connections.insert(name, Arc::new(connection));
        }
    }
    connectors
}

impl Connectors {
    /// The names of the manifests that ship with raccord.
    pub fn shipped() -> impl Iterator<Item = String> {
        Shipped::iter().filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
    }

    /// The text of a manifest that ships with raccord.
    pub fn shipped_text(name: &str) -> Option<String> {
        let file = Shipped::get(&format!("{name}.yaml"))?;
        String::from_utf8(file.data.into_owned()).ok()
    }

    /// The manifest called `name`: the hub's own, or the shipped one. One that is wrong was reported.
    pub fn manifest(&mut self, name: &str, reader: &mut Reader<'_>) -> Option<Arc<Manifest>> {
        if let Some(manifest) = self.manifests.get(name) {
            return Some(manifest.clone());
        }
        if self.wrong.contains(name) {
            return None;
        }
        let text = Connectors::shipped_text(name)?;
        let file = reader.files.add(Path::new("connectors").join(format!("{name}.yaml")), text.clone());
        self.read_manifest(&name.into(), file, &text, reader);
        self.manifests.get(name).cloned()
    }

    /// Reads the shipped manifests too that no connection names.
    pub fn with_shipped(mut self, reader: &mut Reader<'_>) -> Connectors {
        for name in Connectors::shipped() {
            self.manifest(&name, reader);
        }
        self
    }

    /// A connection that is written so, which the hub's folder need not have yet. What is wrong is reported.
    pub fn read_connection(&mut self, name: &Text, text: &str, reader: &mut Reader<'_>) -> Option<Connection> {
        let file = reader.files.add(Path::new("config/connections").join(format!("{name}.yaml")), text);
        let node = parse(file, text, &mut reader.problems)?;
        self.connection(name, &node, reader)
    }

    fn connection(&mut self, name: &Text, node: &Node, reader: &mut Reader<'_>) -> Option<Connection> {
        let manifests = std::cell::RefCell::new(self);
        let find = |system: &str, at: &Node, reader: &mut Reader<'_>| {
            let found = manifests.borrow_mut().manifest(system, reader);
            let held = manifests.borrow();
            if found.is_none() && !held.wrong.contains(system) {
                let known = held.manifests.keys().chain(&held.wrong).map(Text::to_string).chain(Connectors::shipped());
                let known: Vec<String> = known.collect();
                reader.unknown(at.span, "system", system, known.iter().map(String::as_str));
            }
            found
        };
        Connection::read(name, node, reader, &find)
    }

    /// The operation that a pipeline names beside `connection:`, of one of these kinds. What is wrong is reported at the two nodes.
    pub fn find(
        &self,
        connection: (&str, Span),
        operation: (&str, Span),
        kinds: &[OperationKind],
        reader: &mut Reader<'_>,
    ) -> Option<(Arc<Connection>, Operation)> {
        let Some(found) = self.connections.get(connection.0) else {
            let known = self.connections.keys().map(Text::as_str);
            reader.unknown(connection.1, "connection", connection.0, known);
            return None;
        };
        let manifest = &found.manifest;
        let fits = |operation: &Operation| kinds.contains(&operation.kind());
        let Some(wanted) = manifest.operations.get(operation.0) else {
            let known = manifest.operations.iter().filter(|(_, operation)| fits(operation));
            reader.unknown(operation.1, "operation", operation.0, known.map(|(name, _)| name.as_str()));
            return None;
        };
        if !fits(wanted) {
            let (is, words) = (wanted.kind().word(), kinds.iter().map(|kind| kind.word()).collect::<Vec<_>>());
            reader
                .error(
                    operation.1,
                    format!("`{}` of {} is a `{is}` and cannot stand here", operation.0, manifest.head.system),
                )
                .label(format!("expected an operation of kind {}", words.join(" or ")));
            return None;
        }
        // What stands on a manifest and a connection changes with them.
        let hash = Sha256::new().chain_update(reader.resolved).chain_update(manifest.revision);
        reader.resolved = hash.chain_update(found.revision).finalize().into();
        Some((found.clone(), wanted.clone()))
    }

    pub(super) fn read_manifest(&mut self, name: &Text, file: FileId, text: &str, reader: &mut Reader<'_>) {
        let node = parse(file, text, &mut reader.problems).and_then(|node| put_definitions(node, reader));
        let read = node.and_then(|node| {
            check_canonical(&node, &self.canonical, reader);
            Manifest::read(name, &node, reader)
        });
        match read {
            Some(manifest) => {
                let revision = half(&Sha256::digest(text.as_bytes()));
                self.manifests.insert(name.clone(), Arc::new(Manifest { revision, ..manifest }));
            }
            None => drop(self.wrong.insert(name.clone())),
        }
    }
}

/// What `gives:` and `takes:` name must be there.
fn check_canonical(manifest: &Node, canonical: &Canonical, reader: &mut Reader<'_>) {
    let Some(Kind::Map { fields: operations, .. }) = manifest.field("operations").map(|node| &node.kind) else {
        return;
    };
    for named in
        operations.iter().flat_map(|(_, node)| ["gives", "takes"].into_iter().filter_map(|key| node.field(key)))
    {
        if let Some(name) = named.text().filter(|name| !canonical.contains(name)) {
            reader.unknown(named.span, "canonical document", name, canonical.names());
        }
    }
}

fn half(digest: &[u8]) -> [u8; 16] {
    let mut half = [0; 16];
    half.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
    half
}

/// The YAML files of a folder, by name without `.yaml`, in order.
fn yaml_files(folder: &Path, below: &str) -> Vec<(Text, PathBuf)> {
    let entries: Vec<std::fs::DirEntry> =
        std::fs::read_dir(folder.join(below)).map(|entries| entries.flatten().collect()).unwrap_or_default();
    let mut files: Vec<(Text, PathBuf)> = entries
        .into_iter()
        .map(|entry| PathBuf::from(entry.file_name()))
        .filter(|file| file.extension().is_some_and(|extension| extension == "yaml"))
        .filter_map(|file| Some((file.file_stem()?.to_str()?.into(), Path::new(below).join(&file))))
        .collect();
    files.sort();
    files
}

fn read_text(folder: &Path, relative: &Path, reader: &mut Reader<'_>) -> Option<(FileId, String)> {
    let path = folder.join(relative);
    let size = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
    let text = if size > MAX_BYTES as u64 {
        Err(format!("{size} bytes are too many for a configuration file (at most {MAX_BYTES})"))
    } else {
        std::fs::read_to_string(&path).map_err(|error| error.to_string())
    };
    match text {
        Ok(text) => Some((reader.files.add(relative, text.clone()), text)),
        Err(said) => {
            let file = reader.files.add(relative, "");
            reader.error(Span { file, start: 0, end: 0 }, format!("cannot read {}: {said}", relative.display()));
            None
        }
    }
}

/// How deep a piece may stand in pieces.
const MAX_DEPTH: usize = 16;
/// Most values of a manifest once its pieces are in place.
const MAX_NODES: usize = 100_000;

/// Puts the pieces of `definitions` where `use: NAME` names them.
fn put_definitions(node: Node, reader: &mut Reader<'_>) -> Option<Node> {
    let Some(definitions) = node.field("definitions").cloned() else { return Some(node) };
    let Kind::Map { fields: pieces, .. } = &definitions.kind else {
        reader.error(definitions.span, format!("expected a map of names to pieces, found {}", definitions.what()));
        return None;
    };
    let mut placing = Placing { pieces, left: MAX_NODES, whole: true };
    let Kind::Map { fields, flow } = node.kind else { return None };
    let fields = fields
        .into_iter()
        .filter(|(key, _)| key.name != "definitions")
        .map(|(key, value)| (key, placing.place(value, 0, reader)))
        .collect();
    placing.whole.then_some(Node { span: node.span, kind: Kind::Map { fields, flow } })
}

struct Placing<'p> {
    pieces: &'p [(Key, Node)],
    left: usize,
    whole: bool,
}

impl Placing<'_> {
    fn place(&mut self, node: Node, depth: usize, reader: &mut Reader<'_>) -> Node {
        if self.left == 0 || depth > MAX_DEPTH + 64 {
            if self.whole {
                reader.error(node.span, "the pieces of `definitions` make too much, or one holds itself");
            }
            self.whole = false;
            return Node { span: node.span, kind: Kind::Null };
        }
        self.left -= 1;
        let kind = match node.kind {
            Kind::List(items) => {
                Kind::List(items.into_iter().map(|item| self.place(item, depth + 1, reader)).collect())
            }
            Kind::Map { fields, flow } => {
                let fields = self.used(fields, depth, reader);
                let fields = fields.into_iter().map(|(key, value)| (key, self.place(value, depth + 1, reader)));
                Kind::Map { fields: fields.collect(), flow }
            }
            scalar => scalar,
        };
        Node { span: node.span, kind }
    }

    /// The fields of a map, under them those of the piece it uses.
    fn used(&mut self, fields: Vec<(Key, Node)>, depth: usize, reader: &mut Reader<'_>) -> Vec<(Key, Node)> {
        let Some((_, named)) = fields.iter().find(|(key, _)| key.name == "use") else { return fields };
        let span = named.span;
        let Some(name) = named.text() else { return fields };
        let Some((_, piece)) = self.pieces.iter().find(|(key, _)| key.name == name) else {
            reader.unknown(span, "piece of `definitions`", name, self.pieces.iter().map(|(key, _)| key.name.as_str()));
            self.whole = false;
            return fields;
        };
        let Kind::Map { fields: under, .. } = &piece.kind else {
            reader.error(span, format!("the piece `{name}` is {}: only a map can be used", piece.what()));
            self.whole = false;
            return fields;
        };
        let over: Vec<(Key, Node)> = fields.into_iter().filter(|(key, _)| key.name != "use").collect();
        let is_over = |key: &Key| over.iter().any(|(other, _)| other.name == key.name);
        let mut all: Vec<(Key, Node)> = under.iter().filter(|(key, _)| !is_over(key)).cloned().collect();
        all.extend(over);
        if depth > MAX_DEPTH {
            self.left = 0;
        }
        // A piece may use pieces.
        if all.iter().any(|(key, _)| key.name == "use") { self.used(all, depth + MAX_DEPTH / 4, reader) } else { all }
    }
}
