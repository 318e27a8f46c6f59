//! A profile at work on one request.

use super::{HeaderRules, HostForm, IdentityHeader, PrivacyForm, Profile, SessionTimer, UriForm};
use crate::identity::plain_number;
use sip::{Edit, HeaderName, Message, NameAddr, SipUri};

/// Where From leads when nobody is to know (RFC 3323 §4.1.1.3).
const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// What a profile needs to know of a request on its way to a peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speech<'a> {
    pub profile: &'a Profile,
    /// The host in URIs sent to the peer.
    pub peer_host: &'a str,
    /// Our address as the peer sees it.
    pub own_host: &'a str,
    /// Who calls, proven: `sip:user@domain`.
    pub caller: &'a str,
    /// The granted number it is known by.
    pub number: Option<&'a str>,
    /// It asked for privacy.
    pub private: bool,
    /// The peer keeps it to itself.
    pub trusted: bool,
}

impl Speech<'_> {
    /// The Request-URI for a user or number at the peer.
    pub(crate) fn target(&self, user: &str, host: &str) -> String {
        let is_number = plain_number(user).is_some();
        let user = self.profile.to_peer(user);
        match self.profile.uri {
            UriForm::UserPhone | UriForm::Tel if is_number => {
                format!("sip:{user}@{host};user=phone")
            }
            _ => format!("sip:{user}@{host}"),
        }
    }

    /// An initial request as the peer wants it: From, To, who calls, header rules.
    pub(crate) fn outbound<'m>(&self, mut edit: Edit<'m>, request: &'m Message) -> Edit<'m> {
        edit = self.with_parties(edit, request);
        for name in [IdentityHeader::Pai, IdentityHeader::Ppi, IdentityHeader::Rpid] {
            edit = edit.remove_all(name.name());
        }
        if !self.private || self.trusted {
            for header in &self.profile.identity {
                edit = self.assert(edit, *header);
            }
        }
        if self.profile.session_timer == SessionTimer::Strip {
            edit = without_timer(edit, request);
        }
        apply(edit, request, &self.profile.out)
    }

    fn with_parties<'m>(&self, mut edit: Edit<'m>, request: &'m Message) -> Edit<'m> {
        if let Ok(from) = request.from_()
            && let Some(value) = self.value_of_from(&from)
        {
            edit = edit.set(HeaderName::FROM, value);
        }
        if let Ok(to) = request.to()
            && let Some(value) = self.named(&to, self.profile.to_host)
        {
            edit = edit.set(HeaderName::TO, value);
        }
        edit
    }

    fn value_of_from(&self, from: &NameAddr<'_>) -> Option<String> {
        let anonymous = self.private && self.profile.privacy == PrivacyForm::AnonymousFrom;
        if anonymous {
            return Some(format!("{ANONYMOUS}{}", params(from)));
        }
        if self.profile.from_is_identity && !self.private {
            let display = display(from);
            return Some(format!("{display}<{}>{}", self.identity_uri(false), params(from)));
        }
        self.named(from, self.profile.from_host)
    }

    /// A From or To with its number and host in this peer's form; `None` when that changes nothing.
    fn named(&self, address: &NameAddr<'_>, host: HostForm) -> Option<String> {
        let uri = address.sip_uri().ok()?;
        let user = std::str::from_utf8(uri.user()?).ok()?;
        let host = match host {
            HostForm::AsIs => uri.host(),
            HostForm::Own => self.own_host,
            HostForm::Peer => self.peer_host,
        };
        let made = match plain_number(user) {
            Some(_) => self.target(user, host),
            None => format!("sip:{user}@{host}"),
        };
        let same =
            made.as_bytes() == uri.raw() || (host == uri.host() && plain_number(user).is_none());
        (!same).then(|| format!("{}<{made}>{}", display(address), params(address)))
    }

    /// Who calls, as a URI of this peer's form.
    fn identity_uri(&self, in_header: bool) -> String {
        let host = match self.profile.from_host {
            HostForm::AsIs => {
                let domain = self.caller.rsplit('@').next().unwrap_or(self.own_host);
                domain.to_string()
            }
            HostForm::Own => self.own_host.to_string(),
            HostForm::Peer => self.peer_host.to_string(),
        };
        let own = self.caller.strip_prefix("sip:").unwrap_or(self.caller);
        let user = self.number.unwrap_or(own.split('@').next().unwrap_or(own));
        match self.profile.uri {
            UriForm::Tel if in_header && user.starts_with('+') => format!("tel:{user}"),
            _ => self.target(user, &host),
        }
    }

    fn assert<'m>(&self, edit: Edit<'m>, header: IdentityHeader) -> Edit<'m> {
        let uri = self.identity_uri(true);
        match header {
            IdentityHeader::Pai | IdentityHeader::Ppi => {
                edit.append(header.name(), format!("<{uri}>"))
            }
            IdentityHeader::Rpid => {
                let privacy = if self.private { "full" } else { "off" };
                edit.append(
                    header.name(),
                    format!("<{uri}>;party=calling;privacy={privacy};screen=yes"),
                )
            }
            IdentityHeader::Diversion | IdentityHeader::From => edit,
        }
    }

    /// A request from the peer after its header rules.
    pub(crate) fn inbound(profile: &Profile, request: &Message) -> Message {
        apply(Edit::new(request), request, &profile.inbound).finish()
    }

    /// Who calls, by what the peer says: URI user and host, the number in global form.
    pub(crate) fn caller_of(profile: &Profile, request: &Message) -> Option<(String, String)> {
        let named = profile.caller_from.iter().map(|h| h.name()).chain([HeaderName::FROM]);
        for name in named {
            let Some(value) = request.values(name).next() else { continue };
            let Ok(address) = NameAddr::parse(value) else { continue };
            let uri = address.uri();
            if let Ok(uri) = SipUri::parse(uri) {
                let Some(user) = uri.user() else { continue };
                let user = String::from_utf8_lossy(user).into_owned();
                let user = profile.to_global(&user).unwrap_or(user);
                return Some((user, uri.host().to_string()));
            }
            let text = String::from_utf8_lossy(uri).into_owned();
            if let Some(rest) = text.strip_prefix("tel:") {
                let number = rest.split(';').next().unwrap_or_default();
                if plain_number(number).is_some() {
                    let global = profile.to_global(number).unwrap_or_else(|| number.to_string());
                    return Some((global, String::new()));
                }
            }
        }
        None
    }
}

/// The display name with a space behind, or nothing.
fn display(address: &NameAddr<'_>) -> String {
    let raw = String::from_utf8_lossy(address.raw());
    let head = raw.split('<').next().unwrap_or_default();
    match address.display_name() {
        Some(_) => format!("{} ", head.trim_end()),
        None => String::new(),
    }
}

/// Header parameters, the tag among them.
fn params(address: &NameAddr<'_>) -> String {
    address.params().iter().fold(String::new(), |mut text, (name, value)| {
        text.push(';');
        text.push_str(&String::from_utf8_lossy(name));
        if let Some(value) = value {
            text.push('=');
            text.push_str(&String::from_utf8_lossy(value));
        }
        text
    })
}

fn without_timer<'m>(mut edit: Edit<'m>, request: &Message) -> Edit<'m> {
    edit = edit.remove_all(HeaderName::SESSION_EXPIRES).remove_all(HeaderName::MIN_SE);
    let tags: Vec<&[u8]> = request.values(HeaderName::SUPPORTED).collect();
    if !tags.iter().any(|tag| tag.eq_ignore_ascii_case(b"timer")) {
        return edit;
    }
    let kept: Vec<&[u8]> =
        tags.into_iter().filter(|tag| !tag.eq_ignore_ascii_case(b"timer")).collect();
    match kept.is_empty() {
        true => edit.remove_all(HeaderName::SUPPORTED),
        false => edit.set(HeaderName::SUPPORTED, kept.join(b", ".as_slice())),
    }
}

fn apply<'m>(mut edit: Edit<'m>, message: &'m Message, rules: &HeaderRules) -> Edit<'m> {
    for name in &rules.remove {
        edit = edit.remove_all(name.as_str());
    }
    for (from, to) in &rules.rename {
        for value in message.headers(HeaderName::from(from.as_str())).collect::<Vec<_>>() {
            edit = edit.append(to.as_str(), value);
        }
        edit = edit.remove_all(from.as_str());
    }
    for (name, value) in &rules.replace {
        if message.header(name.as_str()).is_some() {
            edit = edit.set(name.as_str(), value);
        }
    }
    for (name, value) in &rules.add {
        if message.header(name.as_str()).is_none() {
            edit = edit.append(name.as_str(), value);
        }
    }
    edit
}

/// A description whose audio payload types are those of `codecs`, in that order; telephone events
/// and comfort noise stay behind them. Without a common codec it is left alone: the peer may know
/// more than its profile.
pub(crate) fn codec_order(sdp: &[u8], codecs: &[String]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(sdp);
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("m=audio "))?;
    let section = lines[at + 1..].iter().take_while(|l| !l.starts_with("m="));
    let section: Vec<&str> = section.copied().collect();
    let parts: Vec<&str> = lines[at].split(' ').collect();
    let (head, types) = parts.split_at_checked(3)?;
    let name = |pt: &str| encoding_of(&section, pt);
    let aux = |pt: &&&str| ["telephone-event", "cn"].contains(&name(pt).as_str());
    let wanted = |codec: &String| {
        let lower = codec.to_ascii_lowercase();
        types.iter().filter(move |pt| name(pt) == lower).copied()
    };
    let mut kept: Vec<&str> = codecs.iter().flat_map(wanted).collect();
    if kept.is_empty() {
        return None;
    }
    kept.extend(
        types.iter().filter(aux).copied().filter(|pt| !kept.contains(pt)).collect::<Vec<_>>(),
    );
    let mut out = String::with_capacity(text.len());
    for (number, line) in lines.iter().enumerate() {
        let inside = number > at && number <= at + section.len();
        if number == at {
            out.push_str(&format!("{} {}", head.join(" "), kept.join(" ")));
        } else if inside && of_type(line).is_some_and(|pt| !kept.contains(&pt)) {
            continue;
        } else {
            out.push_str(line);
        }
        out.push_str("\r\n");
    }
    (out.as_bytes() != sdp).then(|| out.into_bytes())
}

/// The payload type an attribute is about.
fn of_type(line: &str) -> Option<&str> {
    let rest = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"].iter().find_map(|p| line.strip_prefix(p))?;
    rest.split(' ').next().filter(|pt| *pt != "*")
}

/// A payload type's encoding in small letters, by `a=rtpmap` or RFC 3551's table.
fn encoding_of(section: &[&str], pt: &str) -> String {
    let mapped = section.iter().find_map(|line| {
        let (known, encoding) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        (known == pt).then(|| encoding.split('/').next().unwrap_or(encoding))
    });
    let fixed = match pt {
        "0" => "pcmu",
        "3" => "gsm",
        "8" => "pcma",
        "9" => "g722",
        "13" => "cn",
        "18" => "g729",
        _ => "",
    };
    mapped.unwrap_or(fixed).to_ascii_lowercase()
}
