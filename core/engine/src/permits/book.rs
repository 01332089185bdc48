//! Who runs, who waits, and whose right to run has been lent on. Pure: time is an argument.
//!
//! A run that goes on longer than others should wait for it lends its permit: it runs on, and
//! one who waits runs beside it. So an endless run costs others the wait for the loan and then
//! a share of the CPUs, never their turn. Every `size` loans that are out make the next ones
//! take once as long again, so that many long runs that are all as they should be do not end
//! up all at once on the CPUs.

use std::time::{Duration, Instant};

/// After which a permit is lent, unless told otherwise.
pub const LEND_AFTER: Duration = Duration::from_secs(1);

/// `T` is how whoever waits is told.
#[derive(Debug)]
pub struct Book<T> {
    size: usize,
    /// `None`: never.
    lend_after: Option<Duration>,
    holders: Vec<Holder>,
    /// Of the holders.
    lent: usize,
    waiting: Vec<Waiter<T>>,
    /// The account of whoever was granted last: a newcomer starts here, not at zero, or an
    /// idle model could hoard the right to run.
    account: u64,
    ids: u64,
}

#[derive(Debug)]
struct Holder {
    id: u64,
    since: Instant,
    lent: bool,
}

#[derive(Debug)]
struct Waiter<T> {
    /// Ascending: the order of arrival.
    id: u64,
    spent: u64,
    tell: T,
}

impl<T> Book<T> {
    pub fn new(size: usize) -> Self {
        Book {
            size: size.max(1),
            lend_after: Some(LEND_AFTER),
            holders: Vec::new(),
            lent: 0,
            waiting: Vec::new(),
            account: 0,
            ids: 0,
        }
    }

    /// How many may run at once, and how long a run keeps that from others (`None`: to its
    /// end); whoever runs already stays.
    pub fn set(&mut self, size: usize, lend_after: Option<Duration>) {
        self.size = size.max(1);
        self.lend_after = lend_after;
    }

    /// What a newcomer's account says, who has run for `spent` so far.
    pub fn account_of(&self, spent: u64) -> u64 {
        spent.max(self.account)
    }

    /// A permit at once, where one is free and nobody waits.
    pub fn take(&mut self, spent: u64, now: Instant) -> Option<u64> {
        (self.has_room() && self.waiting.is_empty()).then(|| {
            self.ids += 1;
            self.hold(self.ids, spent, now)
        })
    }

    /// Stand in line; [`Book::grant`] says whose turn it is. The id is the permit's, later.
    pub fn wait(&mut self, spent: u64, tell: T) -> u64 {
        self.ids += 1;
        self.waiting.push(Waiter { id: self.ids, spent, tell });
        self.ids
    }

    /// The next to run: whoever waits with the least on their account. To be asked until
    /// there is none.
    pub fn grant(&mut self, now: Instant) -> Option<T> {
        let next = (0..self.waiting.len()).min_by_key(|&i| (self.waiting[i].spent, self.waiting[i].id))?;
        while !self.has_room() {
            if self.due()? > now {
                return None;
            }
            self.lend();
        }
        let waiter = self.waiting.swap_remove(next);
        self.hold(waiter.id, waiter.spent, now);
        Some(waiter.tell)
    }

    /// When the next permit is lent to one who waits, unless one comes back before; `None`: never.
    pub fn due(&self) -> Option<Instant> {
        let patience = u32::try_from(1 + self.lent / self.size).unwrap_or(u32::MAX);
        let wait = self.lend_after?.saturating_mul(patience);
        self.holders.iter().filter(|h| !h.lent).map(|h| h.since).min()?.checked_add(wait)
    }

    /// The permit comes back; whether it had been lent, so that others may be due sooner.
    pub fn put_back(&mut self, id: u64) -> bool {
        let Some(at) = self.holders.iter().position(|h| h.id == id) else { return false };
        let lent = self.holders.swap_remove(at).lent;
        self.lent -= usize::from(lent);
        lent
    }

    pub fn held(&self) -> usize {
        self.holders.len()
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn each_waiting(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter().map(|w| &w.tell)
    }

    fn has_room(&self) -> bool {
        self.holders.len() - self.lent < self.size
    }

    fn hold(&mut self, id: u64, spent: u64, since: Instant) -> u64 {
        self.account = self.account.max(spent);
        self.holders.push(Holder { id, since, lent: false });
        id
    }

    fn lend(&mut self) {
        if let Some(oldest) = self.holders.iter_mut().filter(|h| !h.lent).min_by_key(|h| h.since) {
            oldest.lent = true;
            self.lent += 1;
        }
    }
}

#[cfg(test)]
mod tests;
