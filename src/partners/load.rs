//! Reading `config/partners/*.yaml`, and finding whose interchange it is.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::checks;
use super::profile::Partner;
use super::settings::{Direction, PartnerHead, SharedMailbox};
use crate::codecs::edi::Separators;
use crate::config::{FileId, Kind, MAX_BYTES, Node, Reader, Setting, Span, parse};
use crate::edi::directory::Library;
use crate::edi::reader::Party;
use crate::edi::syntax::Dialect;
use crate::formula::{Tables, Template};
use crate::message::{Fault, Text};
use crate::protocols::{self, SourceSettings};
use crate::steps::CsvTables;

const FOLDER: &str = "config/partners";
/// Definitions of messages that do not ship.
const DEFINITIONS: &str = "config/edi";

/// What is tried where the profile says nothing.
const RETRY: [Duration; 5] = [
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(3_600),
    Duration::from_secs(21_600),
];

/// All partners of a hub.
pub struct Partners {
    pub partners: BTreeMap<Text, Arc<Partner>>,
    pub mailboxes: Vec<Mailbox>,
    /// The definitions: those of `config/edi`, and behind them the shipped ones.
    pub library: Arc<Library>,
    /// A hash of the files they were read from: with them lanes change.
    definitions: [u8; 32],
    /// Those of `config/tables`, for maps.
    pub tables: Arc<dyn Tables>,
    /// Profiles that could not be read, which was reported.
    wrong: bool,
}

/// Where interchanges come from: of one partner, or of several who share it.
#[derive(Clone, Debug)]
pub struct Mailbox {
    /// `lampes.in`, after the partner whose it is.
    pub name: Text,
    pub source: Arc<dyn SourceSettings>,
    /// Where it is stated, for problems between pipelines.
    pub span: Span,
    pub partners: Vec<Text>,
    /// What is written of it: a second profile must not say the same.
    said: String,
}

impl Mailbox {
    /// What is written of it.
    pub fn said(&self) -> &str {
        &self.said
    }
}

impl std::fmt::Debug for Partners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.partners.keys()).finish()
    }
}

/// No partner.
impl Default for Partners {
    fn default() -> Partners {
        Partners::with(Arc::new(CsvTables::default()))
    }
}

/// Reads the partners of the hub in `folder`; what is wrong is reported, and left out.
pub fn load(folder: &Path, tables: Arc<dyn Tables>, reader: &mut Reader<'_>) -> Partners {
    let mut partners = Partners::with(tables);
    partners.read_library(folder, reader);
    let mut wires = AllWires::default();
    for relative in strays(folder) {
        let file = reader.files.add(&relative, "");
        reader
            .warning(Span { file, start: 0, end: 0 }, format!("{} is not read", relative.display()))
            .help("a profile ends in `.yaml`: rename it");
    }
    for (name, relative) in files(folder) {
        let before = std::mem::take(&mut reader.resolved);
        let (library, definitions) = (partners.library.clone(), partners.definitions);
        match read(folder, (&name, &relative), (&library, definitions), &mut wires, reader) {
            Some(partner) => partners.add(partner, reader),
            None => partners.wrong = true,
        }
        reader.resolved = before;
    }
    partners.join(wires, reader);
    partners
}

/// What the transports of all partners say.
#[derive(Default)]
struct AllWires {
    mailboxes: Vec<Mailbox>,
    /// Who shares whose mailbox.
    shared: Vec<(Text, Text, Span)>,
    /// The folders that are named, and whether files are taken from them.
    folders: Vec<(Text, Span, bool)>,
}

/// The folder a wire of files names.
fn folder_of(node: &Node) -> Option<Text> {
    let text = |name| node.field(name).and_then(Node::text);
    (text("protocol") == Some("file"))
        .then(|| text("folder"))
        .flatten()
        .map(|folder| folder.trim_end_matches('/').into())
}

impl Partners {
    fn with(tables: Arc<dyn Tables>) -> Partners {
        let (partners, mailboxes) = (BTreeMap::new(), Vec::new());
        Partners {
            partners,
            mailboxes,
            library: Arc::new(Library::with(Vec::new())),
            definitions: [0; 32],
            tables,
            wrong: false,
        }
    }

    /// Brings those who share a mailbox to it, and tells what is written where it would be read again.
    fn join(&mut self, wires: AllWires, reader: &mut Reader<'_>) {
        self.mailboxes = wires.mailboxes;
        for (partner, owner, at) in wires.shared {
            match self.mailboxes.iter_mut().find(|mailbox| mailbox.partners.first() == Some(&owner)) {
                Some(mailbox) => mailbox.partners.push(partner),
                None if self.wrong => {}
                None => {
                    let owners = self.mailboxes.iter().filter_map(|mailbox| mailbox.partners.first());
                    reader.unknown(at, "mailbox of", &owner, owners.map(Text::as_str));
                }
            }
        }
        for (folder, at, _) in wires.folders.iter().filter(|(.., taken)| !taken) {
            if wires.folders.iter().any(|(other, _, taken)| *taken && other == folder) {
                reader
                    .error(*at, format!("files are taken from `{folder}` too"))
                    .label("what is sent would come in again")
                    .help("name another folder: `in` and `out` are told apart from where this hub stands");
            }
        }
    }

    fn read_library(&mut self, folder: &Path, reader: &mut Reader<'_>) {
        let path = folder.join(DEFINITIONS);
        if !path.is_dir() {
            return;
        }
        match Library::from_folder(&path) {
            Ok(library) => {
                self.library = Arc::new(library);
                self.definitions = hash_of(&path);
            }
            Err(error) => {
                let file = reader.files.add(DEFINITIONS, "");
                let at = Span { file, start: 0, end: 0 };
                reader
                    .error(at, error.to_string())
                    .help("`raccord edi import` checks such a file and says what is wrong");
                self.wrong = true;
            }
        }
    }

    fn add(&mut self, (partner, at): (Partner, Span), reader: &mut Reader<'_>) {
        let them = partner.them.party();
        let same = |other: &&Arc<Partner>| other.them.party() == them && other.us.party() == partner.us.party();
        if let Some(other) = self.partners.values().find(same) {
            let said = format!("`{}` is already `them` of the partner `{}`", partner.them.id, other.name);
            reader.error(at, said).label("whose interchange it is could not be told");
        }
        self.partners.insert(partner.name.clone(), Arc::new(partner));
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Partner>> {
        self.partners.get(name)
    }

    /// Whose interchange it is, by what it states. Of several with this identity the one it is addressed by.
    ///
    /// # Errors
    /// `PARTNER-UNKNOWN`, `PARTNER-RECEIVER` (refuse).
    pub fn sender(&self, dialect: Dialect, sender: &Party, receiver: &Party) -> Result<&Arc<Partner>, Fault> {
        let named = |partner: &&Arc<Partner>| partner.dialect == dialect && partner.is_sender(sender);
        let candidates: Vec<&Arc<Partner>> = self.partners.values().filter(named).collect();
        let Some(first) = candidates.first() else {
            let said = format!(
                "no partner is {}: add one to {FOLDER}, or correct `them` of the one it is, then replay",
                shown(sender)
            );
            return Err(Fault::refuse("PARTNER-UNKNOWN", said));
        };
        candidates.iter().find(|partner| partner.us.is(receiver)).copied().ok_or_else(|| {
            let said = format!(
                "{} sends it to {}, and to that partner we are {}: it is not for us, or `us` is to be corrected",
                first.name,
                shown(receiver),
                shown(&first.us.party())
            );
            Fault::refuse("PARTNER-RECEIVER", said)
        })
    }

    /// Reports a document that no partner, or not this one, has in a direction. `partner` is `*` for any.
    pub fn check(
        &self,
        partner: (&str, Span),
        document: (&str, Span),
        direction: Direction,
        reader: &mut Reader<'_>,
    ) -> bool {
        // What a profile that cannot be read would have said is not known.
        if self.wrong {
            return true;
        }
        if partner.0 != "*" && !self.partners.contains_key(partner.0) {
            reader.unknown(partner.1, "partner", partner.0, self.partners.keys().map(Text::as_str));
            return false;
        }
        let meant = self.partners.values().filter(|other| partner.0 == "*" || other.name == partner.0);
        let names: Vec<&Text> = meant.flat_map(|partner| partner.names(direction)).collect();
        if !names.iter().any(|name| **name == document.0) {
            let what = if direction == Direction::In { "incoming document" } else { "outgoing document" };
            reader.unknown(document.1, what, document.0, names.iter().map(|name| name.as_str()));
            return false;
        }
        true
    }
}

/// `4000000000021 (14)`
pub(super) fn shown(party: &Party) -> String {
    let mut shown = if party.id.is_empty() { "nobody".to_owned() } else { format!("`{}`", party.id) };
    if !party.qualifier.is_empty() {
        shown.push_str(&format!(" (qualifier `{}`)", party.qualifier));
    }
    shown
}

/// Files that were meant to be profiles.
fn strays(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join(FOLDER)).into_iter().flatten().flatten();
    let names = entries.map(|entry| Path::new(FOLDER).join(entry.file_name()));
    names.filter(|path| path.extension().is_some_and(|extension| extension == "yml")).collect()
}

/// A hash of the files in a folder.
fn hash_of(folder: &Path) -> [u8; 32] {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    let texts = paths.iter().map(|path| std::fs::read(path).unwrap_or_default());
    texts.fold(Sha256::new(), |hash, text| hash.chain_update(text)).finalize().into()
}

/// The profiles of a hub, by the partner's name, in order.
fn files(folder: &Path) -> Vec<(Text, PathBuf)> {
    let mut names: Vec<String> = std::fs::read_dir(folder.join(FOLDER))
        .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    let named = |file: String| {
        let name = file.strip_suffix(".yaml").filter(|name| !name.starts_with('.'))?;
        Some((Text::from(name), Path::new(FOLDER).join(&file)))
    };
    names.into_iter().filter_map(named).collect()
}

fn read(
    folder: &Path,
    (name, relative): (&Text, &Path),
    (library, definitions): (&Library, [u8; 32]),
    all: &mut AllWires,
    reader: &mut Reader<'_>,
) -> Option<(Partner, Span)> {
    let (file, text) = text(folder, relative, reader)?;
    let node = parse(file, &text, &mut reader.problems)?;
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        reader
            .error(node.span.part(0, 1), format!("`{name}` cannot name a partner"))
            .help("rename its file: small letters, digits and `-` only, for instance `lampes.yaml`");
        return None;
    }
    let mut map = reader.map(&node)?;
    let head: Option<PartnerHead> = map.flat(reader);
    let transport = map.field::<NodeOf>(reader, "transport");
    let at = map.node("them").map_or(map.span, |node| node.span);
    map.finish(reader);
    let (head, transport) = (head?, transport?);
    let mut hash = Sha256::new().chain_update(definitions).chain_update(&text);
    let maps = maps(folder, &node, &head, &mut hash, reader)?;
    let sound = checks::check(&node, &head, reader);
    let wires = read_transport(name, &transport.0, all, reader);
    let separators = head.writes.as_ref().and_then(|writes| writes.delimiters.as_ref());
    let at_writes = node.field("writes").map_or(node.span, |node| node.span);
    let delimiters = Separators::of(separators, head.dialect.dialect(), at_writes, reader)?;
    let mut partner = Partner::new(name.clone(), head, maps, delimiters);
    let defined = checks::definitions(&node, &partner, library, reader);
    let (out, retry) = wires?;
    let sends = partner.names(Direction::Out).next().is_some();
    if out.is_none() && sends {
        reader.error(transport.0.span.part(0, 1), "`out` is missing").label("documents go out to this partner");
        return None;
    }
    (partner.out, partner.retry) = (out, retry);
    partner.out_span = transport.0.field("out").map_or(transport.0.span, |node| node.span).part(0, 1);
    let digest: [u8; 32] = hash.chain_update(reader.resolved).finalize().into();
    partner.revision.copy_from_slice(&digest[..16]);
    (sound && defined).then_some((partner, at))
}

/// A node as it is.
struct NodeOf(Node);

impl Setting for NodeOf {
    fn shape() -> crate::config::Shape {
        crate::config::Shape::Boolean
    }

    fn read(node: &Node, _reader: &mut Reader<'_>) -> Option<NodeOf> {
        Some(NodeOf(node.clone()))
    }
}

type Wires = (Option<Arc<dyn protocols::TargetSettings>>, Vec<Duration>);

fn read_transport(name: &Text, node: &Node, wires: &mut AllWires, reader: &mut Reader<'_>) -> Option<Wires> {
    let mut map = reader.map(node)?;
    let mut whole = true;
    if let Some(node) = map.node("in") {
        let said = said(node);
        if node.field("shared_with").is_some() {
            match SharedMailbox::read(node, reader) {
                Some(shared) => wires.shared.push((name.clone(), shared.shared_with, node.span)),
                None => whole = false,
            }
        } else if let Some(mailbox) = wires.mailboxes.iter().find(|mailbox| mailbox.said == said) {
            let owner = mailbox.partners.first().cloned().unwrap_or_default();
            reader
                .error(node.span.part(0, 1), format!("`{owner}` has the same mailbox"))
                .label("two would take the same files")
                .help(format!("write `in: {{ shared_with: {owner} }}`"));
            whole = false;
        } else if let Some(source) = read_source(node, reader) {
            let (span, partners) = (node.span.part(0, 1), vec![name.clone()]);
            wires.mailboxes.push(Mailbox { name: format!("{name}.in").into(), source, span, partners, said });
        } else {
            whole = false;
        }
        wires.folders.extend(folder_of(node).map(|folder| (folder, node.span, true)));
    }
    wires.folders.extend(map.node("out").and_then(|node| Some((folder_of(node)?, node.span, false))));
    let out = map.node("out").map(|node| {
        let mut map = reader.map(node)?;
        let target = protocols::read_target(&mut map, reader);
        map.finish(reader);
        target
    });
    let retry = map.field::<Option<Vec<Duration>>>(reader, "retry");
    map.finish(reader);
    let out = match out {
        Some(None) => return None,
        Some(target) => target,
        None => None,
    };
    whole.then_some(())?;
    Some((out, retry?.unwrap_or_else(|| RETRY.to_vec())))
}

fn read_source(node: &Node, reader: &mut Reader<'_>) -> Option<Arc<dyn SourceSettings>> {
    let mut map = reader.map(node)?;
    let source = protocols::read_source(&mut map, reader);
    map.finish(reader);
    let source = source?;
    if source.replies() {
        reader
            .error(node.span.part(0, 1), "a partner's interchanges are stored, and cannot be replied to at once")
            .label("remove `reply`");
        return None;
    }
    Some(source)
}

/// What a node says, for comparing.
fn said(node: &Node) -> String {
    match &node.kind {
        Kind::Map { fields, .. } => {
            let mut fields: Vec<String> =
                fields.iter().map(|(key, node)| format!("{:?}:{}", key.name, said(node))).collect();
            fields.sort();
            format!("{{{}}}", fields.join(","))
        }
        Kind::List(items) => format!("[{}]", items.iter().map(said).collect::<Vec<_>>().join(",")),
        _ => format!("{:?}", node.text()),
    }
}

/// The mappings of the documents, each in a file beside the profile.
fn maps(
    folder: &Path,
    node: &Node,
    head: &PartnerHead,
    hash: &mut Sha256,
    reader: &mut Reader<'_>,
) -> Option<BTreeMap<Text, Template>> {
    let (mut maps, mut whole) = (BTreeMap::new(), true);
    for (name, document) in &head.documents {
        let Some(path) = &document.map else { continue };
        let at = node.field("documents").and_then(|node| node.field(name)).and_then(|node| node.field("map"));
        let at = at.map_or(node.span, |node| node.span);
        if path.is_absolute() || path.components().any(|part| !matches!(part, Component::Normal(_))) {
            reader
                .error(at, format!("`{}` is not a file beside the profile", path.display()))
                .label(format!("expected a path below {FOLDER}"));
            whole = false;
            continue;
        }
        let relative = Path::new(FOLDER).join(path);
        let template = text_at(folder, &relative, Some(at), reader).and_then(|(file, text)| {
            hash.update(&text);
            let tree = parse(file, &text, &mut reader.problems)?;
            Template::read(&tree, reader)
        });
        match template {
            Some(template) => drop(maps.insert(name.clone(), template)),
            None => whole = false,
        }
    }
    whole.then_some(maps)
}

fn text(folder: &Path, relative: &Path, reader: &mut Reader<'_>) -> Option<(FileId, String)> {
    text_at(folder, relative, None, reader)
}

/// A text file; what cannot be read is told where it is named, else at its top.
fn text_at(folder: &Path, relative: &Path, at: Option<Span>, reader: &mut Reader<'_>) -> Option<(FileId, String)> {
    let path = folder.join(relative);
    let size = std::fs::metadata(&path).map(|found| found.len());
    let read = match size {
        Ok(size) if size > MAX_BYTES as u64 => Err(format!("{size} bytes are too many (at most {MAX_BYTES})")),
        Ok(_) => std::fs::read_to_string(&path).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match read {
        Ok(text) => Some((reader.files.add(relative, text.clone()), text)),
        Err(said) => {
            let at = at.unwrap_or_else(|| Span { file: reader.files.add(relative, ""), start: 0, end: 0 });
            reader.error(at, format!("cannot read {}: {said}", relative.display()));
            None
        }
    }
}
