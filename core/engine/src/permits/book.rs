//! Who runs, who waits, and whose right to run has been lent on. Pure: time is an argument.
//!
//! A run that goes on longer than others should wait for it lends its permit: it runs on, and
//! one who waits runs beside it. So an endless run costs others the wait for the loan and then
//! a share of the CPUs, never their turn. Every `size` loans that are out make the next ones
//! take once as long again, so that many long runs that are all as they should be do not end
//! up all at once on the CPUs.
//!
//! Short runs wait less: where nobody's permit has come back for some of a waiter's own run times,
//! a long run is in the way, and the short one runs beside it. There are `size` places for that, and
//! one that comes back lets nobody in but the next short one. Short is relative: who holds such a place
//! for some of a still shorter one's run times is long to that, which runs beside both.

use std::time::{Duration, Instant};

/// After which a permit is lent, unless told otherwise.
pub const LEND_AFTER: Duration = Duration::from_secs(1);

/// So many of its own run times a short run waits behind a long one, and no less than this.
const RUNS: u32 = 4;
const LEAST_WAIT: Duration = Duration::from_millis(1);
/// So many times `size` may run beside others, each shorter than the last: from [`LEND_AFTER`] down
/// to [`LEAST_WAIT`] by [`RUNS`] there is room for no more.
const STEPS: usize = 5;

/// Who asks: what is on their account, and how long a run of theirs takes (`None`: not known).
#[derive(Clone, Copy, Debug, Default)]
pub struct Asker {
    pub spent: u64,
    pub usual: Option<Duration>,
}

/// `T` is how whoever waits is told.
#[derive(Debug)]
pub struct Book<T> {
    size: usize,
    /// `None`: never.
    lend_after: Option<Duration>,
    holders: Vec<Holder>,
    /// Of the holders: those who lent theirs on, and short runs beside long ones.
    lent: usize,
    beside: usize,
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
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Own,
    Lent,
    Beside,
    /// What nobody waits for, beside all others.
    Spare,
}

#[derive(Debug)]
struct Waiter<T> {
    /// Ascending: the order of arrival.
    id: u64,
    asker: Asker,
    tell: T,
}

impl<T> Book<T> {
    pub fn new(size: usize) -> Self {
        Book {
            size: size.max(1),
            lend_after: Some(LEND_AFTER),
            holders: Vec::new(),
            lent: 0,
            beside: 0,
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
            self.hold(self.ids, spent, now, Place::Own)
        })
    }

    /// A permit for what nobody waits for: it keeps nobody from running, and is had only where one is free,
    /// nobody waits, and no more than a quarter of all, one at least, is used so.
    pub fn take_spare(&mut self, now: Instant) -> Option<u64> {
        let most = self.size.div_ceil(4);
        let is_free = self.has_room() && self.waiting.is_empty() && self.since(Place::Spare).count() < most;
        is_free.then(|| {
            self.ids += 1;
            self.holders.push(Holder { id: self.ids, since: now, place: Place::Spare });
            self.ids
        })
    }

    /// How many have asked to run so far.
    pub fn asked(&self) -> u64 {
        self.ids
    }

    /// Stand in line; [`Book::grant`] says whose turn it is. The id is the permit's, later.
    pub fn wait(&mut self, asker: Asker, tell: T) -> u64 {
        self.ids += 1;
        self.waiting.push(Waiter { id: self.ids, asker, tell });
        self.ids
    }

    /// The next to run: whoever waits with the least on their account. To be asked until
    /// there is none.
    pub fn grant(&mut self, now: Instant) -> Option<T> {
        let due = self.loan_due().is_some_and(|due| due <= now);
        if self.has_room() || due {
            let next = self.next(|_| true)?;
            if !self.has_room() {
                self.lend();
            }
            return Some(self.admit(next, now, Place::Own));
        }
        let next = self.next(|waiter| self.beside_due(waiter).is_some_and(|due| due <= now))?;
        Some(self.admit(next, now, Place::Beside))
    }

    fn next(&self, may: impl Fn(&Waiter<T>) -> bool) -> Option<usize> {
        let allowed = (0..self.waiting.len()).filter(|&i| may(&self.waiting[i]));
        allowed.min_by_key(|&i| (self.waiting[i].asker.spent, self.waiting[i].id))
    }

    fn admit(&mut self, waiter: usize, now: Instant, place: Place) -> T {
        let Waiter { id, asker, tell } = self.waiting.swap_remove(waiter);
        self.hold(id, asker.spent, now, place);
        tell
    }

    /// When the next of those who wait may run, unless a permit comes back before; `None`: never.
    pub fn due(&self) -> Option<Instant> {
        let beside = self.waiting.iter().filter_map(|waiter| self.beside_due(waiter)).min();
        self.loan_due().into_iter().chain(beside).min()
    }

    /// When the next permit is lent to one who waits.
    fn loan_due(&self) -> Option<Instant> {
        let patience = u32::try_from(1 + self.lent / self.size).unwrap_or(u32::MAX);
        let wait = self.lend_after?.saturating_mul(patience);
        self.own().min()?.checked_add(wait)
    }

    /// When a short run may begin beside long ones; never one that takes as long as a loan.
    fn beside_due(&self, waiter: &Waiter<T>) -> Option<Instant> {
        let wait = waiter.asker.usual?.saturating_mul(RUNS).max(LEAST_WAIT);
        let is_short = self.lend_after.is_some_and(|after| wait < after);
        if !is_short || self.beside >= self.size.saturating_mul(STEPS) {
            return None;
        }
        let since = self.own().max()?;
        self.full_since().map_or(since, |full| full.max(since)).checked_add(wait)
    }

    /// Since when the places beside are taken by those who took theirs last; `None`: one is free.
    fn full_since(&self) -> Option<Instant> {
        if self.beside < self.size {
            return None;
        }
        let mut taken: Vec<_> = self.since(Place::Beside).collect();
        taken.sort_unstable();
        taken.get(self.beside - self.size).copied()
    }

    /// Since when those run who keep others from it.
    fn own(&self) -> impl Iterator<Item = Instant> {
        self.since(Place::Own)
    }

    fn since(&self, place: Place) -> impl Iterator<Item = Instant> {
        self.holders.iter().filter(move |h| h.place == place).map(|h| h.since)
    }

    /// The permit comes back; whether others may be due sooner or later now than they think.
    pub fn put_back(&mut self, id: u64) -> bool {
        let Some(at) = self.holders.iter().position(|h| h.id == id) else { return false };
        let place = self.holders.swap_remove(at).place;
        self.lent -= usize::from(place == Place::Lent);
        self.beside -= usize::from(place == Place::Beside);
        !matches!(place, Place::Own | Place::Spare)
    }

    /// How many may run at once, but for those lent.
    pub fn size(&self) -> usize {
        self.size
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
        self.own().count() < self.size
    }

    fn hold(&mut self, id: u64, spent: u64, since: Instant, place: Place) -> u64 {
        self.account = self.account.max(spent);
        self.beside += usize::from(place == Place::Beside);
        self.holders.push(Holder { id, since, place });
        id
    }

    fn lend(&mut self) {
        let own = self.holders.iter_mut().filter(|h| h.place == Place::Own);
        if let Some(oldest) = own.min_by_key(|h| h.since) {
            oldest.place = Place::Lent;
            self.lent += 1;
        }
    }
}

#[cfg(test)]
mod tests;
