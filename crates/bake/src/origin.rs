//! Where the attributes of a target came from.

use std::rc::Rc;

use crate::diagnostic::Span;

/// One place that had a say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file, in the target or service of this name. `uses`: the variables that the expression reads.
    File { span: Span, target: Rc<str>, uses: Rc<[Rc<str>]> },
    /// A Compose file, in this service.
    Service { file: u16, service: String },
    /// An option of the command line, as it was written.
    Flag(String),
    /// It follows from something else.
    Implied(&'static str),
}

impl Origin {
    pub fn implied(by: &'static str) -> Self {
        Origin::Implied(by)
    }
}

/// Origins by attribute. Maps have one for each key, written `args.KEY`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins(Vec<(Rc<str>, Origin)>);

/// Attributes to which a later place adds.
const ADDED: [&str; 11] = [
    "annotations",
    "attest",
    "cache-from",
    "entitlements",
    "inherits",
    "no-cache-filter",
    "policy",
    "resources",
    "secret",
    "ssh",
    "ulimits",
];

impl Origins {
    /// What was said before no longer counts, unless the attribute is one that is added to.
    pub fn set(&mut self, attribute: impl Into<Rc<str>>, origin: Origin) {
        let attribute = attribute.into();
        if !ADDED.contains(&&*attribute) {
            self.0.retain(|(name, _)| *name != attribute);
        }
        self.0.push((attribute, origin));
    }

    pub fn add(&mut self, attribute: impl Into<Rc<str>>, origin: Origin) {
        let entry = (attribute.into(), origin);
        if !self.0.contains(&entry) {
            self.0.push(entry);
        }
    }

    pub fn replace(&mut self, attribute: impl Into<Rc<str>>, origin: Origin) {
        let attribute = attribute.into();
        self.0.retain(|(name, _)| *name != attribute);
        self.0.push((attribute, origin));
    }

    pub(crate) fn merge(&mut self, over: &Origins) {
        for (attribute, origin) in &over.0 {
            match ADDED.contains(&&**attribute) {
                true => self.add(attribute.clone(), origin.clone()),
                false => self.set(attribute.clone(), origin.clone()),
            }
        }
    }

    /// All of an attribute, the oldest first.
    pub fn of<'a>(&'a self, attribute: &'a str) -> impl Iterator<Item = &'a Origin> {
        self.0.iter().filter(move |(name, _)| &**name == attribute).map(|(_, origin)| origin)
    }
}
