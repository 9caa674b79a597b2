//! Cleaning of one text: what no reader sees is removed, what looks the same becomes the same. Idempotent.

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Removes byte order marks and control characters, makes every line ending `\n`, and composes characters (Unicode NFC).
///
/// `None` if that changes nothing, so that a large text is not in memory twice.
pub(crate) fn clean(text: &str) -> Option<String> {
    if text.as_bytes().chunks(64).all(is_plain) {
        return None;
    }
    let rewritten = (!text.chars().all(keep)).then(|| rewrite(text));
    let composed = compose(rewritten.as_deref().unwrap_or(text));
    composed.or(rewritten)
}

fn compose(text: &str) -> Option<String> {
    // Below U+0300 nothing composes or decomposes under NFC.
    if is_nfc_quick(text.chars().filter(|&c| c >= '\u{300}')) == IsNormalized::Yes {
        return None;
    }
    let composed: String = text.nfc().collect();
    (composed != text).then_some(composed)
}

/// Whether bytes are printable ASCII, tabs and line feeds. Without a branch a byte, so that the compiler vectorises it.
fn is_plain(bytes: &[u8]) -> bool {
    let odd = |byte: &u8| {
        let printable = (0x20..0x7f).contains(byte);
        !(printable | (*byte == b'\n') | (*byte == b'\t'))
    };
    !bytes.iter().fold(false, |any, byte| any | odd(byte))
}

fn keep(c: char) -> bool {
    c == '\n' || c == '\t' || !(c.is_control() || c == '\u{feff}')
}

fn rewrite(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\r' => {
                characters.next_if_eq(&'\n');
                out.push('\n');
            }
            // Vertical tab, form feed and next line separate words; removing them would join these.
            '\u{b}' | '\u{c}' | '\u{85}' => out.push('\n'),
            c if keep(c) => out.push(c),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cleaned(text: &str) -> String {
        clean(text).unwrap_or(text.to_string())
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(cleaned(text), expected);
        assert_eq!(clean(text).is_some(), text != expected);
    }

    #[test]
    fn cleans() {
        check("plain\ttext\n", "plain\ttext\n");
        check("\u{feff}a\u{feff}b", "ab");
        check("a\r\nb\rc\n\rd", "a\nb\nc\n\nd");
        check("a\0\u{7f}\u{9b}b\u{1b}[1m", "ab[1m");
        check("page\u{c}page\u{85}line", "page\npage\nline");
        check("e\u{301} é", "é é");
        check("e\0\u{301}", "é");
        check("한국어", "한국어");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn twice_is_once(text in any::<String>()) {
            prop_assert_eq!(clean(&cleaned(&text)), None);
        }

        #[test]
        fn composes_as_nfc_does(text in "[a-zA-Z\u{c0}-\u{17f}\u{2b0}-\u{345}\u{1100}-\u{11ff}]{0,20}") {
            prop_assert_eq!(cleaned(&text), text.nfc().collect::<String>());
        }
    }
}
