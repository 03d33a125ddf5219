//! Blobs that repositories were seen to have a moment ago, so that nobody asks for each of them again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use oci::{Digest, Reference};

/// How long a blob counts as seen. A registry that collects garbage spares what was there so lately.
const FRESH: Duration = Duration::from_secs(600);
/// Blobs of all repositories that are remembered.
const MOST: usize = 4096;

#[derive(Default)]
pub struct Seen(Mutex<HashMap<Place, Instant>>);

/// A blob of a repository.
#[derive(PartialEq, Eq, Hash)]
struct Place {
    host: String,
    path: String,
    blob: Digest,
}

impl Place {
    fn new(repository: &Reference, blob: &Digest) -> Self {
        Place { host: repository.host().to_owned(), path: repository.path().to_owned(), blob: blob.clone() }
    }
}

impl Seen {
    pub fn note(&self, repository: &Reference, blob: &Digest) {
        let mut seen = self.lock();
        if seen.len() >= MOST {
            seen.retain(|_, at| at.elapsed() < FRESH);
        }
        if seen.len() >= MOST {
            seen.clear();
        }
        seen.insert(Place::new(repository, blob), Instant::now());
    }

    pub fn has(&self, repository: &Reference, blob: &Digest) -> bool {
        self.lock().get(&Place::new(repository, blob)).is_some_and(|at| at.elapsed() < FRESH)
    }

    /// Forgets what is known of a repository; tells whether that was anything.
    pub fn forget(&self, repository: &Reference) -> bool {
        let mut seen = self.lock();
        let before = seen.len();
        seen.retain(|place, _| (&*place.host, &*place.path) != (repository.host(), repository.path()));
        seen.len() < before
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_repository_for_itself_and_no_more_than_is_bearable() {
        let seen = Seen::default();
        let [one, other] = ["host.example/one:tag", "host.example/other"].map(|name| name.parse().unwrap());
        let blob = Digest::of(b"x");
        seen.note(&one, &blob);
        assert_eq!((seen.has(&one, &blob), seen.has(&other, &blob)), (true, false));
        assert_eq!((seen.forget(&other), seen.has(&one, &blob)), (false, true));
        assert_eq!((seen.forget(&one), seen.has(&one, &blob)), (true, false));
        (0..MOST as u64 * 2).for_each(|i| seen.note(&one, &Digest::of(i.to_le_bytes())));
        assert!(seen.lock().len() <= MOST);
    }
}
