//! Header field names: registered ones by number, others by their bytes.

use std::fmt;

/// A header field name. The registered ones (IANA "SIP Parameters") compare by number, whatever
/// their case or compact form; others compare by their letters without regard to case.
#[derive(Clone, Copy)]
pub struct HeaderName<'a> {
    id: u8,
    text: &'a str,
}

macro_rules! names {
    ($($name:ident $text:literal $($compact:literal)?;)*) => {
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "named as the constants they number")]
        #[repr(u8)]
        enum Id { First = 0, $($name),* }

        impl HeaderName<'static> {
            $(#[doc = concat!("`", $text, "`", $(" (compact `", $compact, "`)",)? ".")]
            pub const $name: Self = Self { id: Id::$name as u8, text: $text };)*
        }

        const NAMES: &[&str] = &["", $($text),*];
        const _: Id = Id::First;
        const COMPACT: &[(u8, u8)] = &[$($(($compact.as_bytes()[0], Id::$name as u8),)?)*];
    };
}

names! {
    ACCEPT "Accept"; ACCEPT_CONTACT "Accept-Contact" "a"; ACCEPT_ENCODING "Accept-Encoding";
    ACCEPT_LANGUAGE "Accept-Language"; ACCEPT_RESOURCE_PRIORITY "Accept-Resource-Priority";
    ADDITIONAL_IDENTITY "Additional-Identity"; ALERT_INFO "Alert-Info"; ALLOW "Allow";
    ALLOW_EVENTS "Allow-Events" "u"; ANSWER_MODE "Answer-Mode";
    AUTHENTICATION_INFO "Authentication-Info"; AUTHORIZATION "Authorization"; CALL_ID "Call-ID" "i";
    CALL_INFO "Call-Info"; CELLULAR_NETWORK_INFO "Cellular-Network-Info"; CONTACT "Contact" "m";
    CONTENT_DISPOSITION "Content-Disposition"; CONTENT_ENCODING "Content-Encoding" "e";
    CONTENT_ID "Content-ID"; CONTENT_LANGUAGE "Content-Language";
    CONTENT_LENGTH "Content-Length" "l"; CONTENT_TYPE "Content-Type" "c"; CSEQ "CSeq";
    DATE "Date"; DIVERSION "Diversion"; DPOP "DPoP"; ENCRYPTION "Encryption"; ERROR_INFO "Error-Info";
    EVENT "Event" "o"; EXPIRES "Expires"; FEATURE_CAPS "Feature-Caps"; FLOW_TIMER "Flow-Timer";
    FROM "From" "f"; GEOLOCATION "Geolocation"; GEOLOCATION_ERROR "Geolocation-Error";
    GEOLOCATION_ROUTING "Geolocation-Routing"; HIDE "Hide"; HISTORY_INFO "History-Info";
    IDENTITY "Identity" "y"; IDENTITY_INFO "Identity-Info"; INFO_PACKAGE "Info-Package";
    IN_REPLY_TO "In-Reply-To"; JOIN "Join"; MAX_BREADTH "Max-Breadth"; MAX_FORWARDS "Max-Forwards";
    MIME_VERSION "MIME-Version"; MIN_EXPIRES "Min-Expires"; MIN_SE "Min-SE";
    ORGANIZATION "Organization"; ORIGINATION_ID "Origination-Id";
    P_ACCESS_NETWORK_INFO "P-Access-Network-Info"; P_ANSWER_STATE "P-Answer-State";
    P_ASSERTED_IDENTITY "P-Asserted-Identity"; P_ASSERTED_SERVICE "P-Asserted-Service";
    P_ASSOCIATED_URI "P-Associated-URI"; P_CALLED_PARTY_ID "P-Called-Party-ID";
    P_CHARGE_INFO "P-Charge-Info"; P_CHARGING_FUNCTION_ADDRESSES "P-Charging-Function-Addresses";
    P_CHARGING_VECTOR "P-Charging-Vector"; P_DCS_LAES "P-DCS-LAES"; P_EARLY_MEDIA "P-Early-Media";
    P_MEDIA_AUTHORIZATION "P-Media-Authorization"; P_PREFERRED_IDENTITY "P-Preferred-Identity";
    P_PREFERRED_SERVICE "P-Preferred-Service"; P_PROFILE_KEY "P-Profile-Key";
    P_SERVED_USER "P-Served-User"; P_USER_DATABASE "P-User-Database";
    P_VISITED_NETWORK_ID "P-Visited-Network-ID"; PATH "Path"; PERMISSION_MISSING "Permission-Missing";
    POLICY_CONTACT "Policy-Contact"; POLICY_ID "Policy-ID"; PRIORITY "Priority";
    PRIORITY_SHARE "Priority-Share"; PRIORITY_VERSTAT "Priority-Verstat";
    PRIV_ANSWER_MODE "Priv-Answer-Mode"; PRIVACY "Privacy"; PROXY_AUTHENTICATE "Proxy-Authenticate";
    PROXY_AUTHENTICATION_INFO "Proxy-Authentication-Info"; PROXY_AUTHORIZATION "Proxy-Authorization";
    PROXY_REQUIRE "Proxy-Require"; RACK "RAck"; REASON "Reason"; REASON_PHRASE "Reason-Phrase";
    RECORD_ROUTE "Record-Route"; RECV_INFO "Recv-Info"; REFER_EVENTS_AT "Refer-Events-At";
    REFER_SUB "Refer-Sub"; REFER_TO "Refer-To" "r"; REFERRED_BY "Referred-By" "b";
    REJECT_CONTACT "Reject-Contact" "j"; RELAYED_CHARGE "Relayed-Charge";
    REMOTE_PARTY_ID "Remote-Party-ID"; REPLACES "Replaces"; REPLY_TO "Reply-To";
    REQUEST_DISPOSITION "Request-Disposition" "d"; REQUIRE "Require";
    RESOURCE_PRIORITY "Resource-Priority"; RESOURCE_SHARE "Resource-Share";
    RESPONSE_KEY "Response-Key"; RESPONSE_SOURCE "Response-Source"; RESTORATION_INFO "Restoration-Info";
    RETRY_AFTER "Retry-After"; ROUTE "Route"; RSEQ "RSeq"; SECURITY_CLIENT "Security-Client";
    SECURITY_SERVER "Security-Server"; SECURITY_VERIFY "Security-Verify"; SERVER "Server";
    SERVICE_INTERACT_INFO "Service-Interact-Info"; SERVICE_ROUTE "Service-Route";
    SESSION_EXPIRES "Session-Expires" "x"; SESSION_ID "Session-ID"; SIP_ETAG "SIP-ETag";
    SIP_IF_MATCH "SIP-If-Match"; STIR "STIR"; SUBJECT "Subject" "s";
    SUBSCRIPTION_STATE "Subscription-State"; SUPPORTED "Supported" "k";
    SUPPRESS_IF_MATCH "Suppress-If-Match"; TARGET_DIALOG "Target-Dialog"; TIMESTAMP "Timestamp";
    TO "To" "t"; TRIGGER_CONSENT "Trigger-Consent"; UNSUPPORTED "Unsupported";
    USER_AGENT "User-Agent"; USER_TO_USER "User-to-User"; VIA "Via" "v"; WARNING "Warning";
    WWW_AUTHENTICATE "WWW-Authenticate";
}

const SLOTS: usize = 1024;

/// Open-addressed table of the registered names, made by the compiler.
static TABLE: [u8; SLOTS] = {
    let mut table = [0; SLOTS];
    let mut id = 1;
    while id < NAMES.len() {
        let mut at = slot_of(ENDS[id]);
        while table[at] != 0 {
            at = (at + 1) % SLOTS;
        }
        table[at] = id as u8;
        id += 1;
    }
    table
};

/// The [`ends`] of each registered name.
static ENDS: [(u64, u64); NAMES.len()] = {
    let mut table = [(0, 0); NAMES.len()];
    let mut id = 1;
    while id < NAMES.len() {
        table[id] = ends(NAMES[id].as_bytes());
        id += 1;
    }
    table
};

static COMPACT_TABLE: [u8; 32] = {
    let mut table = [0; 32];
    let mut i = 0;
    while i < COMPACT.len() {
        table[(COMPACT[i].0 & 31) as usize] = COMPACT[i].1;
        i += 1;
    }
    table
};

impl<'a> HeaderName<'a> {
    /// A name as it stands on the wire, compact forms included. `None` when it is not a token.
    pub fn new(name: &'a [u8]) -> Option<Self> {
        let id = id_of(name);
        if id != 0 {
            return Some(Self { id, text: NAMES[usize::from(id)] });
        }
        if !crate::text::is_token(name) {
            return None;
        }
        std::str::from_utf8(name).ok().map(|text| Self { id, text })
    }

    /// The canonical spelling of a registered name, else the name as given.
    pub fn as_str(self) -> &'a str {
        self.text
    }

    /// The compact form, where there is one (RFC 3261 §7.3.3).
    pub fn compact(self) -> Option<char> {
        COMPACT.iter().find(|(_, id)| *id == self.id).map(|(letter, _)| char::from(*letter))
    }

    /// Its number; zero for a name that is not registered.
    pub const fn id(self) -> u8 {
        self.id
    }

    /// The registered name of number `id`.
    pub(crate) fn from_id(id: u8) -> Option<HeaderName<'static>> {
        match NAMES.get(usize::from(id)) {
            Some(text) if id != 0 => Some(HeaderName { id, text }),
            _ => None,
        }
    }
}

impl<'a> From<&'a str> for HeaderName<'a> {
    /// For names written in our own code. A string that is no token becomes `X-Invalid`, so that
    /// no caller can break the message it builds.
    fn from(name: &'a str) -> Self {
        Self::new(name.as_bytes()).unwrap_or(HeaderName { id: 0, text: "X-Invalid" })
    }
}

impl PartialEq for HeaderName<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && (self.id != 0 || self.text.eq_ignore_ascii_case(other.text))
    }
}

impl Eq for HeaderName<'_> {}

impl fmt::Display for HeaderName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl fmt::Debug for HeaderName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// The number of a registered name or compact form; zero for any other.
#[inline]
pub(crate) fn id_of(name: &[u8]) -> u8 {
    match name {
        [] => 0,
        [letter] if letter.is_ascii_alphabetic() => COMPACT_TABLE[usize::from(letter & 31)],
        [_] => 0,
        _ => long_id_of(name),
    }
}

#[inline]
fn long_id_of(name: &[u8]) -> u8 {
    let ends = ends(name);
    let mut at = slot_of(ends);
    loop {
        let id = TABLE[at];
        let known = NAMES[usize::from(id)];
        // The ends say all there is to say about names of up to sixteen letters.
        if id == 0
            || (ENDS[usize::from(id)] == ends
                && known.len() == name.len()
                && (name.len() <= 16 || known.as_bytes().eq_ignore_ascii_case(name)))
        {
            return id;
        }
        at = (at + 1) % SLOTS;
    }
}

/// The first and the last eight bytes of a name in lower case; of a shorter one, all it has.
///
/// Case is folded by one bit, which also makes CR of a hyphen's twin: no name that was cut out of a
/// message holds one, and in one of our own it does no harm.
#[inline]
const fn ends(name: &[u8]) -> (u64, u64) {
    const LOWER: u64 = 0x2020_2020_2020_2020;
    let (first, last) = match name.len() {
        8.. => (first_eight(name, 0), first_eight(name, name.len() - 8)),
        4..8 => (first_four(name, 0), first_four(name, name.len() - 4)),
        _ => (name[0] as u64 | (name[name.len() / 2] as u64) << 8, name[name.len() - 1] as u64),
    };
    (first | LOWER, last | LOWER)
}

#[inline]
const fn first_eight(name: &[u8], at: usize) -> u64 {
    match name.split_at(at).1.first_chunk::<8>() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => 0,
    }
}

#[inline]
const fn first_four(name: &[u8], at: usize) -> u64 {
    match name.split_at(at).1.first_chunk::<4>() {
        Some(four) => u32::from_le_bytes(*four) as u64,
        None => 0,
    }
}

/// Where the search for a name begins.
#[inline]
const fn slot_of((first, last): (u64, u64)) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    ((first ^ last.rotate_left(29)).wrapping_mul(ODD) >> 54) as usize
}

/// Length of a registered name; zero for others.
#[inline]
pub(crate) fn len_of(id: u8) -> usize {
    usize::from(LENGTHS[usize::from(id)])
}

static LENGTHS: [u8; 256] = {
    let mut table = [0; 256];
    let mut id = 1;
    while id < NAMES.len() {
        table[id] = NAMES[id].len() as u8;
        id += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_registered_name_is_found_in_any_case() {
        for (id, name) in NAMES.iter().enumerate().skip(1) {
            assert_eq!(usize::from(id_of(name.as_bytes())), id, "{name}");
            assert_eq!(usize::from(id_of(name.to_uppercase().as_bytes())), id, "{name}");
        }
    }

    #[test]
    fn probing_stays_short() {
        for name in &NAMES[1..] {
            let at = slot_of(ends(name.as_bytes()));
            let steps = (0..).find(|i| NAMES[usize::from(TABLE[(at + i) % SLOTS])] == *name);
            assert!(steps.is_some_and(|n| n < 6), "{name}: {steps:?}");
        }
    }

    #[test]
    fn compact_forms_mean_the_long_names() {
        for (short, long) in [("v", "Via"), ("I", "call-id"), ("l", "Content-Length")] {
            assert_eq!(HeaderName::from(short), HeaderName::from(long));
        }
        assert_eq!(HeaderName::from("z").id(), 0);
        assert_eq!(HeaderName::VIA.compact(), Some('v'));
    }

    #[test]
    fn unknown_names_compare_without_case_and_bad_ones_are_refused() {
        assert_eq!(HeaderName::from("X-foo"), HeaderName::from("x-FOO"));
        assert!(HeaderName::new(b"a b").is_none());
        assert_eq!(HeaderName::from("a\r\nb").as_str(), "X-Invalid");
    }
}
