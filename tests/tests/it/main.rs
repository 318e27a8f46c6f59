//! The stories. One module per part of the house, one test per story; each starts its own server
//! with an empty data folder and ends everything it started.

mod access_edge;
mod asymmetric;
mod browser;
mod bulk;
mod diagnostics;
mod discovery;
mod dual_stack;
mod durability;
mod first_run;
mod flood;
mod foreign_phone;
mod forked;
mod hidden;
mod injection;
mod injection_pages;
mod legacy;
mod linphone;
mod matrix;
mod mutual_tls;
mod overload;
mod own_phones;
mod peers;
mod public_side;
mod refusals;
mod reload;
mod response_codes;
mod scanners;
mod shutdown;
mod silence;
mod stepping;
mod tls_profile;
mod torture;
mod transfers;
mod vanishing;
