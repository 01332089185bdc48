//! How soon a thread gets a CPU that others compute on.

mod beat;
mod long_runs;

pub use beat::{Computing, computing, start_beat};
pub use long_runs::LONG;
use long_runs::LongRuns;
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// What a thread that answers wants to run before others may, in nanoseconds: the least
/// that Linux takes.
#[cfg(target_os = "linux")]
const SHORT_NS: u64 = 100_000;

/// Let the calling thread take short turns: when it wakes, it does not wait until one that
/// computes (a load, a trial, the interpreter at something else) has had its own, which
/// lasts until the next tick of the kernel's clock, 4 ms say. Its share of the CPU stays
/// as it is, and nobody's leave is needed.
///
/// Linux has this since 6.12 (`sched_setattr(2)`: `sched_runtime` of `SCHED_OTHER`);
/// elsewhere nothing changes.
pub fn take_short_turns() {
    SERVES.set(true);
    #[cfg(target_os = "linux")]
    linux::take_short_turns();
}

/// Whether the calling thread asked for short turns: it is there to answer, and for nothing else.
pub fn serves() -> bool {
    SERVES.get()
}

/// How much less a thread counts that runs what takes long: a third of the share of one that answers, while
/// both want the same CPU. That models of long runs keep getting on beside those of short ones matters more
/// than another third.
#[cfg(target_os = "linux")]
const OF_LONG_RUNS: libc::c_int = 5;

/// The same of one that decodes large bodies: a tenth.
#[cfg(target_os = "linux")]
const OF_LARGE_BODIES: libc::c_int = 10;

/// Let those that answer small requests go before the calling thread, which decodes large bodies: it
/// counts less, and whoever takes short turns interrupts it when it wakes. It can't be taken back, and
/// what the thread holds of locks must be brief.
///
/// Elsewhere than on Linux niceness is the whole process's, and nothing changes.
pub fn give_way() {
    #[cfg(target_os = "linux")]
    linux::give_way(OF_LARGE_BODIES);
}

thread_local! {
    static SERVES: Cell<bool> = const { Cell::new(false) };
    static RUNS: RefCell<LongRuns> = RefCell::default();
    static COMPUTES: RefCell<Option<Computing>> = const { RefCell::new(None) };
}

/// The calling thread runs a model and answers, until [`note_run`]. Where that is known to take long, those
/// who answer get the CPU meanwhile: see [`computing`].
pub fn begin_run() {
    if RUNS.with_borrow(LongRuns::known) {
        COMPUTES.set(Some(computing()));
    }
}

/// The calling thread has run a model, which took `took`. Where what it computes for a run is long, time
/// after time, it gives way from now on: then whoever reads the sockets does not wait for its turn to end.
/// Whether it began to with this run.
pub fn note_run(took: Duration) -> bool {
    COMPUTES.set(None);
    RUNS.with_borrow_mut(|runs| {
        let found = runs.ended(took) && computed().is_some_and(|computed| runs.look(computed));
        #[cfg(target_os = "linux")]
        if found {
            linux::give_way(OF_LONG_RUNS);
        }
        found
    })
}

/// What the calling thread has computed since it began.
fn computed() -> Option<Duration> {
    #[cfg(target_os = "linux")]
    return linux::computed();
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use super::SHORT_NS;
    use std::mem::{size_of, zeroed};
    use std::time::Duration;

    const THIS_THREAD: libc::pid_t = 0;
    const NO_FLAGS: libc::c_uint = 0;
    const MOST_NICENESS: libc::c_int = 19;
    /// The turns that everybody has who asked for none.
    const USUAL: u64 = 0;

    pub fn take_short_turns() {
        // What can't be read or is forbidden stays as it is: threads work with long turns too.
        if let Some(mut attributes) = attributes()
            && attributes.sched_policy == libc::SCHED_OTHER as u32
        {
            attributes.sched_runtime = SHORT_NS;
            let _ = set(&attributes);
        }
    }

    pub fn give_way(niceness: libc::c_int) {
        if let Some(mut attributes) = attributes() {
            attributes.sched_nice = (attributes.sched_nice + niceness).min(MOST_NICENESS);
            attributes.sched_runtime = USUAL;
            // One that is forbidden changes nothing.
            let _ = set(&attributes);
        }
    }

    pub fn computed() -> Option<Duration> {
        // SAFETY: plain numbers, of which all zeros is a value.
        let mut time: libc::timespec = unsafe { zeroed() };
        // SAFETY: the kernel writes to one `timespec`, which is there.
        let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        let seconds = u64::try_from(time.tv_sec).ok()?;
        let nanos = u32::try_from(time.tv_nsec).ok()?;
        (failed == 0).then(|| Duration::new(seconds, nanos))
    }

    pub fn attributes() -> Option<libc::sched_attr> {
        let size = size_of::<libc::sched_attr>() as libc::c_uint;
        // SAFETY: plain numbers, of which all zeros is a value.
        let mut attributes: libc::sched_attr = unsafe { zeroed() };
        // SAFETY: the kernel writes at most `size` bytes to where they have room.
        let failed = unsafe {
            libc::syscall(libc::SYS_sched_getattr, THIS_THREAD, &raw mut attributes, size, NO_FLAGS)
        };
        (failed == 0).then_some(attributes)
    }

    fn set(attributes: &libc::sched_attr) -> bool {
        // SAFETY: the kernel reads the bytes that `size` in them says, all of which are there.
        unsafe { libc::syscall(libc::SYS_sched_setattr, THIS_THREAD, &raw const *attributes, NO_FLAGS) == 0 }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_gives_way_is_alone_in_it() {
        let before = linux::attributes().unwrap();
        let after = std::thread::spawn(|| {
            give_way();
            linux::attributes().unwrap()
        })
        .join()
        .unwrap();
        assert_eq!(after.sched_nice, (before.sched_nice + OF_LARGE_BODIES).min(19));
        assert_eq!(linux::attributes().unwrap().sched_nice, before.sched_nice);
    }

    #[test]
    fn a_thread_gives_way_whose_runs_compute_long() {
        let (gave_way, nice, turns) = std::thread::spawn(|| {
            take_short_turns();
            let before = linux::attributes().unwrap();
            let mut gave_way = 0;
            for _ in 0..4 {
                let began = linux::computed().unwrap();
                while linux::computed().unwrap() - began < Duration::from_millis(30) {}
                gave_way += u32::from(note_run(Duration::from_millis(30)));
            }
            let after = linux::attributes().unwrap();
            (gave_way, after.sched_nice - before.sched_nice, after.sched_runtime)
        })
        .join()
        .unwrap();
        assert!(!serves());
        assert_eq!(gave_way, 1);
        let most = 19 - linux::attributes().unwrap().sched_nice;
        assert_eq!(nice, OF_LONG_RUNS.min(most));
        assert_ne!(turns, SHORT_NS);
    }

    #[test]
    fn a_thread_that_waits_for_another_process_does_not() {
        let nice = std::thread::spawn(|| {
            let before = linux::attributes().unwrap().sched_nice;
            assert!((0..100).all(|_| !note_run(Duration::from_secs(1))));
            linux::attributes().unwrap().sched_nice - before
        });
        assert_eq!(nice.join().unwrap(), 0);
    }

    #[test]
    fn the_calling_thread_alone_has_short_turns_and_keeps_its_policy() {
        let before = linux::attributes().unwrap();
        let (short, nice) = std::thread::spawn(|| {
            take_short_turns();
            let after = linux::attributes().unwrap();
            (after.sched_runtime, after.sched_nice)
        })
        .join()
        .unwrap();
        assert_eq!(nice, before.sched_nice);
        // Kernels that know no turns tell of none.
        assert!(short == SHORT_NS || (short, before.sched_runtime) == (0, 0), "{short} ns");
        assert_eq!(linux::attributes().unwrap().sched_runtime, before.sched_runtime);
    }
}
