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

#[test]
fn fail_refuses_in_its_own_words_and_only_where_it_is_needed() {
    let sample = Sample::new(SAMPLE);
    let run = |text: &str| {
        let formula = Formula::parse(text).unwrap_or_else(|issues| panic!("{text}: {issues:?}"));
        formula.evaluate(&sample.scope()).map_or_else(
            |fault| format!("{} ({:?}): {}", fault.code(), fault.next(), fault.sentence()),
            |value| value.to_string(),
        )
    };
    let refused = "FORMULA-FAIL (Refuse): no fax";
    assert_eq!(run("coalesce($.fax?, $.mobile, fail('no fax'))"), refused);
    assert_eq!(run("coalesce($.fax?, fail('no fax'), 'none')"), refused);
    assert_eq!(run("if($.price > 10, fail(concat('no', ' fax')), 'cheap')"), refused);
    assert_eq!(run("if($.price < 10, fail('no fax'), 'dear')"), "\"dear\"");
    assert_eq!(run("switch($.status, 'paid', 'P', fail('no fax'))"), "\"P\"");
    assert_eq!(run("switch($.name, 'paid', 'P', fail('no fax'))"), refused);
    assert_eq!(run("has($.fax) and fail('no fax')"), "false");
    assert_eq!(run("fail(4)"), "FORMULA-FAIL (Refuse): 4");
    assert_eq!(run("fail($.lines)").split(' ').next(), Some("FORMULA-TYPE"));
}
