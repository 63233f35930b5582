//! Names that stay in their folder.

use crate::message::{Fault, MessageId, Text, Value};

/// Leaves room for an id within the 255 bytes of most file systems.
const LONGEST: usize = 200;

/// A formula's outcome as a file name.
///
/// # Errors
/// `refuse` `FILE-NAME` for what is no name, or would lead out of the folder, or hide in it.
pub fn file_name(value: Option<Value>) -> Result<Text, Fault> {
    let name = value.as_ref().and_then(Value::plain).ok_or_else(|| refused("is no text", ""))?;
    let fault = if name.is_empty() {
        "is empty"
    } else if name.len() > LONGEST {
        "is longer than 200 bytes"
    } else if name.starts_with('.') {
        "begins with a dot"
    } else if name.contains(['/', '\\']) {
        "has a `/` or `\\`, which would lead to another folder"
    } else if name.chars().any(char::is_control) {
        "has a control character"
    } else {
        return Ok(name);
    };
    Err(refused(fault, &name))
}

/// `order.json` → `order-<id>.json`
pub fn with_id(name: &str, id: MessageId) -> Text {
    match name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}-{id}.{extension}").into(),
        None => format!("{name}-{id}").into(),
    }
}

fn refused(fault: &str, name: &str) -> Fault {
    let shown: String = name.chars().take(60).flat_map(char::escape_default).collect();
    Fault::refuse("FILE-NAME", format!("the file name `{shown}` {fault}: correct `name`")).at("name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        let check = |name: &str, says: Option<&str>| match (file_name(Some(name.into())), says) {
            (Ok(read), None) => assert_eq!(read, name),
            (Err(fault), Some(says)) => {
                assert!(fault.code() == "FILE-NAME" && fault.to_string().contains(says), "{name}: {fault}");
            }
            (other, _) => panic!("{name}: {other:?}"),
        };
        check("order-1042.json", None);
        check("été #7.csv", None);
        check("a..b", None);
        check("", Some("is empty"));
        check("..", Some("begins with a dot"));
        check(".profile", Some("begins with a dot"));
        check("../../etc/passwd", Some("begins with a dot"));
        check("a/../../b", Some("another folder"));
        check("/etc/passwd", Some("another folder"));
        check("..\\b", Some("begins with a dot"));
        check("c:\\b", Some("another folder"));
        check("a\0b", Some("control"));
        check("a\nb", Some("control"));
        check(&"a".repeat(201), Some("longer"));
        check(&"é".repeat(101), Some("longer"));
        assert!(file_name(None).is_err() && file_name(Some(Value::Null)).is_err());
    }

    #[test]
    fn an_id_goes_before_the_extension() {
        let id = MessageId::derive(&[b"x"]);
        assert_eq!(with_id("a.b.json", id), format!("a.b-{id}.json"));
        assert_eq!(with_id("a", id), format!("a-{id}"));
    }
}
