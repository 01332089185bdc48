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

    fn weight(&self) -> Weight {
        self.item.weight().share(self.start, self.rows, self.item.rows())
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
    weight: Weight,
}

impl<T: Item + Clone> Lines<T> {
    pub fn new(levels: usize) -> Self {
        let levels = (0..levels.max(1)).map(|_| VecDeque::new()).collect();
        Lines { levels, requests: 0, rows: 0, weight: Weight::default() }
    }

    pub fn requests(&self) -> usize {
        self.requests
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Of all that is in line.
    pub fn weight(&self) -> Weight {
        self.weight
    }

    pub fn is_empty(&self) -> bool {
        self.requests == 0
    }

    pub fn push(&mut self, item: T) {
        let level = item.level().min(self.levels.len() - 1);
        let rows = item.rows();
        self.requests += 1;
        self.rows += rows;
        self.weight += item.weight();
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
        self.weight += item.weight();
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
        let bounds = Bounds { rows: rules.limit(self.rows), max_rows: rules.max_rows.max(1), room };
        for level in 0..self.levels.len() {
            if !self.cut_level(level, now, &bounds, &mut cut) {
                break;
            }
        }
        cut
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
            if !cut.takes(&portion, bounds) {
                // A full batch ends the search; another shape is only passed over.
                go_on = cut.members.first().is_some_and(|m| !m.item.alone()) && cut.rows < bounds.rows;
                passed.push_back(portion);
                continue;
            }
            let alone = portion.item.alone();
            let rest = if alone { None } else { portion.beyond(bounds.max_rows) };
            match rest {
                Some((part, rest)) => {
                    // Larger than a batch: the rest waits at the back, in turn with others.
                    self.rows -= part.rows;
                    self.weight -= part.weight();
                    cut.take(part);
                    self.levels[level].push_back(rest);
                    go_on = false;
                }
                None => {
                    self.forget(&portion);
                    cut.take(portion);
                    go_on = !alone && cut.rows < bounds.rows;
                }
            }
        }
        while let Some(portion) = passed.pop_back() {
            self.levels[level].push_front(portion);
        }
        go_on
    }

    fn forget(&mut self, portion: &Portion<T>) {
        self.requests -= 1;
        self.rows -= portion.rows;
        self.weight -= portion.weight();
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
        self.weight = Weight::default();
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

    fn takes(&self, portion: &Portion<T>, bounds: &Bounds) -> bool {
        match self.members.first() {
            None => true,
            Some(first) => {
                !first.item.alone()
                    && !portion.item.alone()
                    && self.rows + portion.rows <= bounds.rows
                    && (self.weight + portion.weight()).within(bounds.room)
                    && first.item.joins(&portion.item)
            }
        }
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
