//! Documents as written in YAML.

use super::{Key, Kind, Node, Reader, Setting, Shape};
use crate::message::{Map, Value};

/// A document as written in YAML: no paths, no formulas.
#[derive(Clone, Debug)]
pub struct Data(pub Value);

impl Setting for Data {
    fn shape() -> Shape {
        Shape::Template("a document as written")
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Data> {
        Some(Data(match &node.kind {
            Kind::Null => Value::Null,
            Kind::Scalar { plain, .. } => {
                let text = reader.text(node)?;
                match text.as_str() {
                    "true" if *plain => true.into(),
                    "false" if *plain => false.into(),
                    number if *plain => Value::number(number).unwrap_or(Value::Text(text)),
                    _ => Value::Text(text),
                }
            }
            Kind::List(items) => {
                let items: Option<Vec<Value>> =
                    items.iter().map(|item| Data::read(item, reader).map(|data| data.0)).collect();
                items?.into()
            }
            Kind::Map { fields, .. } => {
                let read = |(key, node): &(Key, Node)| Some((key.name.clone(), Data::read(node, reader)?.0));
                let fields: Option<Map> = fields.iter().map(read).collect();
                fields?.into()
            }
        }))
    }
}
