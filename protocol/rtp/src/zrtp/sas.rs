//! The short string that two people compare (RFC 6189 §5.1.6, §7).

mod words;

use std::fmt;

/// z-base-32: what can be taken for another letter or digit is left out.
const LETTERS: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// The short authentication string, as 32 bits. Both ends have the same only if nobody sits between:
/// who does has one chance in a million (letters) or in 65,536 (words), and is heard when he loses.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sas(pub u32);

impl Sas {
    /// The first 20 bits as four letters (B32).
    pub fn letters(self) -> String {
        let letter = |shift: u32| char::from(LETTERS[(self.0 >> shift & 31) as usize]);
        [27, 22, 17, 12].map(letter).iter().collect()
    }

    /// The first 16 bits as two words (B256).
    pub fn words(self) -> [&'static str; 2] {
        let word = |list: &'static str, shift: u32| {
            list.split_ascii_whitespace().nth((self.0 >> shift & 255) as usize).unwrap_or_default()
        };
        [word(words::EVEN, 24), word(words::ODD, 16)]
    }
}

impl fmt::Display for Sas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.words();
        write!(f, "{} ({first} {second})", self.letters())
    }
}

impl fmt::Debug for Sas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r5_4_a_string_has_letters_and_words() {
        assert_eq!(Sas(0).letters(), "yyyy");
        assert_eq!(Sas(0xffff_ffff).letters(), "9999");
        // 00001 00010 00011 00100, and twelve bits that are not shown.
        assert_eq!(Sas(0x0886_4abc).letters(), "bndr");
        assert_eq!(Sas(0).words(), ["aardvark", "adroitness"]);
        assert_eq!(Sas(0xffff_0000).words(), ["Zulu", "Yucatan"]);
        assert_eq!(Sas(0xe582_0000).words(), ["topmost", "Istanbul"]);
        assert_eq!(Sas(0xe582_0000).to_string(), "hsby (topmost Istanbul)");
    }

    #[test]
    fn every_byte_has_a_word_of_its_own_in_both_lists() {
        for list in [words::EVEN, words::ODD] {
            let mut words: Vec<&str> = list.split_ascii_whitespace().collect();
            assert_eq!(words.len(), 256);
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), 256);
        }
    }
}
