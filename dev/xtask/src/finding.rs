//! One thing a check has to say.

use std::fmt;

/// A rule that a file breaks. Prints as `path:line: message`, which editors turn into a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Relative to the repository, with `/`.
    pub path: String,
    /// From 1; 0 when the finding is about the file as a whole.
    pub line: usize,
    /// The rule's name in `tidy-allow.txt`.
    pub rule: &'static str,
    /// What was measured, for rules with a ceiling; 0 otherwise.
    pub measured: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Finding {
    /// A finding of a rule that holds or does not.
    pub fn new(path: &str, line: usize, rule: &'static str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule, measured: 0, message: message.into() }
    }

    /// The same with the figure that was above the ceiling.
    pub fn measuring(mut self, measured: usize) -> Self {
        self.measured = measured;
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: [{}] {}", self.path, self.line.max(1), self.rule, self.message)
    }
}
