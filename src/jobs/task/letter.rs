//! Counting letters.

use std::collections::HashMap;

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};

use crate::error::Error;

/// A letter, case folded, and how often it occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letter {
    pub letter: char,
    pub count: u64,
}

/// The letter that occurs most often; of several, the one that comes first.
/// Letters are what Unicode calls so (general category L), counted after its
/// full case folding: `ß` is two `s`, as in Python's `casefold`.
///
/// # Errors
/// `InvalidArgument` for a text without letters.
pub fn most_frequent_letter(text: &str) -> Result<Letter, Error> {
    let mut seen: HashMap<char, (u64, usize)> = HashMap::new();
    let folded = caseless::default_case_fold_str(text);
    let letters = folded
        .chars()
        .filter(|c| c.general_category_group() == GeneralCategoryGroup::Letter);
    for (place, letter) in letters.enumerate() {
        seen.entry(letter).or_insert((0, place)).0 += 1;
    }
    let best = seen
        .into_iter()
        .max_by_key(|(_, (count, place))| (*count, std::cmp::Reverse(*place)));
    match best {
        Some((letter, (count, _))) => Ok(Letter { letter, count }),
        None => Err(Error::invalid("text: there are no letters in it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_folded_letters_and_takes_the_first_of_several() {
        for (text, letter, count) in [
            ("abracadabra", 'a', 5),
            ("Hello, World", 'l', 3),
            ("bBaA", 'b', 2),
            ("Straße", 's', 3),
            ("Привет, мир! ПРИ", 'р', 3),
            ("ΣΑΣ ςα", 'σ', 3),
            ("11111 x", 'x', 1),
            ("\u{2167}\u{2167}\u{24d0}\u{24d0} z", 'z', 1),
            ("世界世", '世', 2),
        ] {
            assert_eq!(
                most_frequent_letter(text),
                Ok(Letter { letter, count }),
                "{text}"
            );
        }
    }

    #[test]
    fn needs_a_letter() {
        for text in ["", "123 !", "\u{301}", "🦀"] {
            assert!(most_frequent_letter(text).is_err(), "{text}");
        }
    }
}
