//! Next hops for everyone in the process: [`sip::locate`] on a thread of its own, with DNS.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError as DnsFailure};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use sip::locate::{Ask, Kind, LocateError, LocateId, Naptr, NextHop, Policy, Query, Records, Srv};
use tokio::sync::{mpsc, oneshot};

use crate::entropy::OsEntropy;
use crate::error::NetError;

/// Asks and reports that wait for the thread; more are refused.
const QUEUE: usize = 4096;
/// How long one try of one name server may take: two of them fit into a lookup's patience.
const TRY: Duration = Duration::from_millis(1200);
/// How long a negative answer without an SOA record is believed.
const NEGATIVE_TTL: Duration = Duration::from_secs(30);

/// What a lookup ends in.
pub type Located = Result<Vec<NextHop>, LocateError>;

/// How names are looked up.
#[derive(Debug, Clone, Default)]
pub struct LocatorConfig {
    /// The name servers; without any, those of the system (`/etc/resolv.conf`).
    pub servers: Vec<SocketAddr>,
    /// The limits and preferences.
    pub policy: Policy,
}

/// Finds next hops (RFC 3263). Clones share cache and failure memory.
#[derive(Debug, Clone)]
pub struct Locator {
    commands: mpsc::Sender<Command>,
}

type Done = Box<dyn FnOnce(Located) + Send>;

enum Command {
    Locate(Ask, Done),
    Failed(NextHop, Option<Duration>),
    Worked(NextHop),
}

impl Locator {
    /// Starts the thread that looks names up.
    ///
    /// # Errors
    /// The system's name servers cannot be read, or there is no thread to be had.
    pub fn start(config: LocatorConfig) -> Result<Self, NetError> {
        let (commands, inbox) = mpsc::channel(QUEUE);
        let failed = |source| NetError::Thread { what: "the locator", source };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let dns = {
            let _entered = runtime.enter();
            dns(&config.servers)?
        };
        let work = Work::new(config.policy, dns);
        std::thread::Builder::new()
            .name("locator".into())
            .spawn(move || runtime.block_on(work.run(inbox)))
            .map_err(failed)?;
        Ok(Self { commands })
    }

    /// Looks a target up; `done` is called on the locator's thread and must not block.
    pub fn locate(&self, ask: Ask, done: impl FnOnce(Located) + Send + 'static) {
        if let Some(hop) = ask.literal() {
            return done(Ok(vec![hop]));
        }
        let command = Command::Locate(ask, Box::new(done));
        if let Err(refused) = self.commands.try_send(command)
            && let Command::Locate(_, done) = refused.into_inner()
        {
            done(Err(LocateError::Busy));
        }
    }

    /// As [`Self::locate`], for async code.
    ///
    /// # Errors
    /// See [`LocateError`].
    pub async fn find(&self, ask: Ask) -> Located {
        let (tell, told) = oneshot::channel();
        self.locate(ask, move |located| drop(tell.send(located)));
        told.await.unwrap_or(Err(LocateError::Busy))
    }

    /// A hop did not answer, or asked to be left alone: it comes last for a while.
    pub fn failed(&self, hop: NextHop, retry_after: Option<Duration>) {
        // A full queue loses a hint, no more.
        let _ = self.commands.try_send(Command::Failed(hop, retry_after));
    }

    /// A hop answered: nothing is held against it any more.
    pub fn worked(&self, hop: NextHop) {
        let _ = self.commands.try_send(Command::Worked(hop));
    }
}

type Heard = (Query, Records, Duration);

/// Answers that may wait; the lookups behind them wait for room.
const HEARD_MAX: usize = 1024;

struct Work {
    machine: sip::locate::Locator,
    dns: TokioResolver,
    waiting: HashMap<LocateId, Done>,
    heard: (mpsc::Sender<Heard>, mpsc::Receiver<Heard>),
}

impl Work {
    fn new(policy: Policy, dns: TokioResolver) -> Self {
        let machine = sip::locate::Locator::new(policy, Box::new(OsEntropy));
        Self { machine, dns, waiting: HashMap::new(), heard: mpsc::channel(HEARD_MAX) }
    }

    /// Until every [`Locator`] is gone.
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        loop {
            let now = Instant::now();
            let due = self.machine.poll_timeout(now);
            let sleep = tokio::time::sleep_until(due.unwrap_or(now).into());
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                Some((query, records, ttl)) = self.heard.1.recv() => {
                    self.machine.handle_records(Instant::now(), query, records, ttl);
                }
                () = sleep, if due.is_some() => self.machine.handle_timeout(Instant::now()),
            }
            self.carry_out();
        }
    }

    fn obey(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Locate(ask, done) => {
                let id = self.machine.ask(now, ask);
                self.waiting.insert(id, done);
            }
            Command::Failed(hop, retry_after) => self.machine.handle_failed(now, &hop, retry_after),
            Command::Worked(hop) => self.machine.handle_worked(&hop),
        }
    }

    fn carry_out(&mut self) {
        while let Some(query) = self.machine.poll_query() {
            let (dns, heard) = (self.dns.clone(), self.heard.0.clone());
            tokio::spawn(async move {
                let (records, ttl) = ask_dns(&dns, &query).await;
                // Nobody hears it only when the locator itself is gone.
                let _ = heard.send((query, records, ttl)).await;
            });
        }
        while let Some((id, located)) = self.machine.poll_located() {
            if let Err(error) = &located {
                tracing::info!(%error, "no next hop");
            }
            if let Some(done) = self.waiting.remove(&id) {
                done(located);
            }
        }
    }
}

/// hickory without its cache and search list: what to believe and for how long is the machine's.
fn dns(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let failed = |error: DnsFailure| NetError::NameServers { reason: error.to_string() };
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio().map_err(failed)?
    } else {
        let config = ResolverConfig::from_name_servers(servers.iter().map(name_server).collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.cache_size = 0;
    options.timeout = TRY;
    options.attempts = 1;
    options.edns0 = true;
    options.use_hosts_file = ResolveHosts::Always;
    builder.build().map_err(failed)
}

fn name_server(addr: &SocketAddr) -> NameServerConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = addr.port();
        connection
    };
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(at_port).to_vec();
    NameServerConfig::new(addr.ip(), true, connections)
}

async fn ask_dns(dns: &TokioResolver, query: &Query) -> (Records, Duration) {
    let kind = match query.kind {
        Kind::Naptr => RecordType::NAPTR,
        Kind::Srv => RecordType::SRV,
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
    };
    // The last dot keeps the search list of the system out.
    let found = match dns.lookup(format!("{}.", query.name), kind).await {
        Ok(found) => found,
        Err(error) => return negative(&error),
    };
    let answers = found.answers();
    let ttl = answers.iter().map(|r| r.ttl).min().unwrap_or(0);
    let data = answers.iter().map(|r| &r.data);
    let records = match query.kind {
        Kind::Naptr => Records::Naptr(data.filter_map(naptr).collect()),
        Kind::Srv => Records::Srv(data.filter_map(srv).collect()),
        Kind::A | Kind::Aaaa => Records::Addresses(data.filter_map(address).collect()),
    };
    (if is_empty(&records) { Records::Nothing } else { records }, Duration::from_secs(ttl.into()))
}

fn negative(error: &DnsFailure) -> (Records, Duration) {
    match error {
        DnsFailure::Dns(DnsError::NoRecordsFound(none))
            if matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError) =>
        {
            let ttl = none.negative_ttl.map_or(NEGATIVE_TTL, |s| Duration::from_secs(s.into()));
            (Records::Nothing, ttl)
        }
        _ => {
            tracing::debug!(%error, "DNS failed");
            (Records::Failed, Duration::ZERO)
        }
    }
}

fn is_empty(records: &Records) -> bool {
    match records {
        Records::Naptr(all) => all.is_empty(),
        Records::Srv(all) => all.is_empty(),
        Records::Addresses(all) => all.is_empty(),
        Records::Nothing | Records::Failed => true,
    }
}

fn naptr(data: &RData) -> Option<Naptr> {
    let RData::NAPTR(found) = data else { return None };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // RFC 3263 §4.1: SIP uses no regular expressions.
    found.regexp.is_empty().then(|| Naptr {
        order: found.order,
        preference: found.preference,
        flags: text(&found.flags),
        service: text(&found.services),
        replacement: found.replacement.to_ascii(),
    })
}

fn srv(data: &RData) -> Option<Srv> {
    let RData::SRV(found) = data else { return None };
    Some(Srv {
        priority: found.priority,
        weight: found.weight,
        port: found.port,
        target: found.target.to_ascii(),
    })
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(IpAddr::V4(**a)),
        RData::AAAA(a) => Some(IpAddr::V6(**a)),
        _ => None,
    }
}
