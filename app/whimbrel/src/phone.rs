//! `whimbrel phone`: a phone in the terminal, or headless for scripts.
//!
//! ```text
//!   run ── setup: account, server, codecs ── instance ── link: connect
//!    └── Driver (engine + sockets + clock + sound) ── screen | headless
//! ```
//!
//! Start reading at [`run`], then `driver.rs`.

mod card;
mod comparing;
mod cost;
mod driver;
mod headless;
mod ice;
mod instance;
mod kept;
mod link;
mod memory;
mod nat64;
mod network;
mod pace;
mod pairs;
mod places;
mod probe;
mod report;
mod screen;
mod servers;
mod setup;
mod signals;
mod sound;
mod texting;
mod transferring;
mod transports;
mod trust;
mod ways;

pub use ice::TurnUri;
pub use transports::TransportList;

use crate::accounts::read_password;
use crate::cli::PhoneArgs;
use ::phone::{Account, Config, Phone};
use anyhow::{Result, bail};
use driver::{Driver, Sound};
use ice::Ice;
use instance::Instance;
use link::Linked;
use pairs::PairsFile;
use sansio::Redacted;
use setup::Identity;
use sound::{Sink, Source};
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use trust::TrustFile;
use ways::Ways;

/// Runs the phone to its end. False when what was asked for did not come about (exit code 1).
///
/// # Errors
/// A field that makes no sense, a server that cannot be found, reached or trusted, an account it
/// refuses: with the value and the remedy.
pub async fn run(args: PhoneArgs) -> Result<bool> {
    let started = Instant::now();
    let texting = args.message.is_some();
    let headless =
        args.call.is_some() || args.answer || args.json || args.seconds.is_some() || texting;
    if !headless && !std::io::stdout().is_terminal() {
        bail!("the phone's screen needs a terminal; without one give --call URI or --answer");
    }
    net::install_crypto();
    let identity = Identity::parse(&args.account)?;
    let password = read_password(&args.password_file)?;
    let sound = Sound::new(Source::from_args(&args, headless)?, Sink::from_args(&args, headless)?);
    let notice = no_card(&sound);
    let ways = within(&args, started, Ways::find(&args, &identity)).await?;
    let ice = within(&args, started, Ice::find(&args, (&identity.user, &password))).await?;
    let account = format!("{}@{}", identity.user, identity.domain);
    // Kept to the end: it holds the lock on the instance.
    let instance = Instance::of(&account);
    let memory = memory::Memory::of(&account);
    let account = Account {
        user: identity.user,
        domain: identity.domain,
        password: Redacted::new(password),
        display_name: String::new(),
        instance: instance.urn.clone(),
    };
    let link = within(&args, started, Linked::first(ways, memory, account.clone())).await?;
    let server = link.server();
    let security = setup::security(args.encryption);
    let mut config = Config { codecs: setup::codecs(args.codec), security, ..Config::default() };
    let trust = TrustFile::of(&instance.urn);
    trust.introduce(&mut config);
    let mut phone = Phone::new(account, config, Box::new(net::OsEntropy));
    phone.register(started);
    let pairs = PairsFile::of(&instance.urn);
    let driver = Driver::start(phone, link, ice, sound).remembering(trust).recalling(pairs);
    match headless {
        true if texting => texting::run(driver, &args).await,
        true => headless::run(driver, &args, started).await,
        false => screen::run(driver, server, notice).await,
    }
}

/// A step on the way to the server, which `--seconds` ends too.
async fn within<T>(
    args: &PhoneArgs,
    started: Instant,
    step: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some(seconds) = args.seconds else { return step.await };
    let end = started + Duration::from_secs(seconds);
    match tokio::time::timeout_at(end.into(), step).await {
        Ok(done) => done,
        Err(_) => bail!("--seconds {seconds}: no connection to a server in that time"),
    }
}

/// What the screen says where nothing can be said or heard.
fn no_card(sound: &Sound) -> Option<String> {
    let missing = match (&sound.source, &sound.sink) {
        (Source::Silence, Sink::Nowhere) => "no sound card",
        (Source::Silence, _) => "no microphone",
        (_, Sink::Nowhere) => "no loudspeaker",
        _ => return None,
    };
    let remedy = match cfg!(feature = "audio-device") {
        true => "connect one, or use --play, --tone and --record",
        false => "built without audio-device; use --play, --tone, --record",
    };
    Some(format!("{missing}: {remedy}"))
}
