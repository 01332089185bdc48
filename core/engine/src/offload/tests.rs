use super::*;
use crate::admission::Budget;
use std::sync::mpsc;

const ONE: Rules = Rules { helpers: 1, kept: 0, waiting: 1 };

fn job<H>(held: H, deadline: Option<Instant>) -> Job<H> {
    Job { bytes: 1, client: Client { address: 1, connection: 1 }, deadline, held }
}

/// Occupy the only helper until what comes back is dropped.
async fn occupy(offload: &Arc<Offload>) -> mpsc::Sender<()> {
    let (end, ended) = mpsc::channel::<()>();
    let (began, running) = tokio::sync::oneshot::channel();
    let offload = offload.clone();
    tokio::spawn(async move {
        let work = move |_: &Stop, _: &mut ()| {
            let _ = began.send(());
            let _ = ended.recv();
            Ok(())
        };
        offload.run(job((), None), work).await
    });
    running.await.unwrap();
    end
}

fn waits(future: Pin<&mut impl Future>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

async fn idle(offload: &Offload) {
    while offload.depth() != (0, 0) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(20))
}

#[tokio::test]
async fn what_was_held_comes_back_with_the_result() {
    let offload = Offload::new(1);
    let work = |_: &Stop, held: &mut i32| Ok(std::mem::replace(held, 2));
    assert_eq!(offload.run(job(1, None), work).await, Ok((1, 2)));
    idle(&offload).await;
}

#[tokio::test]
async fn fault_105_work_whose_caller_leaves_the_line_is_not_begun_and_holds_nothing() {
    let (offload, budget) = (Offload::with(ONE), Budget::new(100));
    let end = occupy(&offload).await;
    let mut held = budget.reserve();
    held.take(50).unwrap();
    let never = |_: &Stop, _: &mut _| -> Result<()> { panic!("nobody waits for this") };
    {
        let mut waiting = std::pin::pin!(offload.run(job(held, None), never));
        assert!(waits(waiting.as_mut()));
        assert_eq!((offload.depth(), budget.used()), ((1, 1), 50));
    }
    assert_eq!((offload.depth(), budget.used()), ((0, 1), 0));
    drop(end);
    idle(&offload).await;
}

#[tokio::test]
async fn fault_105_work_that_runs_stops_when_its_caller_leaves() {
    let (offload, budget) = (Offload::with(ONE), Budget::new(100));
    let mut held = budget.reserve();
    held.take(50).unwrap();
    let (began, running) = tokio::sync::oneshot::channel();
    let endless = move |stop: &Stop, _: &mut _| -> Result<()> {
        let _ = began.send(());
        loop {
            stop.check()?;
        }
    };
    let (at, asking) = (offload.clone(), job(held, None));
    let caller = tokio::spawn(async move { at.run(asking, endless).await });
    running.await.unwrap();
    caller.abort();
    idle(&offload).await;
    // The turn goes at the very end, with what was held.
    while budget.used() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn fault_105_deadlines_hold_in_the_line_and_on_a_helper() {
    let offload = Offload::with(ONE);
    let end = occupy(&offload).await;
    let never = |_: &Stop, _: &mut ()| -> Result<()> { panic!("it is too late for this") };
    assert_eq!(offload.run(job((), soon()), never).await.unwrap_err().code, ErrorCode::Expired);
    assert_eq!(offload.depth(), (0, 1));
    drop(end);
    idle(&offload).await;
    let endless = |stop: &Stop, _: &mut ()| -> Result<()> {
        loop {
            stop.check()?;
        }
    };
    assert_eq!(offload.run(job((), soon()), endless).await.unwrap_err().code, ErrorCode::Expired);
    idle(&offload).await;
}

#[tokio::test]
async fn fault_105_a_full_line_refuses_at_once_and_says_when_to_try_again() {
    let offload = Offload::with(ONE);
    let end = occupy(&offload).await;
    let mut waiting = std::pin::pin!(offload.run(job((), None), |_, _| Ok(())));
    assert!(waits(waiting.as_mut()));
    let refused = offload.run(job((), None), |_, _| Ok(())).await.unwrap_err();
    assert_eq!((refused.code, refused.retry_after), (ErrorCode::Full, Some(RETRY)));
    drop(end);
    assert_eq!(waiting.await, Ok(((), ())));
    idle(&offload).await;
}

#[tokio::test]
async fn fault_105_who_has_most_in_a_full_line_is_refused_for_who_has_nothing_in_it() {
    let offload = Offload::with(ONE);
    let end = occupy(&offload).await;
    let mut waiting = std::pin::pin!(offload.run(job((), None), |_, _| Ok(1)));
    assert!(waits(waiting.as_mut()));
    let other = Client { address: 2, connection: 2 };
    let mut stranger = std::pin::pin!(offload.run(Job { client: other, ..job((), None) }, |_, _| Ok(2)));
    // Each has as much as the other.
    assert_eq!(stranger.as_mut().await.unwrap_err().code, ErrorCode::Full);
    drop(end);
    assert_eq!(waiting.await, Ok((1, ())));
    let two = Offload::with(Rules { waiting: 2, ..ONE });
    let end = occupy(&two).await;
    let mut first = std::pin::pin!(two.run(job((), None), |_, _| Ok(1)));
    let mut second = std::pin::pin!(two.run(job((), None), |_, _| Ok(1)));
    let mut stranger = std::pin::pin!(two.run(Job { client: other, ..job((), None) }, |_, _| Ok(2)));
    assert!(waits(first.as_mut()) && waits(second.as_mut()) && waits(stranger.as_mut()));
    assert_eq!(second.await.unwrap_err().code, ErrorCode::Full);
    assert_eq!(two.depth(), (2, 1));
    drop(end);
    assert_eq!((first.await, stranger.await), (Ok((1, ())), Ok((2, ()))));
    idle(&two).await;
}

#[tokio::test]
async fn work_that_panics_gives_its_helper_back() {
    let offload = Offload::with(ONE);
    let broken = |_: &Stop, _: &mut ()| -> Result<()> { panic!("broken") };
    assert_eq!(offload.run(job((), None), broken).await.unwrap_err().code, ErrorCode::Internal);
    idle(&offload).await;
}

#[test]
fn fault_115_work_is_done_where_the_system_starts_no_thread_and_gives_its_turn_back() {
    // Without a runtime tokio panics as it does where it gets no thread.
    let spare = Spare::new();
    let (tx, rx) = std::sync::mpsc::channel();
    let panicking = tx.clone();
    spare.start(Box::new(move || {
        let _gone = panicking;
        panic!("in the helper that must go on");
    }));
    for number in 0..3 {
        let tx = tx.clone();
        spare.start(Box::new(move || tx.send(number).unwrap()));
    }
    drop(tx);
    assert_eq!(rx.iter().collect::<Vec<_>>(), [0, 1, 2]);
}
