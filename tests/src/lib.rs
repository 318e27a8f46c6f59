//! Black-box stories: the built binary against foreign phones and servers.
