//! The history of an image, made to fit its layers.

use errdefs::{Error, Result};
use serde::Deserialize;

use crate::time::Time;

const COMMENT: &str = "buildkit.exporter.image.v0";

/// An entry of the history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    pub created: Option<Time>,
    pub created_by: String,
    pub author: String,
    pub comment: String,
    pub empty_layer: bool,
}

/// What is known of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerInfo {
    pub description: String,
    pub created: Time,
}

/// The history that an image config holds.
pub fn parse(config: &[u8]) -> Result<Vec<Entry>> {
    #[derive(Deserialize)]
    struct Config {
        history: Option<Vec<oci::History>>,
    }
    let config: Option<Config> = serde_json::from_slice(config)
        .map_err(|e| Error::user(format!("failed to unmarshal history from config: {e}")))?;
    let entries = config.and_then(|config| config.history).unwrap_or_default();
    entries.into_iter().map(Entry::new).collect()
}

/// Gives every layer an entry, and every entry a time.
pub fn fit(history: &mut Vec<Entry>, layers: &[LayerInfo]) {
    let mut left = layers.len();
    // More entries than layers: those that come too late have none.
    for entry in history.iter_mut().filter(|entry| !entry.empty_layer) {
        match left.checked_sub(1) {
            Some(less) => left = less,
            None => entry.empty_layer = true,
        }
    }
    // More layers than entries: the layers tell of themselves.
    history.extend(layers[layers.len() - left..].iter().map(Entry::of_layer));
    let with_layer = history.iter_mut().filter(|entry| !entry.empty_layer);
    for (entry, layer) in with_layer.zip(layers) {
        entry.created.get_or_insert_with(|| layer.created.clone());
    }
    fill_times(history);
}

/// Entries without a layer take the time of the layer before them; those before the first new layer take its time, and
/// not that of the base image.
fn fill_times(history: &mut [Entry]) {
    let without = history.iter().position(|entry| entry.created.is_none()).unwrap_or(history.len());
    let (before, after) = history.split_at(without);
    let first_new = after.iter().find_map(|entry| entry.created.clone());
    let mut last = first_new.or_else(|| before.iter().rev().find_map(|entry| entry.created.clone()));
    let mut is_new = false;
    for entry in history {
        match &entry.created {
            Some(created) if is_new => last = Some(created.clone()),
            Some(_) => {}
            None => {
                is_new = true;
                entry.created.clone_from(&last);
            }
        }
    }
}

/// Makes no entry later than `epoch`. What the image has in common with its base stays as it is.
pub fn clamp(history: &mut [Entry], base: &[Entry], epoch: &Time) {
    let common = history.iter().zip(base).take_while(|(own, base)| own == base).count();
    for entry in &mut history[common..] {
        let created = entry.created.take().map_or_else(|| epoch.clone(), |created| created.clamp(epoch));
        entry.created = Some(created);
    }
}

impl Entry {
    fn new(entry: oci::History) -> Result<Self> {
        Ok(Entry {
            created: entry.created.as_deref().map(Time::parse).transpose()?,
            created_by: entry.created_by,
            author: entry.author,
            comment: entry.comment,
            empty_layer: entry.empty_layer,
        })
    }

    fn of_layer(layer: &LayerInfo) -> Self {
        // Nobody should see it, but an image needs some text.
        let unknown = if layer.description.is_empty() { "created by buildkit" } else { "" };
        Entry {
            created: Some(layer.created.clone()),
            created_by: format!("{}{unknown}", layer.description),
            comment: COMMENT.into(),
            ..Entry::default()
        }
    }
}

impl From<Entry> for oci::History {
    fn from(entry: Entry) -> Self {
        oci::History {
            created: entry.created.map(|created| created.as_str().to_owned()),
            created_by: entry.created_by,
            author: entry.author,
            comment: entry.comment,
            empty_layer: entry.empty_layer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(second: i64) -> Time {
        Time::from_seconds(second).expect("a time")
    }

    /// Entries as `name@second`, with a `-` in front where they have no layer.
    fn entries(text: &str) -> Vec<Entry> {
        text.split_whitespace()
            .map(|word| {
                let (name, second) = word.split_once('@').unwrap_or((word, ""));
                Entry {
                    created: second.parse().ok().map(time),
                    created_by: name.trim_start_matches('-').into(),
                    empty_layer: name.starts_with('-'),
                    ..Entry::default()
                }
            })
            .collect()
    }

    fn show(history: &[Entry]) -> String {
        let mut words = Vec::new();
        for entry in history {
            let empty = if entry.empty_layer { "-" } else { "" };
            let second = (0..100).find(|s| entry.created == Some(time(*s)));
            let second = second.map(|s| format!("@{s}")).unwrap_or_default();
            words.push(format!("{empty}{}{second}", entry.created_by));
        }
        words.join(" ")
    }

    #[test]
    fn history_is_made_to_fit() {
        for (history, layers, expected) in [
            ("a b", "x@1 y@2", "a@1 b@2"),
            ("a -m b", "x@1 y@2", "a@1 -m@2 b@2"),
            ("-m a -n b -o", "x@1 y@2", "-m@1 a@1 -n@1 b@2 -o@2"),
            ("base@5 -m a -n", "x@1 y@9", "base@5 -m@9 a@9 -n@9"),
            ("base@5 -m", "x@1", "base@5 -m@5"),
            ("a b c", "x@1", "a@1 -b@1 -c@1"),
            ("-m", "", "-m"),
            ("", "x@1 y@2", "x@1 y@2"),
            ("a", "x@1 y@2", "a@1 y@2"),
            ("-m a@3 -n", "x@1", "-m@3 a@3 -n@3"),
        ] {
            let mut fitted = entries(history);
            let layers: Vec<_> = entries(layers)
                .into_iter()
                .map(|e| LayerInfo {
                    description: e.created_by,
                    created: e.created.expect("layers have times"),
                })
                .collect();
            fit(&mut fitted, &layers);
            assert_eq!(show(&fitted), expected, "{history} on {layers:?}");
        }
    }

    #[test]
    fn the_epoch_leaves_the_base_alone() {
        let mut history = entries("base@50 -m@50 new@50 old@3 -n");
        clamp(&mut history, &entries("base@50 -m@50 gone@1"), &time(10));
        assert_eq!(show(&history), "base@50 -m@50 new@10 old@3 -n@10");
    }

    #[test]
    fn null_is_no_history() {
        assert_eq!(parse(b"{}").expect("valid"), []);
        assert_eq!(parse(br#"{"history":null}"#).expect("valid"), []);
        assert!(parse(br#"{"history":[{"created":"x"}]}"#).is_err());
    }
}
