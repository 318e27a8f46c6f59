//! Is it who it says it is? Everything a request says of its sender must belong to the user who
//! proved itself, or to a number granted to it (RFC 3261 §22, RFC 3325 §5, RFC 8224 §6.1).
//!
//! ```text
//!   From · P-Asserted-Identity · P-Preferred-Identity · Remote-Party-ID · Diversion ── URI and
//!   Contact ── URI                                                   display name ──┐
//!                    own address · granted number · anonymous ◄── is it theirs? ◄───┘
//! ```
//!
//! The common case, a From that spells the address of record and a Contact with the same user,
//! costs comparisons of bytes.

use crate::core::EdgeCore;
use crate::ports::EdgeEvent;
use sansio::Redacted;
use sip::transaction::Arrival;
use sip::{Aor, HeaderName, Message, NameAddr, SipUri, Uri, split_list};

/// Longest part of a claim that is told in an event.
const CLAIM_MAX: usize = 128;

/// Digits in a row, separators left out, that make a display name look like a telephone number.
const NUMBER_DIGITS: usize = 7;

/// The host of a From that names nobody (RFC 3323 §4.1.1.3).
const NOBODY: &str = "anonymous.invalid";

/// Headers that name the sender, beside From and Contact.
const IDENTITIES: [(HeaderName<'static>, &str); 4] = [
    (HeaderName::P_ASSERTED_IDENTITY, "P-Asserted-Identity"),
    (HeaderName::P_PREFERRED_IDENTITY, "P-Preferred-Identity"),
    (HeaderName::REMOTE_PARTY_ID, "Remote-Party-ID"),
    (HeaderName::DIVERSION, "Diversion"),
];

/// What a request says of its sender, found true.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    /// The granted number it wants to be known by (RFC 3325 §6); otherwise its address of record.
    pub number: Option<String>,
    /// `Privacy: id`: no proven identity may leave the trusted (RFC 3325 §7).
    pub private: bool,
    /// `Privacy: header` or `user`: nothing that leads to the sender may leave (RFC 3323 §5).
    pub hidden: bool,
}

/// A claim that is not true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spoof {
    /// The header that makes it.
    pub header: &'static str,
    /// What it says.
    pub claimed: Vec<u8>,
    /// It cannot even be read.
    pub unreadable: bool,
}

/// Whose a URI is.
enum Owner {
    /// The user's address of record.
    Self_,
    /// A number granted to the user.
    Number(String),
    /// Somebody else's, or nobody's.
    Other,
}

impl EdgeCore {
    /// Who a request claims to be from, as far as that names a user to authenticate. A number and
    /// an anonymous From name nobody: the credentials will say who it is.
    pub(crate) fn claimed(&self, request: &Message) -> Option<Aor> {
        let from = request.from_().ok()?;
        match Uri::parse(from.uri()).ok()? {
            Uri::Sip(uri) if uri.host().eq_ignore_ascii_case(NOBODY) => {
                Some(Aor::new("anonymous", &self.realm_asked(request)?))
            }
            Uri::Sip(uri) => Some(match self.directory.realm(uri.host()) {
                Some(realm) => Aor::from_uri(&uri).at_host(&realm),
                None => Aor::from_uri(&uri),
            }),
            Uri::Other(uri) => {
                let number = tel_number(uri)?;
                Some(Aor::new(number.0, &self.realm_asked(request)?))
            }
            _ => None,
        }
    }

    /// The realm of a sender that does not name one: where it wants to be known, or calls.
    fn realm_asked(&self, request: &Message) -> Option<std::sync::Arc<str>> {
        let preferred = request.header(HeaderName::P_PREFERRED_IDENTITY);
        let preferred = preferred.and_then(|v| NameAddr::parse(split_list(v).next()?).ok());
        let realm = |uri: SipUri<'_>| self.directory.realm(uri.host());
        let named = preferred.and_then(|p| p.sip_uri().ok()).and_then(realm);
        named.or_else(|| SipUri::parse(request.request_uri()).ok().and_then(realm))
    }

    /// Checks all a request says of its sender, who proved to be `who`.
    pub(crate) fn check_identity(&self, request: &Message, who: &Aor) -> Result<Claims, Spoof> {
        let mut claims = Claims::default();
        let from = request.from_().map_err(|_| spoof("From", b"", true))?;
        match self.owner(from.uri(), who) {
            Owner::Self_ => {}
            Owner::Number(number) => claims.number = Some(number),
            Owner::Other if self.is_anonymous(&from, who) => {}
            Owner::Other => return Err(spoof("From", from.raw(), false)),
        }
        self.check_display("From", &from, who)?;
        for (name, value) in request.header_lines() {
            if name == HeaderName::CONTACT {
                self.check_contacts(value, who)?;
            } else if name == HeaderName::PRIVACY {
                claims.read_privacy(value);
            }
            let Some((_, header)) = IDENTITIES.iter().find(|(id, _)| *id == name) else { continue };
            for item in split_list(value) {
                let number = self.check_named(header, item, who)?;
                if name == HeaderName::P_PREFERRED_IDENTITY && number.is_some() {
                    claims.number = number;
                }
            }
        }
        Ok(claims)
    }

    /// A request in a dialog goes on under the name its side has had (RFC 4916 lets it change,
    /// never to somebody else's). `known` is the From or To value of that side without tag.
    pub(crate) fn keeps_its_name(&self, request: &Message, known: &str) -> bool {
        let Ok(from) = request.from_() else { return false };
        let Ok(known) = NameAddr::parse(known.as_bytes()) else { return true };
        if known.uri() == from.uri() && known.display_name() == from.display_name() {
            return true;
        }
        match (known.sip_uri(), from.sip_uri()) {
            (Ok(known), Ok(now)) => {
                let (known, now) = (Aor::from_uri(&known), Aor::from_uri(&now));
                let same_display =
                    from.display_name().is_none_or(|d| display_fits(&d, &known, &[]));
                known == now && same_display
            }
            _ => known.uri() == from.uri(),
        }
    }

    /// Tells of a false claim.
    pub(crate) fn tell_spoof(
        &mut self,
        arrival: &Arrival,
        request: &Message,
        who: &str,
        it: &Spoof,
    ) {
        self.counters.identities_refused += 1;
        let method = request.method().map_or(String::new(), |m| m.as_str().to_string());
        self.emit(EdgeEvent::IdentityRefused {
            source: arrival.peer,
            user: Redacted::new(who.strip_prefix("sip:").unwrap_or(who).to_string()),
            method,
            header: it.header,
            claimed: Redacted::new(crate::sanitize::shown(&it.claimed, CLAIM_MAX)),
        });
    }

    fn check_named(
        &self,
        header: &'static str,
        item: &[u8],
        who: &Aor,
    ) -> Result<Option<String>, Spoof> {
        let named = NameAddr::parse(item).map_err(|_| spoof(header, item, true))?;
        self.check_display(header, &named, who)?;
        match self.owner(named.uri(), who) {
            Owner::Self_ => Ok(None),
            Owner::Number(number) => Ok(Some(number)),
            Owner::Other => Err(spoof(header, item, false)),
        }
    }

    fn check_display(
        &self,
        header: &'static str,
        named: &NameAddr<'_>,
        who: &Aor,
    ) -> Result<(), Spoof> {
        if !self.config.check_display_names {
            return Ok(());
        }
        let Some(display) = named.display_name() else { return Ok(()) };
        let numbers = self.own_numbers(&display, who);
        match display_fits(&display, who, &numbers) {
            true => Ok(()),
            false => Err(spoof(header, named.raw(), false)),
        }
    }

    /// The numbers in a display name that are granted to `who`.
    fn own_numbers(&self, display: &[u8], who: &Aor) -> Vec<String> {
        let text = String::from_utf8_lossy(display);
        let found = numbers_in(&text).into_iter();
        found.filter(|n| self.is_granted(n, who)).collect()
    }

    /// Contacts lead back to the sender: they do not name another user of ours, nor a number that
    /// is not theirs. Names that mean nothing here are a phone's own business.
    fn check_contacts(&self, value: &[u8], who: &Aor) -> Result<(), Spoof> {
        for item in split_list(value) {
            let Ok(contact) = NameAddr::parse(item) else { continue };
            let Ok(uri) = contact.sip_uri() else { continue };
            let Some(user) = uri.user() else { continue };
            if user == who.user().as_bytes() {
                continue;
            }
            let named = Aor::from_uri(&uri);
            let ours = uri.ip().is_none() && self.directory.is_local(uri.host());
            let global = named.user().starts_with('+');
            let known = ours
                || global
                || self.directory.has_user(who.host(), named.user())
                || plain_number(named.user())
                    .is_some_and(|n| self.directory.number_owner(&n).is_some());
            if known && named.user() != who.user() && !self.owns_number(named.user(), who) {
                return Err(spoof("Contact", item, false));
            }
        }
        Ok(())
    }

    fn owner(&self, uri: &[u8], who: &Aor) -> Owner {
        match Uri::parse(uri) {
            Ok(Uri::Sip(uri)) => self.owner_of_sip(&uri, who),
            Ok(Uri::Other(uri)) => match tel_number(uri) {
                Some((number, context)) => {
                    let at_home = context.is_none_or(|c| c.eq_ignore_ascii_case(who.host()));
                    let fits = context.is_none() == number.starts_with('+');
                    match plain_number(number)
                        .filter(|n| at_home && fits && self.is_granted(n, who))
                    {
                        Some(number) => Owner::Number(number),
                        None => Owner::Other,
                    }
                }
                None => Owner::Other,
            },
            _ => Owner::Other,
        }
    }

    fn owner_of_sip(&self, uri: &SipUri<'_>, who: &Aor) -> Owner {
        let spelt = uri.user() == Some(who.user().as_bytes());
        if spelt && uri.host().eq_ignore_ascii_case(who.host()) {
            return Owner::Self_;
        }
        // Another name of the realm (an address of ours), an escaped spelling, or a number.
        if self.directory.realm(uri.host()).as_deref() != Some(who.host()) {
            return Owner::Other;
        }
        let named = Aor::from_uri(uri);
        if named.user() == who.user() {
            return Owner::Self_;
        }
        match plain_number(named.user()).filter(|n| self.is_granted(n, who)) {
            Some(number) => Owner::Number(number),
            None => Owner::Other,
        }
    }

    fn owns_number(&self, user: &str, who: &Aor) -> bool {
        plain_number(user).is_some_and(|n| self.is_granted(&n, who))
    }

    fn is_granted(&self, number: &str, who: &Aor) -> bool {
        let owner = self.directory.number_owner(number);
        owner.is_some_and(|(user, realm)| user == who.user() && realm == who.host())
    }

    /// A From that names nobody: RFC 3323's, or `anonymous` at home where no user is called so.
    fn is_anonymous(&self, from: &NameAddr<'_>, who: &Aor) -> bool {
        let Ok(uri) = from.sip_uri() else { return false };
        if uri.host().eq_ignore_ascii_case(NOBODY) {
            return true;
        }
        let at_home = self.directory.realm(uri.host()).as_deref() == Some(who.host());
        let nobody = uri.user() == Some(b"anonymous".as_slice());
        nobody && at_home && !self.directory.has_user(who.host(), "anonymous")
    }
}

impl Claims {
    pub(crate) fn read_privacy(&mut self, value: &[u8]) {
        for token in value.split(|b| matches!(b, b';' | b',')).map(<[u8]>::trim_ascii) {
            self.private |= token.eq_ignore_ascii_case(b"id");
            let hides =
                token.eq_ignore_ascii_case(b"header") || token.eq_ignore_ascii_case(b"user");
            self.hidden |= hides;
        }
    }
}

fn spoof(header: &'static str, claimed: &[u8], unreadable: bool) -> Spoof {
    Spoof { header, claimed: claimed.to_vec(), unreadable }
}

/// Number and phone-context of a `tel:` URI. Any other parameter (`rn`, `isub` ..) makes it another
/// identity than the number alone, so there is none.
fn tel_number(uri: &[u8]) -> Option<(&str, Option<&str>)> {
    let text = std::str::from_utf8(uri).ok()?;
    let (scheme, rest) = text.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("tel") {
        return None;
    }
    let mut parts = rest.split(';');
    let number = parts.next().filter(|n| plain_number(n).is_some())?;
    let mut context = None;
    for part in parts {
        let (name, value) = part.split_once('=')?;
        if !name.eq_ignore_ascii_case("phone-context") || value.contains('@') {
            return None;
        }
        context = Some(value);
    }
    Some((number, context))
}

/// A number without visual separators; `None` when there is anything else in it.
pub(crate) fn plain_number(text: &str) -> Option<String> {
    let first = text.as_bytes().first()?;
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'(')) {
        return None;
    }
    let plain: String = text.chars().filter(|c| !"-.()".contains(*c)).collect();
    let digits = plain.strip_prefix('+').unwrap_or(&plain);
    let fits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    fits.then_some(plain)
}

/// Whether a display name claims nothing that is not the sender's: no address but its own, no
/// telephone number but those granted. Digits of any script count; what only looks like a number
/// to a machine (`Room 101`) passes.
fn display_fits(display: &[u8], who: &Aor, own_numbers: &[String]) -> bool {
    let suspicious = |b: &u8| b.is_ascii_digit() || matches!(*b, b'@' | b':') || *b >= 0x80;
    if !display.iter().any(suspicious) {
        return true;
    }
    let text = String::from_utf8_lossy(display);
    let text = text.trim();
    let is_address = text.contains(['@', '\u{ff20}', '\u{fe6b}'])
        || ["sip:", "sips:", "tel:"].iter().any(|s| starts_with_ignoring_case(text, s));
    if is_address {
        let named: Option<Aor> = text.parse().ok();
        return named.is_some_and(|named| named == *who);
    }
    numbers_in(text).iter().all(|n| n == who.user() || own_numbers.contains(n))
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// What reads as a telephone number in a display name: a run of many digits, or a name of nothing
/// but digits. Foreign digits are kept, so that they never equal an own number.
fn numbers_in(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut run = String::new();
    let is_separator = |c: char| " -.()/\u{a0}\u{2010}\u{2011}\u{2013}".contains(c);
    let whole = text.chars().all(|c| c.is_numeric() || c == '+' || is_separator(c));
    let most = if whole { 3 } else { NUMBER_DIGITS };
    for c in text.chars().chain(['\n']) {
        match c {
            c if c.is_numeric() => run.push(c),
            '+' | '\u{ff0b}' if run.is_empty() => run.push('+'),
            c if is_separator(c) => {}
            _ => {
                if run.chars().filter(|c| c.is_numeric()).count() >= most {
                    found.push(std::mem::take(&mut run));
                }
                run.clear();
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(display: &str) -> bool {
        display_fits(display.as_bytes(), &Aor::new("alice", "example.com"), &["+4930123456".into()])
    }

    #[test]
    fn r2_5_display_names_that_claim_an_address_or_a_number() {
        for honest in [
            "Alice",
            "Alice Müller",
            "Room 101",
            "Agent 007, Desk 12",
            "alice@example.com",
            "sip:alice@EXAMPLE.com",
            "+49 30 123-456",
            "Alice (+49 30 123456)",
            "Отдел 5",
        ] {
            assert!(fits(honest), "{honest}");
        }
        for spoofed in [
            "+49 30 999-456",
            "49301234567",
            "110",
            "Bank +4930999456 calls",
            "bob@example.com",
            "Alice <sip:bob@example.com>",
            "sip:bob@example.com",
            "tel:+4930999456",
            "bob\u{ff20}example.com",
            "\u{ff0b}\u{ff14}\u{ff19}\u{ff13}\u{ff10}\u{ff19}\u{ff19}\u{ff19}",
            "+\u{664}\u{669}\u{663}\u{660}\u{669}\u{669}\u{669}\u{669}",
            "4 9 3 0 9 9 9 4 5 6",
        ] {
            assert!(!fits(spoofed), "{spoofed}");
        }
    }

    #[test]
    fn r2_5_tel_uris_with_anything_but_a_context_name_no_number() {
        assert_eq!(tel_number(b"tel:+49-30-1"), Some(("+49-30-1", None)));
        assert_eq!(tel_number(b"TEL:7001;phone-context=a.b"), Some(("7001", Some("a.b"))));
        for bad in ["tel:+1;rn=+2", "tel:+1;isub=3", "tel:+1;x", "sip:+1", "tel:", "tel:alice"] {
            assert_eq!(tel_number(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn privacy_tokens_are_read_in_any_case() {
        let mut claims = Claims::default();
        claims.read_privacy(b"ID; critical");
        assert!(claims.private && !claims.hidden);
        claims.read_privacy(b"header,none");
        assert!(claims.hidden);
    }
}
