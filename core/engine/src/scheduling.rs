//! How soon a thread gets a CPU that others compute on.

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
    #[cfg(target_os = "linux")]
    linux::take_short_turns();
}

/// How much less the calling thread's work counts than that of threads that answer: a third of
/// their share, while both want the same CPU.
#[cfg(target_os = "linux")]
const NICENESS: libc::c_int = 5;

/// Let those that answer small requests go before the calling thread, whose work is large ones. It
/// can't be taken back, and what the thread holds of locks must be brief.
///
/// Elsewhere than on Linux niceness is the whole process's, and nothing changes.
pub fn give_way() {
    #[cfg(target_os = "linux")]
    linux::give_way();
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{NICENESS, SHORT_NS};
    use std::mem::{size_of, zeroed};

    const THIS_THREAD: libc::pid_t = 0;
    const NO_FLAGS: libc::c_uint = 0;
    const MOST_NICENESS: libc::c_int = 19;

    pub fn take_short_turns() {
        // What can't be read or is forbidden stays as it is: threads work with long turns too.
        if let Some(mut attributes) = attributes()
            && attributes.sched_policy == libc::SCHED_OTHER as u32
        {
            attributes.sched_runtime = SHORT_NS;
            let _ = set(&attributes);
        }
    }

    pub fn give_way() {
        if let Some(attributes) = attributes() {
            let niceness = (attributes.sched_nice + NICENESS).min(MOST_NICENESS);
            // SAFETY: plain numbers; 0 is the calling thread. One that is forbidden changes nothing.
            let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) };
        }
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
        assert_eq!(after.sched_nice, (before.sched_nice + NICENESS).min(19));
        assert_eq!(linux::attributes().unwrap().sched_nice, before.sched_nice);
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
