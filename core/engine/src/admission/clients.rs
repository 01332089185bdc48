//! The budgets of those who are connected: by address, and by connection.

use super::{Bound, Budget};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Weak};

/// The budgets of those who are connected.
#[derive(Debug)]
pub struct Clients {
    pub(super) process: Arc<Budget>,
    shares: Shares,
    pub(super) addresses: Mutex<Addresses>,
}

/// Most bytes of one client address and of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    pub connection: usize,
    pub address: usize,
}

impl Shares {
    /// Parts of the process's budget; never less than four of the largest messages, so that
    /// one, what it becomes, its place in a batch and its answer fit. Pure.
    pub fn of(process: usize, connection: f64, address: f64, largest_message: usize) -> Shares {
        let least = largest_message.saturating_mul(4).min(process);
        let part = |share: f64| ((process as f64 * share) as usize).clamp(least, process);
        Shares { connection: part(connection), address: part(address) }
    }
}

#[derive(Debug, Default)]
pub(super) struct Addresses {
    pub(super) budgets: HashMap<IpAddr, Weak<Budget>>,
    /// Entries of those who left are looked for when there are this many.
    tidy_at: usize,
}

impl Clients {
    pub fn new(process: Arc<Budget>, shares: Shares) -> Self {
        Clients { process, shares, addresses: Mutex::default() }
    }

    /// The budget of one more connection from this address.
    pub fn connection(&self, address: IpAddr) -> Arc<Budget> {
        self.address(network(address)).share(Bound::Connection, self.shares.connection)
    }

    /// An address is known for as long as anything of it is held.
    fn address(&self, address: IpAddr) -> Arc<Budget> {
        let mut addresses = self.addresses.lock();
        if let Some(budget) = addresses.budgets.get(&address).and_then(Weak::upgrade) {
            return budget;
        }
        if addresses.budgets.len() >= addresses.tidy_at {
            addresses.budgets.retain(|_, budget| budget.strong_count() > 0);
            addresses.tidy_at = 2 * addresses.budgets.len() + 16;
        }
        let budget = self.process.share(Bound::Address, self.shares.address);
        addresses.budgets.insert(address, Arc::downgrade(&budget));
        budget
    }
}

/// What one client has to itself: an IPv4 address, or the first half of an IPv6 one.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}
