//! Shared memory objects: regular files of one folder, opened by nothing but their names.

use crate::error::{Error, ErrorCode, Result};
use crate::tensor::shown;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const FOLDER: &str = "/dev/shm";
/// Bytes of an object's name, without the slash before it.
const LONGEST_KEY: usize = 255;

/// Open the object `key`, to be read and written.
///
/// # Errors
/// `BadRequest` where it is none, or not for this process; `Full` where no more files may be
/// open.
pub fn open(key: &str) -> Result<File> {
    let path = Path::new(FOLDER).join(plain(key)?);
    // A device may act on being opened: it is looked at before, and what was opened after.
    let file = if is_regular(fs::symlink_metadata(&path)) { open_file(&path) } else { Err(odd()) };
    let file = file.map_err(|error| refused(key, &error))?;
    if is_regular(file.metadata()) { Ok(file) } else { Err(refused(key, &odd())) }
}

/// Its bytes now; none where that cannot be told.
pub fn size(file: &File) -> u64 {
    file.metadata().map_or(0, |found| found.len())
}

/// The name in a key, which cannot lead out of the folder (fault 61).
fn plain(key: &str) -> Result<&str> {
    let name = key.strip_prefix('/').unwrap_or(key);
    let hostile = |c: char| c == '/' || c.is_control();
    if name.is_empty() || name.len() > LONGEST_KEY || name == "." || name == ".." || name.contains(hostile) {
        return Err(Error::bad(format!(
            "'{}' is no key of shared memory: expected a name of up to {LONGEST_KEY} bytes without slashes",
            shown(key)
        )));
    }
    Ok(name)
}

fn is_regular(found: io::Result<fs::Metadata>) -> bool {
    found.is_ok_and(|found| found.is_file())
}

fn odd() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn open_file(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
}

/// Why, is for the log: a client learns nothing of what it may not open.
fn refused(key: &str, error: &io::Error) -> Error {
    let words = format!("Unable to open shared memory region: '{}'", shown(key));
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => Error::new(ErrorCode::Full, words),
        _ => Error::bad(words),
    }
    .detail(error.to_string())
}
