//! Where a request goes: base and path, or a whole address, and the query.

use std::fmt::Write;

use reqwest::Url;

use super::Extra;
use crate::connectors::manifest::{ManifestHead, Request, SettingType};
use crate::connectors::scope::View;
use crate::formula::Template;
use crate::message::{Fault, Text, Value};

/// The address of a request: that of the next page where there is one, otherwise its path and query behind `base`.
pub fn of(
    request: &Request,
    path: Option<&Template>,
    head: &ManifestHead,
    view: &View<'_>,
    extra: &Extra,
) -> Result<Url, Fault> {
    let base = base(head, view)?;
    let text = match path {
        Some(path) => view.text(path, "request")?.unwrap_or_default(),
        None => Text::default(),
    };
    let constant = path.is_none_or(|path| path.as_constant().is_some());
    let mut url = if is_whole(&text) { whole(&text)? } else { behind(&base, &text, constant)? };
    if let Some(next) = &extra.address {
        return next_page(&url, &base, next);
    }
    let mut query = url.query().unwrap_or_default().to_owned();
    for (name, value) in pairs(request, view)? {
        let separator = if query.is_empty() { "" } else { "&" };
        // `$` may stand in a query, and OData servers look for it.
        let name = encoded(&name).replace("%24", "$");
        let _ = write!(query, "{separator}{name}={}", encoded(&value));
    }
    url.set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
    Ok(url)
}

/// The origins that belong to the system: that of `base`, and those of the connection's addresses.
pub fn origins(head: &ManifestHead, view: &View<'_>) -> Vec<String> {
    let kinds = head.settings.iter().flatten().filter(|(_, kind)| kind.r#type == SettingType::Url);
    let given = kinds.filter_map(|(name, _)| view.connection.as_map()?.get(name)?.as_text());
    let addresses = given.filter_map(|text| Url::parse(text).ok());
    base(head, view).into_iter().chain(addresses).map(|url| origin(&url)).collect()
}

/// `https://erp.example:8443`
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn base(head: &ManifestHead, view: &View<'_>) -> Result<Url, Fault> {
    let text = view.text(&head.base, "base")?.unwrap_or_default();
    web_address(&text).filter(|url| url.query().is_none() && url.fragment().is_none()).ok_or_else(|| {
        let said = "`base` of the manifest comes to no address such as `https://erp.example`";
        Fault::misconfigured("CONNECTOR-ADDRESS", said).at("base")
    })
}

fn web_address(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let fits = matches!(url.scheme(), "http" | "https") && url.has_host();
    (fits && url.username().is_empty() && url.password().is_none()).then_some(url)
}

fn is_whole(text: &str) -> bool {
    ["http://", "https://"]
        .iter()
        .any(|scheme| text.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme)))
}

fn whole(text: &str) -> Result<Url, Fault> {
    let clean = !text.chars().any(|character| character.is_control());
    let url = web_address(text).filter(|_| clean);
    url.ok_or_else(|| refused("the address is none, or holds a user name or a control character"))
}

/// A path behind `base`. What formulas make of data cannot lead elsewhere: no `?` and `#`, which belong in `query`, no
/// segment `.` or `..`, written in whichever way. A `/` in a value is the manifest's to avoid, by `url($.id)`.
fn behind(base: &Url, path: &str, constant: bool) -> Result<Url, Fault> {
    if path.chars().any(|character| character.is_control() || character == '\\' || character == '#') {
        return Err(refused("a path holds no control character, `\\` or `#`: write values as `url($.id)`"));
    }
    if !constant && path.contains('?') {
        return Err(refused(
            "a path made by a formula holds no `?`: parameters belong in `query`, values in `url($.id)`",
        ));
    }
    let segments = path.split('?').next().unwrap_or_default().split('/');
    if segments.map(|segment| segment.to_ascii_lowercase().replace("%2e", ".")).any(|dots| dots == "." || dots == "..")
    {
        return Err(refused("a path holds no segment `.` or `..`"));
    }
    let between = if path.is_empty() || path.starts_with(['/', '?']) { "" } else { "/" };
    let text = format!("{}{between}{path}", base.as_str().trim_end_matches('/'));
    web_address(&text).filter(|url| origin(url) == origin(base)).ok_or_else(|| refused("the path makes no address"))
}

/// RFC 3986 section 5: relative to the address of the request. A system behind a proxy that ends TLS says `http` of itself.
fn next_page(request: &Url, base: &Url, next: &str) -> Result<Url, Fault> {
    let mut url = request.join(next).map_err(|_| refused("the next page's address is none"))?;
    if url.scheme() == "http" && base.scheme() == "https" && url.port().is_none() {
        let _ = url.set_scheme("https");
    }
    url.set_fragment(None);
    if web_address(url.as_str()).is_some() && origin(&url) == origin(base) {
        return Ok(url);
    }
    // Only where it leads: the rest of the address may hold a key.
    let said = format!("the next page is at {}, and not at {} as the connection", origin(&url), origin(base));
    Err(Fault::misconfigured("CONNECTOR-ORIGIN", said))
}

fn refused(what: &str) -> Fault {
    Fault::refuse("CONNECTOR-VALUE", what).at("request")
}

/// Names and values of the query, in the order of their names; OData options last.
fn pairs(request: &Request, view: &View<'_>) -> Result<Vec<(Text, Text)>, Fault> {
    let mut pairs = Vec::new();
    for (name, template) in request.query.iter().flatten() {
        let place = format!("request.query.{name}");
        several(name, view.render(template, &place)?, &mut pairs).map_err(|fault| fault.at(place))?;
    }
    let Some(odata) = &request.odata else { return Ok(pairs) };
    // OData 4.01 part 2, section 5.1: lists are separated by commas; conditions that must all hold are joined by `and`.
    let options = [
        ("$filter", &odata.filter, " and "),
        ("$select", &odata.select, ","),
        ("$expand", &odata.expand, ","),
        ("$orderby", &odata.order_by, ","),
        ("$top", &odata.top, ","),
        ("$skip", &odata.skip, ","),
    ];
    for (name, template, between) in options {
        let Some(template) = template else { continue };
        let place = format!("request.odata.{name}");
        let mut items = Vec::new();
        several(&name.into(), view.render(template, &place)?, &mut items).map_err(|fault| fault.at(place))?;
        let items: Vec<&str> = items.iter().map(|(_, item)| item.as_str()).collect();
        if !items.is_empty() {
            pairs.push((name.into(), items.join(between).into()));
        }
    }
    Ok(pairs)
}

/// One pair for a scalar, one for each item of a list, none for nothing.
pub fn several(name: &Text, value: Option<Value>, pairs: &mut Vec<(Text, Text)>) -> Result<(), Fault> {
    let items = match value {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::List(items)) => items,
        Some(one) => vec![one],
    };
    for item in items.into_iter().filter(|item| *item != Value::Null) {
        let wrong = || Fault::refuse("CONNECTOR-VALUE", format!("a text is wanted, this is {}", item.kind()));
        pairs.push((name.clone(), item.plain().ok_or_else(wrong)?));
    }
    Ok(())
}

/// All but letters, digits and `-._~` as `%` and two digits (RFC 3986 section 2.3): what every server reads, in a query and
/// in a form.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}
