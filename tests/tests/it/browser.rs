//! Headless Chromium with the web phone, and a plain SIP phone.

use std::time::Duration;
use tests::baresip::{BaresipSetup, at_rate};
use tests::sound::{self, Voice};
use tests::{Baresip, Server, Story, browser};

const START: Duration = Duration::from_secs(40);
const CALL: Duration = Duration::from_secs(90);

#[test]
fn audio_chromium_calls_baresip_and_is_called_and_the_console_shows_both() {
    let story = Story::on_network("browser");
    story.add_users(&["alice", "bob"]);
    let server = Server::start(&story);
    let (low, high) = (sound::speech(&story, Voice::Low), sound::speech(&story, Voice::High));
    let said = at_rate(&story.scratch, &low, 8_000);
    let setup = BaresipSetup {
        user: "bob",
        transport: "udp",
        codec: "pcmu/8000/1",
        play: &said,
        rate: 8_000,
        answers: true,
        ca: None,
        number: 0,
    };
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
    for heard in [heard_first, heard_second] {
        let level = audio::level::dbov(&sound::mono(&heard));
        assert!(level > -45.0, "{}: {level} dBov", heard.display());
    }
}
