//! `whimbrel tenant ..`, `user ..`, `admin ..`: changes to the store, at the next request in force
//! if a server runs.

use crate::cli::{AdminVerb, NumberVerb, TenantVerb, UserVerb};
use crate::control::{self, Request};
use crate::present;
use anyhow::{Context, Result, anyhow, bail};
use sansio::{Entropy, Redacted};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::path::Path;
use store::{Ha1Set, NewUser, Store, Tenant};

/// Users per transaction of an import.
const BATCH: usize = 5_000;

/// `whimbrel tenant ..`.
pub async fn tenant(data: &Path, store: &dyn Store, verb: TenantVerb) -> Result<()> {
    match verb {
        TenantVerb::Add { domain } => {
            let domain = valid_domain(&domain)?;
            store.add_tenant(&domain, present::wall()).await?;
            present::say(&format!("{domain} is served here now."));
        }
        TenantVerb::List { json } => {
            let tenants = store.tenants().await?;
            let rows = tenants.iter().map(|t| json!({ "domain": t.domain })).collect();
            present::rows(json, rows, &[("DOMAIN", "domain")]);
            return Ok(());
        }
        TenantVerb::Remove { domain } => {
            if !store.remove_tenant(&domain).await? {
                bail!("no tenant '{domain}'; `whimbrel tenant list` shows them");
            }
            present::say(&format!("{domain} and its users are removed; call records stay."));
        }
    }
    reload(data)
}

/// `whimbrel user ..`.
pub async fn user(data: &Path, store: &dyn Store, verb: UserVerb) -> Result<()> {
    match verb {
        UserVerb::Add { user, password_file } => {
            let (name, tenant) = split(store, &user).await?;
            let (password, made) = password(password_file.as_deref())?;
            let ha1 = Ha1Set::from_password(&name, &tenant.domain, &password);
            store.add_user(tenant.id, &name, ha1, present::wall()).await?;
            tell_password(&user, &password, made);
        }
        UserVerb::Password { user, password_file } => {
            let (name, tenant) = split(store, &user).await?;
            let (password, made) = password(password_file.as_deref())?;
            let ha1 = Ha1Set::from_password(&name, &tenant.domain, &password);
            if !store.set_ha1(tenant.id, &name, ha1, present::wall()).await? {
                bail!("no user '{user}'; `whimbrel user list` shows them");
            }
            tell_password(&user, &password, made);
        }
        UserVerb::Remove { user } => {
            let (name, tenant) = split(store, &user).await?;
            if !store.remove_user(tenant.id, &name).await? {
                bail!("no user '{user}'; `whimbrel user list` shows them");
            }
            present::say(&format!("{user} is removed."));
        }
        UserVerb::List { json } => return list_users(store, json).await,
        UserVerb::Import { file } => import(store, &file).await?,
        UserVerb::Number(verb) => return number(data, store, verb).await,
    }
    reload(data)
}

/// `whimbrel user number ..`.
async fn number(data: &Path, store: &dyn Store, verb: NumberVerb) -> Result<()> {
    match verb {
        NumberVerb::Add { user, number } => {
            let (name, tenant) = split(store, &user).await?;
            store.grant_number(tenant.id, &name, &number).await?;
            present::say(&format!("{number} is {user}'s."));
        }
        NumberVerb::Remove { user, number } => {
            let (name, tenant) = split(store, &user).await?;
            if !store.revoke_number(tenant.id, &name, &number).await? {
                bail!("{number} is not {user}'s; `whimbrel user number list` shows whose it is");
            }
            present::say(&format!("{number} is {user}'s no longer."));
        }
        NumberVerb::List { user, json } => return list_numbers(store, user, json).await,
    }
    reload(data)
}

async fn list_numbers(store: &dyn Store, user: Option<String>, json: bool) -> Result<()> {
    let (mut rows, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = store.numbers(after.as_deref(), 1_000).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.number.clone());
        let row = |n: &store::GrantedNumber| {
            let owner = format!("{}@{}", n.user, n.domain);
            let wanted = user.as_ref().is_none_or(|u| *u == owner);
            wanted.then(|| json!({ "number": n.number, "user": owner }))
        };
        rows.extend(page.iter().filter_map(row));
    }
    present::rows(json, rows, &[("NUMBER", "number"), ("USER", "user")]);
    Ok(())
}

/// `whimbrel admin ..`.
pub async fn admin(store: &dyn Store, verb: AdminVerb) -> Result<()> {
    match verb {
        AdminVerb::Link => {
            let link = admin_link(store).await?;
            present::say(&format!("/welcome/{}", link.reveal()));
            Ok(())
        }
    }
}

/// The token of a new one-time link for the administrator, who is made if there is none.
pub async fn admin_link(store: &dyn Store) -> Result<Redacted<String>> {
    let wall = present::wall();
    let admin = match store.admins().await?.into_iter().next() {
        Some(admin) => admin,
        None => store.add_admin("admin", wall).await?,
    };
    Ok(store::issue_link(store, &mut net::OsEntropy, &admin, wall).await?)
}

async fn list_users(store: &dyn Store, json: bool) -> Result<()> {
    let mut rows = Vec::new();
    for tenant in store.tenants().await? {
        let mut after: Option<String> = None;
        loop {
            let page = store.users(tenant.id, after.as_deref(), 1_000).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.name.clone());
            let row = |u: &store::User| json!({ "user": format!("{}@{}", u.name, tenant.domain) });
            rows.extend(page.iter().map(row));
        }
    }
    present::rows(json, rows, &[("USER", "user")]);
    Ok(())
}

/// 100,000 users in under a minute: hashing on this thread, thousands of rows a transaction.
async fn import(store: &dyn Store, file: &Path) -> Result<()> {
    let open = || std::fs::File::open(file).with_context(|| format!("{}", file.display()));
    let total = BufReader::new(open()?).lines().count().saturating_sub(1) as u64;
    let bar = indicatif::ProgressBar::new(total);
    let style = indicatif::ProgressStyle::with_template("{bar:40} {pos}/{len} users, {eta} left")?;
    bar.set_style(style);
    let mut lines = BufReader::new(open()?).lines();
    let header = lines.next().transpose()?.unwrap_or_default();
    if header.trim().trim_start_matches('\u{feff}') != "user,password" {
        bail!("{}:1: the header must be `user,password`, not '{header}'", file.display());
    }
    let mut batches = Batches::default();
    for (at, line) in lines.enumerate() {
        let line = line.with_context(|| format!("{}:{}", file.display(), at + 2))?;
        if line.trim().is_empty() {
            continue;
        }
        let (user, password) = csv_fields(&line).ok_or_else(|| {
            anyhow!("{}:{}: expected `user@domain,password`", file.display(), at + 2)
        })?;
        let (name, tenant) =
            split(store, &user).await.with_context(|| format!("{}:{}", file.display(), at + 2))?;
        let ha1 = Ha1Set::from_password(&name, &tenant.domain, &password);
        batches.add(store, tenant, NewUser { name, ha1 }).await?;
        bar.inc(1);
    }
    batches.flush(store).await?;
    bar.finish_and_clear();
    let report = batches.report;
    present::say(&format!("{} users added, {} updated.", report.added, report.updated));
    Ok(())
}

#[derive(Default)]
struct Batches {
    tenant: Option<Tenant>,
    users: Vec<NewUser>,
    report: store::ImportReport,
}

impl Batches {
    async fn add(&mut self, store: &dyn Store, tenant: Tenant, user: NewUser) -> Result<()> {
        let other = self.tenant.as_ref().is_some_and(|t| t.id != tenant.id);
        if other || self.users.len() >= BATCH {
            self.flush(store).await?;
        }
        self.tenant = Some(tenant);
        self.users.push(user);
        Ok(())
    }

    async fn flush(&mut self, store: &dyn Store) -> Result<()> {
        if let (Some(tenant), false) = (&self.tenant, self.users.is_empty()) {
            let batch = std::mem::take(&mut self.users);
            self.report += store.import(tenant.id, batch, present::wall()).await?;
        }
        Ok(())
    }
}

/// Two CSV fields, the second maybe quoted.
fn csv_fields(line: &str) -> Option<(String, String)> {
    let (user, password) = line.trim_end_matches('\r').split_once(',')?;
    let unquoted = password.strip_prefix('"').and_then(|p| p.strip_suffix('"'));
    let password = unquoted.map_or(password.to_string(), |p| p.replace("\"\"", "\""));
    (!user.is_empty() && !password.is_empty()).then(|| (user.trim().to_string(), password))
}

async fn split(store: &dyn Store, user: &str) -> Result<(String, Tenant)> {
    let bare = user.strip_prefix("sip:").unwrap_or(user);
    let (name, domain) = bare
        .split_once('@')
        .filter(|(name, domain)| !name.is_empty() && !domain.is_empty())
        .ok_or_else(|| anyhow!("'{user}' is not a user: write user@domain"))?;
    let tenant = store.tenant(domain).await?.ok_or_else(|| {
        anyhow!("no tenant '{domain}'; add it first: whimbrel tenant add {domain}")
    })?;
    Ok((name.to_string(), tenant))
}

fn valid_domain(domain: &str) -> Result<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if domain.is_empty() || domain.len() > 253 || !domain.chars().all(fits) {
        bail!("'{domain}' is not a domain: letters, digits, dots and hyphens only");
    }
    Ok(domain.to_ascii_lowercase())
}

/// A password from a file (one trailing newline dropped), or a new random one.
fn password(file: Option<&Path>) -> Result<(String, bool)> {
    let Some(file) = file else { return Ok((net::OsEntropy.token(16), true)) };
    Ok((read_password(file)?, false))
}

/// The password in a file, without its one trailing newline.
pub fn read_password(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{}: the password file cannot be read", file.display()))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        bail!("{}: the password file is empty", file.display());
    }
    Ok(text.to_string())
}

fn tell_password(user: &str, password: &str, made: bool) {
    match made {
        true => present::say(&format!("{user}  password: {password}")),
        false => present::say(&format!("{user} is set.")),
    }
}

fn reload(data: &Path) -> Result<()> {
    control::ask(data, &Request::Reload)
        .context("the running server did not take the change over")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_lines_with_and_without_quotes() {
        assert_eq!(csv_fields("a@b,pw"), Some(("a@b".into(), "pw".into())));
        assert_eq!(csv_fields("a@b,\"p,\"\"w\"\r"), Some(("a@b".into(), "p,\"w".into())));
        assert_eq!(csv_fields("a@b"), None);
        assert_eq!(csv_fields("a@b,"), None);
    }

    #[test]
    fn domains_are_lower_cased_and_checked() {
        assert_eq!(valid_domain("Example.ORG").unwrap(), "example.org");
        assert!(valid_domain("a b").is_err() && valid_domain("").is_err());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_user_of_an_unknown_tenant_is_refused_with_the_remedy() {
        let store = store::MemoryStore::new();
        let error = split(&store, "alice@nowhere.example").await.unwrap_err().to_string();
        assert!(error.contains("whimbrel tenant add nowhere.example"), "{error}");
        assert!(split(&store, "alice").await.unwrap_err().to_string().contains("user@domain"));
    }
}
