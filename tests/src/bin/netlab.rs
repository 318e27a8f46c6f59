//! `netlab`: translators and bad links between network namespaces, in user space.
//!
//! ```text
//!   netlab run SEED LOG          words on the standard input: tests/src/lab/words.rs
//!   netlab behaviour IP:PORT     what NAT lies between here and a server of ours (RFC 5780)
//!   netlab receive PORT MS       datagrams of `send`, until none has come for so long
//!   netlab send IP:PORT COUNT EVERY_US BYTES
//! ```

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tests::lab::{behaviour, engine, stream};
use tests::story::tell;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match obey(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("netlab: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn obey(arguments: &[&str]) -> Result<(), String> {
    let words = |error: std::io::Error| error.to_string();
    match arguments {
        ["run", seed, log] => engine::run(number(seed)?, Path::new(log)).map_err(words),
        ["behaviour", server] => {
            let found = behaviour::measure(address(server)?)?;
            let line = found.map_or(serde_json::Value::Null, |found| {
                serde_json::json!({
                    "mapped": found.mapped.to_string(), "mapping": found.mapping,
                    "filtering": found.filtering,
                })
            });
            tell(&line.to_string());
            Ok(())
        }
        ["send", to, count, every_us, size] => {
            let size = usize::try_from(number(size)?).map_err(|e| e.to_string())?;
            let every = Duration::from_micros(number(every_us)?);
            stream::send(address(to)?, number(count)?, every, size).map_err(words)
        }
        ["receive", port, patience_ms] => {
            let port = port.parse().map_err(|_| format!("`{port}`: no port"))?;
            let patience = Duration::from_millis(number(patience_ms)?);
            tell("ready");
            let each = |number, delay_us| tell(&format!("{number} {delay_us}"));
            stream::receive(port, patience, each).map_err(words)
        }
        _ => Err("run SEED LOG | behaviour IP:PORT | send IP:PORT COUNT EVERY_US BYTES | receive \
                  PORT MS"
            .into()),
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}`: no number"))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}`: write IP:PORT"))
}
