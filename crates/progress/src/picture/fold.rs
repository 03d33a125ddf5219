use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use oci::Digest;

use crate::event::{ProgressGroup, SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning};
use crate::picture::row::Kind;
use crate::picture::{Part, Row, RowId};

/// What one message of the stream changed, in the order in which it should be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The row began, ended, or was told anew.
    State(RowId),
    /// The part of that index moved.
    Part(RowId, usize),
    Warning(RowId),
    Log {
        row: RowId,
        at: Timestamp,
        data: Bytes,
    },
}

/// All that is known of a build while it runs.
#[derive(Debug, Default)]
pub struct Picture {
    rows: Vec<Row>,
    by_digest: HashMap<Digest, RowId>,
    groups: HashMap<String, RowId>,
    /// Where in its row the part of an id stands.
    parts: HashMap<(RowId, String), usize>,
    shown: Vec<RowId>,
    started: Option<Timestamp>,
    /// Local clock minus the engine's, taken at the first start.
    skew: Option<SignedDuration>,
}

impl Picture {
    /// Takes in a message. `now` is the local time; the first start that is told sets the two clocks side by side.
    pub fn apply(&mut self, status: &SolveStatus, now: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut touched = Vec::new();
        for vertex in &status.vertexes {
            if self.started.is_none() {
                self.started = vertex.started;
            }
            if self.skew.is_none() {
                self.skew = vertex.started.map(|s| now.duration_since(s));
            }
            match &vertex.progress_group {
                Some(group) => {
                    let id = self.add_member(group, vertex);
                    if !touched.contains(&id) {
                        touched.push(id);
                    }
                }
                None => self.apply_vertex(vertex, &mut changes),
            }
        }
        for id in touched {
            self.refresh_group(id, &mut changes);
        }
        status.statuses.iter().for_each(|s| self.apply_status(s, &mut changes));
        status.warnings.iter().for_each(|w| self.apply_warning(w, &mut changes));
        status.logs.iter().for_each(|l| self.apply_log(l, &mut changes));
        changes
    }

    pub fn row(&self, id: RowId) -> &Row {
        &self.rows[id.0]
    }

    /// Whether the row is a group that is not to be shown yet.
    pub(crate) fn is_hidden(&self, id: RowId) -> bool {
        self.rows[id.0].is_hidden()
    }

    /// Rows that have begun, in that order.
    pub fn shown(&self) -> impl Iterator<Item = (RowId, &Row)> {
        self.shown.iter().map(|id| (*id, &self.rows[id.0]))
    }

    /// How many rows are complete, and how many there are.
    pub fn counts(&self) -> (usize, usize) {
        let counted = || self.rows.iter().filter(|r| !r.is_hidden());
        (counted().filter(|r| r.is_completed()).count(), counted().count())
    }

    /// When the first row began, by the engine's clock.
    pub fn started(&self) -> Option<Timestamp> {
        self.started
    }

    /// The engine's time at the local time `now`.
    pub fn engine_time(&self, now: Timestamp) -> Timestamp {
        self.skew.and_then(|skew| now.checked_sub(skew).ok()).unwrap_or(now)
    }

    fn add(&mut self, row: Row) -> RowId {
        self.rows.push(row);
        RowId(self.rows.len() - 1)
    }

    fn show(&mut self, id: RowId) {
        let row = &mut self.rows[id.0];
        if !row.shown {
            row.shown = true;
            self.shown.push(id);
        }
    }

    fn apply_vertex(&mut self, vertex: &Vertex, changes: &mut Vec<Change>) {
        let id = match self.by_digest.get(&vertex.digest) {
            Some(id) => *id,
            None => {
                let id = self.add(Row::new(vertex.name.clone(), Kind::Vertex));
                self.by_digest.insert(vertex.digest.clone(), id);
                id
            }
        };
        let Some(started) = vertex.started else { return };
        let row = &mut self.rows[id.0];
        let known =
            row.shown && row.name == vertex.name && row.cached == vertex.cached && row.error == vertex.error;
        let moved = row.spans.insert(started, vertex.completed);
        row.name.clone_from(&vertex.name);
        row.cached = vertex.cached;
        row.error.clone_from(&vertex.error);
        if moved || !known {
            changes.push(Change::State(id));
        }
        self.show(id);
    }

    fn add_member(&mut self, group: &ProgressGroup, vertex: &Vertex) -> RowId {
        let id = match self.groups.get(&group.id) {
            Some(id) => *id,
            None => {
                let kind = Kind::Group { members: BTreeMap::new(), revealed: false };
                let id = self.add(Row::new(group.name.clone(), kind));
                self.groups.insert(group.id.clone(), id);
                id
            }
        };
        if let Kind::Group { members, .. } = &mut self.rows[id.0].kind {
            members.insert(vertex.digest.clone(), vertex.clone());
        }
        self.by_digest.insert(vertex.digest.clone(), id);
        id
    }

    /// A group is cached when all its members are, has the first error of any, and works while one of them works.
    fn refresh_group(&mut self, id: RowId, changes: &mut Vec<Change>) {
        let row = &mut self.rows[id.0];
        let Kind::Group { members, revealed } = &mut row.kind else { return };
        let before = (row.cached, row.error.clone(), *revealed);
        let mut moved = false;
        row.cached = true;
        for member in members.values() {
            if let Some(started) = member.started {
                moved |= row.spans.insert(started, member.completed);
                *revealed |= !member.progress_group.as_ref().is_some_and(|g| g.weak);
            }
            row.cached &= member.cached;
            if row.error.is_empty() {
                row.error.clone_from(&member.error);
            }
        }
        *revealed |= !row.error.is_empty();
        if *revealed {
            if moved || before != (row.cached, row.error.clone(), *revealed) {
                changes.push(Change::State(id));
            }
            self.show(id);
        }
    }

    fn apply_status(&mut self, status: &VertexStatus, changes: &mut Vec<Change>) {
        let Some(&row) = self.by_digest.get(&status.vertex) else { return };
        if status.started.is_none() {
            return;
        }
        let parts = &mut self.rows[row.0].parts;
        let slot = *self.parts.entry((row, status.id.clone())).or_insert(parts.len());
        match parts.get_mut(slot) {
            Some(part) => part.status = status.clone(),
            None => parts.push(Part { status: status.clone() }),
        }
        changes.push(Change::Part(row, slot));
    }

    fn apply_warning(&mut self, warning: &VertexWarning, changes: &mut Vec<Change>) {
        let Some(&row) = self.by_digest.get(&warning.vertex) else { return };
        self.rows[row.0].warnings.push(warning.clone());
        changes.push(Change::Warning(row));
    }

    fn apply_log(&mut self, log: &VertexLog, changes: &mut Vec<Change>) {
        let Some(&row) = self.by_digest.get(&log.vertex) else { return };
        changes.push(Change::Log { row, at: log.timestamp, data: log.data.clone() });
    }
}
