//! Shared memory of clients: regions that they register by name, for tensors to come from and go
//! to without a socket. A region is read by `pread` and written by `pwrite`, and never mapped: one
//! that shrinks or vanishes costs the request that uses it, and is no SIGBUS.

mod object;
mod region;

pub use region::{Destinations, Slice};

use crate::error::{Error, ErrorCode, Result};
use crate::tensor::shown;
use parking_lot::Mutex;
use region::{Held, Region};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of a region's name.
const LONGEST_NAME: usize = 255;

/// Whether clients may register regions, how many, and of how many bytes together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    pub enabled: bool,
    pub max_regions: usize,
    pub max_bytes: u64,
}

/// A region as clients are told of it; the key is the shared memory object's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub name: String,
    pub key: String,
    pub offset: u64,
    pub byte_size: u64,
}

/// The regions that are registered.
#[derive(Debug)]
pub struct Regions {
    rules: Rules,
    table: Mutex<BTreeMap<Arc<str>, Arc<Region>>>,
    /// By these, and by those that are registered no longer but still in use.
    held: Arc<Held>,
}

impl Regions {
    pub fn new(rules: Rules) -> Self {
        Regions { rules, table: Mutex::default(), held: Arc::default() }
    }

    /// From now on `name` stands for `byte_size` bytes from `offset` on of the object `key`.
    ///
    /// # Errors
    /// `Unimplemented` where that is off; `BadRequest` for a name that is taken or none, a key
    /// that leads anywhere but to a shared memory object, and bytes that the object has not;
    /// `Full` where there may be no more of them.
    pub fn register(&self, name: &str, key: &str, offset: u64, byte_size: u64) -> Result<()> {
        self.check_enabled()?;
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(Error::bad(format!(
                "a shared memory region's name has 1 to {LONGEST_NAME} bytes, got {}",
                name.len()
            )));
        }
        if self.table.lock().contains_key(name) {
            return Err(taken(name));
        }
        let file = object::open(key)?;
        let size = object::size(&file);
        if byte_size == 0 || offset.checked_add(byte_size).is_none_or(|end| end > size) {
            let name = shown(name);
            return Err(Error::bad(format!(
                "failed to register shared memory region '{name}': invalid args"
            )));
        }
        let place = Held::take(&self.held, byte_size, &self.rules)?;
        let region =
            Region { name: name.into(), key: key.to_owned(), offset, byte_size, file, _place: place };
        let mut table = self.table.lock();
        if table.contains_key(name) {
            return Err(taken(name));
        }
        table.insert(region.name.clone(), Arc::new(region));
        Ok(())
    }

    /// Forget a region, or all of them where `name` is empty; one that is not there is forgotten
    /// already. What is in use is closed afterwards.
    pub fn unregister(&self, name: &str) {
        let gone: Vec<_> = {
            let mut table = self.table.lock();
            if name.is_empty() {
                std::mem::take(&mut *table).into_values().collect()
            } else {
                table.remove(name).into_iter().collect()
            }
        };
        // The last to close an object frees its pages, which takes its time: not under the lock.
        drop(gone);
    }

    /// By name.
    pub fn all(&self) -> Vec<Status> {
        self.table.lock().values().map(|region| region.status()).collect()
    }

    /// `byte_size` bytes from `offset` on of a region.
    ///
    /// # Errors
    /// `Unimplemented` where there can be none, `NotFound`, and `BadRequest` where the region
    /// ends before.
    pub fn slice(&self, name: &str, offset: u64, byte_size: u64) -> Result<Slice> {
        self.check_enabled()?;
        let region = self.table.lock().get(name).cloned();
        let region = region.ok_or_else(|| {
            let words = format!("Unable to find shared memory region: '{}'", shown(name));
            Error::new(ErrorCode::NotFound, words)
        })?;
        Slice::of(region, offset, byte_size)
    }

    fn check_enabled(&self) -> Result<()> {
        if self.rules.enabled {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::Unimplemented,
            "Client shared memory is disabled: this server takes none (setting shared_memory.enabled)",
        ))
    }
}

fn taken(name: &str) -> Error {
    Error::bad(format!("shared memory region '{}' already in manager", shown(name)))
}

#[cfg(test)]
mod tests;
