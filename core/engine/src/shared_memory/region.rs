//! A region, and parts of it that tensors are in.

use super::{Rules, Status, object};
use crate::error::{Error, ErrorCode, Result};
use crate::memory::AlignedBuf;
use crate::stop::Stop;
use crate::tensor::shown;
use bytes::Bytes;
use parking_lot::Mutex;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes that are read between two looks at whether the work is still wanted.
const STRETCH: usize = 1 << 20;

#[derive(Debug)]
pub struct Region {
    pub name: Arc<str>,
    pub key: String,
    pub offset: u64,
    pub byte_size: u64,
    pub file: File,
    pub _place: Place,
}

impl Region {
    pub fn status(&self) -> Status {
        let Region { name, key, offset, byte_size, .. } = self;
        Status { name: name.to_string(), key: key.clone(), offset: *offset, byte_size: *byte_size }
    }
}

/// Regions that were registered apart are two, whatever they are of.
impl PartialEq for Slice {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.region, &other.region) && (self.offset, self.len) == (other.offset, other.len)
    }
}

impl Eq for Slice {}

/// How many regions are open, and of how many bytes together.
#[derive(Debug, Default)]
pub struct Held(Mutex<(usize, u64)>);

/// Of one region; dropping it gives the place to the next.
#[derive(Debug)]
pub struct Place {
    held: Arc<Held>,
    bytes: u64,
}

impl Held {
    /// # Errors
    /// `Full` naming the setting.
    pub fn take(held: &Arc<Held>, bytes: u64, rules: &Rules) -> Result<Place> {
        let mut now = held.0.lock();
        if now.0 >= rules.max_regions {
            return Err(full(format!(
                "there are {} shared memory regions, as many as there may be (setting \
                 shared_memory.max_regions)",
                now.0
            )));
        }
        let all = now.1.checked_add(bytes).filter(|&all| all <= rules.max_bytes).ok_or_else(|| {
            full(format!(
                "{bytes} bytes more of shared memory regions are over the limit of {} bytes, of which {} are \
                 taken (setting shared_memory.max_bytes)",
                rules.max_bytes, now.1
            ))
        })?;
        *now = (now.0 + 1, all);
        Ok(Place { held: held.clone(), bytes })
    }
}

fn full(words: String) -> Error {
    Error::new(ErrorCode::Full, words)
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut now = self.held.0.lock();
        now.0 -= 1;
        now.1 -= self.bytes;
    }
}

/// A part of a region, which stays open as long.
#[derive(Clone, Debug)]
pub struct Slice {
    region: Arc<Region>,
    /// In the region.
    offset: u64,
    len: usize,
}

impl Slice {
    pub(super) fn of(region: Arc<Region>, offset: u64, byte_size: u64) -> Result<Slice> {
        if offset >= region.byte_size {
            return Err(Error::bad(format!(
                "Invalid offset for shared memory region: '{}'",
                shown(&region.name)
            )));
        }
        let len = usize::try_from(byte_size).ok().filter(|_| byte_size <= region.byte_size - offset);
        let len = len.ok_or_else(|| {
            Error::bad(format!(
                "Invalid offset + byte size for shared memory region: '{}'",
                shown(&region.name)
            ))
        })?;
        Ok(Slice { region, offset, len })
    }

    /// Bytes of it.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Those of its bytes that are in `range`; `None` where it ends before.
    pub fn part(&self, range: Range<usize>) -> Option<Slice> {
        let len = range.end.checked_sub(range.start).filter(|_| range.end <= self.len)?;
        Some(Slice { region: self.region.clone(), offset: self.offset + range.start as u64, len })
    }

    /// A copy of its bytes, which whoever writes to the region changes no longer.
    ///
    /// # Errors
    /// Those of [`Slice::read_to`].
    pub fn read(&self, stop: &Stop) -> Result<Bytes> {
        let mut copy = AlignedBuf::with_capacity(self.len)?;
        self.read_to(&mut copy, stop)?;
        Ok(copy.freeze())
    }

    /// Put a copy of its bytes behind those that are in `copy`, which stays as it was where that fails.
    ///
    /// # Errors
    /// `BadRequest` where the object is smaller by now, `Full` where there is no memory, and those
    /// of `stop`.
    pub fn read_to(&self, copy: &mut AlignedBuf, stop: &Stop) -> Result<()> {
        let before = copy.len();
        let outcome = self.read_behind(copy, before, stop);
        if outcome.is_err() {
            copy.truncate(before);
        }
        outcome
    }

    fn read_behind(&self, copy: &mut AlignedBuf, before: usize, stop: &Stop) -> Result<()> {
        while copy.len() - before < self.len {
            stop.check()?;
            let done = copy.len() - before;
            let at = self.start() + done as u64;
            // SAFETY: `read_at` has written as many bytes as it says.
            let came = unsafe {
                copy.fill(STRETCH.min(self.len - done), |room| read_at(&self.region.file, room, at))
            }?;
            match came {
                Ok(0) => return Err(self.shrunk()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed("read", &error)),
            }
        }
        Ok(())
    }

    /// Put `data`, which it has room for, at its beginning.
    ///
    /// # Errors
    /// `BadRequest` where it has not, the object is smaller by now, or the system refuses; `Full`
    /// where that has no memory for it.
    pub fn write(&self, data: &[u8]) -> Result<()> {
        let fits = data.len() <= self.len;
        // Written behind its end the object would grow again.
        if !fits || object::size(&self.region.file) < self.start() + data.len() as u64 {
            return Err(self.shrunk());
        }
        self.region.file.write_all_at(data, self.start()).map_err(|error| self.failed("written", &error))
    }

    /// In the object; registered regions end within what a u64 counts.
    fn start(&self) -> u64 {
        self.region.offset + self.offset
    }

    fn shrunk(&self) -> Error {
        Error::bad(format!(
            "shared memory region '{}' is smaller than it was registered: it has no {} bytes at offset {}",
            shown(&self.region.name),
            self.len,
            self.offset
        ))
    }

    fn failed(&self, how: &str, error: &io::Error) -> Error {
        let words = format!("shared memory region '{}' cannot be {how}", shown(&self.region.name));
        let failed = match error.raw_os_error() {
            Some(libc::ENOSPC | libc::ENOMEM | libc::EDQUOT) => {
                full(format!("{words}: there is no memory left for it"))
            }
            _ => Error::bad(words),
        };
        failed.detail(error.to_string())
    }
}

/// As many bytes from `at` on as come at once.
fn read_at(file: &File, room: &mut [std::mem::MaybeUninit<u8>], at: u64) -> io::Result<usize> {
    let at = libc::off_t::try_from(at).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the descriptor is open, and the room is borrowed for as long as it is written to.
    let came = unsafe { libc::pread(file.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), at) };
    usize::try_from(came).map_err(|_| io::Error::last_os_error())
}

/// Where the outputs that a request names go, in its order; those that are none go into the
/// answer. Empty where all of them do.
#[derive(Clone, Debug, Default)]
pub struct Destinations(Option<Arc<[Option<Slice>]>>);

impl Destinations {
    pub fn new(all: Vec<Option<Slice>>) -> Self {
        Destinations(all.iter().any(Option::is_some).then(|| all.into()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub fn get(&self, output: usize) -> Option<&Slice> {
        self.0.as_deref()?.get(output)?.as_ref()
    }
}
