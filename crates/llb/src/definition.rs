//! A graph as it travels (`pb.Definition`).

use std::collections::BTreeMap;

use bytes::Bytes;
use errdefs::{Range, Result};
use oci::Digest;

use crate::metadata::OpMetadata;
use crate::wire::{decode_definition, decode_op, encode_definition};

/// Encoded ops, inputs before users. The last is a pointer: an op of one input and nothing else, the result.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Definition {
    pub ops: Vec<Bytes>,
    pub metadata: BTreeMap<Digest, OpMetadata>,
    pub source: SourceMap,
}

/// Where in which file each vertex comes from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SourceMap {
    pub infos: Vec<SourceInfo>,
    pub locations: BTreeMap<Digest, Vec<Location>>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct SourceInfo {
    pub filename: String,
    pub data: Bytes,
    pub language: String,
    /// The graph that delivered the file.
    pub definition: Option<Box<Definition>>,
}

/// A place in `SourceMap::infos[source]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    pub source: usize,
    pub ranges: Vec<Range>,
}

impl SourceMap {
    /// The places of a vertex, with the text of their files.
    pub fn locations(&self, digest: &Digest) -> Vec<errdefs::SourceLocation> {
        let places = self.locations.get(digest).into_iter().flatten();
        places.filter_map(|place| self.with_text(place)).collect()
    }

    fn with_text(&self, location: &Location) -> Option<errdefs::SourceLocation> {
        let info = self.infos.get(location.source)?;
        Some(errdefs::SourceLocation {
            info: errdefs::SourceInfo {
                filename: info.filename.clone(),
                data: info.data.to_vec(),
                language: info.language.clone(),
                definition: info.definition.as_deref().cloned().map(encode_definition).unwrap_or_default(),
            },
            ranges: location.ranges.clone(),
        })
    }
}

impl Definition {
    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        encode_definition(self.clone())
    }

    /// Reads what [`Definition::encode`] or another builder of graphs has written. The ops are checked when the graph is
    /// loaded.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        decode_definition(bytes)
    }

    /// The vertex that makes the result.
    pub fn head(&self) -> Result<Option<Digest>> {
        let Some(pointer) = self.ops.last() else { return Ok(None) };
        Ok(decode_op(pointer)?.1.into_iter().next().map(|input| input.digest))
    }

    /// No graph: the result is scratch.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}
