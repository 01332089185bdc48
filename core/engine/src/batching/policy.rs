//! What to cut, when to wait, whom to drop. Pure: time is an argument, and
//! nothing here locks, sleeps or sends.

use crate::loans::Weight;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Whether anybody still waits for an item's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Live,
    Expired,
    Left,
}

/// What the policy needs to know of a request in line.
pub trait Item {
    fn rows(&self) -> usize;
    /// What its rows bring for a run to hold.
    fn weight(&self) -> Weight;
    /// Whether it must run whole and alone (an unbatched model, or nothing that could be shared).
    fn alone(&self) -> bool;
    /// Whether both may be in one batch: same inputs present, same inner shapes.
    fn joins(&self, other: &Self) -> bool;
    fn fate(&self, now: Instant) -> Fate;
    fn arrived(&self) -> Instant;
    /// Level 0 goes first.
    fn level(&self) -> usize;
}

#[derive(Clone, Debug)]
pub struct Rules {
    /// Rows of the largest batch.
    pub max_rows: usize,
    /// How long the first in line may wait for company; zero is work-conserving.
    pub delay: Duration,
    /// Batch sizes to prefer, ascending; empty for none.
    pub preferred: Vec<usize>,
    pub levels: usize,
    /// Whether a request with more rows than a batch may have is cut into pieces.
    pub may_cut: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    Idle,
    Now,
    At(Instant),
}

/// Some rows of one request: all of them, unless it is larger than a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portion<T> {
    pub item: T,
    pub start: usize,
    pub rows: usize,
}

impl<T: Item> Portion<T> {
    /// Whether other rows of the request run elsewhere.
    pub fn is_piece(&self) -> bool {
        self.rows != self.item.rows()
    }

    pub fn weight(&self) -> Weight {
        self.weight_of(self.rows)
    }

    /// Of so many rows from its start.
    fn weight_of(&self, rows: usize) -> Weight {
        self.item.weight().share(self.start, rows, self.item.rows())
    }
}

#[derive(Clone, Debug)]
pub struct Cut<T> {
    pub members: Vec<Portion<T>>,
    pub rows: usize,
    pub weight: Weight,
    /// Nobody waits for these any more.
    pub dropped: Vec<(T, Fate)>,
}

/// The requests in line, by priority level and arrival.
#[derive(Debug)]
pub struct Lines<T> {
    levels: Vec<VecDeque<Portion<T>>>,
    requests: usize,
    rows: usize,
}

impl<T: Item + Clone> Lines<T> {
    pub fn new(levels: usize) -> Self {
        let levels = (0..levels.max(1)).map(|_| VecDeque::new()).collect();
        Lines { levels, requests: 0, rows: 0 }
    }

    pub fn requests(&self) -> usize {
        self.requests
    }

    /// Requests of one level, parts of them included.
    pub fn waiting(&self, level: usize) -> usize {
        self.levels.get(level).map_or(0, VecDeque::len)
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.requests == 0
    }

    pub fn push(&mut self, item: T) {
        let level = item.level().min(self.levels.len() - 1);
        let rows = item.rows();
        self.requests += 1;
        self.rows += rows;
        self.levels[level].push_back(Portion { item, start: 0, rows });
    }

    /// Put an item that was cut in front of its level again, whole; what of it is still in line
    /// goes. Whether there was any.
    pub fn put_back(&mut self, item: T, is_it: impl Fn(&T) -> bool) -> bool {
        let level = item.level().min(self.levels.len() - 1);
        let at = self.levels[level].iter().position(|portion| is_it(&portion.item));
        let rest = at.and_then(|at| self.levels[level].remove(at));
        if let Some(rest) = &rest {
            self.forget(rest);
        }
        let rows = item.rows();
        self.requests += 1;
        self.rows += rows;
        self.levels[level].push_front(Portion { item, start: 0, rows });
        rest.is_some()
    }

    /// When the first in line arrived, over all levels.
    pub fn oldest(&self) -> Option<Instant> {
        self.levels.iter().filter_map(|line| line.front()).map(|p| p.item.arrived()).min()
    }

    /// Whether a batch should be cut now, or when to look again.
    pub fn ready(&self, now: Instant, rules: &Rules) -> Ready {
        let Some(oldest) = self.oldest() else { return Ready::Idle };
        let enough = rules.preferred.first().copied().unwrap_or(usize::MAX).min(rules.max_rows.max(1));
        if rules.delay.is_zero() || self.rows >= enough {
            return Ready::Now;
        }
        let due = oldest + rules.delay;
        if due <= now { Ready::Now } else { Ready::At(due) }
    }

    /// Take the next batch: the first in line of the highest level, whatever it weighs, and all
    /// behind it that may join and fit into `room`. What nobody waits for is dropped on the way.
    pub fn cut(&mut self, now: Instant, rules: &Rules, room: Weight) -> Cut<T> {
        let mut cut = Cut { members: Vec::new(), rows: 0, weight: Weight::default(), dropped: Vec::new() };
        let bounds = self.bounds(rules, room);
        for level in 0..self.levels.len() {
            if !self.cut_level(level, now, &bounds, &mut cut) {
                break;
            }
        }
        cut
    }

    /// What the next [`cut`](Lines::cut) will weigh, with nothing taken yet.
    pub fn next_weight(&self, now: Instant, rules: &Rules, room: Weight) -> Weight {
        let bounds = self.bounds(rules, room);
        let mut batch = Filling { first: None, rows: 0, weight: Weight::default() };
        for portion in self.levels.iter().flatten().filter(|p| p.item.fate(now) == Fate::Live) {
            if batch.takes(portion, &bounds) {
                let rows = if portion.item.alone() { usize::MAX } else { bounds.max_rows };
                let rows = portion.rows.min(rows);
                batch.first.get_or_insert(&portion.item);
                batch.rows += rows;
                batch.weight += portion.weight_of(rows);
            }
            if batch.is_full(&bounds) {
                break;
            }
        }
        batch.weight
    }

    fn bounds(&self, rules: &Rules, room: Weight) -> Bounds {
        Bounds { rows: rules.limit(self.rows), max_rows: rules.max_rows.max(1), room }
    }

    /// Fill the cut from one level; false when the batch is full or runs alone.
    fn cut_level(&mut self, level: usize, now: Instant, bounds: &Bounds, cut: &mut Cut<T>) -> bool {
        let mut passed = VecDeque::new();
        let mut go_on = true;
        while go_on {
            let Some(portion) = self.levels[level].pop_front() else { break };
            let fate = portion.item.fate(now);
            if fate != Fate::Live {
                self.forget(&portion);
                cut.dropped.push((portion.item, fate));
                continue;
            }
            if cut.filling().takes(&portion, bounds) {
                self.take(portion, level, bounds, cut);
            } else {
                // Another shape is only passed over.
                passed.push_back(portion);
            }
            go_on = !cut.filling().is_full(bounds);
        }
        while let Some(portion) = passed.pop_back() {
            self.levels[level].push_front(portion);
        }
        go_on
    }

    fn take(&mut self, portion: Portion<T>, level: usize, bounds: &Bounds, cut: &mut Cut<T>) {
        let rest = if portion.item.alone() { None } else { portion.beyond(bounds.max_rows) };
        match rest {
            Some((part, rest)) => {
                // Larger than a batch: the rest waits at the back, in turn with others.
                self.rows -= part.rows;
                cut.take(part);
                self.levels[level].push_back(rest);
            }
            None => {
                self.forget(&portion);
                cut.take(portion);
            }
        }
    }

    fn forget(&mut self, portion: &Portion<T>) {
        self.requests -= 1;
        self.rows -= portion.rows;
    }

    /// Take out everything nobody waits for any more.
    pub fn purge(&mut self, now: Instant) -> Vec<(T, Fate)> {
        let mut dropped = Vec::new();
        for level in 0..self.levels.len() {
            for _ in 0..self.levels[level].len() {
                let Some(portion) = self.levels[level].pop_front() else { break };
                match portion.item.fate(now) {
                    Fate::Live => self.levels[level].push_back(portion),
                    fate => {
                        self.forget(&portion);
                        dropped.push((portion.item, fate));
                    }
                }
            }
        }
        dropped
    }

    /// Empty the lines.
    pub fn take_all(&mut self) -> Vec<T> {
        self.requests = 0;
        self.rows = 0;
        self.levels.iter_mut().flat_map(|line| line.drain(..)).map(|p| p.item).collect()
    }
}

impl Rules {
    /// Whether a request of so many rows shares no run: it fills more than one, and may not be cut.
    pub fn keeps_whole(&self, rows: usize) -> bool {
        rows > self.max_rows && !self.may_cut
    }

    /// Rows to stop at: the largest preferred size that is there, else the maximum.
    fn limit(&self, waiting: usize) -> usize {
        let max = self.max_rows.max(1);
        self.preferred.iter().copied().filter(|&p| p <= waiting && p <= max).max().unwrap_or(max)
    }
}

/// Where a batch ends.
struct Bounds {
    rows: usize,
    /// Of one request.
    max_rows: usize,
    room: Weight,
}

impl<T: Item> Cut<T> {
    fn take(&mut self, portion: Portion<T>) {
        self.rows += portion.rows;
        self.weight += portion.weight();
        self.members.push(portion);
    }

    fn filling(&self) -> Filling<'_, T> {
        let first = self.members.first().map(|member| &member.item);
        Filling { first, rows: self.rows, weight: self.weight }
    }
}

/// What decides who may join a batch.
struct Filling<'a, T> {
    first: Option<&'a T>,
    rows: usize,
    weight: Weight,
}

impl<T: Item> Filling<'_, T> {
    fn takes(&self, portion: &Portion<T>, bounds: &Bounds) -> bool {
        self.first.is_none_or(|first| {
            !first.alone()
                && !portion.item.alone()
                && self.rows + portion.rows <= bounds.rows
                && (self.weight + portion.weight()).within(bounds.room)
                && first.joins(&portion.item)
        })
    }

    /// It ends the search: it has its rows, or what it has runs alone.
    fn is_full(&self, bounds: &Bounds) -> bool {
        self.first.is_some_and(T::alone) || self.rows >= bounds.rows
    }
}

impl<T: Clone> Portion<T> {
    /// Cut into what fits a batch and the rest; `None` when all of it fits.
    fn beyond(&self, max: usize) -> Option<(Portion<T>, Portion<T>)> {
        (self.rows > max).then(|| {
            (
                Portion { item: self.item.clone(), start: self.start, rows: max },
                Portion { item: self.item.clone(), start: self.start + max, rows: self.rows - max },
            )
        })
    }
}

#[cfg(test)]
mod tests;
