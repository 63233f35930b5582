//! `raccord partners`: what became of the documents that were sent to trading partners.

use std::process::ExitCode;

use clap::Args;

use super::{Context, output};
use crate::message::{Value, json};

#[derive(Debug, Args)]
pub struct Partners {
    /// Only this partner's
    partner: Option<String>,
    /// Only documents in this state: sent, received, accepted, rejected, overdue
    #[arg(long, value_parser = ["sent", "received", "accepted", "rejected", "overdue"])]
    state: Option<String>,
    /// Of so many interchanges, the newest first
    #[arg(long, default_value_t = 100)]
    most: u32,
}

impl Partners {
    pub async fn run(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let question =
            [("partner", self.partner.clone()), ("state", self.state.clone()), ("most", Some(self.most.to_string()))];
        let Some(answer) = output::office(context, output::question("partners", question)).await? else {
            return Ok(output::found());
        };
        if context.json {
            println!("{}", json::to_pretty(&answer));
            return Ok(ExitCode::SUCCESS);
        }
        let documents = answer.as_list().unwrap_or_default();
        let columns = ["partner", "sent_at", "document", "interchange", "reference", "state", "reason"];
        let line = |document: &Value| columns.map(|column| output::word(document, column).to_string()).to_vec();
        if documents.is_empty() {
            println!("No document was sent{}.", if self.state.is_some() { " that is in this state" } else { "" });
            return Ok(ExitCode::SUCCESS);
        }
        let rows: Vec<Vec<String>> = documents.iter().map(line).collect();
        output::table(&["PARTNER", "SENT", "DOCUMENT", "INTERCHANGE", "MESSAGE", "STATE", "WHY"], &rows);
        Ok(ExitCode::SUCCESS)
    }
}
