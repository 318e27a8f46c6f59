use super::*;

#[test]
fn a_new_playout_is_silent() {
    let mut p = Playout::new(CodecKind::Pcmu).expect("starts");
    let mut out = [1; PLAYOUT_FRAME];
    p.pull(Instant::now(), &mut out);
    assert_eq!(out, [0; PLAYOUT_FRAME]);
}
