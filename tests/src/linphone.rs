//! linphonec, a foreign phone that is told what to do by its standard input. It wants to see a way
//! to the Internet before it registers, and knows no address in a certificate: it runs on a network,
//! with a default route, and with the server's name in an `/etc/hosts` of its own.

use crate::process::Process;
use crate::story::{DOMAIN, Story};
use std::path::{Path, PathBuf};
use std::time::Duration;

const START: Duration = Duration::from_secs(30);
const CALL: Duration = Duration::from_secs(20);

/// A running linphonec.
#[derive(Debug)]
pub struct Linphone {
    process: Process,
    dir: PathBuf,
    /// How much of its output was looked at.
    read: usize,
}

impl Linphone {
    /// Starts it as `user`, reaching the server by `transport` (`udp`, `tcp`, `tls`: then with SDES
    /// and the server's authority), and waits until it is registered. It answers by itself.
    pub fn start(story: &Story, user: &str, transport: &str) -> Self {
        Self::start_with(story, user, transport, "")
    }

    /// The same with ZRTP (libbzrtp) for its keys, agreed on as `agreement` says (`X255`, `DH3K`).
    pub fn start_zrtp(story: &Story, user: &str, transport: &str, agreement: &str) -> Self {
        let suites = format!("zrtp_key_agreements_suites=MS_ZRTP_KEY_AGREEMENT_{agreement}");
        Self::start_with(story, user, transport, &format!("media_encryption=zrtp\n{suites}\n"))
    }

    fn start_with(story: &Story, user: &str, transport: &str, encryption: &str) -> Self {
        let name = format!("linphone-{user}-{transport}");
        let dir = story.scratch.file(&name);
        for folder in [".local/share/linphone", ".config/linphone"] {
            std::fs::create_dir_all(dir.join(folder)).expect("a folder for linphonec");
        }
        let rc =
            story.scratch.write(&format!("{name}/rc"), config(story, user, transport, encryption));
        let hosts = format!("{} {DOMAIN}\n127.0.0.1 localhost\n", story.place.server_ip());
        let hosts = story.scratch.write(&format!("{name}/hosts"), hosts);
        let mut route = story.place.command("ip");
        let peer = story.place.peer_ip().to_string();
        route.args(["route", "replace", "default", "via", &peer, "dev", "wire1"]);
        Process::run(&story.scratch, "route", route, CALL).expect_code(0);
        let mut command = story.place.command("env");
        command.arg(format!("HOME={}", dir.display())).args(["unshare", "--mount", "sh", "-c"]);
        let log = dir.join("log");
        command.arg(format!(
            "mount --bind {} /etc/hosts && exec linphonec -a -d 6 -c {} -l {}",
            hosts.display(),
            rc.display(),
            log.display()
        ));
        let mut process = Process::start_told(&story.scratch, &name, command);
        process.wait_for("linphonec", START, |p| p.out().contains("linphonec>").then_some(()));
        let mut phone = Self { process, dir, read: 0 };
        // There is no sound card.
        phone.process.say("soundcard use files");
        phone.wait_registered(transport);
        phone
    }

    fn wait_registered(&mut self, transport: &str) {
        let asked = std::time::Instant::now();
        while asked.elapsed() < START {
            self.process.say("status register");
            std::thread::sleep(Duration::from_millis(500));
            if self.process.out().contains("registered, identity=") {
                return;
            }
        }
        panic!("linphonec does not register over {transport}: {}", self.dir.join("log").display());
    }

    /// Waits for a line of its output that contains `text`, behind those waited for before.
    pub fn wait_line(&mut self, text: &str) -> String {
        let from = self.read;
        let (line, end) = self.process.wait_for(text, CALL, |p| {
            let out = p.out();
            let rest = out.get(from..)?;
            let at = rest.find(text)?;
            let end = at + rest[at..].find('\n')?;
            let begin = rest[..at].rfind('\n').map_or(0, |n| n + 1);
            Some((rest[begin..end].to_string(), from + end))
        });
        self.read = end;
        line
    }

    /// Calls somebody.
    pub fn call(&mut self, address: &str) {
        self.process.say(&format!("call sip:{address}"));
    }

    /// Waits until the call stands, then says a file and writes down what is heard.
    pub fn talk(&mut self, said: &Path, heard: &Path) {
        // Told before there is a stream, it falls over.
        self.wait_line("Media streams established");
        self.process.say(&format!("record {}", heard.display()));
        self.process.say(&format!("play {}", said.display()));
    }

    /// Waits until both ends have keys by ZRTP; its short string.
    pub fn wait_string(&mut self) -> String {
        let line = self.wait_line("auth token is ");
        let (_, token) = line.rsplit_once("auth token is ").expect("a token");
        token.trim().trim_end_matches('.').to_string()
    }

    /// Its user says that the strings are alike.
    pub fn verify(&mut self) {
        self.process.say("zrtp-set-verified");
    }

    /// Hangs up.
    pub fn hang_up(&mut self) {
        self.process.say("terminate");
    }

    /// Waits for the end of a call, which must have gone well.
    pub fn wait_ended(&mut self) {
        self.wait_line("ended (No error)");
    }

    /// Unregisters and ends.
    pub fn quit(mut self) {
        self.process.say("unregister");
        self.process.say("quit");
        let status = self.process.wait(CALL);
        assert!(status.success(), "{status}: {}", self.dir.join("log").display());
    }
}

fn config(story: &Story, user: &str, transport: &str, encryption: &str) -> String {
    let place = &story.place;
    // Any port, or none.
    let port = |wanted: &str| if transport == wanted { "-1" } else { "0" };
    let (server, media) = match transport {
        "tls" => (
            format!("{DOMAIN}:{}", place.sips()),
            format!(
                "media_encryption=srtp\nmedia_encryption_mandatory=1\nroot_ca={}\n",
                story.data().join("tls/ca.pem").display()
            ),
        ),
        _ => (format!("{}:{}", place.server_ip(), place.sip()), "media_encryption=none\n".into()),
    };
    let media = match encryption {
        "" => media,
        _ => match media.split_once("root_ca=") {
            Some((_, ca)) => format!("{encryption}root_ca={ca}"),
            None => encryption.to_string(),
        },
    };
    format!(
        "[sip]\nsip_port={udp}\nsip_tcp_port={tcp}\nsip_tls_port={tls}\nuse_ipv6=0\n\
         default_proxy=0\n{media}\n[net]\ndns_srv_enabled=0\n\n[rtp]\naudio_rtp_port={rtp}\n\n\
         [auth_info_0]\nusername={user}\npasswd={password}\nrealm={DOMAIN}\n\n\
         [proxy_0]\nreg_proxy=<sip:{server};transport={transport}>\n\
         reg_route=<sip:{server};transport={transport};lr>\nreg_identity=<sip:{user}@{DOMAIN}>\n\
         reg_expires=600\nreg_sendregister=1\npublish=0\n",
        udp = port("udp"),
        tcp = port("tcp"),
        tls = port("tls"),
        rtp = place.peer_port(100),
        password = story.password(user),
    )
}
