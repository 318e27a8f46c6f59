//! Values that have the right type and make no sense: refused at the start, by name, with what to write.

use super::Config;
use std::ops::RangeInclusive;
use std::str::FromStr;
use tracing_subscriber::filter::LevelFilter;

/// What is wrong, and what to do.
type Wrong = (String, String);

/// The first value that makes no sense.
pub(super) fn check(config: &Config) -> Result<(), Wrong> {
    levels(&config.log.level)?;
    ports(config)?;
    numbers(config)?;
    codecs(config)?;
    recording(config)?;
    let registrar = &config.registrar;
    let (least, usual) = (registrar.min_expires_s, registrar.default_expires_s);
    let most = registrar.max_expires_s;
    if !(least <= usual && usual <= most) {
        return Err((
            format!(
                "[registrar] min_expires_s {least}, default_expires_s {usual}, max_expires_s {most} \
                 are not in this order"
            ),
            "raise the later ones or lower the earlier ones".into(),
        ));
    }
    Ok(())
}

/// Recordings: what is set and does nothing would be found out too late.
fn recording(config: &Config) -> Result<(), Wrong> {
    let recording = &config.recording;
    let none = recording.calls == super::RecordedCalls::None;
    if let Some(siprec) = &recording.siprec {
        siprec.check().map_err(|error| (error.to_string(), "correct it".to_owned()))?;
        let name = siprec.interface.as_ref();
        if let Some(name) = name.filter(|name| !config.interface.iter().any(|i| i.name == **name)) {
            return Err((
                format!("recording.siprec.interface '{name}' is no [[interface]]"),
                "write the name of one, or leave it out".into(),
            ));
        }
    }
    if !none && !recording.files && recording.siprec.is_none() {
        return Err((
            "recording.calls is \"all\", and they are recorded nowhere".into(),
            "write files = true, or a [recording.siprec]".into(),
        ));
    }
    Ok(())
}

/// Codec policies: a name that nothing has would be a policy that does nothing.
fn codecs(config: &Config) -> Result<(), Wrong> {
    let media = &config.media;
    let peers = media.peers.iter().map(|(name, policy)| (format!("media.peers.{name}"), policy));
    let own = [("media.phones", &media.phones), ("media.browsers", &media.browsers)];
    let own = own.into_iter().map(|(field, policy)| (field.to_owned(), policy));
    for (field, policy) in own.chain(peers) {
        let known = |name: &&String| relay::CodecPolicy::can_transcode(name);
        if let Some(name) = policy.transcode.iter().find(|name| !known(name)) {
            return Err((
                format!("{field}.transcode has '{name}', which cannot be translated"),
                if name.trim().eq_ignore_ascii_case("G729") {
                    "build the server with --features g729 (docs/operate/g729.md)".into()
                } else {
                    "write opus, G722, PCMU or PCMA".into()
                },
            ));
        }
        if let Some(ms) = policy.ptime_ms.filter(|ms| !relay::PTIMES_MS.contains(ms)) {
            return Err((format!("{field}.ptime_ms is {ms}"), "write 10, 20, 30, 40 or 60".into()));
        }
    }
    match media.peers.keys().find(|name| !config.peer.iter().any(|p| p.name == **name)) {
        Some(name) => {
            Err((format!("[media.peers.{name}] is no [[peer]]"), "write the name of one".into()))
        }
        None => Ok(()),
    }
}

/// Numbers with bounds: 0 would mean never, or nobody.
fn numbers(config: &Config) -> Result<(), Wrong> {
    let (registrar, transport, edge) = (&config.registrar, &config.transport, &config.edge);
    let wide = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    let hour = 1..=3600;
    let bounds: [(&str, u64, RangeInclusive<u64>); 12] = [
        ("registrar.min_expires_s", registrar.min_expires_s.into(), 1..=86_400),
        ("registrar.contacts_max", wide(registrar.contacts_max), 1..=1_000),
        ("media.silence_s", config.media.silence_s, 1..=86_400),
        ("media.threads", config.media.threads.map_or(1, wide), 1..=256),
        ("transport.connect_s", transport.connect_s, 1..=60),
        ("transport.connections_per_peer", wide(transport.connections_per_peer), 1..=10_000),
        ("transport.idle_s", transport.idle_s, 1..=86_400),
        ("transport.keep_alive_s", transport.keep_alive_s, hour.clone()),
        ("transport.websocket_ping_s", transport.websocket_ping_s, hour),
        ("edge.nonce_lifetime_s", edge.nonce_lifetime_s, 10..=86_400),
        ("edge.calls_max", wide(edge.calls_max), 1..=10_000_000),
        ("edge.branches_max", wide(edge.branches_max), 1..=100),
    ];
    for (field, value, range) in bounds {
        if !range.contains(&value) {
            let (least, most) = (range.start(), range.end());
            return Err((format!("{field} is {value}"), format!("write {least} to {most}")));
        }
    }
    Ok(())
}

/// A bare word that is no level would be the name of a module, and everything else be silent.
fn levels(level: &str) -> Result<(), Wrong> {
    let is_word = !level.contains(['=', ',', '[']);
    if is_word && LevelFilter::from_str(level.trim()).is_err() {
        return Err((
            format!("log.level '{level}' is no level"),
            "write error, warn, info, debug or trace, or a filter such as edge=debug,info".into(),
        ));
    }
    Ok(())
}

/// Each port once: the system would say that another program has it.
fn ports(config: &Config) -> Result<(), Wrong> {
    let ports = &config.ports;
    let all = [
        ("sip", Some(ports.sip)),
        ("sips", Some(ports.sips)),
        ("https", Some(ports.https)),
        ("sip_alternate", ports.sip_alternate),
        ("ws", ports.ws),
    ];
    for (at, (name, port)) in all.iter().enumerate() {
        let twice = all[..at].iter().find(|(_, other)| port.is_some() && other == port);
        if let Some((other, port)) = twice {
            return Err((
                format!("ports.{name} {} is used by ports.{other} too", port.unwrap_or(0)),
                "give it a port of its own".into(),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_value_that_makes_no_sense_is_refused_by_name_with_what_to_write() {
        for (text, says, remedy) in [
            ("[log]\nlevel = \"loud\"", "log.level 'loud'", "error, warn, info"),
            ("[registrar]\nmin_expires_s = 9000", "min_expires_s 9000", "raise the later ones"),
            ("[registrar]\ncontacts_max = 0", "registrar.contacts_max is 0", "write 1 to 1000"),
            ("[media]\nsilence_s = 0", "media.silence_s is 0", "write 1 to 86400"),
            ("[transport]\nconnect_s = 0", "transport.connect_s is 0", "write 1 to 60"),
            ("[edge]\nbranches_max = 0", "edge.branches_max is 0", "write 1 to 100"),
            ("[ports]\nsips = 5060", "ports.sips 5060 is used by ports.sip too", "of its own"),
            ("[ports]\nws = 8443", "ports.ws 8443 is used by ports.https too", "of its own"),
            ("[edge.conduct]\nscore = 0", "edge.conduct.score is 0", "1 to 10000"),
            ("[edge.conduct]\nnight = [25, 3]", "edge.conduct.night is 25", "0 to 24"),
            ("[edge.conduct]\nhome = \"DE\"", "edge.conduct.home is 'DE'", "digits"),
            ("[[peer]]\nname = \"a\"\naddress = \"b c\"", "[[peer]] a: address", "that [[peer]]"),
        ] {
            let error = Config::parse(text, Path::new("w.toml")).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains(remedy), "{text}: {error}");
        }
        for text in ["[log]\nlevel = \"edge=debug,info\"", "[log]\nlevel = \"TRACE\""] {
            assert!(Config::parse(text, Path::new("w.toml")).is_ok(), "{text}");
        }
    }
}
