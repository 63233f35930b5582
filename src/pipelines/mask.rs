//! People's data is masked where it is shown, and where the journal would keep it.

use sha2::{Digest, Sha256};

use super::Pipeline;
use crate::message::{Text, Value};

/// `document` with what stands at the pipeline's `private` places replaced by `***`.
pub fn mask(pipeline: &Pipeline, mut document: Value) -> Value {
    for place in &pipeline.private {
        place.replace(&mut document, &Value::text("***"));
    }
    document
}

/// What the journal keeps of a private value: enough to find it by the value, not to read it.
pub fn pseudonym(value: &str) -> Text {
    let mut hash = Sha256::new();
    hash.update(b"raccord track ");
    hash.update(value);
    let digest = hash.finalize();
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("private:{hex}").into()
}
