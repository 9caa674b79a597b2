//! Stop strings in streamed text: pieces in, the text before the first stop string out.

/// Withholds text that might be the beginning of a stop string, and ends at the first whole one.
///
/// The first is the one that is complete first; of several that end at the same character, the
/// longest. How the text is cut into pieces makes no difference.
///
/// ```
/// use idiolect_prompting::StopScanner;
/// let mut scanner = StopScanner::new(&["\nQ:".to_owned()]);
/// assert_eq!(scanner.push("yes\n"), "yes");
/// assert_eq!(scanner.push("Q: next"), "");
/// assert!(scanner.stopped());
/// ```
#[derive(Debug, Clone)]
pub struct StopScanner {
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

impl StopScanner {
    /// Watches for any of `stops`; empty ones are passed over.
    pub fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { stops, held: String::new(), stopped: false }
    }

    /// Takes a piece of text, and returns what may be shown by now.
    pub fn push(&mut self, piece: &str) -> String {
        let mut shown = String::new();
        for character in piece.chars() {
            if self.stopped {
                break;
            }
            self.held.push(character);
            match self.complete() {
                Some(length) => {
                    self.held.truncate(self.held.len() - length);
                    shown.push_str(&std::mem::take(&mut self.held));
                    self.stopped = true;
                }
                None => {
                    let safe = self.held.len() - self.begun();
                    shown.extend(self.held.drain(..safe));
                }
            }
        }
        shown
    }

    /// The text is over: returns what was withheld.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Whether a stop string has come.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// The length of the longest stop string that the held text ends with.
    fn complete(&self) -> Option<usize> {
        let ends = self.stops.iter().filter(|stop| self.held.ends_with(stop.as_str()));
        ends.map(String::len).max()
    }

    /// The length of the longest end of the held text that begins a stop string.
    fn begun(&self) -> usize {
        self.held
            .char_indices()
            .map(|(start, _)| &self.held[start..])
            .find(|end| self.stops.iter().any(|stop| stop.starts_with(end)))
            .map_or(0, str::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is shown of `pieces`, and whether a stop string came.
    fn shown(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(|&stop| stop.to_owned()).collect();
        let mut scanner = StopScanner::new(&stops);
        let mut text: String = pieces.iter().map(|piece| scanner.push(piece)).collect();
        text.push_str(&scanner.finish());
        (text, scanner.stopped())
    }

    #[test]
    fn text_ends_before_the_first_stop_string() {
        let check = |stops: &[&str], pieces: &[&str], expected: &str, stopped: bool| {
            assert_eq!(
                shown(stops, pieces),
                (expected.to_owned(), stopped),
                "{stops:?} {pieces:?}"
            );
        };
        check(&[], &["all of it"], "all of it", false);
        check(&["##"], &["a#b", "#", "#c"], "a#b", true);
        check(&["##"], &["a#"], "a#", false);
        check(&["abc", "b"], &["abc"], "a", true);
        check(&["bc", "abc"], &["xabc"], "x", true);
        check(&["aab"], &["aaab"], "a", true);
        check(&["é!"], &["caf", "é", "!"], "caf", true);
        check(&["stop"], &["stop", "more"], "", true);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn pieces_make_no_difference(text in "[abé]{0,24}", stop in "[abé]{1,3}", other in "[abé]{1,3}", cut in 0usize..24) {
            let stops = [stop.as_str(), other.as_str()];
            let cut = text.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(text.len());
            let singles: Vec<String> = text.chars().map(String::from).collect();
            let singles: Vec<&str> = singles.iter().map(String::as_str).collect();
            let whole = shown(&stops, &[&text]);
            prop_assert_eq!(&whole, &shown(&stops, &[&text[..cut], &text[cut..]]));
            prop_assert_eq!(&whole, &shown(&stops, &singles));
            prop_assert!(text.starts_with(&whole.0));
            prop_assert!(!whole.0.contains(&stop) && !whole.0.contains(&other));
            prop_assert_eq!(whole.1, text.contains(&stop) || text.contains(&other));
        }
    }
}
