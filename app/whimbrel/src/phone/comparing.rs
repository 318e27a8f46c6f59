//! `--compare`: what the other side says its short string is, line by line from the standard input.

use rtp::zrtp::Sas;
use std::io::BufRead;
use tokio::sync::mpsc;

/// Lines that may wait.
const QUEUE: usize = 8;
/// Longest line that is looked at.
const LINE_MAX: usize = 200;

/// Where strings come from.
pub struct Comparing {
    lines: Option<mpsc::Receiver<String>>,
    /// Said before there was one to compare with.
    early: Option<String>,
}

impl Comparing {
    /// Begins to read, if asked to.
    pub fn start(asked: bool) -> Self {
        Self { lines: asked.then(read), early: None }
    }

    /// The next line; waits for ever where there is none.
    pub async fn next(&mut self) -> String {
        match &mut self.lines {
            Some(lines) => match lines.recv().await {
                Some(line) => line,
                None => {
                    self.lines = None;
                    std::future::pending().await
                }
            },
            None => std::future::pending().await,
        }
    }

    /// Keeps a line until there is something to compare with.
    pub fn keep(&mut self, line: String) {
        self.early = Some(line);
    }

    /// What was kept.
    pub fn take(&mut self) -> Option<String> {
        self.early.take()
    }
}

/// Whether a line is the string: in its letters, or in its words.
pub fn fits(line: &str, sas: Sas) -> bool {
    let said: Vec<String> =
        line.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase).collect();
    let said: Vec<&str> = said.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
    let words = sas.words().map(str::to_ascii_lowercase);
    let letters = sas.letters();
    said == [letters.as_str()] || said == [words[0].as_str(), words[1].as_str()]
}

/// A thread, because a read of the standard input cannot be given up.
fn read() -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            let line: String = line.chars().take(LINE_MAX).collect();
            if !line.trim().is_empty() && send.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r5_4_a_string_is_compared_in_letters_or_words_and_a_wrong_one_never_fits() {
        let sas = Sas(0xe582_0000);
        for right in
            ["hsby", " HSBY ", "topmost Istanbul", "Topmost, istanbul.", "topmost-istanbul"]
        {
            assert!(fits(right, sas), "{right}");
        }
        let wrong = [
            "",
            "hsb",
            "hsbyy",
            "hsbn",
            "topmost",
            "Istanbul topmost",
            "topmost Istanbul Pluto",
            "hsby topmost Istanbul",
            "yyyy",
            "h s b y",
        ];
        for wrong in wrong {
            assert!(!fits(wrong, sas), "{wrong}");
        }
    }
}
