//! One definition a setting: its parser, its schema and its manual page.

use std::path::PathBuf;

use super::{Field, MapReader, Node, Reader, Secret, Shape};
use crate::message::Text;

/// Something a configuration file can say.
pub trait Setting: Sized {
    /// What may be written, for the schema and the reference page.
    fn shape() -> Shape;

    /// Reads it; a problem is reported to `reader` and gives `None`.
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self>;

    /// What it is when nothing is written; `None` where something must be.
    fn absent() -> Option<Self> {
        None
    }
}

/// A setting with named fields. Made by [`settings!`].
pub trait Settings: Setting {
    const NAME: &'static str;
    const ABOUT: &'static str;

    fn fields() -> Vec<Field>;

    /// Reads the fields from an open map, which may hold other fields too.
    fn read_fields(map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Self>;
}

/// A settings struct. Doc comments are the user manual; `= "text"` is a default, written as YAML would; an `Option` field may
/// be left out; any other field must be there.
///
/// ```ignore
/// settings! {
///     /// A watched folder.
///     pub struct FileSource {
///         /// The folder to watch.
///         folder: PathBuf,
///         /// How often to look, besides the system's own notice.
///         poll: Duration = "5s",
///     }
/// }
/// ```
macro_rules! settings {
    ($(#[doc = $about:literal])* $vis:vis struct $name:ident {
        $( $(#[doc = $doc:literal])* $field:ident : $type:ty $(= $default:literal)? ),* $(,)?
    }) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug)]
        $vis struct $name { $( $(#[doc = $doc])* pub $field: $type, )* }

        impl $crate::config::Settings for $name {
            const NAME: &'static str = stringify!($name);
            const ABOUT: &'static str = concat!($($about, "\n"),*);

            fn fields() -> Vec<$crate::config::Field> {
                vec![$( $crate::config::Field {
                    name: $crate::config::settings!(@name $field),
                    about: concat!($($doc, "\n"),*),
                    shape: <$type as $crate::config::Setting>::shape,
                    default: $crate::config::settings!(@default $($default)?),
                    required: $crate::config::settings!(@default $($default)?).is_none()
                        && <$type as $crate::config::Setting>::absent().is_none(),
                } ),*]
            }

            #[allow(unused_variables, reason = "a struct may have no field")]
            fn read_fields(
                map: &mut $crate::config::MapReader<'_>,
                reader: &mut $crate::config::Reader<'_>,
            ) -> Option<Self> {
                $( let $field = $crate::config::settings!(@read map, reader, $crate::config::settings!(@name $field), $($default)?); )*
                Some($name { $( $field: $field? ),* })
            }
        }

        impl $crate::config::Setting for $name {
            fn shape() -> $crate::config::Shape {
                $crate::config::Shape::Struct($crate::config::StructShape::of::<$name>())
            }

            fn read(node: &$crate::config::Node, reader: &mut $crate::config::Reader<'_>) -> Option<Self> {
                let mut map = reader.map(node)?;
                let read = map.flat(reader);
                map.finish(reader);
                read
            }
        }
    };
    (@name $field:ident) => {{
        const NAME: &str = stringify!($field);
        // A field named after a keyword (`r#where`) is written without its prefix.
        const PLAIN: &str = match NAME.as_bytes() {
            [b'r', b'#', ..] => NAME.split_at(2).1,
            _ => NAME,
        };
        PLAIN
    }};
    (@default) => { None::<&'static str> };
    (@default $default:literal) => { Some($default) };
    (@read $map:ident, $reader:ident, $field:expr,) => { $map.field($reader, $field) };
    (@read $map:ident, $reader:ident, $field:expr, $default:literal) => { $map.field_or($reader, $field, $default) };
}

/// An enumeration of words. Each word's doc comment is its manual.
macro_rules! choice {
    ($(#[doc = $about:literal])* $vis:vis enum $name:ident {
        $( $(#[doc = $doc:literal])* $variant:ident = $word:literal ),* $(,)?
    }) => {
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $( $(#[doc = $doc])* $variant ),* }

        impl $crate::config::Setting for $name {
            fn shape() -> $crate::config::Shape {
                $crate::config::Shape::Choice(vec![$( $crate::config::Word { word: $word, about: concat!($($doc, "\n"),*) } ),*])
            }

            fn read(node: &$crate::config::Node, reader: &mut $crate::config::Reader<'_>) -> Option<Self> {
                reader.word(node, "word", &[$( ($word, $name::$variant) ),*])
            }
        }
    };
}

/// A map with exactly one key, which says what its value is: `auth: { bearer: { ... } }`.
macro_rules! one_of {
    ($(#[doc = $about:literal])* $vis:vis enum $name:ident {
        $( $(#[doc = $doc:literal])* $variant:ident($type:ty) = $word:literal ),* $(,)?
    }) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug)]
        $vis enum $name { $( $(#[doc = $doc])* $variant($type) ),* }

        impl $crate::config::Setting for $name {
            fn shape() -> $crate::config::Shape {
                $crate::config::Shape::OneOf(vec![$( $crate::config::OneOf {
                    key: $word,
                    about: concat!($($doc, "\n"),*),
                    shape: <$type as $crate::config::Setting>::shape,
                } ),*])
            }

            fn read(node: &$crate::config::Node, reader: &mut $crate::config::Reader<'_>) -> Option<Self> {
                let mut map = reader.map(node)?;
                let mut found = Vec::new();
                $( if let Some(node) = map.node($word) {
                    found.push(<$type as $crate::config::Setting>::read(node, reader).map($name::$variant));
                } )*
                let span = map.span;
                map.finish(reader);
                if found.len() == 1 {
                    return found.remove(0);
                }
                reader.error(span, format!("expected exactly one of {}", [$( concat!("`", $word, "`") ),*].join(", ")));
                None
            }
        }
    };
}

pub(crate) use {choice, one_of, settings};

impl Setting for Text {
    fn shape() -> Shape {
        Shape::Text { what: "text", pattern: None, example: "" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Text> {
        reader.text(node)
    }
}

impl Setting for String {
    fn shape() -> Shape {
        Text::shape()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<String> {
        reader.text(node).map(|text| text.to_string())
    }
}

impl Setting for PathBuf {
    fn shape() -> Shape {
        Shape::Text { what: "path", pattern: None, example: "in/orders" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<PathBuf> {
        reader.parsed(node, "a path", |text| (!text.is_empty()).then(|| PathBuf::from(text)))
    }
}

impl Setting for bool {
    fn shape() -> Shape {
        Shape::Boolean
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<bool> {
        reader.word(node, "boolean", &[("true", true), ("false", false)])
    }
}

impl Setting for u32 {
    fn shape() -> Shape {
        Shape::Number
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<u32> {
        reader.parsed(node, "a whole number", |text| text.parse().ok())
    }
}

impl Setting for char {
    fn shape() -> Shape {
        Shape::Text { what: "character", pattern: Some("^.$"), example: ";" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<char> {
        reader.parsed(node, "one character", |text| {
            let mut chars = text.chars();
            chars.next().filter(|_| chars.next().is_none())
        })
    }
}

/// Must be a reference: a secret written out would be readable in the file, its history and its copies.
impl Setting for Secret {
    fn shape() -> Shape {
        Shape::Text { what: "secret", pattern: Some("\\$\\{.+\\}"), example: "${ERP_PASSWORD}" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Secret> {
        if node.text().is_some_and(|text| !text.contains("${")) {
            reader
                .error(node.span, "a secret is never written in a file")
                .secret()
                .label("write a reference")
                .help("`${NAME}` reads an environment variable, `${file:PATH}` a mounted file");
            return None;
        }
        reader.text(node).map(|text| Secret::new(text.as_str()))
    }
}

impl<T: Setting> Setting for Option<T> {
    fn shape() -> Shape {
        T::shape()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Option<T>> {
        T::read(node, reader).map(Some)
    }

    fn absent() -> Option<Option<T>> {
        Some(None)
    }
}

impl<T: Setting> Setting for Box<T> {
    fn shape() -> Shape {
        T::shape()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Box<T>> {
        T::read(node, reader).map(Box::new)
    }
}

/// A list may be left out: it is then empty.
impl<T: Setting> Setting for Vec<T> {
    fn shape() -> Shape {
        Shape::List(|| Box::new(T::shape()))
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Vec<T>> {
        let items = reader.list(node)?;
        let read: Vec<_> = items.iter().map(|item| T::read(item, reader)).collect();
        read.into_iter().collect()
    }

    fn absent() -> Option<Vec<T>> {
        Some(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Environment, FileId, Files, explain, parse, schema};
    use super::*;

    settings! {
        /// A watched folder.
        pub struct Sample {
            /// The folder to watch.
            folder: PathBuf,
            /// How often to look.
            poll: Duration = "5s",
            /// A condition.
            r#where: Option<Text>,
            /// What to do after.
            then: Option<After>,
        }
    }

    choice! {
        /// What to do.
        pub enum After {
            /// Moves it.
            Move = "move",
            /// Leaves it.
            Leave = "leave",
        }
    }

    fn read(text: &str) -> (Option<Sample>, Vec<String>) {
        let (files, environment) = (Files::default(), Environment::default());
        let mut reader = Reader::new(&files, &environment);
        let node = parse(FileId::default(), text, &mut reader.problems).expect("this is YAML");
        let sample = Sample::read(&node, &mut reader);
        (sample, reader.problems.iter().map(|problem| format!("{}; {}", problem.message, problem.label)).collect())
    }

    #[test]
    fn one_struct_parses() {
        let (sample, problems) = read("folder: in\nwhere: x\nthen: move\n");
        assert!(problems.is_empty(), "{problems:?}");
        let sample = sample.expect("it is complete");
        assert_eq!((sample.poll, sample.r#where.as_deref()), (Duration::from_secs(5), Some("x")));
        assert_eq!((sample.folder.to_str(), sample.then), (Some("in"), Some(After::Move)));
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let (sample, problems) = read("folderr: in\npoll: 5 seconds\nthen: moove\n");
        assert!(sample.is_none());
        assert_eq!(
            problems,
            [
                "`folder` is missing; `folder` is required here",
                "`5 seconds` is not a duration such as `500ms`, `30s`, `5m`, `2h` or `7d`; expected a duration such as `500ms`, `30s`, `5m`, `2h` or `7d`",
                "unknown word `moove`; did you mean `move`?",
                "unknown key `folderr`; did you mean `folder`?",
            ]
        );
    }

    #[test]
    fn the_same_struct_is_schema_and_manual() {
        let schema = schema(&Sample::shape(), "Sample").to_string();
        assert!(schema.contains(r#""required":["folder"]"#), "{schema}");
        assert!(schema.contains(r#""default":"5s""#), "{schema}");
        let page = explain(&Sample::shape(), &["then"]).expect("the field exists");
        assert!(page.contains("What to do after.") && page.contains("Leaves it."), "{page}");
        assert!(explain(&Sample::shape(), &["nope"]).is_none());
    }
}
