//! The reasons of a decision, typed.

use std::fmt;

use serde::Serialize;

use crate::plan::{MediaProfile, Service};

/// One turn of a decision. Its `Display` is what `route explain` and the console show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Step {
    /// The domain is a tenant's.
    DomainServed {
        /// As dialled.
        domain: String,
    },
    /// The name stands for a tenant's domain.
    DomainAlias {
        /// As dialled.
        alias: String,
        /// The tenant's.
        domain: String,
    },
    /// The domain is not ours.
    DomainForeign {
        /// As dialled.
        domain: String,
    },
    /// The user is a service of ours.
    ServiceNamed {
        /// As dialled.
        user: String,
        /// Which.
        service: Service,
    },
    /// The number is granted to a user.
    NumberGranted {
        /// The number.
        number: String,
        /// Whose it is.
        aor: String,
    },
    /// A peer takes the call.
    PeerChosen {
        /// Which.
        peer: String,
        /// The prefix of the number that led to it, empty for a rule that takes all; none for a
        /// domain.
        prefix: Option<String>,
        /// What is asked for there.
        dialled: String,
    },
    /// The call came from a peer, and is not handed to another.
    NoTransit {
        /// The peer it came from.
        peer: String,
    },
    /// The user exists.
    UserKnown {
        /// Who.
        aor: String,
    },
    /// It does not.
    UserUnknown {
        /// Who.
        aor: String,
    },
    /// No phone can be reached.
    NoPhone {
        /// Who.
        aor: String,
    },
    /// A phone will ring.
    PhoneChosen {
        /// Its Contact URI.
        contact: String,
        /// How it registered.
        transport: &'static str,
        /// What media it gets.
        media: MediaProfile,
    },
    /// A phone is left out: the same phone rings by a better flow (RFC 5626 §5.3).
    OtherFlow {
        /// Its Contact URI.
        contact: String,
    },
    /// A phone is left out: its connection is gone and it has not registered again.
    Unreachable {
        /// Its Contact URI.
        contact: String,
        /// How it had registered.
        transport: &'static str,
    },
    /// More phones than may ring at once.
    PhonesLeftOut {
        /// How many.
        count: usize,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DomainServed { domain } => write!(f, "{domain} is served here"),
            Self::DomainAlias { alias, domain } => write!(f, "{alias} stands for {domain}"),
            Self::DomainForeign { domain } => {
                write!(f, "{domain} is not served here, and calls are not relayed elsewhere: 403")
            }
            Self::NumberGranted { number, aor } => write!(f, "{number} is the number of {aor}"),
            Self::PeerChosen { peer, prefix: Some(prefix), dialled } => {
                let any = if prefix.is_empty() { "every number" } else { prefix };
                write!(f, "peer {peer} takes {any}: {dialled}")
            }
            Self::PeerChosen { peer, prefix: None, dialled } => {
                write!(f, "the domain lies behind peer {peer}: {dialled}")
            }
            Self::NoTransit { peer } => {
                write!(
                    f,
                    "calls from peer {peer} go to users and servers of ours, no other peer gets them"
                )
            }
            Self::ServiceNamed { user, service } => write!(f, "{user} is the {service} service"),
            Self::UserKnown { aor } => write!(f, "{aor} is a user"),
            Self::UserUnknown { aor } => write!(f, "{aor} is neither a user nor a service: 404"),
            Self::NoPhone { aor } => {
                write!(f, "{aor} has no phone that can be reached now: 480")
            }
            Self::PhoneChosen { contact, transport, media } => {
                write!(f, "ring {contact}, registered by {transport}, with {media}")
            }
            Self::OtherFlow { contact } => {
                write!(f, "not {contact}: the same phone has a better registration")
            }
            Self::Unreachable { contact, transport } => {
                write!(f, "not {contact}: its {transport} connection is gone")
            }
            Self::PhonesLeftOut { count } => {
                write!(f, "{count} more phones are left out: too many for one call")
            }
        }
    }
}
