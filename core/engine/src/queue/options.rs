//! How a queue takes, orders and batches its requests.

use crate::batching::policy::Rules;
use crate::loans::Weight;
use std::time::Duration;

/// What is different for the requests of one priority level.
#[derive(Clone, Debug)]
pub struct LevelPolicy {
    /// From 1.
    pub level: usize,
    pub default_timeout: Option<Duration>,
    /// Of this level, beside the bound of all; `None`: that alone.
    pub max_requests: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct Options {
    /// Rows of the largest batch; 0 runs every request alone.
    pub max_rows: usize,
    pub delay: Duration,
    pub preferred: Vec<usize>,
    /// Whether a request with more rows than a batch may have is cut into pieces; else it runs
    /// whole and alone.
    pub may_cut: bool,
    pub max_queue_requests: usize,
    pub max_queue_rows: usize,
    pub max_queue_bytes: usize,
    /// 0 or 1: no levels.
    pub priority_levels: usize,
    /// The level of a request that names none, from 1; 0 is the middle one.
    pub default_priority: usize,
    pub default_timeout: Option<Duration>,
    pub level_policies: Vec<LevelPolicy>,
    /// Of one BYTES tensor, and of all that a batch gathers.
    pub max_string_elements: usize,
    /// Of the inputs that a batch gathers.
    pub max_batch_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_rows: 0,
            delay: Duration::ZERO,
            preferred: Vec::new(),
            may_cut: true,
            max_queue_requests: 1024,
            max_queue_rows: 65_536,
            max_queue_bytes: 256 << 20,
            priority_levels: 0,
            default_priority: 0,
            default_timeout: None,
            level_policies: Vec::new(),
            max_string_elements: 1 << 20,
            max_batch_bytes: 64 << 20,
        }
    }
}

impl Options {
    /// Index of the line for `parameters.priority`: 0 is the default, 1 the highest.
    pub(super) fn level(&self, priority: u64) -> usize {
        let levels = self.priority_levels.max(1);
        let wanted = match usize::try_from(priority).unwrap_or(usize::MAX) {
            0 if self.default_priority == 0 => levels.div_ceil(2),
            0 => self.default_priority,
            level => level,
        };
        wanted.clamp(1, levels) - 1
    }

    fn policy(&self, level: usize) -> Option<&LevelPolicy> {
        self.level_policies.iter().find(|policy| policy.level == level + 1)
    }

    /// How long a request of a line may wait that brings no time-out.
    pub(super) fn timeout(&self, level: usize) -> Option<Duration> {
        self.policy(level).map_or(self.default_timeout, |policy| policy.default_timeout)
    }

    /// Requests that a line may hold.
    pub(super) fn most_of(&self, level: usize) -> usize {
        self.policy(level).and_then(|policy| policy.max_requests).unwrap_or(usize::MAX)
    }

    /// What a batch of several requests may weigh.
    pub(super) fn room(&self) -> Weight {
        Weight {
            texts: self.max_string_elements,
            text_bytes: self.max_batch_bytes,
            bytes: self.max_batch_bytes,
        }
    }

    pub(super) fn rules(&self) -> Rules {
        let mut preferred = self.preferred.clone();
        preferred.sort_unstable();
        Rules {
            max_rows: self.max_rows,
            delay: self.delay,
            preferred,
            levels: self.priority_levels.max(1),
            may_cut: self.may_cut,
        }
    }
}
