//! What can go wrong, with the path or address and the remedy.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Every error of this crate. Its text is for the operator: it names the thing and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// Another process has the port.
    #[error(
        "port {}/{what} on {} is in use: stop the other server, or change [ports], --listen-ip or [[interface]]",
        addr.port(), addr.ip()
    )]
    PortInUse {
        /// `udp`, `tcp`, `tls`, `https` …
        what: &'static str,
        /// The address wanted.
        addr: SocketAddr,
    },
    /// A port below 1024 without the right to it, or a filtered one.
    #[error(
        "no permission to listen on port {}/{what} on {}: use a port above 1023 or grant CAP_NET_BIND_SERVICE",
        addr.port(), addr.ip()
    )]
    PortDenied {
        /// `udp`, `tcp`, `tls`, `https` …
        what: &'static str,
        /// The address wanted.
        addr: SocketAddr,
    },
    /// The address is none of this machine's.
    #[error("cannot listen on {addr} ({what}): this machine has no address {}: correct --listen-ip / [[interface]]", addr.ip())]
    NoSuchAddress {
        /// `udp`, `tcp`, `tls`, `https` …
        what: &'static str,
        /// The address wanted.
        addr: SocketAddr,
    },
    /// Listening failed otherwise.
    #[error("cannot listen on {addr} ({what}): {source}")]
    Listen {
        /// `udp`, `tcp`, `tls`, `https` …
        what: &'static str,
        /// The address wanted.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A listener's transport is not one a shard serves, or TLS was asked for without a certificate.
    #[error("interface {interface}: a {transport} listener cannot be started here: {remedy}")]
    BadListener {
        /// The interface's name.
        interface: String,
        /// The transport asked for.
        transport: sansio::Transport,
        /// What to do.
        remedy: &'static str,
    },
    /// The system's name servers cannot be learned.
    #[error("cannot learn the name servers from the system: {reason}; name them in [dns] servers")]
    NameServers {
        /// What was wrong.
        reason: String,
    },
    /// The system gave no thread or runtime.
    #[error("cannot start a thread for {what}: {source}")]
    Thread {
        /// For what.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// `read`, `write`, `create` …
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate or key file that must be there is not.
    #[error("{} ({expected}) is missing: {remedy}", path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A certificate or key file holds no usable PEM.
    #[error("{} is not a usable {expected}: {remedy}", path.display())]
    Garbled {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// Certificate and key do not belong together.
    #[error("the key {} does not match the certificate {}: install the pair that was issued together", key.display(), cert.display())]
    KeyMismatch {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// A certificate is past its end or before its beginning.
    #[error("the certificate {} {state} (UTC): {remedy}", path.display())]
    NotValidNow {
        /// Which file.
        path: PathBuf,
        /// `expired on ...` or `is not valid before ...`.
        state: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A server could not be reached.
    #[error("cannot reach {addr} over {transport}: {source}")]
    Connect {
        /// How.
        transport: sansio::Transport,
        /// Whom.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A server's certificate was not accepted.
    #[error("{addr} is not trusted as {name}: {source}: name its authority with --ca FILE")]
    Untrusted {
        /// Whom.
        addr: SocketAddr,
        /// The name it should prove.
        name: String,
        /// What rustls said.
        source: rustls::Error,
    },
    /// A server's certificate fits by a wildcard alone.
    #[error(
        "{addr} proves to be {name} by a wildcard only, which SIP does not allow (RFC 5922 §7.2): have {name} put into its certificate, or connect over WSS"
    )]
    Wildcard {
        /// Whom.
        addr: SocketAddr,
        /// The name it should prove.
        name: String,
    },
    /// A server refused the WebSocket, or does not speak SIP on it.
    #[error("{addr} refused a SIP WebSocket at {path}: {reason}")]
    WebSocketRefused {
        /// Whom.
        addr: SocketAddr,
        /// The path asked for.
        path: String,
        /// Its status line, or what was wrong with its answer.
        reason: String,
    },
    /// A connection to a server broke.
    #[error("the connection to {addr} over {transport} broke: {reason}")]
    Broken {
        /// How.
        transport: sansio::Transport,
        /// Whom.
        addr: SocketAddr,
        /// What happened.
        reason: String,
    },
    /// Issuing a certificate failed.
    #[error("cannot issue a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// rustls refused a configuration.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl NetError {
    /// Turns a bind error into the variant with the right remedy.
    pub(crate) fn listen(what: &'static str, addr: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::PortInUse { what, addr },
            io::ErrorKind::PermissionDenied => Self::PortDenied { what, addr },
            io::ErrorKind::AddrNotAvailable => Self::NoSuchAddress { what, addr },
            _ => Self::Listen { what, addr, source },
        }
    }

    /// For `map_err` on file operations.
    pub(crate) fn file(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
