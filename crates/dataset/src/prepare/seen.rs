//! Which texts have been met: a hash goes in, whether it is new comes out.

use std::collections::HashSet;

const PARTS: usize = 64;

/// The part of a text's hash that is kept. Among 10^9 different texts, two share it with a chance of 10^-11.
pub(crate) type Key = [u8; 12];

/// A set of hashes that takes at most 32 bytes each.
///
/// A table of the standard library takes 13 bytes a slot (key and control byte) and is between 7/16 and 7/8 full: 15 to 30
/// bytes a key. It is in parts because a table that grows holds its old and its new slots for a moment.
pub(crate) struct Seen {
    parts: Vec<HashSet<Key>>,
}

impl Seen {
    pub(crate) fn new() -> Seen {
        Seen { parts: vec![HashSet::new(); PARTS] }
    }

    /// Whether this key was not there before.
    pub(crate) fn insert(&mut self, key: Key) -> bool {
        self.parts[usize::from(key[0]) % PARTS].insert(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_at_most_32_bytes_a_key() {
        let mut seen = Seen::new();
        for count in 1..=100_000u64 {
            let hash = blake3::hash(&count.to_le_bytes());
            let key = *hash.as_bytes().first_chunk().unwrap();
            assert!(seen.insert(key));
            assert!(!seen.insert(key));
            if count >= 10_000 && count.is_power_of_two() {
                // `capacity` is 7/8 of the slots.
                let slots: usize = seen.parts.iter().map(|part| part.capacity() * 8 / 7).sum();
                assert!(slots as u64 * 13 <= count * 32, "{count}: {slots}");
            }
        }
    }
}
