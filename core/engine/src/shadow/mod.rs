//! Copies of requests for versions that run as shadows: what is kept of a request for them, how its
//! two answers are compared, and what bounds all that. Nobody waits for a copy, and nothing that is
//! done for one is in a request's way: answers are compared by a thread of low priority.

mod compare;
mod original;
mod report;
mod rules;
mod worker;

pub use compare::{Found, Tolerance};
pub use original::{Copy, Facts, Original, Output, Source};
pub use report::{Example, OutputReport, Report};
pub use rules::{Place, Rules};
pub use worker::{Shadows, Sweep};
