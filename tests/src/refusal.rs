//! Programs whose system refuses to mark packets, as some containers and sandboxes do.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A statement of classic BPF.
const fn statement(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
/// Where `seccomp_data` has the call's number, and the lower halves of its second and third argument.
const NUMBER: u32 = 0;
const LEVEL: u32 = 24;
const OPTION: u32 = 32;

/// The program, and all it starts, cannot set the type of service of a socket: EPERM.
pub fn refuse_marks(command: &mut Command) {
    let allow = statement(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0);
    let refuse = statement(RETURN, libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned(), 0, 0);
    let program = [
        statement(LOAD, NUMBER, 0, 0),
        statement(EQUAL, libc::SYS_setsockopt as u32, 0, 7),
        statement(LOAD, LEVEL, 0, 0),
        statement(EQUAL, libc::IPPROTO_IPV6.cast_unsigned(), 3, 0),
        statement(EQUAL, libc::IPPROTO_IP.cast_unsigned(), 0, 4),
        statement(LOAD, OPTION, 0, 0),
        statement(EQUAL, libc::IP_TOS.cast_unsigned(), 3, 2),
        statement(LOAD, OPTION, 0, 0),
        statement(EQUAL, libc::IPV6_TCLASS.cast_unsigned(), 1, 0),
        allow,
        refuse,
    ];
    let install = move || {
        let filter =
            libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
        // SAFETY: both calls take plain numbers and a pointer to a program that is alive meanwhile;
        // neither allocates nor takes a lock, as is asked between fork and exec.
        unsafe {
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
                return Err(io::Error::last_os_error());
            }
            let mode = libc::SECCOMP_MODE_FILTER;
            if libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: the closure does nothing but system calls.
    unsafe { command.pre_exec(install) };
}
