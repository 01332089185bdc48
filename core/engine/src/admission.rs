//! Byte budgets: what may be held in memory, counted while a body still arrives and before an
//! answer is written. The process has one; a client address and a connection each may use a
//! share of it.

mod bound;
mod budget;
mod clients;
mod reservation;

pub use bound::Bound;
pub use budget::{Budget, Released};
pub use clients::{Clients, Shares};
pub use reservation::{Client, Reservation};

#[cfg(test)]
mod tests;
