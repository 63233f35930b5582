//! Reading a list of steps: one verb an item, and beside it `when:` and `note:`.

use super::run::Placed;
use super::{ALL, StepKind, StepPlace, Steps};
use crate::config::{Field, Key, Kind, Node, Reader, Setting, Shape, StructShape, nearest};
use crate::formula::Condition;
use crate::message::Text;

const BESIDE: [&str; 2] = ["when", "note"];

impl Steps {
    /// The steps of a pipeline or of a destination; `place.step` is what stands before their numbers (`steps`,
    /// `to.suppliers.steps`). Every problem of every step is reported.
    pub fn read(node: &Node, reader: &mut Reader<'_>, place: &StepPlace<'_>) -> Option<Steps> {
        let items = reader.list(node)?;
        let read_item = |(index, item): (usize, &Node)| {
            let step = format!("{}[{index}]", place.step);
            read_step(item, reader, &StepPlace { step: &step, ..*place })
        };
        let steps: Vec<Option<Placed>> = items.iter().enumerate().map(read_item).collect();
        steps.into_iter().collect::<Option<_>>().map(Steps)
    }
}

/// What a list of steps may say, for the schema and the manual.
pub fn steps_shape() -> Shape {
    Shape::List(|| {
        let verb = |kind: &&'static StepKind| field(kind.name, kind.about, kind.shape);
        let mut fields: Vec<Field> = ALL.iter().map(verb).collect();
        fields.push(field("when", WHEN, Condition::shape));
        fields.push(field("note", "A remark for the next reader; nothing happens with it.", Text::shape));
        let about = "One verb, and beside it optionally `when` and `note`.";
        Box::new(Shape::Struct(StructShape { name: "Step", about, fields }))
    })
}

const WHEN: &str = "A condition: where it does not hold, the document passes this step unchanged.
(`filter` stops a document; `when` only lets it skip one step.)";

fn field(name: &'static str, about: &'static str, shape: fn() -> Shape) -> Field {
    Field { name, about, shape, default: None, required: false }
}

fn read_step(item: &Node, reader: &mut Reader<'_>, place: &StepPlace<'_>) -> Option<Placed> {
    let Kind::Map { fields, .. } = &item.kind else {
        reader
            .error(item.span, format!("a step is a verb with its value, found {}", item.what()))
            .label("expected `verb: value`")
            .help(format!("the verbs: {}", verbs().collect::<Vec<_>>().join(", ")));
        return None;
    };
    let found: Vec<_> = fields.iter().filter_map(|(key, node)| Some((kind(&key.name)?, key, node))).collect();
    let sound = no_strangers(fields, &found, reader) && one_verb(item, fields, &found, reader);
    let when = read_beside(item, reader);
    // Of a verb whose settings stand beside it, that is all there is to say.
    let told = |node: &Node| !sound && matches!(node.kind, Kind::Null);
    let read =
        |(kind, _, node): &Found<'_>| (if told(node) { None } else { (kind.read)(node, reader, place) }, kind.name);
    let steps: Vec<_> = found.iter().map(read).collect();
    let (step, verb) = steps.into_iter().next()?;
    Some(Placed {
        verb,
        when: when?,
        step: step.filter(|_| sound)?,
        place: place.step.into(),
        label: format!("{} {verb}", place.step),
    })
}

/// `when`, and a look at `note`; `None` where one of them is wrong.
fn read_beside(item: &Node, reader: &mut Reader<'_>) -> Option<Option<Condition>> {
    let note = item.field("note").map(|note| Text::read(note, reader));
    let when = item.field("when").map(|when| Condition::read(when, reader));
    if note == Some(None) { None } else { when.map_or(Some(None), |when| when.map(Some)) }
}

type Found<'n> = (&'static StepKind, &'n Key, &'n Node);

/// Reports the keys that are neither a verb nor `when` nor `note`.
fn no_strangers(fields: &[(Key, Node)], found: &[Found<'_>], reader: &mut Reader<'_>) -> bool {
    let known = |key: &Key| BESIDE.contains(&key.name.as_str()) || kind(&key.name).is_some();
    let strangers: Vec<&Key> = fields.iter().map(|(key, _)| key).filter(|key| !known(key)).collect();
    for key in &strangers {
        match found.first() {
            // `- split:` with its settings at the verb's own depth: YAML takes them for other keys of the step.
            Some((kind, _, node)) if matches!(node.kind, Kind::Null) => {
                reader
                    .error(key.span, format!("unknown key `{}` beside `{}`", key.name, kind.name))
                    .label(format!("indent this deeper than `{}:`", kind.name));
            }
            Some(_) => reader.unknown(key.span, "key", &key.name, BESIDE),
            None if nearest(&key.name, BESIDE).is_some() => reader.unknown(key.span, "key", &key.name, BESIDE),
            None => reader.unknown(key.span, "step", &key.name, verbs()),
        }
    }
    strangers.is_empty()
}

fn one_verb(item: &Node, fields: &[(Key, Node)], found: &[Found<'_>], reader: &mut Reader<'_>) -> bool {
    match found {
        [_] => true,
        [] => {
            if fields.iter().all(|(key, _)| BESIDE.contains(&key.name.as_str())) {
                reader
                    .error(item.span.part(0, 1), "a step without its verb")
                    .label("one verb is needed here")
                    .help(format!("the verbs: {}", verbs().collect::<Vec<_>>().join(", ")));
            }
            false
        }
        [(first, ..), others @ ..] => {
            for (other, key, _) in others {
                reader
                    .error(key.span, format!("two verbs in one step: `{}` and `{}`", first.name, other.name))
                    .label("a second verb")
                    .help(format!("a step of its own begins with a dash: `- {}:`", other.name));
            }
            false
        }
    }
}

fn kind(name: &str) -> Option<&'static StepKind> {
    ALL.iter().copied().find(|kind| kind.name == name)
}

fn verbs() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|kind| kind.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{explain, render, schema};
    use crate::steps::check::{check, examples, read, read_with, refused};

    #[test]
    fn a_misspelled_verb_is_told_as_compilers_do() {
        let (_, shown) = read_with("- filtre: $.paid\n", |files, problems| render(files, problems, false));
        let expect = "\
error: unknown step `filtre`
  ╭▸ pipelines/web-order/pipeline.yaml:1:3
  │
1 │ - filtre: $.paid
  ╰╴  ━━━━━━ did you mean `filter`?

";
        assert_eq!(shown, expect);
    }

    #[test]
    fn every_verb_is_told_when_misspelled() {
        for kind in ALL {
            let mut wrong = kind.name.to_owned();
            wrong.insert(2, 'x');
            let expect = format!("1:3 unknown step `{wrong}`; did you mean `{}`?", kind.name);
            refused(&format!("- {wrong}: a\n"), &expect);
        }
        refused("- teleport: a\n", "1:3 unknown step `teleport`; not known here; known: filter, validate, map,");
    }

    #[test]
    fn a_step_is_one_verb() {
        refused(
            "- filter: true\n  log: x\n",
            "2:3 two verbs in one step: `filter` and `log`; a second verb; a step of its own begins with a dash: `- log:`",
        );
        refused("- when: true\n", "1:3 a step without its verb; one verb is needed here");
        refused("- filter\n", "1:3 a step is a verb with its value, found a text; expected `verb: value`");
        refused("- wen: true\n", "1:3 unknown key `wen`; did you mean `when`?");
        refused("- log: x\n  nota: y\n", "2:3 unknown key `nota`; did you mean `note`?");
        refused("- split:\n  each: $.l\n", "2:3 unknown key `each` beside `split`; indent this deeper than `split:`");
        refused("filter: true\n", "1:1 expected a list, found a map");
        refused("- log: x\n  note: [y]\n", "2:9 expected a text, found a list");
    }

    #[test]
    fn settings_beside_their_verb_are_told_once() {
        let (_, problems) = read("- split:\n  each: $.l\n");
        assert_eq!(problems, ["2:3 unknown key `each` beside `split`; indent this deeper than `split:`"]);
    }

    #[test]
    fn all_problems_of_all_steps_are_told() {
        let yaml =
            "- filtre: true\n- split: { eech: $.l }\n- lookup: { table: none, where: {}, into: x }\n  wen: true\n";
        let (steps, problems) = read(yaml);
        assert!(steps.is_none());
        let expect = [
            "1:3 unknown step `filtre`; did you mean `filter`?",
            "2:10 `each` is missing; `each` is required here",
            "2:12 unknown key `eech`; did you mean `each`?",
            "4:3 unknown key `wen`; did you mean `when`?",
            "3:20 unknown table `none`; not known here; known: articles, orders",
        ];
        assert_eq!(problems, expect);
    }

    #[test]
    fn when_skips_one_step() {
        let steps = "- set: { a: 2 }\n  when: $.a == 1\n  note: only once\n- set: { b: true }\n";
        check(steps, r#"{"a":1}"#, r#"{"a":2,"b":true}"#);
        check(steps, r#"{"a":3}"#, r#"{"a":3,"b":true}"#);
        check(steps, "{}", "FORMULA-MISSING (steps[0] set, $.a)");
    }

    #[test]
    fn a_fault_says_which_document() {
        let steps = "- split: { each: $ }\n- map: $.a\n";
        check(steps, r#"[{"a":1},{"a":2},{"b":3}]"#, "FORMULA-MISSING (steps[1] map, document 3, $.a)");
    }

    #[test]
    fn a_closed_group_goes_on_after_its_step() {
        let (steps, _) = read("- log: x\n- aggregate: { by: $.k, count: 2 }\n- map: $.key\n");
        let steps = steps.expect("these are steps");
        assert_eq!((steps.after("steps[1]"), steps.len()), (Some(2), 3));
        // An edit put a step before it, or took it away, while the group was open.
        assert_eq!(steps.after("steps[0]"), Some(2));
        let (without, _) = read("- log: x\n- map: $.key\n");
        assert_eq!(without.expect("these are steps").after("steps[1]"), None);
    }

    #[test]
    fn schema_and_manual_follow_from_the_verbs() {
        let schema = schema(&steps_shape(), "steps").to_string();
        let page = explain(&steps_shape(), &["split", "keep"]).expect("the field has a page");
        assert!(page.contains("Only the items for which this condition holds."), "{page}");
        for kind in ALL {
            assert!(schema.contains(&format!("\"{}\":", kind.name)), "{}", kind.name);
            assert!(
                explain(&steps_shape(), &[kind.name]).is_some_and(|page| page.contains("```yaml")),
                "{}",
                kind.name
            );
        }
    }

    #[test]
    fn the_examples_of_the_manual_are_steps() {
        for kind in ALL {
            let examples = examples(kind.about);
            assert!(!examples.is_empty(), "`{}` has no example", kind.name);
            for example in examples {
                let (steps, problems) = read(&example);
                assert!(steps.is_some_and(|steps| steps.len() == 1), "{example}\n{}", problems.join("\n"));
            }
        }
    }
}
