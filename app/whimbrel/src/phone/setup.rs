//! Reading what the command line says about account, server, transport and codecs, and finding the
//! server's addresses.

use crate::cli::{CodecArg, EncryptionArg};
use anyhow::{Context, Result, anyhow, bail};
use audio::CodecKind;
use std::net::{IpAddr, SocketAddr};

/// Who the phone is: `user@domain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub user: String,
    pub domain: String,
}

/// Where the server is, as typed: a name or an address, and maybe a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: Option<u16>,
}

impl Identity {
    /// From `--account`.
    pub fn parse(account: &str) -> Result<Self> {
        let wrong = || {
            anyhow!(
                "--account '{account}' is not an account: write user@domain, as alice@example.org"
            )
        };
        let scheme = account.get(..4).filter(|s| s.eq_ignore_ascii_case("sip:"));
        let bare = scheme.map_or(account, |s| &account[s.len()..]).trim();
        let (user, domain) = bare.rsplit_once('@').ok_or_else(wrong)?;
        let user_fits = |c: char| c.is_ascii_graphic() && !"@<>\";?:/[]".contains(c);
        if user.is_empty() || domain.is_empty() || !user.chars().all(user_fits) {
            return Err(wrong());
        }
        let place = Place::parse(domain).map_err(|_| wrong())?;
        if let Some(port) = place.port {
            let server = place.bracketed();
            bail!("--account '{account}': a domain has no port; add --server {server}:{port}");
        }
        Ok(Self { user: user.into(), domain: place.bracketed().to_ascii_lowercase() })
    }
}

impl Place {
    /// `host`, `host:port`, `1.2.3.4`, `[::1]:5061` or `::1`.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let wrong = || anyhow!("'{text}' is not a server: write HOST or HOST:PORT");
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return Ok(Self { host: text.into(), port: None });
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(wrong)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
                let port = match after {
                    "" => None,
                    _ => Some(after.strip_prefix(':').ok_or_else(wrong)?),
                };
                (host, port)
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || host.len() > 253 || !host.chars().all(fits) {
            return Err(wrong());
        }
        let port = port.map(|p| match p.parse() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(anyhow!("port '{p}' of '{text}' is not a number from 1 to 65535")),
        });
        Ok(Self { host: host.into(), port: port.transpose()? })
    }

    /// As it stands in a URI.
    pub fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// Every address of the host, on its port or `port`; never empty.
    ///
    /// # Errors
    /// No such name, with `field` and what to do.
    pub async fn resolve(&self, port: u16, field: &str) -> Result<Vec<SocketAddr>> {
        let port = self.port.unwrap_or(port);
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Ok(vec![(ip, port).into()]);
        }
        let remedy = "check the spelling and DNS, or name the server with --server HOST[:PORT]";
        let found = tokio::net::lookup_host((self.host.as_str(), port))
            .await
            .with_context(|| format!("{field} '{}' has no address ({remedy})", self.host))?;
        let mut addresses: Vec<SocketAddr> = found.collect();
        if addresses.is_empty() {
            bail!("{field} '{}' has no address ({remedy})", self.host);
        }
        // Over UDP nobody tells that nobody listens; most servers here listen on IPv4 for sure.
        addresses.sort_by_key(SocketAddr::is_ipv6);
        addresses.dedup();
        Ok(addresses)
    }
}

/// The codec asked for first, the others after it.
pub fn codecs(first: CodecArg) -> Vec<CodecKind> {
    let first = match first {
        CodecArg::Opus => CodecKind::Opus,
        CodecArg::Pcmu => CodecKind::Pcmu,
        CodecArg::Pcma => CodecKind::Pcma,
        CodecArg::G722 => CodecKind::G722,
        #[cfg(feature = "g729")]
        CodecArg::G729 => CodecKind::G729,
    };
    let others = CodecKind::ALL.into_iter().filter(|kind| *kind != first);
    std::iter::once(first).chain(others).collect()
}

/// How media is encrypted; nothing where the link decides.
pub fn security(asked: EncryptionArg) -> Option<media::Security> {
    match asked {
        EncryptionArg::Auto => None,
        EncryptionArg::Zrtp => Some(media::Security::Zrtp),
        EncryptionArg::PreferZrtp => Some(media::Security::ZrtpOptional),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> (String, Option<u16>) {
        let place = Place::parse(text).unwrap();
        (place.host, place.port)
    }

    #[test]
    fn accounts_are_bare_or_with_scheme_at_names_and_addresses() {
        for (text, user, domain) in [
            ("alice@example.org", "alice", "example.org"),
            ("sip:Alice@Example.ORG", "Alice", "example.org"),
            ("SIP:bob@127.0.0.1", "bob", "127.0.0.1"),
            ("bob@localhost", "bob", "localhost"),
            ("+49.30@[2001:DB8::1]", "+49.30", "[2001:db8::1]"),
        ] {
            let want = Identity { user: user.into(), domain: domain.into() };
            assert_eq!(Identity::parse(text).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn a_wrong_account_is_named_with_the_remedy() {
        for text in ["alice", "@example.org", "alice@", "al ice@x", "a\r\nb@x", "a@b c", "a@[x]"] {
            let error = Identity::parse(text).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("user@domain"), "{error}");
        }
        let error = Identity::parse("alice@example.org:5061").unwrap_err().to_string();
        assert!(error.contains("--server example.org:5061"), "{error}");
    }

    #[test]
    fn servers_are_names_or_addresses_with_or_without_a_port() {
        assert_eq!(place("sip.example.org"), ("sip.example.org".into(), None));
        assert_eq!(place("sip.example.org:5071"), ("sip.example.org".into(), Some(5071)));
        assert_eq!(place("127.0.0.1:5060"), ("127.0.0.1".into(), Some(5060)));
        assert_eq!(place("[::1]:5061"), ("::1".into(), Some(5061)));
        assert_eq!(place("::1"), ("::1".into(), None));
        for wrong in ["", "host:", "host:0", "host:99999", "ho st", "[::1", "[::1]x", "a:1:2"] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_codec_asked_for_comes_first_and_none_is_lost() {
        use CodecKind::{G722, Opus, Pcma, Pcmu};
        assert_eq!(codecs(CodecArg::Opus), [Opus, G722, Pcmu, Pcma]);
        assert_eq!(codecs(CodecArg::G722), [G722, Opus, Pcmu, Pcma]);
        assert_eq!(codecs(CodecArg::Pcmu), [Pcmu, Opus, G722, Pcma]);
        assert_eq!(codecs(CodecArg::Pcma), [Pcma, Opus, G722, Pcmu]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_unknown_host_is_named_with_the_remedy() {
        let place = Place::parse("nowhere.invalid").unwrap();
        let error = place.resolve(5061, "--server").await.unwrap_err().to_string();
        assert!(error.contains("--server 'nowhere.invalid' has no address"), "{error}");
        let here = Place::parse("127.0.0.1").unwrap().resolve(5061, "--server").await.unwrap();
        assert_eq!(here, ["127.0.0.1:5061".parse().unwrap()]);
    }
}
