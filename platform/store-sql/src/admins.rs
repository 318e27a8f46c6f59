//! Administrators, one-time links, sessions.

use sansio::WallTime;
use sqlx::Row;
use store::names::check_user;
use store::{
    Admin, AdminId, Admins, OneTimeLink, Reply, Session, SessionKind, StoreError, Subject,
    TokenHash,
};

use crate::error::is_duplicate;
use crate::open::SqlStore;
use crate::rows::{self, millis, subject_columns};

impl Admins for SqlStore {
    fn add_admin<'a>(&'a self, name: &'a str, at: WallTime) -> Reply<'a, Admin> {
        Box::pin(async move {
            check_user(name)?;
            let insert = "INSERT INTO admins (name, created_at) VALUES (?, ?) RETURNING *";
            let row = sqlx::query(insert).bind(name).bind(millis(at)).fetch_one(&self.writer);
            let row = row.await.map_err(|e| {
                if is_duplicate(&e) {
                    return StoreError::Exists { what: "admin", key: name.to_owned() };
                }
                self.fail(e)
            })?;
            rows::admin(&row).map_err(|e| self.fail(e))
        })
    }

    fn admin<'a>(&'a self, name: &'a str) -> Reply<'a, Option<Admin>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT * FROM admins WHERE name = ?").bind(name);
            let row = row.fetch_optional(&self.readers).await.map_err(|e| self.fail(e))?;
            row.as_ref().map(rows::admin).transpose().map_err(|e| self.fail(e))
        })
    }

    fn admins(&self) -> Reply<'_, Vec<Admin>> {
        Box::pin(async move {
            let all = sqlx::query("SELECT * FROM admins ORDER BY name");
            let all = all.fetch_all(&self.readers).await.map_err(|e| self.fail(e))?;
            all.iter().map(rows::admin).collect::<Result<_, _>>().map_err(|e| self.fail(e))
        })
    }

    fn set_admin_password(&self, admin: AdminId, hash: String) -> Reply<'_, bool> {
        Box::pin(async move {
            let update = sqlx::query("UPDATE admins SET password_hash = ? WHERE id = ?");
            self.count(update.bind(hash).bind(admin.0)).await.map(|n| n > 0)
        })
    }

    fn add_link(&self, link: OneTimeLink) -> Reply<'_, ()> {
        Box::pin(async move {
            let insert = "INSERT INTO links (hash, admin, expires_at) VALUES (?, ?, ?)";
            let insert = sqlx::query(insert).bind(link.hash.0.to_vec()).bind(link.admin.0);
            self.count(insert.bind(millis(link.expires_at))).await.map(|_| ())
        })
    }

    fn take_link(&self, hash: TokenHash, now: WallTime) -> Reply<'_, Option<AdminId>> {
        Box::pin(async move {
            let delete = "DELETE FROM links WHERE hash = ? RETURNING admin, expires_at";
            let row = sqlx::query(delete).bind(hash.0.to_vec()).fetch_optional(&self.writer);
            let Some(row) = row.await.map_err(|e| self.fail(e))? else { return Ok(None) };
            let expires_at = rows::time(&row, "expires_at").map_err(|e| self.fail(e))?;
            let admin = row.try_get("admin").map_err(|e| self.fail(e))?;
            Ok((expires_at > now).then_some(AdminId(admin)))
        })
    }

    fn add_session(&self, session: Session) -> Reply<'_, ()> {
        Box::pin(async move {
            let (subject_kind, subject) = subject_columns(session.subject);
            let kind = match session.kind {
                SessionKind::Cookie => 0_i64,
                SessionKind::Bearer => 1,
            };
            let insert = sqlx::query(
                "INSERT INTO sessions (hash, subject_kind, subject, kind, created_at, expires_at)
                 VALUES (?, ?, ?, ?, ?, ?)",
            )
            .bind(session.hash.0.to_vec())
            .bind(subject_kind)
            .bind(subject)
            .bind(kind)
            .bind(millis(session.created_at))
            .bind(millis(session.expires_at));
            self.count(insert).await.map(|_| ())
        })
    }

    fn session(&self, hash: TokenHash, now: WallTime) -> Reply<'_, Option<Session>> {
        Box::pin(async move {
            let select = "SELECT * FROM sessions WHERE hash = ? AND expires_at > ?";
            let select = sqlx::query(select).bind(hash.0.to_vec()).bind(millis(now));
            let row = select.fetch_optional(&self.readers).await.map_err(|e| self.fail(e))?;
            let session = row.map(|row| rows::session(&row, hash));
            session.transpose().map_err(|e| self.fail(e))
        })
    }

    fn remove_session(&self, hash: TokenHash) -> Reply<'_, bool> {
        Box::pin(async move {
            let delete = sqlx::query("DELETE FROM sessions WHERE hash = ?");
            self.count(delete.bind(hash.0.to_vec())).await.map(|n| n > 0)
        })
    }

    fn remove_sessions_of(&self, subject: Subject) -> Reply<'_, u64> {
        Box::pin(async move {
            let (kind, id) = subject_columns(subject);
            let delete = "DELETE FROM sessions WHERE subject_kind = ? AND subject = ?";
            self.count(sqlx::query(delete).bind(kind).bind(id)).await
        })
    }

    fn purge_expired(&self, now: WallTime) -> Reply<'_, u64> {
        Box::pin(async move {
            let sessions = sqlx::query("DELETE FROM sessions WHERE expires_at <= ?");
            let sessions = self.count(sessions.bind(millis(now))).await?;
            let links = sqlx::query("DELETE FROM links WHERE expires_at <= ?");
            Ok(sessions + self.count(links.bind(millis(now))).await?)
        })
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

impl SqlStore {
    /// Runs a statement; the rows it touched.
    pub(crate) async fn count(&self, query: Query<'_>) -> Result<u64, StoreError> {
        let done = query.execute(&self.writer).await.map_err(|e| self.fail(e))?;
        Ok(done.rows_affected())
    }
}
