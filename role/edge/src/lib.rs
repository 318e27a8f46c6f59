//! Edge proxy: admission, authentication, forking, record-routing, dialog tracking.
