//! Open calls and call records, folded from spine events.
