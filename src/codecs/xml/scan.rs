//! Where the marks of an XML text end: enough to cut a long file into elements without reading it as a tree.

use memchr::{memchr, memchr3, memmem};

/// What stands at the beginning of some bytes, and how long it is.
#[derive(Debug, PartialEq)]
pub enum Mark<'b> {
    Text(usize),
    /// A comment, CDATA or a processing instruction.
    Other(usize),
    Open(usize, &'b [u8]),
    /// An element without content, `<a/>`.
    Empty(usize, &'b [u8]),
    Close(usize, &'b [u8]),
    Doctype,
    /// It does not end in these bytes.
    Further,
}

/// The first mark of `data`, which is not empty.
pub fn mark(data: &[u8]) -> Mark<'_> {
    if data[0] != b'<' {
        return Mark::Text(memchr(b'<', data).unwrap_or(data.len()));
    }
    let begins = |start: &[u8]| data.starts_with(start) || start.starts_with(data);
    if begins(b"<!--") {
        return until(data, 4, b"-->").map_or(Mark::Further, Mark::Other);
    }
    if begins(b"<![CDATA[") {
        return until(data, 9, b"]]>").map_or(Mark::Further, Mark::Other);
    }
    match data {
        [b'<', b'!', ..] => Mark::Doctype,
        [b'<', b'?', ..] => until(data, 2, b"?>").map_or(Mark::Further, Mark::Other),
        [b'<', b'/', rest @ ..] => memchr(b'>', rest).map_or(Mark::Further, |at| Mark::Close(at + 3, name(rest))),
        [b'<', rest @ ..] => match end_of_tag(rest) {
            None => Mark::Further,
            Some(at) if rest[..at].ends_with(b"/") => Mark::Empty(at + 2, name(rest)),
            Some(at) => Mark::Open(at + 2, name(rest)),
        },
        _ => Mark::Further,
    }
}

fn until(data: &[u8], from: usize, end: &[u8]) -> Option<usize> {
    memmem::find(data.get(from..)?, end).map(|at| from + at + end.len())
}

/// The `>` of a tag, outside its quoted values.
fn end_of_tag(tag: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let found = at + memchr3(b'>', b'"', b'\'', &tag[at..])?;
        if tag[found] == b'>' {
            return Some(found);
        }
        at = found + 1 + memchr(tag[found], &tag[found + 1..])? + 1;
    }
}

fn name(tag: &[u8]) -> &[u8] {
    let end = tag.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'/' | b'>'));
    &tag[..end.unwrap_or(tag.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_told_apart() {
        assert_eq!(mark(b"text<a>"), Mark::Text(4));
        assert_eq!(mark(b"<a b='>'>x"), Mark::Open(9, b"a"));
        assert_eq!(mark(b"<a:b\n/>x"), Mark::Empty(7, b"a:b"));
        assert_eq!(mark(b"</a >x"), Mark::Close(5, b"a"));
        assert_eq!(mark(b"<!-- <a> -->x"), Mark::Other(12));
        assert_eq!(mark(b"<![CDATA[</a>]]>x"), Mark::Other(16));
        assert_eq!(mark(b"<?pi?>x"), Mark::Other(6));
        assert_eq!(mark(b"<!DOCTYPE a>"), Mark::Doctype);
    }

    #[test]
    fn what_is_cut_is_looked_at_again() {
        for cut in ["<", "<a", "<a b='>", "</a", "<!", "<!-", "<!-- -", "<![CD", "<![CDATA[ ]]", "<?p", "<!-->"] {
            assert_eq!(mark(cut.as_bytes()), Mark::Further, "{cut}");
        }
    }
}
