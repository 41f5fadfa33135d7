//! Who may connect: rules by address, SCRAM-SHA-256, TLS. Nothing here has a socket.
//!
//! 1. [`tls::Tls::load`] and [`rules::Rules::checked`] refuse a configuration that would not protect, at start.
//! 2. [`login::Login::start`] finds the first rule that matches; without one, the answer is no.
//! 3. [`login::Login::answer`] takes the client's SASL messages until it says [`login::Step::Done`] or
//!    [`login::Step::Refuse`].
//! 4. [`throttle::Throttle`] tells how long an address waits after a failure.

pub mod login;
pub mod rules;
pub mod throttle;
pub mod tls;

pub use login::{Attempt, Login, Peer, Policy, Step, Welcome};
pub use rules::Rules;
pub use throttle::Throttle;
pub use tls::Tls;
