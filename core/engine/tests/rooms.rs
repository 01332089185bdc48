//! The rooms of the core stand in an order, and what a room uses stands below it: a path from a
//! room up, in a `use` or in the midst of a line, fails here. So do files that go in circles within
//! a room. Tests may use what they like.
#![allow(clippy::unwrap_used)]

#[path = "rooms/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The engine's rooms from the ground up. A new one stands as low as what it uses lets it.
const ORDER: &[&str] = &[
    "scheduling",
    "permits",
    "fields",
    "error",
    "stop",
    "tensor",
    "near",
    "random",
    "admission",
    "memory",
    "shared_memory",
    "loans",
    "offload",
    "stats",
    "status",
    "figures",
    "metrics",
    "events",
    "codec",
    "onnx",
    "ids",
    "observe",
    "shadow",
    "checks",
    "batching",
    "queue",
    "routes",
    "doors",
];

type Module = Vec<String>;

/// All modules of a crate, and the paths in each.
type Crate = BTreeMap<Module, Vec<source::Path>>;

fn core(name: &str) -> Crate {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
    let mut found = Crate::new();
    enter(&folder, Vec::new(), &mut found);
    found
}

fn enter(folder: &Path, module: Module, found: &mut Crate) {
    let text = fs::read_to_string(file_of(folder, &module)).unwrap();
    let read = source::read(&text, &module);
    for child in read.children {
        enter(folder, [module.clone(), vec![child]].concat(), found);
    }
    found.insert(module, read.paths);
}

fn file_of(folder: &Path, module: &Module) -> PathBuf {
    let path = folder.join(module.iter().collect::<PathBuf>());
    let candidates = [folder.join("lib.rs"), path.with_extension("rs"), path.join("mod.rs")];
    let all = if module.is_empty() { &candidates[..1] } else { &candidates[1..] };
    all.iter().find(|file| file.is_file()).unwrap_or_else(|| unreachable!("no file of {module:?}")).clone()
}

/// For each module the arrows between its children: who uses whom, and where.
type Arrows = BTreeMap<Module, BTreeMap<(String, String), Module>>;

fn arrows(modules: &Crate) -> Arrows {
    let mut found = Arrows::new();
    for (from, paths) in modules {
        for path in paths {
            let shared = from.iter().zip(path).take_while(|(own, other)| own == other).count();
            let (Some(own), Some(other)) = (from.get(shared), path.get(shared)) else { continue };
            // What a parent holds itself is beside no child of its own.
            if modules.contains_key(&path[..=shared]) {
                let between = found.entry(from[..shared].to_vec()).or_default();
                between.insert((own.clone(), other.clone()), from.clone());
            }
        }
    }
    found
}

/// Some modules that use one another in turn; empty where there are none.
fn circle<'a>(arrows: impl Iterator<Item = &'a (String, String)> + Clone) -> BTreeSet<&'a String> {
    let mut left: BTreeSet<_> = arrows.clone().flat_map(|(from, to)| [from, to]).collect();
    loop {
        let inside = |(from, to): &&(String, String)| left.contains(from) && left.contains(to);
        let inner: Vec<_> = arrows.clone().filter(inside).collect();
        let kept: BTreeSet<_> = inner.iter().map(|(from, _)| from).collect();
        let kept = inner.iter().map(|(_, to)| to).filter(|&to| kept.contains(to)).collect();
        if left == kept {
            return left;
        }
        left = kept;
    }
}

fn circles(name: &str) -> Vec<String> {
    let all = arrows(&core(name));
    let told = all.iter().map(|(parent, between)| (parent, circle(between.keys())));
    told.filter(|(_, circle)| !circle.is_empty())
        .map(|(parent, circle)| format!("in {name}::{}: {circle:?}", parent.join("::")))
        .collect()
}

#[test]
fn every_room_of_the_engine_has_its_place_in_the_order() {
    let rooms: BTreeSet<_> =
        core("engine").into_keys().filter_map(|module| module.into_iter().next()).collect();
    assert_eq!(rooms, ORDER.iter().map(|&room| room.to_owned()).collect());
    assert_eq!(rooms.len(), ORDER.len(), "a room stands twice");
}

#[test]
fn no_room_of_the_engine_uses_one_above_it() {
    let place = |room: &str| ORDER.iter().position(|&other| other == room);
    let all = arrows(&core("engine"));
    let upward: Vec<_> = all[&Module::new()]
        .iter()
        .filter(|((from, to), _)| place(from) <= place(to))
        .map(|((_, to), module)| format!("{} uses {to}", module.join("::")))
        .collect();
    assert_eq!(upward, Vec::<String>::new(), "what a room uses must stand below it in ORDER");
}

/// Else a path through the root could lead up unseen.
#[test]
fn the_engines_root_hands_no_room_on() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    assert!(!source::tokens(&text).iter().any(|token| token == "use"));
    let glob = |path: &source::Path| path.len() == 1 && path[0] == "*";
    assert!(!core("engine").values().flatten().any(glob), "a `use crate::*` says nothing of rooms");
}

#[test]
fn files_go_in_no_circles() {
    assert_eq!([circles("engine"), circles("seam")].concat(), Vec::<String>::new());
}

#[test]
fn paths_are_seen_wherever_they_stand() {
    let text = r##"
        use crate::{a::{b, self}, c as d};
        pub(crate) mod inner { use super::super::e; mod file; }
        fn f<'a>(g: &'a str) -> char { let _ = r#"crate::no"#; let _ = "\"crate::no"; '"' }
        // crate::no
        /* crate::no /* */ crate::no */
        #[cfg(test)]
        mod tests { use crate::no; }
        #[cfg(test)]
        mod samples;
        mod child;
        fn h() { crate::i::j(); self::k(); super::l() }
    "##;
    let read = source::read(text, &["room".into(), "file".into()]);
    let joined: Vec<_> = read.paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(joined, ["a::b", "a", "c", "room::e", "i::j", "room::file::k", "room::l"]);
    assert_eq!(read.children, ["file", "child"]);
}

#[test]
fn circles_are_found_among_what_goes_in_none() {
    let arrow = |(from, to): (&str, &str)| (from.to_owned(), to.to_owned());
    let all = [("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")].map(arrow);
    assert_eq!(circle(all.iter()), BTreeSet::from([&"b".to_owned(), &"c".to_owned()]));
    assert!(circle(all[..2].iter()).is_empty());
}
