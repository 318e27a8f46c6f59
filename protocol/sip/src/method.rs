//! Request methods.

use std::fmt;

/// A request method: a token, compared with regard to case (RFC 3261 §7.1). Unknown ones pass.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Method<'a>(&'a str);

macro_rules! methods {
    ($($name:ident $text:literal $rfc:literal;)*) => {
        impl Method<'static> {
            $(#[doc = concat!($text, " (", $rfc, ").")]
            pub const $name: Self = Self($text);)*

            /// Every method this crate knows by name.
            pub const KNOWN: &'static [Self] = &[$(Self::$name),*];

            /// The method of that name, when it is one of [`Method::KNOWN`].
            #[inline]
            fn known(token: &[u8]) -> Option<Self> {
                $(if token == const { $text.as_bytes() } {
                    return Some(Self::$name);
                })*
                None
            }
        }
    };
}

methods! {
    INVITE "INVITE" "RFC 3261"; ACK "ACK" "RFC 3261"; BYE "BYE" "RFC 3261";
    CANCEL "CANCEL" "RFC 3261"; OPTIONS "OPTIONS" "RFC 3261"; REGISTER "REGISTER" "RFC 3261";
    PRACK "PRACK" "RFC 3262"; SUBSCRIBE "SUBSCRIBE" "RFC 6665"; NOTIFY "NOTIFY" "RFC 6665";
    UPDATE "UPDATE" "RFC 3311"; MESSAGE "MESSAGE" "RFC 3428"; REFER "REFER" "RFC 3515";
    INFO "INFO" "RFC 6086"; PUBLISH "PUBLISH" "RFC 3903";
}

impl<'a> Method<'a> {
    /// A method from its token; `None` when it is not a token, or longer than 64 kB.
    pub fn new(token: &'a [u8]) -> Option<Self> {
        if let Some(known) = Method::known(token) {
            return Some(known);
        }
        // The index holds the length of a method in 16 bits.
        if !crate::text::is_token(token) || token.len() > usize::from(u16::MAX) {
            return None;
        }
        std::str::from_utf8(token).ok().map(Self)
    }

    /// As it stands on the wire.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// As it stands on the wire.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0.as_bytes()
    }

    /// Whether a request of this method in a new place makes a dialog (RFC 3261 §12, RFC 6665, RFC 3515).
    pub fn is_dialog_forming(self) -> bool {
        matches!(self.0, "INVITE" | "SUBSCRIBE" | "REFER")
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl PartialEq<str> for Method<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Method<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}
