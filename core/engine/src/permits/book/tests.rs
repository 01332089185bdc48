use super::*;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A book and a clock in the test's hand. A line of the script is one of `set <size> <lend ms>`,
/// `ask <name> [spent [usual us]]`, `back <name>`, `tick <ms>`; what comes back is who runs after each.
fn play(script: &str) -> String {
    let mut book: Book<String> = Book::new(1);
    let mut ids = BTreeMap::new();
    let mut now = Instant::now();
    let start = now;
    let mut said = String::new();
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let words: Vec<_> = line.split_whitespace().collect();
        let number = |i: usize| words.get(i).map_or(0, |w| w.parse::<u64>().unwrap());
        let mut began = Vec::new();
        match words[0] {
            "set" => {
                let lend = (number(2) > 0).then(|| Duration::from_millis(number(2)));
                book.set(usize::try_from(number(1)).unwrap(), lend);
            }
            "ask" => {
                let spent = book.account_of(number(2));
                let usual = (number(3) > 0).then(|| Duration::from_micros(number(3)));
                let id = match book.take(spent, now) {
                    Some(id) => {
                        began.push(words[1].to_owned());
                        id
                    }
                    None => book.wait(Asker { spent, usual }, words[1].to_owned()),
                };
                ids.insert(words[1].to_owned(), id);
            }
            "back" => drop(book.put_back(ids[words[1]])),
            "tick" => now += Duration::from_millis(number(1)),
            other => panic!("{other}?"),
        }
        while let Some(name) = book.grant(now) {
            began.push(name);
        }
        let due = book.due().filter(|_| book.waiting() > 0).map(|d| (d - start).as_millis());
        let due = due.map_or(String::new(), |at| format!(" due {at}"));
        writeln!(said, "{line}: [{}]{due}", began.join(" ")).unwrap();
    }
    said
}

fn check(script: &str, expected: &str) {
    let lines =
        |text: &str| text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect::<Vec<_>>();
    assert_eq!(lines(&play(script)), lines(expected));
}

#[test]
fn no_more_run_at_once_than_there_are_permits() {
    check(
        "set 2 0
         ask a
         ask b
         ask c
         tick 100000
         back a",
        "set 2 0: []
         ask a: [a]
         ask b: [b]
         ask c: []
         tick 100000: []
         back a: [c]",
    );
}

#[test]
fn the_permit_goes_to_whoever_had_least_and_then_to_who_came_first() {
    check(
        "ask held
         ask busy 900
         ask idle
         ask other
         back held
         back idle
         back other",
        "ask held: [held]
         ask busy 900: [] due 1000
         ask idle: [] due 1000
         ask other: [] due 1000
         back held: [idle] due 1000
         back idle: [other] due 1000
         back other: [busy]",
    );
}

#[test]
fn fault_106_a_long_run_lends_its_permit_to_one_who_waits() {
    check(
        "ask endless
         ask a
         tick 999
         tick 1
         ask b
         back a
         back b
         ask c
         back endless
         ask d",
        "ask endless: [endless]
         ask a: [] due 1000
         tick 999: [] due 1000
         tick 1: [a]
         ask b: [] due 3000
         back a: [b]
         back b: []
         ask c: [c]
         back endless: []
         ask d: [] due 2000",
    );
}

#[test]
fn who_comes_when_a_run_is_long_under_way_waits_for_nothing() {
    check(
        "ask endless
         tick 5000
         ask a",
        "ask endless: [endless]
         tick 5000: []
         ask a: [a]",
    );
}

#[test]
fn the_more_is_lent_the_longer_it_takes() {
    check(
        "ask a
         ask b
         ask c
         ask d
         tick 1000
         tick 1000
         tick 1000
         tick 2999
         tick 1",
        "ask a: [a]
         ask b: [] due 1000
         ask c: [] due 1000
         ask d: [] due 1000
         tick 1000: [b] due 3000
         tick 1000: [] due 3000
         tick 1000: [c] due 6000
         tick 2999: [] due 6000
         tick 1: [d]",
    );
}

#[test]
fn a_loan_that_ends_makes_the_next_due_sooner() {
    check(
        "ask a
         ask b
         tick 1000
         ask c
         back a",
        "ask a: [a]
         ask b: [] due 1000
         tick 1000: [b]
         ask c: [] due 3000
         back a: [] due 2000",
    );
}

#[test]
fn told_to_lend_never_it_does_not() {
    check(
        "set 1 0
         ask a
         ask b
         tick 1000000
         back a",
        "set 1 0: []
         ask a: [a]
         ask b: []
         tick 1000000: []
         back a: [b]",
    );
}

#[test]
fn fewer_permits_count_as_they_come_back_and_more_at_once() {
    check(
        "set 2 0
         ask a
         ask b
         ask c
         set 1 0
         back a
         back b
         ask d
         set 2 0",
        "set 2 0: []
         ask a: [a]
         ask b: [b]
         ask c: []
         set 1 0: []
         back a: []
         back b: [c]
         ask d: []
         set 2 0: [d]",
    );
}

#[test]
fn fault_106_a_short_run_waits_some_of_its_own_run_times_for_a_long_one() {
    check(
        "ask endless
         ask short 0 100
         ask longer 0 5000
         tick 1
         back short
         tick 18
         tick 1
         ask short 0 100
         back longer
         back endless",
        "ask endless: [endless]
         ask short 0 100: [] due 1
         ask longer 0 5000: [] due 1
         tick 1: [short] due 21
         back short: [] due 20
         tick 18: [] due 20
         tick 1: [longer]
         ask short 0 100: [] due 21
         back longer: [short]
         back endless: []",
    );
}

#[test]
fn fault_106_what_is_short_to_one_is_long_to_a_shorter() {
    check(
        "ask endless
         ask longer 0 50000
         tick 200
         ask shorter 0 5000
         ask short 0 100
         tick 1
         tick 20
         back short
         tick 0",
        "ask endless: [endless]
         ask longer 0 50000: [] due 200
         tick 200: [longer]
         ask shorter 0 5000: [] due 220
         ask short 0 100: [] due 201
         tick 1: [short] due 221
         tick 20: [shorter]
         back short: []
         tick 0: []",
    );
}

#[test]
fn fault_106_runs_beside_others_have_a_bound() {
    let mut book = Book::new(1);
    let mut now = Instant::now();
    book.take(0, now);
    let short = Asker { spent: 0, usual: Some(Duration::from_micros(1)) };
    for number in 0..=STEPS {
        book.wait(short, number);
        now += LEAST_WAIT;
        assert_eq!(book.grant(now), (number < STEPS).then_some(number));
    }
    assert_eq!(book.due(), now.checked_add(LEND_AFTER - LEAST_WAIT * (STEPS as u32 + 1)));
}

#[test]
fn fault_106_a_short_run_that_comes_back_lets_no_long_one_in() {
    check(
        "ask endless
         ask long 0 500000
         ask short 0 100
         tick 1
         back short
         tick 998
         tick 1",
        "ask endless: [endless]
         ask long 0 500000: [] due 1000
         ask short 0 100: [] due 1
         tick 1: [short] due 1000
         back short: [] due 1000
         tick 998: [] due 1000
         tick 1: [long]",
    );
}

#[test]
fn short_runs_wait_for_their_turn_where_permits_come_back() {
    check(
        "ask a 0 100
         ask b 5 100
         ask c 6 100
         tick 0
         back a
         tick 0
         back b",
        "ask a 0 100: [a]
         ask b 5 100: [] due 1
         ask c 6 100: [] due 1
         tick 0: [] due 1
         back a: [b] due 1
         tick 0: [] due 1
         back b: [c]",
    );
}

#[test]
fn nobody_runs_beside_where_nothing_is_lent() {
    check(
        "set 1 0
         ask endless
         ask short 0 100
         tick 5000",
        "set 1 0: []
         ask endless: [endless]
         ask short 0 100: []
         tick 5000: []",
    );
}
