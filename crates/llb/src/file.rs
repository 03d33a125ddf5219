//! The file op (`pb.FileOp`). The `Serialize` forms are those of BuildKit's JSON, on which its cache keys stand.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::op::{is_false, is_zero};

/// Changes files without a process. Actions run in order; their inputs are inputs of the op, or outputs of earlier
/// actions counted on from there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileOp {
    pub actions: Vec<FileAction>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileAction {
    pub input: i64,
    pub secondary_input: i64,
    pub output: i64,
    pub kind: FileActionKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileActionKind {
    Copy(Copy),
    MkFile(MkFile),
    MkDir(MkDir),
    Rm(Rm),
    Symlink(Symlink),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copy {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub src: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Chown>,
    /// Permission bits, or -1 to keep those of the source.
    #[serde(skip_serializing_if = "is_zero")]
    pub mode: i32,
    #[serde(rename = "followSymlink", skip_serializing_if = "is_false")]
    pub follow_symlink: bool,
    #[serde(rename = "dirCopyContents", skip_serializing_if = "is_false")]
    pub dir_copy_contents: bool,
    #[serde(rename = "attemptUnpackDockerCompatibility", skip_serializing_if = "is_false")]
    pub attempt_unpack: bool,
    #[serde(rename = "createDestPath", skip_serializing_if = "is_false")]
    pub create_dest_path: bool,
    #[serde(rename = "allowWildcard", skip_serializing_if = "is_false")]
    pub allow_wildcard: bool,
    #[serde(rename = "allowEmptyWildcard", skip_serializing_if = "is_false")]
    pub allow_empty_wildcard: bool,
    /// Nanoseconds since 1970, or -1 for none.
    #[serde(skip_serializing_if = "is_zero")]
    pub timestamp: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include_patterns: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_patterns: Vec<String>,
    #[serde(rename = "alwaysReplaceExistingDestPaths", skip_serializing_if = "is_false")]
    pub always_replace_existing: bool,
    /// Symbolic mode, as `u=rwX,go=rX`.
    #[serde(rename = "modeStr", skip_serializing_if = "String::is_empty")]
    pub mode_str: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required_paths: Vec<String>,
}

impl Default for Copy {
    fn default() -> Self {
        Copy {
            src: String::new(),
            dest: String::new(),
            owner: None,
            mode: -1,
            follow_symlink: false,
            dir_copy_contents: false,
            attempt_unpack: false,
            create_dest_path: false,
            allow_wildcard: false,
            allow_empty_wildcard: false,
            timestamp: -1,
            include_patterns: Vec::new(),
            exclude_patterns: Vec::new(),
            always_replace_existing: false,
            mode_str: String::new(),
            required_paths: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MkFile {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub mode: i32,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "base64")]
    pub data: Vec<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Chown>,
    #[serde(skip_serializing_if = "is_zero")]
    pub timestamp: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MkDir {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub mode: i32,
    #[serde(rename = "makeParents", skip_serializing_if = "is_false")]
    pub make_parents: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Chown>,
    #[serde(skip_serializing_if = "is_zero")]
    pub timestamp: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rm {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    #[serde(rename = "allowNotFound", skip_serializing_if = "is_false")]
    pub allow_not_found: bool,
    #[serde(rename = "allowWildcard", skip_serializing_if = "is_false")]
    pub allow_wildcard: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Symlink {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub oldpath: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub newpath: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Chown>,
    #[serde(skip_serializing_if = "is_zero")]
    pub timestamp: i64,
}

/// The owner that an action gives.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Chown {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<User>,
}

/// A user or group: a number, or a name to look up in `/etc/passwd` or `/etc/group` of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    Name { name: String, input: i64 },
    Id(u32),
}

/// A oneof stands in Go's JSON as `{"User":{"byId":7}}`, without the field where it is 0.
impl Serialize for User {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Named<'a> {
            #[serde(skip_serializing_if = "str::is_empty")]
            name: &'a str,
            #[serde(skip_serializing_if = "is_zero")]
            input: i64,
        }
        #[derive(Default, Serialize)]
        struct Kind<'a> {
            #[serde(rename = "byName", skip_serializing_if = "Option::is_none")]
            by_name: Option<Named<'a>>,
            #[serde(rename = "byId", skip_serializing_if = "is_zero")]
            by_id: u32,
        }
        let kind = match self {
            User::Name { name, input } => Kind { by_name: Some(Named { name, input: *input }), by_id: 0 },
            User::Id(id) => Kind { by_id: *id, ..Kind::default() },
        };
        let mut map = s.serialize_map(Some(1))?;
        map.serialize_entry("User", &kind)?;
        map.end()
    }
}

fn base64<S: Serializer>(data: &[u8], s: S) -> Result<S::Ok, S::Error> {
    use base64::Engine as _;
    s.serialize_str(&base64::engine::general_purpose::STANDARD.encode(data))
}
