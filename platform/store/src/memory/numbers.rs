//! Granted numbers in memory.

use std::ops::Bound;

use super::{MemoryStore, State, ready};
use crate::account::{GrantedNumber, TenantId};
use crate::error::StoreError;
use crate::names::check_number;
use crate::repository::{MAX_PAGE, Numbers, Reply};

impl Numbers for MemoryStore {
    fn grant_number<'a>(
        &'a self,
        tenant: TenantId,
        user: &'a str,
        number: &'a str,
    ) -> Reply<'a, ()> {
        ready(self.lock().grant(tenant, user, number))
    }

    fn revoke_number<'a>(
        &'a self,
        tenant: TenantId,
        user: &'a str,
        number: &'a str,
    ) -> Reply<'a, bool> {
        let mut state = self.lock();
        let number = match check_number(number) {
            Ok(number) => number,
            Err(error) => return ready(Err(error)),
        };
        let is_theirs = |(of, name): &(TenantId, String)| (*of, name.as_str()) == (tenant, user);
        let theirs = state.numbers.get(&number).is_some_and(is_theirs);
        if theirs {
            state.numbers.remove(&number);
        }
        ready(Ok(theirs))
    }

    fn numbers<'a>(&'a self, after: Option<&'a str>, limit: u32) -> Reply<'a, Vec<GrantedNumber>> {
        let state = self.lock();
        let from = Bound::Excluded(after.unwrap_or("").to_owned());
        let granted = |(number, (tenant, user)): (&String, &(TenantId, String))| {
            let domain = state.tenant_by_id(*tenant)?.domain.clone();
            Some(GrantedNumber { number: number.clone(), user: user.clone(), domain })
        };
        let range = state.numbers.range((from, Bound::Unbounded));
        let page = range.filter_map(granted).take(limit.min(MAX_PAGE) as usize).collect();
        ready(Ok(page))
    }
}

impl State {
    fn grant(&mut self, tenant: TenantId, user: &str, number: &str) -> Result<(), StoreError> {
        let number = check_number(number)?;
        if !self.users.contains_key(&(tenant, user.to_owned())) {
            return Err(StoreError::Missing { what: "user", key: user.to_owned() });
        }
        if self.numbers.contains_key(&number) {
            return Err(StoreError::Exists { what: "number", key: number });
        }
        self.numbers.insert(number, (tenant, user.to_owned()));
        Ok(())
    }
}
