//! baresip, a foreign phone. Debian's 1.0.0 refuses loopback: stories with it run on a network.

use crate::process::Process;
use crate::scratch::Scratch;
use crate::story::{DOMAIN, Story};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A running baresip.
#[derive(Debug)]
pub struct Baresip {
    process: Process,
    dir: PathBuf,
}

/// How a baresip is to be started.
#[derive(Debug, Clone)]
pub struct BaresipSetup<'a> {
    /// The account's user.
    pub user: &'a str,
    /// `udp`, `tcp` or `tls`.
    pub transport: &'a str,
    /// As baresip writes it, such as `pcmu/8000/1`.
    pub codec: &'a str,
    /// What it says.
    pub play: &'a Path,
    /// Sample rate of that file, and of the codec.
    pub rate: u32,
    /// The account answers by itself.
    pub answers: bool,
    /// The authority to trust, for TLS.
    pub ca: Option<PathBuf>,
    /// Which of the story's peers this is: its ports follow from it.
    pub number: u16,
}

impl Baresip {
    /// Starts it; `dial` is called at once.
    pub fn start(story: &Story, setup: &BaresipSetup<'_>, dial: Option<&str>) -> Self {
        let name = format!("baresip-{}", setup.user);
        let dir = story.scratch.file(&name);
        story.scratch.write(&format!("{name}/config"), config(story, setup, &dir));
        story.scratch.write(&format!("{name}/accounts"), account(story, setup));
        let mut command = story.place.command("baresip");
        command.arg("-f").arg(&dir).args(["-s", "-v"]);
        if let Some(uri) = dial {
            command.args(["-e", &format!("/dial {uri}")]);
        }
        Self { process: Process::start(&story.scratch, &name, command), dir }
    }

    /// Waits for a line of its log that contains `text`.
    pub fn wait_line(&mut self, text: &str, patience: Duration) -> String {
        self.process.wait_for(text, patience, |p| {
            let (out, err) = (p.out(), p.err());
            let line = out.lines().chain(err.lines()).find(|l| l.contains(text));
            line.map(String::from)
        })
    }

    /// Waits until the registrar accepted it.
    pub fn wait_registered(&mut self) {
        // "{0/UDP/v4} 200 OK (whimbrel/..) [1 binding]"
        self.wait_line("binding]", Duration::from_secs(15));
    }

    /// Everything it said.
    pub fn log(&self) -> String {
        self.process.out() + &self.process.err()
    }

    /// Hangs up, unregisters and ends; then what it heard is complete.
    pub fn quit(mut self) -> Option<PathBuf> {
        self.process.signal("TERM");
        self.process.wait(Duration::from_secs(15));
        self.heard()
    }

    /// The recording of what it heard, if there is one.
    pub fn heard(&self) -> Option<PathBuf> {
        let entries = std::fs::read_dir(&self.dir).ok()?;
        let mut found: Vec<PathBuf> = entries
            .filter_map(|e| e.ok().map(|e| e.path()))
            .filter(|p| p.to_string_lossy().ends_with("-dec.wav"))
            .collect();
        found.sort();
        found.pop()
    }
}

/// A copy of a WAV file at another rate: baresip's file source does not convert.
pub fn at_rate(scratch: &Scratch, file: &Path, rate: u32) -> PathBuf {
    let name = file.file_stem().expect("a file").to_string_lossy();
    let made = scratch.file(&format!("{name}-{rate}.wav"));
    let wav = crate::sound::read(file);
    let samples = wav.to_mono(rate).expect("a rate we can convert");
    std::fs::write(&made, audio::Wav::mono(rate, samples).to_bytes()).expect("written");
    made
}

fn account(story: &Story, setup: &BaresipSetup<'_>) -> String {
    let BaresipSetup { user, transport, codec, .. } = setup;
    let place = &story.place;
    let port = if *transport == "tls" { place.sips() } else { place.sip() };
    let answer = if setup.answers { ";answermode=auto" } else { "" };
    let media = if *transport == "tls" { ";mediaenc=srtp-mand" } else { "" };
    format!(
        "<sip:{user}@{DOMAIN};transport={transport}>;auth_user={user};auth_pass={password};\
         outbound=\"sip:{server}:{port};transport={transport}\";regint=60;\
         audio_codecs={codec}{media}{answer}\n",
        password = story.password(user),
        server = place.server_ip(),
    )
}

fn config(story: &Story, setup: &BaresipSetup<'_>, dir: &Path) -> String {
    let place = &story.place;
    let port = place.peer_port(setup.number * 30);
    let ca = match &setup.ca {
        Some(file) => format!("sip_cafile {}\n", file.display()),
        None => String::new(),
    };
    let modules: String = MODULES.iter().map(|m| format!("module {m}.so\n")).collect();
    format!(
        "sip_listen {ip}:{port}\n{ca}call_local_timeout 30\ncall_max_calls 4\n\
         audio_player aufile,{dir}/player.wav\naudio_source aufile,{play}\n\
         audio_alert aufile,/dev/null\nausrc_srate {rate}\nauplay_srate {rate}\n\
         ausrc_channels 1\nauplay_channels 1\n\
         rtp_ports {rtp_min}-{rtp_max}\nrtp_timeout 20\nrtcp_mux no\n\
         opus_bitrate {bitrate}\nopus_stereo no\nopus_sprop_stereo no\n\
         module_path /usr/lib/baresip/modules\n{modules}\
         module_tmp account.so\nmodule_app menu.so\nmodule_app debug_cmd.so\n\
         snd_path {dir}\nnet_interface wire1\n",
        ip = place.peer_ip(),
        dir = dir.display(),
        play = setup.play.display(),
        rate = setup.rate,
        rtp_min = port + 4,
        rtp_max = port + 28,
        bitrate = audio::OPUS_BITRATE,
    )
}

const MODULES: [&str; 6] = ["g711", "opus", "aufile", "sndfile", "srtp", "uuid"];
