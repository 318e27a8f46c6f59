use super::*;
use net::http::HttpOptions;
use sansio::WallTime;
use std::collections::BTreeSet;
use std::path::PathBuf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/metrics.md");

/// A store in a folder of its own; the folder goes when the test ends.
struct Place {
    dir: PathBuf,
    store: SqlStore,
}

impl Place {
    async fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("whimbrel-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let store = SqlStore::open(&dir).await.unwrap();
        Self { dir, store }
    }

    fn observed(&self) -> Observed {
        let started = Instant::now();
        Observed::with(self.store.clone(), move || Reading {
            calls: 3,
            sip_requests: 41,
            registrations: 7,
            certificate_expiry_s: 1_800_000_000,
            net: net::ShardStats { received: 9, connections: 2, ..net::ShardStats::default() },
            process: reading::Process::now(started),
            legs: vec![(
                "outside".into(),
                "srtp",
                relay::LegTotals { marked: [2, 1, 0, 0], told_lost: 7, ..Default::default() },
            )],
            ..Reading::default()
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// One family of an exposition.
#[derive(Debug, Default)]
struct Family {
    name: String,
    kind: String,
    unit: String,
    help: String,
    samples: Vec<(String, String)>,
}

/// Reads an exposition by OpenMetrics 1.0's rules, as far as families of one value go.
fn parse(page: &str) -> Vec<Family> {
    let body = page.strip_suffix("# EOF\n").expect("ends with # EOF and a line feed");
    let mut families: Vec<Family> = Vec::new();
    for line in body.lines() {
        let Some(meta) = line.strip_prefix("# ") else {
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            value.parse::<f64>().expect("a number");
            let family = families.last_mut().expect("metadata before samples");
            family.samples.push((sample.into(), value.into()));
            continue;
        };
        let mut parts = meta.splitn(3, ' ');
        let (word, name, rest) =
            (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        if families.last().is_none_or(|f| f.name != name) {
            families.push(Family { name: name.into(), ..Family::default() });
        }
        let family = families.last_mut().unwrap();
        assert!(family.samples.is_empty(), "metadata behind samples: {line}");
        let field = match word {
            "HELP" => &mut family.help,
            "TYPE" => &mut family.kind,
            "UNIT" => &mut family.unit,
            other => panic!("{other}: {line}"),
        };
        assert!(field.is_empty() && !rest.is_empty(), "{line}");
        *field = rest.into();
    }
    families
}

/// What one queries for.
fn sample_name(family: &Family) -> &str {
    family.samples[0].0.split('{').next().unwrap()
}

async fn get_page(addr: std::net::SocketAddr, path: &str) -> (String, String) {
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_string())
}

#[tokio::test(flavor = "current_thread")]
async fn every_family_is_valid_openmetrics() {
    let place = Place::new("metrics-valid").await;
    let families = parse(&place.observed().scrape().unwrap());
    let names: BTreeSet<&str> = families.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names.len(), families.len(), "a family appears twice");
    for family in &families {
        let suffix = match family.kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            "gauge" => "",
            other => panic!("{other}"),
        };
        // Of each interface one for each word; of the others one.
        let labelled = family.samples[0].0.contains("interface=");
        assert!(labelled || family.samples.len() == 1, "{family:?}");
        assert!(!family.help.is_empty(), "{family:?}");
        assert_eq!(sample_name(family), format!("{}{suffix}", family.name));
        assert!(family.unit.is_empty() || family.name.ends_with(&format!("_{}", family.unit)));
    }
    let entries = net::ShardStats::default();
    for (entry, _) in entries.entries() {
        assert!(names.contains(format!("whimbrel_net_{entry}").as_str()), "{entry}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn values_are_read_at_the_scrape() {
    let place = Place::new("metrics-values").await;
    let page = place.observed().scrape().unwrap();
    for line in [
        "whimbrel_calls 3",
        r#"whimbrel_relay_legs_marked_total{interface="outside",kind="srtp",mark="ef"} 2.0"#,
        r#"whimbrel_relay_told_lost_total{interface="outside",kind="srtp"} 7.0"#,
        "whimbrel_sip_requests_total 41",
        "whimbrel_registrations 7",
        "whimbrel_net_received_total 9",
        "whimbrel_net_connections 2",
        "whimbrel_certificate_expiry_timestamp_seconds 1800000000",
        concat!("whimbrel_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
    }
    for family in parse(&page).iter().filter(|f| f.name.starts_with("process_")) {
        assert!(family.samples[0].1.parse::<u64>().unwrap() > 0, "{family:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn the_reference_page_lists_exactly_what_is_exposed() {
    let place = Place::new("metrics-page").await;
    let families = parse(&place.observed().scrape().unwrap());
    let row = |f: &Family| format!("| `{}` | {} | {} |", sample_name(f), f.kind, f.help);
    let wanted: Vec<String> = families.iter().map(row).collect();
    let page = std::fs::read_to_string(PAGE).unwrap();
    let found: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(found, wanted, "the table has to be\n{}\n", wanted.join("\n"));
}

#[tokio::test(flavor = "current_thread")]
async fn the_listener_serves_metrics_and_health() {
    let place = Place::new("metrics-http").await;
    let observed = place.observed();
    let server = HttpServer::bind("127.0.0.1:0".parse().unwrap(), HttpOptions::default()).unwrap();
    let addr = server.local_addr();
    let serving = tokio::spawn(serve(server, observed.clone()));

    let (head, body) = get_page(addr, "/metrics").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains(&format!("content-type: {CONTENT_TYPE}")), "{head}");
    assert!(!parse(&body).is_empty());
    assert!(get_page(addr, "/health/live").await.0.starts_with("http/1.1 200"));
    let (head, body) = get_page(addr, "/health/ready").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["ready"], true);
    assert!(get_page(addr, "/").await.0.starts_with("http/1.1 404"));

    observed.stop();
    let (head, body) = get_page(addr, "/health/ready").await;
    assert!(head.starts_with("http/1.1 503"), "{head}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["ready"], false);
    assert!(body["reason"].as_str().unwrap().starts_with("draining"), "{body}");
    assert!(get_page(addr, "/health/live").await.0.starts_with("http/1.1 200"), "still alive");
    serving.abort();
}

#[tokio::test(flavor = "current_thread")]
async fn a_silent_database_is_not_ready() {
    let place = Place::new("metrics-silent").await;
    let observed = place.observed();
    place.store.add_tenant("example.org", WallTime::from_secs(1)).await.unwrap();
    assert_eq!(observed.unready().await, None);
    place.store.close().await;
    let reason = observed.unready().await.unwrap();
    assert!(reason.contains("database"), "{reason}");
}
