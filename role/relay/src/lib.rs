//! Media relay: offers rewritten, ports, latching, SRTP in place.
