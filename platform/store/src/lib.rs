//! Repositories, their types, and the memory store.
