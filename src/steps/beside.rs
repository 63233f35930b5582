//! Files beside the pipeline: mappings and schemas that a step names.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use super::StepPlace;
use crate::config::{FileId, Node, Reader};

/// Reads the file a node names, of at most `most` bytes, into the reader's files, so that problems in it can be shown.
/// A name that leads out of the pipeline's folder, or a file that cannot be read, is reported at the name.
pub fn open(node: &Node, reader: &mut Reader<'_>, place: &StepPlace<'_>, most: usize) -> Option<FileId> {
    let name = reader.text(node)?;
    let path = Path::new(name.as_str());
    if name.is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
        reader
            .error(node.span, format!("`{name}` is not a file beside the pipeline"))
            .label("expected the name of a file in the pipeline's folder");
        return None;
    }
    match read_text(&place.folder.join(path), most) {
        Ok(text) => {
            let here = reader.files.path(node.span.file);
            let folder = here.parent().unwrap_or(Path::new(""));
            Some(reader.files.add(folder.join(path), text))
        }
        Err(said) => {
            reader.error(node.span, format!("`{name}`: {said}")).label("this file is needed here");
            None
        }
    }
}

/// The text of a file of at most `most` bytes; the error is a sentence.
pub fn read_text(path: &Path, most: usize) -> Result<String, String> {
    let bytes = read_bytes(path, most)?;
    let text = String::from_utf8(bytes).map_err(|_| "the file is not UTF-8; save it again as UTF-8".to_owned())?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The bytes of a file of at most `most` bytes; the error is a sentence.
pub fn read_bytes(path: &Path, most: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("the file cannot be read: {error}"))?;
    if bytes.len() > most {
        return Err(format!("the file is larger than {} MB", most >> 20));
    }
    Ok(bytes)
}
