//! Who made which graph, for builds that are given the graph of another one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use llb::Definition;
use oci::Digest;
use provenance::NamedRequest;

/// The requests that graphs came from, while the builds run that they came from. One for all builds of an engine.
#[derive(Default)]
pub struct Producers(Mutex<HashMap<Digest, Vec<Arc<NamedRequest>>>>);

/// What one build has registered. Dropping it takes it back.
pub struct Registered {
    producers: Arc<Producers>,
    own: Mutex<Vec<(Digest, Arc<NamedRequest>)>>,
}

impl Producers {
    /// Who made the graph with this result. Nothing when it came from requests that differ.
    pub fn of(&self, head: &Digest) -> Option<NamedRequest> {
        let known = self.known();
        let mut all = known.get(head)?.iter().map(|request| {
            let mut request = NamedRequest::clone(request);
            request.request.root = None;
            request
        });
        let first = all.next()?;
        all.all(|other| other == first).then_some(first)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Digest, Vec<Arc<NamedRequest>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registered {
    pub fn new(producers: Arc<Producers>) -> Self {
        Registered { producers, own: Mutex::default() }
    }

    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    pub fn add(&self, definition: &Definition, request: NamedRequest) {
        let Some(head) = head(definition) else { return };
        let request = Arc::new(request);
        self.producers.known().entry(head.clone()).or_default().push(Arc::clone(&request));
        self.own.lock().unwrap_or_else(PoisonError::into_inner).push((head, request));
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut known = self.producers.known();
        for (head, request) in std::mem::take(&mut *self.own.lock().unwrap_or_else(PoisonError::into_inner)) {
            if let Some(all) = known.get_mut(&head) {
                all.retain(|other| !Arc::ptr_eq(other, &request));
                if all.is_empty() {
                    known.remove(&head);
                }
            }
        }
    }
}

/// The vertex that makes the result.
pub fn head(definition: &Definition) -> Option<Digest> {
    definition.head().ok().flatten()
}
