//! Headless Chromium with the web phone, and a plain SIP phone.

use std::path::{Path, PathBuf};
use std::time::Duration;
use tests::baresip::{BaresipSetup, at_rate};
use tests::sound::{self, Voice};
use tests::{Baresip, Server, Story, browser};

const START: Duration = Duration::from_secs(40);
const CALL: Duration = Duration::from_secs(90);

#[test]
fn audio_chromium_calls_baresip_and_is_called_and_the_console_shows_both() {
    let story = Story::on_network("browser").alone();
    let server = Server::start(&story);
    // Taken over by the running server, which made an administrator when it found an empty folder.
    story.add_users(&["alice", "bob"]);
    let (low, high) = (sound::speech(&story, Voice::Low), sound::speech(&story, Voice::High));
    let said = at_rate(&story.scratch, &low, 8_000);
    let setup = plain_phone(&said);
    let mut bob = Baresip::start(&story, &setup, None);
    bob.wait_registered();

    let (alice, bob_address) = (story.address("alice"), story.address("bob"));
    let password = story.password("alice");
    let link = story.cli(&["admin", "link"]).expect_code(0).out;
    let arguments = [alice.as_str(), &password, &bob_address, link.trim()];
    let mut page = browser::Run::start(&story, "call.mjs", &high, &arguments);
    page.wait_step("registered", START);
    assert_eq!(server.registrations().len(), 2);
    page.wait_step("called", CALL);
    // The page has hung up; now the other way round, by a second baresip that hears the first word.
    let heard_first = bob.quit().expect("baresip recorded the first call");
    let mut bob = Baresip::start(&story, &setup, Some(&format!("sip:{alice}")));
    bob.wait_line("Call established", START);
    page.wait_step("was-called", CALL);
    let heard_second = bob.quit().expect("baresip recorded the second call");

    let steps = page.finish(CALL);
    for name in ["called", "was-called"] {
        let step = steps.iter().find(|s| s["step"] == name).expect("waited for above");
        let stats = &step["stats"];
        assert!(stats["packetsReceived"].as_u64() > Some(200), "{step:#}");
        assert!(stats["packetsSent"].as_u64() > Some(200), "{step:#}");
        assert!(stats["energyReceived"].as_f64() > Some(0.001), "{step:#}");
        assert_eq!(stats["dtls"], "connected", "{step:#}");
    }
    let history = steps.iter().find(|s| s["step"] == "history").expect("the script ends with it");
    assert_eq!(history["endedBy"], "the callee", "the page hung up who had called it: {history:#}");
    for heard in [heard_first, heard_second] {
        let level = audio::level::dbov(&sound::mono(&heard));
        assert!(level > -45.0, "{}: {level} dBov", heard.display());
    }
}

#[test]
fn audio_chromium_holds_a_call_takes_it_back_and_sends_keys() {
    let story = Story::on_network("hold").alone();
    let _server = Server::start(&story);
    story.add_users(&["alice", "bob"]);
    let (low, high) = (sound::speech(&story, Voice::Low), sound::speech(&story, Voice::High));
    let said = twice(&story, &at_rate(&story.scratch, &low, 8_000));
    let mut bob = Baresip::start(&story, &plain_phone(&said), None);
    bob.wait_registered();
    let (alice, bob_address) = (story.address("alice"), story.address("bob"));
    let arguments = [alice.as_str(), &story.password("alice"), &bob_address];
    let page = browser::Run::start(&story, "hold.mjs", &high, &arguments);
    let steps = page.finish(CALL);
    let step = steps.iter().find(|s| s["step"] == "held").expect("the script's last word");
    let figure = |when: &str, what: &str| step[when][what].as_f64().expect("a number");
    let heard =
        |from: &str, to: &str| figure(to, "energyReceived") - figure(from, "energyReceived");
    assert!(figure("before", "energyReceived") > 0.001, "heard before: {step:#}");
    assert!(heard("held", "after") > 0.001, "heard again after the hold: {step:#}");
    let sent = |from: &str, to: &str| figure(to, "packetsSent") - figure(from, "packetsSent");
    assert!(sent("held", "after") > 100.0, "sent again after the hold: {step:#}");
    let log = bob.log();
    assert!(
        log.contains("a=sendonly") || log.contains("a=inactive"),
        "the hold reached bob: {log}"
    );
    for key in ['4', '2', '#'] {
        assert!(log.contains(&format!("received event: '{key}' (end=1)")), "{key} in {log}");
    }
    bob.quit();
}

/// Bob's baresip, who answers by itself and says `said`.
fn plain_phone(said: &Path) -> BaresipSetup<'_> {
    BaresipSetup {
        user: "bob",
        transport: "udp",
        codec: "pcmu/8000/1",
        play: said,
        rate: 8_000,
        answers: true,
        ca: None,
        number: 0,
    }
}

/// The same words again: baresip hangs up at the end of its file.
fn twice(story: &Story, file: &Path) -> PathBuf {
    let mut wav = sound::read(file);
    wav.samples = wav.samples.repeat(2);
    story.scratch.write("twice.wav", wav.to_bytes())
}
