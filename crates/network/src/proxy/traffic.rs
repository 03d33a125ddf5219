//! What went through a proxy.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use oci::Digest;

/// All requests of a container, and what came of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// In the order in which they were answered.
    pub requests: Vec<Request>,
    /// What was fetched whole.
    pub materials: Vec<Material>,
    /// What was fetched, or changed elsewhere, and cannot be told by a digest.
    pub missing: Vec<Missing>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// Without a login.
    pub url: String,
    /// The status of the answer.
    pub status: u16,
    /// Where the answer leads to.
    pub redirect: Option<String>,
    /// Why it was not made.
    pub denied: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Material {
    pub url: String,
    pub digest: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub method: String,
    pub url: String,
    /// In one word of BuildKit's, as `partial_response`.
    pub reason: &'static str,
}

/// Where it is written down.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Traffic>);

impl Recorder {
    pub fn request(&self, request: Request) {
        self.traffic().requests.push(request);
    }

    pub fn material(&self, material: Material) {
        self.traffic().materials.push(material);
    }

    pub fn missing(&self, missing: Missing) {
        self.traffic().missing.push(missing);
    }

    pub fn take(&self) -> Traffic {
        let mut traffic = std::mem::take(&mut *self.traffic());
        traffic.follow_redirects();
        traffic
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Traffic {
    /// What an address led to was fetched under that address too.
    fn follow_redirects(&mut self) {
        let mut known: BTreeMap<&str, &Digest> =
            self.materials.iter().map(|m| (&*m.url, &m.digest)).collect();
        let leads = |r: &Request| r.redirect.clone().map(|to| (r.url.clone(), to));
        let leads: Vec<_> = self.requests.iter().filter_map(leads).filter(|(from, to)| from != to).collect();
        let mut found = Vec::new();
        while let Some((from, digest)) = leads
            .iter()
            .filter(|(from, _)| !known.contains_key(from.as_str()))
            .find_map(|(from, to)| Some((from, *known.get(to.as_str())?)))
        {
            known.insert(from, digest);
            found.push(Material { url: from.clone(), digest: digest.clone() });
        }
        self.materials.extend(found);
    }

    /// As it is told in the log of a step; nothing where nothing was asked for.
    pub fn told(&self) -> Option<String> {
        let line = |r: &Request| {
            let why = r.denied.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("- {} {} -> {}{why}\n", r.method, r.url, r.status)
        };
        let lines: String = self.requests.iter().map(line).collect();
        (!lines.is_empty()).then(|| format!("proxy network requests:\n{lines}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str, redirect: &str) -> Request {
        let redirect = Some(redirect.to_owned()).filter(|to| !to.is_empty());
        Request { method: "GET".into(), url: url.into(), status: 200, redirect, denied: None }
    }

    #[test]
    fn an_address_that_leads_to_another_has_its_digest() {
        let recorder = Recorder::default();
        for (url, to) in [("a", "b"), ("b", "c"), ("c", ""), ("x", "y"), ("l", "l")] {
            recorder.request(request(url, to));
        }
        recorder.material(Material { url: "c".into(), digest: Digest::of("c") });
        let traffic = recorder.take();
        let mut urls: Vec<_> =
            traffic.materials.iter().map(|m| (&*m.url, m.digest == Digest::of("c"))).collect();
        urls.sort();
        assert_eq!(urls, [("a", true), ("b", true), ("c", true)]);
    }

    #[test]
    fn requests_are_told_in_their_order() {
        assert_eq!(Traffic::default().told(), None);
        let denied = Request { status: 403, denied: Some("not this".into()), ..request("http://h/b", "") };
        let traffic = Traffic { requests: vec![request("http://h/a", ""), denied], ..Traffic::default() };
        let expected =
            "proxy network requests:\n- GET http://h/a -> 200\n- GET http://h/b -> 403: not this\n";
        assert_eq!(traffic.told().as_deref(), Some(expected));
    }
}
