//! The short reading of REGISTER and OPTIONS beside the parser: what it takes, both read alike.

use bytes::Bytes;
use sip::digest::Credentials;
use sip::{Aor, HeaderName, Message, NameAddr, Plain, Reply};

/// One datagram. What [`Plain`] takes, [`Message`] takes, reads alike and answers alike.
pub fn sip_plain(data: &[u8]) {
    let Some(plain) = Plain::read(data) else { return };
    let message = Message::parse(Bytes::copy_from_slice(data)).expect("the parser takes it too");
    assert_eq!(message.bytes().len(), data.len(), "no surplus, no blank lines");
    assert_eq!(Some(plain.method()), message.method());
    assert_eq!(format!("sip:{}", plain.target()).as_bytes(), message.request_uri());
    let aor = |address: NameAddr<'_>| address.sip_uri().map(|uri| Aor::from_uri(&uri).to_string());
    assert_eq!(Some(plain.aor()), message.to().ok().and_then(|to| aor(to).ok()).as_deref());
    assert_eq!(Some(plain.from_aor()), message.from_().ok().and_then(|f| aor(f).ok()).as_deref());
    assert_eq!(message.from_tag(), Some(plain.from_tag().as_bytes()));
    assert_eq!((message.to_tag(), message.vias().count()), (None, 1));
    assert_eq!(message.call_id(), Some(plain.call_id().as_bytes()));
    assert_eq!(message.cseq().map(|cseq| cseq.number), Ok(plain.cseq()));
    assert_eq!(plain.expires(), message.expires());
    let contact = message.contacts().next().map(|c| c.expect("a Contact that was read"));
    assert_eq!(contact.is_some(), plain.contact().is_some());
    if let (Some(theirs), Some(ours)) = (contact, plain.contact()) {
        assert_eq!((ours.uri.as_bytes(), ours.expires), (theirs.uri(), theirs.expires()));
        assert_eq!(ours.instance.map(str::as_bytes), theirs.instance());
    }
    let given = message.header(HeaderName::AUTHORIZATION).and_then(Credentials::parse);
    assert_eq!(plain.credentials(), given.as_ref());
    for name in
        [HeaderName::REQUIRE, HeaderName::PROXY_REQUIRE, HeaderName::ROUTE, HeaderName::PATH]
    {
        assert_eq!(message.header(name), None);
    }
    let source = ([198, 51, 100, 77], 49152).into();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    plain.reply(&mut ours, (401, ""), b"tag7", source).end();
    Reply::begin(&mut theirs, &message, (401, ""), b"tag7", Some(source)).end();
    assert_eq!(ours, theirs);
}
