//! Endpoints for tests, without sockets: a plain phone, an SDES phone, and a browser with ICE and
//! DTLS, all built from the project's own protocol crates.

use std::net::SocketAddr;
use std::time::Instant;

use ice::stun;
use media::keying::SrtpKeys;
use media::keying::dtls::{Certificate, DtlsEndpoint, DtlsOutput, DtlsRole};
use media::keying::sdes::LocalKeys;
use rtp::srtp::SrtpContext;
use rtp::zrtp::{Endpoint, Event, Output, Secured, Setup, Zid};
use rtp::{Header, RtpPacket};
use sansio::SeededEntropy;
use sdp::{Crypto, Session};

type Contexts = (SrtpContext, SrtpContext);

/// How a test endpoint protects media.
pub enum Keys {
    Plain,
    Sdes { local: Box<LocalKeys>, contexts: Option<Box<(SrtpKeys, Contexts)>> },
    Browser(Box<Browser>),
    Zrtp(Box<Zrtp>),
}

/// A phone with ZRTP.
pub struct Zrtp {
    pub endpoint: Endpoint,
    contexts: Option<Contexts>,
}

/// An endpoint: writes offers and answers, makes and opens packets.
pub struct Peer {
    pub addr: SocketAddr,
    pub keys: Keys,
    pub ssrc: u32,
    pub sequence: u16,
    pub remote: Option<SocketAddr>,
    pub remote_rtcp: Option<SocketAddr>,
}

pub struct Browser {
    certificate: Certificate,
    endpoint: DtlsEndpoint,
    ufrag: String,
    pwd: String,
    remote: Option<(String, String)>,
    contexts: Option<Contexts>,
    checks: u8,
    nominated: bool,
    ice: bool,
}

impl Peer {
    pub fn plain(addr: &str, ssrc: u32) -> Self {
        Self {
            addr: addr.parse().unwrap(),
            keys: Keys::Plain,
            ssrc,
            sequence: 100,
            remote: None,
            remote_rtcp: None,
        }
    }

    pub fn sdes(addr: &str, ssrc: u32) -> Self {
        let local = Box::new(LocalKeys::new(&mut SeededEntropy::new(u64::from(ssrc))));
        Self { keys: Keys::Sdes { local, contexts: None }, ..Self::plain(addr, ssrc) }
    }

    /// A phone that agrees on keys by ZRTP.
    pub fn zrtp(addr: &str, ssrc: u32) -> Self {
        let setup = Setup::new(ssrc, Zid([ssrc as u8; 12]));
        let endpoint = Endpoint::new(setup, &mut SeededEntropy::new(ssrc.into()));
        let zrtp = Box::new(Zrtp { endpoint, contexts: None });
        Self { keys: Keys::Zrtp(zrtp), ..Self::plain(addr, ssrc) }
    }

    /// What it has agreed on by ZRTP.
    pub fn secured(&self) -> Secured {
        let Keys::Zrtp(zrtp) = &self.keys else { panic!("no ZRTP here") };
        *zrtp.endpoint.secured().expect("an agreement")
    }

    /// A browser: DTLS client when it answers, and when it offers actpass.
    pub fn browser(addr: &str, ssrc: u32, now: Instant) -> Self {
        Self::dtls(addr, ssrc, now, DtlsRole::Client)
    }

    /// A SIP phone with DTLS-SRTP and without ICE.
    pub fn dtls_phone(addr: &str, ssrc: u32, now: Instant, role: DtlsRole) -> Self {
        let mut peer = Self::dtls(addr, ssrc, now, role);
        if let Keys::Browser(browser) = &mut peer.keys {
            (browser.ice, browser.nominated) = (false, true);
        }
        peer
    }

    fn dtls(addr: &str, ssrc: u32, now: Instant, role: DtlsRole) -> Self {
        let certificate = Certificate::generate().unwrap();
        let endpoint = DtlsEndpoint::new(&certificate, role, now).unwrap();
        let browser = Browser {
            certificate,
            endpoint,
            ufrag: format!("u{ssrc:07}"),
            pwd: "0123456789abcdefghijklmn".to_owned(),
            remote: None,
            contexts: None,
            checks: 0,
            nominated: false,
            ice: true,
        };
        Self { keys: Keys::Browser(Box::new(browser)), ..Self::plain(addr, ssrc) }
    }

    /// A description of ours. `answer_to` is the offer it answers.
    pub fn describe(&self, answer_to: Option<&[u8]>) -> Vec<u8> {
        let (ip, port) = (self.addr.ip(), self.addr.port());
        let head = format!("v=0\r\no=alice 7 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n");
        let codecs =
            "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n";
        let text = match &self.keys {
            Keys::Plain => format!("{head}m=audio {port} RTP/AVP 0 101\r\n{codecs}a=sendrecv\r\n"),
            Keys::Zrtp(zrtp) => format!(
                "{head}m=audio {port} RTP/AVP 0 101\r\n{codecs}a=zrtp-hash:{}\r\n",
                zrtp.endpoint.hello_hash()
            ),
            Keys::Sdes { local, .. } => {
                let lines = match answer_to {
                    None => local.offer(),
                    Some(offer) => {
                        let offer = Session::parse(offer).unwrap();
                        vec![local.clone().answer(offer.media()[0].cryptos()).unwrap().1]
                    }
                };
                let lines: String = lines.iter().map(|l| format!("a=crypto:{l}\r\n")).collect();
                format!("{head}m=audio {port} RTP/SAVP 0 101\r\n{codecs}{lines}")
            }
            Keys::Browser(browser) if !browser.ice => {
                let setup = match browser.endpoint.role() {
                    DtlsRole::Client => "active",
                    DtlsRole::Server => "passive",
                };
                let proto = if answer_to.is_some() { "SAVPF" } else { "SAVP" };
                format!(
                    "{head}m=audio {port} UDP/TLS/RTP/{proto} 0 101\r\n{codecs}a=setup:{setup}\r\n\
                     a=fingerprint:{}\r\na=rtcp-mux\r\n",
                    browser.certificate.fingerprint()
                )
            }
            Keys::Browser(browser) => {
                let setup = if answer_to.is_some() { "active" } else { "actpass" };
                format!(
                    "v=0\r\no=- 7 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
                     a=extmap-allow-mixed\r\na=msid-semantic: WMS stream\r\n\
                     m=audio 9 UDP/TLS/RTP/SAVPF 0 101\r\nc=IN IP4 0.0.0.0\r\n\
                     a=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n\
                     a=ice-options:trickle\r\na=fingerprint:{}\r\na=setup:{setup}\r\na=mid:0\r\n\
                     a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=sendrecv\r\n\
                     a=msid:stream track\r\na=rtcp-mux\r\na=rtcp-fb:0 transport-cc\r\n{codecs}\
                     a=ssrc:{} cname:x\r\n",
                    browser.ufrag,
                    browser.pwd,
                    browser.certificate.fingerprint(),
                    self.ssrc
                )
            }
        };
        text.into_bytes()
    }

    /// Takes the other side's description: where to send, and its keys.
    pub fn take(&mut self, sdp: &[u8], is_answer: bool) {
        let session = Session::parse(sdp).unwrap();
        self.remote = session.rtp_addr_of(0);
        self.remote_rtcp = session.rtcp_addr_of(0);
        match &mut self.keys {
            Keys::Plain => assert_eq!(session.media()[0].proto(), "RTP/AVP"),
            Keys::Zrtp(zrtp) => {
                assert_eq!(session.media()[0].proto(), "RTP/AVP");
                let hash = session.media()[0].attribute("zrtp-hash").expect("a Hello");
                zrtp.endpoint.expect(Instant::now(), hash.parse().unwrap());
                zrtp.endpoint.start(Instant::now());
            }
            Keys::Sdes { local, contexts } => {
                let lines: Vec<Crypto> = session.media()[0].cryptos().collect();
                let keys = match is_answer {
                    true => local.accept(&lines[0]).unwrap(),
                    false => local.answer(lines).unwrap().0,
                };
                // The same keys again go on with their counters.
                if contexts.as_ref().is_none_or(|c| c.0 != keys) {
                    let fresh = contexts_of(&keys);
                    *contexts = Some(Box::new((keys, fresh)));
                }
            }
            Keys::Browser(browser) => {
                assert!(session.media()[0].proto().starts_with("UDP/TLS/RTP/SAVP"));
                assert!(session.media()[0].rtcp_mux());
                let print = session.fingerprints_of(0).remove(0);
                browser.endpoint.set_remote_fingerprint(print).unwrap();
                self.remote_rtcp = self.remote;
                if !browser.ice {
                    return;
                }
                assert!(session.ice_lite());
                let (ufrag, pwd) = session.ice_credentials_of(0).unwrap();
                browser.remote = Some((ufrag.to_owned(), pwd.to_owned()));
                self.remote = session.media()[0].candidates().next().unwrap().socket_addr();
                self.remote_rtcp = self.remote;
            }
        }
    }

    /// The next RTP packet, 20 ms of PCMU.
    pub fn rtp(&mut self) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let header = Header {
            payload_type: 0,
            sequence: self.sequence,
            timestamp: u32::from(self.sequence).wrapping_mul(160),
            ssrc: self.ssrc,
            marker: false,
        };
        let mut buf = vec![0; 300];
        let len = rtp::write_packet(&mut buf, &header, &[self.ssrc as u8; 160]).unwrap();
        let len = match self.contexts() {
            Some((out, _)) => out.protect_rtp(&mut buf, len).unwrap(),
            None => len,
        };
        buf.truncate(len);
        buf
    }

    /// A sender report.
    pub fn rtcp(&mut self) -> Vec<u8> {
        let mut buf = vec![0; 300];
        let sender = Some(rtp::rtcp::SenderInfo::default());
        let report =
            rtp::rtcp::Report { ssrc: self.ssrc, sender, cname: "c", ..Default::default() };
        let len = report.write(&mut buf).unwrap();
        let len = match self.contexts() {
            Some((out, _)) => out.protect_rtcp(&mut buf, len).unwrap(),
            None => len,
        };
        buf.truncate(len);
        buf
    }

    /// Opens a received packet; the sender's SSRC when it is RTP and the payload is whole.
    pub fn open_rtp(&mut self, bytes: &[u8]) -> Option<u32> {
        let (header, payload) = self.open(bytes)?;
        (payload == [header.ssrc as u8; 160]).then_some(header.ssrc)
    }

    /// Opens a received packet, whatever is in it.
    pub fn open(&mut self, bytes: &[u8]) -> Option<(Header, Vec<u8>)> {
        let mut buf = bytes.to_vec();
        let len = match self.contexts() {
            Some((_, inbound)) => inbound.unprotect_rtp(&mut buf, bytes.len()).ok()?,
            None => bytes.len(),
        };
        let packet = RtpPacket::parse(&buf[..len]).ok()?;
        Some((packet.header(), packet.payload().to_vec()))
    }

    /// Opens a received RTCP packet; the reporter.
    pub fn open_rtcp(&mut self, bytes: &[u8]) -> Option<u32> {
        let mut buf = bytes.to_vec();
        let len = match self.contexts() {
            Some((_, inbound)) => inbound.unprotect_rtcp(&mut buf, bytes.len()).ok()?,
            None => bytes.len(),
        };
        match rtp::rtcp::parse(&buf[..len]).ok()?.first()? {
            rtp::rtcp::Item::Report { ssrc, .. } => Some(*ssrc),
            _ => None,
        }
    }

    /// What a browser sends now on its own: checks until nominated, then DTLS.
    pub fn poll(&mut self, now: Instant) -> Vec<Vec<u8>> {
        if let Keys::Zrtp(zrtp) = &mut self.keys {
            zrtp.endpoint.handle_timeout(now);
            return zrtp.drain();
        }
        let Keys::Browser(browser) = &mut self.keys else { return Vec::new() };
        if !browser.nominated {
            let Some((ufrag, pwd)) = browser.remote.clone() else { return Vec::new() };
            browser.checks += 1;
            let check = stun::Builder::request([browser.checks; 12])
                .username(&format!("{ufrag}:{}", browser.ufrag))
                .priority(1)
                .ice_controlling(9)
                .use_candidate();
            return vec![check.finish(pwd.as_bytes())];
        }
        if browser.endpoint.poll_timeout().is_some_and(|at| at <= now) {
            browser.endpoint.handle_timeout(now).unwrap();
        }
        browser.drain()
    }

    /// Takes a packet that is not media; what to send back. False when it is media.
    pub fn handle(&mut self, now: Instant, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
        if let Keys::Zrtp(zrtp) = &mut self.keys {
            if !rtp::is_zrtp(bytes) {
                return None;
            }
            zrtp.endpoint.handle_packet(now, bytes);
            return Some(zrtp.drain());
        }
        let Keys::Browser(browser) = &mut self.keys else { return None };
        match rtp::kind(bytes) {
            rtp::PacketKind::Stun => {
                let message = stun::Message::parse(bytes).unwrap();
                assert_eq!(message.class(), stun::Class::Success);
                browser.nominated = true;
                Some(Vec::new())
            }
            rtp::PacketKind::Dtls => {
                browser.endpoint.handle_packet(now, bytes).unwrap();
                Some(browser.drain())
            }
            _ => None,
        }
    }

    pub fn is_ready(&self) -> bool {
        match &self.keys {
            Keys::Plain => true,
            Keys::Sdes { contexts, .. } => contexts.is_some(),
            Keys::Browser(browser) => browser.contexts.is_some(),
            Keys::Zrtp(zrtp) => zrtp.endpoint.secured().is_some(),
        }
    }

    /// Checks again from a new address, as a browser does after a network change.
    pub fn renominate(&mut self) {
        if let Keys::Browser(browser) = &mut self.keys {
            browser.nominated = false;
        }
    }

    /// New ICE credentials, as after `restartIce()`.
    /// The relay's ufrag and password, as this browser was told last.
    pub fn told_by_ice(&self) -> Option<(String, String)> {
        match &self.keys {
            Keys::Browser(browser) => browser.remote.clone(),
            _ => None,
        }
    }

    /// Forgets what the last description said: it goes on with these.
    pub fn believe_ice(&mut self, old: Option<(String, String)>) {
        if let Keys::Browser(browser) = &mut self.keys {
            browser.remote = old;
        }
    }

    pub fn restart_ice(&mut self) {
        if let Keys::Browser(browser) = &mut self.keys {
            browser.ufrag.push('r');
            browser.nominated = false;
        }
    }

    /// Writes SDES keys into `RTP/AVP`, as RFC 8643 has it.
    pub fn describe_opportunistic(&self) -> Vec<u8> {
        let text = String::from_utf8(self.describe(None)).unwrap();
        text.replace("RTP/SAVP", "RTP/AVP").into_bytes()
    }

    fn contexts(&mut self) -> Option<(&mut SrtpContext, &mut SrtpContext)> {
        match &mut self.keys {
            Keys::Plain => None,
            Keys::Sdes { contexts, .. } => contexts.as_mut().map(|c| (&mut c.1.0, &mut c.1.1)),
            Keys::Browser(b) => b.contexts.as_mut().map(|c| (&mut c.0, &mut c.1)),
            Keys::Zrtp(z) => z.contexts.as_mut().map(|c| (&mut c.0, &mut c.1)),
        }
    }
}

impl Zrtp {
    fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit(bytes) => out.push(bytes),
                Output::Event(Event::Keys(keys)) => self.contexts = Some(contexts_of(&keys.into())),
                Output::Event(_) => {}
            }
        }
        out
    }
}

impl Browser {
    fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                DtlsOutput::Transmit(bytes) => out.push(bytes),
                DtlsOutput::Connected(keys) => self.contexts = Some(contexts_of(&keys)),
                DtlsOutput::Closed => {}
            }
        }
        out
    }
}

fn contexts_of(keys: &SrtpKeys) -> (SrtpContext, SrtpContext) {
    (keys.outbound().unwrap(), keys.inbound().unwrap())
}
