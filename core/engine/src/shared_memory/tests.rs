use super::*;
use crate::stop::NEVER;
use crate::stop::Stop;
use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An object of its own name, which goes with it.
struct Object {
    key: String,
    path: PathBuf,
}

impl Object {
    fn named() -> Object {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("serving-test-{}-{number}", std::process::id());
        Object { key: format!("/{name}"), path: PathBuf::from("/dev/shm").join(name) }
    }

    fn of(content: &[u8]) -> Object {
        let object = Object::named();
        fs::write(&object.path, content).unwrap();
        object
    }

    fn open(&self) -> File {
        OpenOptions::new().write(true).open(&self.path).unwrap()
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // Some tests have removed it themselves.
        let _ = fs::remove_file(&self.path);
    }
}

fn regions() -> Regions {
    Regions::new(Rules { enabled: true, max_regions: 3, max_bytes: 100 })
}

fn refusal<T>(outcome: Result<T>) -> (ErrorCode, String) {
    outcome.err().map(|error| (error.code, error.message)).unwrap()
}

#[test]
fn a_region_is_read_and_written_where_it_was_registered() {
    let (object, regions) = (Object::of(b"0123456789"), regions());
    regions.register("r", &object.key, 2, 6).unwrap();
    let status = Status { name: "r".into(), key: object.key.clone(), offset: 2, byte_size: 6 };
    assert_eq!(regions.all(), [status]);
    let slice = regions.slice("r", 1, 4).unwrap();
    assert_eq!(slice.read(&NEVER).unwrap()[..], *b"3456");
    slice.write(b"ab").unwrap();
    assert_eq!(fs::read(&object.path).unwrap(), b"012ab56789");
    assert_eq!(slice.write(b"abcde").unwrap_err().code, ErrorCode::BadRequest);
}

#[test]
fn a_large_region_comes_whole() {
    let content: Vec<u8> = (0..3_000_001u32).map(|i| i as u8).collect();
    let object = Object::of(&content);
    let regions = Regions::new(Rules { enabled: true, max_regions: 1, max_bytes: u64::MAX });
    regions.register("r", &object.key, 0, content.len() as u64).unwrap();
    let slice = regions.slice("r", 1, content.len() as u64 - 1).unwrap();
    assert_eq!(slice.read(&NEVER).unwrap()[..], content[1..]);
    let stop = Stop::at(None);
    stop.leave();
    assert_eq!(slice.read(&stop).unwrap_err().code, ErrorCode::Cancelled);
}

#[test]
fn fault_67_nothing_is_registered_or_found_unless_it_is_on() {
    let (object, off) = (Object::of(b"1234"), Regions::new(Rules::default()));
    for outcome in [off.register("r", &object.key, 0, 4), off.slice("r", 0, 4).map(|_| ())] {
        let (code, words) = refusal(outcome);
        assert_eq!(code, ErrorCode::Unimplemented);
        assert!(words.starts_with("Client shared memory is disabled"), "{words}");
    }
    assert_eq!(off.all(), []);
}

#[test]
fn sizes_and_offsets_are_checked_before_they_are_added() {
    let (object, regions) = (Object::of(&[7; 50]), regions());
    for (offset, size) in
        [(0, 0), (0, 51), (50, 1), (51, 0), (1, 50), (u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX)]
    {
        let (code, words) = refusal(regions.register("r", &object.key, offset, size));
        assert_eq!(code, ErrorCode::BadRequest);
        assert_eq!(words, "failed to register shared memory region 'r': invalid args", "{offset} {size}");
    }
    regions.register("r", &object.key, 10, 30).unwrap();
    for (offset, size, words) in [
        (30, 0, "Invalid offset for"),
        (u64::MAX, 1, "Invalid offset for"),
        (29, 2, "Invalid offset + byte size for"),
        (0, 31, "Invalid offset + byte size for"),
        (1, u64::MAX, "Invalid offset + byte size for"),
    ] {
        let found = refusal(regions.slice("r", offset, size));
        assert_eq!(found, (ErrorCode::BadRequest, format!("{words} shared memory region: 'r'")));
    }
    assert!(regions.slice("r", 29, 0).unwrap().read(&NEVER).unwrap().is_empty());
}

#[test]
fn names_are_registered_once_and_known_until_they_are_not() {
    let (object, regions) = (Object::of(&[7; 10]), regions());
    let put = |name: &str| regions.register(name, &object.key, 0, 10);
    put("a").unwrap();
    assert_eq!(refusal(put("a")).1, "shared memory region 'a' already in manager");
    put("b").unwrap();
    regions.unregister("a");
    regions.unregister("never");
    assert_eq!(regions.all().iter().map(|one| &*one.name).collect::<Vec<_>>(), ["b"]);
    let gone = refusal(regions.slice("a", 0, 1));
    assert_eq!(gone, (ErrorCode::NotFound, "Unable to find shared memory region: 'a'".into()));
    regions.unregister("");
    assert_eq!(regions.all(), []);
    for bad in ["", &"n".repeat(256)] {
        assert_eq!(refusal(put(bad)).0, ErrorCode::BadRequest);
    }
}

#[test]
fn regions_are_few_and_of_bounded_size_those_in_use_too() {
    let (object, regions) = (Object::of(&[7; 60]), regions());
    let put = |name: &str, size| regions.register(name, &object.key, 0, size);
    put("a", 60).unwrap();
    let (code, words) = refusal(put("b", 41));
    assert_eq!(code, ErrorCode::Full);
    assert!(words.contains("shared_memory.max_bytes"), "{words}");
    put("b", 20).unwrap();
    put("c", 20).unwrap();
    let in_use = regions.slice("a", 0, 60).unwrap();
    regions.unregister("a");
    let (code, words) = refusal(put("d", 1));
    assert_eq!(code, ErrorCode::Full);
    assert!(words.contains("shared_memory.max_regions"), "{words}");
    assert_eq!(in_use.read(&NEVER).unwrap().len(), 60);
    drop(in_use);
    put("d", 60).unwrap();
}

#[test]
fn fault_61_a_key_leads_nowhere_but_to_a_shared_memory_object() {
    let regions = regions();
    for key in ["", "/", ".", "/..", "../etc/passwd", "a/b", "//a", "/a/", "a\0b", "\n", &"k".repeat(256)] {
        let (code, words) = refusal(regions.register("r", key, 0, 1));
        assert_eq!(code, ErrorCode::BadRequest, "{key}");
        assert!(words.contains("is no key of shared memory"), "{words}");
        assert!(words.len() < 400);
    }
}

#[test]
fn fault_109_what_is_no_regular_file_is_not_opened() {
    let (whole, regions) = (Object::of(&[7; 10]), regions());
    let [link, fifo, folder, missing] = [(); 4].map(|()| Object::named());
    std::os::unix::fs::symlink(&whole.path, &link.path).unwrap();
    fs::create_dir(&folder.path).unwrap();
    let name = std::ffi::CString::new(fifo.path.to_str().unwrap()).unwrap();
    // SAFETY: the name is a string of C's.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    for object in [&link, &fifo, &folder, &missing] {
        let (code, words) = refusal(regions.register("r", &object.key, 0, 1));
        assert_eq!(code, ErrorCode::BadRequest);
        assert_eq!(words, format!("Unable to open shared memory region: '{}'", object.key));
    }
    fs::remove_dir(&folder.path).unwrap();
}

#[test]
fn a_region_that_shrinks_costs_an_error_and_does_not_grow_again() {
    let (object, regions) = (Object::of(&[7; 50]), regions());
    regions.register("r", &object.key, 0, 50).unwrap();
    let slice = regions.slice("r", 10, 40).unwrap();
    object.open().set_len(20).unwrap();
    for outcome in [slice.read(&NEVER).map(|_| ()), slice.write(&[1; 40])] {
        let (code, words) = refusal(outcome);
        assert_eq!(code, ErrorCode::BadRequest);
        assert!(words.contains("'r' is smaller than it was registered"), "{words}");
    }
    assert_eq!(fs::metadata(&object.path).unwrap().len(), 20);
    object.open().set_len(50).unwrap();
    assert_eq!(slice.read(&NEVER).unwrap()[..10], [7; 10]);
}

#[test]
fn a_region_whose_name_is_gone_or_another_s_stays_what_it_was() {
    let (object, regions) = (Object::of(b"first"), regions());
    regions.register("r", &object.key, 0, 5).unwrap();
    fs::remove_file(&object.path).unwrap();
    fs::write(&object.path, b"other").unwrap();
    assert_eq!(regions.slice("r", 0, 5).unwrap().read(&NEVER).unwrap()[..], *b"first");
}
