//! What a manifest may say.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{
    Data, MapReader, Node, Rate, Reader, Setting, Settings, Shape, Size, Span, StructShape, choice, one_of, settings,
};
use crate::formula::{Condition, Template};
use crate::message::Text;

/// A manifest, read and checked.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The file's name without `.yaml`: what a connection names.
    pub name: Text,
    pub head: ManifestHead,
    pub operations: BTreeMap<Text, Operation>,
    /// Where each operation stands, for problems.
    pub spans: BTreeMap<Text, Span>,
    /// Hash of its text: what uses it starts anew when it has changed.
    pub revision: [u8; 16],
}

settings! {
    /// How to talk to one kind of system.
    ///
    /// Formulas here see `$connection` (its settings), and besides what each place says. `$` in a request is the document to
    /// write or the input of a read; where an answer is looked at, `$` is the answer's body and `$headers` its headers.
    pub struct ManifestHead {
        /// The system's name, as people say it.
        system: Text,
        /// What the manifest covers, in a sentence or two.
        about: Option<String>,
        /// What the system is to a retailer.
        roles: Vec<Role>,
        /// The protocol the system is spoken to with.
        protocol: Wire = "http",
        /// What the manifest was seen to work against.
        verified: Verified,
        /// What a connection must give.
        settings: Option<BTreeMap<Text, SettingKind>>,
        /// The address that paths of requests are put behind: `$connection.url`.
        base: Template,
        /// Headers of every request.
        headers: Option<BTreeMap<Text, Template>>,
        /// How the hub proves who it is.
        auth: Option<Auth>,
        /// How fast, how many at once, how long.
        limits: Option<Limits>,
        /// What answers mean; the first that fits wins. What fits none: 408, 425, 429 and 5xx may pass, 401 and 403 wait for a
        /// person, other 4xx refuse the message.
        errors: Vec<ErrorRule>,
        /// A request that succeeds where the connection is well. It must change nothing.
        check: Option<Request>,
        /// Pieces used in several places: `use: NAME` in a map takes the piece's fields, over which those beside `use` go.
        definitions: Option<Data>,
        /// The manifest's own tests, against recorded answers.
        cases: Vec<ManifestCase>,
    }
}

choice! {
    /// What a system is to a retailer.
    pub enum Role {
        /// Enterprise resource planning.
        Erp = "erp",
        /// Tills.
        Pos = "pos",
        /// Customers and what was said to them.
        Crm = "crm",
        /// Product information.
        Pim = "pim",
        /// Orders of all channels.
        Oms = "oms",
        /// A web shop.
        Shop = "shop",
        /// Payment.
        Payment = "payment",
        /// Campaigns and loyalty.
        Marketing = "marketing",
        /// Calls, mails, chats.
        ContactCentre = "contact-centre",
        /// An EDI service.
        Edi = "edi",
        /// A warehouse.
        Wms = "wms",
    }
}

choice! {
    /// The protocol below a manifest.
    pub enum Wire {
        /// HTTP and HTTPS.
        Http = "http",
    }
}

settings! {
    /// What a manifest was seen to work against. Honest: `recorded answers` where nobody ran it against the system.
    pub struct Verified {
        /// The system and its version, or `recorded answers`.
        against: Text,
    }
}

settings! {
    /// A setting of a connection.
    pub struct SettingKind {
        /// What it is.
        r#type: SettingType,
        /// What to write there, for the person who joins the system.
        about: Option<String>,
        /// What holds where it is left out. Without it, and without `optional`, the setting must be given.
        default: Option<Data>,
        /// May be left out: then it is not there.
        optional: bool = "false",
    }
}

choice! {
    /// What a setting is.
    pub enum SettingType {
        /// An address: `https://erp.example`.
        Url = "url",
        /// Any text.
        Text = "text",
        /// A text by reference that is never shown.
        Secret = "secret",
        /// A number.
        Number = "number",
        /// `true` or `false`.
        Boolean = "boolean",
    }
}

one_of! {
    /// How the hub proves who it is.
    pub enum Auth {
        /// A token in the `Authorization` header, after the word `Bearer`.
        Bearer(Template) = "bearer",
        /// User name and password.
        Basic(Basic) = "basic",
        /// A key in a header or in the query.
        ApiKey(ApiKey) = "api_key",
        /// A token from an authorization server (RFC 6749), renewed before it expires.
        OAuth2(Box<OAuth2>) = "oauth2",
        /// A login that gives a token or a cookie for some time.
        Session(Box<Session>) = "session",
        /// Every request is signed (HMAC).
        Sign(Sign) = "sign",
    }
}

settings! {
    /// User name and password (RFC 7617).
    pub struct Basic {
        /// The user name.
        user: Template,
        /// The password.
        password: Template,
    }
}

settings! {
    /// A key in a header or in the query: give one of `header` and `query`.
    pub struct ApiKey {
        /// The header that holds it.
        header: Option<Text>,
        /// The query parameter that holds it.
        query: Option<Text>,
        /// The key.
        value: Template,
    }
}

settings! {
    /// A token from an authorization server (RFC 6749).
    pub struct OAuth2 {
        /// How the token is asked for.
        grant: Grant,
        /// Where it is asked for; a path is put behind `base`.
        token_url: Template,
        /// Who the hub is there.
        client_id: Option<Template>,
        /// What proves it.
        client_secret: Option<Template>,
        /// Where `client_id` and `client_secret` stand.
        client_auth: ClientAuth = "basic",
        /// What the token is to be good for.
        scope: Option<Template>,
        /// `grant: password`.
        user: Option<Template>,
        /// `grant: password`.
        password: Option<Template>,
        /// `grant: refresh_token`: the first one. Where the server gives another with each answer, the hub keeps the newest, for
        /// all its instances; another one here takes the place of what it kept.
        refresh_token: Option<Template>,
        /// `grant: jwt_bearer`: what is signed (RFC 7523).
        assertion: Option<Assertion>,
        /// Further parameters of the token request.
        parameters: Option<BTreeMap<Text, Template>>,
        /// How long before its end a token is renewed; at most half its life.
        early: Duration = "1m",
    }
}

choice! {
    /// How a token is asked for.
    pub enum Grant {
        /// With the hub's own id and secret.
        ClientCredentials = "client_credentials",
        /// With a user's name and password.
        Password = "password",
        /// With a refresh token, which may be another after each use.
        RefreshToken = "refresh_token",
        /// With a signed assertion (RFC 7523).
        JwtBearer = "jwt_bearer",
    }
}

choice! {
    /// Where client id and secret stand.
    pub enum ClientAuth {
        /// In the `Authorization` header.
        Basic = "basic",
        /// In the form's fields `client_id` and `client_secret`.
        Body = "body",
    }
}

settings! {
    /// A signed assertion (RFC 7523).
    pub struct Assertion {
        /// The private key in PEM (PKCS #8), or the secret of `HS256`.
        key: Template,
        /// The signature.
        algorithm: JwtAlgorithm = "RS256",
        /// `kid` of its header.
        key_id: Option<Template>,
        /// `iss`
        issuer: Template,
        /// `sub`
        subject: Option<Template>,
        /// `aud`
        audience: Template,
        /// How long it is good: `exp` − `iat`.
        lifetime: Duration = "5m",
        /// Further claims.
        claims: Option<BTreeMap<Text, Template>>,
    }
}

choice! {
    /// The signature of an assertion (RFC 7518).
    pub enum JwtAlgorithm {
        /// RSA with SHA-256.
        Rs256 = "RS256",
        /// ECDSA on P-256 with SHA-256.
        Es256 = "ES256",
        /// HMAC with SHA-256.
        Hs256 = "HS256",
    }
}

settings! {
    /// A login that gives a token or a cookie for some time.
    pub struct Session {
        /// The login.
        login: Request,
        /// What is kept of its answer, for `$session`: names to values. `$headers.set_cookie` is all cookies that it sets, as the
        /// header `Cookie` sends them back.
        keep: BTreeMap<Text, Template>,
        /// Headers of every request after it, from `$session`.
        headers: BTreeMap<Text, Template>,
        /// How long it holds at most. Left out: until the system says no.
        lifetime: Option<Duration>,
        /// Answers that say it has ended: the hub logs in again, once, and repeats the request. Left out: 401.
        expired: Vec<u32>,
    }
}

settings! {
    /// Every request is signed (HMAC, RFC 2104).
    pub struct Sign {
        /// The secret both sides know.
        secret: Template,
        /// The header that holds the signature.
        header: Text,
        /// The hash function.
        algorithm: SignAlgorithm = "sha256",
        /// How the signature's bytes are written.
        encoding: SignEncoding = "hex",
        /// What stands before the signature in the header.
        prefix: Text = "",
        /// What is signed. Placeholders: `{method}`, `{path}` (with the query), `{body}`, `{body_hash}` (SHA-256, hex),
        /// `{timestamp}` (seconds since 1970), `{nonce}` (drawn for each request); `\n` is a line break.
        signed: Text,
        /// Further headers: `{timestamp}` and `{nonce}` as in `signed`, or a path such as `$connection.key_id`.
        headers: Option<BTreeMap<Text, Template>>,
        /// The header that holds `{timestamp}`.
        timestamp_header: Option<Text>,
        /// The header that holds `{nonce}`.
        nonce_header: Option<Text>,
    }
}

choice! {
    /// The hash function of a signature.
    pub enum SignAlgorithm {
        /// HMAC-SHA-256.
        Sha256 = "sha256",
        /// HMAC-SHA-512.
        Sha512 = "sha512",
    }
}

choice! {
    /// How a signature's bytes are written.
    pub enum SignEncoding {
        /// Two digits a byte.
        Hex = "hex",
        /// Base64 (RFC 4648).
        Base64 = "base64",
    }
}

settings! {
    /// How fast, how many at once, how long.
    pub struct Limits {
        /// Requests in a time, all operations of a connection together. Left out: no limit.
        rate: Option<Rate>,
        /// Requests under way at once.
        concurrency: u32 = "4",
        /// How long a request may take in all.
        timeout: Duration = "20s",
        /// How long connecting may take.
        connect_timeout: Duration = "5s",
        /// The largest answer taken; a larger one is a fault.
        max_response: Size = "20MB",
        /// How many requests the system still allows, from an answer: `$headers.x_ratelimit_remaining?`. At 0 the hub waits for
        /// `reset`.
        remaining: Option<Template>,
        /// In how many seconds it allows more; a number over 1,000,000,000 is a time since 1970.
        reset: Option<Template>,
    }
}

settings! {
    /// What an answer means. All conditions given must hold.
    pub struct ErrorRule {
        /// The status.
        status: Option<u32>,
        /// A condition over the answer: `has($.errors[0])`. It sees answers of any status, 200 too; a value it does not find makes
        /// it false.
        when: Option<Condition>,
        /// What to do.
        then: ErrorThen,
        /// After how many seconds, for `retry`.
        after: Option<Template>,
        /// The fault's code, such as `TRYTON-NOT-FOUND`.
        code: Option<Text>,
        /// What to tell people: a formula over the answer.
        say: Option<Template>,
    }
}

choice! {
    /// What to do after an answer.
    pub enum ErrorThen {
        /// It may pass: try again.
        Retry = "retry",
        /// The connection is ill, not the message: wait until it is well.
        Reconnect = "reconnect",
        /// This message never: dead letters.
        Refuse = "refuse",
        /// A person must correct the connection.
        Misconfigured = "misconfigured",
        /// Nothing is there: the answer of a read is none; for a write it is a refusal.
        Missing = "missing",
        /// It is a success: what was to be done is done already.
        Done = "done",
    }
}

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
        /// What is kept of the answer. Left out: its body.
        result: Option<Template>,
    }
}

/// Something a manifest can do with its system.
#[derive(Clone, Debug)]
pub enum Operation {
    Poll(Box<Poll>),
    Listen(Box<Listen>),
    Read(Box<Read>),
    Write(Box<Write>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    Poll,
    Listen,
    Read,
    Write,
}

settings! {
    /// Asks the system again and again for what is new: a source.
    pub struct Poll {
        /// What it brings, in a sentence.
        about: Option<String>,
        /// The canonical document it gives, of `config/canonical/`.
        gives: Option<Text>,
        /// How long from the end of one round to the next.
        every: Duration = "30s",
        /// The question. It sees `$cursor` (where the last round ended) and `$page`.
        request: Option<Request>,
        /// The question of a system that makes its answer in the background, instead of `request`.
        job: Option<Job>,
        /// The list in the answer. Left out: the answer itself.
        items: Option<Template>,
        /// How the next page is asked for. Left out: there is one page.
        next: Option<Next>,
        /// Where to go on from in the next round.
        cursor: Option<CursorRule>,
        /// Which items are wanted: sees `$item`.
        keep: Option<Condition>,
        /// Further requests for each item, which they see as `$item`.
        calls: Vec<Call>,
        /// What identifies an item's state, so that the same one read again is a repeat: `"=concat($item.id, '@', $item.changed)"`.
        /// Left out: the item's content.
        id: Option<Template>,
        /// The message's document, from `$item` and `$calls`. Left out: the item.
        document: Option<Template>,
        /// Most pages of a round; a system that has more is asked again in the next.
        most_pages: u32 = "10000",
    }
}

settings! {
    /// An answer made in the background: asked for, waited for, fetched. `$job` is what the last answer of `create` or `poll` said.
    pub struct Job {
        /// Asks for it.
        create: Request,
        /// Asks how far it is.
        poll: Request,
        /// How long between two of these.
        every: Duration = "5s",
        /// It is there: sees `$` and `$job`, the answer to `poll`.
        done: Condition,
        /// It has failed.
        failed: Option<Condition>,
        /// Longer than this is a failure.
        within: Duration = "1h",
        /// Fetches it. Left out: the last answer to `poll` holds it.
        download: Option<Request>,
    }
}

one_of! {
    /// How the next page is asked for. A page that comes twice ends the round with a fault.
    pub enum Next {
        /// A word for the next page, from the answer; none is the end. The request sends `$page.cursor?`.
        Cursor(Template) = "cursor",
        /// Numbered pages. The request sends `$page.number`.
        Number(PageNumber) = "number",
        /// Counted items. The request sends `$page.offset`.
        Offset(PageOffset) = "offset",
        /// The value of the last item of the page (`$item`). The request sends `$page.after?`. An empty page is the end.
        After(Template) = "after",
        /// The `Link` header (RFC 8288) with this relation, usually `next`.
        Link(Text) = "link",
        /// The next page's address or path, from the answer; none is the end.
        Url(Template) = "url",
    }
}

settings! {
    /// Numbered pages. The end is the last page where `pages` says how many there are, else an empty page, or one with fewer than
    /// `size` items.
    pub struct PageNumber {
        /// The number of the first.
        first: u32 = "1",
        /// Items of a full page.
        size: Option<u32>,
        /// How many pages there are, from the answer.
        pages: Option<Template>,
    }
}

settings! {
    /// Counted items. The end is at `total` where it is given, else an empty page, or one with fewer than `size` items.
    pub struct PageOffset {
        /// Items of a full page.
        size: Option<u32>,
        /// How many items there are, from the answer.
        total: Option<Template>,
    }
}

settings! {
    /// Where to go on from in the next round: the largest `value` of the items so far. It is kept once the items are stored: after
    /// a kill they come again.
    pub struct CursorRule {
        /// From `$item`: a time (RFC 3339, or what `date` makes of the system's own), a number, or a text that sorts.
        value: Template,
        /// Where the very first round begins: so long ago (`1d`), or a value. Left out: `$cursor` is not there in the first round.
        start: Option<Text>,
        /// Each round begins so much earlier than the last ended, for systems whose items appear late. Times only. What comes
        /// again is known by `id` and is no new message.
        overlap: Option<Duration>,
        /// Items come in the order of `value`: the cursor is kept after each page, not only after the last.
        ordered: bool = "false",
    }
}

settings! {
    /// The system calls the hub: a source. `$` is the body, `$headers` its headers.
    pub struct Listen {
        /// What it brings, in a sentence.
        about: Option<String>,
        /// The canonical document it gives, of `config/canonical/`.
        gives: Option<Text>,
        /// How the system proves who it is.
        auth: Option<HookAuth>,
        /// A question the system asks before it trusts the hub with its events.
        challenge: Option<Challenge>,
        /// Which events are wanted: others are answered as if they were taken.
        keep: Option<Condition>,
        /// The events in a body that holds several. Left out: the body is one. Below, `$item` is the event.
        items: Option<Template>,
        /// What identifies an event, so that one sent twice is known: `$item.id`. Left out: its content.
        id: Option<Template>,
        /// Further requests for each event, which they see as `$item`: many systems say only that something has changed.
        calls: Vec<Call>,
        /// The message's document, from `$item` and `$calls`. Left out: the event.
        document: Option<Template>,
        /// What the system wants to hear.
        status: u32 = "200",
    }
}

settings! {
    /// A question that is answered at once: `when` it is one, with `answer`.
    pub struct Challenge {
        /// Holds for the question; sees `$`, the body, or for GET the query parameters.
        when: Condition,
        /// The answer: a text is sent as it is, anything else as JSON.
        answer: Template,
    }
}

one_of! {
    /// How the system proves who it is.
    pub enum HookAuth {
        /// A signature over the body.
        Hmac(HookSignature) = "hmac",
        /// User name and password.
        Basic(Basic) = "basic",
        /// A token in the `Authorization` header.
        Bearer(Template) = "bearer",
        /// A key in a header.
        ApiKey(ApiKey) = "api_key",
    }
}

settings! {
    /// A signature over the body (HMAC, RFC 2104).
    pub struct HookSignature {
        /// The secret both sides know.
        secret: Template,
        /// The header that holds the signature.
        header: Text,
        /// The hash function.
        algorithm: SignAlgorithm = "sha256",
        /// How the signature's bytes are written.
        encoding: SignEncoding = "hex",
        /// What stands before the signature, such as `sha256=`.
        prefix: Text = "",
        /// What is signed: `{body}`, `{timestamp}`, `{id}`.
        signed: Text = "{body}",
        /// The header that `{id}` stands for.
        id_header: Option<Text>,
        /// The header with the time of signing.
        timestamp_header: Option<Text>,
        /// What stands before the time in that header, such as `t=`.
        timestamp_prefix: Text = "",
        /// How far from the hub's clock that time may be: an older one is somebody's recording.
        tolerance: Duration = "5m",
    }
}

settings! {
    /// One question, one answer: what `call` asks. `$` is the input.
    pub struct Read {
        /// What it answers, in a sentence.
        about: Option<String>,
        /// The canonical document it gives, of `config/canonical/`.
        gives: Option<Text>,
        /// The question.
        request: Option<Request>,
        /// Several questions, in order, instead of `request`.
        calls: Vec<Call>,
        /// The answer's document, from `$` (with `request`) and `$calls`, and `$input`. Left out: the (last) answer's body.
        result: Option<Template>,
        /// There is nothing: sees what `result` sees.
        missing: Option<Condition>,
    }
}

settings! {
    /// Gives the system a document: a target. `$` is the document.
    ///
    /// A write is repeated after a fault and after a kill, under the same `$meta.id`. So the system must know a repeat: by an
    /// idempotency key it honours, or by a first call that looks whether it is there already.
    pub struct Write {
        /// What it does, in a sentence.
        about: Option<String>,
        /// The canonical document it takes, of `config/canonical/`.
        takes: Option<Text>,
        /// The request.
        request: Option<Request>,
        /// Several requests, in order, instead of `request`; each sees the results of those before. A repeat begins with the first.
        calls: Vec<Call>,
        /// The key that tells the system a repeat.
        idempotency: Option<Idempotency>,
        /// What is kept of the answer, for the journal and for `remember:` of the destination (`$result`); from `$`, `$calls` and
        /// `$input`, the document.
        result: Option<Template>,
        /// Sends several documents in one request; `$` is then the list of them.
        batch: Option<Batch>,
    }
}

settings! {
    /// The key that tells the system a repeat.
    pub struct Idempotency {
        /// The header that holds it.
        header: Text,
        /// The key.
        value: Template,
    }
}

settings! {
    /// Several documents in one request, each with its own result: one that is refused refuses none beside it.
    pub struct Batch {
        /// Most documents of a request.
        size: u32 = "100",
        /// The list of results in the answer.
        results: Template,
        /// What joins a result (`$item`) to its document, where they do not come in the same order.
        key: Option<Template>,
        /// The same of a document (`$item`).
        document_key: Option<Template>,
        /// The result (`$item`) says that its document was not taken.
        failed: Condition,
        /// It may pass: that document is sent again. Others that failed are refused.
        retry: Option<Condition>,
        /// What to tell people about it.
        say: Option<Template>,
        /// What is kept of a result that is well.
        result: Option<Template>,
    }
}

settings! {
    /// A test of the manifest: given these answers of the system, expect this.
    pub struct ManifestCase {
        /// What the case shows, in a sentence.
        about: String,
        /// The operation.
        operation: Text,
        /// Settings of the connection. Left out: the default or an example of each; `null` where one is not there.
        connection: Option<Data>,
        /// The document to write, the input of a read, or the body the system sends (`listen`).
        given: Option<Data>,
        /// Headers that come with `given` (`listen`).
        headers: Option<Data>,
        /// `$cursor` of a poll.
        cursor: Option<Data>,
        /// The clock. RFC 3339.
        at: Text = "2026-01-01T00:00:00Z",
        /// The exchange with the system, in order.
        exchange: Vec<Exchange>,
        /// What must come out: `documents` (poll, listen; exactly these), `result` (read, write), `missing: true` (read), `cursor`,
        /// `answer` (to a challenge), `dead` (what cannot be read, or was refused of several), or `fault: { code, next }`. Each must be
        /// contained in the actual one; a fault, documents or dead letters that are not stated must not come.
        expect: Data,
    }
}

settings! {
    /// One request, and what the system answers.
    pub struct Exchange {
        /// What the request must contain: `method`, `path` (whole, with that of `base`), `query`, `headers`, `json`, `form`, `text`.
        request: Option<Data>,
        /// The answer's status.
        status: u32 = "200",
        /// The answer's headers.
        headers: Option<Data>,
        /// The answer as JSON.
        json: Option<Data>,
        /// The answer as text.
        text: Option<String>,
        /// The connection breaks instead of an answer.
        lost: bool = "false",
    }
}

impl Operation {
    pub fn kind(&self) -> OperationKind {
        match self {
            Operation::Poll(_) => OperationKind::Poll,
            Operation::Listen(_) => OperationKind::Listen,
            Operation::Read(_) => OperationKind::Read,
            Operation::Write(_) => OperationKind::Write,
        }
    }

    /// The canonical document it gives or takes.
    pub fn canonical(&self) -> Option<&str> {
        let named = match self {
            Operation::Poll(poll) => &poll.gives,
            Operation::Listen(listen) => &listen.gives,
            Operation::Read(read) => &read.gives,
            Operation::Write(write) => &write.takes,
        };
        named.as_deref()
    }

    pub fn about(&self) -> &str {
        let about = match self {
            Operation::Poll(poll) => &poll.about,
            Operation::Listen(listen) => &listen.about,
            Operation::Read(read) => &read.about,
            Operation::Write(write) => &write.about,
        };
        about.as_deref().unwrap_or_default()
    }
}

impl OperationKind {
    /// The word under `kind:`.
    pub fn word(self) -> &'static str {
        match self {
            OperationKind::Poll => "poll",
            OperationKind::Listen => "listen",
            OperationKind::Read => "read",
            OperationKind::Write => "write",
        }
    }
}

impl Role {
    /// The word under `roles:`.
    pub fn word(self) -> &'static str {
        match self {
            Role::Erp => "erp",
            Role::Pos => "pos",
            Role::Crm => "crm",
            Role::Pim => "pim",
            Role::Oms => "oms",
            Role::Shop => "shop",
            Role::Payment => "payment",
            Role::Marketing => "marketing",
            Role::ContactCentre => "contact-centre",
            Role::Edi => "edi",
            Role::Wms => "wms",
        }
    }
}

impl SettingType {
    /// The word under `type:`.
    pub fn word(self) -> &'static str {
        match self {
            SettingType::Url => "url",
            SettingType::Text => "text",
            SettingType::Secret => "secret",
            SettingType::Number => "number",
            SettingType::Boolean => "boolean",
        }
    }
}

impl Setting for Operation {
    fn shape() -> Shape {
        Shape::Tagged {
            tag: "kind",
            about: "Something the hub can do with the system.",
            variants: vec![
                ("poll", StructShape::of::<Poll>()),
                ("listen", StructShape::of::<Listen>()),
                ("read", StructShape::of::<Read>()),
                ("write", StructShape::of::<Write>()),
            ],
        }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Operation> {
        fn boxed<T: Settings>(map: &mut MapReader<'_>, reader: &mut Reader<'_>) -> Option<Box<T>> {
            map.flat(reader).map(Box::new)
        }
        use OperationKind::{Listen, Poll, Read, Write};
        let mut map = reader.map(node)?;
        let Some(kind) = map.node("kind") else {
            reader.error(map.span.part(0, 1), "`kind` is missing").label("`poll`, `listen`, `read` or `write`");
            return None;
        };
        let kinds = [Poll, Listen, Read, Write].map(|kind| (kind.word(), kind));
        let operation = match reader.word(kind, "kind", &kinds)? {
            Poll => boxed(&mut map, reader).map(Operation::Poll),
            Listen => boxed(&mut map, reader).map(Operation::Listen),
            Read => boxed(&mut map, reader).map(Operation::Read),
            Write => boxed(&mut map, reader).map(Operation::Write),
        };
        map.finish(reader);
        operation
    }
}

/// The shape of a manifest.
pub fn shape() -> Shape {
    let mut shape = StructShape::of::<ManifestHead>();
    shape.fields.push(crate::config::Field {
        name: "operations",
        about: "What the hub can do with the system, by name: `order.changed`, `sale.post`.",
        shape: || Shape::Named(|| Box::new(Operation::shape())),
        default: None,
        required: true,
    });
    Shape::Struct(shape)
}

impl Manifest {
    /// Reads a manifest whose `definitions` have been put in place.
    pub fn read(name: &Text, node: &Node, reader: &mut Reader<'_>) -> Option<Manifest> {
        let mut map = reader.map(node)?;
        let head: Option<ManifestHead> = map.flat(reader);
        let operations: Option<BTreeMap<Text, Operation>> = map.field(reader, "operations");
        let spans = map.node("operations").map(spans).unwrap_or_default();
        map.finish(reader);
        super::check::check(node, reader);
        Some(Manifest { name: name.clone(), head: head?, operations: operations?, spans, revision: [0; 16] })
    }
}

fn spans(operations: &Node) -> BTreeMap<Text, Span> {
    let crate::config::Kind::Map { fields, .. } = &operations.kind else { return BTreeMap::new() };
    fields.iter().map(|(key, _)| (key.name.clone(), key.span)).collect()
}
