//! A page of metrics on a port of clients: it is made away from the I/O threads, once for all who ask within
//! a second, whoever they are.

use super::within;
use crate::admission::Reservation;
use crate::error::Result;
use crate::offload::{Job, Offload};
use crate::stop::Stop;
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// The last page, and when it was made. Who holds it makes the next one: never are two made at once for
/// callers that wait.
#[derive(Debug)]
pub struct Scrape {
    last: Mutex<Option<(Instant, Bytes)>>,
    /// For how long a page is everybody's.
    shared: Duration,
}

impl Default for Scrape {
    fn default() -> Self {
        Scrape { last: Mutex::default(), shared: Duration::from_secs(1) }
    }
}

impl Scrape {
    /// The last page, or one by `make`, on a helper. It counts as a whole in `held` until it is sent: a
    /// client that does not read holds up pages that nobody else has any more.
    ///
    /// # Errors
    /// `Expired` at `limit`; `Full` where the budget has no room for it, or the helpers' line is; and those of
    /// `make`.
    pub async fn page(
        &self,
        offload: &Arc<Offload>,
        limit: Option<Instant>,
        mut held: Reservation,
        make: impl FnOnce(&Stop) -> Result<String> + Send + 'static,
    ) -> Result<Bytes> {
        let mut last = within(limit, async { Ok(self.last.lock().await) }).await?;
        let known = last.as_ref().filter(|(made, _)| made.elapsed() < self.shared);
        let page = if let Some((_, page)) = known {
            page.clone()
        } else {
            let bytes = last.as_ref().map_or(0, |(_, page)| page.len());
            let job = Job { bytes, client: held.client(), deadline: limit, held: () };
            let (text, ()) = offload.run(job, move |stop, ()| make(stop)).await?;
            let page = Bytes::from(text);
            *last = Some((Instant::now(), page.clone()));
            page
        };
        drop(last);
        held.take(page.len())?;
        Ok(Bytes::from_owner(Counted { page, _held: held }))
    }
}

struct Counted {
    page: Bytes,
    _held: Reservation,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Budget;
    use crate::error::{Error, ErrorCode};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_page_is_made_once_for_all_who_ask_within_a_second_and_counts_until_it_is_sent() {
        let kept = Scrape { shared: Duration::from_secs(3600), ..Scrape::default() };
        let (budget, made) = (Budget::of_messages(1000, 1000), Arc::new(AtomicUsize::new(0)));
        let offload = Offload::new(1);
        let ask = async |scrape: &Scrape, letter: &'static str| {
            let made = made.clone();
            let make = move |_: &Stop| {
                made.fetch_add(1, Ordering::Relaxed);
                Ok(letter.repeat(400))
            };
            scrape.page(&offload, None, budget.reserve(), make).await
        };
        let (one, other) = tokio::join!(ask(&kept, "a"), ask(&kept, "b"));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!((one.len(), &one, made.load(Ordering::Relaxed)), (400, &other, 1));
        assert_eq!(budget.used(), 800);
        assert_eq!(ask(&kept, "c").await.unwrap_err().code, ErrorCode::Full);
        drop((one, other));
        assert_eq!(budget.used(), 0);
        let old = Scrape { shared: Duration::ZERO, ..Scrape::default() };
        assert_eq!(ask(&old, "a").await.unwrap()[0], b'a');
        assert_eq!(ask(&old, "b").await.unwrap()[0], b'b');
    }

    #[tokio::test]
    async fn who_waits_for_a_page_leaves_at_his_deadline_and_one_that_failed_is_made_anew() {
        let (scrape, offload, budget) = (Scrape::default(), Offload::new(1), Budget::new(1000));
        let busy = scrape.last.lock().await;
        let soon = Some(Instant::now() + Duration::from_millis(10));
        let late = scrape.page(&offload, soon, budget.reserve(), |_| Ok(String::new())).await;
        assert_eq!(late.unwrap_err().code, ErrorCode::Expired);
        drop(busy);
        let failed = scrape.page(&offload, None, budget.reserve(), |_| Err(Error::bad("no"))).await;
        assert_eq!(failed.unwrap_err().message, "no");
        let page = scrape.page(&offload, None, budget.reserve(), |_| Ok("yes".into())).await;
        assert_eq!(page.unwrap(), "yes");
    }
}
