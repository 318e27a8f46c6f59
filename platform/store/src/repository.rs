//! The repositories: what a store can be asked.

use std::future::Future;
use std::pin::Pin;

use sansio::WallTime;

use crate::account::{
    Admin, AdminId, GrantedNumber, ImportReport, NewUser, OneTimeLink, Session, Subject, Tenant,
    TenantId, User, UserId,
};
use crate::credentials::CredentialChanges;
use crate::error::StoreError;
use crate::ha1::Ha1Set;
use crate::record::{
    Applied, CallClose, CallRecord, FoldPosition, RecordFilter, RecordOp, SequencedOp,
};
use crate::token::TokenHash;

/// The most rows any list returns, whatever `limit` says.
pub const MAX_PAGE: u32 = 10_000;

/// A store's answer: boxed, so that the traits are dyn-safe.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Every repository in one.
pub trait Store: Tenants + Users + Numbers + Admins + Records {}

impl<T: Tenants + Users + Numbers + Admins + Records + ?Sized> Store for T {}

/// The domains we serve.
pub trait Tenants: Send + Sync {
    /// Adds a domain, kept in lower case. [`StoreError::Exists`] if it is there.
    fn add_tenant<'a>(&'a self, domain: &'a str, at: WallTime) -> Reply<'a, Tenant>;
    /// Removes a domain with its users. False if it was not there. Records stay.
    fn remove_tenant<'a>(&'a self, domain: &'a str) -> Reply<'a, bool>;
    /// Finds a domain, in any case.
    fn tenant<'a>(&'a self, domain: &'a str) -> Reply<'a, Option<Tenant>>;
    /// All domains, by name.
    fn tenants(&self) -> Reply<'_, Vec<Tenant>>;
}

/// Who may register and call. Names compare byte by byte (RFC 3261 §19.1.4).
pub trait Users: Send + Sync {
    /// Adds one. [`StoreError::Exists`] if the name is taken, [`StoreError::Missing`] without tenant.
    fn add_user<'a>(
        &'a self,
        tenant: TenantId,
        name: &'a str,
        ha1: Ha1Set,
        at: WallTime,
    ) -> Reply<'a, User>;
    /// Sets the password. False if there is no such user.
    fn set_ha1<'a>(
        &'a self,
        tenant: TenantId,
        name: &'a str,
        ha1: Ha1Set,
        at: WallTime,
    ) -> Reply<'a, bool>;
    /// Removes one. False if there is no such user.
    fn remove_user<'a>(&'a self, tenant: TenantId, name: &'a str) -> Reply<'a, bool>;
    /// Finds one by name.
    fn user<'a>(&'a self, tenant: TenantId, name: &'a str) -> Reply<'a, Option<User>>;
    /// Finds one by its number.
    fn user_by_id(&self, id: UserId) -> Reply<'_, Option<User>>;
    /// Lists names in order, beginning behind `after`.
    fn users<'a>(
        &'a self,
        tenant: TenantId,
        after: Option<&'a str>,
        limit: u32,
    ) -> Reply<'a, Vec<User>>;
    /// How many a tenant has.
    fn count_users(&self, tenant: TenantId) -> Reply<'_, u64>;
    /// Adds or updates many in one transaction. Hand over some thousands at a time.
    fn import(
        &self,
        tenant: TenantId,
        batch: Vec<NewUser>,
        at: WallTime,
    ) -> Reply<'_, ImportReport>;
    /// What changed after `version`; 0 gives everything.
    fn credentials_since(&self, version: u64) -> Reply<'_, CredentialChanges>;
}

/// Telephone numbers granted to users. A number belongs to one user of one tenant, and goes with it.
pub trait Numbers: Send + Sync {
    /// Grants one, as [`crate::names::check_number`] writes it. [`StoreError::Exists`] if somebody
    /// has it, [`StoreError::Missing`] without such a user.
    fn grant_number<'a>(
        &'a self,
        tenant: TenantId,
        user: &'a str,
        number: &'a str,
    ) -> Reply<'a, ()>;
    /// Takes one back. False if it was not this user's.
    fn revoke_number<'a>(
        &'a self,
        tenant: TenantId,
        user: &'a str,
        number: &'a str,
    ) -> Reply<'a, bool>;
    /// Lists all of them by number, beginning behind `after`.
    fn numbers<'a>(&'a self, after: Option<&'a str>, limit: u32) -> Reply<'a, Vec<GrantedNumber>>;
}

/// Administrators, one-time links, sessions.
pub trait Admins: Send + Sync {
    /// Adds one, without password until [`Self::set_admin_password`].
    fn add_admin<'a>(&'a self, name: &'a str, at: WallTime) -> Reply<'a, Admin>;
    /// Finds one by sign-in name.
    fn admin<'a>(&'a self, name: &'a str) -> Reply<'a, Option<Admin>>;
    /// All of them, by name.
    fn admins(&self) -> Reply<'_, Vec<Admin>>;
    /// Sets the password's hash (see [`crate::password`]). False if there is no such admin.
    fn set_admin_password(&self, admin: AdminId, hash: String) -> Reply<'_, bool>;
    /// Keeps a one-time link.
    fn add_link(&self, link: OneTimeLink) -> Reply<'_, ()>;
    /// Uses a link up: the admin it was for, once, and not after its end.
    fn take_link(&self, hash: TokenHash, now: WallTime) -> Reply<'_, Option<AdminId>>;
    /// Keeps a session.
    fn add_session(&self, session: Session) -> Reply<'_, ()>;
    /// A session that still lives.
    fn session(&self, hash: TokenHash, now: WallTime) -> Reply<'_, Option<Session>>;
    /// Ends a session. False if there is none.
    fn remove_session(&self, hash: TokenHash) -> Reply<'_, bool>;
    /// Ends all sessions of someone: after a changed password, a removed account.
    fn remove_sessions_of(&self, subject: Subject) -> Reply<'_, u64>;
    /// Drops links and sessions that are over. How many.
    fn purge_expired(&self, now: WallTime) -> Reply<'_, u64>;
}

/// Call records.
pub trait Records: Send + Sync {
    /// Applies steps of a consumer in one transaction together with its position, `upto`. Steps not
    /// after the stored position of the same epoch are left out: a replay changes nothing. A call may
    /// come as one `Open` that tells its whole life so far, with the place of its beginning.
    fn apply<'a>(
        &'a self,
        consumer: &'a str,
        epoch: u64,
        ops: &'a [SequencedOp],
        upto: u64,
    ) -> Reply<'a, Applied>;
    /// How far a consumer came.
    fn position<'a>(&'a self, consumer: &'a str) -> Reply<'a, FoldPosition>;
    /// Closes, with `close`, every open record that was not opened by this run: other epoch, or a
    /// sequence number below `first_seq`. Those closed.
    fn close_abandoned<'a>(
        &'a self,
        epoch: u64,
        first_seq: u64,
        close: &'a CallClose,
    ) -> Reply<'a, Vec<CallRecord>>;
    /// Newest first, started strictly before `before`.
    fn list<'a>(
        &'a self,
        filter: &'a RecordFilter,
        limit: u32,
        before: Option<WallTime>,
    ) -> Reply<'a, Vec<CallRecord>>;
    /// One by its number.
    fn record(&self, call: u64) -> Reply<'_, Option<CallRecord>>;
    /// Those not closed, newest first.
    fn open_calls(&self) -> Reply<'_, Vec<CallRecord>>;
    /// Opens one outside any spine. False if the call is known.
    fn open(&self, record: CallRecord) -> Reply<'_, bool>;
    /// Closes one outside any spine. False if it is closed already or unknown.
    fn close(&self, call: u64, close: CallClose) -> Reply<'_, bool>;
    /// Applies one step outside any spine: for a stale `Ringing` or `Answered` nothing happens.
    fn step(&self, op: RecordOp) -> Reply<'_, bool>;
}
