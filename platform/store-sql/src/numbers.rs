//! Granted numbers.

use sqlx::Row;
use store::names::check_number;
use store::{GrantedNumber, MAX_PAGE, Numbers, Reply, StoreError, TenantId};

use crate::error::is_duplicate;
use crate::open::SqlStore;

impl Numbers for SqlStore {
    fn grant_number<'a>(
        &'a self,
        tenant: TenantId,
        user: &'a str,
        number: &'a str,
    ) -> Reply<'a, ()> {
        Box::pin(async move {
            let number = check_number(number)?;
            let insert = "INSERT INTO numbers (number, user)
                          SELECT ?, id FROM users WHERE tenant = ? AND name = ?";
            let done = sqlx::query(insert)
                .bind(&number)
                .bind(tenant.0)
                .bind(user)
                .execute(&self.writer)
                .await
                .map_err(|e| {
                    if is_duplicate(&e) {
                        return StoreError::Exists { what: "number", key: number };
                    }
                    self.fail(e)
                })?;
            if done.rows_affected() == 0 {
                return Err(StoreError::Missing { what: "user", key: user.to_owned() });
            }
            Ok(())
        })
    }

    fn revoke_number<'a>(
        &'a self,
        tenant: TenantId,
        user: &'a str,
        number: &'a str,
    ) -> Reply<'a, bool> {
        Box::pin(async move {
            let number = check_number(number)?;
            let delete = "DELETE FROM numbers WHERE number = ? AND user IN
                          (SELECT id FROM users WHERE tenant = ? AND name = ?)";
            let done = sqlx::query(delete)
                .bind(&number)
                .bind(tenant.0)
                .bind(user)
                .execute(&self.writer)
                .await
                .map_err(|e| self.fail(e))?;
            Ok(done.rows_affected() > 0)
        })
    }

    fn numbers<'a>(&'a self, after: Option<&'a str>, limit: u32) -> Reply<'a, Vec<GrantedNumber>> {
        Box::pin(async move {
            let select = "SELECT n.number, u.name, t.domain FROM numbers n
                          JOIN users u ON u.id = n.user JOIN tenants t ON t.id = u.tenant
                          WHERE n.number > ? ORDER BY n.number LIMIT ?";
            let rows = sqlx::query(select)
                .bind(after.unwrap_or(""))
                .bind(limit.min(MAX_PAGE))
                .fetch_all(&self.readers)
                .await
                .map_err(|e| self.fail(e))?;
            let granted = rows.iter().map(|row| {
                let (number, user, domain) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
                Ok(GrantedNumber { number, user, domain })
            });
            granted.collect::<Result<_, sqlx::Error>>().map_err(|e| self.fail(e))
        })
    }
}
