//! Routing as a pure function that explains itself.
