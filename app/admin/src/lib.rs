//! The HTTP API and its document.
