//! `raccord schema`: JSON Schemas for editors. With `# yaml-language-server: $schema=…` on top of a file, an editor completes and
//! explains every key.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::Context;
use crate::config::{HubSettings, Setting, Shape, schema};
use crate::message::{Value, json};
use crate::{connectors, partners, pipelines};

#[derive(Debug, Args)]
pub struct Schema {
    /// Which one to print; nothing writes them all
    which: Option<Which>,
    /// Where to write them, relative to the hub's folder
    #[arg(long, default_value = ".raccord")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    Pipeline,
    Hub,
    Case,
    Manifest,
    Connection,
    Partner,
}

const ALL: [(Which, &str); 6] = [
    (Which::Pipeline, "pipeline"),
    (Which::Hub, "hub"),
    (Which::Case, "case"),
    (Which::Manifest, "manifest"),
    (Which::Connection, "connection"),
    (Which::Partner, "partner"),
];

impl Schema {
    pub fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        match self.which {
            Some(which) => {
                let (_, name) = ALL.into_iter().find(|(one, _)| *one == which).context("every schema has a name")?;
                println!("{}", json::to_pretty(&schema_of(which, name)));
            }
            None => {
                for path in write_all(&context.folder.join(&self.out))? {
                    println!("wrote {}", path.display());
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes all schemas into a folder.
pub fn write_all(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut written = Vec::new();
    for (which, name) in ALL {
        let path = folder.join(format!("{name}.schema.json"));
        let text = json::to_pretty(&schema_of(which, name));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

fn schema_of(which: Which, name: &str) -> Value {
    match schema(&shape(which), name) {
        // What else stands there is what the manifest asks for.
        Value::Map(mut schema) if which == Which::Connection => {
            schema.insert("additionalProperties", true);
            schema.into()
        }
        schema => schema,
    }
}

fn shape(which: Which) -> Shape {
    match which {
        Which::Pipeline => pipelines::shape(),
        Which::Hub => HubSettings::shape(),
        Which::Case => pipelines::case_shape(),
        Which::Manifest => connectors::shape(),
        Which::Connection => connectors::connection_shape(),
        Which::Partner => partners::shape(),
    }
}
