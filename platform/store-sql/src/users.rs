//! Tenants and users.

use sansio::WallTime;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, Transaction};
use store::names::{check_domain, check_user};
use store::{
    CredentialChanges, CredentialEntry, Ha1Set, ImportReport, MAX_PAGE, NewUser, Reply, StoreError,
    Tenant, TenantId, Tenants, User, UserId, Users,
};

use crate::error::{is_dangling, is_duplicate};
use crate::open::SqlStore;
use crate::rows::{self, millis, signed, unsigned};

/// Rows per INSERT of an import: 7 parameters each, well below SQLite's 32,766.
const ROWS_PER_INSERT: usize = 500;

impl Tenants for SqlStore {
    fn add_tenant<'a>(&'a self, domain: &'a str, at: WallTime) -> Reply<'a, Tenant> {
        Box::pin(async move {
            let domain = check_domain(domain)?;
            let insert = "INSERT INTO tenants (domain, created_at) VALUES (?, ?) RETURNING *";
            let row = sqlx::query(insert)
                .bind(&domain)
                .bind(millis(at))
                .fetch_one(&self.writer)
                .await
                .map_err(|e| {
                    if is_duplicate(&e) {
                        return StoreError::Exists { what: "tenant", key: domain };
                    }
                    self.fail(e)
                })?;
            rows::tenant(&row).map_err(|e| self.fail(e))
        })
    }

    fn remove_tenant<'a>(&'a self, domain: &'a str) -> Reply<'a, bool> {
        Box::pin(async move {
            let domain = domain.to_ascii_lowercase();
            let mut tx = self.begin().await?;
            let version = self.next_version(&mut tx).await?;
            sqlx::query(
                "INSERT OR REPLACE INTO user_removals (realm, name, version)
                 SELECT t.domain, u.name, ? FROM users u JOIN tenants t ON t.id = u.tenant
                 WHERE t.domain = ?",
            )
            .bind(version)
            .bind(&domain)
            .execute(&mut *tx)
            .await
            .map_err(|e| self.fail(e))?;
            let deleted = sqlx::query("DELETE FROM tenants WHERE domain = ?")
                .bind(&domain)
                .execute(&mut *tx)
                .await
                .map_err(|e| self.fail(e))?;
            self.commit(tx).await?;
            Ok(deleted.rows_affected() > 0)
        })
    }

    fn tenant<'a>(&'a self, domain: &'a str) -> Reply<'a, Option<Tenant>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT * FROM tenants WHERE domain = ?")
                .bind(domain.to_ascii_lowercase())
                .fetch_optional(&self.readers)
                .await
                .map_err(|e| self.fail(e))?;
            row.as_ref().map(rows::tenant).transpose().map_err(|e| self.fail(e))
        })
    }

    fn tenants(&self) -> Reply<'_, Vec<Tenant>> {
        Box::pin(async move {
            let rows = sqlx::query("SELECT * FROM tenants ORDER BY domain")
                .fetch_all(&self.readers)
                .await
                .map_err(|e| self.fail(e))?;
            rows.iter().map(rows::tenant).collect::<Result<_, _>>().map_err(|e| self.fail(e))
        })
    }
}

impl Users for SqlStore {
    fn add_user<'a>(
        &'a self,
        tenant: TenantId,
        name: &'a str,
        ha1: Ha1Set,
        at: WallTime,
    ) -> Reply<'a, User> {
        Box::pin(async move {
            check_user(name)?;
            let sealed = self.seal_ha1(tenant, name, &ha1)?;
            let mut tx = self.begin().await?;
            let version = self.next_version(&mut tx).await?;
            let row = sqlx::query(
                "INSERT INTO users (tenant, name, ha1, created_at, updated_at, version)
                 VALUES (?, ?, ?, ?, ?, ?) RETURNING *",
            )
            .bind(tenant.0)
            .bind(name)
            .bind(sealed)
            .bind(millis(at))
            .bind(millis(at))
            .bind(version)
            .fetch_one(&mut *tx)
            .await
            .map_err(|e| match () {
                () if is_duplicate(&e) => StoreError::Exists { what: "user", key: name.to_owned() },
                () if is_dangling(&e) => no_tenant(tenant),
                () => self.fail(e),
            })?;
            self.commit(tx).await?;
            self.user_of(&row)
        })
    }

    fn set_ha1<'a>(
        &'a self,
        tenant: TenantId,
        name: &'a str,
        ha1: Ha1Set,
        at: WallTime,
    ) -> Reply<'a, bool> {
        Box::pin(async move {
            let sealed = self.seal_ha1(tenant, name, &ha1)?;
            let mut tx = self.begin().await?;
            let version = self.next_version(&mut tx).await?;
            let update = "UPDATE users SET ha1 = ?, updated_at = ?, version = ?
                          WHERE tenant = ? AND name = ?";
            let done = sqlx::query(update)
                .bind(sealed)
                .bind(millis(at))
                .bind(version)
                .bind(tenant.0)
                .bind(name)
                .execute(&mut *tx)
                .await
                .map_err(|e| self.fail(e))?;
            self.commit(tx).await?;
            Ok(done.rows_affected() > 0)
        })
    }

    fn remove_user<'a>(&'a self, tenant: TenantId, name: &'a str) -> Reply<'a, bool> {
        Box::pin(async move {
            let mut tx = self.begin().await?;
            let version = self.next_version(&mut tx).await?;
            let done = sqlx::query("DELETE FROM users WHERE tenant = ? AND name = ?")
                .bind(tenant.0)
                .bind(name)
                .execute(&mut *tx)
                .await
                .map_err(|e| self.fail(e))?;
            if done.rows_affected() == 0 {
                return Ok(false);
            }
            sqlx::query(
                "INSERT OR REPLACE INTO user_removals (realm, name, version)
                 SELECT domain, ?, ? FROM tenants WHERE id = ?",
            )
            .bind(name)
            .bind(version)
            .bind(tenant.0)
            .execute(&mut *tx)
            .await
            .map_err(|e| self.fail(e))?;
            self.commit(tx).await?;
            Ok(true)
        })
    }

    fn user<'a>(&'a self, tenant: TenantId, name: &'a str) -> Reply<'a, Option<User>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT * FROM users WHERE tenant = ? AND name = ?")
                .bind(tenant.0)
                .bind(name)
                .fetch_optional(&self.readers)
                .await
                .map_err(|e| self.fail(e))?;
            row.as_ref().map(|row| self.user_of(row)).transpose()
        })
    }

    fn user_by_id(&self, id: UserId) -> Reply<'_, Option<User>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT * FROM users WHERE id = ?")
                .bind(id.0)
                .fetch_optional(&self.readers)
                .await
                .map_err(|e| self.fail(e))?;
            row.as_ref().map(|row| self.user_of(row)).transpose()
        })
    }

    fn users<'a>(
        &'a self,
        tenant: TenantId,
        after: Option<&'a str>,
        limit: u32,
    ) -> Reply<'a, Vec<User>> {
        Box::pin(async move {
            let select = "SELECT * FROM users WHERE tenant = ? AND name > ? ORDER BY name LIMIT ?";
            let rows = sqlx::query(select)
                .bind(tenant.0)
                .bind(after.unwrap_or(""))
                .bind(limit.min(MAX_PAGE))
                .fetch_all(&self.readers)
                .await
                .map_err(|e| self.fail(e))?;
            rows.iter().map(|row| self.user_of(row)).collect()
        })
    }

    fn count_users(&self, tenant: TenantId) -> Reply<'_, u64> {
        Box::pin(async move {
            let count = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM users WHERE tenant = ?")
                .bind(tenant.0)
                .fetch_one(&self.readers)
                .await
                .map_err(|e| self.fail(e))?;
            Ok(unsigned(count))
        })
    }

    fn import(
        &self,
        tenant: TenantId,
        batch: Vec<NewUser>,
        at: WallTime,
    ) -> Reply<'_, ImportReport> {
        Box::pin(self.import_batch(tenant, batch, at))
    }

    fn credentials_since(&self, version: u64) -> Reply<'_, CredentialChanges> {
        Box::pin(self.changes_since(version))
    }
}

impl SqlStore {
    async fn import_batch(
        &self,
        tenant: TenantId,
        batch: Vec<NewUser>,
        at: WallTime,
    ) -> Result<ImportReport, StoreError> {
        for new in &batch {
            check_user(&new.name)?;
        }
        let mut tx = self.begin().await?;
        let known = sqlx::query("SELECT 1 FROM tenants WHERE id = ?").bind(tenant.0);
        if known.fetch_optional(&mut *tx).await.map_err(|e| self.fail(e))?.is_none() {
            return Err(no_tenant(tenant));
        }
        let version = self.next_version(&mut tx).await?;
        let before = self.count_in(&mut tx, tenant).await?;
        for chunk in batch.chunks(ROWS_PER_INSERT) {
            let sealed: Vec<Vec<u8>> = chunk
                .iter()
                .map(|new| self.seal_ha1(tenant, &new.name, &new.ha1))
                .collect::<Result<_, _>>()?;
            let mut insert = QueryBuilder::<Sqlite>::new(
                "INSERT INTO users (tenant, name, ha1, created_at, updated_at, version) ",
            );
            insert.push_values(chunk.iter().zip(sealed), |mut row, (new, sealed)| {
                row.push_bind(tenant.0).push_bind(new.name.as_str()).push_bind(sealed);
                row.push_bind(millis(at)).push_bind(millis(at)).push_bind(version);
            });
            insert.push(
                " ON CONFLICT (tenant, name) DO UPDATE SET ha1 = excluded.ha1,
                  updated_at = excluded.updated_at, version = excluded.version",
            );
            insert.build().execute(&mut *tx).await.map_err(|e| self.fail(e))?;
        }
        let added = self.count_in(&mut tx, tenant).await? - before;
        self.commit(tx).await?;
        Ok(ImportReport { added, updated: batch.len() as u64 - added })
    }

    /// All in one reading transaction, so that version and rows belong together.
    async fn changes_since(&self, version: u64) -> Result<CredentialChanges, StoreError> {
        let mut tx = self.readers.begin().await.map_err(|e| self.fail(e))?;
        let current: i64 = sqlx::query_scalar("SELECT value FROM user_version")
            .fetch_one(&mut *tx)
            .await
            .map_err(|e| self.fail(e))?;
        let mut changes = CredentialChanges { version: unsigned(current), ..Default::default() };
        let removed =
            sqlx::query("SELECT realm, name, version FROM user_removals WHERE version > ?")
                .bind(signed(version))
                .fetch_all(&mut *tx)
                .await
                .map_err(|e| self.fail(e))?;
        for row in &removed {
            let removal = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get::<i64, _>(2)?));
            let (realm, name, at) = removal().map_err(|e| self.fail(e))?;
            changes.removed.push((realm, name, unsigned(at)));
        }
        let changed = sqlx::query(
            "SELECT u.*, t.domain FROM users u JOIN tenants t ON t.id = u.tenant
             WHERE u.version > ?",
        )
        .bind(signed(version))
        .fetch_all(&mut *tx)
        .await
        .map_err(|e| self.fail(e))?;
        for row in &changed {
            let user = self.user_of(row)?;
            let realm = row.try_get("domain").map_err(|e| self.fail(e))?;
            let at: i64 = row.try_get("version").map_err(|e| self.fail(e))?;
            let entry =
                CredentialEntry { realm, user: user.name, ha1: user.ha1, version: unsigned(at) };
            changes.changed.push(entry);
        }
        Ok(changes)
    }

    async fn next_version(&self, tx: &mut Transaction<'_, Sqlite>) -> Result<i64, StoreError> {
        sqlx::query_scalar("UPDATE user_version SET value = value + 1 RETURNING value")
            .fetch_one(&mut **tx)
            .await
            .map_err(|e| self.fail(e))
    }

    async fn count_in(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        tenant: TenantId,
    ) -> Result<u64, StoreError> {
        let count = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM users WHERE tenant = ?");
        let count = count.bind(tenant.0).fetch_one(&mut **tx).await;
        count.map(unsigned).map_err(|e| self.fail(e))
    }

    fn seal_ha1(&self, tenant: TenantId, name: &str, ha1: &Ha1Set) -> Result<Vec<u8>, StoreError> {
        let sealed = self.sealer.seal(&place(tenant, name), &ha1.to_bytes());
        sealed.ok_or_else(|| self.wrong_key())
    }

    fn user_of(&self, row: &SqliteRow) -> Result<User, StoreError> {
        let columns = || -> rows::Column<(User, Vec<u8>)> {
            let user = User {
                id: UserId(row.try_get("id")?),
                tenant: TenantId(row.try_get("tenant")?),
                name: row.try_get("name")?,
                ha1: Ha1Set { md5: [0; 16], sha256: [0; 32], sha512_256: [0; 32] },
                created_at: rows::time(row, "created_at")?,
                updated_at: rows::time(row, "updated_at")?,
            };
            Ok((user, row.try_get("ha1")?))
        };
        let (user, sealed) = columns().map_err(|e| self.fail(e))?;
        let opened = self.sealer.open(&place(user.tenant, &user.name), &sealed);
        let ha1 = opened.as_deref().and_then(Ha1Set::from_bytes);
        Ok(User { ha1: ha1.ok_or_else(|| self.wrong_key())?, ..user })
    }
}

/// What a sealed HA1 is bound to.
fn place(tenant: TenantId, name: &str) -> String {
    format!("ha1\n{}\n{name}", tenant.0)
}

fn no_tenant(tenant: TenantId) -> StoreError {
    StoreError::Missing { what: "tenant", key: tenant.0.to_string() }
}
