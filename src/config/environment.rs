//! References in scalars: `${NAME}` is an environment variable, `${file:PATH}` the content of a file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where references look.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Set: only these variables exist (tests). Unset: the process's own.
    pub only: Option<BTreeMap<String, String>>,
    /// Relative `${file:PATH}` start here.
    pub folder: PathBuf,
}

/// A value that is never printed. Only a reference can give one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    pub fn new(value: impl Into<Arc<str>>) -> Secret {
        Secret(value.into())
    }

    /// The value itself, for the one place that sends or compares it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Environment {
    /// `text` with its references replaced; `None` where there are none. `$${` stands for a plain `${`.
    ///
    /// Errors are whole sentences: the variable that is not set, the file that cannot be read.
    pub fn expand(&self, text: &str) -> Result<Option<String>, String> {
        if !text.contains("${") {
            return Ok(None);
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                out.push_str(&rest[..at - 1]);
                out.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            out.push_str(&rest[..at]);
            let after = &rest[at + 2..];
            let end = after.find('}').ok_or("`${` without its `}`")?;
            out.push_str(&self.look_up(&after[..end])?);
            rest = &after[end + 1..];
        }
        out.push_str(rest);
        Ok(Some(out))
    }

    fn look_up(&self, reference: &str) -> Result<String, String> {
        if let Some(path) = reference.strip_prefix("file:") {
            let path = self.folder.join(path);
            return std::fs::read_to_string(&path)
                .map(|content| content.trim_end_matches(['\n', '\r']).to_owned())
                .map_err(|error| format!("cannot read {}: {error}", path.display()));
        }
        let value = match &self.only {
            Some(only) => only.get(reference).cloned(),
            None => std::env::var(reference).ok(),
        };
        value.ok_or_else(|| format!("environment variable `{reference}` is not set"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_or_explained() {
        let environment = Environment {
            only: Some([("HOST".to_owned(), "erp.example".to_owned())].into()),
            ..Environment::default()
        };
        assert_eq!(environment.expand("https://${HOST}/x"), Ok(Some("https://erp.example/x".into())));
        assert_eq!(environment.expand("plain"), Ok(None));
        assert_eq!(environment.expand("$${HOST}"), Ok(Some("${HOST}".into())));
        assert_eq!(environment.expand("${NOPE}"), Err("environment variable `NOPE` is not set".into()));
        assert!(environment.expand("${file:absent.txt}").is_err_and(|said| said.contains("absent.txt")));
        assert!(environment.expand("${HOST").is_err());
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", Secret::new("s3cret")), "***");
    }
}
