//! Tenants, users, administrators, and their ways in.

use sansio::WallTime;
use serde::{Deserialize, Serialize};

use crate::ha1::Ha1Set;
use crate::token::TokenHash;

/// A tenant's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TenantId(pub i64);

/// A user's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub i64);

/// An administrator's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AdminId(pub i64);

/// A domain we serve; also the digest realm of its users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its number.
    pub id: TenantId,
    /// The domain, in lower case.
    pub domain: String,
    /// When it was added.
    #[serde(with = "crate::wall_millis")]
    pub created_at: WallTime,
}

/// Someone who may register and call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub id: UserId,
    /// Whose user it is.
    pub tenant: TenantId,
    /// The user part of its address of record.
    pub name: String,
    /// What its password hashes to.
    pub ha1: Ha1Set,
    /// When it was added.
    pub created_at: WallTime,
    /// When its password was set last.
    pub updated_at: WallTime,
}

/// A user to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The user part of its address of record.
    pub name: String,
    /// What its password hashes to, in the tenant's realm.
    pub ha1: Ha1Set,
}

/// A telephone number and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrantedNumber {
    /// Digits, after a `+` if it is a global one.
    pub number: String,
    /// The user's name.
    pub user: String,
    /// The tenant's domain.
    pub domain: String,
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ImportReport {
    /// Users that are new.
    pub added: u64,
    /// Users that were there and got the password given.
    pub updated: u64,
}

impl std::ops::AddAssign for ImportReport {
    fn add_assign(&mut self, other: Self) {
        self.added += other.added;
        self.updated += other.updated;
    }
}

/// Someone who may change the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Its number.
    pub id: AdminId,
    /// The sign-in name.
    pub name: String,
    /// The Argon2 hash (PHC string), none until a one-time link was used to set one.
    pub password_hash: Option<String>,
    /// When it was added.
    pub created_at: WallTime,
}

/// A link that signs an administrator in once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneTimeLink {
    /// The hash of what stands in the link.
    pub hash: TokenHash,
    /// Who is signed in by it.
    pub admin: AdminId,
    /// Dead from then on.
    pub expires_at: WallTime,
}

/// Whose session it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An administrator.
    Admin(AdminId),
    /// A user, on the web phone.
    User(UserId),
}

/// How the session's token travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionKind {
    /// In a cookie of the console.
    Cookie,
    /// In an `Authorization: Bearer` field.
    Bearer,
}

/// A sign-in that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The hash of its token.
    pub hash: TokenHash,
    /// Whose it is.
    pub subject: Subject,
    /// How its token travels.
    pub kind: SessionKind,
    /// When it began.
    pub created_at: WallTime,
    /// Dead from then on.
    pub expires_at: WallTime,
}
