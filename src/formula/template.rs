//! Templates: what a map writes. Constants, paths and formulas in the shape of the value to come, with `each` for lists.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use super::{Condition, Formula, Frame, MAX_ITEMS, Path, Scope, evaluator, faults, reading};
use crate::config::{Reader, Span};
use crate::message::{Fault, Map, Next, Text, Value};

/// What a map writes: constants, paths and formulas in the shape of the value to come, with `each` for lists.
#[derive(Clone, Debug)]
pub struct Template(pub(super) Arc<Part>);

/// A piece of a template. The span of a formula is that of its text, without `=`, where the file holds it as it is.
#[derive(Debug)]
pub(super) enum Part {
    Constant(Value),
    Path(Path),
    Formula(Formula, Span),
    List(Vec<Part>),
    Map(Vec<(Text, Part)>),
    Each(Box<Each>),
}

/// `{ each: PATH, keep: CONDITION, map: TEMPLATE }`
#[derive(Debug)]
pub(super) struct Each {
    pub list: Part,
    pub keep: Option<(Condition, Span)>,
    pub map: Part,
}

/// Most items that all `each` of one rendering visit, nested ones multiplied.
const MAX_VISITS: usize = 10 * MAX_ITEMS;

impl Template {
    /// The value; `None` where the whole template is an optional path that finds nothing. Fields of a map that come out
    /// as `None` are left out, and so are items of a list.
    ///
    /// # Errors
    /// As [`Formula::evaluate`].
    pub fn render(&self, scope: &Scope<'_>) -> Result<Option<Value>, Fault> {
        self.0.render(&Frame::of(scope), &Cell::new(0))
    }

    /// A template that writes this value, whatever the message.
    pub fn constant(value: Value) -> Template {
        Template(Arc::new(Part::Constant(value)))
    }

    /// A template that writes what stands at a path; `None` where the text is none.
    pub fn path(text: &str) -> Option<Template> {
        Some(Template(Arc::new(Part::Path(Path::parse(text).ok()?))))
    }

    /// The value it writes whatever the message; `None` where that depends.
    pub fn as_constant(&self) -> Option<&Value> {
        match &*self.0 {
            Part::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// Calls `see` with every path it reads, for checks such as "this required input is never used".
    pub fn paths<'t>(&'t self, see: &mut dyn FnMut(&'t Path)) {
        self.0.visit(&mut |piece| match piece {
            Piece::Path(path) => see(path),
            Piece::Formula(formula, _) => formula.paths(see),
        });
    }

    /// Reports the `table()` calls that name a table or column that does not exist; see [`Formula::check`].
    pub fn check(&self, reader: &mut Reader<'_>, has_column: &dyn Fn(&str, &str) -> Option<bool>) {
        self.0.visit(&mut |piece| {
            if let Piece::Formula(formula, span) = piece {
                reading::report(reader, span, formula.text(), formula.check(has_column));
            }
        });
    }
}

pub(super) enum Piece<'t> {
    Path(&'t Path),
    Formula(&'t Formula, Span),
}

impl Part {
    fn visit<'t>(&'t self, see: &mut dyn FnMut(Piece<'t>)) {
        match self {
            Part::Constant(_) => {}
            Part::Path(path) => see(Piece::Path(path)),
            Part::Formula(formula, span) => see(Piece::Formula(formula, *span)),
            Part::List(items) => items.iter().for_each(|item| item.visit(see)),
            Part::Map(fields) => fields.iter().for_each(|(_, part)| part.visit(see)),
            Part::Each(each) => {
                each.list.visit(see);
                if let Some((keep, span)) = &each.keep {
                    see(Piece::Formula(keep.formula(), *span));
                }
                each.map.visit(see);
            }
        }
    }

    fn render(&self, frame: &Frame<'_>, visits: &Cell<usize>) -> Result<Option<Value>, Fault> {
        match self {
            Part::Constant(value) => Ok(Some(value.clone())),
            Part::Path(..) | Part::Formula(..) => Ok(self.find(frame)?.map(Cow::into_owned)),
            Part::List(parts) => {
                let mut items = Vec::with_capacity(parts.len());
                for part in parts {
                    items.extend(part.render(frame, visits)?);
                }
                Ok(Some(Value::List(items)))
            }
            Part::Map(fields) => {
                let mut map = Map::with_capacity(fields.len());
                for (name, part) in fields {
                    if let Some(value) = part.render(frame, visits)? {
                        map.insert(name.clone(), value);
                    }
                }
                Ok(Some(Value::Map(map)))
            }
            Part::Each(each) => each.render(frame, visits),
        }
    }

    fn find<'v>(&'v self, frame: &Frame<'v>) -> Result<Option<Cow<'v, Value>>, Fault> {
        match self {
            Part::Constant(value) => Ok(Some(Cow::Borrowed(value))),
            Part::Path(path) => path.find_in(frame),
            Part::Formula(formula, _) => {
                evaluator::outcome(&formula.0.root, frame).map_err(|fault| faults::in_formula(fault, formula.text()))
            }
            other => Ok(other.render(frame, &Cell::new(0))?.map(Cow::Owned)),
        }
    }

    /// As written, for sentences.
    fn text(&self) -> &str {
        match self {
            Part::Path(path) => path.text(),
            Part::Formula(formula, _) => formula.text(),
            _ => "each",
        }
    }
}

impl Each {
    fn render(&self, frame: &Frame<'_>, visits: &Cell<usize>) -> Result<Option<Value>, Fault> {
        let Some(found) = self.list.find(frame)? else {
            return Ok(None);
        };
        let text = self.list.text();
        let Value::List(items) = &*found else {
            let said = format!("`each` wants a list: `{}` is {}", faults::cut(text), found.kind());
            return Err(faults::kind(said).at(text));
        };
        let mut out = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            visits.set(visits.get() + 1);
            if visits.get() > MAX_VISITS || out.len() >= MAX_ITEMS {
                return Err(faults::limit(format!("`each` visits too many items ({MAX_ITEMS} a list)")).at(text));
            }
            let inner = frame.inside(item, index);
            if let Some((keep, _)) = &self.keep
                && !keep.holds_in(&inner).map_err(|fault| in_item(fault, text, index))?
            {
                continue;
            }
            out.extend(self.map.render(&inner, visits).map_err(|fault| in_item(fault, text, index))?);
        }
        Ok(Some(Value::List(out)))
    }
}

impl<'v> Frame<'v> {
    /// The frame of one item of an `each`.
    fn inside<'i>(&self, item: &'i Value, index: usize) -> Frame<'i>
    where
        'v: 'i,
    {
        let mut scope: Scope<'i> = self.scope;
        let outer = scope.item.map(|(item, _)| item);
        scope.item = Some((item, index));
        Frame { scope, outer }
    }
}

/// A fault about `$item.price` says which item: `$.lines[3].price`.
pub fn in_item(fault: Fault, list: &str, index: usize) -> Fault {
    // Only what is wrong with the message has a place in it.
    if fault.next() != Next::Refuse {
        return fault;
    }
    let item = format!("{}[{index}]", list.trim_end_matches('?'));
    let place = match fault.position() {
        None => return fault.at(item),
        Some(position) => match position.strip_prefix("$item") {
            Some(rest) => format!("{item}{rest}"),
            None if position.starts_with("formula ") => format!("{item}, {position}"),
            None => return fault,
        },
    };
    // The innermost place of a fault stays; this is the same place, told from further out.
    Fault::refuse(fault.code(), fault.sentence()).at(place)
}
