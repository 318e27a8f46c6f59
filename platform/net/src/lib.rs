//! Sockets, TLS, WebSocket, shards, flows and the driver.
