//! One request, and the forms its body may have.

use std::collections::BTreeMap;

use crate::config::{choice, settings};
use crate::formula::{Condition, Template};
use crate::message::Text;

settings! {
    /// One request: a method with its path, and at most one body.
    ///
    /// Values inside a path are written `url($.id)`: a `/` in one would make another path. A path made by a formula holds no `?`
    /// and no segment `..`. Credentials and the manifest's `headers` go to the system alone: to the address of `base`, those of
    /// the connection's settings, and those written here word for word; a whole address from data elsewhere is asked without.
    pub struct Request {
        /// GET this path, put behind `base`; a whole address stays as it is.
        get: Option<Template>,
        /// POST to this path.
        post: Option<Template>,
        /// PUT to this path.
        put: Option<Template>,
        /// PATCH this path.
        patch: Option<Template>,
        /// DELETE this path.
        delete: Option<Template>,
        /// Query parameters; one whose value is missing is left out, a list gives the parameter several times.
        query: Option<BTreeMap<Text, Template>>,
        /// Further headers.
        headers: Option<BTreeMap<Text, Template>>,
        /// The body as JSON.
        json: Option<Template>,
        /// The body as a form (`application/x-www-form-urlencoded`).
        form: Option<BTreeMap<Text, Template>>,
        /// The body as parts (`multipart/form-data`): a text, or `{ file_name, content_type, text | base64 }`.
        multipart: Option<BTreeMap<Text, Template>>,
        /// The body as XML: a map with one field, the root element; as the `xml` format writes documents.
        xml: Option<Template>,
        /// A SOAP call.
        soap: Option<Soap>,
        /// The body as it is.
        text: Option<Template>,
        /// The content type of `text`, where it is not `text/plain`.
        content_type: Option<Text>,
        /// A GraphQL question, POSTed. `errors` in the answer are a fault unless `errors:` says otherwise.
        graphql: Option<GraphQl>,
        /// A JSON-RPC 2.0 call, POSTed. `error` in the answer is a fault; `$` is then `result`.
        json_rpc: Option<JsonRpc>,
        /// OData 4 query options, beside `get`.
        odata: Option<OData>,
        /// What the answer is read as.
        answer: AnswerFormat = "json",
    }
}

settings! {
    /// A SOAP call: envelope, action, and the fault of the answer, which is a refusal unless `errors:` says otherwise. `$` is the
    /// answer's `Body`, names without prefixes.
    pub struct Soap {
        /// `SOAPAction`, or the `action` of SOAP 1.2.
        action: Option<Template>,
        /// What stands in the body: a map with one field.
        body: Template,
        /// The envelope's version.
        version: SoapVersion = "1.1",
    }
}

choice! {
    /// The version of SOAP.
    pub enum SoapVersion {
        /// `text/xml`, `SOAPAction`.
        V11 = "1.1",
        /// `application/soap+xml`.
        V12 = "1.2",
    }
}

settings! {
    /// A GraphQL question. `$` is then the answer's `data`; for `errors:` it is the whole answer.
    pub struct GraphQl {
        /// The document.
        query: String,
        /// Its variables.
        variables: Option<Template>,
    }
}

settings! {
    /// A JSON-RPC 2.0 call. For `errors:`, `$` is the whole answer.
    pub struct JsonRpc {
        /// The method.
        method: Text,
        /// Its parameters: a list or a map.
        params: Option<Template>,
    }
}

settings! {
    /// OData 4 query options; each is written as OData writes it. A list is joined by commas, of `filter` by `and`. Texts in a
    /// filter stand between quotes, and a quote in one is written twice: `replace($.name, '''', '''''')`.
    pub struct OData {
        /// `$filter`
        filter: Option<Template>,
        /// `$select`
        select: Option<Template>,
        /// `$expand`
        expand: Option<Template>,
        /// `$orderby`
        order_by: Option<Template>,
        /// `$top`
        top: Option<Template>,
        /// `$skip`
        skip: Option<Template>,
    }
}

choice! {
    /// What an answer is read as.
    pub enum AnswerFormat {
        /// JSON; an empty answer is `null`. Something else, an HTML page say, is a fault that may pass.
        Json = "json",
        /// XML, as the `xml` format reads it.
        Xml = "xml",
        /// Text.
        Text = "text",
        /// Not read: the status says all.
        None = "none",
    }
}

settings! {
    /// One of several requests of an operation. Later ones see its result as `$calls.NAME`.
    pub struct Call {
        /// What later ones call its result.
        name: Text,
        /// Only where this holds; otherwise `$calls.NAME` is not there.
        when: Option<Condition>,
        /// Once for each item of this list (`$item`), one after the other, at most 1,000; the result is the list of results.
        each: Option<Template>,
        /// The request.
        request: Request,
        /// What is kept of the answer. Left out: its body. Where the answer says that nothing is there (`then: missing`), there is no
        /// `$calls.NAME`: ask with `has($calls.NAME)`.
        result: Option<Template>,
    }
}
