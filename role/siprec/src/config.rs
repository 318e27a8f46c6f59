//! `[recording.siprec]`.

use std::time::Duration;

use sansio::Transport;
use serde::Deserialize;
use sip::SipUri;
use sip::locate::Ask;

/// Where calls are recorded, and what becomes of those that cannot be.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The session recording server: a `sip:` or `sips:` URI. Without `transport` it is reached by
    /// TCP: the INVITE is larger than a datagram should be (RFC 3261 §18.1.1).
    pub server: String,
    /// A call that is not recorded must not be: it ends, and new ones are refused while the server
    /// does not record. Otherwise the call goes on.
    #[serde(default)]
    pub required: bool,
    /// Whether media goes to the server as SRTP with keys in SDP. Default: over TLS yes, else no;
    /// `true` has the server reached over TLS only, for the keys stand in the signalling.
    #[serde(default)]
    pub srtp: Option<bool>,
    /// The interface that media to the server leaves by. Default: the first.
    #[serde(default)]
    pub interface: Option<String>,
    /// Seconds the server may take to answer.
    #[serde(default = "answer_s")]
    pub answer_s: u64,
    /// Seconds between two questions whether the server still records a call.
    #[serde(default = "check_s")]
    pub check_s: u64,
    /// Seconds until a call that the server did not take is offered again, and for which new calls
    /// are refused where recording is required.
    #[serde(default = "retry_s")]
    pub retry_s: u64,
    /// Calls recorded at once.
    #[serde(default = "sessions_max")]
    pub sessions_max: usize,
}

fn answer_s() -> u64 {
    5
}

fn check_s() -> u64 {
    30
}

fn retry_s() -> u64 {
    30
}

fn sessions_max() -> usize {
    10_000
}

/// What is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The server's URI.
    #[error(
        "recording.siprec.server: {uri:?} leads nowhere ({why}): write sip:HOST[:PORT];transport=tcp or sips:HOST[:PORT]"
    )]
    Server {
        /// As written.
        uri: String,
        /// What is wrong with it.
        why: String,
    },
    /// Keys would be sent in clear.
    #[error(
        "recording.siprec.srtp: the keys would stand in clear signalling: reach {uri:?} over TLS (sips: or transport=tls), or leave srtp out"
    )]
    KeysInClear {
        /// As written.
        uri: String,
    },
    /// Zero seconds.
    #[error("recording.siprec.{0}: 0 is no time: from 1")]
    Zero(&'static str),
}

impl Config {
    /// Whether it can be worked by.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let ask = self.ask()?;
        let in_clear = ask.transport.is_some_and(|t| !t.is_secure());
        if self.srtp == Some(true) && in_clear {
            return Err(ConfigError::KeysInClear { uri: self.server.clone() });
        }
        let times =
            [("answer_s", self.answer_s), ("check_s", self.check_s), ("retry_s", self.retry_s)];
        match times.iter().find(|(_, seconds)| *seconds == 0) {
            Some((name, _)) => Err(ConfigError::Zero(name)),
            None => Ok(()),
        }
    }

    /// What to look up.
    ///
    /// # Errors
    /// The URI leads nowhere.
    pub fn ask(&self) -> Result<Ask, ConfigError> {
        let wrong = |why: String| ConfigError::Server { uri: self.server.clone(), why };
        let uri = SipUri::parse(self.server.as_bytes()).map_err(|e| wrong(e.to_string()))?;
        let mut ask = Ask::of_uri(self.server.as_bytes()).map_err(|e| wrong(e.to_string()))?;
        if matches!(ask.transport, Some(Transport::Ws | Transport::Wss)) {
            return Err(wrong("a recorder is not reached over WebSocket".to_owned()));
        }
        if uri.param("transport").is_none() && !ask.secure {
            ask.transport = Some(Transport::Tcp);
        }
        if self.srtp == Some(true) && uri.param("transport").is_none() {
            (ask.secure, ask.transport) = (true, None);
        }
        Ok(ask)
    }

    /// Whether media goes to the server as SRTP, signalling going by `transport`.
    pub fn seals(&self, transport: Transport) -> bool {
        transport.is_secure() && self.srtp.unwrap_or(true)
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.answer_s)
    }

    pub(crate) fn check_after(&self) -> Duration {
        Duration::from_secs(self.check_s)
    }

    pub(crate) fn retry_after(&self) -> Duration {
        Duration::from_secs(self.retry_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn r5_12_a_server_without_a_transport_is_reached_by_tcp_and_sips_by_tls() {
        let of = |uri: &str| config(&format!("server = {uri:?}")).ask().unwrap();
        assert_eq!(of("sip:srs@rec.example").transport, Some(Transport::Tcp));
        assert_eq!(of("sip:srs@rec.example;transport=udp").transport, Some(Transport::Udp));
        assert!(of("sips:srs@rec.example").secure);
        assert_eq!(of("sip:rec.example;transport=tls").transport, Some(Transport::Tls));
    }

    #[test]
    fn r5_12_keys_are_never_sent_in_clear_signalling() {
        let with = |uri: &str| config(&format!("server = {uri:?}\nsrtp = true"));
        let clear = with("sip:srs@rec.example;transport=tcp").check().unwrap_err();
        assert!(matches!(clear, ConfigError::KeysInClear { .. }), "{clear}");
        assert!(with("sip:srs@rec.example").ask().unwrap().secure, "TLS was not asked for");
        let config = with("sips:srs@rec.example");
        config.check().unwrap();
        assert!(config.seals(Transport::Tls) && !config.seals(Transport::Tcp));
    }

    #[test]
    fn errors_name_the_field_the_value_and_a_remedy() {
        let wrong = config("server = \"recorder\"").check().unwrap_err().to_string();
        assert!(wrong.contains("recording.siprec.server: \"recorder\""), "{wrong}");
        let zero = config("server = \"sip:r.example\"\ncheck_s = 0").check().unwrap_err();
        assert_eq!(zero.to_string(), "recording.siprec.check_s: 0 is no time: from 1");
        assert!(toml::from_str::<Config>("server = \"sip:x\"\nsever = 1").is_err());
    }
}
