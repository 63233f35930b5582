use super::super::testing::{decodes, encodes, records, refused};

const XML: &str = "format: xml";

#[test]
fn the_shape_of_a_document() {
    decodes(XML, "<a/>", r#"{"a":""}"#);
    decodes(XML, "<a>\n  text </a>", r#"{"a":"text"}"#);
    decodes(XML, r#"<a id="1" x='&lt;2&#10;'/>"#, r#"{"a":{"@id":"1","@x":"<2\n"}}"#);
    decodes(XML, r#"<price cur="EUR"> 12.50 </price>"#, r##"{"price":{"@cur":"EUR","#text":"12.50"}}"##);
    decodes(XML, "<a><b>1</b><c/><b>2</b></a>", r#"{"a":{"b":["1","2"],"c":""}}"#);
    decodes(XML, "<a>x&amp;y &#233;&#x20;<![CDATA[ <b> ]]></a>", r#"{"a":"x&y é  <b> "}"#);
    decodes(XML, "<?xml version='1.0'?><!-- no --><a>1<!-- no -->2<?pi?>3</a>\n", r#"{"a":"123"}"#);
    decodes(XML, "<a>one\r\ntwo</a>", r#"{"a":"one\ntwo"}"#);
}

#[test]
fn lists_are_lists_when_told() {
    let listed = "{ format: xml, xml: { lists: [b, c.d] } }";
    decodes(listed, "<a><b>1</b><c><d/></c><e><d/></e></a>", r#"{"a":{"b":["1"],"c":{"d":[""]},"e":{"d":""}}}"#);
}

#[test]
fn namespaces_are_kept_or_stripped() {
    let text = r#"<s:a xmlns:s="urn:x" xmlns="urn:y" s:i="1"><b/></s:a>"#;
    decodes(XML, text, r#"{"s:a":{"@xmlns:s":"urn:x","@xmlns":"urn:y","@s:i":"1","b":""}}"#);
    let strip = "{ format: xml, xml: { namespaces: strip } }";
    decodes(strip, text, r#"{"a":{"@i":"1","b":""}}"#);
    decodes(
        strip,
        r#"<a x:i="1" y:i="2"/>"#,
        "DECODE-XML: without prefixes two attributes are called `i` (line 1 column 1)",
    );
}

#[test]
fn character_sets_follow_the_file() {
    let expect = r#"{"a":"é"}"#;
    decodes(XML, b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>\xE9</a>", expect);
    decodes(XML, b"<?xml version='1.0' encoding='windows-1252'?><a>\x80</a>", r#"{"a":"€"}"#);
    decodes(XML, b"<?xml version='1.0' encoding='iso-8859-15'?><a>\xA4</a>", r#"{"a":"€"}"#);
    decodes(XML, b"\xEF\xBB\xBF<a>\xC3\xA9</a>", expect);
    decodes(XML, b"\xFF\xFE<\0a\0>\0\xE9\0<\0/\0a\0>\0", expect);
    decodes(XML, b"\xFE\xFF\0<\0a\0>\0\xE9\0<\0/\0a\0>", expect);
    decodes(
        XML,
        b"<a>\n\xE9</a>",
        "DECODE-XML: byte E9 is not utf-8, which the file is in by its first line (line 2 byte 1)",
    );
    decodes(
        XML,
        b"<?xml version='1.0' encoding='klingon'?><a/>",
        "DECODE-XML: the file says it is in `klingon`, which is not known (line 1)",
    );
    decodes(
        XML,
        b"<?xml version='1.0' encoding='utf-16'?><a/>",
        "DECODE-XML: the file says it is utf-16, and it is not (line 1)",
    );
    decodes(
        XML,
        b"\xFF\xFE\0\xD8",
        "DECODE-XML: the file has bytes that are not UTF-16LE, which it says it is in (line 1)",
    );
}

#[test]
fn bombs_and_references_to_files_are_refused() {
    let said =
        "a DOCTYPE is not accepted: no entity is expanded and no other file is read; have the sender leave it out";
    let bomb = "<?xml version='1.0'?>\n<!DOCTYPE a [<!ENTITY b \"boom\"><!ENTITY c \"&b;&b;\">]><a>&c;</a>";
    decodes(XML, bomb, &format!("DECODE-XML: {said} (line 2 column 1)"));
    decodes(XML, "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", &format!("DECODE-XML: {said} (line 1 column 1)"));
    decodes(
        XML,
        "<a>&b;</a>",
        "DECODE-XML: entity `&b;` is not known: only the five of XML itself are (line 1 column 4)",
    );
    let found = records("{ format: xml, xml: { record: t } }", bomb);
    assert!(found[0].starts_with("the end: DECODE-XML: a DOCTYPE"), "{found:?}");
}

#[test]
fn what_is_not_xml_is_refused_with_its_place() {
    decodes(XML, "<a>".repeat(1000), "DECODE-XML: nested deeper than 128 levels (line 1 column 385)");
    decodes(XML, "<a>\n<b>1</b>\n", "DECODE-XML: the text ends inside <a> (truncated?) (line 3 column 1)");
    decodes(
        XML,
        "<a>\n <b></c></a>",
        "DECODE-XML: the message is not XML: ill-formed document: expected `</b>`, but `</c>` was found (line 2 column 5)",
    );
    decodes(
        XML,
        "<p>some <b>bold</b> text</p>",
        "DECODE-XML: text stands beside elements in <p>; such mixed content has no place in a document (line 1 column 25)",
    );
    decodes(XML, "", "DECODE-XML: there is no root element (line 1 column 1)");
    decodes(XML, "<a/><b/>", "DECODE-XML: a second root element (line 1 column 5)");
    decodes(XML, "<a/>x", "DECODE-XML: text outside the root element (line 1 column 5)");
    decodes(XML, "<1/>", "DECODE-XML: `1` is not a name (line 1 column 1)");
    decodes(XML, "<a>&#1;</a>", "DECODE-XML: character 0x01 is not allowed in XML (line 1 column 4)");
    decodes(XML, "{}", "DECODE-XML: text outside the root element (line 1 column 1)");
}

const TICKETS: &str = "{ format: xml, xml: { record: ticket, max_record: 1KB } }";

#[test]
fn each_element_is_a_message_and_a_bad_one_costs_only_itself() {
    let text = "<?xml version='1.0' encoding='ISO-8859-1'?>\n<tickets n='>'>\n <head><x/></head>\n\
                <ticket id='1'><l>a</l></ticket>\n\
                <!-- <ticket/> -->\n\
                <ticket>\n<l></m></ticket>\n\
                <ticket><ticket>in</ticket><![CDATA[]]></ticket><ticket/>\n\
                </tickets>\n";
    assert_eq!(
        records(TICKETS, text),
        [
            r#"line 4: {"ticket":{"@id":"1","l":"a"}}"#,
            "line 6: DECODE-XML: the message is not XML: ill-formed document: expected `</l>`, but `</m>` was found (line 7 column 4)",
            r#"line 8: {"ticket":{"ticket":"in"}}"#,
            r#"line 8: {"ticket":""}"#,
        ]
    );
    assert_eq!(records(TICKETS, "<ticket>1</ticket>"), [r#"line 1: {"ticket":"1"}"#]);
    assert_eq!(
        records("{ format: xml, xml: { record: t, namespaces: strip } }", "<x:a><y:t>1</y:t></x:a>"),
        [r#"line 1: {"t":"1"}"#]
    );
}

#[test]
fn an_element_over_the_limit_is_told_and_passed_over() {
    let text = format!(
        "<t><ticket>{}</ticket><ticket>{}</ticket>\n<ticket>3</ticket></t>",
        "x".repeat(200_000),
        "<l>abc</l>".repeat(20_000)
    );
    let said = "DECODE-XML: the element is longer than `max_record` (1024 bytes) (line 1)";
    assert_eq!(
        records(TICKETS, text),
        [format!("line 1: {said}"), format!("line 1: {said}"), r#"line 2: {"ticket":"3"}"#.to_owned()]
    );
}

#[test]
fn a_truncated_file_is_told_after_its_whole_elements() {
    let said = "DECODE-XML: the file ends before its root element is closed (truncated?)";
    for cut in ["", "<", "<ticket>2", "</tic", "</ticke", "<!-- x"] {
        let found = records(TICKETS, format!("<t>\n<ticket>1</ticket>\n{cut}"));
        assert_eq!(found, [r#"line 2: {"ticket":"1"}"#.to_owned(), format!("the end: {said} (line 3)")], "{cut}");
    }
    assert_eq!(records(TICKETS, ""), ["the end: DECODE-XML: there is no root element (line 1)"]);
    assert_eq!(
        records(TICKETS, b"\xFF\xFE<\0"),
        ["the end: DECODE-XML: a UTF-16 file is not cut into records; have it sent as UTF-8 (line 1)"]
    );
}

#[test]
fn documents_are_written() {
    let bare = "{ format: xml, xml: { declaration: false } }";
    encodes(XML, r#"{"a": null}"#, r#"<?xml version="1.0" encoding="UTF-8"?><a/>"#);
    encodes(
        bare,
        r#"{"a": {"b": [1.50, true, ""], "@i": "<\"&\n", "c": {}, "d": []}}"#,
        "<a i=\"&lt;&quot;&amp;&#10;\"><b>1.50</b><b>true</b><b/><c/></a>",
    );
    encodes(bare, r##"{"a": {"@i": 1, "#text": " x "}}"##, "<a i=\"1\">&#32;x&#32;</a>");
    encodes(
        "{ format: xml, xml: { indent: true, root: r } }",
        r#"{"a": [1, {"b": 2}], "c": {"@x": "1"}}"#,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<r>\n  <a>1</a>\n  <a>\n    <b>2</b>\n  </a>\n  <c x=\"1\"/>\n</r>",
    );
    encodes(
        "{ format: xml, xml: { charset: latin1 } }",
        r#"{"a": "12 €"}"#,
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>12 &#8364;</a>",
    );
}

#[test]
fn documents_that_are_no_xml_are_refused_with_their_path() {
    let one = "an XML document is a map with one key, the root element, found";
    encodes(XML, "{}", &format!("ENCODE-XML: {one} 0 keys; `root:` names one ($)"));
    encodes(XML, "[1]", &format!("ENCODE-XML: {one} a list; `root:` names one ($)"));
    encodes(XML, r#"{"a": [1]}"#, "ENCODE-XML: the root element cannot be a list ($.a)");
    encodes(
        XML,
        r#"{"a": {"b": [{"c d": 1}]}}"#,
        "ENCODE-XML: `c d` cannot be the name of an element or attribute ($.a.b[0].c d)",
    );
    encodes(
        XML,
        r#"{"a": {"@b": []}}"#,
        "ENCODE-XML: expected a text, a number or a boolean, found a list ($.a['@b'])",
    );
    encodes(XML, r#"{"a": "\u0001"}"#, "ENCODE-XML: character 0x01 cannot be written in XML ($.a)");
    encodes(XML, r##"{"a": {"#text": "x", "b": 1}}"##, "ENCODE-XML: `#text` stands beside elements ($.a)");
    assert_eq!(refused("{ format: xml, xml: { root: a b } }"), ["`a b` cannot be the name of an element; "]);
}
