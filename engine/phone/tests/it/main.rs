//! Stories of phones on a simulated network, in virtual time.

mod calling;
mod changing;
mod early;
mod exchanging;
mod lossy;
mod network;
mod pairs;
mod redirecting;
mod registering;
mod scripted;
mod sessions;
mod talking;
mod transferring;
mod trickling;
mod ways;
mod words;
mod world;
