use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq)]
struct Fake {
    name: usize,
    rows: usize,
    weight: Weight,
    shape: u8,
    alone: bool,
    arrived: Instant,
    deadline: Option<Instant>,
    left: bool,
    level: usize,
}

impl Item for Fake {
    fn rows(&self) -> usize {
        self.rows
    }
    fn weight(&self) -> Weight {
        self.weight
    }
    fn alone(&self) -> bool {
        self.alone
    }
    fn joins(&self, other: &Self) -> bool {
        self.shape == other.shape
    }
    fn fate(&self, now: Instant) -> Fate {
        match self.deadline {
            _ if self.left => Fate::Left,
            Some(d) if d <= now => Fate::Expired,
            _ => Fate::Live,
        }
    }
    fn arrived(&self) -> Instant {
        self.arrived
    }
    fn level(&self) -> usize {
        self.level
    }
}

/// Runs a transcript: `submit NAME rows=N [shape=S] [level=L] [timeout=MS] [texts=T] [bytes=B] [alone]`,
/// `leave NAME`, `tick MS`, `ready`, `cut`; returns what `ready` and `cut` say.
fn transcript(rules: &Rules, script: &str) -> String {
    let start = Instant::now();
    let mut now = start;
    let mut lines: Lines<Fake> = Lines::new(rules.levels);
    let mut said = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let value =
            |key: &str| words.iter().find_map(|w| w.strip_prefix(key)).map(|v| v.parse::<u64>().unwrap());
        match words[0] {
            "submit" => {
                names.push(words[1].into());
                lines.push(Fake {
                    name: names.len() - 1,
                    rows: value("rows=").unwrap() as usize,
                    weight: Weight {
                        texts: value("texts=").unwrap_or(0) as usize,
                        text_bytes: 0,
                        bytes: value("bytes=").unwrap_or(0) as usize,
                    },
                    shape: value("shape=").unwrap_or(0) as u8,
                    alone: words.contains(&"alone"),
                    arrived: now,
                    deadline: value("timeout=").map(|ms| now + Duration::from_millis(ms)),
                    left: false,
                    level: value("level=").unwrap_or(0) as usize,
                });
            }
            "leave" => {
                let name = names.iter().position(|n| n == words[1]).unwrap();
                for level in &mut lines.levels {
                    level.iter_mut().filter(|p| p.item.name == name).for_each(|p| p.item.left = true);
                }
            }
            "tick" => now += Duration::from_millis(words[1].parse().unwrap()),
            "ready" => said.push(match lines.ready(now, rules) {
                Ready::Idle => "idle".into(),
                Ready::Now => "now".into(),
                Ready::At(t) => format!("in {}ms", (t - now).as_millis()),
            }),
            "cut" => {
                let cut = lines.cut(now, rules, ROOM);
                let mut text: Vec<String> = cut
                    .members
                    .iter()
                    .map(|p| {
                        let name = &names[p.item.name];
                        if p.rows == p.item.rows {
                            name.clone()
                        } else {
                            format!("{name}[{}+{}]", p.start, p.rows)
                        }
                    })
                    .collect();
                text.extend(cut.dropped.iter().map(|(i, f)| format!("-{}:{f:?}", names[i.name])));
                said.push(text.join(" "));
            }
            other => panic!("unknown word {other}"),
        }
    }
    said.join("\n")
}

/// Of a batch.
const ROOM: Weight = Weight { texts: 100, text_bytes: 1000, bytes: 1000 };

fn rules(max_rows: usize) -> Rules {
    Rules { max_rows, delay: Duration::ZERO, preferred: Vec::new(), levels: 2, may_cut: true }
}

#[test]
fn an_idle_instance_takes_what_is_there_at_once() {
    assert_eq!(transcript(&rules(8), "ready\nsubmit a rows=1\nready\ncut\nready"), "idle\nnow\na\nidle");
}

#[test]
fn fault_72_a_batch_counts_rows_not_requests() {
    let script = "submit a rows=3\nsubmit b rows=3\nsubmit c rows=3\ncut\ncut";
    assert_eq!(transcript(&rules(8), script), "a b\nc");
}

#[test]
fn another_shape_is_passed_over_and_keeps_its_place() {
    let script =
        "submit a rows=1\nsubmit b rows=1 shape=1\nsubmit c rows=1\nsubmit d rows=1 shape=1\ncut\ncut";
    assert_eq!(transcript(&rules(8), script), "a c\nb d");
}

#[test]
fn fault_90_a_request_larger_than_a_batch_is_split_in_turn_with_others() {
    let script = "submit big rows=10\nsubmit b rows=2\ncut\ncut\ncut\ncut";
    assert_eq!(transcript(&rules(4), script), "big[0+4]\nb\nbig[4+4]\nbig[8+2]");
}

#[test]
fn the_last_part_of_a_split_request_takes_company() {
    let script = "submit big rows=6\ncut\nsubmit b rows=2\ncut";
    assert_eq!(transcript(&rules(4), script), "big[0+4]\nbig[4+2] b");
}

#[test]
fn fault_85_expired_and_left_are_dropped_when_a_batch_is_cut() {
    let script = "submit a rows=1 timeout=5\nsubmit b rows=1\nsubmit c rows=1\nleave b\ntick 5\ncut";
    assert_eq!(transcript(&rules(8), script), "c -a:Expired -b:Left");
}

#[test]
fn with_a_delay_the_first_waits_for_company_but_not_longer() {
    let rules = Rules { delay: Duration::from_millis(10), ..rules(4) };
    let script = "submit a rows=1\nready\ntick 4\nready\ntick 6\nready\ncut";
    assert_eq!(transcript(&rules, script), "in 10ms\nin 6ms\nnow\na");
    let full = "submit a rows=2\nsubmit b rows=2\nready";
    assert_eq!(transcript(&rules, full), "now");
}

#[test]
fn a_higher_level_goes_first_and_the_lower_fills_up() {
    let script =
        "submit low rows=1 level=1\nsubmit high rows=1 level=0\nsubmit low2 rows=3 level=1\ncut\ncut";
    assert_eq!(transcript(&rules(4), script), "high low\nlow2");
}

#[test]
fn what_must_run_alone_runs_alone() {
    let script = "submit a rows=1 alone\nsubmit b rows=1 alone\nsubmit c rows=1\ncut\ncut\ncut";
    assert_eq!(transcript(&rules(4), script), "a\nb\nc");
    let behind = "submit a rows=1\nsubmit b rows=1 alone\nsubmit c rows=1\ncut\ncut";
    assert_eq!(transcript(&rules(4), behind), "a c\nb");
}

#[test]
fn fault_110_a_batch_is_bounded_in_texts_and_in_bytes() {
    let texts = "submit a rows=1 texts=60\nsubmit b rows=1 texts=60\nsubmit c rows=1 texts=40\ncut\ncut";
    assert_eq!(transcript(&rules(8), texts), "a c\nb");
    let bytes = "submit a rows=1 bytes=600\nsubmit b rows=1 bytes=401\nsubmit c rows=1 bytes=400\ncut\ncut";
    assert_eq!(transcript(&rules(8), bytes), "a c\nb");
}

#[test]
fn fault_110_what_is_heavier_than_a_batch_may_be_runs_by_itself_in_its_turn() {
    let script = "submit a rows=1 texts=10\nsubmit b rows=1 texts=500\nsubmit c rows=1\ncut\ncut\ncut";
    assert_eq!(transcript(&rules(8), script), "a c\nb\n");
}

#[test]
fn fault_110_a_piece_weighs_what_its_rows_bring() {
    let script = "submit big rows=6 texts=120\ncut\nsubmit b rows=1 texts=60\nsubmit c rows=1 texts=1\ncut";
    assert_eq!(transcript(&rules(4), script), "big[0+4]\nbig[4+2] b");
}

#[test]
fn a_preferred_size_is_cut_when_that_many_wait() {
    let rules = Rules { preferred: vec![2, 4], ..rules(8) };
    let script = "submit a rows=1\nsubmit b rows=1\nsubmit c rows=1\ncut\ncut";
    assert_eq!(transcript(&rules, script), "a b\nc");
}

proptest! {
    /// Against the dumb twin: every live row comes out exactly once, in order
    /// within its request, and no batch is over the limit or mixes shapes, and each weighs what was foretold.
    #[test]
    fn every_row_comes_out_exactly_once(
        sizes in prop::collection::vec((1usize..20, 0u8..3, 0usize..3, any::<bool>(), any::<bool>()), 0..40),
        max in 1usize..9,
    ) {
        let now = Instant::now();
        let mut lines = Lines::new(2);
        for (name, &(rows, shape, level, left, alone)) in sizes.iter().enumerate() {
            let weight = Weight { texts: rows * 7 % 60, text_bytes: rows * 20, bytes: rows * 30 };
            lines.push(Fake { name, rows, weight, shape, alone, arrived: now, deadline: None, left, level });
        }
        let rules = rules(max);
        let mut next = vec![0usize; sizes.len()];
        let mut dropped = 0;
        while !lines.is_empty() {
            let foretold = lines.next_weight(now, &rules, ROOM);
            let cut = lines.cut(now, &rules, ROOM);
            prop_assert_eq!(foretold, cut.weight);
            prop_assert!(cut.rows <= max || cut.members[0].item.alone);
            prop_assert!(cut.members.len() < 2 || cut.weight.within(ROOM));
            prop_assert_eq!(cut.rows, cut.members.iter().map(|m| m.rows).sum::<usize>());
            for member in &cut.members {
                prop_assert_eq!(member.item.shape, cut.members[0].item.shape);
                prop_assert_eq!(member.start, next[member.item.name]);
                next[member.item.name] += member.rows;
            }
            dropped += cut.dropped.len();
        }
        prop_assert_eq!(lines.rows(), 0);
        for (name, &(rows, _, _, left, _)) in sizes.iter().enumerate() {
            prop_assert_eq!(next[name], if left { 0 } else { rows });
        }
        prop_assert_eq!(dropped, sizes.iter().filter(|s| s.3).count());
    }
}
