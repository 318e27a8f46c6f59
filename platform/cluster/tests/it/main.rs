//! What `kill -9` may and may not cost.

mod kill;
