//! The only place that knows every role: it answers the edge's questions with the others.

mod dialling;
mod events;
mod relaying;
mod shard;
mod snapshots;

pub use dialling::Flows;
pub use events::marks_bleached;
pub use relaying::{INTERNAL, MediaSides};
pub use shard::{EdgeShard, Gauges, Roles};
pub use snapshots::{DirectorySnapshot, Domains, LocationSnapshot, RouterSnapshot, Services};
