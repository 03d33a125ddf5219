//! Which parts of an instruction take variables.

use super::{ArgDefinition, Instruction, KeyValue, Kind, Sources};
use crate::Result;

/// Gives a word with its variables replaced.
pub type Expander<'a> = &'a mut dyn FnMut(&str) -> Result<String>;

impl Instruction {
    /// Expands the words that the instruction expands as a whole. The rest has times of its own: defaults of ARG, ports,
    /// mounts, texts of heredocs.
    ///
    /// # Errors
    /// Whatever `expand` refuses; the error points to the word.
    pub fn expand(&mut self, expand: Expander<'_>) -> Result<()> {
        let mut located = |word: &str| expand(word).map_err(|e| e.about(word));
        match &mut self.kind {
            Kind::Env(pairs) | Kind::Label(pairs) => expand_pairs(pairs, &mut located),
            Kind::Add(add) => {
                expand_all([&mut add.chown, &mut add.chmod, &mut add.checksum], &mut located)?;
                expand_sources(&mut add.sources, &mut located)
            }
            Kind::Copy(copy) => {
                expand_all([&mut copy.chown, &mut copy.chmod], &mut located)?;
                expand_sources(&mut copy.sources, &mut located)
            }
            Kind::Volume(words) => expand_all(words, &mut located),
            Kind::User(word) | Kind::Workdir(word) | Kind::StopSignal(word) => {
                expand_all([word], &mut located)
            }
            _ => Ok(()),
        }
        .map_err(|e| e.at(&self.place))
    }

    /// Expands the texts of heredocs whose names were not quoted.
    ///
    /// # Errors
    /// Whatever `expand` refuses.
    pub fn expand_inline(&mut self, expand: Expander<'_>) -> Result<()> {
        let (Kind::Add(super::Add { sources, .. }) | Kind::Copy(super::Copy { sources, .. })) =
            &mut self.kind
        else {
            return Ok(());
        };
        for file in sources.inline.iter_mut().filter(|f| f.expand) {
            file.content = expand(&file.content).map_err(|e| e.at(&self.place))?;
        }
        Ok(())
    }
}

impl ArgDefinition {
    /// The value, or nothing.
    pub fn value_or_empty(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }
}

fn expand_all<'a>(words: impl IntoIterator<Item = &'a mut String>, expand: Expander<'_>) -> Result<()> {
    for word in words {
        *word = expand(word)?;
    }
    Ok(())
}

fn expand_pairs(pairs: &mut [KeyValue], expand: Expander<'_>) -> Result<()> {
    pairs.iter_mut().try_for_each(|pair| expand_all([&mut pair.key, &mut pair.value], expand))
}

fn expand_sources(sources: &mut Sources, expand: Expander<'_>) -> Result<()> {
    expand_all(&mut sources.paths, expand)?;
    expand_all([&mut sources.destination], expand)
}
