//! People's data is masked where it is shown.

use super::Pipeline;
use crate::message::Value;

/// `document` with what stands at the pipeline's `private` paths replaced by `***`.
pub fn mask(pipeline: &Pipeline, mut document: Value) -> Value {
    for place in &pipeline.private {
        place.replace(&mut document, &Value::text("***"));
    }
    document
}
