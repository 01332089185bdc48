//! Who may run now. Many models share few cores: a permit is the right to run,
//! and goes to whoever has had the least of the machine, so that no model starves
//! another however slow its neighbours are. It is lent, not owned: see [`book`].

pub mod book;

use crate::scheduling::{Computing, LONG, computing};
use book::{Asker, Book};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A holder's account: how long it has run, in nanoseconds of virtual time; and how long a
/// run of it takes, the last ones weighing most, in nanoseconds.
#[derive(Debug, Default)]
pub struct Share {
    spent: AtomicU64,
    usual: AtomicU64,
}

impl Share {
    fn note(&self, ran: Duration) {
        let ran = u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.spent.fetch_add(ran, Ordering::Relaxed);
        let usual = self.usual.load(Ordering::Relaxed);
        let counts = ran.min(usual.saturating_mul(MOST_TIMES).max(LEAST_CAP));
        let next = if usual == 0 { ran } else { usual - usual / LAST_RUNS + counts / LAST_RUNS };
        // Of two runs that end together one may stay uncounted.
        self.usual.store(next.max(1), Ordering::Relaxed);
    }

    /// What a run takes, until the first has ended. Without it a first run waits as long as a long one.
    pub fn expect(&self, usual: Duration) {
        let usual = u64::try_from(usual.as_nanos()).unwrap_or(u64::MAX).max(1);
        // Real ones know better.
        let _ = self.usual.compare_exchange(0, usual, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn usual(&self) -> Option<Duration> {
        let usual = self.usual.load(Ordering::Relaxed);
        (usual > 0).then(|| Duration::from_nanos(usual))
    }

    /// Whether a run may take so long that those who answer have to get the CPU meanwhile.
    fn is_long(&self) -> bool {
        self.usual().is_none_or(|usual| usual >= LONG)
    }
}

/// About so many runs make what is usual.
const LAST_RUNS: u64 = 8;

/// A run counts as so many times as long as usual at most, or as so many nanoseconds: one that others
/// kept from the CPU, or from the interpreter, says nothing of what the next one takes.
const MOST_TIMES: u64 = 4;
const LEAST_CAP: u64 = 100_000;

#[derive(Debug)]
pub struct Permits {
    book: Mutex<Book<Arc<Seat>>>,
    /// Nothing that nobody waits for runs until then.
    rest_until: Mutex<Option<Instant>>,
}

/// So many times as long as a spare run took none is begun, where others ran beside it.
const REST: u32 = 3;

/// Where one waits, by the book's lock.
#[derive(Debug, Default)]
struct Seat {
    granted: AtomicBool,
    wake: Condvar,
}

impl Permits {
    pub fn new(size: usize) -> Arc<Self> {
        Arc::new(Permits { book: Mutex::new(Book::new(size)), rest_until: Mutex::new(None) })
    }

    /// How many may run at once, and after how long a run lends its permit to one who waits
    /// (`None`: never). Takes effect as permits come back.
    pub fn set(&self, size: usize, lend_after: Option<Duration>) {
        let mut book = self.book.lock();
        book.set(size, lend_after);
        grant(&mut book);
        reckon(&book);
    }

    /// Wait for the right to run.
    pub fn acquire(self: &Arc<Self>, share: &Arc<Share>) -> Permit {
        let mut book = self.book.lock();
        let spent = book.account_of(share.spent.load(Ordering::Relaxed));
        share.spent.store(spent, Ordering::Relaxed);
        let (id, beside) = match book.take(spent, Instant::now()) {
            Some(id) => (id, false),
            None => wait(book, Asker { spent, usual: share.usual() }),
        };
        // It itself is long, or one that goes on beside it.
        let long = beside || share.is_long();
        Permit::new(self, share, id, Instant::now(), false, long)
    }

    /// The right to run what nobody waits for, where nobody else wants to run; it keeps nobody from it.
    /// Where others ran meanwhile, the next one has to wait three times as long as this one took: so
    /// beside others such runs take a quarter of the time at most.
    pub fn spare(self: &Arc<Self>, share: &Arc<Share>) -> Option<Permit> {
        let mut book = self.book.lock();
        let now = Instant::now();
        if self.rest_until.lock().is_some_and(|until| now < until) {
            return None;
        }
        let id = book.take_spare(now)?;
        Some(Permit::new(self, share, id, now, true, share.is_long()))
    }

    /// Those that are lent included: there may be more than may run at once.
    pub fn held(&self) -> usize {
        self.book.lock().held()
    }

    pub fn waiting(&self) -> usize {
        self.book.lock().waiting()
    }

    fn release(&self, permit: &Permit) {
        let took = permit.since.elapsed();
        if !permit.spare {
            permit.share.note(took);
        }
        let mut book = self.book.lock();
        if permit.spare && (book.asked() > permit.id || book.held() > 1) {
            let rest = Instant::now().checked_add(took.saturating_mul(REST));
            let mut until = self.rest_until.lock();
            *until = (*until).max(rest);
        }
        let is_anew = book.put_back(permit.id);
        grant(&mut book);
        if is_anew {
            reckon(&book);
        }
    }
}

/// Stand in line until a permit is free, or one is lent; and whether another run goes on beside it.
fn wait(mut book: MutexGuard<'_, Book<Arc<Seat>>>, asker: Asker) -> (u64, bool) {
    let seat = Arc::new(Seat::default());
    let id = book.wait(asker, seat.clone());
    grant(&mut book);
    while !seat.granted.load(Ordering::Relaxed) {
        match book.due() {
            Some(due) => {
                seat.wake.wait_until(&mut book, due);
            }
            None => seat.wake.wait(&mut book),
        }
        grant(&mut book);
    }
    (id, book.held() > book.size())
}

/// Hand out what is free.
fn grant(book: &mut Book<Arc<Seat>>) {
    if book.waiting() == 0 {
        return;
    }
    let now = Instant::now();
    while let Some(seat) = book.grant(now) {
        seat.granted.store(true, Ordering::Relaxed);
        seat.wake.notify_one();
    }
}

/// Have those who wait reckon anew when a permit is lent to them.
fn reckon(book: &Book<Arc<Seat>>) {
    for seat in book.each_waiting() {
        seat.wake.notify_one();
    }
}

/// The right to run now, held by value: dropping it passes it on.
#[derive(Debug)]
pub struct Permit {
    permits: Arc<Permits>,
    share: Arc<Share>,
    id: u64,
    since: Instant,
    /// For what nobody waits for.
    spare: bool,
    _computing: Option<Computing>,
}

impl Permit {
    fn new(
        permits: &Arc<Permits>,
        share: &Arc<Share>,
        id: u64,
        since: Instant,
        spare: bool,
        long: bool,
    ) -> Self {
        let (permits, share) = (permits.clone(), share.clone());
        Permit { permits, share, id, since, spare, _computing: long.then(computing) }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.release(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread::JoinHandle;

    fn share() -> Arc<Share> {
        Arc::new(Share::default())
    }

    #[test]
    fn a_first_run_waits_as_the_warm_up_foretold_and_real_ones_know_better() {
        let share = share();
        assert_eq!(share.usual(), None);
        let ms = Duration::from_millis;
        share.expect(ms(3));
        assert_eq!(share.usual(), Some(ms(3)));
        (0..100).for_each(|_| share.note(ms(1)));
        share.expect(ms(50));
        assert!(share.usual().unwrap() < ms(2));

        // A long run has the only permit.
        let permits = Permits::new(1);
        let long = permits.acquire(&Arc::default());
        let short = Arc::<Share>::default();
        short.expect(Duration::from_micros(100));
        let began = Instant::now();
        drop(permits.acquire(&short));
        assert!(began.elapsed() < book::LEND_AFTER / 2);
        drop(long);
    }

    #[test]
    fn one_run_that_was_held_up_is_not_what_is_usual_and_long_ones_become_it() {
        let share = Share::default();
        let usual = || share.usual().unwrap();
        let (short, long) = (Duration::from_micros(200), Duration::from_millis(150));
        (0..50).for_each(|_| share.note(short));
        share.note(long);
        assert!(usual() < short * 3 / 2, "{:?}", usual());
        (0..60).for_each(|_| share.note(long));
        assert!(usual() > long * 9 / 10, "{:?}", usual());
        (0..60).for_each(|_| share.note(Duration::from_nanos(1)));
        (0..200).for_each(|_| share.note(short));
        assert!(usual() > Duration::from_micros(90), "{:?}", usual());
    }

    /// Have a thread ask for a permit, and return once it waits.
    fn ask(permits: &Arc<Permits>, got: mpsc::Sender<()>) -> JoinHandle<Permit> {
        let (before, mine) = (permits.waiting(), permits.clone());
        let thread = std::thread::spawn(move || {
            let permit = mine.acquire(&share());
            got.send(()).unwrap();
            permit
        });
        while permits.waiting() == before {
            std::thread::yield_now();
        }
        thread
    }

    #[test]
    fn a_permit_that_comes_back_wakes_who_waits() {
        let permits = Permits::new(2);
        permits.set(2, None);
        let a = permits.acquire(&share());
        let _b = permits.acquire(&share());
        let (tx, rx) = mpsc::channel();
        let other = ask(&permits, tx);
        assert!(rx.try_recv().is_err());
        drop(a);
        rx.recv().unwrap();
        assert_eq!(permits.held(), 2);
        drop(other.join().unwrap());
    }

    #[test]
    fn fault_106_who_waits_wakes_by_itself_when_a_permit_is_lent() {
        let permits = Permits::new(1);
        permits.set(1, Some(Duration::from_millis(30)));
        let endless = permits.acquire(&share());
        let (tx, rx) = mpsc::channel();
        let mine = permits.clone();
        let other = std::thread::spawn(move || {
            let permit = mine.acquire(&share());
            tx.send(()).unwrap();
            permit
        });
        rx.recv_timeout(Duration::from_secs(20)).unwrap();
        drop(endless);
        drop(other.join().unwrap());
        assert_eq!(permits.held(), 0);
    }

    #[test]
    fn what_nobody_waits_for_runs_beside_others_and_keeps_nobody_from_it() {
        let permits = Permits::new(2);
        permits.set(2, None);
        let own = permits.acquire(&share());
        let spare = permits.spare(&share()).expect("one is free");
        assert!(permits.spare(&share()).is_none(), "a quarter of two, one at least");
        let other = permits.acquire(&share());
        assert_eq!(permits.held(), 3);
        drop(spare);
        assert!(permits.spare(&share()).is_none(), "none is free");
        drop((own, other));
        let until = Instant::now() + Duration::from_secs(20);
        while permits.spare(&share()).is_none() {
            assert!(Instant::now() < until);
            std::thread::yield_now();
        }
    }

    #[test]
    fn beside_others_they_have_a_quarter_of_the_time_and_alone_all_of_it() {
        let permits = Permits::new(1);
        let spare = permits.spare(&share()).expect("nobody runs");
        drop(spare);
        let spare = permits.spare(&share()).expect("nobody ran beside it");
        let took = Duration::from_millis(20);
        std::thread::sleep(took);
        drop(permits.acquire(&share()));
        let ended = Instant::now();
        drop(spare);
        let until = permits.rest_until.lock().expect("it rests");
        assert!(until >= ended + took * REST);
    }
}
