//! Reading a hub's folder whole: `config/` and `pipelines/`, every problem of every file in one pass.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Pipeline;
use super::lanes::lanes;
use super::spec::Names;
use crate::config::{Environment, FileId, Files, HubSettings, MAX_BYTES, Node, Problem, Reader, Severity, Span, parse};
use crate::connectors::{self, Connectors};
use crate::message::Text;
use crate::partners::{self, Partners};
use crate::steps::{ConnectionNames, CsvTables, read_tables};

/// Everything a hub's folder says.
pub struct Configuration {
    pub folder: PathBuf,
    pub hub: HubSettings,
    pub tables: Arc<CsvTables>,
    pub connectors: Arc<Connectors>,
    pub partners: Arc<Partners>,
    /// Those of `pipelines/`, and the lanes of the partners.
    pub pipelines: BTreeMap<Text, Arc<Pipeline>>,
}

impl Configuration {
    /// Names what all instances should run: the pipelines with their files and tables, what their references stand for, and
    /// the settings that must not differ. Where an instance listens and keeps its files is its own affair.
    pub fn revision(&self) -> Text {
        let mut hash = Sha256::new();
        for (name, pipeline) in &self.pipelines {
            hash.update(name.as_bytes());
            hash.update(pipeline.revision);
        }
        let queue = self.hub.queue.clone().unwrap_or_default();
        hash.update(format!("{} {:?}", queue.quota, self.hub.retention));
        if let Some(rabbit) = &queue.rabbitmq {
            hash.update(format!("{} {} {}", rabbit.vhost, rabbit.prefix, rabbit.partitions));
        }
        let digest: [u8; 32] = hash.finalize().into();
        digest[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
    }
}

/// A folder as read: a configuration where there is no error, and the problems with the files to show them in.
pub struct Loaded {
    pub configuration: Option<Configuration>,
    pub files: Files,
    pub problems: Vec<Problem>,
}

impl Loaded {
    pub fn has_errors(&self) -> bool {
        self.configuration.is_none()
    }
}

/// Reads the hub in `folder`. Never fails: what is wrong stands among the problems.
pub fn load(folder: &Path, environment: &Environment) -> Loaded {
    let files = Files::default();
    let mut reader = Reader::new(&files, environment);
    let hub = read_hub(folder, &mut reader);
    let (tables, names) = read_tables(folder, &mut reader);
    reader.tables = Some(names.files.clone());
    let tables = Arc::new(tables);
    let connectors = connectors::load(folder, &mut reader);
    let connections = connection_names(&connectors);
    let partners = Arc::new(partners::load(folder, tables.clone(), &mut reader));
    let known = Names { tables: &names, connections: &connections, connectors: &connectors, partners: &partners };
    let pipelines = read_pipelines(folder, &mut reader, known);
    let failed = reader.has_errors();
    let problems = std::mem::take(&mut reader.problems);
    let configuration = match (hub, pipelines) {
        (Some(hub), Some(pipelines)) if !failed => {
            let connectors = Arc::new(connectors);
            Some(Configuration { folder: folder.to_owned(), hub, tables, connectors, partners, pipelines })
        }
        _ => None,
    };
    Loaded { configuration, files, problems }
}

/// The hub's own settings alone, where they can be read.
pub fn load_hub(folder: &Path, environment: &Environment) -> Option<HubSettings> {
    let files = Files::default();
    read_hub(folder, &mut Reader::new(&files, environment))
}

/// Reads a YAML file into the reader's files; what cannot be read is a problem at its top.
pub(super) fn read_yaml(folder: &Path, relative: &Path, reader: &mut Reader<'_>) -> Option<Node> {
    let text = match read_text(&folder.join(relative)) {
        Ok(text) => text,
        Err(said) => {
            let file = reader.files.add(relative, "");
            reader.error(Span { file, start: 0, end: 0 }, format!("cannot read {}: {said}", relative.display()));
            return None;
        }
    };
    let file: FileId = reader.files.add(relative, text);
    parse(file, &reader.files.text(file), &mut reader.problems)
}

fn read_text(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_BYTES as u64 {
        return Err(format!("{size} bytes are too many for a configuration file (at most {MAX_BYTES})"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn read_hub(folder: &Path, reader: &mut Reader<'_>) -> Option<HubSettings> {
    let node = read_yaml(folder, Path::new("config/raccord.yaml"), reader)?;
    HubSettings::read_checked(&node, reader)
}

fn read_pipelines(folder: &Path, reader: &mut Reader<'_>, names: Names<'_>) -> Option<BTreeMap<Text, Arc<Pipeline>>> {
    let mut folders: Vec<String> = std::fs::read_dir(folder.join("pipelines"))
        .map(|entries| {
            let folders = entries.flatten().filter(|entry| entry.path().is_dir());
            folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        })
        .unwrap_or_default();
    folders.retain(|name| !name.starts_with('.'));
    folders.sort();
    folders.retain(|name| is_pipeline(folder, name, reader));
    let mut whole = true;
    let mut pipelines = BTreeMap::new();
    for name in folders {
        match read_pipeline(folder, &name, reader, names) {
            Some(pipeline) => drop(pipelines.insert(Text::from(name), Arc::new(pipeline))),
            None => whole = false,
        }
    }
    pipelines.extend(lanes(&pipelines, names, reader).into_iter().map(|lane| (lane.name.clone(), Arc::new(lane))));
    check_between(&pipelines, reader);
    whole.then_some(pipelines)
}

/// The connections that a `call` may name, and which of their operations read.
fn connection_names(connectors: &Connectors) -> ConnectionNames {
    let names = connectors.connections.iter().map(|(name, connection)| {
        let operations = connection.manifest.operations.iter();
        (name.clone(), operations.map(|(name, operation)| (name.clone(), operation.kind().word() == "read")).collect())
    });
    ConnectionNames(names.collect())
}

/// Whether a folder in `pipelines/` holds a pipeline; one that does not is told, since nothing in it runs.
fn is_pipeline(folder: &Path, name: &str, reader: &mut Reader<'_>) -> bool {
    let relative = Path::new("pipelines").join(name);
    if folder.join(&relative).join("pipeline.yaml").is_file() {
        return true;
    }
    let file = reader.files.add(relative.join("pipeline.yaml"), "");
    let help = if folder.join(&relative).join("pipeline.yml").is_file() {
        "rename `pipeline.yml` to `pipeline.yaml`"
    } else {
        "a pipeline is a folder with a `pipeline.yaml`; remove the folder if it is none"
    };
    reader
        .warning(
            Span { file, start: 0, end: 0 },
            format!("there is no pipeline.yaml in pipelines/{name}: nothing in it runs"),
        )
        .help(help);
    false
}

/// Problems no pipeline has by itself: a hand-over to one that does not exist, a web hook two pipelines want.
fn check_between(pipelines: &BTreeMap<Text, Arc<Pipeline>>, reader: &mut Reader<'_>) {
    let mut claimed: BTreeMap<String, &Text> = BTreeMap::new();
    for (name, pipeline) in pipelines {
        let claims = pipeline.source.claims();
        // One is enough: `POST /orders` and `PUT /orders` are one mistake.
        if let Some((claim, other)) = claims.iter().find_map(|claim| Some((claim, claimed.get(claim)?))) {
            let said = format!("`{claim}` is already taken by pipeline `{other}`");
            reader.error(pipeline.source_span, said).label("taken twice").help("give one of them another path");
        }
        claimed.extend(claims.into_iter().map(|claim| (claim, name)));
        for destination in &pipeline.destinations {
            if let Some(wanted) = destination.target.hands_to().filter(|wanted| !pipelines.contains_key(*wanted)) {
                reader.unknown(destination.span, "pipeline", wanted, pipelines.keys().map(Text::as_str));
            }
        }
    }
}

fn read_pipeline(folder: &Path, name: &str, reader: &mut Reader<'_>, names: Names<'_>) -> Option<Pipeline> {
    let relative = Path::new("pipelines").join(name);
    let node = read_yaml(folder, &relative.join("pipeline.yaml"), reader)?;
    if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        reader
            .error(node.span.part(0, 1), format!("`{name}` cannot name a pipeline"))
            .help("rename its folder: small letters, digits and `-` only, for instance `web-order`");
        return None;
    }
    reader.resolved = [0; 32];
    let mut pipeline = Pipeline::read(name, &node, reader, &folder.join(&relative), names)?;
    if pipeline.all_steps().any(|steps| steps.has("call")) {
        // Steps name connections where nothing is left of them to see: whatever changes in one may matter.
        for connection in names.connectors.connections.values() {
            let hash = Sha256::new().chain_update(reader.resolved).chain_update(connection.manifest.revision);
            reader.resolved = hash.chain_update(connection.revision).finalize().into();
        }
    }
    pipeline.revision = revision(&folder.join(&relative), &folder.join("config/tables"), &reader.resolved);
    Some(pipeline)
}

/// How deep folders of a pipeline's files are looked into.
const DEPTH: usize = 8;

/// A hash of all a pipeline is made of: its files, the tables, and what its references stand for (a secret that was changed).
fn revision(pipeline: &Path, tables: &Path, resolved: &[u8; 32]) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(resolved);
    for folder in [pipeline, tables] {
        hash_folder(folder, folder, &mut hash, DEPTH);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    half
}

/// The files of a folder and of those in it, by their place below `top`: another instance has them elsewhere. Cases and
/// samples are no part of what runs.
fn hash_folder(folder: &Path, top: &Path, hash: &mut Sha256, depth: usize) {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    paths.sort();
    for path in &paths {
        if path.is_file() {
            hash.update(path.strip_prefix(top).unwrap_or(path).as_os_str().as_encoded_bytes());
            hash.update(std::fs::read(path).unwrap_or_default());
        } else if depth > 0 && path.is_dir() && !path.ends_with("cases") && !path.ends_with("samples") {
            hash_folder(path, top, hash, depth - 1);
        }
    }
}

/// Whether any problem is an error; warnings are errors where `strict`.
pub fn refuses(problems: &[Problem], strict: bool) -> bool {
    problems.iter().any(|problem| strict || problem.severity == Severity::Error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pipeline_is_made_of_makes_its_revision() {
        let folder = std::env::temp_dir().join(format!("raccord-{}", crate::message::MessageId::draw()));
        let write = |relative: &str, text: &str| {
            let path = folder.join(relative);
            std::fs::create_dir_all(path.parent().expect("a file stands in a folder")).expect("folders can be made");
            std::fs::write(path, text).expect("files can be written");
            revision(&folder.join("orders"), &folder.join("tables"), &[0; 32])
        };
        let first = write("orders/pipeline.yaml", "about: a");
        assert_eq!(write("orders/cases/paid.yaml", "about: a case"), first);
        let schema = write("orders/schemas/order.json", "{}");
        assert_ne!(schema, first);
        assert_ne!(write("orders/schemas/order.json", "true"), schema);
        assert_ne!(write("tables/stores.csv", "a"), schema);
        std::fs::remove_dir_all(folder).expect("the folder is ours");
    }

    #[test]
    fn instances_with_the_same_files_run_the_same_revision() {
        let read = |quota: u32, about: &str| {
            let folder = std::env::temp_dir().join(format!("raccord-{}", crate::message::MessageId::draw()));
            let write = |relative: &str, text: String| {
                let path = folder.join(relative);
                std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("folders can be made");
                std::fs::write(path, text).expect("files can be written");
            };
            let place = folder.display();
            write("config/raccord.yaml", format!("name: at-{quota}\nqueue: {{ folder: '{place}', quota: {quota} }}\n"));
            let ends = "from: { protocol: raccord, format: json }\nto: { out: { protocol: file, folder: out, name: x.json, format: json } }";
            write("pipelines/orders/pipeline.yaml", format!("about: {about}\norder_by: none\n{ends}\n"));
            let loaded = load(&folder, &Environment::default());
            std::fs::remove_dir_all(&folder).expect("the folder is ours");
            loaded.configuration.expect("it is right").revision()
        };
        let first = read(1000, "a");
        assert_eq!(read(1000, "a"), first, "the same files in another folder");
        assert_ne!(read(1000, "b"), first);
        assert_ne!(read(1001, "a"), first, "a setting that all must share");
    }
}
