//! STUN and the ICE-lite agent (RFC 8489, RFC 8445).
