//! Who of those waiting for a helper goes next. Pure: time is an argument.
//!
//! Client addresses take turns by the bytes worked on for each, and the connections of an address
//! do among themselves; so what one client sends in holds no other one up. Among what waits of one
//! connection the shortest goes first, where waiting counts as shortness: a piece of work goes
//! before all whose *due time* (when it came, and as long again as its bytes take at [`PACE`]) is
//! later. So small work passes large, and nothing is passed for ever. Large work leaves some
//! helpers to small work, which so never waits for large work to end. Where no more may wait,
//! whoever has most in the line makes room for others.

mod turns;

use crate::admission::Client;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use turns::Turns;

/// Work on more bytes than this is large.
pub const LARGE: usize = 1 << 20;

/// Bytes a second that due times assume: slower than any work is, so that what is large gives
/// way to what came somewhat later.
const PACE: u64 = 16 << 20;

/// Less work than this costs as much: taking it to a helper does.
const LEAST: u64 = 64 << 10;

/// How many may run and wait.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Work that runs at once.
    pub helpers: usize,
    /// Helpers that large work leaves to small.
    pub kept: usize,
    /// Work that may wait.
    pub waiting: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Small,
    Large,
}

const CLASSES: [Class; 2] = [Class::Small, Class::Large];

impl Class {
    pub fn of(bytes: usize) -> Class {
        if bytes > LARGE { Class::Large } else { Class::Small }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Go,
    Wait,
    /// It waits, and the one of this number is refused for it.
    Instead(u64),
    Full,
}

/// One that waits, in the order of its connection's line: by due time, and by arrival among equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    due: Duration,
    number: u64,
    cost: u64,
}

/// One that waits, or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    pub class: Class,
    client: Client,
    head: Head,
}

#[derive(Debug)]
pub struct Lines {
    rules: Rules,
    addresses: Turns<usize>,
    /// Of each address.
    connections: HashMap<usize, Turns<usize>>,
    lines: HashMap<Client, [BTreeSet<Head>; 2]>,
    waiting: usize,
    running: [usize; 2],
}

impl Lines {
    pub fn new(rules: Rules) -> Self {
        let (addresses, connections) = (Turns::default(), HashMap::new());
        Lines { rules, addresses, connections, lines: HashMap::new(), waiting: 0, running: [0; 2] }
    }

    pub fn waiting(&self) -> usize {
        self.waiting
    }

    pub fn running(&self) -> usize {
        self.running.iter().sum()
    }

    /// A client's work on `bytes` comes at `now`, as the `number`th.
    pub fn come(&mut self, number: u64, client: Client, bytes: usize, now: Duration) -> (Answer, Waiter) {
        let worth = Duration::from_millis(bytes as u64 * 1000 / PACE);
        let head = Head { due: now.saturating_add(worth), number, cost: LEAST.max(bytes as u64) };
        let waiter = Waiter { class: Class::of(bytes), client, head };
        if self.addresses.first(waiter.class).is_none() && self.has_room(waiter.class) {
            self.start(&waiter);
            return (Answer::Go, waiter);
        }
        self.wait(&waiter);
        if self.waiting <= self.rules.waiting {
            return (Answer::Wait, waiter);
        }
        let other = self.last_of_longest(client);
        self.leave(other.as_ref().unwrap_or(&waiter));
        (other.map_or(Answer::Full, |other| Answer::Instead(other.head.number)), waiter)
    }

    /// One that waits goes without its turn.
    pub fn leave(&mut self, waiter: &Waiter) {
        let Waiter { class, client, head } = *waiter;
        let Some(line) = self.lines.get_mut(&client) else { return };
        if !line[class as usize].remove(&head) {
            return;
        }
        if line.iter().all(BTreeSet::is_empty) {
            self.lines.remove(&client);
        }
        self.waiting -= 1;
        self.note_first(client, class);
        self.change(client, Turns::leave);
    }

    /// Work has ended.
    pub fn end(&mut self, waiter: &Waiter) {
        self.running[waiter.class as usize] -= 1;
        self.change(waiter.client, Turns::end);
    }

    /// Whoever goes next, by its number; `None` where nobody may.
    pub fn next(&mut self) -> Option<u64> {
        let first = |class| self.has_room(class).then(|| self.first(class)).flatten();
        let first = match (first(Class::Small), first(Class::Large)) {
            (Some(small), Some(large)) if large.before(&small) => large,
            (small, large) => small.or(large)?,
        };
        let waiter = first.waiter;
        self.start(&waiter);
        self.leave(&waiter);
        Some(waiter.head.number)
    }

    fn first(&self, class: Class) -> Option<First> {
        let (of_address, _, address) = self.addresses.first(class)?;
        let (of_connection, head, connection) = self.connections.get(&address)?.first(class)?;
        let waiter = Waiter { class, client: Client { address, connection }, head };
        Some(First { of_address, of_connection, waiter })
    }

    /// Who makes room, in a line that is too long with one of `own`: the last one of the connection
    /// that has most in it, of the address that has; `None` where that is its own.
    fn last_of_longest(&self, own: Client) -> Option<Waiter> {
        let address = self.addresses.longest(own.address)?;
        let connection = self.connections.get(&address)?.longest(own.connection)?;
        let client = Client { address, connection };
        let line = self.lines.get(&client).filter(|_| client != own)?;
        let last = |class: Class| Some(Waiter { class, client, head: *line[class as usize].last()? });
        CLASSES.into_iter().filter_map(last).max_by_key(|waiter| waiter.head)
    }

    fn has_room(&self, class: Class) -> bool {
        let large = self.running[Class::Large as usize];
        let free = self.running() < self.rules.helpers;
        free && (class == Class::Small || large + self.rules.kept < self.rules.helpers)
    }

    fn wait(&mut self, waiter: &Waiter) {
        let Waiter { class, client, head } = *waiter;
        self.lines.entry(client).or_default()[class as usize].insert(head);
        self.waiting += 1;
        self.change(client, Turns::wait);
        self.note_first(client, class);
    }

    fn start(&mut self, waiter: &Waiter) {
        self.running[waiter.class as usize] += 1;
        let cost = waiter.head.cost;
        self.change(waiter.client, |turns, key| turns.start(key, cost));
        CLASSES.into_iter().for_each(|class| self.note_first_of_address(waiter.client.address, class));
    }

    /// Of its address, and of its connection.
    fn change(&mut self, client: Client, change: impl Fn(&mut Turns<usize>, usize)) {
        change(&mut self.addresses, client.address);
        let connections = self.connections.entry(client.address).or_default();
        change(connections, client.connection);
        if connections.is_empty() {
            self.connections.remove(&client.address);
        }
    }

    fn note_first(&mut self, client: Client, class: Class) {
        let first = self.lines.get(&client).and_then(|line| line[class as usize].first().copied());
        if let Some(connections) = self.connections.get_mut(&client.address) {
            connections.first_is(client.connection, class, first);
        }
        self.note_first_of_address(client.address, class);
    }

    fn note_first_of_address(&mut self, address: usize, class: Class) {
        let first = self.connections.get(&address).and_then(|connections| connections.first(class));
        self.addresses.first_is(address, class, first.map(|(_, head, _)| head));
    }
}

/// The first of its class, with what would have been done for its address and its connection.
struct First {
    of_address: u64,
    of_connection: u64,
    waiter: Waiter,
}

impl First {
    /// Whether it goes before the first of the other class: one client's own by due time.
    fn before(&self, other: &First) -> bool {
        let (a, b) = (self.waiter.client, other.waiter.client);
        if a == b {
            return self.waiter.head < other.waiter.head;
        }
        let key = |first: &First| if a.address == b.address { first.of_connection } else { first.of_address };
        (key(self), self.waiter.head) < (key(other), other.waiter.head)
    }
}

#[cfg(test)]
mod tests;
