//! `RUN --mount`.

use std::fmt;

use crate::{Error, Result, csv, go, suggest};

/// One mount of a RUN.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mount {
    pub kind: MountKind,
    /// A stage, an image or a named context.
    pub from: String,
    pub source: String,
    pub target: String,
    pub readonly: bool,
    /// Of a tmpfs, in bytes; 0 sets no limit.
    pub size: i64,
    pub id: String,
    /// Of a cache; unset is shared.
    pub sharing: Option<Sharing>,
    pub required: bool,
    /// Of a secret: the variable that holds it.
    pub env: Option<String>,
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountKind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

/// Who may use a cache at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    Shared,
    Private,
    Locked,
}

const KINDS: [(&str, MountKind); 5] = [
    ("bind", MountKind::Bind),
    ("cache", MountKind::Cache),
    ("tmpfs", MountKind::Tmpfs),
    ("secret", MountKind::Secret),
    ("ssh", MountKind::Ssh),
];
const SHARINGS: [(&str, Sharing); 3] =
    [("shared", Sharing::Shared), ("private", Sharing::Private), ("locked", Sharing::Locked)];
const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

impl fmt::Display for MountKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(KINDS.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name))
    }
}

impl Mount {
    /// The value of `from`, which is needed before any variable is known.
    pub(super) fn from_of(text: &str) -> Result<String> {
        let mut from = String::new();
        for field in fields(text)? {
            if let Some((key, value)) = field.split_once('=')
                && key.eq_ignore_ascii_case("from")
            {
                if value.find('$').is_some_and(|at| at + 1 != value.len()) {
                    let message = "'from' doesn't support variable expansion, define alias stage instead";
                    return Err(Error::new(message));
                }
                from = value.to_owned();
            }
        }
        Ok(from)
    }

    pub(super) fn parse(text: &str, expand: &mut dyn FnMut(&str) -> Result<String>) -> Result<Mount> {
        let mut draft = Draft::default();
        for field in fields(text)? {
            match field.split_once('=') {
                Some((key, value)) => {
                    draft.set(&key.to_lowercase(), expand(value)?, &field)?;
                }
                None => draft.switch(&field.to_lowercase(), &field)?,
            }
        }
        draft.finish()
    }
}

fn fields(text: &str) -> Result<Vec<String>> {
    csv::fields(text).map_err(|e| e.context("failed to parse csv mounts"))
}

/// A mount whose fields are still coming in.
#[derive(Default)]
struct Draft {
    mount: Mount,
    readonly: Option<bool>,
}

impl Draft {
    /// A key without a value.
    fn switch(&mut self, key: &str, field: &str) -> Result<()> {
        match key {
            "readonly" | "ro" => self.readonly = Some(true),
            "readwrite" | "rw" => self.readonly = Some(false),
            "required" => self.require(key, true)?,
            _ => return Err(Error::new(format!("invalid field '{field}' must be a key=value pair"))),
        }
        Ok(())
    }

    fn require(&mut self, key: &str, required: bool) -> Result<()> {
        if !matches!(self.mount.kind, MountKind::Secret | MountKind::Ssh) {
            return Err(self.unexpected(key));
        }
        self.mount.required = required;
        Ok(())
    }

    fn unexpected(&self, key: &str) -> Error {
        Error::new(format!("unexpected key '{key}' for mount type '{}'", self.mount.kind))
    }

    fn set(&mut self, key: &str, value: String, field: &str) -> Result<()> {
        let invalid = || Error::new(format!("invalid value for {key}: {value}"));
        let truth = || oci::parse_bool(&value).ok_or_else(invalid);
        let number = |radix| {
            u32::from_str_radix(&value, radix)
                .ok()
                .filter(|_| !value.starts_with('+'))
                .ok_or_else(|| Error::new(format!("invalid value {value} for {key}")))
        };
        let m = &mut self.mount;
        match key {
            "type" => m.kind = choose(&KINDS, &value, "mount type")?,
            "from" => m.from = value,
            "source" | "src" => m.source = value,
            "target" | "dst" | "destination" => m.target = value,
            "readonly" | "ro" => self.readonly = Some(truth()?),
            "readwrite" | "rw" => self.readonly = Some(!truth()?),
            "required" if matches!(m.kind, MountKind::Secret | MountKind::Ssh) => m.required = truth()?,
            "size" if m.kind == MountKind::Tmpfs => {
                m.size = go::parse_ram_size(&value).ok_or_else(invalid)?
            }
            "required" | "size" => return Err(self.unexpected(key)),
            "id" => m.id = value,
            "sharing" => m.sharing = Some(choose(&SHARINGS, &value, "sharing value")?),
            "mode" => m.mode = Some(number(8)?),
            "uid" => m.uid = Some(number(10)?),
            "gid" => m.gid = Some(number(10)?),
            "env" => m.env = Some(value),
            _ => {
                let message = format!("unexpected key '{key}' in '{field}'");
                return Err(Error::new(suggest::append(message, key, KEYS)));
            }
        }
        Ok(())
    }

    /// Checks what goes together.
    fn finish(self) -> Result<Mount> {
        let m = Mount {
            readonly: self
                .readonly
                .unwrap_or(!matches!(self.mount.kind, MountKind::Cache | MountKind::Tmpfs)),
            ..self.mount
        };
        if matches!(m.kind, MountKind::Bind | MountKind::Tmpfs) {
            for (key, given) in
                [("mode", m.mode.is_some()), ("uid", m.uid.is_some()), ("gid", m.gid.is_some())]
            {
                if given {
                    return Err(Error::new(format!("{key} not allowed for \"{}\" type mounts", m.kind)));
                }
            }
        }
        if m.kind == MountKind::Secret {
            let refused = [
                (!m.from.is_empty(), "secret mount should not have a from"),
                (m.sharing.is_some(), "secret mount should not define sharing"),
                (
                    m.source.is_empty() && m.target.is_empty() && m.id.is_empty(),
                    "invalid secret mount. one of source, target required",
                ),
                (!m.source.is_empty() && !m.id.is_empty(), "both source and id can't be set"),
            ];
            if let Some((_, message)) = refused.into_iter().find(|(wrong, _)| *wrong) {
                return Err(Error::new(message));
            }
        }
        if m.sharing.is_some() && m.kind != MountKind::Cache {
            return Err(Error::new(format!("invalid cache sharing set for {} mount", m.kind)));
        }
        Ok(m)
    }
}

/// The choice of that name, blind to case.
fn choose<T: Copy>(choices: &[(&str, T)], value: &str, what: &str) -> Result<T> {
    let lower = value.to_lowercase();
    choices.iter().find(|(name, _)| *name == lower).map(|(_, choice)| *choice).ok_or_else(|| {
        let message = format!("unsupported {what} {}", go::quote(value));
        Error::new(suggest::append(message, value, choices.iter().map(|(name, _)| *name)))
    })
}
