//! Administrators, links and sessions in memory.

use sansio::WallTime;

use super::{MemoryStore, ready};
use crate::account::{Admin, AdminId, OneTimeLink, Session, Subject};
use crate::error::StoreError;
use crate::names::check_user;
use crate::repository::{Admins, Reply};
use crate::token::TokenHash;

impl Admins for MemoryStore {
    fn add_admin<'a>(&'a self, name: &'a str, at: WallTime) -> Reply<'a, Admin> {
        if let Err(bad) = check_user(name) {
            return ready(Err(bad));
        }
        let mut state = self.lock();
        if state.admins.contains_key(name) {
            return ready(Err(StoreError::Exists { what: "admin", key: name.to_owned() }));
        }
        let id = AdminId(state.id());
        let admin = Admin { id, name: name.to_owned(), password_hash: None, created_at: at };
        state.admins.insert(name.to_owned(), admin.clone());
        ready(Ok(admin))
    }

    fn admin<'a>(&'a self, name: &'a str) -> Reply<'a, Option<Admin>> {
        ready(Ok(self.lock().admins.get(name).cloned()))
    }

    fn admins(&self) -> Reply<'_, Vec<Admin>> {
        ready(Ok(self.lock().admins.values().cloned().collect()))
    }

    fn set_admin_password(&self, admin: AdminId, hash: String) -> Reply<'_, bool> {
        let mut state = self.lock();
        let found = state.admins.values_mut().find(|a| a.id == admin);
        ready(Ok(found.map(|a| a.password_hash = Some(hash)).is_some()))
    }

    fn add_link(&self, link: OneTimeLink) -> Reply<'_, ()> {
        self.lock().links.insert(link.hash, link);
        ready(Ok(()))
    }

    fn take_link(&self, hash: TokenHash, now: WallTime) -> Reply<'_, Option<AdminId>> {
        let link = self.lock().links.remove(&hash);
        ready(Ok(link.filter(|l| l.expires_at > now).map(|l| l.admin)))
    }

    fn add_session(&self, session: Session) -> Reply<'_, ()> {
        self.lock().sessions.insert(session.hash, session);
        ready(Ok(()))
    }

    fn session(&self, hash: TokenHash, now: WallTime) -> Reply<'_, Option<Session>> {
        let found = self.lock().sessions.get(&hash).cloned();
        ready(Ok(found.filter(|s| s.expires_at > now)))
    }

    fn remove_session(&self, hash: TokenHash) -> Reply<'_, bool> {
        ready(Ok(self.lock().sessions.remove(&hash).is_some()))
    }

    fn remove_sessions_of(&self, subject: Subject) -> Reply<'_, u64> {
        let mut state = self.lock();
        let before = state.sessions.len();
        state.sessions.retain(|_, s| s.subject != subject);
        ready(Ok((before - state.sessions.len()) as u64))
    }

    fn purge_expired(&self, now: WallTime) -> Reply<'_, u64> {
        let mut state = self.lock();
        let before = state.sessions.len() + state.links.len();
        state.sessions.retain(|_, s| s.expires_at > now);
        state.links.retain(|_, l| l.expires_at > now);
        ready(Ok((before - state.sessions.len() - state.links.len()) as u64))
    }
}
