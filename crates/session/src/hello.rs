//! How a client introduces its session.

use std::time::Duration;

use crate::metadata::{get_list, put_list};
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};

const ID: &str = "x-docker-expose-session-uuid";
const NAME: &str = "x-docker-expose-session-name";
const SHARED_KEY: &str = "x-docker-expose-session-sharedkey";
const METHOD: &str = "x-docker-expose-session-grpc-method";
/// Folders that are handed over; stock engines pass over it.
const FOLDER: &str = "x-kiln-session-folder";
/// Said by a client that hands over the files of its outputs.
const FILES: &str = "x-kiln-session-files";
const HEALTH_TIMEOUT: &str = "x-buildkit-session-health-custom-timeout";

/// Who opens a session and what it offers; travels in the metadata of Control.Session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hello {
    /// Chosen by the client, unique.
    pub id: String,
    pub name: String,
    /// Names the place that the files come from, so that the engine knows the same folder again.
    pub shared_key: String,
    /// Methods that may be called, as `/moby.filesync.v1.FileSync/DiffCopy`.
    pub methods: Vec<String>,
    /// Replaces interval and timeout of the health checks, and lets the first failure end the session.
    pub health_timeout: Option<Duration>,
    /// Number and name of each folder that is handed over.
    pub folders: Vec<String>,
    /// Whether files of outputs can be handed over, too.
    pub files: bool,
}

impl Hello {
    /// Reads what a client sent. Values that are no ASCII are skipped.
    pub fn from_metadata(metadata: &MetadataMap) -> Self {
        let one = |key| metadata.get(key).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let health_timeout = one(HEALTH_TIMEOUT).parse().ok().filter(|ms| *ms > 0).map(Duration::from_millis);
        Hello {
            id: one(ID),
            name: one(NAME),
            shared_key: one(SHARED_KEY),
            methods: metadata
                .get_all(METHOD)
                .iter()
                .filter_map(|v| Some(v.to_str().ok()?.to_owned()))
                .collect(),
            health_timeout,
            folders: get_list(metadata, FOLDER),
            files: metadata.contains_key(FILES),
        }
    }

    /// Puts everything on a request. Values that no header can carry are left out.
    pub fn to_metadata(&self, metadata: &mut MetadataMap) {
        let mut put = |key: &'static str, value: &str| {
            if let Ok(value) = MetadataValue::<Ascii>::try_from(value) {
                metadata.append(MetadataKey::<Ascii>::from_static(key), value);
            }
        };
        put(ID, &self.id);
        put(NAME, &self.name);
        put(SHARED_KEY, &self.shared_key);
        for method in &self.methods {
            put(METHOD, method);
        }
        if let Some(timeout) = self.health_timeout {
            put(HEALTH_TIMEOUT, &timeout.as_millis().to_string());
        }
        if self.files {
            put(FILES, "1");
        }
        put_list(metadata, FOLDER, &self.folders);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_trip_through_metadata() {
        let hello = Hello {
            id: "abc".into(),
            name: "box".into(),
            shared_key: "/src:1".into(),
            methods: vec!["/a.B/C".into(), "/a.B/D".into()],
            health_timeout: Some(Duration::from_millis(1500)),
            folders: vec!["7 context".into(), "8 \u{e9}".into()],
            files: true,
        };
        let mut metadata = MetadataMap::new();
        hello.to_metadata(&mut metadata);
        assert_eq!(Hello::from_metadata(&metadata), hello);
    }

    #[test]
    fn nothing_said_is_nothing_read() {
        assert_eq!(Hello::from_metadata(&MetadataMap::new()), Hello::default());
    }
}
