use super::*;
use proptest::prelude::*;

const RULES: Rules = Rules { helpers: 2, kept: 1, waiting: 4 };

/// `1.2` is the second connection of the first address; without a digit it is all one client.
fn client(name: &str) -> Client {
    let mut digits = name.split('.').map(|part| part.trim_matches(char::is_alphabetic).parse().unwrap_or(0));
    Client { address: digits.next().unwrap_or(0), connection: digits.next().unwrap_or(0) }
}

/// Runs a transcript: `NAME MIB` comes, `-NAME` leaves the line, `NAME.` ends, `+MS` passes;
/// returns who went, waits, was refused or, between slashes, made room, in order. Names end with
/// a letter; see [`client`] for what they begin with.
fn transcript(rules: Rules, script: &str) -> String {
    let mut lines = Lines::new(rules);
    let (mut now, mut said) = (Duration::ZERO, Vec::new());
    let mut known: Vec<(&str, Waiter)> = Vec::new();
    let found = |known: &[(&str, Waiter)], name: &str| known.iter().find(|(n, _)| *n == name).unwrap().1;
    let mut words = script.split_whitespace();
    while let Some(word) = words.next() {
        if let Some(millis) = word.strip_prefix('+') {
            now += Duration::from_millis(millis.parse().unwrap());
        } else if let Some(name) = word.strip_prefix('-') {
            lines.leave(&found(&known, name));
        } else if let Some(name) = word.strip_suffix('.') {
            lines.end(&found(&known, name));
            while let Some(number) = lines.next() {
                said.push(known[usize::try_from(number).unwrap()].0.to_owned());
            }
        } else {
            let bytes = words.next().unwrap().parse::<usize>().unwrap() << 20;
            let (answer, waiter) = lines.come(known.len() as u64, client(word), bytes, now);
            known.push((word, waiter));
            said.push(match answer {
                Answer::Go => word.to_owned(),
                Answer::Wait => format!("({word})"),
                Answer::Full => format!("!{word}"),
                Answer::Instead(other) => format!("/{}/ ({word})", known[usize::try_from(other).unwrap()].0),
            });
        }
    }
    said.join(" ")
}

#[test]
fn fault_105_small_work_does_not_wait_for_large_work_to_end() {
    assert_eq!(transcript(RULES, "big 60 big2 60 small 1"), "big (big2) small");
}

#[test]
fn fault_105_small_work_passes_large_work_in_the_line() {
    let one = Rules { kept: 0, ..RULES };
    assert_eq!(transcript(one, "a 60 b 60 c 60 d 1 a. b."), "a b (c) (d) d c");
}

#[test]
fn fault_105_large_work_is_not_passed_for_ever() {
    let one = Rules { helpers: 1, kept: 0, waiting: 9 };
    // Worth 2 s: what comes more than that later stands behind it.
    let script = "a 1 big 32 b 1 a. +3000 c 1 b. big.";
    assert_eq!(transcript(one, script), "a (big) (b) b (c) big c");
}

#[test]
fn fault_105_the_line_is_bounded() {
    let script = "a 60 b 60 c 60 d 60 e 60 f 60 -b g 60";
    assert_eq!(transcript(RULES, script), "a (b) (c) (d) (e) !f (g)");
}

#[test]
fn fault_105_who_left_the_line_is_skipped() {
    assert_eq!(transcript(RULES, "a 60 b 60 c 60 -b a."), "a (b) (c) c");
}

#[test]
fn among_equals_the_first_to_come_goes_first() {
    assert_eq!(transcript(RULES, "a 1 b 1 c 1 d 1 a. b."), "a b (c) (d) c d");
}

const ONE: Rules = Rules { helpers: 1, kept: 0, waiting: 9 };

#[test]
fn fault_105_connections_take_turns_whatever_one_of_them_has_in_the_line() {
    let script = "1.1a 1 1.1b 1 1.1c 1 1.1d 1 1.2x 1 1.2y 1 1.1a. 1.1b. 1.2x. 1.1c. 1.2y.";
    assert_eq!(transcript(ONE, script), "1.1a (1.1b) (1.1c) (1.1d) (1.2x) (1.2y) 1.1b 1.2x 1.1c 1.2y 1.1d");
}

#[test]
fn fault_105_addresses_take_turns_however_many_connections_one_has() {
    let script = "1.1a 1 1.2a 1 1.3a 1 1.4a 1 2.1x 1 2.1y 1 1.1a. 1.2a. 2.1x. 1.3a. 2.1y.";
    assert_eq!(transcript(ONE, script), "1.1a (1.2a) (1.3a) (1.4a) (2.1x) (2.1y) 1.2a 2.1x 1.3a 2.1y 1.4a");
}

#[test]
fn fault_105_turns_are_by_bytes_and_small_work_of_others_goes_before_large() {
    // What the first has had counts against it, and what is small is due before what is large.
    let script = "1.1a 8 1.1b 8 1.2u 2 1.2v 2 1.2w 2 1.3x 1 1.1a. 1.3x. 1.2u. 1.2v. 1.2w.";
    assert_eq!(transcript(ONE, script), "1.1a (1.1b) (1.2u) (1.2v) (1.2w) (1.3x) 1.3x 1.2u 1.2v 1.2w 1.1b");
}

#[test]
fn fault_105_large_work_is_not_passed_for_ever_by_ever_new_connections() {
    let mut lines = Lines::new(Rules { waiting: usize::MAX, ..ONE });
    let come = |lines: &mut Lines, number: u64, address, mib: usize| {
        let client = Client { address, connection: number as usize };
        lines.come(number, client, mib << 20, Duration::ZERO).1
    };
    for same_address in [true, false] {
        let mut runs = come(&mut lines, 0, 0, 1);
        come(&mut lines, 1, 1, 32);
        let mut passed = 0;
        let mut number = 2;
        loop {
            let next = come(&mut lines, number, if same_address { 1 } else { number as usize }, 1);
            lines.end(&runs);
            match lines.next().unwrap() {
                1 => break,
                _ => (runs, number, passed) = (next, number + 1, passed + 1),
            }
        }
        assert!((8..=128).contains(&passed), "{passed}");
        lines = Lines::new(Rules { waiting: usize::MAX, ..ONE });
    }
}

#[test]
fn fault_105_who_has_most_in_a_full_line_makes_room_for_who_has_less() {
    let full = Rules { waiting: 3, ..ONE };
    // The newcomer has less than the connection whose last one goes, until it has as much.
    let script = "1.1a 1 1.1b 1 1.1c 2 1.1d 1 1.2x 1 1.2y 1 1.1e 1";
    assert_eq!(transcript(full, script), "1.1a (1.1b) (1.1c) (1.1d) /1.1c/ (1.2x) !1.2y !1.1e");
    // An address that has more than the newcomer's, however it is spread.
    let script = "1.1a 1 1.2b 1 1.3c 1 1.4d 1 2.1x 1 2.2y 1";
    assert_eq!(transcript(full, script), "1.1a (1.2b) (1.3c) (1.4d) /1.4d/ (2.1x) !2.2y");
}

/// Work of `bytes` for one of a few clients.
fn work() -> impl Strategy<Value = (Client, usize)> {
    let client = (0usize..3, 0usize..3).prop_map(|(address, connection)| Client { address, connection });
    (client, prop_oneof![0usize..(1 << 18), 0usize..(8 << 20)])
}

proptest! {
    /// While two addresses, or two connections of one, both wait, neither is given more than one
    /// piece of work above the other.
    #[test]
    fn fault_105_whoever_waits_gets_as_much_as_whoever_else_does(works in prop::collection::vec(work(), 2..40)) {
        let mut lines = Lines::new(Rules { waiting: usize::MAX, ..ONE });
        let (mut running, mut came) = (Vec::new(), Vec::new());
        for (number, &(client, bytes)) in works.iter().enumerate() {
            let (answer, waiter) = lines.come(number as u64, client, bytes, Duration::ZERO);
            running.extend((answer == Answer::Go).then_some(waiter));
            came.push(waiter);
        }
        let cost = |number: usize| LEAST.max(works[number].1 as u64);
        let most = (0..works.len()).map(cost).max().unwrap();
        let (mut given, mut left): (HashMap<Client, u64>, Vec<usize>) = (HashMap::new(), (1..works.len()).collect());
        *given.entry(works[0].0).or_default() += cost(0);
        while let Some(done) = running.pop() {
            lines.end(&done);
            let Some(number) = lines.next() else { break };
            let number = usize::try_from(number).unwrap();
            let client = works[number].0;
            left.retain(|&n| n != number);
            *given.entry(client).or_default() += cost(number);
            for &other in left.iter().map(|&n| &works[n].0) {
                let (a, b) = if other.address == client.address {
                    (given[&client], given.get(&other).copied().unwrap_or(0))
                } else {
                    let of = |address| given.iter().filter(|(c, _)| c.address == address).map(|(_, g)| g).sum::<u64>();
                    (of(client.address), of(other.address))
                };
                prop_assert!(a <= b + 2 * most, "{a} against {b}, of at most {most}");
            }
            running.push(came[number]);
        }
        prop_assert_eq!((left.len(), lines.waiting()), (0, 0));
    }

    /// However clients come, leave and end, the line is no longer than it may be, whoever is
    /// refused had as much in it as anybody, and nothing is kept of who is gone.
    #[test]
    fn the_line_is_bounded_and_forgets_who_is_gone(
        works in prop::collection::vec((work(), 0u8..4), 0..120), waiting in 0usize..6,
    ) {
        let mut lines = Lines::new(Rules { helpers: 2, kept: 1, waiting });
        let (mut waits, mut runs) = (HashMap::new(), Vec::new());
        for (number, &((client, bytes), what)) in works.iter().enumerate() {
            let (answer, waiter) = lines.come(number as u64, client, bytes, Duration::from_millis(number as u64));
            let of = |waits: &HashMap<u64, Waiter>, client: Client| waits.values().filter(|w| w.client == client).count();
            match answer {
                Answer::Go => runs.push(waiter),
                Answer::Wait => drop(waits.insert(number as u64, waiter)),
                Answer::Full => {
                    let same = |w: &&Waiter| w.client.address == client.address;
                    let of_address = waits.values().filter(same).map(|w| w.client);
                    prop_assert!(of_address.into_iter().all(|other| of(&waits, other) <= of(&waits, client) + 1));
                }
                Answer::Instead(other) => {
                    let refused = waits.remove(&other).unwrap();
                    prop_assert_ne!(refused.client, client);
                    waits.insert(number as u64, waiter);
                }
            }
            prop_assert!(lines.waiting() <= waiting);
            prop_assert_eq!(lines.waiting(), waits.len());
            match what {
                0 => if let Some(waiter) = runs.pop() {
                    lines.end(&waiter);
                    while let Some(next) = lines.next() {
                        runs.push(waits.remove(&next).unwrap());
                    }
                },
                1 => if let Some(&first) = waits.keys().min() {
                    lines.leave(&waits.remove(&first).unwrap());
                },
                _ => {}
            }
        }
        waits.values().for_each(|waiter| lines.leave(waiter));
        runs.iter().for_each(|waiter| lines.end(waiter));
        prop_assert_eq!((lines.waiting(), lines.running()), (0, 0));
        prop_assert!(lines.addresses.is_empty() && lines.connections.is_empty() && lines.lines.is_empty());
    }

    /// However work comes and ends, no more runs than may, and all of it gets its turn.
    #[test]
    fn every_piece_of_work_gets_its_turn(
        sizes in prop::collection::vec(0usize..(8 << 20), 0..60), helpers in 1usize..5, kept in 0usize..4,
    ) {
        let rules = Rules { helpers, kept: kept.min(helpers - 1), waiting: usize::MAX };
        let mut lines = Lines::new(rules);
        let (mut running, mut came) = (Vec::new(), Vec::new());
        let mut ended = 0;
        for (number, &bytes) in sizes.iter().enumerate() {
            let client = Client { address: number % 2, connection: number % 5 };
            let (answer, waiter) = lines.come(number as u64, client, bytes, Duration::from_millis(number as u64));
            came.push(waiter);
            running.extend((answer == Answer::Go).then_some(waiter));
        }
        while let Some(done) = running.pop() {
            prop_assert!(lines.running() <= helpers);
            prop_assert!(running.iter().filter(|w| w.class == Class::Large).count() <= helpers - rules.kept);
            lines.end(&done);
            ended += 1;
            while let Some(number) = lines.next() {
                running.push(came[usize::try_from(number).unwrap()]);
            }
        }
        prop_assert_eq!((lines.waiting(), lines.running(), ended), (0, 0, sizes.len()));
    }
}
