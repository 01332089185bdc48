//! How fast a peer takes what is sent to it: a least average rate, counted over the time
//! that it keeps the server waiting. Quick answers to a slow client are not waiting.

use std::time::Duration;

/// Bytes a second that a peer takes at least.
const SLOWEST: u64 = 1 << 10;

/// Of one receiver: a stream with its window, or a connection with its socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    waited: Duration,
    taken: u64,
}

impl Pace {
    /// It was waited for; `limit` of it, and too few bytes taken meanwhile, are too much.
    pub fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// It took some: once that is enough for `limit`, the count begins anew.
    pub fn took(&mut self, bytes: u64, limit: Duration) {
        self.taken += bytes;
        if self.taken >= least(limit) {
            *self = Pace::default();
        }
    }

    /// How much longer it may be waited for; zero: it is too slow.
    pub fn left(&self, limit: Duration) -> Duration {
        limit.saturating_sub(self.waited)
    }
}

/// A connection whose socket takes no more. Between two moments at which it does again,
/// megabytes may pass: it is what the peer acknowledges that counts.
#[derive(Debug, Default)]
pub struct FullSocket {
    pace: Pace,
    since: Duration,
    looked: Duration,
    taken: u64,
}

impl FullSocket {
    /// How much longer the peer may be waited for. Times are since the connection's
    /// beginning: when the socket became full, and now; `taken`: all that it ever took.
    pub fn look(&mut self, since: Duration, now: Duration, taken: u64, limit: Duration) -> Duration {
        if self.since != since {
            *self = FullSocket { pace: Pace::default(), since, looked: since, taken };
        }
        self.pace.waited(now.saturating_sub(self.looked));
        self.pace.took(taken.saturating_sub(self.taken), limit);
        (self.looked, self.taken) = (now, taken);
        self.pace.left(limit)
    }
}

/// What must be taken within `limit`. Pure.
fn least(limit: Duration) -> u64 {
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).saturating_mul(SLOWEST).div_ceil(1000).max(1)
}

/// Bytes in a socket's send buffer that the peer has not acknowledged; 0 where the system
/// does not say.
#[cfg(target_os = "linux")]
pub fn unacknowledged(descriptor: i32) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the call writes one int, into `bytes`; a descriptor that is closed, or no
    // socket any more, is refused or gives a number about something else, nothing worse.
    let done = unsafe { libc::ioctl(descriptor, libc::TIOCOUTQ, &raw mut bytes) };
    if done == 0 { u64::try_from(bytes).unwrap_or(0) } else { 0 }
}

#[cfg(not(target_os = "linux"))]
pub fn unacknowledged(_descriptor: i32) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// Whether a peer is given up that takes `bytes` after each wait of `seconds`, many times.
    fn given_up(seconds: f64, bytes: u64) -> bool {
        let mut pace = Pace::default();
        (0..1000).any(|_| {
            pace.waited(Duration::from_secs_f64(seconds));
            let slow = pace.left(LIMIT).is_zero();
            pace.took(bytes, LIMIT);
            slow
        })
    }

    #[test]
    fn fault_111_a_steady_reader_is_never_given_up_and_a_trickle_always() {
        for (seconds, bytes, expected) in [
            (30.0, 0, true),
            (10.0, 0, true),
            (1.0, 0, true),
            (1.0, 1, true),
            (10.0, 100, true),
            (1.0, 900, true),
            (1.0, 1100, false),
            (1.0, 40_000, false),
            (10.0, 400_000, false),
            (29.0, 1 << 20, false),
            (31.0, 1 << 20, true),
        ] {
            assert_eq!(given_up(seconds, bytes), expected, "{bytes} bytes after each {seconds} s");
        }
    }

    #[test]
    fn fault_111_a_full_socket_is_given_up_by_what_the_peer_acknowledges() {
        for (rate, given_up) in [(0, true), (10, true), (900, true), (2000, false), (40_000, false)] {
            let mut socket = FullSocket::default();
            let slow = (6..600).any(|second| {
                let at = Duration::from_secs(second);
                socket.look(Duration::from_secs(5), at, 1000 + rate * second, LIMIT).is_zero()
            });
            assert_eq!(slow, given_up, "{rate} bytes a second");
        }
    }

    #[test]
    fn a_socket_that_took_more_meanwhile_is_waited_for_anew() {
        let mut socket = FullSocket::default();
        let look = |socket: &mut FullSocket, since, now| {
            socket.look(Duration::from_secs(since), Duration::from_secs(now), 0, LIMIT)
        };
        assert_eq!(look(&mut socket, 5, 30), Duration::from_secs(5));
        assert_eq!(look(&mut socket, 31, 32), Duration::from_secs(29));
        assert_eq!(look(&mut socket, 31, 61), Duration::ZERO);
    }

    #[test]
    fn what_is_left_shrinks_with_the_wait_and_is_whole_again_once_enough_is_taken() {
        let mut pace = Pace::default();
        pace.waited(Duration::from_secs(20));
        pace.took(1000, LIMIT);
        assert_eq!(pace.left(LIMIT), Duration::from_secs(10));
        pace.took(30 << 10, LIMIT);
        assert_eq!(pace.left(LIMIT), LIMIT);
        assert_eq!(least(Duration::ZERO), 1, "no wait is free");
    }
}
