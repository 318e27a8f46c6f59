//! The program, instruction by instruction (RFC 9669).

use std::net::IpAddr;
use std::os::fd::RawFd;

/// One instruction as the kernel takes it (`struct bpf_insn`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Insn {
    code: u8,
    /// Destination and source register, four bits each.
    registers: u8,
    offset: i16,
    value: i32,
}

// `struct bpf_sk_lookup` (linux/bpf.h): where its fields are.
const FAMILY: i16 = 8;
const PROTOCOL: i16 = 12;
const LOCAL_IP4: i16 = 40;
const LOCAL_IP6: i16 = 44;
const LOCAL_PORT: i16 = 60;

// Operations: RFC 9669 §4 and §5.
const LOAD_U32: u8 = 0x61;
const LOAD_U8: u8 = 0x71;
const STORE_U32: u8 = 0x63;
const LOAD_WIDE: u8 = 0x18;
const MOVE: u8 = 0xbf;
const MOVE_VALUE: u8 = 0xb7;
const ADD: u8 = 0x0f;
const ADD_VALUE: u8 = 0x07;
const AND_VALUE: u8 = 0x57;
const JUMP_IF_EQUAL: u8 = 0x15;
/// Compares the lower 32 bits.
const JUMP_UNLESS_EQUAL: u8 = 0x56;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

// What LOAD_WIDE loads (RFC 9669 §5.4).
const MAP: u8 = 1;
const MAP_VALUE: u8 = 2;

// Helpers (bpf-helpers(7)).
const MAP_LOOKUP: i32 = 1;
const SK_RELEASE: i32 = 86;
const SK_ASSIGN: i32 = 124;

/// The verdict that lets the look-up go on, with the socket we assigned or with none.
const SK_PASS: i32 = 1;

/// A jump whose distance is not known yet: to the end.
const TO_THE_END: i16 = i16::MAX;

/// ```text
/// if protocol != UDP or family or address is not ours: pass
/// n = leads_to[local_port]; if n == 0: pass
/// socket = sockets[n - 1]; if none: pass
/// assign(socket); release(socket); pass
/// ```
pub(super) fn lead(addr: IpAddr, ports: RawFd, sockets: RawFd) -> Vec<Insn> {
    let mut text = vec![insn(MOVE, 6, 1, 0, 0)];
    unless_equal(&mut text, PROTOCOL, libc::IPPROTO_UDP);
    match addr {
        IpAddr::V4(ip) => {
            unless_equal(&mut text, FAMILY, libc::AF_INET);
            if !ip.is_unspecified() {
                unless_equal(&mut text, LOCAL_IP4, i32::from_ne_bytes(ip.octets()));
            }
        }
        IpAddr::V6(ip) => {
            unless_equal(&mut text, FAMILY, libc::AF_INET6);
            let octets = ip.octets();
            let words = octets.as_chunks::<4>().0.iter().filter(|_| !ip.is_unspecified());
            for (at, word) in (LOCAL_IP6..).step_by(4).zip(words) {
                unless_equal(&mut text, at, i32::from_ne_bytes(*word));
            }
        }
    }
    text.extend([
        // r2 = leads_to[local_port]; the mask is for the verifier.
        insn(LOAD_U32, 2, 6, LOCAL_PORT, 0),
        insn(AND_VALUE, 2, 0, 0, 0xffff),
        insn(LOAD_WIDE, 3, MAP_VALUE, 0, ports),
        insn(0, 0, 0, 0, 0),
        insn(ADD, 3, 2, 0, 0),
        insn(LOAD_U8, 2, 3, 0, 0),
        insn(JUMP_IF_EQUAL, 2, 0, TO_THE_END, 0),
        // r7 = sockets[r2 - 1], by a key on the stack.
        insn(ADD_VALUE, 2, 0, 0, -1),
        insn(STORE_U32, 10, 2, -4, 0),
        insn(LOAD_WIDE, 1, MAP, 0, sockets),
        insn(0, 0, 0, 0, 0),
        insn(MOVE, 2, 10, 0, 0),
        insn(ADD_VALUE, 2, 0, 0, -4),
        insn(CALL, 0, 0, 0, MAP_LOOKUP),
        insn(JUMP_IF_EQUAL, 0, 0, TO_THE_END, 0),
        insn(MOVE, 7, 0, 0, 0),
        // assign(context, r7, no flags): an error leaves the look-up as it was.
        insn(MOVE, 1, 6, 0, 0),
        insn(MOVE, 2, 7, 0, 0),
        insn(MOVE_VALUE, 3, 0, 0, 0),
        insn(CALL, 0, 0, 0, SK_ASSIGN),
        insn(MOVE, 1, 7, 0, 0),
        insn(CALL, 0, 0, 0, SK_RELEASE),
    ]);
    let end = text.len();
    text.extend([insn(MOVE_VALUE, 0, 0, 0, SK_PASS), insn(EXIT, 0, 0, 0, 0)]);
    for (at, insn) in text.iter_mut().enumerate().filter(|(_, i)| i.offset == TO_THE_END) {
        // The program has some forty instructions.
        insn.offset = (end - at - 1) as i16;
    }
    text
}

/// Goes to the end unless the field of the context at `offset` is `value`.
fn unless_equal(text: &mut Vec<Insn>, offset: i16, value: i32) {
    text.push(insn(LOAD_U32, 2, 6, offset, 0));
    text.push(insn(JUMP_UNLESS_EQUAL, 2, 0, TO_THE_END, value));
}

const fn insn(code: u8, to: u8, from: u8, offset: i16, value: i32) -> Insn {
    let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
    Insn { code, registers, offset, value }
}
