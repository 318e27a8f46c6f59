//! The command line. Names and flags here are a contract: scripts and tests rely on them.

use crate::phone::{TransportList, TurnUri};
use crate::relay_alone::RelayArgs;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Mobile VoIP that keeps the call while the phone keeps moving.
#[derive(Debug, Parser)]
#[command(name = "whimbrel", version, max_term_width = 100)]
pub struct Cli {
    /// The data folder: database, journals, keys, certificates.
    #[arg(long, global = true, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start the server.
    Serve(ServeArgs),
    /// The media relay alone, directed by rtpengine's NG control protocol (Kamailio, OpenSIPS).
    Relay(Box<RelayArgs>),
    /// The TURN server alone: ports lent to phones and browsers that nobody can reach directly.
    Turn(Box<TurnArgs>),
    /// A phone in the terminal, or headless with --call or --answer.
    Phone(Box<PhoneArgs>),
    /// Domains served here.
    #[command(subcommand)]
    Tenant(TenantVerb),
    /// People and their passwords.
    #[command(subcommand)]
    User(UserVerb),
    /// The console's administrators.
    #[command(subcommand)]
    Admin(AdminVerb),
    /// Call records.
    #[command(subcommand)]
    Records(RecordsVerb),
    /// Devices registered now.
    #[command(subcommand)]
    Registrations(ListVerb),
    /// Calls in progress.
    #[command(subcommand)]
    Calls(ListVerb),
    /// Sources that are not listened to, because they behaved as scanners do.
    #[command(subcommand)]
    Bans(BansVerb),
    /// Accounts that are held, because they call as programs do.
    #[command(subcommand)]
    Conduct(ConductVerb),
    /// Recordings of calls.
    #[command(subcommand)]
    Recording(RecordingVerb),
    /// Why a call would go where it goes.
    #[command(subcommand)]
    Route(RouteVerb),
    /// Have the running server read its configuration and certificates again. Nothing is dropped.
    Reload(ReloadArgs),
    /// Checks configuration, ports, certificate, DNS, store and clock, and says what to do.
    Doctor(DoctorArgs),
}

#[derive(Debug, Args, Default, Clone)]
pub struct ServeArgs {
    /// The configuration file. Without one, everything has a default.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Listen on this address instead of all of them (metrics stay on 127.0.0.1).
    #[arg(long, value_name = "IP")]
    pub listen_ip: Option<IpAddr>,
    /// The address others reach this server at, when it is not one of its own (cloud 1:1 NAT).
    #[arg(long, value_name = "IP")]
    pub public_ip: Option<IpAddr>,
    /// The first tenant's domain, when the data folder is empty. Default: the address listened on.
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
}

#[derive(Debug, Args, Clone)]
pub struct TurnArgs {
    /// Listen here, over UDP and TCP. Given once for each address.
    #[arg(long, value_name = "ADDR:PORT", required = true)]
    pub listen: Vec<SocketAddr>,
    /// Listen here over TLS, with --certificate and --key or one of the own authority.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen_tls: Vec<SocketAddr>,
    /// The address of relayed ports, one of each family, and the one others reach it at if that is
    /// another. Default: those listened on.
    #[arg(long, value_name = "IP[!PUBLIC-IP]")]
    pub relay_ip: Vec<TurnRelay>,
    /// The relayed ports.
    #[arg(long, value_name = "MIN-MAX", default_value = "20002-32000")]
    pub relay_ports: PortRange,
    /// The realm of long-term credentials.
    #[arg(long, value_name = "REALM", default_value = "whimbrel")]
    pub realm: String,
    /// Somebody with a password. Others on this machine see it: better --users-file.
    #[arg(long, value_name = "USER:PASSWORD")]
    pub user: Vec<String>,
    /// A file with a USER:PASSWORD on each line.
    #[arg(long, value_name = "FILE")]
    pub users_file: Option<PathBuf>,
    /// A file with the secret that time-limited credentials are made from.
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// A network inside that may be relayed to, such as 10.1.0.0/16; without it none may.
    #[arg(long, value_name = "NETWORK")]
    pub allow_peer: Vec<relay::turn::Prefix>,
    /// A network that may not.
    #[arg(long, value_name = "NETWORK")]
    pub deny_peer: Vec<relay::turn::Prefix>,
    /// Allocations at once.
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub allocations: usize,
    /// .. of one user.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub per_user: usize,
    /// Where clients are sent when there are as many as may be.
    #[arg(long, value_name = "ADDR:PORT")]
    pub alternate: Option<SocketAddr>,
    /// Microseconds that packets may wait for each other under load; 0: they never do.
    #[arg(long, value_name = "US", default_value_t = 500)]
    pub batch_us: u32,
    /// Packet threads; 0 for one per core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// The certificate chain for TLS, PEM.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,
}

/// An address of relayed ports.
#[derive(Debug, Clone, Copy)]
pub struct TurnRelay(pub relay::turn::RelayAddress);

impl FromStr for TurnRelay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (bind, public) = text.split_once('!').unwrap_or((text, text));
        let ip =
            |text: &str| text.parse::<IpAddr>().map_err(|_| format!("'{text}' is no IP address"));
        Ok(Self(relay::turn::RelayAddress { bind: ip(bind)?, advertise: ip(public)? }))
    }
}

/// Ports from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange(pub u16, pub u16);

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ends = text.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        match ends {
            Some((min, max)) if 0 < min && min < max => Ok(Self(min, max)),
            _ => Err(format!("'{text}' is no range of ports; write one such as 10000-20000")),
        }
    }
}

#[derive(Debug, Args, Clone)]
pub struct ReloadArgs {
    /// One JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args, Clone)]
pub struct DoctorArgs {
    /// The configuration file `serve` would be given.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The address `serve` would be given.
    #[arg(long, value_name = "IP")]
    pub listen_ip: Option<IpAddr>,
    /// One JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args, Clone)]
pub struct PhoneArgs {
    /// Who to be: user@domain.
    #[arg(long, value_name = "USER@DOMAIN")]
    pub account: String,
    /// A file that holds the password; one newline at its end is dropped.
    #[arg(long, value_name = "FILE")]
    pub password_file: PathBuf,
    /// The server, when it is not what the domain resolves to.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub server: Option<String>,
    /// Ask this name server for the domain's servers, instead of the system's.
    #[arg(long, value_name = "IP[:PORT]", conflicts_with = "server")]
    pub dns: Option<String>,
    /// How to reach it: udp, tcp, tls or wss. Several, most wanted first, each with a port if it is
    /// not the usual one (`udp,tcp,tls,wss:443`): the next where the network blocks one. `auto` is
    /// all four.
    #[arg(long, value_name = "LIST", default_value = "tls,wss")]
    pub transport: TransportList,
    /// How sound is encrypted: `auto` as the transport is, `zrtp` by keys of the two phones alone (or
    /// no sound), `prefer-zrtp` the same where the other phone can.
    #[arg(long, value_enum, default_value_t = EncryptionArg::Auto)]
    pub encryption: EncryptionArg,
    /// Read the other side's short string (ZRTP) from the standard input, in letters or in words: if
    /// it is ours, the other side is remembered as the one it says it is. Headless.
    #[arg(long)]
    pub compare: bool,
    /// The codec to prefer.
    #[arg(long, value_enum, default_value_t = CodecArg::Opus)]
    pub codec: CodecArg,
    /// A private authority's certificate to trust, besides the one of a server on this machine.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Whether media finds its way by ICE: `auto` speaks it with whoever does, `relay` uses nothing
    /// but addresses borrowed from --turn, `off` speaks none.
    #[arg(long, value_enum, default_value_t = IceArg::Auto)]
    pub ice: IceArg,
    /// A TURN server: `turn:HOST[:PORT][?transport=udp|tcp]` or `turns:HOST[:PORT]`. Given once for each;
    /// those over TCP and TLS are used where UDP comes to nothing. Of several, and of several addresses
    /// of one, the nearest lends; `;cost=MS` behind one has it count as farther away.
    #[arg(long, value_name = "URI")]
    pub turn: Vec<TurnUri>,
    /// Who to be there. Default: the account's user.
    #[arg(long, value_name = "USER", requires = "turn")]
    pub turn_user: Option<String>,
    /// A file with the password there. Default: the account's.
    #[arg(long, value_name = "FILE", requires = "turn")]
    pub turn_password_file: Option<PathBuf>,
    /// Place a call, headless.
    #[arg(long, value_name = "URI", conflicts_with = "answer")]
    pub call: Option<String>,
    /// Answer the next call, headless.
    #[arg(long)]
    pub answer: bool,
    /// Say this file instead of the microphone.
    #[arg(long, value_name = "FILE.wav")]
    pub play: Option<PathBuf>,
    /// Say a tone of this many hertz.
    #[arg(long, value_name = "HZ", conflicts_with = "play")]
    pub tone: Option<f32>,
    /// Write what is heard to this file.
    #[arg(long, value_name = "FILE.wav")]
    pub record: Option<PathBuf>,
    /// End after this many seconds from the start of the process: BYE, exit 0.
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Send these DTMF digits once the call is up.
    #[arg(long, value_name = "DIGITS")]
    pub dtmf: Option<String>,
    /// Send the other side of the call to this address once the call is up (blind transfer).
    #[arg(long, value_name = "URI")]
    pub transfer: Option<String>,
    /// Seconds from the answer to the transfer.
    #[arg(long, value_name = "N", default_value_t = 2, requires = "transfer")]
    pub transfer_after: u64,
    /// Talk to the transfer's target first, then join the two (attended transfer).
    #[arg(long, requires = "transfer")]
    pub attended: bool,
    /// Talk to the transfer's target first, then bring the other side of the call in (three hear
    /// each other, where the target's phone knows Join).
    #[arg(long, requires = "transfer", conflicts_with = "attended")]
    pub join: bool,
    /// When called, send sound this many seconds before answering (early media).
    #[arg(long, value_name = "N", requires = "answer")]
    pub early_media: Option<u64>,
    /// Send this text to --to and end, headless.
    #[arg(long, value_name = "TEXT", requires = "to", conflicts_with_all = ["call", "answer"])]
    pub message: Option<String>,
    /// Whom --message is for.
    #[arg(long, value_name = "URI", requires = "message")]
    pub to: Option<String>,
    /// One JSON object per event, and a last one with the call's result and quality.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IceArg {
    Auto,
    Relay,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CodecArg {
    Opus,
    G722,
    Pcmu,
    Pcma,
    /// Only where the program was built with it.
    #[cfg(feature = "g729")]
    G729,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EncryptionArg {
    Auto,
    Zrtp,
    PreferZrtp,
}

#[derive(Debug, Subcommand)]
pub enum TenantVerb {
    /// Serve a domain.
    Add { domain: String },
    /// The domains served.
    List {
        #[arg(long)]
        json: bool,
    },
    /// Stop serving a domain, and remove its users.
    Remove { domain: String },
}

#[derive(Debug, Subcommand)]
pub enum UserVerb {
    /// Add a user; without --password-file a random password is made and printed.
    Add {
        #[arg(value_name = "USER@DOMAIN")]
        user: String,
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// The users.
    List {
        #[arg(long)]
        json: bool,
    },
    /// Remove a user.
    Remove {
        #[arg(value_name = "USER@DOMAIN")]
        user: String,
    },
    /// Change a password; without --password-file a random one is made and printed.
    Password {
        #[arg(value_name = "USER@DOMAIN")]
        user: String,
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Add the users of a CSV file with the header `user,password`.
    Import { file: PathBuf },
    /// The telephone numbers a user may call from and is called by.
    #[command(subcommand)]
    Number(NumberVerb),
}

#[derive(Debug, Subcommand)]
pub enum NumberVerb {
    /// Grant a number to a user.
    Add {
        #[arg(value_name = "USER@DOMAIN")]
        user: String,
        /// +49301234567 for a global number, digits alone for an extension.
        number: String,
    },
    /// Take a number back.
    Remove {
        #[arg(value_name = "USER@DOMAIN")]
        user: String,
        number: String,
    },
    /// The numbers granted, of one user or of all.
    List {
        #[arg(value_name = "USER@DOMAIN")]
        user: Option<String>,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum AdminVerb {
    /// Print a new one-time sign-in link for the console.
    Link,
}

#[derive(Debug, Subcommand)]
pub enum RecordsVerb {
    /// The latest calls.
    List {
        #[arg(long)]
        json: bool,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// One call, by its session id or Call-ID.
    Show {
        id: String,
        #[arg(long)]
        json: bool,
    },
    /// Every call, one JSON object a line.
    Export {
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum ListVerb {
    /// List them.
    List {
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum BansVerb {
    /// The bans in force.
    List {
        #[arg(long)]
        json: bool,
    },
    /// Listen to a source again, and forget what led to its ban.
    Remove {
        ip: IpAddr,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum RecordingVerb {
    /// Open a sealed recording with its tenant's key.
    Open {
        /// The file, `….sealed`.
        file: PathBuf,
        /// Where the sound goes: a new file.
        #[arg(long)]
        out: PathBuf,
        /// The key, where it is not in the data folder.
        #[arg(long)]
        key_file: Option<PathBuf>,
    },
    /// Leave out what is said from now on in a call that is being recorded.
    Pause {
        /// Its number or Session-ID, as `calls list --json` has them.
        call: String,
    },
    /// Record it again.
    Resume {
        /// Its number or Session-ID.
        call: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum ConductVerb {
    /// The accounts held now.
    List {
        #[arg(long)]
        json: bool,
    },
    /// Let an account call as before, and forget its score.
    Clear {
        #[arg(value_name = "USER@DOMAIN")]
        user: String,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum RouteVerb {
    /// The steps of the decision for a call.
    Explain {
        #[arg(long, value_name = "URI")]
        from: String,
        #[arg(long, value_name = "URI")]
        to: String,
        #[arg(long)]
        json: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn data_stands_before_or_after_the_verb() {
        for line in [
            ["whimbrel", "--data", "/d", "tenant", "list"],
            ["whimbrel", "tenant", "list", "--data", "/d"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.data, PathBuf::from("/d"));
        }
    }

    #[test]
    fn usage_errors_are_told_from_failures() {
        let error = Cli::try_parse_from(["whimbrel", "phone", "--nonsense"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
