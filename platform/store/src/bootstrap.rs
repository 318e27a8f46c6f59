//! The first start: a tenant, two demo users, an administrator with a one-time link.

use std::time::Duration;

use sansio::{Entropy, Redacted, WallTime};

use crate::account::{Admin, OneTimeLink, Tenant};
use crate::error::StoreError;
use crate::ha1::Ha1Set;
use crate::repository::Store;
use crate::token::Token;

/// How long a one-time link lives.
pub const LINK_LIFETIME: Duration = Duration::from_secs(24 * 3600);

const DEMO_NAMES: [&str; 2] = ["alice", "bob"];
const ADMIN_NAME: &str = "admin";

/// What the first start made; what is secret in it is shown once and kept nowhere.
#[derive(Debug, Clone)]
pub struct FirstRun {
    /// The tenant.
    pub tenant: Tenant,
    /// The demo users.
    pub users: Vec<DemoUser>,
    /// The administrator.
    pub admin: Admin,
    /// The token of the link that signs the administrator in once.
    pub one_time_link: Redacted<String>,
}

/// A demo user with its random password.
#[derive(Debug, Clone)]
pub struct DemoUser {
    /// The user part of the address.
    pub name: String,
    /// The password in the clear.
    pub password: Redacted<String>,
}

/// Fills a store that has no tenant; `None`, and nothing changed, if it has one.
///
/// # Errors
/// Whatever the store reports.
pub async fn bootstrap(
    store: &(impl Store + ?Sized),
    entropy: &mut (impl Entropy + Send + ?Sized),
    wall: WallTime,
    domain: &str,
) -> Result<Option<FirstRun>, StoreError> {
    if !store.tenants().await?.is_empty() {
        return Ok(None);
    }
    let admin = match store.admin(ADMIN_NAME).await? {
        Some(admin) => admin,
        None => store.add_admin(ADMIN_NAME, wall).await?,
    };
    let one_time_link = issue_link(store, entropy, &admin, wall).await?;
    let tenant = store.add_tenant(domain, wall).await?;
    let mut users = Vec::new();
    for name in DEMO_NAMES {
        let password = entropy.token(16);
        let ha1 = Ha1Set::from_password(name, &tenant.domain, &password);
        store.add_user(tenant.id, name, ha1, wall).await?;
        users.push(DemoUser { name: name.to_owned(), password: Redacted::new(password) });
    }
    Ok(Some(FirstRun { tenant, users, admin, one_time_link }))
}

/// Makes a link that signs `admin` in once within [`LINK_LIFETIME`]; the token to put in it.
///
/// # Errors
/// Whatever the store reports.
pub async fn issue_link(
    store: &(impl Store + ?Sized),
    entropy: &mut (impl Entropy + Send + ?Sized),
    admin: &Admin,
    wall: WallTime,
) -> Result<Redacted<String>, StoreError> {
    let token = Token::generate(entropy);
    let expires_at = wall + LINK_LIFETIME;
    store.add_link(OneTimeLink { hash: token.hash, admin: admin.id, expires_at }).await?;
    Ok(token.secret)
}
