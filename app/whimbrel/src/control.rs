//! `DATA/whimbrel.sock`: how the command line talks to a running server. One JSON object a line
//! each way.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

/// The longest request line.
const LINE_MAX: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// What a running server can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Request {
    /// Is anybody there?
    Ping,
    /// Tenants or users changed in the store: take them over now.
    Reload,
    /// Read the configuration file and the certificates again.
    Configure,
    /// Devices registered now.
    Registrations,
    /// Calls in progress.
    Calls,
    /// Sources that are banned now.
    Bans,
    /// Listen to a source again.
    Unban { source: std::net::IpAddr },
    /// Accounts that are held because they call as programs do.
    Conduct,
    /// An account that is held is good.
    Pardon { account: String },
    /// Have the recording of a call rest, or go on.
    PauseRecording { call: String, paused: bool },
    /// The steps of a routing decision.
    Explain { from: String, to: String },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reply {
    Ok(Value),
    Error(String),
}

/// The socket of a data folder.
pub fn socket_path(data: &Path) -> PathBuf {
    data.join("whimbrel.sock")
}

/// Asks the server of `data`. `None` when no server runs there.
pub fn ask(data: &Path, request: &Request) -> Result<Option<Value>> {
    let Ok(mut stream) = UnixStream::connect(socket_path(data)) else { return Ok(None) };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).context("the server closed its control socket")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).context("the server did not answer")?;
    if answer.is_empty() {
        bail!("the server closed its control socket without an answer; see its log");
    }
    match serde_json::from_str(&answer).context("the server's answer is not understood")? {
        Reply::Ok(value) => Ok(Some(value)),
        Reply::Error(message) => bail!(message),
    }
}

/// Serves the control socket until the process ends.
pub fn listen<F, Fut>(data: &Path, handle: F) -> Result<()>
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value>> + Send + 'static,
{
    let path = socket_path(data);
    if UnixStream::connect(&path).is_ok() {
        bail!("{}: another whimbrel serves this data folder; stop it first", path.display());
    }
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("{}: cannot be replaced", path.display()));
        }
        _ => {}
    }
    let listener = tokio::net::UnixListener::bind(&path)
        .with_context(|| format!("{}: cannot be made; check the folder", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let handle = Arc::new(handle);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handle = Arc::clone(&handle);
            tokio::spawn(async move {
                if let Err(error) = converse(stream, &*handle).await {
                    tracing::debug!(%error, "control connection ended");
                }
            });
        }
    });
    Ok(())
}

async fn converse<F, Fut>(stream: tokio::net::UnixStream, handle: &F) -> Result<()>
where
    F: Fn(Request) -> Fut,
    Fut: Future<Output = Result<Value>>,
{
    use tokio::io::AsyncReadExt;
    let (read, mut write) = stream.into_split();
    let mut lines = tokio::io::BufReader::new(read.take(LINE_MAX)).lines();
    while let Some(line) = lines.next_line().await? {
        let reply = match serde_json::from_str(&line) {
            Ok(request) => match handle(request).await {
                Ok(value) => Reply::Ok(value),
                Err(error) => Reply::Error(format!("{error:#}")),
            },
            Err(error) => Reply::Error(format!("request not understood: {error}")),
        };
        let mut answer = serde_json::to_string(&reply)?;
        answer.push('\n');
        write.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_request_is_answered_and_a_second_server_is_refused() {
        let dir = std::env::temp_dir().join(format!("whimbrel-control-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        listen(&dir, |request| async move {
            match request {
                Request::Ping => Ok(Value::from("here")),
                other => bail!("{other:?} refused"),
            }
        })
        .unwrap();
        let asked = dir.clone();
        let (pong, refused) = tokio::task::spawn_blocking(move || {
            (ask(&asked, &Request::Ping).unwrap(), ask(&asked, &Request::Calls).unwrap_err())
        })
        .await
        .unwrap();
        assert_eq!(pong, Some(Value::from("here")));
        assert!(refused.to_string().contains("refused"));
        let error = listen(&dir, |_| async { Ok(Value::Null) }).unwrap_err();
        assert!(error.to_string().contains("another whimbrel"), "{error}");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn no_server_is_not_an_error() {
        assert!(ask(Path::new("/nonexistent"), &Request::Ping).unwrap().is_none());
    }
}
