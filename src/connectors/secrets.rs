//! What no fault may say: a system may repeat in its answer what it was sent.

use reqwest::header::HeaderMap;

use super::manifest::{Manifest, SettingType};
use crate::message::{Fault, Text, Value};

/// Shorter ones would hide half of every sentence.
const SHORTEST: usize = 4;
/// Faults cut what a system says to about so many characters: what is left of a secret there is its beginning.
const CUT: usize = 250;

/// The secrets of a connection, the longest first.
#[derive(Clone, Default)]
pub struct Secrets(Vec<Text>);

impl Secrets {
    /// The secret settings of a connection.
    pub fn of(manifest: &Manifest, settings: &Value) -> Secrets {
        let kinds = manifest.head.settings.iter().flatten().filter(|(_, kind)| kind.r#type == SettingType::Secret);
        let mut secrets = Secrets::default();
        for value in kinds.filter_map(|(name, _)| settings.as_map()?.get(name)?.as_text()) {
            secrets.add(value);
        }
        secrets
    }

    /// Besides these, what the credentials put into the headers of a request: a token, a signature, a cookie.
    pub fn and_proof(&self, before: &HeaderMap, after: &HeaderMap) -> Secrets {
        let mut secrets = self.clone();
        for (name, value) in after.iter().filter(|(name, value)| before.get(*name) != Some(*value)) {
            let Ok(text) = value.to_str() else { continue };
            // `Bearer TOKEN`; `session=TOKEN; path=/`.
            let pieces = text.split([' ', ';']).map(|piece| piece.split_once('=').map_or(piece, |(_, value)| value));
            let known = ["Bearer", "Basic", "Token"];
            pieces.filter(|piece| !known.contains(piece)).for_each(|piece| secrets.add(piece));
            if name == reqwest::header::AUTHORIZATION {
                secrets.add(text);
            }
        }
        secrets
    }

    /// The fault without them.
    pub fn hide(&self, fault: Fault) -> Fault {
        if self.0.is_empty() { fault } else { fault.reworded(|text| self.hide_in_text(text)) }
    }

    fn add(&mut self, secret: &str) {
        if secret.len() >= SHORTEST && !self.0.iter().any(|known| known == secret) {
            self.0.push(secret.into());
            self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
    }

    /// The text without them.
    pub fn hide_in_text(&self, text: &str) -> String {
        let mut hidden = text.to_owned();
        for secret in &self.0 {
            hidden = hidden.replace(secret.as_str(), "***");
            if hidden.chars().count() > CUT {
                let starts = secret.char_indices().map(|(at, _)| at).filter(|at| *at >= SHORTEST);
                let beginning = starts.rev().filter_map(|at| secret.get(..at)).find(|start| hidden.ends_with(start));
                if let Some(kept) = beginning.and_then(|start| hidden.strip_suffix(start)) {
                    hidden = format!("{kept}***");
                }
            }
        }
        hidden
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_whole_and_cut() {
        let mut secrets = Secrets::default();
        ["s3cret", "s3cret-and-more", "abc"].iter().for_each(|secret| secrets.add(secret));
        assert_eq!(secrets.hide_in_text("s3cret-and-more is not s3cret, abc"), "*** is not ***, abc");
        let long = format!("{}s3cret-an", "x".repeat(290));
        assert_eq!(secrets.hide_in_text(&long), format!("{}***", "x".repeat(290)));
        let long = format!("{}s3cre", "x".repeat(290));
        assert_eq!(secrets.hide_in_text(&long), format!("{}***", "x".repeat(290)));
    }
}
