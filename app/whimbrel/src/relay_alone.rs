//! `whimbrel relay`: the media relay alone, for those who have a SIP server already.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::cli::PortRange;
use crate::{config, logging, present, recordings, serve};

/// Below the recordings' folder.
const KEYS: &str = "keys";

#[derive(Debug, Args, Clone)]
pub struct RelayArgs {
    /// Listen for controllers here: UDP, and TCP or WebSocket on the same port. Whoever reaches
    /// this port directs the relay.
    #[arg(long, value_name = "ADDR:PORT")]
    pub ng: SocketAddr,
    /// Where media comes in.
    #[arg(long, value_name = "IP", conflicts_with = "interface")]
    pub listen_ip: Option<IpAddr>,
    /// Several places where media comes in, each with the name `direction` uses for it, and the
    /// address others reach it at if that is another: `inner/10.0.0.5`,
    /// `outer/10.0.0.6!198.51.100.7`. Given once per place; the first is the usual one.
    #[arg(long, value_name = "[NAME/]IP[!PUBLIC-IP]")]
    pub interface: Vec<RelayInterface>,
    /// The ports of RTP and RTCP.
    #[arg(long, value_name = "MIN-MAX", default_value = "10000-60000")]
    pub rtp_ports: PortRange,
    /// Packet threads; 0 for one per core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Microseconds a busy packet thread rests, so that one wake-up finds several packets: more is
    /// cheaper and later.
    #[arg(long, value_name = "US", default_value_t = 400, value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub rest: u64,
    /// Read each port's socket by itself, also where the kernel could lead all ports to one.
    #[arg(long)]
    pub socket_per_port: bool,
    /// Have the kernel forward established plain streams by itself (XDP) that come and leave by this
    /// network interface. Given once per interface.
    #[arg(long, value_name = "DEVICE")]
    pub fast_path: Vec<String>,
    /// The mark of what it sends (DSCP): EF, CS0 to CS7, AF11 to AF43, 0 to 63, or off.
    #[arg(long, value_name = "MARK", default_value = "EF")]
    pub dscp: config::Dscp,
    /// End a call nobody talks in, and nobody holds, after this many seconds.
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub silence: u64,
    /// End a call that somebody holds, and nobody talks in, after this many seconds; 0 for never. Its
    /// controller may be gone.
    #[arg(long, value_name = "S", default_value_t = 3600)]
    pub held_silence: u64,
    /// Relay late packets of a deleted call for this many seconds, unless its deletion says
    /// otherwise.
    #[arg(long, value_name = "S", default_value_t = 30)]
    pub delete_delay: u64,
    /// Where calls are recorded that a controller wants recorded: sealed files, which `whimbrel
    /// recording open` opens. Without it `start recording` is refused.
    #[arg(long, value_name = "DIR")]
    pub recording_dir: Option<PathBuf>,
    /// Where the key of recordings is kept, and made if there is none: best on another disk. Below
    /// the recordings' folder unless said otherwise.
    #[arg(long, value_name = "DIR", requires = "recording_dir")]
    pub recording_keys: Option<PathBuf>,
    /// What recordings are written as: 6 kB of sound a second, or 64.
    #[arg(long, value_name = "FORMAT", default_value = "opus", requires = "recording_dir")]
    pub recording_format: RecordingFormat,
}

/// The form of recordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RecordingFormat {
    /// Ogg Opus.
    Opus,
    /// 16-bit PCM.
    Wav,
}

/// A place where media comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayInterface(pub relay::Interface);

impl FromStr for RelayInterface {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once('/').unwrap_or(("default", text));
        let (bind, public) = match rest.split_once('!') {
            Some((bind, public)) => (bind, Some(public)),
            None => (rest, None),
        };
        let ip = |text: &str| {
            text.parse::<IpAddr>().map_err(|_| format!("{text:?} is not an IP address"))
        };
        let mut interface = relay::Interface::new(name, ip(bind)?);
        interface.advertise = public.map(ip).transpose()?;
        Ok(Self(interface))
    }
}

/// Relays until told to stop.
pub async fn run(args: &RelayArgs) -> Result<()> {
    logging::init(&config::Log::default())?;
    let relay_config = relay_config(args);
    let places: Vec<String> = relay_config.interfaces.iter().map(describe).collect();
    let server = relay::NgServer::start(relay_config, args.ng, conduct(args));
    let server = server.with_context(|| format!("--ng {}: the relay cannot start", args.ng))?;
    let PortRange(min, max) = args.rtp_ports;
    present::say(&format!("NG control on {} (UDP, TCP, WebSocket)", server.local_addr()));
    present::say(&format!("media on {}, ports {min}-{max}", places.join(", ")));
    serve::stop_signal().await;
    Ok(())
}

fn conduct(args: &RelayArgs) -> relay::NgConduct {
    let mut conduct = relay::NgConduct::new(Duration::from_secs(args.delete_delay));
    conduct.records_wav = args.recording_format == RecordingFormat::Wav;
    conduct.recording = args.recording_dir.clone().map(|folder| {
        let keys = args.recording_keys.clone().unwrap_or_else(|| folder.join(KEYS));
        recordings::setup(folder, keys)
    });
    conduct
}

fn relay_config(args: &RelayArgs) -> relay::Config {
    let named: Vec<relay::Interface> = args.interface.iter().map(|i| i.0.clone()).collect();
    let alone = || {
        // Without a word media comes in where the controllers do, as far as that is one address.
        let usual = match args.ng {
            SocketAddr::V4(ng) if ng.ip().is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ng => ng.ip(),
        };
        vec![relay::Interface::new("default", args.listen_ip.unwrap_or(usual))]
    };
    let mut interfaces = if named.is_empty() { alone() } else { named };
    interfaces.iter_mut().for_each(|interface| interface.tos = args.dscp.tos());
    relay::Config {
        interfaces,
        port_min: args.rtp_ports.0,
        port_max: args.rtp_ports.1,
        threads: args.threads,
        rest_us: args.rest,
        socket_per_port: args.socket_per_port,
        fast_path: args.fast_path.clone(),
        silence_s: args.silence,
        held_silence_s: args.held_silence,
        ..relay::Config::default()
    }
}

fn describe(interface: &relay::Interface) -> String {
    match interface.advertise {
        Some(public) => format!("{} ({}, told as {public})", interface.name, interface.bind),
        None => format!("{} ({})", interface.name, interface.bind),
    }
}
