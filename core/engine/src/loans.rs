//! Memory that runs on texts take. A text of two bytes becomes a Python object and a string of
//! onnxruntime's, and both again where it is answered: what a run takes for that is borrowed
//! from the process's budget while it lasts, and a run that does not fit waits for others to end.
//!
//! The first of them always runs, as an empty line takes a request of any size: else requests
//! that fill the budget would wait for the room they hold themselves. Whoever waits holds
//! neither a permit nor a lock.

use crate::admission::{Budget, Reservation};
use parking_lot::{Condvar, Mutex};
use std::ops::{Add, AddAssign, SubAssign};
use std::sync::Arc;
use std::time::Duration;

/// Bytes that a text takes beside its own, in and out: twice a `str` with its place in an array,
/// and a `std::string`. Measured at the peak of a run of a million: 209.
const TEXT: usize = 220;
/// Copies of a text's bytes at once: two in Python, two of onnxruntime's, and what is answered.
/// What is gathered counts by itself.
const COPIES: usize = 5;
/// Between two looks for room that nobody tells of.
const LOOK: Duration = Duration::from_millis(50);
/// A run that takes less is not counted.
const COUNTED: usize = 256 << 10;

/// What requests bring for a run to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// String elements, of the inputs or of the outputs, whichever are more.
    pub texts: usize,
    /// Bytes of the inputs that are texts: only these become objects.
    pub text_bytes: usize,
    /// Bytes of all inputs.
    pub bytes: usize,
}

impl Weight {
    /// Whether a batch has room for it, by its texts and by all its bytes.
    pub fn within(self, room: Weight) -> bool {
        self.texts <= room.texts && self.bytes <= room.bytes
    }

    /// What falls to the rows from `start` of `total`. The parts of a request sum up to it.
    pub fn share(self, start: usize, rows: usize, total: usize) -> Weight {
        let part = |all: usize| {
            let until = |row: usize| (all as u128 * row as u128 / total.max(1) as u128) as usize;
            until(start + rows) - until(start)
        };
        if rows == total {
            return self;
        }
        Weight { texts: part(self.texts), text_bytes: part(self.text_bytes), bytes: part(self.bytes) }
    }

    /// Bytes that its texts take while they run.
    pub fn cost(self) -> usize {
        match self.texts {
            0 => 0,
            texts => texts.saturating_mul(TEXT).saturating_add(self.text_bytes.saturating_mul(COPIES)),
        }
    }
}

impl Add for Weight {
    type Output = Weight;

    fn add(self, other: Weight) -> Weight {
        Weight {
            texts: self.texts.saturating_add(other.texts),
            text_bytes: self.text_bytes.saturating_add(other.text_bytes),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

impl AddAssign for Weight {
    fn add_assign(&mut self, other: Weight) {
        *self = *self + other;
    }
}

impl SubAssign for Weight {
    fn sub_assign(&mut self, other: Weight) {
        self.texts = self.texts.saturating_sub(other.texts);
        self.text_bytes = self.text_bytes.saturating_sub(other.text_bytes);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// Who has borrowed, over all queues of the process.
#[derive(Debug)]
pub struct Loans {
    budget: Arc<Budget>,
    out: Mutex<Out>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Out {
    loans: usize,
    /// How many have ended: who is refused waits for the next.
    ended: u64,
}

/// What a run may hold of texts.
#[derive(Debug)]
pub enum Lent {
    /// Room for all that was asked for.
    Enough(Option<Loan>),
    /// For one request, whatever that takes: nobody else has any.
    One(Loan),
    /// None now: wait, with this, for another run to end.
    Wait(u64),
}

impl Loans {
    pub fn new(budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Loans { budget, out: Mutex::default(), ended: Condvar::new() })
    }

    /// Borrow for a run of `weight`, if there is room.
    pub fn ask(self: &Arc<Self>, weight: Weight) -> Lent {
        if weight.cost() < COUNTED {
            return Lent::Enough(None);
        }
        let mut out = self.out.lock();
        let mut reservation = self.budget.reserve();
        let enough = reservation.take(weight.cost()).is_ok();
        if !enough && out.loans > 0 {
            return Lent::Wait(out.ended);
        }
        out.loans += 1;
        let bytes = if enough { weight.cost() } else { 0 };
        let loan = Loan { loans: self.clone(), reservation, bytes };
        if enough { Lent::Enough(Some(loan)) } else { Lent::One(loan) }
    }

    /// Wait until a run has ended since [`Loans::ask`] said to wait, and not long: room may come
    /// from elsewhere, too.
    pub fn wait(&self, seen: u64) {
        let mut out = self.out.lock();
        if out.ended == seen && out.loans > 0 {
            self.ended.wait_for(&mut out, LOOK);
        }
    }
}

/// What a run has borrowed; dropping it gives it back.
#[derive(Debug)]
pub struct Loan {
    loans: Arc<Loans>,
    reservation: Reservation,
    bytes: usize,
}

impl Loan {
    /// Make it what the run really takes.
    pub fn settle(&mut self, weight: Weight) {
        let cost = weight.cost();
        if cost > self.bytes {
            self.reservation.hold(cost - self.bytes);
        } else {
            self.reservation.give_back(self.bytes - cost);
        }
        self.bytes = cost;
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // Before anybody looks whether there is room.
        self.reservation.give_back(self.bytes);
        let mut out = self.loans.out.lock();
        out.loans -= 1;
        out.ended += 1;
        self.loans.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MUCH: Weight = weight(10_000, 60_000);

    /// Of texts alone.
    const fn weight(texts: usize, bytes: usize) -> Weight {
        Weight { texts, text_bytes: bytes, bytes }
    }

    fn loan(lent: Lent) -> Loan {
        match lent {
            Lent::Enough(Some(loan)) | Lent::One(loan) => loan,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fault_110_a_run_that_does_not_fit_waits_until_another_has_ended() {
        let loans = Loans::new(Budget::new(MUCH.cost() * 3 / 2));
        let first = loan(loans.ask(MUCH));
        assert_eq!(loans.budget.used(), MUCH.cost());
        let Lent::Wait(seen) = loans.ask(MUCH) else { panic!("there is room for one") };
        let other = {
            let loans = loans.clone();
            std::thread::spawn(move || {
                loans.wait(seen);
                matches!(loans.ask(MUCH), Lent::Enough(Some(_)))
            })
        };
        drop(first);
        assert!(other.join().unwrap());
        assert_eq!(loans.budget.used(), 0);
    }

    #[test]
    fn fault_110_the_only_run_goes_on_where_requests_fill_the_budget_themselves() {
        let loans = Loans::new(Budget::new(MUCH.cost()));
        let mut waiting = loans.budget.reserve();
        waiting.take(1000).unwrap();
        let Lent::One(mut one) = loans.ask(MUCH) else { panic!("nobody else runs") };
        let request = weight(5_000, 30_000);
        one.settle(request);
        assert_eq!(loans.budget.used(), 1000 + request.cost());
        assert!(matches!(loans.ask(MUCH), Lent::Wait(_)));
        drop(one);
        assert_eq!(loans.budget.used(), 1000);
    }

    #[test]
    fn small_runs_borrow_nothing() {
        let loans = Loans::new(Budget::new(0));
        assert!(matches!(loans.ask(weight(100, 1000)), Lent::Enough(None)));
        assert!(matches!(loans.ask(weight(0, usize::MAX)), Lent::Enough(None)));
    }

    #[test]
    fn fault_110_numbers_beside_texts_cost_nothing() {
        let image = Weight { bytes: 64 << 20, ..weight(1, 20) };
        assert_eq!(image.cost(), weight(1, 20).cost());
    }

    #[test]
    fn the_shares_of_a_request_sum_up_to_it() {
        let whole = Weight { texts: 1003, text_bytes: 4321, bytes: 77_777 };
        let mut sum = Weight::default();
        for start in (0..101).step_by(8) {
            sum += whole.share(start, 8.min(101 - start), 101);
        }
        assert_eq!(sum, whole);
    }
}
