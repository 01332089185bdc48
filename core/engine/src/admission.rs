//! Byte budgets: what may be held in memory, counted while a body still arrives and before an
//! answer is written. The process has one; a client address and a connection each may use a
//! share of it.

use crate::error::{Error, Result, Word};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Whose budget it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Connection,
    Address,
    Process,
}

impl Bound {
    fn refusal(self) -> Error {
        let text = match self {
            Bound::Connection => {
                "this connection holds as many bytes of requests and answers as one may \
                 (setting limits.connection_share), try again later"
            }
            Bound::Address => {
                "this client's address holds as many bytes of requests and answers as one may \
                 (setting limits.address_share), try again later"
            }
            Bound::Process => {
                "the server holds as many bytes of requests and answers as it may, try again later"
            }
        };
        Error::new(Word::Full, text).retry(Duration::from_millis(100))
    }

    /// Of what takes `bytes` where there are never more than `max`: waiting doesn't help.
    fn too_large(self, bytes: usize, max: usize) -> Error {
        let whose = match self {
            Bound::Connection => {
                "a connection may hold (settings limits.connection_share, limits.process_bytes)"
            }
            Bound::Address => {
                "a client's address may hold (settings limits.address_share, limits.process_bytes)"
            }
            Bound::Process => "the server may hold (setting limits.process_bytes)",
        };
        let text =
            format!("the request and what becomes of it take {bytes} bytes, over the {max} that {whose}");
        Error::new(Word::TooLarge, text)
    }
}

/// How many bytes may be held at once, and one message of them; those of a share count in what it
/// is a share of.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    max: usize,
    max_message: usize,
    /// What fits here and in all that this is a share of.
    ceiling: usize,
    bound: Bound,
    whole: Option<Arc<Budget>>,
    /// Bytes that were given back, of which the allocator may keep the memory.
    large: AtomicUsize,
    small: AtomicUsize,
}

/// One of these leaves memory worth handing back to the system; smaller ones only many together.
const LARGE: usize = 64 << 10;

/// Bytes that were given back so far, in large and in small parts. They count on, around the
/// largest number, and never back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    pub large: usize,
    pub small: usize,
}

impl Budget {
    /// The process's.
    pub fn new(max: usize) -> Arc<Self> {
        Budget::of_messages(max, usize::MAX)
    }

    /// The process's, of `max` bytes for all, of which a message may take `max_message`.
    pub fn of_messages(max: usize, max_message: usize) -> Arc<Self> {
        Arc::new(Budget::made(max, max_message, Bound::Process, None))
    }

    pub fn share(self: &Arc<Self>, bound: Bound, max: usize) -> Arc<Self> {
        Arc::new(Budget::made(max, self.max_message, bound, Some(self.clone())))
    }

    fn made(max: usize, max_message: usize, bound: Bound, whole: Option<Arc<Budget>>) -> Self {
        let ceiling = whole.as_ref().map_or(max, |whole| whole.ceiling.min(max));
        let [used, large, small] = [const { AtomicUsize::new(0) }; 3];
        Budget { used, max, max_message, ceiling, bound, whole, large, small }
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub fn max(&self) -> usize {
        self.max
    }

    /// Of the process's budget; a share's is told to that.
    pub fn released(&self) -> Released {
        let of = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        Released { large: of(&self.large), small: of(&self.small) }
    }

    /// An empty reservation that can grow.
    pub fn reserve(self: &Arc<Self>) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0, beside: 0 }
    }

    /// Whether one message could hold so many bytes, if nothing else were held.
    ///
    /// # Errors
    /// `TooLarge` naming both sizes and the settings.
    pub fn check(&self, bytes: usize) -> Result<()> {
        if bytes <= self.ceiling {
            return Ok(());
        }
        let over = self.chain().find(|budget| bytes > budget.max).unwrap_or(self);
        Err(over.bound.too_large(bytes, over.max))
    }

    /// This one and those that it is a share of.
    fn chain(&self) -> impl Iterator<Item = &Budget> {
        std::iter::successors(Some(self), |budget| budget.whole.as_deref())
    }

    fn take(&self, more: usize) -> bool {
        let before = self.used.fetch_add(more, Ordering::Relaxed);
        let fits = before.saturating_add(more) <= self.max;
        if !fits {
            self.give_back(more);
        }
        fits
    }

    fn note_released(&self, bytes: usize) {
        if let Some(process) = self.chain().last().filter(|_| bytes > 0) {
            let counter = if bytes >= LARGE { &process.large } else { &process.small };
            counter.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Somebody among others while any budget of theirs is held; later the numbers may be another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client {
    pub address: usize,
    pub connection: usize,
}

/// Bytes taken from a [`Budget`]; dropping it gives them back.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
    /// Held for the same message by another reservation, for at least as long.
    beside: usize,
}

impl Reservation {
    /// Take `more` bytes.
    ///
    /// # Errors
    /// With nothing taken: `Full`, naming the first bound that has not that many now;
    /// `TooLarge` where the message alone would be over a bound.
    pub fn take(&mut self, more: usize) -> Result<()> {
        for (place, budget) in self.budget.chain().enumerate() {
            if !budget.take(more) {
                self.budget.chain().take(place).for_each(|lower| lower.give_back(more));
                self.budget.check(self.beside.saturating_add(self.bytes).saturating_add(more))?;
                return Err(budget.bound.refusal());
            }
        }
        self.bytes += more;
        Ok(())
    }

    /// Count bytes that are held already, also beyond the budget: what comes next is refused.
    pub fn hold(&mut self, more: usize) {
        for budget in self.budget.chain() {
            budget.used.fetch_add(more, Ordering::Relaxed);
        }
        self.bytes += more;
    }

    /// Give back `less` bytes that are held no longer.
    pub fn give_back(&mut self, less: usize) {
        let less = less.min(self.bytes);
        self.budget.note_released(less);
        self.budget.chain().for_each(|budget| budget.give_back(less));
        self.bytes -= less;
    }

    /// An empty one of the same connection: for what has a life of its own.
    pub fn another(&self) -> Reservation {
        self.budget.reserve()
    }

    /// An empty one for more of the same message, while this one stays as it is.
    pub fn beside(&self) -> Reservation {
        let beside = self.beside.saturating_add(self.bytes);
        Reservation { budget: self.budget.clone(), bytes: 0, beside }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whose it is.
    pub fn client(&self) -> Client {
        let connection = Arc::as_ptr(&self.budget).addr();
        Client {
            address: self.budget.whole.as_ref().map_or(connection, |w| Arc::as_ptr(w).addr()),
            connection,
        }
    }

    /// Bytes that one message may have, request or answer.
    pub fn max_message(&self) -> usize {
        self.budget.max_message
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

/// The budgets of those who are connected.
#[derive(Debug)]
pub struct Clients {
    process: Arc<Budget>,
    shares: Shares,
    addresses: Mutex<Addresses>,
}

/// Most bytes of one client address and of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    pub connection: usize,
    pub address: usize,
}

impl Shares {
    /// Parts of the process's budget; never less than four of the largest messages, so that
    /// one, what it becomes, its place in a batch and its answer fit. Pure.
    pub fn of(process: usize, connection: f64, address: f64, largest_message: usize) -> Shares {
        let least = largest_message.saturating_mul(4).min(process);
        let part = |share: f64| ((process as f64 * share) as usize).clamp(least, process);
        Shares { connection: part(connection), address: part(address) }
    }
}

#[derive(Debug, Default)]
struct Addresses {
    budgets: HashMap<IpAddr, Weak<Budget>>,
    /// Entries of those who left are looked for when there are this many.
    tidy_at: usize,
}

impl Clients {
    pub fn new(process: Arc<Budget>, shares: Shares) -> Self {
        Clients { process, shares, addresses: Mutex::default() }
    }

    /// The budget of one more connection from this address.
    pub fn connection(&self, address: IpAddr) -> Arc<Budget> {
        self.address(network(address)).share(Bound::Connection, self.shares.connection)
    }

    /// An address is known for as long as anything of it is held.
    fn address(&self, address: IpAddr) -> Arc<Budget> {
        let mut addresses = self.addresses.lock();
        if let Some(budget) = addresses.budgets.get(&address).and_then(Weak::upgrade) {
            return budget;
        }
        if addresses.budgets.len() >= addresses.tidy_at {
            addresses.budgets.retain(|_, budget| budget.strong_count() > 0);
            addresses.tidy_at = 2 * addresses.budgets.len() + 16;
        }
        let budget = self.process.share(Bound::Address, self.shares.address);
        addresses.budgets.insert(address, Arc::downgrade(&budget));
        budget
    }
}

/// What one client has to itself: an IPv4 address, or the first half of an IPv6 one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_over_the_budget_takes_nothing_and_a_drop_gives_back() {
        let budget = Budget::new(100);
        let mut a = budget.reserve();
        a.take(60).unwrap();
        let mut b = budget.reserve();
        assert_eq!(b.take(41).unwrap_err().word, Word::Full);
        assert_eq!(budget.used(), 60);
        b.take(40).unwrap();
        drop(a);
        assert_eq!(budget.used(), 40);
        b.give_back(15);
        assert_eq!(budget.used(), 25);
        drop(b);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_held_no_longer_is_given_back_and_no_more_than_that() {
        let budget = Budget::of_messages(100, 60);
        let mut a = budget.reserve();
        a.take(50).unwrap();
        let mut b = a.another();
        assert_eq!(b.take(51).unwrap_err().word, Word::Full);
        a.give_back(20);
        b.take(70).unwrap();
        a.give_back(1000);
        assert_eq!((budget.used(), b.max_message()), (70, 60));
    }

    fn clients() -> Clients {
        Clients::new(Budget::new(100), Shares { connection: 50, address: 70 })
    }

    fn text(refused: Result<()>) -> String {
        refused.unwrap_err().message
    }

    #[test]
    fn fault_104_a_connection_and_an_address_hold_no_more_than_their_shares() {
        let clients = clients();
        let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut first = clients.connection(one).reserve();
        let mut second = clients.connection(one).reserve();
        let mut stranger = clients.connection(other).reserve();
        first.take(50).unwrap();
        assert!(text(first.take(1)).contains("limits.connection_share"));
        assert!(text(second.take(21)).contains("limits.address_share"));
        second.take(20).unwrap();
        stranger.take(30).unwrap();
        assert!(text(stranger.take(1)).starts_with("the server holds"));
        assert_eq!(clients.process.used(), 100, "a refusal leaves nothing counted");
        drop(first);
        assert_eq!(clients.process.used(), 50);
        second.take(30).unwrap();
        drop((second, stranger));
        assert_eq!(clients.process.used(), 0);
    }

    #[test]
    fn fault_103_what_is_given_back_is_told_to_the_process_by_its_size() {
        let clients = clients();
        let mut small = clients.connection("10.0.0.1".parse().unwrap()).reserve();
        small.hold(30);
        small.give_back(10);
        drop(small);
        let mut large = clients.connection("10.0.0.2".parse().unwrap()).reserve();
        large.hold(LARGE);
        drop(large);
        assert_eq!(clients.process.released(), Released { large: LARGE, small: 30 });
    }

    #[test]
    fn fault_103_what_can_never_fit_is_too_large_and_what_has_to_wait_is_not() {
        // The sizes that the client holds, those its message has, those it asks for.
        for (others, has, asks, word, named) in [
            (0, 0, 51, Word::TooLarge, "take 51 bytes, over the 50 that a connection may hold"),
            (0, 40, 11, Word::TooLarge, "take 51 bytes, over the 50 that a connection may hold"),
            (10, 40, 11, Word::TooLarge, "limits.connection_share"),
            (10, 40, 1, Word::Full, "limits.connection_share"),
            (10, 0, 50, Word::Full, "limits.connection_share"),
            (0, 0, 71, Word::TooLarge, "limits.connection_share"),
        ] {
            let connection = clients().connection("10.0.0.1".parse().unwrap());
            let (mut other, mut message) = (connection.reserve(), connection.reserve());
            other.take(others).unwrap();
            message.take(has).unwrap();
            let error = message.take(asks).unwrap_err();
            assert_eq!((error.word, error.retry_after.is_some()), (word, word == Word::Full), "{error}");
            assert!(error.message.contains(named), "{error}");
            assert_eq!(connection.used(), others + has);
        }
    }

    #[test]
    fn fault_103_the_least_of_the_bounds_says_what_never_fits() {
        let process = Budget::new(100);
        let connection = process.share(Bound::Address, 40).share(Bound::Connection, 60);
        assert_eq!(connection.check(40), Ok(()));
        assert!(connection.check(41).unwrap_err().message.contains("limits.address_share"));
        assert!(connection.check(61).unwrap_err().message.contains("limits.connection_share"));
        assert!(process.check(101).unwrap_err().message.ends_with("(setting limits.process_bytes)"));
    }

    #[test]
    fn fault_103_an_answer_that_never_fits_beside_its_request_is_too_large() {
        let connection = clients().connection("10.0.0.1".parse().unwrap());
        let mut request = connection.reserve();
        request.take(30).unwrap();
        assert_eq!(request.beside().take(21).unwrap_err().word, Word::TooLarge);
        assert_eq!(request.beside().take(20), Ok(()));
        assert_eq!(request.another().take(21).unwrap_err().word, Word::Full);
    }

    #[test]
    fn clients_are_told_apart_by_address_and_by_connection() {
        let clients = clients();
        let of = |address: &str| clients.connection(address.parse().unwrap());
        let (one, two, far) = (of("10.0.0.1"), of("10.0.0.1"), of("10.0.0.2"));
        let [a, b, c] = [&one, &two, &far].map(|budget| budget.reserve().client());
        assert_eq!(one.reserve().another().client(), a);
        assert_eq!((a.address == b.address, a.connection == b.connection), (true, false));
        assert_ne!(a.address, c.address);
    }

    #[test]
    fn another_one_counts_on_the_same_connection() {
        let connection = clients().connection("10.0.0.1".parse().unwrap());
        let mut request = connection.reserve();
        request.take(30).unwrap();
        let mut answer = request.another();
        answer.hold(30);
        drop(request);
        assert_eq!(connection.used(), 30);
        assert!(answer.take(21).is_err());
    }

    #[test]
    fn fault_104_a_share_has_room_for_a_message_and_what_it_becomes() {
        for (process, connection, address, message, expected) in [
            (1000, 0.5, 0.75, 50, (500, 750)),
            (1000, 0.05, 0.1, 50, (200, 200)),
            (150, 0.5, 0.75, 50, (150, 150)),
            (1000, 1.0, 1.0, 50, (1000, 1000)),
        ] {
            let shares = Shares::of(process, connection, address, message);
            assert_eq!((shares.connection, shares.address), expected);
        }
    }

    #[test]
    fn addresses_that_left_are_forgotten_and_what_they_hold_is_not() {
        let clients = clients();
        let stays = clients.connection("10.1.0.1".parse().unwrap());
        let mut held = stays.reserve();
        held.take(50).unwrap();
        drop(stays);
        for last in 0..=255u8 {
            for middle in 0..4u8 {
                drop(clients.connection(IpAddr::from([10, 0, middle, last])));
            }
        }
        assert!(clients.addresses.lock().budgets.len() < 40);
        assert!(clients.connection("10.1.0.1".parse().unwrap()).reserve().take(21).is_err());
    }

    #[test]
    fn an_ipv6_network_is_one_client_and_a_mapped_address_is_its_ipv4_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2:3::4"), of("2001:db8:1:3:3::4"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
