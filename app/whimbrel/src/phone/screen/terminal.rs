//! The terminal while the screen has it: set up, its keys, and given back whatever happens.

use crate::phone::instance::state_dir;
use anyhow::{Context, Result};
use crossterm::event::{self, Event, KeyEvent};
use ratatui::DefaultTerminal;
use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::mpsc;

/// Keys that may wait.
const KEYS: usize = 64;
/// How often the thread of keys looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(200);

/// Where standard error went before the screen; taken by whoever gives it back.
static STDERR: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// The terminal in raw mode on its alternate screen, until dropped (or until a panic).
pub struct Terminal {
    pub inner: DefaultTerminal,
}

/// A key, or a reason to draw again.
pub enum Input {
    Key(KeyEvent),
    Resized,
}

impl Terminal {
    /// Takes the terminal. Logs and what libraries say on standard error go to a file meanwhile.
    ///
    /// # Errors
    /// It is no terminal.
    pub fn take() -> Result<Self> {
        divert_stderr();
        let inner = ratatui::try_init();
        if inner.is_err() {
            restore();
        }
        let inner = inner.context("the terminal cannot show the phone's screen")?;
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            hook(info);
        }));
        Ok(Self { inner })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

/// The keys, read by a thread that ends when the receiver is dropped.
pub fn inputs() -> mpsc::Receiver<Input> {
    let (tell, inputs) = mpsc::channel(KEYS);
    std::thread::spawn(move || {
        while !tell.is_closed() {
            let read = match event::poll(LOOK) {
                Ok(true) => event::read(),
                Ok(false) => continue,
                Err(error) => Err(error),
            };
            let sent = match read {
                Ok(Event::Key(key)) => tell.blocking_send(Input::Key(key)),
                Ok(Event::Resize(..)) => tell.blocking_send(Input::Resized),
                Ok(_) => continue,
                // The terminal is gone; the closed channel says so.
                Err(_) => return,
            };
            if sent.is_err() {
                return;
            }
        }
    });
    inputs
}

fn restore() {
    // Nothing more can be done for a terminal that refuses.
    let _ = ratatui::try_restore();
    let kept = STDERR.lock().ok().and_then(|mut kept| kept.take());
    if let Some(kept) = kept {
        point_stderr_at(&kept);
    }
}

/// Standard error to a file, if it is the terminal: a line there would tear the screen.
fn divert_stderr() {
    let stderr = std::io::stderr();
    if !stderr.is_terminal() {
        return;
    }
    let Ok(before) = stderr.as_fd().try_clone_to_owned() else { return };
    let open = |path: std::path::PathBuf| OpenOptions::new().append(true).create(true).open(path);
    let log = state_dir().and_then(|dir| {
        std::fs::create_dir_all(&dir).ok()?;
        open(dir.join("phone.log")).ok()
    });
    let Some(log) = log.or_else(|| open("/dev/null".into()).ok()) else { return };
    if let Ok(mut kept) = STDERR.lock() {
        *kept = Some(before);
        point_stderr_at(&log);
    }
}

fn point_stderr_at(file: &impl AsFd) {
    // SAFETY: dup2 takes two descriptors; the first is open as long as it is borrowed, the second
    // is standard error, which nobody in this process owns or closes.
    let done = unsafe { libc::dup2(file.as_fd().as_raw_fd(), libc::STDERR_FILENO) };
    debug_assert!(done == libc::STDERR_FILENO);
}
