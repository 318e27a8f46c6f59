//! Tenants and users in memory.

use std::ops::Bound;

use sansio::WallTime;

use super::{MemoryStore, State, ready};
use crate::account::{ImportReport, NewUser, Tenant, TenantId, User, UserId};
use crate::credentials::{CredentialChanges, CredentialEntry};
use crate::error::StoreError;
use crate::ha1::Ha1Set;
use crate::names::{check_domain, check_user};
use crate::repository::{MAX_PAGE, Reply, Tenants, Users};

impl Tenants for MemoryStore {
    fn add_tenant<'a>(&'a self, domain: &'a str, at: WallTime) -> Reply<'a, Tenant> {
        ready(self.lock().add_tenant(domain, at))
    }

    fn remove_tenant<'a>(&'a self, domain: &'a str) -> Reply<'a, bool> {
        let mut state = self.lock();
        let domain = domain.to_ascii_lowercase();
        let Some(tenant) = state.tenants.remove(&domain) else { return ready(Ok(false)) };
        let names: Vec<String> = state.names_of(tenant.id);
        state.version += 1;
        let version = state.version;
        state.numbers.retain(|_, (of, _)| *of != tenant.id);
        for name in names {
            state.users.remove(&(tenant.id, name.clone()));
            state.removed.insert((domain.clone(), name), version);
        }
        ready(Ok(true))
    }

    fn tenant<'a>(&'a self, domain: &'a str) -> Reply<'a, Option<Tenant>> {
        ready(Ok(self.lock().tenants.get(&domain.to_ascii_lowercase()).cloned()))
    }

    fn tenants(&self) -> Reply<'_, Vec<Tenant>> {
        ready(Ok(self.lock().tenants.values().cloned().collect()))
    }
}

impl Users for MemoryStore {
    fn add_user<'a>(
        &'a self,
        tenant: TenantId,
        name: &'a str,
        ha1: Ha1Set,
        at: WallTime,
    ) -> Reply<'a, User> {
        let mut state = self.lock();
        let key = (tenant, name.to_owned());
        if state.users.contains_key(&key) {
            return ready(Err(StoreError::Exists { what: "user", key: name.to_owned() }));
        }
        let new = NewUser { name: name.to_owned(), ha1 };
        let result = state.import(tenant, vec![new], at).map(|_| state.users[&key].0.clone());
        ready(result)
    }

    fn set_ha1<'a>(
        &'a self,
        tenant: TenantId,
        name: &'a str,
        ha1: Ha1Set,
        at: WallTime,
    ) -> Reply<'a, bool> {
        let mut state = self.lock();
        if !state.users.contains_key(&(tenant, name.to_owned())) {
            return ready(Ok(false));
        }
        let new = NewUser { name: name.to_owned(), ha1 };
        ready(state.import(tenant, vec![new], at).map(|_| true))
    }

    fn remove_user<'a>(&'a self, tenant: TenantId, name: &'a str) -> Reply<'a, bool> {
        let mut state = self.lock();
        if state.users.remove(&(tenant, name.to_owned())).is_none() {
            return ready(Ok(false));
        }
        state.numbers.retain(|_, (of, user)| (*of, user.as_str()) != (tenant, name));
        state.version += 1;
        let version = state.version;
        if let Some(domain) = state.tenant_by_id(tenant).map(|t| t.domain.clone()) {
            state.removed.insert((domain, name.to_owned()), version);
        }
        ready(Ok(true))
    }

    fn user<'a>(&'a self, tenant: TenantId, name: &'a str) -> Reply<'a, Option<User>> {
        let found = self.lock().users.get(&(tenant, name.to_owned())).map(|(u, _)| u.clone());
        ready(Ok(found))
    }

    fn user_by_id(&self, id: UserId) -> Reply<'_, Option<User>> {
        let found = self.lock().users.values().find(|(u, _)| u.id == id).map(|(u, _)| u.clone());
        ready(Ok(found))
    }

    fn users<'a>(
        &'a self,
        tenant: TenantId,
        after: Option<&'a str>,
        limit: u32,
    ) -> Reply<'a, Vec<User>> {
        let state = self.lock();
        let start = after.unwrap_or("").to_owned();
        let from = Bound::Excluded((tenant, start));
        let page = state
            .users
            .range((from, Bound::Unbounded))
            .take_while(|((of, _), _)| *of == tenant)
            .take(limit.min(MAX_PAGE) as usize)
            .map(|(_, (user, _))| user.clone())
            .collect();
        ready(Ok(page))
    }

    fn count_users(&self, tenant: TenantId) -> Reply<'_, u64> {
        ready(Ok(self.lock().names_of(tenant).len() as u64))
    }

    fn import(
        &self,
        tenant: TenantId,
        batch: Vec<NewUser>,
        at: WallTime,
    ) -> Reply<'_, ImportReport> {
        ready(self.lock().import(tenant, batch, at))
    }

    fn credentials_since(&self, version: u64) -> Reply<'_, CredentialChanges> {
        ready(Ok(self.lock().credentials_since(version)))
    }
}

impl State {
    fn add_tenant(&mut self, domain: &str, at: WallTime) -> Result<Tenant, StoreError> {
        let domain = check_domain(domain)?;
        if self.tenants.contains_key(&domain) {
            return Err(StoreError::Exists { what: "tenant", key: domain });
        }
        let tenant = Tenant { id: TenantId(self.id()), domain: domain.clone(), created_at: at };
        self.tenants.insert(domain, tenant.clone());
        Ok(tenant)
    }

    fn names_of(&self, tenant: TenantId) -> Vec<String> {
        self.users.keys().filter(|(of, _)| *of == tenant).map(|(_, name)| name.clone()).collect()
    }

    fn import(
        &mut self,
        tenant: TenantId,
        batch: Vec<NewUser>,
        at: WallTime,
    ) -> Result<ImportReport, StoreError> {
        if self.tenant_by_id(tenant).is_none() {
            return Err(StoreError::Missing { what: "tenant", key: tenant.0.to_string() });
        }
        for new in &batch {
            check_user(&new.name)?;
        }
        self.version += 1;
        let version = self.version;
        let mut report = ImportReport::default();
        for NewUser { name, ha1 } in batch {
            if let Some((user, at_version)) = self.users.get_mut(&(tenant, name.clone())) {
                (user.ha1, user.updated_at, *at_version) = (ha1, at, version);
                report.updated += 1;
                continue;
            }
            let id = UserId(self.id());
            let user = User { id, tenant, name: name.clone(), ha1, created_at: at, updated_at: at };
            self.users.insert((tenant, name), (user, version));
            report.added += 1;
        }
        Ok(report)
    }

    fn credentials_since(&self, version: u64) -> CredentialChanges {
        let changed = self.users.values().filter(|(_, at)| *at > version).filter_map(|(u, at)| {
            let realm = self.tenant_by_id(u.tenant)?.domain.clone();
            Some(CredentialEntry { realm, user: u.name.clone(), ha1: u.ha1, version: *at })
        });
        let removed = self.removed.iter().filter(|(_, at)| **at > version);
        CredentialChanges {
            version: self.version,
            changed: changed.collect(),
            removed: removed.map(|((r, u), at)| (r.clone(), u.clone(), *at)).collect(),
        }
    }
}
