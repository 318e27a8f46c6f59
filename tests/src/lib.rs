//! What the black-box stories share: places to run in, processes that end with the story, the
//! server, phones of ours and of others, and ears.
//!
//! ```text
//!   Story ── Place (ports, namespace) ── Scratch (folder, kept when the story fails)
//!     ├─ Server    whimbrel serve, its CLI, kill -9 and restart
//!     ├─ Phone     whimbrel phone, headless, its JSON events
//!     ├─ Baresip, Linphone  foreign phones    ├─ sipp::Run   many calls
//!     ├─ Probe     raw SIP over UDP           ├─ browser::Run  Chromium
//!     ├─ Handset   a very small phone         ├─ Crowd, Flood  very many calls; the hostile
//!     ├─ Cap       part of a processor        ├─ Capture     what crosses a cable
//!     ├─ flow      SIPp scenarios from small pieces; Bridge carries them over any transport
//!     ├─ Srs       a session recording server, by TCP
//!     ├─ Lab       NATs and bad links between namespaces
//!     └─ sound     speech, the offline codec, PESQ, tones
//! ```
//!
//! The contract: helpers panic with what they waited for and where the logs are; everything they
//! start is killed by its own process id when the value is dropped, also in a panic, and by the
//! kernel should the test process itself be killed.
//!
//! What this crate does not do: it looks into no crate of the server; stories see what a user sees.
//! The laboratory borrows links and translators from `simnet`, and nothing else of it.
//!
//! Start reading at [`Story`], then `tests/it/main.rs`.

pub mod baresip;
pub mod bridge;
pub mod browser;
pub mod cap;
pub mod capture;
pub mod crowd;
pub mod dns;
pub mod flood;
pub mod flow;
pub mod handset;
pub mod kamailio;
pub mod lab;
pub mod linphone;
pub mod ng;
pub mod phone;
pub mod place;
pub mod probe;
pub mod process;
pub mod refusal;
pub mod scratch;
pub mod server;
pub mod sipp;
pub mod sound;
pub mod srs;
pub mod story;

pub use baresip::Baresip;
pub use capture::Capture;
pub use flood::Flood;
pub use handset::Handset;
pub use lab::Lab;
pub use linphone::Linphone;
pub use phone::{Phone, PhoneEnded};
pub use place::Place;
pub use probe::Probe;
pub use process::Process;
pub use server::Server;
pub use story::{DOMAIN, Story};
