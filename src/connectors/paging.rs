//! From page to page, and when to stop.
//!
//! Nothing here speaks to a system: [`Paging::follow`] looks at a page that came, and says how the next is asked for. A system
//! that gives the same page again would be asked for ever: such a round ends with `CONNECTOR-PAGE-LOOP`.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::manifest::{Next, PageNumber, PageOffset};
use super::scope::View;
use crate::formula::Template;
use crate::message::{Fault, Map, Number, Text, Value, json};

/// Pages of a round that are remembered, to know one that comes again.
const REMEMBERED: usize = 1_000_000;

/// How a page is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// From the rule's first: 1 unless told.
    pub number: u64,
    /// Items of the pages before.
    pub offset: u64,
    /// The system's word for it.
    pub cursor: Option<Value>,
    /// The last item's value of the page before.
    pub after: Option<Value>,
    /// Its address or path, instead of the request's own.
    pub address: Option<Text>,
}

/// What follows a page.
#[derive(Clone, Debug, PartialEq)]
pub enum Following {
    Page(Page),
    /// It was the last.
    End,
    /// There are more, and a round asks for no more.
    Limit,
}

/// The pages of one round.
#[derive(Debug)]
pub struct Paging {
    rule: Option<Next>,
    most: u32,
    /// Pages that came.
    pages: u32,
    /// What they held, and the words they were asked with.
    seen: HashSet<u64>,
}

impl Page {
    /// `$page`
    pub fn local(&self) -> Value {
        let number = |number: u64| Value::from(rust_decimal::Decimal::from(number));
        let mut map = Map::from_iter([("number", number(self.number)), ("offset", number(self.offset))]);
        for (name, value) in [("cursor", &self.cursor), ("after", &self.after)] {
            if let Some(value) = value {
                map.insert(name, value.clone());
            }
        }
        Value::Map(map)
    }
}

impl Paging {
    /// `most` is the most pages of a round.
    pub fn new(rule: Option<&Next>, most: u32) -> Paging {
        Paging { rule: rule.cloned(), most, pages: 0, seen: HashSet::new() }
    }

    pub fn first(&self) -> Page {
        let number = match &self.rule {
            Some(Next::Number(rule)) => rule.first.into(),
            _ => 1,
        };
        Page { number, ..Page::default() }
    }

    /// What follows `page`, which held `items`; `answer` sees its body and headers.
    ///
    /// # Errors
    /// `CONNECTOR-PAGE-LOOP` (retry) for a page that came before, or one that names itself or an earlier one as the next;
    /// what formulas of the rule say.
    pub fn follow(&mut self, page: &Page, answer: &View<'_>, items: &[Value]) -> Result<Following, Fault> {
        self.pages += 1;
        if !items.is_empty() && !self.is_new(&Seen::Content(content(items))) {
            let said = format!("page {} of a round holds just what an earlier one held", self.pages);
            return Err(Fault::retry("CONNECTOR-PAGE-LOOP", said));
        }
        let Some(mut next) = self.next(page, answer, items)? else { return Ok(Following::End) };
        next.number = page.number + 1;
        next.offset = page.offset + items.len() as u64;
        let word = [next.cursor.as_ref(), next.after.as_ref()].into_iter().flatten().next();
        let word = word.map(json::to_text).or_else(|| next.address.as_ref().map(Text::to_string));
        if let Some(word) = word
            && !self.is_new(&Seen::Word(&word))
        {
            let said = format!("page {} of a round names a page as the next that was asked for already", self.pages);
            return Err(Fault::retry("CONNECTOR-PAGE-LOOP", said));
        }
        Ok(if self.pages >= self.most { Following::Limit } else { Following::Page(next) })
    }

    fn next(&self, page: &Page, answer: &View<'_>, items: &[Value]) -> Result<Option<Page>, Fault> {
        let Some(rule) = &self.rule else { return Ok(None) };
        let found = match rule {
            Next::Cursor(word) => {
                word_of(answer, word, "next.cursor")?.map(|word| Page { cursor: Some(word), ..Page::default() })
            }
            Next::Number(rule) => numbered(rule, page, answer, items)?.then(Page::default),
            Next::Offset(rule) => counted(rule, page, answer, items)?.then(Page::default),
            Next::After(value) => match items.last() {
                None => None,
                Some(last) => {
                    let item = answer.of_item(last, items.len() - 1);
                    word_of(&item, value, "next.after")?.map(|value| Page { after: Some(value), ..Page::default() })
                }
            },
            Next::Link(relation) => {
                linked(answer.headers, relation).map(|address| Page { address: Some(address), ..Page::default() })
            }
            Next::Url(address) if word_of(answer, address, "next.url")?.is_none() => None,
            Next::Url(address) => {
                let address = answer.text(address, "next.url")?;
                address.map(|address| Page { address: Some(address), ..Page::default() })
            }
        };
        Ok(found)
    }

    fn is_new(&mut self, seen: &Seen<'_>) -> bool {
        let mut hasher = DefaultHasher::new();
        seen.hash(&mut hasher);
        let hash = hasher.finish();
        if self.seen.len() < REMEMBERED { self.seen.insert(hash) } else { !self.seen.contains(&hash) }
    }
}

#[derive(Hash)]
enum Seen<'s> {
    Content(u64),
    Word(&'s str),
}

/// A word for the next page; null, `false` and an empty text are none.
fn word_of(answer: &View<'_>, template: &Template, place: &str) -> Result<Option<Value>, Fault> {
    let word = answer.render(template, place)?;
    Ok(word.filter(|word| match word {
        Value::Null | Value::Bool(false) => false,
        Value::Text(text) => !text.is_empty(),
        _ => true,
    }))
}

/// Whether a page follows a numbered one.
fn numbered(rule: &PageNumber, page: &Page, answer: &View<'_>, items: &[Value]) -> Result<bool, Fault> {
    if let Some(pages) = count(answer, rule.pages.as_ref(), "next.number.pages")? {
        return Ok(page.number + 1 < pages.saturating_add(rule.first.into()));
    }
    Ok(!items.is_empty() && !is_short(rule.size, items))
}

/// Whether items follow. An empty page is the end whatever `total` says: asked again it would be the same.
fn counted(rule: &PageOffset, page: &Page, answer: &View<'_>, items: &[Value]) -> Result<bool, Fault> {
    let come = page.offset + items.len() as u64;
    let total = count(answer, rule.total.as_ref(), "next.offset.total")?;
    if let Some(total) = total {
        if items.is_empty() && come < total {
            tracing::warn!("the system says that there are {total} items, and gives none after {come}");
        }
        return Ok(!items.is_empty() && come < total);
    }
    Ok(!items.is_empty() && !is_short(rule.size, items))
}

fn is_short(size: Option<u32>, items: &[Value]) -> bool {
    size.is_some_and(|size| items.len() < size as usize)
}

/// A number from the answer; `None` where it is not there.
fn count(answer: &View<'_>, template: Option<&Template>, place: &str) -> Result<Option<u64>, Fault> {
    let Some(template) = template else { return Ok(None) };
    let Some(text) = answer.text(template, place)? else { return Ok(None) };
    let wrong = || Fault::retry("CONNECTOR-ITEMS", "the answer's count is no whole number").at(place.to_owned());
    text.trim().parse().map(Some).map_err(|_| wrong())
}

fn content(items: &[Value]) -> u64 {
    let mut hasher = DefaultHasher::new();
    items.iter().for_each(|item| hash_value(item, &mut hasher));
    hasher.finish()
}

fn hash_value(value: &Value, hasher: &mut DefaultHasher) {
    std::mem::discriminant(value).hash(hasher);
    match value {
        Value::Null => {}
        Value::Bool(flag) => flag.hash(hasher),
        Value::Number(Number::Decimal(decimal)) => decimal.hash(hasher),
        Value::Number(Number::Wide(text)) | Value::Text(text) => text.hash(hasher),
        Value::List(items) => {
            items.len().hash(hasher);
            items.iter().for_each(|item| hash_value(item, hasher));
        }
        Value::Map(map) => {
            map.len().hash(hasher);
            for (name, value) in map.iter() {
                name.hash(hasher);
                hash_value(value, hasher);
            }
        }
    }
}

/// The address that `Link` headers give for this relation.
fn linked(headers: &Map, relation: &str) -> Option<Text> {
    let lines = match headers.get("link")? {
        Value::List(lines) => lines.as_slice(),
        line => std::slice::from_ref(line),
    };
    lines.iter().filter_map(Value::as_text).find_map(|line| link(line, relation))
}

/// The target of the first link with this relation in a `Link` header (RFC 8288 section 3). Links with another context than
/// the answer (`anchor`) are passed over; what cannot be read ends the header.
pub fn link(header: &str, relation: &str) -> Option<Text> {
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t']).strip_prefix('<')?;
        let (target, after) = rest.split_once('>')?;
        let (mut relations, mut anchored) = (None, false);
        rest = after.trim_start();
        while let Some(after) = rest.strip_prefix(';') {
            let (name, value, after) = parameter(after)?;
            match name.to_ascii_lowercase().as_str() {
                // Only the first counts (section 3.3).
                "rel" if relations.is_none() => relations = Some(value),
                "anchor" => anchored = true,
                _ => {}
            }
            rest = after.trim_start();
        }
        let named = relations.unwrap_or_default();
        if !anchored && named.split_ascii_whitespace().any(|named| named.eq_ignore_ascii_case(relation)) {
            return Some(target.trim().into());
        }
    }
}

/// ` name = value`, or ` name`; the value is a token or a quoted string. Gives what comes after it too.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let text = text.trim_start();
    let end = text.find(['=', ';', ',', ' ', '\t']).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    let Some(rest) = rest.trim_start().strip_prefix('=') else { return Some((name, String::new(), rest)) };
    let rest = rest.trim_start();
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find([';', ',', ' ', '\t']).unwrap_or(rest.len());
        let (value, rest) = rest.split_at_checked(end)?;
        return Some((name, value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return Some((name, value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            character => value.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::connectors::manifest::Poll;
    use crate::formula::Meta;
    use crate::message::MessageId;
    use crate::protocols::conformance::read_yaml;

    fn rule(next: &str) -> Next {
        let read =
            read_yaml(&format!("request: {{ get: /x }}\nnext: {next}\n"), |map, reader| map.flat::<Poll>(reader));
        read.unwrap_or_else(|said| panic!("{said}")).next.expect("a rule")
    }

    fn value(json: &str) -> Value {
        json::read(json.as_bytes()).expect("JSON")
    }

    /// Follows `bodies`, whose items are under `data`, one after the other; tells how each further page is asked for, and the end.
    fn follow(next: &str, most: u32, bodies: &[&str]) -> Vec<String> {
        let mut paging = Paging::new(Some(&rule(next)), most);
        let (mut page, mut told) = (paging.first(), Vec::new());
        for body in bodies {
            let body = value(body);
            let headers = Map::from_iter([("link", body.get("link").cloned().unwrap_or_default())]);
            let answer = View {
                operation: "test",
                connection: &Value::Null,
                document: &body,
                headers: &headers,
                item: None,
                locals: &Map::new(),
                meta: &Meta::default(),
                id: MessageId::derive(&[]),
                time: Timestamp::UNIX_EPOCH,
            };
            let items = body.get("data").and_then(Value::as_list).unwrap_or_default();
            match paging.follow(&page, &answer, items) {
                Ok(Following::Page(next)) => {
                    let address = next.address.as_deref().unwrap_or_default();
                    told.push(format!("{}{address}", next.local()));
                    page = next;
                }
                Ok(end) => {
                    told.push(format!("{end:?}"));
                    break;
                }
                Err(fault) => {
                    told.push(fault.to_string());
                    break;
                }
            }
        }
        told
    }

    fn check(next: &str, bodies: &[&str], expect: &[&str]) {
        assert_eq!(follow(next, 100, bodies), expect, "{next} {bodies:?}");
    }

    const LOOP: &str = "CONNECTOR-PAGE-LOOP: page 2 of a round";

    #[test]
    fn a_word_for_the_next_page() {
        let rule = "{ cursor: $.next? }";
        check(
            rule,
            &[r#"{"data":[1],"next":"b"}"#, r#"{"data":[],"next":"c"}"#, r#"{"data":[2]}"#],
            &[r#"{"number":2,"offset":1,"cursor":"b"}"#, r#"{"number":3,"offset":1,"cursor":"c"}"#, "End"],
        );
        for none in ["null", "false", r#""""#] {
            check(rule, &[&format!(r#"{{"data":[1],"next":{none}}}"#)], &["End"]);
        }
        let again = follow(rule, 100, &[r#"{"data":[1],"next":"b"}"#, r#"{"data":[2],"next":"b"}"#]);
        assert_eq!(again[1], format!("{LOOP} names a page as the next that was asked for already"));
        let same = follow(rule, 100, &[r#"{"data":[1],"next":"b"}"#, r#"{"data":[1],"next":"c"}"#]);
        assert_eq!(same[1], format!("{LOOP} holds just what an earlier one held"));
    }

    #[test]
    fn numbered_pages() {
        let page = |number: u32, offset: u32| format!(r#"{{"number":{number},"offset":{offset}}}"#);
        let sized = "{ number: { size: 2 } }";
        check(sized, &[r#"{"data":[1,2]}"#, r#"{"data":[3]}"#], &[&page(2, 2), "End"]);
        check(sized, &[r#"{"data":[1,2]}"#, r#"{"data":[]}"#], &[&page(2, 2), "End"]);
        check("{ number: {} }", &[r#"{"data":[1]}"#, r#"{"data":[]}"#], &[&page(2, 1), "End"]);
        // How many there are is told: a short page is not the end.
        let told = "{ number: { first: 0, size: 2, pages: $.pages } }";
        check(
            told,
            &[r#"{"data":[1],"pages":3}"#, r#"{"data":[],"pages":3}"#, r#"{"data":[3],"pages":"3"}"#],
            &[&page(1, 1), &page(2, 1), "End"],
        );
        check(told, &[r#"{"data":[],"pages":0}"#], &["End"]);
        // Beyond the last page some systems give the last one again.
        let again = follow(sized, 100, &[r#"{"data":[1,2]}"#, r#"{"data":[1,2]}"#]);
        assert_eq!(again[1], format!("{LOOP} holds just what an earlier one held"));
        let wrong = follow(told, 100, &[r#"{"data":[1],"pages":"many"}"#]);
        assert!(wrong[0].starts_with("CONNECTOR-ITEMS"), "{wrong:?}");
    }

    #[test]
    fn counted_items() {
        let page = |number: u32, offset: u32| format!(r#"{{"number":{number},"offset":{offset}}}"#);
        check("{ offset: { size: 2 } }", &[r#"{"data":[1,2]}"#, r#"{"data":[3]}"#], &[&page(2, 2), "End"]);
        let total = "{ offset: { size: 2, total: $.total? } }";
        // The system gives fewer a page than asked for.
        check(
            total,
            &[r#"{"data":[1],"total":3}"#, r#"{"data":[2],"total":3}"#, r#"{"data":[3],"total":3}"#],
            &[&page(2, 1), &page(3, 2), "End"],
        );
        // A total that lies, one that is not there.
        check(total, &[r#"{"data":[1,2],"total":900}"#, r#"{"data":[],"total":900}"#], &[&page(2, 2), "End"]);
        check(total, &[r#"{"data":[1,2]}"#, r#"{"data":[3]}"#], &[&page(2, 2), "End"]);
        // Items appear while the pages are asked for.
        check(total, &[r#"{"data":[1,2],"total":2}"#], &["End"]);
        check(
            total,
            &[r#"{"data":[1,2],"total":3}"#, r#"{"data":[3,4],"total":5}"#, r#"{"data":[5],"total":5}"#],
            &[&page(2, 2), &page(3, 4), "End"],
        );
    }

    #[test]
    fn after_the_last_item() {
        check(
            "{ after: $item.id }",
            &[r#"{"data":[{"id":7},{"id":9}]}"#, r#"{"data":[]}"#],
            &[r#"{"number":2,"offset":2,"after":9}"#, "End"],
        );
        // The system does not look at what it is asked with.
        let again = follow("{ after: $item.id }", 100, &[r#"{"data":[{"id":7}]}"#, r#"{"data":[{"id":8},{"id":7}]}"#]);
        assert!(again[1].starts_with(LOOP), "{again:?}");
    }

    #[test]
    fn addresses() {
        check(
            "{ url: $.next? }",
            &[r#"{"data":[1],"next":"/orders?page=2"}"#, r#"{"data":[2]}"#],
            &[r#"{"number":2,"offset":1}/orders?page=2"#, "End"],
        );
        check("{ url: $.next }", &[r#"{"data":[1],"next":null}"#], &["End"]);
        check(
            "{ link: next }",
            &[
                r#"{"data":[1],"link":"<https://shop.example/?p=0>; rel=\"prev\", <https://shop.example/?p=2>; rel=\"next\""}"#,
                r#"{"data":[2],"link":["<?p=1>; rel=prev","<?p=3>; rel=next"]}"#,
                r#"{"data":[3],"link":"<?p=2>; rel=prev"}"#,
            ],
            &[r#"{"number":2,"offset":1}https://shop.example/?p=2"#, r#"{"number":3,"offset":2}?p=3"#, "End"],
        );
        let again = follow("{ url: $.next }", 100, &[r#"{"data":[1],"next":"/a"}"#, r#"{"data":[2],"next":"/a"}"#]);
        assert!(again[1].starts_with(LOOP), "{again:?}");
    }

    #[test]
    fn a_round_has_an_end() {
        let bodies = [r#"{"data":[1],"next":"b"}"#, r#"{"data":[2],"next":"c"}"#, r#"{"data":[3]}"#];
        assert_eq!(follow("{ cursor: $.next? }", 2, &bodies)[1], "Limit");
        assert_eq!(follow("{ cursor: $.next? }", 3, &bodies)[2], "End");
    }

    #[test]
    fn link_headers_are_read() {
        let check =
            |header: &str, expect: Option<&str>| assert_eq!(link(header, "next").as_deref(), expect, "{header}");
        check("<a>; rel=next", Some("a"));
        check("<a>;rel=\"next\"", Some("a"));
        check("<a>; title=\"x, y; <b>\"; REL = \"prev NEXT\" , <c>; rel=next", Some("a"));
        check("<a>; title=\"say \\\"next\\\"\"; rel=prev,<c>;rel=\"next\"", Some("c"));
        check("<a>; rel=prev; rel=next", None);
        check("<a>; rel=next; anchor=\"#x\", <b>; rel=next", Some("b"));
        check("<a,b>; crossorigin; rel=next", Some("a,b"));
        check("", None);
        check("a; rel=next", None);
        check("<a; rel=next", None);
        check("<a>; rel=\"next", None);
        check("<a>; rel=\"next\\", None);
        check("<é>; rel=nëxt; rél=\"ü\", <b>; rel=next", Some("b"));
    }
}
