//! Turns of a connection. A socket that always has more to take or to give, as a large body on a fast
//! network has, would keep its I/O thread until the body is over: so much in one go, then others.

use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::task::yield_now;

/// What is read or written in one go: some 0.1 ms of work.
const BYTES: usize = 256 << 10;

#[derive(Default)]
pub struct Turns {
    /// Since the socket last had to wait, or others had their turn.
    moved: usize,
    others: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Turns {
    /// Ready as long as the turn lasts, and again after everybody else had one: also those of whom the
    /// system has to be asked.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.moved >= BYTES {
            ready!(self.others.get_or_insert_with(|| Box::pin(yield_now())).as_mut().poll(cx));
            self.others = None;
            self.moved = 0;
        }
        Poll::Ready(())
    }

    pub fn moved(&mut self, bytes: usize) {
        self.moved += bytes;
    }

    /// The socket has or takes no more now.
    pub fn waits(&mut self) {
        self.moved = 0;
        self.others = None;
    }
}

/// As much of it as is written in one go.
pub fn first(bytes: &[u8]) -> &[u8] {
    bytes.get(..BYTES).unwrap_or(bytes)
}

/// The same of many: whole ones, of which the first at least, however long.
pub fn first_of<'a, 'b>(slices: &'a [IoSlice<'b>]) -> &'a [IoSlice<'b>] {
    let mut sum = 0;
    let fitting = slices.iter().take_while(|slice| {
        sum += slice.len();
        sum <= BYTES
    });
    &slices[..fitting.count().max(1).min(slices.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_ends_after_so_many_bytes_and_others_have_theirs_before_the_next() {
        let mut turns = Turns::default();
        for _ in 0..4 {
            std::future::poll_fn(|cx| {
                assert!(turns.poll(cx).is_ready());
                Poll::Ready(())
            })
            .await;
            turns.moved(BYTES / 4);
        }
        let other = tokio::spawn(async {});
        std::future::poll_fn(|cx| turns.poll(cx)).await;
        assert!(other.is_finished());
        std::future::poll_fn(|cx| {
            assert!(turns.poll(cx).is_ready(), "a new turn");
            Poll::Ready(())
        })
        .await;
    }

    #[test]
    fn a_socket_that_had_to_wait_begins_a_turn() {
        let mut turns = Turns::default();
        turns.moved(BYTES);
        turns.waits();
        assert!(turns.poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready());
    }

    #[test]
    fn what_is_written_in_one_go_is_never_nothing() {
        let long = vec![0; BYTES + 1];
        assert_eq!((first(&long).len(), first(&long[..3]).len()), (BYTES, 3));
        let of = |sizes: &[usize]| {
            let slices: Vec<_> = sizes.iter().map(|size| IoSlice::new(&long[..*size])).collect();
            first_of(&slices).len()
        };
        assert_eq!((of(&[]), of(&[BYTES + 1, 1]), of(&[1, BYTES - 1, 1]), of(&[1, BYTES])), (0, 1, 2, 1));
    }
}
