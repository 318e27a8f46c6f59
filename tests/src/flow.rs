//! SIPp scenarios put together from small pieces: a caller, who is challenged, and a callee.
//!
//! ```text
//!   Caller::new().invite("", SDP).expect(183).expect(200).ack("").hang_up()
//!   Callee::new().invited().respond(183, "a", "", SDP).respond(200, "a", "", SDP).acked().bye()
//! ```
//!
//! A piece is one message, sent or awaited. Lines of a message end with LF here; SIPp makes them CRLF.

use std::collections::BTreeSet;
use std::fmt::Write;

/// A description of one PCMA stream. Nobody listens there: SIPp would bind its media port.
pub const SDP: &str = "v=0\no=- 1 1 IN IP[media_ip_type] [media_ip]\ns=-\n\
    c=IN IP[media_ip_type] [media_ip]\nt=0 0\nm=audio 40000 RTP/AVP 8\n\
    a=rtpmap:8 PCMA/8000\n";

const VIA: &str = "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport\n";
const CALLER: &str = "<sip:[field0]@[domain]>;tag=[pid]c[call_number]";
const CALLEE: &str = "<sip:[field1]@[domain]>";

/// How a caller's messages differ from today's.
pub type Mangle = fn(String) -> String;

/// A caller's scenario.
#[derive(Debug, Clone)]
pub struct Caller {
    xml: String,
    cseq: u32,
    /// CSeq and place of the last INVITE, for its ACK and CANCEL.
    invite: (u32, usize),
    /// A 2xx was acknowledged.
    talks: bool,
    mangle: Mangle,
}

/// A callee's scenario.
#[derive(Debug, Clone)]
pub struct Callee {
    xml: String,
    cseq: u32,
    /// How many Vias it sees: one where the caller is hidden from it.
    vias: u32,
}

impl Caller {
    /// A caller of today.
    pub fn new() -> Self {
        Self::of_old(|text| text)
    }

    /// A caller whose every request is changed.
    pub fn of_old(mangle: Mangle) -> Self {
        Self { xml: String::new(), cseq: 0, invite: (0, 0), talks: false, mangle }
    }

    /// INVITE, the challenge, and INVITE with credentials. `lines` are more headers.
    pub fn invite(self, lines: &str, body: &str) -> Self {
        self.challenged("INVITE", lines, body)
    }

    /// The same for any request outside of a dialog.
    pub fn challenged(mut self, method: &str, lines: &str, body: &str) -> Self {
        self = self.unchallenged(method, lines, body);
        self.xml += "  <recv response=\"407\" auth=\"true\"/>\n";
        if method == "INVITE" {
            let ack = format!(
                "ACK sip:[field1]@[domain] SIP/2.0\n[last_Via:]\nMax-Forwards: 70\nFrom: {CALLER}\n\
                 To: {CALLEE}[peer_tag_param]\nCall-ID: [call_id]\nCSeq: 1 ACK\nContent-Length: 0\n"
            );
            push_send(&mut self.xml, &ack, false);
        }
        self.unchallenged(method, &format!("[field2]\n{lines}"), body)
    }

    /// A request outside of a dialog by who is asked for no password: a peer.
    pub fn unchallenged(mut self, method: &str, lines: &str, body: &str) -> Self {
        let request = self.request(method, CALLEE, "", lines, body);
        self.invite = (self.cseq, places(&self.xml));
        push_send(&mut self.xml, &request, true);
        self.may(100)
    }

    /// A response must come now.
    pub fn expect(mut self, status: u16) -> Self {
        let routes = if status < 300 { " rrs=\"true\"" } else { "" };
        let _ = writeln!(self.xml, "  <recv response=\"{status}\"{routes}/>");
        self
    }

    /// A response with these words somewhere must come now.
    pub fn expect_with(mut self, status: u16, regexp: &str) -> Self {
        let _ = writeln!(
            self.xml,
            "  <recv response=\"{status}\" rrs=\"true\"><action>\n    \
             <ereg regexp=\"{regexp}\" search_in=\"msg\" check_it=\"true\" assign_to=\"seen\"/>\n    \
             </action></recv>"
        );
        self
    }

    /// A response must come now that makes a dialog of its own, as forked ones do: `name` is what
    /// it is called from here on. The port of its description is logged as `heard NAME PORT`.
    pub fn expect_dialog(mut self, status: u16, name: &str) -> Self {
        let _ = writeln!(self.xml, "  <recv response=\"{status}\"><action>");
        for (header, regexp, variable) in [
            ("To:", ".*", format!("{name}_to")),
            ("Record-Route:", ".*", format!("{name}_route")),
            ("Contact:", "&lt;([^&gt;]*)&gt;", format!("seen,{name}_target")),
        ] {
            let _ = writeln!(
                self.xml,
                "    <ereg regexp=\"{regexp}\" search_in=\"hdr\" header=\"{header}\" \
                 check_it=\"true\" assign_to=\"{variable}\"/>"
            );
        }
        let _ = writeln!(self.xml, "{}  </action></recv>", log_port(&format!("heard {name}")));
        self
    }

    /// A request in the dialog of that name; an ACK has the number of its INVITE.
    pub fn then_in(mut self, name: &str, method: &str) -> Self {
        self.cseq += u32::from(method != "ACK");
        let cseq = if method == "ACK" { self.invite.0 } else { self.cseq };
        let request = format!(
            "{method} [${name}_target] SIP/2.0\n{VIA}Max-Forwards: 70\nFrom: {CALLER}\n\
             To:[${name}_to]\nCall-ID: [call_id]\nCSeq: {cseq} {method}\n\
             Route:[${name}_route]\nContent-Length: 0\n"
        );
        push_send(&mut self.xml, &request, method != "ACK");
        self
    }

    /// A response may come.
    pub fn may(mut self, status: u16) -> Self {
        let _ = writeln!(self.xml, "  <recv response=\"{status}\" optional=\"true\"/>");
        self
    }

    /// A request of the other side must come now; it is answered 200.
    pub fn serve(mut self, method: &str) -> Self {
        let _ = writeln!(self.xml, "  <recv request=\"{method}\"/>");
        push_send(&mut self.xml, OK, false);
        self
    }

    /// ACK of a 2xx.
    pub fn ack(mut self, body: &str) -> Self {
        self.talks = true;
        let cseq = self.invite.0;
        let ack = self.in_dialog("ACK", cseq, "", body);
        push_send(&mut self.xml, &ack, false);
        self
    }

    /// ACK of the last failure, in its transaction.
    pub fn ack_failure(mut self) -> Self {
        let uri = if self.talks { "[next_url]" } else { "sip:[field1]@[domain]" };
        let ack = format!(
            "ACK {uri} SIP/2.0\n[last_Via:]\nMax-Forwards: 70\nFrom: {CALLER}\n\
             To: {CALLEE}[peer_tag_param]\nCall-ID: [call_id]\nCSeq: {} ACK\nContent-Length: 0\n",
            self.invite.0
        );
        push_send(&mut self.xml, &ack, false);
        self
    }

    /// A request in the dialog.
    pub fn then(mut self, method: &str, lines: &str, body: &str) -> Self {
        self.cseq += 1;
        let cseq = self.cseq;
        if method == "INVITE" {
            self.invite = (cseq, places(&self.xml));
        }
        let request = self.in_dialog(method, cseq, lines, body);
        push_send(&mut self.xml, &request, true);
        if method == "INVITE" { self.may(100) } else { self }
    }

    /// A re-INVITE of the other side, answered, and its ACK.
    pub fn answer_reinvite(mut self) -> Self {
        self.xml += "  <recv request=\"INVITE\"/>\n";
        let ok = OK.replace("Content-Length: 0\n", "");
        push_send(&mut self.xml, &with_body(ok, SDP), true);
        self.xml += "  <recv request=\"ACK\"/>\n";
        self
    }

    /// CANCEL of the INVITE that waits.
    pub fn cancel(mut self) -> Self {
        let back = places(&self.xml) - self.invite.1;
        let cancel = format!(
            "CANCEL sip:[field1]@[domain] SIP/2.0\n\
             Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-{back}];rport\n\
             Max-Forwards: 70\nFrom: {CALLER}\nTo: {CALLEE}\nCall-ID: [call_id]\n\
             CSeq: {} CANCEL\nContent-Length: 0\n",
            self.invite.0
        );
        push_send(&mut self.xml, &cancel, true);
        self
    }

    /// BYE and its 200.
    pub fn hang_up(self) -> Self {
        self.then("BYE", "", "").expect(200)
    }

    /// Waits.
    pub fn pause(mut self, ms: u32) -> Self {
        let _ = writeln!(self.xml, "  <pause milliseconds=\"{ms}\"/>");
        self
    }

    /// The scenario.
    pub fn xml(&self) -> String {
        document(&self.xml)
    }

    fn in_dialog(&mut self, method: &str, cseq: u32, lines: &str, body: &str) -> String {
        let to = format!("{CALLEE}[peer_tag_param]");
        let request = self.text(method, "[next_url]", (&to, cseq), &format!("[routes]\n{lines}"));
        (self.mangle)(with_body(request, body))
    }

    fn request(&mut self, method: &str, to: &str, tag: &str, lines: &str, body: &str) -> String {
        self.cseq += 1;
        let (uri, to) = ("sip:[field1]@[domain]", format!("{to}{tag}"));
        let request = self.text(method, uri, (&to, self.cseq), lines);
        (self.mangle)(with_body(request, body))
    }

    fn text(&self, method: &str, uri: &str, (to, cseq): (&str, u32), lines: &str) -> String {
        format!(
            "{method} {uri} SIP/2.0\n{VIA}Max-Forwards: 70\nFrom: {CALLER}\nTo: {to}\n\
             Call-ID: [call_id]\nCSeq: {cseq} {method}\n\
             Contact: <sip:[field0]@[local_ip]:[local_port]>\n{lines}"
        )
    }
}

impl Default for Caller {
    fn default() -> Self {
        Self::new()
    }
}

/// A 200 to the last request.
const OK: &str = "SIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n\
    [last_CSeq:]\nContact: <sip:sipp@[local_ip]:[local_port]>\nContent-Length: 0\n";

impl Callee {
    /// Nobody called yet.
    pub fn new() -> Self {
        Self::seeing(2)
    }

    /// The same where so many Vias stand in what comes.
    pub fn seeing(vias: u32) -> Self {
        Self { xml: String::new(), cseq: 0, vias }
    }

    /// An INVITE must come; what its responses need is kept.
    pub fn invited(self) -> Self {
        self.invited_with(".*")
    }

    /// An INVITE with these words somewhere must come.
    pub fn invited_with(self, regexp: &str) -> Self {
        self.asked("INVITE", regexp)
    }

    /// The same for any request that begins something.
    pub fn asked(mut self, method: &str, regexp: &str) -> Self {
        let _ = write!(
            self.xml,
            "  <recv request=\"{method}\" rrs=\"true\"><action>\n    \
             <ereg regexp=\"{regexp}\" search_in=\"msg\" check_it=\"true\" assign_to=\"seen\"/>\n"
        );
        for (header, occurrence, name) in [
            ("Via:", 1, "via1"),
            ("Via:", 2, "via2"),
            ("Record-Route:", 1, "route"),
            ("From:", 1, "from"),
            ("To:", 1, "to"),
            ("CSeq:", 1, "cseq"),
        ] {
            if header == "Via:" && occurrence > self.vias {
                continue;
            }
            let _ = writeln!(
                self.xml,
                "    <ereg regexp=\".*\" search_in=\"hdr\" header=\"{header}\" \
                 occurrence=\"{occurrence}\" assign_to=\"{name}\"/>"
            );
        }
        let _ = writeln!(self.xml, "{}  </action></recv>", log_port("invited"));
        self
    }

    /// A response to the INVITE, with a To tag of its own.
    pub fn respond(mut self, status: u16, tag: &str, lines: &str, body: &str) -> Self {
        let below = if self.vias > 1 { "Via:[$via2]\n" } else { "" };
        let head = format!(
            "SIP/2.0 {status} Status\nVia:[$via1]\n{below}Record-Route:[$route]\n\
             From:[$from]\nTo:[$to];tag=[pid]{tag}\nCall-ID: [call_id]\nCSeq:[$cseq]\n\
             Contact: <sip:callee@[local_ip]:[local_port]>\n{lines}"
        );
        push_send(&mut self.xml, &with_body(head, body), status >= 200);
        self
    }

    /// A response to the last request as SIPp copies it: for headers in other shapes.
    pub fn respond_plainly(mut self, status: u16, tag: &str, body: &str) -> Self {
        let tag = if tag.is_empty() { String::new() } else { format!(";tag=[pid]{tag}") };
        let head = format!(
            "SIP/2.0 {status} Status\n[last_Via:]\n[last_Record-Route:]\n[last_From:]\n\
             [last_To:]{tag}\n[last_Call-ID:]\n[last_CSeq:]\n\
             Contact: <sip:callee@[local_ip]:[local_port]>\n"
        );
        // SIPp would wait for an ACK, which only an INVITE gets.
        push_send(&mut self.xml, &with_body(head, body), false);
        self
    }

    /// A request must come.
    pub fn expect(mut self, method: &str) -> Self {
        let _ = writeln!(self.xml, "  <recv request=\"{method}\"/>");
        self
    }

    /// A request with these words somewhere must come.
    pub fn expect_with(mut self, method: &str, regexp: &str) -> Self {
        let _ = writeln!(
            self.xml,
            "  <recv request=\"{method}\"><action><ereg regexp=\"{regexp}\" search_in=\"msg\" \
             check_it=\"true\" assign_to=\"seen\"/></action></recv>"
        );
        self
    }

    /// A request must come; it is answered 200.
    pub fn serve(self, method: &str) -> Self {
        self.serve_with(method, "")
    }

    /// The same with a body.
    pub fn serve_with(mut self, method: &str, body: &str) -> Self {
        self = self.expect(method);
        self.respond_plainly(200, "", body)
    }

    /// A request of the callee in the dialog of `tag`, and the 200 it gets.
    pub fn ask(mut self, method: &str, tag: &str, lines: &str, body: &str) -> Self {
        self = self.send(method, tag, lines, body);
        self.xml += "  <recv response=\"200\"/>\n";
        self
    }

    /// A request of the callee in the dialog of `tag`.
    pub fn send(mut self, method: &str, tag: &str, lines: &str, body: &str) -> Self {
        self.cseq += 1;
        let head = format!(
            "{method} [next_url] SIP/2.0\n{VIA}Max-Forwards: 70\nFrom:[$to];tag=[pid]{tag}\n\
             To:[$from]\nCall-ID: [call_id]\nCSeq: {} {method}\n\
             Contact: <sip:callee@[local_ip]:[local_port]>\n[routes]\n{lines}",
            self.cseq
        );
        push_send(&mut self.xml, &with_body(head, body), true);
        self
    }

    /// Waits.
    pub fn pause(mut self, ms: u32) -> Self {
        let _ = writeln!(self.xml, "  <pause milliseconds=\"{ms}\"/>");
        self
    }

    /// Sends the packets of a capture from the media port. SIPp needs root for it.
    pub fn play(mut self, capture: &std::path::Path) -> Self {
        let _ = writeln!(
            self.xml,
            "  <nop><action><exec play_pcap_audio=\"{}\"/></action></nop>",
            capture.display()
        );
        self
    }

    /// A re-INVITE of the callee, its 200 and ACK.
    pub fn reinvite(mut self, tag: &str) -> Self {
        self = self.send("INVITE", tag, "", SDP);
        self.xml += "  <recv response=\"100\" optional=\"true\"/>\n";
        self.xml += "  <recv response=\"200\" rrs=\"true\"/>\n";
        let ack = format!(
            "ACK [next_url] SIP/2.0\n{VIA}Max-Forwards: 70\nFrom:[$to];tag=[pid]{tag}\n\
             To:[$from]\nCall-ID: [call_id]\nCSeq: {} ACK\n[routes]\nContent-Length: 0\n",
            self.cseq
        );
        push_send(&mut self.xml, &ack, false);
        self
    }

    /// The scenario.
    pub fn xml(&self) -> String {
        document(&self.xml)
    }
}

impl Default for Callee {
    fn default() -> Self {
        Self::new()
    }
}

/// Head and body; a body is SDP unless the head names its type.
fn with_body(head: String, body: &str) -> String {
    let lower = head.to_ascii_lowercase();
    let typed = lower.contains("\ncontent-type:") || lower.contains("\nc:");
    let kind = if body.is_empty() || typed { "" } else { "Content-Type: application/sdp\n" };
    if body.is_empty() {
        return format!("{head}Content-Length: 0\n\n");
    }
    format!("{head}{kind}Content-Length: [len]\n\n{body}")
}

/// How many messages and pauses there are: SIPp counts back over them in `[branch-n]`.
fn places(xml: &str) -> usize {
    ["<send", "<recv", "<pause"].iter().map(|kind| xml.matches(kind).count()).sum()
}

fn push_send(xml: &mut String, text: &str, again: bool) {
    let again = if again { " retrans=\"500\"" } else { "" };
    let end = if text.contains("\n\n") { "" } else { "\n" };
    let _ = writeln!(xml, "  <send{again}><![CDATA[\n{text}{end}]]></send>");
}

/// Logs the port of a message's description, as `WHAT PORT`.
fn log_port(what: &str) -> String {
    format!(
        "    <ereg regexp=\"m=audio ([0-9]+)\" search_in=\"msg\" assign_to=\"seen,port\"/>\n    \
         <log message=\"{what} [$port]\"/>\n"
    )
}

/// SIPp refuses variables that are set and never read, and names that are never set.
fn document(steps: &str) -> String {
    let assigned = steps.split("assign_to=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let names: BTreeSet<&str> = assigned.flat_map(|names| names.split(',')).collect();
    let reference = match names.is_empty() {
        true => String::new(),
        false => {
            let names: Vec<&str> = names.into_iter().collect();
            format!("  <Reference variables=\"{}\"/>\n", names.join(","))
        }
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<scenario name=\"flow\">\n{steps}{reference}\
         </scenario>\n"
    )
}
