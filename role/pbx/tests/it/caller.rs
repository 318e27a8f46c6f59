//! A phone that stands where the server would: it calls the services from the server's address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use audio::{PLAYOUT_FRAME, Tone};
use bytes::Bytes;
use net::{MediaSockets, OsEntropy};
use pbx::{Config, Services};
use phone::{Account, CallHandle, Cause, Link, Phone, PhoneEvent, PhoneOutput};
use sansio::{Redacted, Transport};
use tokio::net::UdpSocket;
use tokio::time::{interval, sleep_until};

pub const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub struct Caller {
    pub phone: Phone,
    pub services: Option<Services>,
    pub events: Vec<PhoneEvent>,
    /// What each call heard.
    pub heard: Vec<Vec<i16>>,
    pub voice: Option<Tone>,
    socket: UdpSocket,
    to: SocketAddr,
    lines: Vec<(CallHandle, MediaSockets)>,
}

impl Caller {
    pub async fn new(configure: impl FnOnce(&mut Config)) -> Self {
        let socket = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
        let server = socket.local_addr().unwrap();
        let mut config = Config::new(server, LOOPBACK);
        configure(&mut config);
        let services = Services::start(config).unwrap();
        let account = Account {
            user: "alice".into(),
            domain: "example.com".into(),
            password: Redacted::new(String::new()),
            display_name: String::new(),
            instance: "urn:uuid:00000000-0000-0000-0000-000000000001".into(),
        };
        let settings = phone::Config { calls_max: 64, ..phone::Config::default() };
        let mut phone = Phone::new(account, settings, Box::new(OsEntropy));
        let link = Link { transport: Transport::Udp, local: server, server: services.addr };
        phone.handle_link_up(Instant::now(), link);
        Self {
            phone,
            to: services.addr,
            services: Some(services),
            events: Vec::new(),
            heard: Vec::new(),
            voice: None,
            socket,
            lines: Vec::new(),
        }
    }

    pub async fn call(&mut self, user: &str) -> CallHandle {
        let sockets = MediaSockets::bind(LOOPBACK).unwrap();
        let target = format!("sip:{user}@{}", self.to);
        let call = self.phone.call(Instant::now(), &target, sockets.local_addr()).unwrap();
        self.lines.push((call, sockets));
        self.heard.push(Vec::new());
        self.flush().await;
        call
    }

    /// Runs for this long.
    pub async fn run(&mut self, time: Duration) {
        let end = Instant::now() + time;
        let mut tick = interval(Duration::from_millis(20));
        let mut buffer = vec![0; 65_535];
        while Instant::now() < end {
            let next = self.phone.poll_timeout().unwrap_or(end).min(end);
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => {
                    let (len, from) = received.unwrap();
                    assert_eq!(from, self.to);
                    let bytes = Bytes::copy_from_slice(&buffer[..len]);
                    self.phone.handle_sip(Instant::now(), bytes);
                }
                _ = tick.tick() => self.sound(),
                () = sleep_until(next.into()) => self.phone.handle_timeout(Instant::now()),
            }
            self.flush().await;
        }
    }

    pub fn answered(&self) -> usize {
        self.events.iter().filter(|e| matches!(e, PhoneEvent::Answered { .. })).count()
    }

    pub fn ended(&self) -> Vec<(Cause, Option<u16>)> {
        let ended = |e: &PhoneEvent| match e {
            PhoneEvent::Ended { cause, status, .. } => Some((*cause, *status)),
            _ => None,
        };
        self.events.iter().filter_map(ended).collect()
    }

    fn sound(&mut self) {
        let now = Instant::now();
        let mut said = [0; PLAYOUT_FRAME];
        if let Some(voice) = &mut self.voice {
            voice.fill(&mut said);
        }
        for (n, (call, sockets)) in self.lines.iter().enumerate() {
            while let Some((bytes, from)) = sockets.try_recv() {
                self.phone.handle_media(now, *call, from, &bytes);
            }
            let mut frame = [0; PLAYOUT_FRAME];
            self.phone.play(now, *call, &mut frame);
            if self.phone.is_talking(*call) {
                self.heard[n].extend_from_slice(&frame);
                self.phone.capture(now, *call, &said);
            }
        }
    }

    async fn flush(&mut self) {
        while let Some(output) = self.phone.poll_output() {
            match output {
                PhoneOutput::SendSip(bytes) => {
                    self.socket.send_to(&bytes, self.to).await.unwrap();
                }
                PhoneOutput::SendMedia { call, to, bytes, rtcp } => {
                    if let Some((_, sockets)) = self.lines.iter().find(|(c, _)| *c == call) {
                        sockets.try_send(to, &bytes, rtcp);
                    }
                }
                // It speaks no ICE.
                PhoneOutput::Way { .. } => {}
                PhoneOutput::Event(event) => self.events.push(event),
            }
        }
    }
}

/// How much of the sound's power is at this frequency, 0 to 1 (Goertzel).
pub fn purity(samples: &[i16], hz: f64) -> f64 {
    let step = std::f64::consts::TAU * hz / 48_000.0;
    let (mut re, mut im, mut power) = (0.0, 0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let (s, phase) = (f64::from(*sample), step * n as f64);
        re += s * phase.cos();
        im += s * phase.sin();
        power += s * s;
    }
    if power == 0.0 { 0.0 } else { 2.0 * (re * re + im * im) / (samples.len() as f64 * power) }
}
