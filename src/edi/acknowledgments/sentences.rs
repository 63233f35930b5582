//! What the codes of acknowledgments mean, in our own words: they follow after "because" or a colon.

/// A list of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// EDIFACT 0085, in UCI, UCF, UCM, UCS and UCD.
    E0085,
    /// TA105.
    Interchange,
    /// AK905 to AK909.
    Group,
    /// AK502 to AK506, IK502 to IK506.
    Set,
    /// AK304, IK304.
    Segment,
    /// AK403, IK403.
    Element,
}

impl List {
    pub const ALL: [List; 6] = [List::E0085, List::Interchange, List::Group, List::Set, List::Segment, List::Element];

    /// How those who know the standard call it: `0085`, `AK304`.
    pub fn name(self) -> &'static str {
        match self {
            List::E0085 => "0085",
            List::Interchange => "TA105",
            List::Group => "AK905",
            List::Set => "AK502",
            List::Segment => "AK304",
            List::Element => "AK403",
        }
    }

    /// The meaning of a code; none for one we do not know.
    pub fn sentence(self, code: &str) -> Option<&'static str> {
        match self {
            List::E0085 => edifact(code),
            // Senders leave the zeros out.
            List::Interchange => match code.trim_start_matches('0') {
                "" if code.is_empty() => None,
                short => interchange(short),
            },
            List::Group => group(code),
            List::Set => set(code),
            List::Segment => segment(code),
            List::Element => element(code),
        }
    }
}

fn edifact(code: &str) -> Option<&'static str> {
    Some(match code {
        "2" => "this syntax version or level is not taken",
        "7" => "the interchange is not meant for this receiver",
        "12" => "the value is not a valid one",
        "13" => "something mandatory is missing",
        "14" => "this value is not taken at this place",
        "15" => "nothing of this kind is allowed at this place",
        "16" => "there are more elements or components than allowed",
        "17" => "the partners have no agreement on this",
        "18" => "an error that is not told more precisely",
        "19" => "the decimal mark is not the agreed one",
        "20" => "this character cannot be a delimiter",
        "21" => "a character is not in the character set",
        "22" => "a delimiter is not the one announced",
        "23" => "the sender of the interchange is not known",
        "24" => "the interchange is too old",
        "25" => "test interchanges are not taken",
        "26" => "the same was received before",
        "27" => "this security function is not known",
        "28" => "the reference at the end is not the one at the beginning",
        "29" => "the count at the end is not what was received",
        "30" => "groups stand beside messages that are in none",
        "31" => "a group holds messages of more than one type",
        "32" => "there is no message inside",
        "33" => "something stands outside any message or group",
        "34" => "explicit nesting is not allowed",
        "35" => "an element or segment is repeated too often",
        "36" => "a segment group is repeated too often",
        "37" => "letters where digits must be, or digits where letters must be",
        "38" => "a digit is missing before the decimal mark",
        "39" => "the value is too long",
        "40" => "the value is too short",
        "41" => "the network failed for good: the same interchange will not pass",
        "42" => "the network failed for now: the same interchange may pass later",
        "43" => "the receiver of the interchange is not known",
        "45" => "there are separators at the end that should not be written",
        "46" => "this character set is not taken",
        "47" => "a part of the envelope is not supported",
        "48" => "values that depend on each other do not fit together",
        _ => return None,
    })
}

/// TA105 without its leading zeros.
fn interchange(code: &str) -> Option<&'static str> {
    Some(match code {
        "" => "no error",
        "1" => "IEA repeats another control number than ISA",
        "2" => "this standard is not taken",
        "3" => "this version of the interchange is not taken",
        "4" => "the segment terminator is not valid",
        "5" => "the qualifier of the sender is not valid",
        "6" => "the id of the sender is not valid",
        "7" => "the qualifier of the receiver is not valid",
        "8" => "the id of the receiver is not valid",
        "9" => "the receiver is not known",
        "10" => "the qualifier of the authorization is not valid",
        "11" => "the authorization is not valid",
        "12" => "the qualifier of the security information is not valid",
        "13" => "the security information is not valid",
        "14" => "the date of the interchange is not valid",
        "15" => "the time of the interchange is not valid",
        "16" => "the standards identifier or repetition separator is not valid",
        "17" => "the version of the interchange is not valid",
        "18" => "the control number of the interchange is not valid",
        "19" => "ISA14, which asks for an acknowledgment, is not valid",
        "20" => "ISA15, which tells test from production, is not valid",
        "21" => "IEA counts other groups than there are",
        "22" => "the envelope is not built as it must be",
        "23" => "the interchange ends too early",
        "24" => "what the interchange holds is not valid",
        "25" => "an interchange with this control number was received before",
        "26" => "the element separator is not valid",
        "27" => "the component separator is not valid",
        "28" => "the date of a deferred delivery is not valid",
        "29" => "the time of a deferred delivery is not valid",
        "30" => "the time code of a deferred delivery is not valid",
        "31" => "the grade of service is not valid",
        _ => return None,
    })
}

fn group(code: &str) -> Option<&'static str> {
    Some(match code {
        "1" => "groups of this kind are not taken",
        "2" => "this version is not taken",
        "3" => "the end of the group (GE) is missing",
        "4" => "GE repeats another control number than GS",
        "5" => "GE counts other sets than there are",
        "6" => "the control number of the group is not valid",
        "10" => "the key of the authentication is not known",
        "11" => "the key of the encryption is not known",
        "12" => "the security asked for is not at hand",
        "13" => "the receiver named by the security is not known",
        "14" => "the sender named by the security is not known",
        "15" => "what was decrypted is not valid",
        "16" => "security is not supported",
        "17" => "the encrypted length is wrong",
        "18" => "the authentication failed",
        "19" => "a group before it has the same control number",
        _ => return security(code),
    })
}

fn set(code: &str) -> Option<&'static str> {
    Some(match code {
        "1" => "sets of this kind are not taken",
        "2" => "the end of the set (SE) is missing",
        "3" => "SE repeats another control number than ST",
        "4" => "SE counts other segments than there are",
        "5" => "segments are in error",
        "6" => "the kind of the set is missing or not valid",
        "7" => "the control number of the set is missing or not valid",
        "8" => "the key of the authentication is not known",
        "9" => "the key of the encryption is not known",
        "10" => "the security asked for is not at hand",
        "11" => "the receiver named by the security is not known",
        "12" => "the encrypted length is wrong",
        "13" => "the authentication failed",
        "15" => "the sender named by the security is not known",
        "16" => "what was decrypted is not valid",
        "17" => "security is not supported",
        "18" => "the set does not belong into its group",
        "19" => "the guideline that ST names is not valid",
        "23" => "a set before it has the same control number",
        "I5" => "segments do not keep to the guideline",
        "I6" => "this guideline is not taken",
        _ => return security(code),
    })
}

/// The segments of security, which sets and groups number alike.
fn security(code: &str) -> Option<&'static str> {
    Some(match code {
        "24" => "S3S begins a security envelope that no S3E ends",
        "25" => "S3E ends a security envelope that no S3S begins",
        "26" => "S4S begins a security envelope that no S4E ends",
        "27" => "S4E ends a security envelope that no S4S begins",
        _ => return None,
    })
}

fn segment(code: &str) -> Option<&'static str> {
    Some(match code {
        "1" => "this is no segment the receiver knows",
        "2" => "the segment is not expected here",
        "3" => "the mandatory segment is missing",
        "4" => "the loop is repeated too often",
        "5" => "the segment is repeated too often",
        "6" => "sets of this kind have no such segment",
        "7" => "the segment is out of order",
        "8" => "elements of the segment are in error",
        "I4" => "the guideline does not use this segment",
        "I6" => "the guideline demands this segment here",
        "I7" => "the guideline demands the loop more often",
        "I8" => "the guideline demands the segment more often",
        "I9" => "the guideline does not use this segment here",
        _ => return None,
    })
}

fn element(code: &str) -> Option<&'static str> {
    Some(match code {
        "1" => "a mandatory value is missing",
        "2" => "a value is missing that another one makes mandatory",
        "3" => "there are more elements than allowed",
        "4" => "the value is too short",
        "5" => "the value is too long",
        "6" => "a character is not allowed in this value",
        "7" => "the code is not one of those allowed",
        "8" => "the date is not valid",
        "9" => "the time is not valid",
        "10" => "the value may not stand together with another one",
        "12" => "the element is repeated too often",
        "13" => "there are more components than allowed",
        "I6" => "the guideline does not use this code",
        "I9" => "the guideline demands this value here",
        "I10" => "the guideline does not use this element",
        "I11" => "the guideline demands the element more often",
        "I12" => "the value does not have the form the guideline demands",
        "I13" => "the guideline does not use this element here",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::List;

    #[test]
    fn codes_are_told_in_words() {
        let said = |list: List, code: &str| list.sentence(code);
        assert_eq!(said(List::E0085, "29"), Some("the count at the end is not what was received"));
        assert_eq!(said(List::Interchange, "025"), said(List::Interchange, "25"));
        assert_eq!(said(List::Interchange, "000"), Some("no error"));
        assert_eq!(said(List::Interchange, ""), None);
        assert_eq!(said(List::Set, "24"), said(List::Group, "24"));
        for list in List::ALL {
            assert_eq!(said(list, "999"), None, "{list:?}");
        }
    }

    /// Sentences follow a colon: they begin small and do not end.
    #[test]
    fn sentences_are_alike() {
        let codes = (0..100).map(|code| code.to_string()).chain((0..20).map(|code| format!("I{code}")));
        for code in codes {
            for sentence in List::ALL.into_iter().filter_map(|list| list.sentence(&code)) {
                let plain = !sentence.ends_with('.') && sentence.len() < 70;
                assert!(plain, "{code}: {sentence}");
            }
        }
    }
}
