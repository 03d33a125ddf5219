//! Memory that is used again. Fresh memory comes from the kernel page by page, each cleared first, which takes longer than to
//! copy the bytes into it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Memory that nobody uses now; there is as much as was used at once.
#[derive(Clone, Default)]
pub struct Spare(Arc<Mutex<Vec<Vec<u8>>>>);

/// Bytes whose memory goes back when nobody needs them any more.
pub struct Buffer {
    bytes: Vec<u8>,
    spare: Option<Spare>,
}

impl Spare {
    /// An empty buffer.
    pub fn take(&self) -> Buffer {
        let bytes = self.lock().pop().unwrap_or_default();
        Buffer { bytes, spare: Some(self.clone()) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Buffer { bytes, spare: None }
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(spare) = &self.spare {
            self.bytes.clear();
            spare.lock().push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again() {
        let spare = Spare::default();
        let (mut one, two) = (spare.take(), spare.take());
        one.resize(5000, 1);
        let place = one.as_ptr();
        drop((two, one));
        let again = spare.take();
        assert_eq!((again.len(), again.as_ptr()), (0, place));
    }
}
