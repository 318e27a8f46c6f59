//! A network, clock and hosts in one process, under a seed.
