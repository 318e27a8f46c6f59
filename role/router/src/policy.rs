//! What routing is decided by.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use store::Credentials;

use crate::peer::PeerRoute;
use crate::plan::Service;

/// Whether a user exists. Answers from memory.
pub trait Directory: Send + Sync {
    /// Whether `user` is a user of `domain` (a tenant's).
    fn has_user(&self, domain: &str, user: &str) -> bool;

    /// User and domain of whoever was granted a telephone number.
    fn number_owner(&self, number: &str) -> Option<(String, String)> {
        let _ = number;
        None
    }
}

impl Directory for Credentials {
    fn has_user(&self, domain: &str, user: &str) -> bool {
        self.contains(domain, user)
    }
}

impl<T: Directory + ?Sized> Directory for Arc<T> {
    fn has_user(&self, domain: &str, user: &str) -> bool {
        (**self).has_user(domain, user)
    }

    fn number_owner(&self, number: &str) -> Option<(String, String)> {
        (**self).number_owner(number)
    }
}

/// A policy as of one moment: cheap to clone, never changed in place.
#[derive(Clone)]
pub struct PolicySnapshot {
    /// Name as dialled → tenant's domain.
    domains: Arc<BTreeMap<String, String>>,
    services: Arc<BTreeMap<String, Service>>,
    directory: Arc<dyn Directory>,
    peers: Arc<[PeerRoute]>,
}

impl PolicySnapshot {
    /// For these tenants, with the services everyone has: `echo`, `*43`, `tone`.
    pub fn new<D: AsRef<str>>(
        domains: impl IntoIterator<Item = D>,
        directory: impl Directory + 'static,
    ) -> Self {
        let lower = |d: D| d.as_ref().to_ascii_lowercase();
        let domains = domains.into_iter().map(lower).map(|d| (d.clone(), d)).collect();
        let services = [("echo", Service::Echo), ("*43", Service::Echo), ("tone", Service::Tone)];
        let services: BTreeMap<String, Service> =
            services.map(|(name, service)| (name.to_owned(), service)).into();
        let directory = Arc::new(directory);
        let peers = Arc::from([]);
        Self { domains: Arc::new(domains), services: Arc::new(services), directory, peers }
    }

    /// Also serves `alias` (an address of ours, `localhost`) as the tenant `domain`.
    #[must_use]
    pub fn with_alias(mut self, alias: &str, domain: &str) -> Self {
        let domains = Arc::make_mut(&mut self.domains);
        domains.insert(alias.to_ascii_lowercase(), domain.to_ascii_lowercase());
        self
    }

    /// Also sends calls to these peers, numbered as they stand here.
    #[must_use]
    pub fn with_peers(mut self, peers: Arc<[PeerRoute]>) -> Self {
        self.peers = peers;
        self
    }

    /// Also answers `user` of every tenant with `service`.
    #[must_use]
    pub fn with_service(mut self, user: &str, service: Service) -> Self {
        Arc::make_mut(&mut self.services).insert(user.to_owned(), service);
        self
    }

    /// The tenant's domain that a name as dialled stands for.
    pub fn domain(&self, dialled: &str) -> Option<&str> {
        self.domains.get(&dialled.to_ascii_lowercase()).map(String::as_str)
    }

    pub(crate) fn peers(&self) -> &[PeerRoute] {
        &self.peers
    }

    pub(crate) fn number_owner(&self, number: &str) -> Option<(String, String)> {
        self.directory.number_owner(number)
    }

    pub(crate) fn service(&self, user: &str) -> Option<Service> {
        self.services.get(user).copied()
    }

    pub(crate) fn has_user(&self, domain: &str, user: &str) -> bool {
        self.directory.has_user(domain, user)
    }
}

impl fmt::Debug for PolicySnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("PolicySnapshot");
        out.field("domains", &self.domains).field("services", &self.services);
        out.field("peers", &self.peers);
        out.finish_non_exhaustive()
    }
}
