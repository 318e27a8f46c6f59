//! Registrar and location service with the bindings journal.
