use super::*;
use proptest::prelude::*;

const RULES: Rules = Rules { helpers: 2, kept: 1, waiting: 4 };

/// Runs a transcript: `NAME MIB` comes, `-NAME` leaves the line, `NAME.` ends, `+MS` passes;
/// returns who went, waits or was refused, in order.
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
            lines.end(found(&known, name).class);
            while let Some(number) = lines.next() {
                said.push(known[usize::try_from(number).unwrap()].0.to_owned());
            }
        } else {
            let bytes = words.next().unwrap().parse::<usize>().unwrap() << 20;
            let (answer, waiter) = lines.come(known.len() as u64, bytes, now);
            known.push((word, waiter));
            said.push(match answer {
                Answer::Go => word.to_owned(),
                Answer::Wait => format!("({word})"),
                Answer::Full => format!("!{word}"),
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

proptest! {
    /// However work comes and ends, no more runs than may, and all of it gets its turn.
    #[test]
    fn every_piece_of_work_gets_its_turn(
        sizes in prop::collection::vec(0usize..(8 << 20), 0..60), helpers in 1usize..5, kept in 0usize..4,
    ) {
        let rules = Rules { helpers, kept: kept.min(helpers - 1), waiting: usize::MAX };
        let mut lines = Lines::new(rules);
        let mut running = Vec::new();
        let mut ended = 0;
        for (number, &bytes) in sizes.iter().enumerate() {
            if lines.come(number as u64, bytes, Duration::from_millis(number as u64)).0 == Answer::Go {
                running.push(Class::of(bytes));
            }
        }
        while let Some(class) = running.pop() {
            prop_assert!(lines.running() <= helpers);
            prop_assert!(running.iter().filter(|c| **c == Class::Large).count() <= helpers - rules.kept);
            lines.end(class);
            ended += 1;
            while let Some(number) = lines.next() {
                running.push(Class::of(sizes[usize::try_from(number).unwrap()]));
            }
        }
        prop_assert_eq!((lines.waiting(), lines.running(), ended), (0, 0, sizes.len()));
    }
}
