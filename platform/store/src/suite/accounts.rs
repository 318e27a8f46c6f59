//! Stories of tenants, users, administrators.

use std::time::Duration;

use super::{at, entropy, example_com, ha1, new_user};
use crate::{
    Credentials, GrantedNumber, NumberSnapshot, Reloaded, Session, SessionKind, Store, StoreError,
    Subject, TenantId, Token, TokenHash, bootstrap, issue_link,
};

/// A domain is added once, whatever its case.
pub async fn tenants_are_unique_and_found_in_any_case(store: &dyn Store) {
    let tenant = store.add_tenant("Example.COM", at(0)).await.unwrap();
    assert_eq!(tenant.domain, "example.com");
    let again = store.add_tenant("example.com", at(1)).await;
    assert!(matches!(again, Err(StoreError::Exists { what: "tenant", .. })), "{again:?}");
    assert_eq!(store.tenant("EXAMPLE.com").await.unwrap(), Some(tenant));
    assert_eq!(store.tenant("example.org").await.unwrap(), None);
    assert!(matches!(store.add_tenant("a b", at(0)).await, Err(StoreError::BadName { .. })));
    store.add_tenant("a.example", at(2)).await.unwrap();
    let domains: Vec<_> = store.tenants().await.unwrap().into_iter().map(|t| t.domain).collect();
    assert_eq!(domains, ["a.example", "example.com"]);
}

/// Users need a tenant and go with it.
pub async fn users_live_and_die_with_their_tenant(store: &dyn Store) {
    let nowhere = store.add_user(TenantId(999), "alice", ha1("alice", "x"), at(0)).await;
    assert!(matches!(nowhere, Err(StoreError::Missing { what: "tenant", .. })), "{nowhere:?}");
    let tenant = example_com(store).await;
    let alice = store.add_user(tenant, "alice", ha1("alice", "x"), at(1)).await.unwrap();
    assert_eq!((alice.created_at, alice.ha1), (at(1), ha1("alice", "x")));
    let again = store.add_user(tenant, "alice", ha1("alice", "y"), at(2)).await;
    assert!(matches!(again, Err(StoreError::Exists { what: "user", .. })), "{again:?}");
    assert_eq!(store.user(tenant, "alice").await.unwrap().unwrap(), alice);
    assert!(store.user(tenant, "Alice").await.unwrap().is_none(), "users compare by case");
    assert!(store.remove_user(tenant, "alice").await.unwrap());
    assert!(!store.remove_user(tenant, "alice").await.unwrap());
    store.add_user(tenant, "bob", ha1("bob", "x"), at(3)).await.unwrap();
    assert!(store.remove_tenant("EXAMPLE.com").await.unwrap());
    assert!(!store.remove_tenant("example.com").await.unwrap());
    assert_eq!(store.count_users(tenant).await.unwrap(), 0);
}

/// A password is replaced; a name that needs escaping is refused.
pub async fn passwords_change_and_names_are_checked(store: &dyn Store) {
    let tenant = example_com(store).await;
    store.add_user(tenant, "alice", ha1("alice", "old"), at(1)).await.unwrap();
    assert!(store.set_ha1(tenant, "alice", ha1("alice", "new"), at(5)).await.unwrap());
    assert!(!store.set_ha1(tenant, "nobody", ha1("nobody", "new"), at(5)).await.unwrap());
    let alice = store.user(tenant, "alice").await.unwrap().unwrap();
    assert_eq!(
        (alice.ha1, alice.created_at, alice.updated_at),
        (ha1("alice", "new"), at(1), at(5))
    );
    let bad = store.add_user(tenant, "al ice", ha1("x", "x"), at(1)).await;
    assert!(matches!(bad, Err(StoreError::BadName { what: "user", .. })), "{bad:?}");
}

/// Pages join without gap or overlap.
pub async fn users_are_listed_in_pages(store: &dyn Store) {
    let tenant = example_com(store).await;
    let other = store.add_tenant("other.example", at(0)).await.unwrap().id;
    let names: Vec<String> = (0..25).map(|i| format!("u{i:02}")).collect();
    let batch = names.iter().map(|n| new_user(n, "x")).collect();
    store.import(tenant, batch, at(0)).await.unwrap();
    store.import(other, vec![new_user("u05", "x")], at(0)).await.unwrap();
    let mut seen: Vec<String> = Vec::new();
    loop {
        let page = store.users(tenant, seen.last().map(String::as_str), 10).await.unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|u| u.name));
    }
    assert_eq!(seen, names);
    assert_eq!(store.count_users(tenant).await.unwrap(), 25);
}

/// An import upserts, and counts both.
pub async fn an_import_adds_and_updates(store: &dyn Store) {
    let tenant = example_com(store).await;
    let first = vec![new_user("a", "1"), new_user("b", "1")];
    let report = store.import(tenant, first, at(1)).await.unwrap();
    assert_eq!((report.added, report.updated), (2, 0));
    let second = vec![new_user("b", "2"), new_user("c", "2")];
    let report = store.import(tenant, second, at(2)).await.unwrap();
    assert_eq!((report.added, report.updated), (1, 1));
    let b = store.user(tenant, "b").await.unwrap().unwrap();
    assert_eq!((b.ha1, b.created_at, b.updated_at), (ha1("b", "2"), at(1), at(2)));
    let many: Vec<_> = (0..3000).map(|i| new_user(&format!("m{i}"), "x")).collect();
    assert_eq!(store.import(tenant, many, at(3)).await.unwrap().added, 3000);
    assert_eq!(store.import(tenant, Vec::new(), at(3)).await.unwrap().added, 0);
}

/// One bad name in a batch, and nothing of it is kept.
pub async fn a_failed_import_changes_nothing(store: &dyn Store) {
    let tenant = example_com(store).await;
    let bad = store.import(tenant, vec![new_user("a", "1"), new_user("b c", "1")], at(1)).await;
    assert!(matches!(bad, Err(StoreError::BadName { .. })), "{bad:?}");
    assert_eq!(store.count_users(tenant).await.unwrap(), 0);
    let nowhere = store.import(TenantId(77), vec![new_user("a", "1")], at(1)).await;
    assert!(matches!(nowhere, Err(StoreError::Missing { .. })), "{nowhere:?}");
}

/// The hot path's snapshot sees each change, and only the changes.
pub async fn credentials_follow_changes_incrementally(store: &dyn Store) {
    let tenant = example_com(store).await;
    let credentials = Credentials::new();
    let batch = ["a", "b", "c"].iter().map(|n| new_user(n, "1")).collect();
    store.import(tenant, batch, at(1)).await.unwrap();
    let done = credentials.reload(store).await.unwrap();
    assert_eq!(done, Reloaded { changed: 3, removed: 0 });
    assert_eq!(credentials.lookup("EXAMPLE.com", "a"), Some(ha1("a", "1")));
    assert_eq!(credentials.reload(store).await.unwrap(), Reloaded::default());

    store.set_ha1(tenant, "b", ha1("b", "2"), at(2)).await.unwrap();
    store.remove_user(tenant, "c").await.unwrap();
    store.remove_user(tenant, "a").await.unwrap();
    store.add_user(tenant, "a", ha1("a", "3"), at(3)).await.unwrap();
    let done = credentials.reload(store).await.unwrap();
    assert_eq!(done.changed, 2);
    assert_eq!(credentials.lookup("example.com", "a"), Some(ha1("a", "3")));
    assert_eq!(credentials.lookup("example.com", "b"), Some(ha1("b", "2")));
    assert_eq!(credentials.lookup("example.com", "c"), None);

    store.remove_tenant("example.com").await.unwrap();
    credentials.reload(store).await.unwrap();
    assert!(credentials.is_empty());
    let tenant = example_com(store).await;
    store.add_user(tenant, "a", ha1("a", "4"), at(3)).await.unwrap();
    credentials.reload(store).await.unwrap();
    assert_eq!(credentials.lookup("example.com", "a"), Some(ha1("a", "4")));
}

/// A link signs in once, and not after its end.
pub async fn one_time_links_work_once(store: &dyn Store) {
    let admin = store.add_admin("root", at(0)).await.unwrap();
    let again = store.add_admin("root", at(0)).await;
    assert!(matches!(again, Err(StoreError::Exists { what: "admin", .. })), "{again:?}");
    let link = issue_link(store, &mut entropy(), &admin, at(0)).await.unwrap();
    let hash = TokenHash::of(link.reveal());
    assert_eq!(store.take_link(TokenHash::of("guess"), at(1)).await.unwrap(), None);
    assert_eq!(store.take_link(hash, at(1)).await.unwrap(), Some(admin.id));
    assert_eq!(store.take_link(hash, at(1)).await.unwrap(), None);
    let link = issue_link(store, &mut entropy(), &admin, at(0)).await.unwrap();
    let late = at(0) + crate::LINK_LIFETIME;
    assert_eq!(store.take_link(TokenHash::of(link.reveal()), late).await.unwrap(), None);
    assert!(store.set_admin_password(admin.id, "$hash".to_owned()).await.unwrap());
    let kept = store.admin("root").await.unwrap().unwrap();
    assert_eq!(kept.password_hash.as_deref(), Some("$hash"));
    assert_eq!(store.admins().await.unwrap(), [kept]);
}

/// Sessions end by time, by sign-out, and all at once.
pub async fn sessions_end(store: &dyn Store) {
    let mut entropy = entropy();
    let admin = Subject::Admin(store.add_admin("root", at(0)).await.unwrap().id);
    let mut session = |secs: u64| {
        let hash = Token::generate(&mut entropy).hash;
        let expires_at = at(0) + Duration::from_secs(secs);
        let kind = SessionKind::Bearer;
        Session { hash, subject: admin, kind, created_at: at(0), expires_at }
    };
    let (short, long, third) = (session(10), session(100), session(100));
    for s in [&short, &long, &third] {
        store.add_session(s.clone()).await.unwrap();
    }
    assert_eq!(store.session(short.hash, at(9)).await.unwrap(), Some(short.clone()));
    assert_eq!(store.session(short.hash, at(10)).await.unwrap(), None);
    assert_eq!(store.purge_expired(at(10)).await.unwrap(), 1);
    assert!(store.remove_session(long.hash).await.unwrap());
    assert!(!store.remove_session(long.hash).await.unwrap());
    assert_eq!(store.remove_sessions_of(admin).await.unwrap(), 1);
    assert_eq!(store.session(third.hash, at(1)).await.unwrap(), None);
}

/// An empty store gets its tenant, demo users and admin; one with a tenant is left alone.
pub async fn the_first_run_happens_once(store: &dyn Store) {
    let mut entropy = entropy();
    let first = bootstrap(store, &mut entropy, at(0), "Example.com").await.unwrap().unwrap();
    assert_eq!(first.users.len(), 2);
    for demo in &first.users {
        let user = store.user(first.tenant.id, &demo.name).await.unwrap().unwrap();
        assert!(user.ha1.matches(&demo.name, "example.com", demo.password.reveal()));
    }
    assert_ne!(first.users[0].password.reveal(), first.users[1].password.reveal());
    let hash = TokenHash::of(first.one_time_link.reveal());
    assert_eq!(store.take_link(hash, at(1)).await.unwrap(), Some(first.admin.id));
    assert!(bootstrap(store, &mut entropy, at(1), "other.org").await.unwrap().is_none());
    assert_eq!(store.tenants().await.unwrap().len(), 1);
}

/// A number is granted once, to a user there is; it goes with the user.
pub async fn r2_5_numbers_belong_to_one_user_and_go_with_it(store: &dyn Store) {
    let tenant = example_com(store).await;
    store.add_user(tenant, "alice", ha1("alice", "x"), at(1)).await.unwrap();
    store.add_user(tenant, "bob", ha1("bob", "x"), at(1)).await.unwrap();
    store.grant_number(tenant, "alice", "+49 30 123-456").await.unwrap();
    store.grant_number(tenant, "bob", "7001").await.unwrap();
    let again = store.grant_number(tenant, "bob", "+4930123456").await;
    assert!(matches!(again, Err(StoreError::Exists { what: "number", .. })), "{again:?}");
    let nobody = store.grant_number(tenant, "carol", "+1").await;
    assert!(matches!(nobody, Err(StoreError::BadName { what: "number", .. })), "{nobody:?}");
    let nobody = store.grant_number(tenant, "carol", "+1555").await;
    assert!(matches!(nobody, Err(StoreError::Missing { what: "user", .. })), "{nobody:?}");
    let granted = |number: &str, user: &str| GrantedNumber {
        number: number.into(),
        user: user.into(),
        domain: "example.com".into(),
    };
    let all = [granted("+4930123456", "alice"), granted("7001", "bob")];
    assert_eq!(store.numbers(None, 10).await.unwrap(), all);
    assert_eq!(store.numbers(Some("+4930123456"), 10).await.unwrap(), all[1..]);
    assert_eq!(store.numbers(None, 1).await.unwrap(), all[..1]);
    let snapshot = NumberSnapshot::new();
    assert_eq!(snapshot.reload(store).await.unwrap(), 2);
    assert_eq!(snapshot.owner("7001"), Some(("bob".into(), "example.com".into())));
    assert!(!store.revoke_number(tenant, "alice", "7001").await.unwrap(), "it is bob's");
    assert!(store.revoke_number(tenant, "bob", "7001").await.unwrap());
    assert!(store.remove_user(tenant, "alice").await.unwrap());
    assert_eq!(snapshot.reload(store).await.unwrap(), 0);
    assert_eq!(snapshot.owner("+4930123456"), None);
}
