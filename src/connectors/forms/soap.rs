//! SOAP 1.1 and 1.2: the envelope around a body, and the action that goes with it.

use super::body::{Body, xml};
use crate::connectors::manifest::{Soap, SoapVersion};
use crate::connectors::scope::View;
use crate::message::{Fault, Map, Value};

/// Notes on SOAP 1.1, section 4; SOAP 1.2 part 1, section 5.
const NAMESPACE_11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const NAMESPACE_12: &str = "http://www.w3.org/2003/05/soap-envelope";

/// The call in its envelope.
pub fn of(soap: &Soap, view: &View<'_>) -> Result<Body, Fault> {
    let content = view.render(&soap.body, "request.soap.body")?.unwrap_or_default();
    let action = match &soap.action {
        Some(action) => view.text(action, "request.soap.action")?.unwrap_or_default(),
        None => Default::default(),
    };
    if action.chars().any(|character| character.is_control() || character == '"') {
        let said = "an action holds no quote, line break or control character";
        return Err(Fault::refuse("CONNECTOR-VALUE", said).at("request.soap.action"));
    }
    let namespace = match soap.version {
        SoapVersion::V11 => NAMESPACE_11,
        SoapVersion::V12 => NAMESPACE_12,
    };
    let envelope = Map::from_iter([("@xmlns:soap", Value::from(namespace)), ("soap:Body", content)]);
    let bytes = xml(&Map::from_iter([("soap:Envelope", envelope)]).into(), "request.soap.body")?;
    Ok(match soap.version {
        SoapVersion::V11 => {
            let body = Body::new("text/xml; charset=utf-8", bytes);
            Body { header: Some(("soapaction", format!("\"{action}\"").into())), ..body }
        }
        SoapVersion::V12 if action.is_empty() => Body::new("application/soap+xml; charset=utf-8", bytes),
        SoapVersion::V12 => Body::new(format!("application/soap+xml; charset=utf-8; action=\"{action}\""), bytes),
    })
}
