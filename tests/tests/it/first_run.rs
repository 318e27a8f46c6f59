//! The first start on an empty folder, as a newcomer meets it.

use std::time::Duration;
use tests::process::Process;
use tests::{Phone, Server, Story};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn an_empty_folder_gives_two_people_a_one_time_link_and_a_qr_code_and_the_printed_call_works() {
    let story = Story::on_loopback("first-run");
    let server = Server::start(&story);
    let screen = server.complaints();
    assert!(screen.contains(&format!("https://127.0.0.1:{}", story.place.https())), "{screen}");
    assert!(screen.contains("/welcome/"), "{screen}");
    assert!(screen.contains("█▀▀▀"), "a QR code: {screen}");

    let people: Vec<(&str, &str)> = screen
        .lines()
        .filter_map(|line| line.trim().split_once("  password "))
        .filter(|(who, _)| who.contains('@'))
        .collect();
    assert_eq!(people.len(), 2, "{screen}");
    let (who, password) = people[0];
    let printed = screen.lines().find(|l| l.contains(" phone --account ")).expect("a command");
    let (_, arguments) = printed.split_once(" phone ").expect("its arguments");
    let file = story.scratch.write("first.password", password);
    let file = file.to_string_lossy();
    let user = who.split('@').next().unwrap_or_default();
    let arguments = arguments.replace(&format!("/tmp/{user}.pw"), &file);
    let mut command = story.whimbrel();
    command.arg("phone").args(arguments.split_whitespace());
    command.args(["--call", "echo", "--tone", "440", "--seconds", "5", "--json"]);
    let ended = Process::run(&story.scratch, "phone", command, PATIENCE).expect_code(0);
    assert!(ended.out.contains("\"result\":\"answered\""), "{}", ended.out);
}

#[test]
fn an_administrator_can_sign_in_also_when_a_tenant_was_added_before_the_first_start() {
    let story = Story::on_loopback("tenant-first");
    story.add_users(&["alice"]);
    let server = Server::start(&story);
    assert!(!server.complaints().contains("  password "), "no demo users beside real ones");
    let link = story.cli(&["admin", "link"]).expect_code(0).out;
    assert!(link.trim().starts_with("/welcome/"), "{link}");
}

#[test]
fn a_change_by_the_command_line_holds_at_the_next_request() {
    let story = Story::on_loopback("change");
    let _server = Server::start(&story);
    let file = story.password_file("dora");
    let address = story.address("dora");
    story.add_users(&["dora"]);
    let registers = || {
        let phone = Phone::of(&story, "dora", "udp", "pcmu").answer().seconds(2).start();
        phone.finish(PATIENCE).result["registered"] == true
    };
    assert!(registers());
    let other = story.scratch.write("other.password", "another one\n");
    let other = other.to_string_lossy();
    story.cli(&["user", "password", &address, "--password-file", &other]).expect_code(0);
    assert!(!registers(), "the old password no longer works");
    let file = file.to_string_lossy();
    story.cli(&["user", "password", &address, "--password-file", &file]).expect_code(0);
    assert!(registers());
    story.cli(&["user", "remove", &address]).expect_code(0);
    assert!(!registers(), "a removed user is refused");
}

#[test]
fn a_removed_user_loses_its_devices_at_once() {
    let story = Story::on_loopback("removed");
    story.add_users(&["erin"]);
    let server = Server::start(&story);
    let mut erin = Phone::of(&story, "erin", "udp", "pcmu").answer().seconds(20).start();
    erin.wait_event("registered", PATIENCE);
    assert_eq!(server.registrations().len(), 1);
    story.cli(&["user", "remove", &story.address("erin")]).expect_code(0);
    assert!(server.registrations().is_empty(), "{:#?}", server.registrations());
}
