//! Offer/answer (RFC 3264) for an endpoint.
