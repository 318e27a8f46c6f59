//! SIP: message, transactions, dialogs, digest and the proxy's response context (RFC 3261).
