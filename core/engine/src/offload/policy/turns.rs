//! Parties that take turns: next is the one for which least would have been done once its first
//! piece of work were, so that work is shared evenly, and small work goes before large.

use super::{Class, Head};
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

#[derive(Debug)]
pub struct Turns<K> {
    /// Work done for each party if all had had the same: where one that comes begins, so that it
    /// gets a turn soon and nothing for the time before.
    level: u64,
    /// Those of which something waits or runs.
    parties: HashMap<K, Party>,
    /// What would have been done, then: one entry for each party and class of which work waits.
    order: [BTreeSet<(u64, Head, K)>; 2],
}

#[derive(Debug, Default)]
struct Party {
    /// Work done, in bytes.
    done: u64,
    heads: [Option<Head>; 2],
    waits: usize,
    runs: usize,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Turns { level: 0, parties: HashMap::new(), order: Default::default() }
    }
}

impl<K: Copy + Ord + Hash> Turns<K> {
    pub fn is_empty(&self) -> bool {
        self.parties.is_empty()
    }

    /// One more piece of its work waits.
    pub fn wait(&mut self, key: K) {
        self.enter(key).waits += 1;
    }

    /// One waits no longer; [`first_is`](Self::first_is) has been told before.
    pub fn leave(&mut self, key: K) {
        self.change(key, |party| party.waits -= 1);
    }

    /// Work begins that costs so much.
    pub fn start(&mut self, key: K, cost: u64) {
        self.enter(key).runs += 1;
        self.level = self.level.saturating_add(cost / self.parties.len() as u64);
        self.charge(key, cost);
    }

    pub fn end(&mut self, key: K) {
        self.change(key, |party| party.runs -= 1);
    }

    /// Its first work of a class is this now.
    pub fn first_is(&mut self, key: K, class: Class, head: Option<Head>) {
        let Some(party) = self.parties.get_mut(&key) else { return };
        let before = std::mem::replace(&mut party.heads[class as usize], head);
        let (order, done) = (&mut self.order[class as usize], party.done);
        before.map(|head| order.remove(&entry(done, head, key)));
        head.map(|head| order.insert(entry(done, head, key)));
    }

    /// Whose turn it is: what would have been done for it, its first work, and its key.
    pub fn first(&self, class: Class) -> Option<(u64, Head, K)> {
        self.order[class as usize].first().copied()
    }

    /// Of whom most waits; `among_equals` where it is one of those.
    pub fn longest(&self, among_equals: K) -> Option<K> {
        let waits = |(key, party): (&K, &Party)| (party.waits, *key == among_equals, *key);
        self.parties.iter().map(waits).max().map(|(.., key)| key)
    }

    fn enter(&mut self, key: K) -> &mut Party {
        let party = self.parties.entry(key).or_default();
        if party.waits == 0 {
            party.done = party.done.max(self.level);
        }
        party
    }

    fn charge(&mut self, key: K, cost: u64) {
        let Some(party) = self.parties.get_mut(&key) else { return };
        let before = party.done;
        party.done = before.saturating_add(cost);
        for (order, head) in self.order.iter_mut().zip(party.heads) {
            let Some(head) = head else { continue };
            order.remove(&entry(before, head, key));
            order.insert(entry(party.done, head, key));
        }
    }

    /// Whoever has nothing here any more is forgotten.
    fn change(&mut self, key: K, change: impl FnOnce(&mut Party)) {
        let Some(party) = self.parties.get_mut(&key) else { return };
        change(party);
        if party.waits == 0 && party.runs == 0 {
            self.parties.remove(&key);
        }
    }
}

fn entry<K>(done: u64, head: Head, key: K) -> (u64, Head, K) {
    (done.saturating_add(head.cost), head, key)
}
