//! `whimbrel.toml`: one table per role, every unknown field refused with its place.

mod dscp;
mod network;
mod sense;
mod turn;

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

pub use dscp::Dscp;
pub use network::{Dns, NameServer, Transports};
pub use turn::Turn;

/// The whole configuration. An empty file is a working server.
#[derive(Debug, Clone, Deserialize, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The first tenant's domain, used when the data folder is empty.
    pub domain: Option<String>,
    /// The address others reach this server at, when it is not one of its own.
    pub public_ip: Option<IpAddr>,
    /// Signalling shards (threads). Default: one per core, at most 16.
    pub shards: Option<u16>,
    /// Named addresses; without any, one interface on every address.
    pub interface: Vec<Interface>,
    /// `[ports]`.
    pub ports: Ports,
    /// `[tls]`.
    pub tls: Tls,
    /// `[log]`.
    pub log: Log,
    /// `[edge]`.
    pub edge: edge::Config,
    /// `[[peer]]`: carriers, gateways and other servers.
    pub peer: Vec<edge::PeerConfig>,
    /// `[profile.NAME]`: how kinds of peers want to be spoken to.
    pub profile: BTreeMap<String, edge::Profile>,
    /// `[registrar]`.
    pub registrar: Registrar,
    /// `[media]`.
    pub media: Media,
    /// `[recording]`.
    pub recording: Recording,
    /// `[turn]`.
    pub turn: Turn,
    /// `[dns]`.
    pub dns: Dns,
    /// `[transport]`.
    pub transport: Transports,
}

/// `[[interface]]`: a named address (design decision 12).
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Its name, for logs and for other tables to refer to.
    pub name: String,
    /// The address to bind.
    pub bind: IpAddr,
    /// The address to write into Via, Record-Route and SDP. Default: `bind`.
    #[serde(default)]
    pub advertise: Option<IpAddr>,
    /// A name to write into Via and Record-Route instead of that address. It must lead here.
    #[serde(default)]
    pub sip_name: Option<String>,
    /// `udp`, `tcp`, `tls`. Default: all of them.
    #[serde(default = "all_transports")]
    pub transports: Vec<TransportName>,
    /// The mark of media that leaves by it.
    #[serde(default = "Dscp::of_media")]
    pub dscp_media: Dscp,
    /// The mark of signalling.
    #[serde(default = "Dscp::of_signalling")]
    pub dscp_signalling: Dscp,
}

/// A transport in the configuration.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum TransportName {
    Udp,
    Tcp,
    Tls,
}

/// `[ports]`: where to listen.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Ports {
    /// SIP over UDP and TCP.
    pub sip: u16,
    /// A second port for SIP over UDP and TCP: routers that rewrite SIP look at 5060 only, and
    /// phones learn from it what their NAT does (STUN OTHER-ADDRESS, RFC 5780). Default: none.
    pub sip_alternate: Option<u16>,
    /// SIP over TLS.
    pub sips: u16,
    /// Console, API, web phone and SIP over WebSocket.
    pub https: u16,
    /// SIP over WebSocket in clear, at `/sip` (RFC 7118): for a proxy that ends TLS in front of this
    /// server. Default: none.
    pub ws: Option<u16>,
    /// Media, first port.
    pub rtp_min: u16,
    /// Media, last port.
    pub rtp_max: u16,
    /// Metrics and health.
    pub metrics: SocketAddr,
}

/// `[tls]`: an operator's own certificate instead of the built-in authority's.
#[derive(Debug, Clone, Deserialize, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The certificate chain, PEM.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    pub key: Option<PathBuf>,
}

/// `[log]`.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A level (`info`) or a filter (`edge=debug,info`).
    pub level: String,
    /// One JSON object a line.
    pub json: bool,
}

/// `[registrar]`: how long and how many.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Registrar {
    /// Least seconds; below it 423.
    pub min_expires_s: u32,
    /// Most seconds; more is shortened.
    pub max_expires_s: u32,
    /// Seconds when nothing is asked for.
    pub default_expires_s: u32,
    /// Most devices of one address of record.
    pub contacts_max: usize,
}

/// `[media]`: the relay.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Media {
    /// Packet threads. Default: one per core.
    pub threads: Option<usize>,
    /// Seconds without a packet from either side, not on hold, after which a call is ended.
    pub silence_s: u64,
    /// Microseconds a busy packet thread rests, so that one wake-up finds several packets.
    pub rest_us: u64,
    /// Read each port's socket by itself, also where the kernel could lead all ports to one.
    pub socket_per_port: bool,
    /// Network interfaces on which the kernel forwards established plain streams by itself (XDP).
    pub fast_path: Vec<String>,
    /// `[media.phones]`: codecs and digits of phones.
    pub phones: relay::CodecPolicy,
    /// `[media.browsers]`: of browsers.
    pub browsers: relay::CodecPolicy,
    /// `[media.peers.NAME]`: of the `[[peer]]` with this name.
    pub peers: BTreeMap<String, relay::CodecPolicy>,
}

impl Registrar {
    /// As the registrar takes them.
    pub fn limits(&self) -> registrar::Limits {
        registrar::Limits {
            min_expires: self.min_expires_s,
            max_expires: self.max_expires_s,
            default_expires: self.default_expires_s,
            max_contacts: self.contacts_max,
        }
    }
}

impl Default for Registrar {
    fn default() -> Self {
        let limits = registrar::Limits::default();
        Self {
            min_expires_s: limits.min_expires,
            max_expires_s: limits.max_expires,
            default_expires_s: limits.default_expires,
            contacts_max: limits.max_contacts,
        }
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            sip: 5060,
            sip_alternate: None,
            sips: 5061,
            https: 8443,
            ws: None,
            rtp_min: 10_000,
            rtp_max: 20_000,
            metrics: SocketAddr::from((Ipv4Addr::LOCALHOST, 9640)),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), json: false }
    }
}

/// `[recording]`: what the server writes down of what is said.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Recording {
    /// Which calls.
    pub calls: RecordedCalls,
    /// Only calls that begin in these tenants' domains. Default: in all.
    pub tenants: Vec<String>,
    /// Whether they are written to files here.
    pub files: bool,
    /// Whether a phone of ours may have the recording of its call rest and go on, by its recording
    /// key (INFO with `Record: off` and `Record: on`).
    pub phones_may_pause: bool,
    /// `[recording.siprec]`: a recording server that they are recorded by (RFC 7866). Default: none.
    pub siprec: Option<siprec::Config>,
    /// WAV at 16 kHz instead of Ogg Opus.
    pub wav: bool,
    /// Where to; `recordings` in the data folder unless set.
    pub folder: Option<PathBuf>,
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            calls: RecordedCalls::None,
            tenants: Vec::new(),
            files: true,
            phones_may_pause: false,
            siprec: None,
            wav: false,
            folder: None,
        }
    }
}

/// Which calls are recorded.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum RecordedCalls {
    /// None of them.
    #[default]
    None,
    /// All of them. Whoever sets it answers for the consent of those who talk.
    All,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            threads: None,
            silence_s: 60,
            rest_us: relay::Config::default().rest_us,
            socket_per_port: false,
            fast_path: Vec::new(),
            phones: relay::CodecPolicy::default(),
            browsers: relay::CodecPolicy::default(),
            peers: BTreeMap::new(),
        }
    }
}

/// What is wrong with a configuration file, and where.
#[derive(Debug)]
pub struct ConfigError {
    file: PathBuf,
    place: Option<(usize, usize)>,
    message: String,
    remedy: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(remedy) = &self.remedy {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads and checks a file.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| ConfigError {
            file: file.into(),
            place: None,
            message: format!("cannot be read: {error}"),
            remedy: Some("check the path given to --config and its permissions".into()),
        })?;
        Self::parse(&text, file)
    }

    /// Reads and checks text that came from `file`.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let mut config: Self =
            toml::from_str(text).map_err(|error| at_place(&error, text, file))?;
        config.take_over_peers(file)?;
        config.check().map_err(|(message, remedy)| ConfigError {
            file: file.into(),
            place: None,
            message,
            remedy: Some(remedy),
        })?;
        Ok(config)
    }

    /// Gives the edge its peers, with the passwords that stand in files, and what it must know of other
    /// tables.
    fn take_over_peers(&mut self, file: &Path) -> Result<(), ConfigError> {
        for peer in &mut self.peer {
            let Some(secret) = &peer.password_file else { continue };
            let read = crate::accounts::read_password(secret).map_err(|error| ConfigError {
                file: file.into(),
                place: None,
                message: format!("[[peer]] {}: password_file: {error:#}", peer.name),
                remedy: Some("name a file with the password and nothing else".into()),
            })?;
            peer.password = Some(sansio::Redacted::new(read));
        }
        self.edge.peers.clone_from(&self.peer);
        self.edge.profiles.clone_from(&self.profile);
        let recorded = self.recording.calls != RecordedCalls::None;
        self.edge.recorded = recorded.then(|| self.recording.tenants.clone());
        Ok(())
    }

    fn check(&self) -> Result<(), (String, String)> {
        self.edge.check().map_err(|e| {
            let text = e.to_string();
            let of_peer = text.starts_with("[[peer]]");
            let remedy = if of_peer { "correct that [[peer]]" } else { "correct the [edge] table" };
            (text, remedy.to_string())
        })?;
        sense::check(self)?;
        turn::check(self)?;
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return Err((
                "[tls] names only one of certificate and key".into(),
                "set both, or neither to use the built-in authority".into(),
            ));
        }
        let ports = &self.ports;
        if ports.rtp_min >= ports.rtp_max || ports.rtp_max - ports.rtp_min < 3 {
            return Err((
                format!(
                    "ports.rtp_min {} .. ports.rtp_max {} holds no call",
                    ports.rtp_min, ports.rtp_max
                ),
                "give at least four ports".into(),
            ));
        }
        for name in self.interface.iter().filter_map(|i| i.sip_name.as_ref()) {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
            if name.is_empty() || name.len() > 253 || !name.chars().all(fits) {
                return Err((
                    format!("[[interface]] sip_name '{name}' is not a host name"),
                    "write a name such as sip.example.com, without a port".into(),
                ));
            }
        }
        if self.shards == Some(0) || self.shards > Some(64) {
            return Err(("shards must be 1 to 64".into(), "leave it out for one per core".into()));
        }
        Ok(())
    }
}

fn all_transports() -> Vec<TransportName> {
    vec![TransportName::Udp, TransportName::Tcp, TransportName::Tls]
}

fn at_place(error: &toml::de::Error, text: &str, file: &Path) -> ConfigError {
    let place = error.span().map(|span| line_and_column(text, span.start));
    let mut message = error.message().to_string();
    let remedy = nearest_field(&message);
    if remedy.is_none()
        && let Some(field) = error.span().and_then(|span| field_at(text, span.start))
    {
        message = format!("{field}: {message}");
    }
    ConfigError { file: file.into(), place, remedy, message }
}

/// The field whose value stands at a place, with its table: `media.silence_s`.
fn field_at(text: &str, at: usize) -> Option<String> {
    let (line, _) = line_and_column(text, at);
    let lines: Vec<&str> = text.lines().collect();
    let (key, _) = lines.get(line - 1)?.split_once('=')?;
    let table = lines[..line].iter().rev().find_map(|l| {
        let name = l.trim().trim_matches(['[', ']']);
        l.trim_start().starts_with('[').then(|| name.to_string())
    });
    let key = key.trim();
    Some(table.map_or_else(|| key.to_string(), |table| format!("{table}.{key}")))
}

fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// From serde's "unknown field `x`, expected one of `a`, `b`", the known name closest to `x`.
fn nearest_field(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field ")?;
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let wrong = quoted.next()?;
    let best = quoted.min_by_key(|known| strsim::damerau_levenshtein(known, wrong))?;
    Some(format!("did you mean `{best}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Config::parse(text, Path::new("whimbrel.toml")).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_file_is_a_working_server() {
        let config = Config::parse("", Path::new("x")).unwrap();
        assert_eq!(config.ports.sip, 5060);
        assert_eq!(config.ports.metrics.to_string(), "127.0.0.1:9640");
    }

    #[test]
    fn an_unknown_field_is_refused_with_line_column_and_the_nearest_name() {
        let text = error("domain = \"example.org\"\n\n[ports]\nspi = 5070\n");
        assert!(text.starts_with("whimbrel.toml:4:1: unknown field `spi`"), "{text}");
        assert!(text.ends_with("did you mean `sip`?"), "{text}");
        let text = error("[prots]\nsip = 1\n");
        assert!(text.contains("whimbrel.toml:1:2") && text.contains("`ports`?"), "{text}");
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_with_its_place() {
        let text = error("[ports]\nsip = \"many\"\n");
        assert!(text.starts_with("whimbrel.toml:2:7: ports.sip: invalid type"), "{text}");
        assert!(error("shards = 0").contains("1 to 64"));
        assert!(
            error("[ports]\nsip_alternate = 5061")
                .contains("sip_alternate 5061 is used by ports.sips")
        );
        assert!(error("[ports]\nws = 8443").contains("ports.ws 8443 is used"));
        assert!(error("[tls]\nkey = \"k.pem\"").contains("only one of certificate and key"));
        assert!(error("[edge]\ndigest_algorithms = [\"MD4\"]").contains("MD4"));
    }

    /// A commented field or table without its comment sign; anything else as it is.
    fn switched_on(line: &str) -> &str {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if bare.contains(" = ") || bare.starts_with('[') { bare } else { line }
    }

    /// The tables on the reference page, and what each must have besides.
    const TABLES: [(&str, &str); 18] = [
        ("", ""),
        ("ports", ""),
        ("tls", ""),
        ("log", ""),
        ("edge", ""),
        ("edge.guesses", ""),
        ("edge.admission", ""),
        ("edge.conduct", ""),
        ("registrar", ""),
        ("media", ""),
        ("media.phones", ""),
        ("recording", ""),
        ("recording.siprec", "server = \"sip:srs@192.0.2.1\""),
        ("turn", ""),
        ("dns", ""),
        ("transport", ""),
        ("[interface]", "name = \"a\"\nbind = \"0.0.0.0\""),
        ("[peer]", "name = \"a\"\naddress = \"192.0.2.1\""),
    ];

    #[test]
    fn the_reference_page_holds_every_field_with_its_default() {
        let page = include_str!("../../../docs/reference/config.md");
        let block = page.split("```toml\n").nth(1).and_then(|p| p.split("```").next()).unwrap();
        let written = Config::parse(block, Path::new("config.md")).unwrap();
        assert_eq!(written, Config::default());
        // With every commented field switched on it still parses: no name in it is wrong.
        let (mut top, mut rest) = (String::new(), String::new());
        for line in block.lines() {
            let into = if line.starts_with('[') || !rest.is_empty() { &mut rest } else { &mut top };
            into.push_str(switched_on(line));
            into.push('\n');
        }
        let all = Config::parse(&format!("{top}{rest}"), Path::new("config.md")).unwrap();
        assert_eq!(all.interface.len(), 1);
        // And nothing is missing: each table names its fields to who writes a wrong one.
        let commented = |line: &str| line.trim_start_matches("# ").to_string();
        let lines: Vec<String> = block.lines().map(commented).collect();
        for (table, needs) in TABLES {
            let text = format!("[{table}]\n{needs}\nno_such_field = 1\n");
            let text = if table.is_empty() { "no_such_field = 1\n".into() } else { text };
            let known = error(&text);
            let fields: Vec<&str> = known.split('`').skip(3).step_by(2).collect();
            assert!(fields.len() > 1, "[{table}]: {known}");
            let names = |field: &str| {
                let own = |line: &String| line.starts_with(&format!("{field} ="));
                let table = |line: &String| line.starts_with('[') && line.contains(field);
                lines.iter().any(|line| own(line) || table(line))
            };
            // A file that is not there would be refused: it stands in a comment.
            let wanted = fields.iter().filter(|field| **field != "password_file");
            let missing: Vec<&&str> = wanted.filter(|field| !names(field)).collect();
            assert!(missing.is_empty(), "[{table}] misses {missing:?}");
        }
        assert_eq!((all.ports.sip_alternate, all.ports.ws), (Some(5070), Some(8080)));
        assert!(all.tls.key.is_some() && all.shards.is_some() && all.media.threads.is_some());
    }

    #[test]
    fn interfaces_are_named() {
        let text = "[[interface]]\nname = \"public\"\nbind = \"0.0.0.0\"\nadvertise = \"198.51.100.7\"\ntransports = [\"udp\", \"tls\"]\n";
        let config = Config::parse(text, Path::new("x")).unwrap();
        assert_eq!(config.interface[0].transports, [TransportName::Udp, TransportName::Tls]);
        let named = text.replace("bind", "sip_name = \"sip.example.com:5060\"\nbind");
        let error = Config::parse(&named, Path::new("w.toml")).unwrap_err().to_string();
        assert!(error.contains("sip_name 'sip.example.com:5060' is not a host name"), "{error}");
    }
}
