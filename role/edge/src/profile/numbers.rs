//! Telephone numbers as a peer writes them, and as it wants them.

use super::{NumberForm, Profile};
use crate::identity::plain_number;

impl Profile {
    /// A number from this peer in global form, where the profile knows how to tell.
    pub(crate) fn to_global(&self, user: &str) -> Option<String> {
        let number = plain_number(user)?;
        if number.starts_with('+') {
            return Some(number);
        }
        let without = |prefix: &str| match prefix {
            "" => None,
            prefix => number.strip_prefix(prefix),
        };
        if let Some(rest) = without(&self.international_prefix) {
            return Some(format!("+{rest}"));
        }
        if let Some(rest) = without(&self.national_prefix).filter(|_| !self.country.is_empty()) {
            return Some(format!("+{}{rest}", self.country));
        }
        self.bare_is_global.then(|| format!("+{number}"))
    }

    /// A number in the form this peer wants; what is no number stays as it is.
    pub(crate) fn to_peer(&self, user: &str) -> String {
        let Some(number) = plain_number(user) else { return user.to_string() };
        match self.number {
            NumberForm::AsIs => user.to_string(),
            // An extension or service number is no global one, and gets no plus.
            NumberForm::Plus => number,
            NumberForm::Digits => number.trim_start_matches('+').to_string(),
        }
    }
}
