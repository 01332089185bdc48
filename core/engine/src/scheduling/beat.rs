//! Times at which the scheduler looks anew who should have a CPU, more often than the kernel's clock
//! gives them.
//!
//! A thread that answers interrupts one that computes as soon as it wakes, unless it has just had more
//! than its share; then it waits, and when its turn has come again nobody looks until the kernel's next
//! tick, up to 4 ms later. A thread that wakes for a moment makes the scheduler look: one that sleeps has
//! always had less than its share.

use parking_lot::Mutex;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, Thread};
use std::time::Duration;

/// How often, while anything computes.
const BEAT: Duration = Duration::from_millis(1);
/// Beats without anything that computes, before the thread sleeps: work that comes piece after piece
/// wakes it once.
const LINGER: u32 = 10;

static BEATS: Beats = Beats::new();

/// Start the thread of [`computing`], once for the process. It takes over the caller's priority, which has to
/// be the usual one.
///
/// # Errors
/// That no thread can be had.
pub fn start_beat() -> io::Result<()> {
    if cfg!(target_os = "linux") { BEATS.start() } else { Ok(()) }
}

/// The scheduler looks every millisecond who should have the CPU, for as long as the result lives: for
/// what takes milliseconds of it. Where something computes already it costs two additions, else a wake.
/// Nothing changes where no thread for it was started, nor elsewhere than on Linux.
#[must_use]
pub fn computing() -> Computing {
    BEATS.begin();
    Computing(())
}

/// Something computes until this is dropped. See [`computing`].
#[derive(Debug)]
pub struct Computing(());

impl Drop for Computing {
    fn drop(&mut self) {
        BEATS.end();
    }
}

/// A thread that wakes and sleeps again, while it is asked to.
#[derive(Debug)]
struct Beats {
    asked: AtomicUsize,
    sleeps: AtomicBool,
    /// How often it woke.
    beaten: AtomicU64,
    /// None until it was started.
    thread: Mutex<Option<Thread>>,
}

impl Beats {
    const fn new() -> Self {
        Beats {
            asked: AtomicUsize::new(0),
            sleeps: AtomicBool::new(true),
            beaten: AtomicU64::new(0),
            thread: Mutex::new(None),
        }
    }

    fn start(&'static self) -> io::Result<()> {
        let mut thread = self.thread.lock();
        if thread.is_none() {
            let named = thread::Builder::new().name("serving-beat".into());
            *thread = Some(named.spawn(|| self.beat())?.thread().clone());
        }
        Ok(())
    }

    fn begin(&self) {
        self.asked.fetch_add(1, SeqCst);
        if self.sleeps.swap(false, SeqCst)
            && let Some(thread) = &*self.thread.lock()
        {
            thread.unpark();
        }
    }

    fn end(&self) {
        self.asked.fetch_sub(1, SeqCst);
    }

    fn beat(&self) {
        #[cfg(target_os = "linux")]
        super::linux::take_short_turns();
        loop {
            let mut idle = 0;
            while idle < LINGER {
                thread::sleep(BEAT);
                self.beaten.fetch_add(1, SeqCst);
                idle = if self.asked.load(SeqCst) > 0 { 0 } else { idle + 1 };
            }
            self.sleeps.store(true, SeqCst);
            // Who began just before saw it awake.
            if self.asked.load(SeqCst) > 0 {
                self.sleeps.store(false, SeqCst);
            }
            while self.sleeps.load(SeqCst) {
                thread::park();
            }
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::time::Instant;

    fn until(what: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !what() {
            assert!(Instant::now() < end);
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn it_beats_while_anything_computes_and_sleeps_otherwise() {
        static OWN: Beats = Beats::new();
        OWN.start().unwrap();
        let beaten = || OWN.beaten.load(SeqCst);
        for _ in 0..3 {
            OWN.begin();
            OWN.begin();
            OWN.end();
            let before = beaten();
            until(|| beaten() > before + u64::from(LINGER) * 2);
            assert!(!OWN.sleeps.load(SeqCst));
            OWN.end();
            until(|| OWN.sleeps.load(SeqCst));
            let after = beaten();
            thread::sleep(BEAT * 10);
            assert_eq!(beaten(), after);
        }
    }

    #[test]
    fn many_that_come_and_go_leave_nothing_behind_and_each_is_heard() {
        static OWN: Beats = Beats::new();
        OWN.start().unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for turn in 0..200 {
                        OWN.begin();
                        if turn % 50 == 0 {
                            let before = OWN.beaten.load(SeqCst);
                            until(|| OWN.beaten.load(SeqCst) > before);
                            // Long enough for it to fall asleep in between.
                            thread::sleep(BEAT);
                        }
                        OWN.end();
                        if turn % 50 == 25 {
                            thread::sleep(BEAT * (LINGER + 3));
                        }
                    }
                });
            }
        });
        assert_eq!(OWN.asked.load(SeqCst), 0);
        until(|| OWN.sleeps.load(SeqCst));
    }
}
