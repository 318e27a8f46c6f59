//! One set of stories every store must tell the same way.
//!
//! An implementing crate writes `store::suite_tests!(make)` in its integration tests, `make` being
//! an async function that gives a fresh store (anything that derefs to one), and gets one test per
//! story.
//!
//! Stories panic when they do not come true: this module is for tests only.

use sansio::{SeededEntropy, WallTime};

use crate::{Ha1Set, NewUser, Store, TenantId};

mod accounts;
mod calls;

pub use accounts::*;
pub use calls::*;

/// One test per story; `$make` is an async fn giving a guard that derefs to a store.
#[macro_export]
macro_rules! suite_tests {
    ($make:path) => {
        $crate::suite_tests!($make;
            tenants_are_unique_and_found_in_any_case,
            users_live_and_die_with_their_tenant,
            passwords_change_and_names_are_checked,
            users_are_listed_in_pages,
            an_import_adds_and_updates,
            a_failed_import_changes_nothing,
            r2_5_numbers_belong_to_one_user_and_go_with_it,
            credentials_follow_changes_incrementally,
            one_time_links_work_once,
            sessions_end,
            the_first_run_happens_once,
            a_record_opens_and_closes_once,
            a_replayed_fold_changes_nothing,
            a_whole_call_is_one_step,
            another_spine_starts_from_its_beginning,
            calls_of_earlier_runs_are_closed_once,
            records_are_listed_newest_first_and_filtered,
            late_steps_leave_closed_records_alone,
        );
    };
    ($make:path; $($story:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $story() {
                let store = $make().await;
                $crate::suite::$story(&*store).await;
            }
        )*
    };
}

/// Second `secs` of the stories' clock.
fn at(secs: u64) -> WallTime {
    WallTime::from_secs(1_800_000_000 + secs)
}

fn entropy() -> SeededEntropy {
    SeededEntropy::new(42)
}

fn ha1(user: &str, password: &str) -> Ha1Set {
    Ha1Set::from_password(user, "example.com", password)
}

fn new_user(name: &str, password: &str) -> NewUser {
    NewUser { name: name.to_owned(), ha1: ha1(name, password) }
}

async fn example_com(store: &dyn Store) -> TenantId {
    store.add_tenant("example.com", at(0)).await.unwrap().id
}
