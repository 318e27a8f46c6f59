//! `whimbrel phone --message TEXT --to URI`: one text, and what became of it.

use super::driver::{Driver, Happened};
use super::report;
use super::signals::Signals;
use crate::cli::PhoneArgs;
use ::phone::PhoneEvent;
use anyhow::{Result, bail};
use serde_json::json;
use std::time::{Duration, Instant};

/// Registration and the text's answer, at most.
const PATIENCE: Duration = Duration::from_secs(70);

/// After the text: how long the end of the registration is awaited.
const GOODBYE: Duration = Duration::from_secs(2);

/// Registers, sends, and ends. True when the text was taken.
///
/// # Errors
/// Not registered, or a target that is no address.
pub async fn run(mut driver: Driver, args: &PhoneArgs) -> Result<bool> {
    let mut signals = Signals::listen()?;
    let end = Some(Instant::now() + args.seconds.map_or(PATIENCE, Duration::from_secs));
    let mut taken = None;
    let mut sending = false;
    while taken.is_none() {
        let happened = tokio::select! {
            happened = driver.next() => happened?,
            () = signals.until(end) => break,
        };
        let Happened::Event(event) = happened else { continue };
        report::tell(args.json, &report::event_line(&event));
        match event {
            PhoneEvent::Registered { .. } if !sending => {
                sending = true;
                let (to, text) = (args.to.as_deref(), args.message.as_deref());
                let (to, text) = (to.unwrap_or_default(), text.unwrap_or_default());
                driver.phone.send_message(Instant::now(), to, text)?;
            }
            PhoneEvent::RegistrationFailed { status, reason, retry: None } => {
                bail!("{} is not registered: {status} {reason}", args.account);
            }
            PhoneEvent::MessageSent { status, .. } => taken = Some(status < 300),
            _ => {}
        }
    }
    driver.phone.unregister(Instant::now());
    let end = Some(Instant::now() + GOODBYE);
    loop {
        tokio::select! {
            happened = driver.next() => match happened? {
                Happened::Event(PhoneEvent::Unregistered) | Happened::LinkDown(_) => break,
                _ => {}
            },
            () = signals.until(end) => break,
        }
    }
    driver.finish().await?;
    let taken = taken.unwrap_or(false);
    report::tell(
        args.json,
        &json!({"event": "result", "result": if taken { "sent" } else { "failed" }}),
    );
    Ok(taken)
}
