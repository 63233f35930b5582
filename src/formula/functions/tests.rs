use super::*;
use crate::formula::language::Sample;
use crate::formula::{Formula, SAMPLE};

#[test]
fn every_example_gives_what_the_manual_says() {
    let sample = Sample::new(SAMPLE);
    for function in all() {
        let run = |text: &str| {
            let formula = Formula::parse(text).unwrap_or_else(|issues| panic!("{}: {text}: {issues:?}", function.name));
            formula.evaluate(&sample.scope()).unwrap_or_else(|fault| panic!("{}: {text}: {fault}", function.name))
        };
        assert_eq!(run(function.example).to_string(), run(function.gives).to_string(), "{}", function.name);
        assert!(function.example.contains(&format!("{}(", function.name)), "the example of {} calls it", function.name);
    }
}

#[test]
fn names_stand_once() {
    let mut names: Vec<_> = all().map(|function| function.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}
