//! Whose number is it? In memory, for the path calls take.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::account::GrantedNumber;
use crate::error::StoreError;
use crate::repository::{MAX_PAGE, Numbers};

/// Every granted number, looked up without I/O. Replaced as a whole by [`Self::reload`].
#[derive(Debug, Default)]
pub struct NumberSnapshot {
    by_number: RwLock<Arc<HashMap<String, GrantedNumber>>>,
}

impl NumberSnapshot {
    /// Empty: call [`Self::reload`].
    pub fn new() -> Self {
        Self::default()
    }

    /// User and domain of whoever has this number, written as
    /// [`check_number`](crate::names::check_number) gives it.
    pub fn owner(&self, number: &str) -> Option<(String, String)> {
        let now = Arc::clone(&self.by_number.read().unwrap_or_else(PoisonError::into_inner));
        now.get(number).map(|granted| (granted.user.clone(), granted.domain.clone()))
    }

    /// Reads the store anew.
    ///
    /// # Errors
    /// Whatever the store reports; the snapshot is then as before.
    pub async fn reload(&self, store: &(impl Numbers + ?Sized)) -> Result<usize, StoreError> {
        let mut all: HashMap<String, GrantedNumber> = HashMap::new();
        let mut after: Option<String> = None;
        loop {
            let page = store.numbers(after.as_deref(), MAX_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.number.clone());
            all.extend(page.into_iter().map(|granted| (granted.number.clone(), granted)));
        }
        let count = all.len();
        *self.by_number.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
        Ok(count)
    }
}
