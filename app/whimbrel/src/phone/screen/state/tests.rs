use super::*;
use ::phone::Cause;

const ONE: CallHandle = CallHandle(1);
const TWO: CallHandle = CallHandle(2);

fn state() -> State {
    State::new("alice@example.org".into(), "TLS".into(), sansio::testing::epoch())
}

fn press(state: &mut State, code: KeyCode) -> Option<Command> {
    state.handle_key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn type_text(state: &mut State, text: &str) -> Vec<Command> {
    text.chars().filter_map(|c| press(state, KeyCode::Char(c))).collect()
}

fn incoming(state: &mut State, call: CallHandle) {
    state.handle_event(&PhoneEvent::Incoming {
        call,
        from: "sip:bob@example.org;transport=tls".into(),
        target: "sip:alice@example.org".into(),
        display_name: "Bob\u{1b}[2J".into(),
        replaces: None,
        joins: None,
    });
}

fn answered(state: &mut State, call: CallHandle) {
    let codec = "opus".into();
    state.handle_event(&PhoneEvent::Answered { call, codec, encrypted: true });
}

fn ended(state: &mut State, call: CallHandle, cause: Cause, reason: &str) {
    let reason = reason.into();
    state.handle_event(&PhoneEvent::Ended { call, cause, status: None, reason, stats: None });
}

#[test]
fn an_address_is_typed_corrected_and_called() {
    let mut state = state();
    assert!(type_text(&mut state, "ada@example.orgg").is_empty());
    press(&mut state, KeyCode::Backspace);
    assert_eq!(state.dial.as_deref(), Some("ada@example.org"));
    let command = press(&mut state, KeyCode::Enter);
    assert_eq!(command, Some(Command::Call("ada@example.org".into())));
    assert_eq!(state.dial, None);
    assert_eq!(press(&mut state, KeyCode::Enter), None);
}

#[test]
fn an_address_with_q_is_typed_after_a_slash_and_q_alone_quits() {
    let mut state = state();
    assert!(type_text(&mut state, "/quentin").is_empty());
    assert_eq!(press(&mut state, KeyCode::Enter), Some(Command::Call("quentin".into())));
    assert_eq!(type_text(&mut state, "q"), [Command::Quit]);
    state.dial = Some("x".into());
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(state.handle_key(control_c), Some(Command::Quit));
}

#[test]
fn a_ringing_call_is_answered_or_declined() {
    let mut state = state();
    incoming(&mut state, ONE);
    assert_eq!(state.ringing().unwrap().who, "bob@example.org");
    assert_eq!(state.ringing().unwrap().name, "Bob[2J");
    assert_eq!(type_text(&mut state, "a"), [Command::Answer(ONE)]);
    assert_eq!(type_text(&mut state, "d"), [Command::Decline(ONE)]);
    // Half an address is not an answer.
    state.dial = Some("x".into());
    assert!(type_text(&mut state, "a").is_empty());
}

#[test]
fn in_a_call_letters_are_commands_and_digits_are_tones() {
    let mut state = state();
    state.add_outgoing(ONE, "echo");
    assert!(type_text(&mut state, "h5").is_empty(), "before the answer");
    answered(&mut state, ONE);
    assert_eq!(type_text(&mut state, "5#"), [Command::Dtmf(ONE, '5'), Command::Dtmf(ONE, '#')]);
    assert_eq!(state.focused().unwrap().digits, "5#");
    assert_eq!(type_text(&mut state, "mm"), [Command::Mute(true), Command::Mute(false)]);
    assert_eq!(type_text(&mut state, "h"), [Command::Hold(ONE, true)]);
    state.handle_event(&PhoneEvent::Held { call: ONE, held: true });
    assert_eq!(type_text(&mut state, "h"), [Command::Hold(ONE, false)]);
    assert_eq!(type_text(&mut state, "mx"), [Command::Mute(true), Command::HangUp(ONE)]);
    ended(&mut state, ONE, Cause::HungUp, "");
    assert!(!state.muted, "the next call does not begin muted");
}

#[test]
fn after_a_call_the_focus_goes_to_the_one_that_waits_and_the_list_remembers() {
    let mut state = state();
    incoming(&mut state, ONE);
    answered(&mut state, ONE);
    state.add_outgoing(TWO, "carol");
    assert_eq!(state.focus, Some(TWO));
    press(&mut state, KeyCode::Tab);
    assert_eq!(state.focus, Some(ONE));
    press(&mut state, KeyCode::Tab);
    ended(&mut state, TWO, Cause::Busy, "Busy Here");
    assert_eq!(state.focus, Some(ONE));
    state.handle_time(state.now + Duration::from_secs(75));
    ended(&mut state, ONE, Cause::PeerHungUp, "");
    let recent: Vec<_> = state.recent.iter().map(|r| (r.who.as_str(), r.how.as_str())).collect();
    assert_eq!(recent, [("bob@example.org", "peer-hung-up"), ("carol", "busy (Busy Here)")]);
    assert_eq!(state.recent[0].lasted, Some(Duration::from_secs(75)));
    press(&mut state, KeyCode::Up);
    press(&mut state, KeyCode::Up);
    assert_eq!(press(&mut state, KeyCode::Enter), Some(Command::Call("carol".into())));
}

#[test]
fn a_notice_goes_after_a_while_and_a_released_key_does_nothing() {
    let mut state = state();
    state.tell("hello".into());
    state.handle_time(state.now + NOTICE);
    assert_eq!(state.notice, None);
    let mut key = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
    key.kind = KeyEventKind::Release;
    assert_eq!(state.handle_key(key), None);
}

#[test]
fn a_refused_password_is_said_in_the_header() {
    let mut state = state();
    let reason = "Forbidden".into();
    state.handle_event(&PhoneEvent::RegistrationFailed { status: 403, reason, retry: None });
    let Registration::Failed(words) = &state.registration else { panic!("not failed") };
    assert!(words.contains("password refused (403 Forbidden)"), "{words}");
}

#[test]
fn a_call_is_transferred_to_an_address_or_to_the_other_call() {
    let mut state = state();
    state.add_outgoing(CallHandle(1), "bob");
    answered(&mut state, CallHandle(1));
    assert_eq!(press(&mut state, KeyCode::Char('t')), None);
    type_text(&mut state, "carol");
    let blind = press(&mut state, KeyCode::Enter);
    assert_eq!(blind, Some(Command::Transfer(CallHandle(1), "carol".into())));
    state.add_outgoing(CallHandle(2), "carol");
    answered(&mut state, CallHandle(2));
    let attended = press(&mut state, KeyCode::Char('t'));
    assert_eq!(attended, Some(Command::TransferTo(CallHandle(1), CallHandle(2))));
    let three = press(&mut state, KeyCode::Char('j'));
    assert_eq!(three, Some(Command::JoinTo(CallHandle(1), CallHandle(2))));
    assert_eq!(press(&mut state, KeyCode::Char('w')), None);
    type_text(&mut state, "hi there");
    let text = press(&mut state, KeyCode::Enter);
    assert_eq!(text, Some(Command::Text("carol".into(), "hi there".into())));
    type_text(&mut state, "/dave");
    assert_eq!(press(&mut state, KeyCode::Enter), Some(Command::Call("dave".into())));
}

fn secured(trust: Trust) -> PhoneEvent {
    use rtp::zrtp::{AuthTag, Choice, Cipher, KeyAgreement, Role, Sas, SasType, Zid};
    let (cipher, tag) = (Cipher::Aes1, AuthTag::Hs80);
    let secured = Secured {
        sas: Sas(0xe582_0000),
        trust,
        peer_verified: false,
        peer_is_mitm: false,
        peer_discloses: false,
        peer: Zid([7; 12]),
        choice: Choice { cipher, tag, agreement: KeyAgreement::X255, sas: SasType::B32 },
        role: Role::Initiator,
    };
    PhoneEvent::Secured { call: ONE, secured }
}

/// R5.4: three steps to compare: v, what is read out, Enter. A changed key warns by itself.
#[test]
fn r5_4_the_string_is_compared_by_typing_it_and_a_changed_key_warns() {
    let mut state = state();
    state.add_outgoing(ONE, "bob@example.org");
    answered(&mut state, ONE);
    assert!(type_text(&mut state, "v").is_empty() && state.dial.is_none(), "nothing to compare");
    state.handle_event(&secured(Trust::FirstContact));
    assert!(state.notice.is_none());
    assert!(type_text(&mut state, "vTopmost Istanbul").is_empty());
    assert_eq!(state.dial_for, DialFor::Compare(ONE));
    let command = press(&mut state, KeyCode::Enter);
    assert_eq!(command, Some(Command::Compare(ONE, "Topmost Istanbul".into())));
    assert_eq!((type_text(&mut state, "v").len(), press(&mut state, KeyCode::Enter)), (0, None));
    state.handle_event(&secured(Trust::Changed));
    assert!(state.notice.as_ref().is_some_and(|(words, _)| words.starts_with("WARNING")));
}
