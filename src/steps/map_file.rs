//! `map_file`: the Message Translator, its mapping in a file of its own; builds on `map`.

use std::path::PathBuf;

use super::beside::open;
use super::map::Mapping;
use super::{Step, StepPlace, kind};
use crate::config::{MAX_BYTES, Node, Reader, Setting, parse};
use crate::formula::Template;

kind! {
    /// Replaces the document, as `map` does, by a mapping in a file of its own beside the pipeline.
    ///
    /// For mappings that are long (an EDIFACT message) or made by other people than the pipeline. The file holds what would
    /// stand under `map:`; its mistakes are shown with its own lines.
    ///
    /// ```yaml
    /// - map_file: orders-d96a.yaml
    /// ```
    "map_file", PathBuf::shape, read
}

fn read(node: &Node, reader: &mut Reader<'_>, place: &StepPlace<'_>) -> Option<Box<dyn Step>> {
    let file = open(node, reader, place, MAX_BYTES)?;
    let tree = parse(file, &reader.files.text(file), &mut reader.problems)?;
    Some(Box::new(Mapping(Template::read(&tree, reader)?)))
}

#[cfg(test)]
mod tests {
    use crate::steps::check::{check, refused};

    #[test]
    fn the_mapping_comes_from_its_file() {
        check("- map_file: orders-d96a.yaml", r##"{"name":"#7"}"##, r##"{"order":"#7"}"##);
    }

    #[test]
    fn mistakes_are_shown_where_they_are() {
        refused("- map_file: absent.yaml", "1:13 `absent.yaml`: the file cannot be read");
        refused("- map_file: ../secret.yaml", "1:13 `../secret.yaml` is not a file beside the pipeline");
        refused("- map_file: /etc/passwd", "1:13 `/etc/passwd` is not a file beside the pipeline");
        refused("- map_file: broken.yaml", "broken.yaml:2:");
    }
}
