//! GPT-2's alphabet: a byte goes in, the printable character that stands for it comes out, and back.
//!
//! Radford et al. 2019, `bytes_to_unicode` in their `encoder.py`: printable bytes stand for themselves, the others take
//! the characters from 256 on, in order.

/// The character that stands for a byte.
pub(crate) fn to_char(byte: u8) -> char {
    if is_printable(byte) {
        return char::from(byte);
    }
    let position = (0..byte).filter(|&other| !is_printable(other)).count() as u32;
    // 256 + 67 at most, all of them characters.
    char::from_u32(256 + position).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The characters of all bytes, in order of the bytes.
pub(crate) fn all() -> [char; 256] {
    std::array::from_fn(|byte| to_char(byte as u8))
}

/// The bytes that a token of byte-level text stands for; `None` if a character is not of the alphabet.
pub(crate) fn to_bytes(token: &str) -> Option<Vec<u8>> {
    token.chars().map(to_byte).collect()
}

fn to_byte(character: char) -> Option<u8> {
    let code = u32::from(character);
    if let Ok(byte) = u8::try_from(code) {
        return is_printable(byte).then_some(byte);
    }
    (0..=u8::MAX).filter(|&byte| !is_printable(byte)).nth(code as usize - 256)
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

#[test]
fn every_byte_comes_back() {
    for byte in 0..=u8::MAX {
        assert_eq!(to_bytes(&to_char(byte).to_string()), Some(vec![byte]));
    }
    assert_eq!(to_char(b' '), 'Ġ');
    assert_eq!(to_char(b'\n'), 'Ċ');
    assert_eq!(to_bytes(" "), None);
}
