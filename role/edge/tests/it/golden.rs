//! R1.6: messages as Asterisk, FreeSWITCH and OpenSIPS write them, through parser and edge.

use crate::lab::{Lab, credentials, text};
use sip::{HeaderName, Message};

const BOB: &str = "sip:user2@example.com";

/// Who writes it, its INVITE (`{auth}` and `{n}` to be filled in) and its 200.
struct Golden {
    name: &'static str,
    invite: &'static str,
    /// Header lines of its 200, after Via, Record-Route, From, To, Call-ID and CSeq.
    ok: &'static str,
    /// Headers that reach the other side as they were.
    kept: &'static [&'static str],
}

const ALL: [Golden; 5] = [
    Golden {
        name: "Asterisk 20, chan_pjsip",
        invite: "INVITE sip:user2@example.com SIP/2.0\r\n\
            Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKPj7d1a9d3c-{n}-4a5e\r\n\
            From: \"User One\" <sip:user1@example.com>;tag=5c1bd9a7-79b5-4d3c-8be6-2a1f6a0b8f57\r\n\
            To: <sip:user2@example.com>\r\n\
            Contact: <sip:asterisk@192.0.2.1:5060>\r\n\
            Call-ID: 7f3a2c64-1a7e-4f3c-9d62-0d8bb2e1c1aa\r\nCSeq: 2831{n} INVITE\r\n\
            Allow: OPTIONS, REGISTER, SUBSCRIBE, NOTIFY, PUBLISH, INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO, MESSAGE, REFER\r\n\
            Supported: 100rel, timer, replaces, norefersub, histinfo\r\nSession-Expires: 1800\r\n\
            Min-SE: 90\r\nMax-Forwards: 70\r\nUser-Agent: Asterisk PBX 20.5.0\r\n\
            {auth}Content-Type: application/sdp\r\nContent-Length:   {len}\r\n\r\n\
            v=0\r\no=- 1468349723 1468349723 IN IP4 192.0.2.1\r\ns=Asterisk\r\n\
            c=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 14338 RTP/AVP 0 8 9 101\r\n\
            a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:9 G722/8000\r\n\
            a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n\
            a=maxptime:150\r\na=sendrecv\r\n",
        ok: "Server: Asterisk PBX 20.5.0\r\n\
            Allow: OPTIONS, REGISTER, SUBSCRIBE, NOTIFY, PUBLISH, INVITE, ACK, BYE, CANCEL\r\n\
            Contact: <sip:192.0.2.2:5060>\r\nSupported: 100rel, timer, replaces, norefersub\r\n",
        kept: &["Allow", "User-Agent"],
    },
    Golden {
        name: "Asterisk 11, chan_sip",
        invite: "INVITE sip:user2@example.com SIP/2.0\r\n\
            Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK31c{n}b7f;rport\r\nMax-Forwards: 70\r\n\
            From: \"User One\" <sip:user1@example.com>;tag=as5f2d4e7b\r\n\
            To: <sip:user2@example.com>\r\nContact: <sip:user1@192.0.2.1:5060>\r\n\
            Call-ID: 0b8c2c3d4f7e11aa6d2b8e4f5a3c2d1e@192.0.2.1:5060\r\nCSeq: 10{n} INVITE\r\n\
            User-Agent: Asterisk PBX 11.25.3\r\nDate: Sat, 13 Nov 2010 23:29:00 GMT\r\n\
            Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, MESSAGE\r\n\
            Supported: replaces, timer\r\n{auth}Content-Type: application/sdp\r\n\
            Content-Length: {len}\r\n\r\n\
            v=0\r\no=root 1893284593 1893284593 IN IP4 192.0.2.1\r\ns=Asterisk PBX 11.25.3\r\n\
            c=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 11896 RTP/AVP 8 0 3 101\r\n\
            a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:3 GSM/8000\r\n\
            a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n\
            a=silenceSupp:off - - - -\r\na=ptime:20\r\na=sendrecv\r\n",
        ok: "Server: Asterisk PBX 11.25.3\r\nAllow: INVITE, ACK, CANCEL, OPTIONS, BYE\r\n\
            Supported: replaces, timer\r\nContact: <sip:user2@192.0.2.2:5060>\r\n",
        kept: &["Allow", "Date"],
    },
    Golden {
        name: "FreeSWITCH 1.10, mod_sofia",
        invite: "INVITE sip:user2@example.com SIP/2.0\r\n\
            Via: SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bKtF7{n}tZ4Xyr9pK\r\nMax-Forwards: 69\r\n\
            From: \"user1\" <sip:user1@example.com>;tag=Stp4gD0rQ7ZDr\r\n\
            To: <sip:user2@example.com>\r\nCall-ID: 5b7a42d4-8a2f-123d-71b2-0242ac110002\r\n\
            CSeq: 8612305{n} INVITE\r\n\
            Contact: <sip:mod_sofia@192.0.2.1:5060>\r\n\
            User-Agent: FreeSWITCH-mod_sofia/1.10.10-release~64bit\r\n\
            Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO, UPDATE, REGISTER, REFER, NOTIFY\r\n\
            Supported: timer, path, replaces\r\nAllow-Events: talk, hold, conference, refer\r\n\
            {auth}Content-Type: application/sdp\r\nContent-Disposition: session\r\n\
            Content-Length: {len}\r\nX-FS-Support: update_display,send_info\r\n\r\n\
            v=0\r\no=FreeSWITCH 1700000000 1700000001 IN IP4 192.0.2.1\r\ns=FreeSWITCH\r\n\
            c=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 27692 RTP/AVP 102 9 0 8 103 101\r\n\
            a=rtpmap:102 opus/48000/2\r\n\
            a=fmtp:102 useinbandfec=1; maxaveragebitrate=30000; maxplaybackrate=48000\r\n\
            a=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
            a=rtpmap:103 telephone-event/48000\r\na=fmtp:103 0-15\r\n\
            a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n",
        ok: "Contact: <sip:user2@192.0.2.2:5060;transport=udp>\r\n\
            User-Agent: FreeSWITCH-mod_sofia/1.10.10-release~64bit\r\n\
            Allow: INVITE, ACK, BYE, CANCEL, OPTIONS\r\nSupported: timer, path, replaces\r\n\
            Allow-Events: talk, hold, conference, refer\r\nContent-Disposition: session\r\n\
            X-FS-Display-Name: Two\r\nX-FS-Display-Number: user2\r\n",
        kept: &["Allow", "Allow-Events", "Content-Disposition"],
    },
    Golden {
        name: "OpenSIPS 3.4 in front of a gateway",
        invite: "INVITE sip:user2@example.com SIP/2.0\r\n\
            Record-Route: <sip:192.0.2.1;lr;ftag=gK0c5b3f2a;did=5f8.7a1b2c31>\r\n\
            Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK5f{n}8.d3e1f4a6.0;rport\r\n\
            Via: SIP/2.0/UDP 10.1.2.3:5060;received=10.1.2.3;branch=z9hG4bK0cB2e{n}f3a;rport=5060\r\n\
            Max-Forwards: 68\r\nFrom: <sip:user1@example.com;user=phone>;tag=gK0c5b3f2a\r\n\
            To: <sip:user2@example.com;user=phone>\r\nCall-ID: 203495_131283749@10.1.2.3\r\n\
            CSeq: 71652{n} INVITE\r\nContact: <sip:user1@10.1.2.3:5060>\r\n\
            Allow: INVITE,ACK,CANCEL,BYE,REGISTER,REFER,INFO,SUBSCRIBE,NOTIFY,PRACK,UPDATE,OPTIONS\r\n\
            Accept: application/sdp, application/isup, application/dtmf-relay, multipart/mixed\r\n\
            Supported: timer,100rel,precondition,replaces\r\n{auth}Content-Disposition: session; handling=required\r\n\
            Content-Type: application/sdp\r\nContent-Length:  {len}\r\n\r\n\
            v=0\r\no=Sonus_UAC 12345 67890 IN IP4 10.1.2.3\r\ns=SIP Media Capabilities\r\n\
            c=IN IP4 10.1.2.4\r\nt=0 0\r\nm=audio 35080 RTP/AVP 0 8 18 100\r\n\
            a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:18 G729/8000\r\n\
            a=fmtp:18 annexb=no\r\na=rtpmap:100 telephone-event/8000\r\na=fmtp:100 0-15\r\n\
            a=sendrecv\r\na=maxptime:20\r\n",
        ok: "Contact: <sip:user2@192.0.2.2:5060;did=5f8.7a1b2c31>\r\n\
            Allow: INVITE,ACK,CANCEL,BYE\r\nSupported: replaces\r\n",
        kept: &["Allow", "Accept"],
    },
    Golden {
        name: "a Cisco gateway, folded and compact",
        invite: "INVITE sip:user2@example.com SIP/2.0\r\n\
            v: SIP/2.0/UDP  192.0.2.1:5060;branch=z9hG4bK2A3{n}1B;rport\r\n\
            f: <sip:user1@example.com>;tag=8A2F1C-1D3\r\nt: <sip:user2@example.com>\r\n\
            Date: Mon, 04 Mar 2013 12:00:00 GMT\r\ni: 9C1E2D3F-835B11E2-80A1C1F2-9B5B3A2E@192.0.2.1\r\n\
            k: timer,resource-priority,replaces,\r\n sdp-anat\r\nMin-SE:  1800\r\n\
            Cisco-Guid: 2618568943-2203781602-2158084594-2606447150\r\n\
            User-Agent: Cisco-SIPGateway/IOS-12.x\r\n\
            Allow: INVITE, OPTIONS, BYE, CANCEL, ACK, PRACK, UPDATE, REFER, SUBSCRIBE, NOTIFY, INFO, REGISTER\r\n\
            CSeq: 1{n} INVITE\r\nTimestamp: 1362398400\r\nm: <sip:user1@192.0.2.1:5060>\r\n\
            Expires: 180\r\nAllow-Events: telephone-event\r\nMax-Forwards: 69\r\n\
            {auth}c: application/sdp\r\nl: {len}\r\n\r\n\
            v=0\r\no=CiscoSystemsSIP-GW-UserAgent 5128 2861 IN IP4 192.0.2.1\r\ns=SIP Call\r\n\
            c=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 18090 RTP/AVP 18 0 8 101\r\n\
            c=IN IP4 192.0.2.1\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=yes\r\n\
            a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
            a=fmtp:101 0-15\r\n",
        ok: "Server: Cisco-SIPGateway/IOS-12.x\r\nAllow-Events: telephone-event\r\n\
            Contact: <sip:user2@192.0.2.2:5060>\r\nSupported: replaces\r\n",
        kept: &["Cisco-Guid", "Expires", "Allow-Events"],
    },
];

fn fill(golden: &Golden, attempt: u8, auth: &str) -> String {
    let (head, sdp) = golden.invite.split_once("\r\n\r\n").unwrap();
    let head = head.replace("{n}", &attempt.to_string()).replace("{auth}", auth);
    format!("{}\r\n\r\n{sdp}", head.replace("{len}", &sdp.len().to_string()))
}

fn parsed(name: &str, text: &str) -> Message {
    Message::parse(text.as_bytes().to_vec().into()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn r1_6_invites_of_well_known_servers_are_read_whole() {
    for golden in &ALL {
        let m = parsed(golden.name, &fill(golden, 1, ""));
        let name = golden.name;
        assert_eq!(m.from_().unwrap().sip_uri().unwrap().user(), Some(&b"user1"[..]), "{name}");
        assert!(m.vias().all(|via| via.is_ok()) && m.top_via().unwrap().branch().is_some());
        assert!(m.contacts().all(|c| c.is_ok_and(|c| c.sip_uri().is_ok())), "{name}");
        assert!(m.max_forwards().is_some() && m.from_tag().is_some() && m.to_tag().is_none());
        assert!(m.record_routes().all(|r| r.is_ok()), "{name}");
        assert!(m.body().starts_with(b"v=0") && m.has_content_type("application/sdp"), "{name}");
    }
}

#[test]
fn r1_6_calls_of_well_known_servers_cross_the_edge_and_are_answered() {
    for golden in &ALL {
        let name = golden.name;
        let mut lab = Lab::new(1);
        lab.user("user2", &[2]);
        lab.send(1, fill(golden, 1, ""));
        let challenge = lab.next(1);
        assert_eq!(challenge.status(), Some(407), "{name}");
        let auth = credentials(&challenge, "INVITE", BOB, "user1", "pw-user1");
        let asked = fill(golden, 2, &auth);
        lab.send(1, &asked);
        let invite = lab.find(2, "INVITE");
        let asked = parsed(name, &asked);
        for header in golden.kept {
            assert_eq!(invite.header(*header), asked.header(*header), "{name}: {header}");
        }
        assert!(text(Some(invite.body())).contains("a=relayed:offer-"), "{name}");
        assert_eq!(invite.header(HeaderName::PROXY_AUTHORIZATION), None, "{name}");
        let hops = asked.max_forwards().unwrap() - 1;
        assert_eq!(invite.max_forwards(), Some(hops), "{name}");

        let sdp = golden.invite.split_once("\r\n\r\n").unwrap().1;
        let mut ok = sip::response_to(&invite, 200, "OK").to_tag("as1e3f").record_route();
        for line in golden.ok.split_terminator("\r\n") {
            let (header, value) = line.split_once(": ").unwrap();
            ok = ok.header(header, value);
        }
        lab.send(2, ok.body("application/sdp", sdp).build().bytes());
        let answer = lab.find(1, "200");
        assert_eq!(answer.vias().count(), asked.vias().count(), "{name}");
        assert_eq!(answer.from_tag(), asked.from_tag(), "{name}");
        assert!(text(Some(answer.body())).contains("a=relayed:answer-"), "{name}");
        assert!(answer.record_routes().count() > asked.record_routes().count(), "{name}");
    }
}
