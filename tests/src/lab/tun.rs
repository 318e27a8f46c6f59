//! TUN devices: the cables between the laboratory and the namespaces its hosts are in.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::process::Command;

/// No packet is cut into fragments on it; what a path lets through is [`simnet::Link::mtu`]'s say.
const MTU: &str = "9000";

/// Makes a device in the network namespace of process `room`, or in our own, with these addresses
/// and the default route. It goes when the file is closed.
///
/// # Errors
/// No right to make one, or a name or an address that is taken.
pub fn open(name: &str, addresses: &[IpAddr], room: Option<u32>) -> Result<File> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    attach(&file, name)?;
    if let Some(room) = room {
        run(&mut ip(None, &["link", "set", name, "netns", &room.to_string()]))?;
    }
    for address in addresses {
        let (address, more) = match address {
            IpAddr::V4(address) => (format!("{address}/32"), None),
            // There is nobody to ask whether somebody else has it.
            IpAddr::V6(address) => (format!("{address}/128"), Some("nodad")),
        };
        let words = ["addr", "add", &address, "dev", name].into_iter().chain(more);
        run(&mut ip(room, &words.collect::<Vec<_>>()))?;
    }
    run(&mut ip(room, &["link", "set", name, "mtu", MTU, "up"]))?;
    // Away from addresses of the namespace's own, everything goes by here.
    for family in addresses.iter().map(|a| if a.is_ipv4() { "-4" } else { "-6" }) {
        run(&mut ip(room, &[family, "route", "replace", "default", "dev", name]))?;
    }
    Ok(file)
}

fn attach(file: &File, name: &str) -> Result<()> {
    // SAFETY: an `ifreq` is plain data, for which zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(Error::new(ErrorKind::InvalidInput, format!("`{name}` is too long a name")));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    let flags = libc::IFF_TUN | libc::IFF_NO_PI;
    request.ifr_ifru.ifru_flags = flags.try_into().map_err(Error::other)?;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which lives until it returns.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if done < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

fn ip(room: Option<u32>, arguments: &[&str]) -> Command {
    let mut command = match room {
        None => Command::new("ip"),
        Some(room) => {
            let mut command = Command::new("nsenter");
            command.args(["--target", &room.to_string(), "--net", "--", "ip"]);
            command
        }
    };
    command.args(arguments);
    command
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_string();
    Err(Error::other(format!("{command:?}: {words}")))
}
