use super::*;
use ::phone::{CallHandle, Cause, PhoneEvent};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

const ONE: CallHandle = CallHandle(1);

/// What a terminal of that size shows, line by line, without trailing blanks.
fn shown(state: &State, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| frame.render_widget(View(state), frame.area())).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_string()).collect()
}

fn state() -> State {
    let now = sansio::testing::epoch();
    let mut state = State::new("alice@example.org".into(), "TLS 192.0.2.1:5061".into(), now);
    let expires = Duration::from_secs(600);
    state.handle_event(&PhoneEvent::Registered { expires });
    state
}

fn stats() -> MediaStats {
    let local = "127.0.0.1:4000".parse().unwrap();
    let now = sansio::testing::epoch();
    let mut entropy = sansio::SeededEntropy::new(1);
    let fresh = media::Session::new(media::Config::new(local), now, &mut entropy).stats();
    MediaStats {
        rtt_ms: Some(31.4),
        jitter_ms: 2.26,
        lost: 5,
        packets_received: 995,
        delay_ms: 42.0,
        ..fresh
    }
}

#[test]
fn an_idle_phone_in_80_by_24() {
    let lines = shown(&state(), 80, 24);
    assert_eq!(lines[0], " Whimbrel alice@example.org  registered, TLS 192.0.2.1:5061");
    assert!(lines[1].contains("Call") && lines[2].contains("no call"), "{lines:#?}");
    assert!(lines[7].contains("Quality") && lines[13].contains("Dial"), "{lines:#?}");
    assert!(lines[14].contains("type an address, then Enter"), "{lines:#?}");
    assert!(lines[16].contains("Recent calls"), "{lines:#?}");
    assert!(lines[23].ends_with("q quit"), "{lines:#?}");
}

#[test]
fn a_call_with_its_quality_and_levels() {
    let mut state = state();
    state.add_outgoing(ONE, "bob@example.org");
    let codec = "opus".into();
    state.handle_event(&PhoneEvent::Answered { call: ONE, codec, encrypted: true });
    state.handle_time(state.now + Duration::from_secs(75));
    state.muted = true;
    state.stats = Some(Box::new(stats()));
    state.levels = (-30.0, audio::level::FLOOR_DBOV);
    let lines = shown(&state, 80, 24);
    assert!(lines[2].contains("bob@example.org"), "{lines:#?}");
    assert!(lines[3].contains("talking  1:15  MUTED"), "{lines:#?}");
    assert!(lines[8].contains("opus, encrypted"), "{lines:#?}");
    let figures = "RTT 31 ms  jitter 2.3 ms  loss 0.5 % (5)  buffer 42 ms";
    assert!(lines[9].contains(figures), "{lines:#?}");
    assert!(lines[10].contains("-30 dBov") && lines[11].contains("silent"), "{lines:#?}");
    assert!(lines[23].contains("h hold/resume"), "{lines:#?}");
}

#[test]
fn a_call_that_rings_and_calls_that_were() {
    let mut state = state();
    for (n, from) in [(1, "sip:bob@example.org"), (2, "sip:carol@example.org")] {
        let (call, display_name) = (CallHandle(n), "Friend".into());
        let target = "sip:alice@example.org".into();
        let from = from.into();
        state.handle_event(&PhoneEvent::Incoming {
            call,
            from,
            target,
            display_name,
            replaces: None,
            joins: None,
        });
        if n == 1 {
            let (cause, status, reason) = (Cause::Missed, None, String::new());
            state.handle_event(&PhoneEvent::Ended { call, cause, status, reason, stats: None });
        }
    }
    let lines = shown(&state, 80, 24);
    assert!(lines[2].contains("Friend <carol@example.org> calls"), "{lines:#?}");
    assert!(lines[17].contains("<- bob@example.org") && lines[17].contains("missed"), "{lines:#?}");
    assert!(lines[22].contains("bob@example.org: missed"), "{lines:#?}");
    assert!(lines[23].contains("a answer  d decline"), "{lines:#?}");
}

#[test]
fn the_end_of_a_long_address_is_seen() {
    let mut state = state();
    state.dial = Some(format!("{}@example.org", "a".repeat(120)));
    let lines = shown(&state, 80, 24);
    assert!(lines[14].contains("a@example.org_"), "{lines:#?}");
}

#[test]
fn no_size_of_a_terminal_is_too_small() {
    let mut state = state();
    state.add_outgoing(ONE, "bob");
    for (width, height) in [(1, 1), (10, 3), (40, 10), (300, 100)] {
        shown(&state, width, height);
    }
}

/// R5.4: the string is there in letters and in words, and no trust but the one of a comparison is
/// called verified.
#[test]
fn r5_4_the_string_is_shown_with_what_is_known_of_the_other_phone() {
    use rtp::zrtp::{AuthTag, Choice, Cipher, KeyAgreement, Role, Sas, SasType, Zid};
    let mut state = state();
    state.add_outgoing(ONE, "bob@example.org");
    state.handle_event(&PhoneEvent::Answered { call: ONE, codec: "opus".into(), encrypted: false });
    assert!(shown(&state, 80, 24)[8].contains("NOT encrypted"));
    let (cipher, tag) = (Cipher::Aes1, AuthTag::Hs80);
    let choice = Choice { cipher, tag, agreement: KeyAgreement::X255, sas: SasType::B32 };
    for (trust, words) in [
        (Trust::FirstContact, "first contact"),
        (Trust::Remembered, "known"),
        (Trust::Changed, "KEY CHANGED"),
        (Trust::Verified, "verified"),
    ] {
        let secured = Secured {
            sas: Sas(0xe582_0000),
            trust,
            peer_verified: true,
            peer_is_mitm: trust == Trust::Remembered,
            peer_discloses: false,
            peer: Zid([7; 12]),
            choice,
            role: Role::Initiator,
        };
        state.handle_event(&PhoneEvent::Secured { call: ONE, secured });
        let lines = shown(&state, 80, 24);
        let line = &lines[4];
        assert!(line.contains("hsby (topmost Istanbul)") && line.contains(words), "{lines:#?}");
        assert_eq!(line.contains("verified"), trust == Trust::Verified, "{line}");
        assert_eq!(line.contains("intermediary"), trust == Trust::Remembered, "{line}");
        assert!(lines[8].contains("encrypted") && !lines[8].contains("NOT"), "{lines:#?}");
    }
}
