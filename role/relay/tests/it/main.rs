//! The relay from outside: descriptions and packets through its cores in virtual time, and the
//! same over real sockets.

mod aside;
mod churn;
mod codecs;
mod conflicts;
mod controlled;
mod descriptions;
#[cfg(feature = "xdp")]
mod fast_path;
mod feedback;
mod injector;
mod memory;
mod openssl;
mod peers;
mod recording;
mod sockets;
mod stories;
mod streams;
mod virtual_net;
mod zrtp;
