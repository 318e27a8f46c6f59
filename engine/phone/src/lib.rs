//! The phone engine: registration, calls and media, sans-IO.
