//! Stories of phones on a simulated network, in virtual time.

mod calling;
mod changing;
mod lossy;
mod registering;
mod scripted;
mod sessions;
mod talking;
mod world;
