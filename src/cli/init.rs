//! `raccord init FOLDER`: a working hub to start from.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use rust_embed::RustEmbed;

use super::{Context, schema};

/// The hub that `init` writes.
#[derive(RustEmbed)]
#[folder = "src/cli/skeleton/"]
struct Skeleton;

#[derive(Debug, Args)]
pub struct Init {
    /// The folder to make; it must be empty or absent
    // A name of its own: `folder` is the global `--folder`, and one would fill the other.
    #[arg(id = "new_folder", value_name = "FOLDER")]
    folder: PathBuf,
}

impl Init {
    pub fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let folder = context.folder.join(&self.folder);
        let filled = std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
        anyhow::ensure!(!filled, "{} is not empty: nothing was written", folder.display());
        for name in Skeleton::iter() {
            let file = Skeleton::get(&name).context("a listed file is there")?;
            let path = folder.join(name.as_ref());
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
            }
            std::fs::write(&path, &file.data).with_context(|| format!("cannot write {}", path.display()))?;
        }
        schema::write_all(&folder.join(".raccord"))?;
        println!("{} is a working hub.\n", self.folder.display());
        println!("  cd {}", self.folder.display());
        println!("  raccord test                   runs the cases of its one pipeline");
        println!("  raccord run                    runs it: in/orders/first.json goes to out/erp/");
        println!("  edit pipelines/orders/pipeline.yaml while it runs: it reloads, or says what is wrong");
        println!("  raccord explain                the manual");
        Ok(ExitCode::SUCCESS)
    }
}
