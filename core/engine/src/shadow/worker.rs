//! All copies of the process: what they hold together, and the thread that compares answers and ends
//! what has become too old. It begins with the first copy and sleeps while there is nothing to do.

use super::compare::{Found, compare};
use super::original::{Copy, Facts, Job, Keeper, Original};
use super::rules::Rules;
use crate::admission::Budget;
use crate::events::{Events, Level};
use crate::fields::Fields;
use crate::scheduling;
use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// What a copy takes beside its tensors, about.
const OVERHEAD: usize = 4096;

/// What all copies may hold of what the process may.
const PART: usize = 8;

/// Where copies wait.
pub trait Sweep: Send + Sync {
    /// Drop those that are too old by `now`; when the next one will be, `None` where there is none.
    fn sweep(&self, now: Instant) -> Option<Instant>;
}

#[derive(Debug)]
pub struct Shadows {
    rules: ArcSwap<Rules>,
    process: Arc<Budget>,
    events: Arc<Events>,
    /// Bytes that copies hold.
    pooled: AtomicUsize,
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Default)]
struct Work {
    /// No more than there are copies, which are bounded.
    jobs: VecDeque<Job>,
    swept: Vec<Weak<dyn Sweep>>,
    started: bool,
    closed: bool,
}

/// What there is to do.
enum Step {
    Compare(Job),
    Sweep(Vec<Weak<dyn Sweep>>),
}

impl Work {
    /// What is too old is ended in time, however much there is to compare. `due`: when the next sweep is.
    fn next(&mut self, due: Option<Instant>, now: Instant) -> Option<Step> {
        if due.map_or(!self.swept.is_empty(), |due| due <= now) {
            return Some(Step::Sweep(std::mem::take(&mut self.swept)));
        }
        self.jobs.pop_front().map(Step::Compare)
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Work {{ jobs: {}, swept: {} }}", self.jobs.len(), self.swept.len())
    }
}

impl Shadows {
    pub fn new(process: Arc<Budget>, events: Arc<Events>) -> Arc<Self> {
        Arc::new(Shadows {
            rules: ArcSwap::from_pointee(Rules::default()),
            process,
            events,
            pooled: AtomicUsize::new(0),
            work: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    pub fn set(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Bytes that copies hold now.
    pub fn held(&self) -> usize {
        self.pooled.load(Relaxed)
    }

    /// Begin to copy a request; `None` where copies hold as much as they may, or the process more than
    /// half of what it may.
    pub fn begin(self: &Arc<Self>, facts: Facts) -> Option<Arc<Original>> {
        if self.process.used() > self.process.max() / 2 {
            return None;
        }
        let pooled = facts.bytes.saturating_add(OVERHEAD);
        self.take(pooled).then(|| Original::new(self.clone(), facts, pooled))
    }

    /// Look after a queue while copies wait or run there.
    pub fn watch(self: &Arc<Self>, queue: Weak<dyn Sweep>) {
        let mut work = self.work.lock();
        work.swept.push(queue);
        self.start(&mut work);
        self.changed.notify_one();
    }

    /// Without a thread nothing is compared: the next one that asks tries again.
    fn start(self: &Arc<Self>, work: &mut Work) {
        if work.started || work.closed {
            return;
        }
        let mine = self.clone();
        let thread = std::thread::Builder::new().name("shadows".into()).spawn(move || {
            scheduling::give_way();
            mine.work();
        });
        work.started = thread.is_ok();
    }

    /// Compare nothing any more.
    pub fn close(&self) {
        let mut work = self.work.lock();
        work.closed = true;
        let jobs = std::mem::take(&mut work.jobs);
        self.changed.notify_all();
        drop(work);
        drop(jobs);
    }

    fn work(self: Arc<Self>) {
        let mut next = None;
        loop {
            let step = {
                let mut work = self.work.lock();
                loop {
                    if work.closed {
                        return;
                    }
                    if let Some(step) = work.next(next, Instant::now()) {
                        break step;
                    }
                    match next {
                        Some(next) => drop(self.changed.wait_until(&mut work, next)),
                        None => self.changed.wait(&mut work),
                    }
                }
            };
            match step {
                Step::Compare(job) => job.run(&self.rules.load(), &self.events),
                Step::Sweep(queues) => next = self.sweep(queues),
            }
        }
    }

    /// Have queues drop what is too old; when to do so again.
    fn sweep(&self, queues: Vec<Weak<dyn Sweep>>) -> Option<Instant> {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        let mut still = Vec::new();
        for queue in queues {
            if let Some(due) = queue.upgrade().and_then(|queue| queue.sweep(now)) {
                next = Some(next.map_or(due, |next| next.min(due)));
                still.push(queue);
            }
        }
        self.work.lock().swept.append(&mut still);
        next
    }
}

impl Keeper for Shadows {
    fn timeout(&self) -> Duration {
        self.rules.load().timeout
    }

    fn process(&self) -> &Arc<Budget> {
        &self.process
    }

    fn take(&self, bytes: usize) -> bool {
        let before = self.pooled.fetch_add(bytes, Relaxed);
        let most = self.rules.load().bytes.min(self.process.max() / PART);
        let fits = before.saturating_add(bytes) <= most;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.pooled.fetch_sub(bytes, Relaxed);
    }

    fn submit(self: Arc<Self>, job: Job) {
        let mut work = self.work.lock();
        if work.closed {
            return;
        }
        work.jobs.push_back(job);
        self.start(&mut work);
        self.changed.notify_one();
    }
}

impl Job {
    fn run(self, rules: &Rules, events: &Events) {
        let Job { given, copy, found } = self;
        let outputs: Vec<_> = given
            .iter()
            .map(|one| {
                let other = found.iter().find(|other| other.name == one.name);
                (one.name.clone(), other.map_or(Found::MISSING, |other| compare(one, other, rules.tolerance)))
            })
            .collect();
        let different = outputs.iter().any(|(_, found)| found.is_different());
        if different && copy.report.is_to_be_told(rules.event_every) {
            events.emit(Level::Warning, "shadow_differs", fields(&copy, &outputs));
        }
        let inputs = |named: &[_]| copy.original.inputs(named);
        copy.report.add(rules, &copy.original.about, inputs, outputs, &given, &found);
        copy.compared(different);
    }
}

fn fields(copy: &Copy, outputs: &[(Arc<str>, Found)]) -> Fields {
    let differ = outputs.iter().filter(|(_, found)| found.is_different());
    let names: Vec<&str> = differ.map(|(name, _)| &**name).collect();
    vec![
        ("model", copy.model().into()),
        ("version", copy.version().into()),
        ("answered_by", copy.original.about.version.into()),
        ("outputs", names.join(", ").into()),
        ("request_id", copy.original.about.request_id.clone().into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shadow::report::Report;
    use crate::shadow::rules::Place;
    use crate::stats::{Protocol, Stats};
    use crate::tensor::Signature;

    struct Idle;

    impl Sweep for Idle {
        fn sweep(&self, _: Instant) -> Option<Instant> {
            None
        }
    }

    fn job() -> Job {
        let shadows = Shadows::new(Budget::new(1 << 20), Arc::default());
        let facts = Facts {
            id: None,
            request_id: String::new(),
            protocol: Protocol::Grpc,
            version: 1,
            inputs: Vec::new(),
            bytes: 0,
        };
        let original = shadows.begin(facts).unwrap();
        let place = Place::take(&Arc::default(), 1).unwrap();
        let copy = Copy::new(&original, &Report::new(&Signature::default()), &Stats::new("m", 2), place);
        Job { given: Vec::new().into(), copy, found: Vec::new() }
    }

    #[test]
    fn what_is_due_goes_before_what_is_to_be_compared() {
        let idle: Arc<dyn Sweep> = Arc::new(Idle);
        let mut work = Work { jobs: [job(), job()].into(), ..Work::default() };
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        assert!(matches!(work.next(None, now), Some(Step::Compare(_))), "no queue is to be swept");
        work.swept.push(Arc::downgrade(&idle));
        assert!(matches!(work.next(Some(later), now), Some(Step::Compare(_))), "none is due");
        work.jobs.push_back(job());
        let Some(Step::Sweep(queues)) = work.next(Some(now), now) else { panic!("it is due") };
        assert_eq!((queues.len(), work.jobs.len()), (1, 1));
        work.swept = queues;
        assert!(matches!(work.next(None, now), Some(Step::Sweep(_))), "nobody knows when it is");
    }
}
