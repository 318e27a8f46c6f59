//! Echo, tone and prompts.
