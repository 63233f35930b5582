//! A message about to be written: segments as texts, no bytes yet.

use crate::message::Text;

/// The components of a repetition, the repetitions of an element.
pub type Repetitions = Vec<Vec<Text>>;

/// A segment of a draft.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    pub tag: Text,
    pub elements: Vec<Repetitions>,
}

/// The segments of a message, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    pub lines: Vec<Line>,
}

impl Line {
    pub fn new(tag: &str) -> Line {
        Line { tag: Text::new(tag), elements: Vec::new() }
    }

    /// Adds an element of one value.
    #[must_use]
    pub fn with(self, value: impl AsRef<str>) -> Line {
        self.with_components(&[value])
    }

    /// Adds a composite.
    #[must_use]
    pub fn with_components(mut self, values: &[impl AsRef<str>]) -> Line {
        self.elements.push(vec![values.iter().map(|value| Text::new(value.as_ref())).collect()]);
        self
    }

    /// Sets component `component` of element `element`, both counted from 1.
    pub fn set(&mut self, element: usize, component: usize, value: impl AsRef<str>) {
        let (Some(element), Some(component)) = (element.checked_sub(1), component.checked_sub(1)) else { return };
        if self.elements.len() <= element {
            self.elements.resize(element + 1, Vec::new());
        }
        let repetitions = &mut self.elements[element];
        if repetitions.is_empty() {
            repetitions.push(Vec::new());
        }
        let components = &mut repetitions[0];
        if components.len() <= component {
            components.resize(component + 1, Text::default());
        }
        components[component] = Text::new(value.as_ref());
    }

    /// The first component of element `element`, counted from 1.
    pub fn get(&self, element: usize) -> &str {
        let found = element.checked_sub(1).and_then(|at| self.elements.get(at));
        found.and_then(|element| element.first()?.first()).map_or("", |text| text.as_str())
    }
}
