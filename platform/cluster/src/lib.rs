//! The spine of events: in-process bus with a durable log.
