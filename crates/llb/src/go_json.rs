//! An op in the JSON form of BuildKit's Go types, as provenance shows it. Its inputs are left out: the op does not know
//! them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci::Platform;
use serde::{Serialize, Serializer};

use crate::exec::ExecOp;
use crate::file::{Copy, FileAction, FileActionKind, MkDir, MkFile, Rm, Symlink};
use crate::op::{BuildOp, Op, OpKind};

impl Serialize for Op {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let platform = self.platform.as_ref().map(PlatformForm::of);
        let constraints = Constraints { filter: &self.constraints };
        OpForm { kind: KindForm::of(&self.kind), platform, constraints }.serialize(serializer)
    }
}

#[derive(Serialize)]
struct OpForm<'a> {
    #[serde(rename = "Op")]
    kind: KindForm<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<PlatformForm<'a>>,
    constraints: Constraints<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum KindForm<'a> {
    Exec(&'a ExecOp),
    Source(SourceForm<'a>),
    File { actions: Vec<ActionForm<'a>> },
    Build(BuildForm<'a>),
    Merge { inputs: Vec<Input> },
    Diff { lower: Input, upper: Input },
    Passthrough(PassthroughForm<'a>),
}

impl<'a> KindForm<'a> {
    fn of(kind: &'a OpKind) -> Self {
        match kind {
            OpKind::Exec(exec) => KindForm::Exec(exec),
            OpKind::Source(s) => KindForm::Source(SourceForm { identifier: &s.identifier, attrs: &s.attrs }),
            OpKind::File(file) => {
                KindForm::File { actions: file.actions.iter().map(ActionForm::of).collect() }
            }
            OpKind::Build(build) => KindForm::Build(BuildForm::of(build)),
            OpKind::Merge(merge) => {
                KindForm::Merge { inputs: merge.inputs.iter().map(|&input| Input { input }).collect() }
            }
            OpKind::Diff(diff) => {
                KindForm::Diff { lower: Input { input: diff.lower }, upper: Input { input: diff.upper } }
            }
            OpKind::Passthrough(p) => {
                KindForm::Passthrough(PassthroughForm { id: &p.id, outputs: &p.outputs })
            }
        }
    }
}

#[derive(Serialize)]
struct SourceForm<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    identifier: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attrs: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct ActionForm<'a> {
    input: i64,
    #[serde(rename = "secondaryInput")]
    secondary_input: i64,
    output: i64,
    #[serde(rename = "Action")]
    action: ActionKind<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum ActionKind<'a> {
    Copy(&'a Copy),
    MkFile(&'a MkFile),
    MkDir(&'a MkDir),
    Rm(&'a Rm),
    Symlink(&'a Symlink),
}

impl<'a> ActionForm<'a> {
    fn of(action: &'a FileAction) -> Self {
        let kind = match &action.kind {
            FileActionKind::Copy(copy) => ActionKind::Copy(copy),
            FileActionKind::MkFile(file) => ActionKind::MkFile(file),
            FileActionKind::MkDir(dir) => ActionKind::MkDir(dir),
            FileActionKind::Rm(rm) => ActionKind::Rm(rm),
            FileActionKind::Symlink(link) => ActionKind::Symlink(link),
        };
        let FileAction { input, secondary_input, output, .. } = *action;
        ActionForm { input, secondary_input, output, action: kind }
    }
}

#[derive(Serialize)]
struct BuildForm<'a> {
    #[serde(skip_serializing_if = "crate::op::is_zero")]
    builder: i64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    inputs: BTreeMap<&'a str, Input>,
    #[serde(skip_serializing_if = "Option::is_none")]
    def: Option<DefinitionForm>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attrs: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct DefinitionForm {
    def: Vec<String>,
}

impl<'a> BuildForm<'a> {
    fn of(build: &'a BuildOp) -> Self {
        let inputs = build.inputs.iter().map(|(name, &input)| (name.as_str(), Input { input }));
        let ops = build.definition.as_ref().map(|d| d.ops.iter().map(|op| STANDARD.encode(op)).collect());
        BuildForm {
            builder: build.builder,
            inputs: inputs.collect(),
            def: ops.map(|def| DefinitionForm { def }),
            attrs: &build.attrs,
        }
    }
}

#[derive(Serialize)]
struct PassthroughForm<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "<[i64]>::is_empty")]
    outputs: &'a [i64],
}

#[derive(Serialize)]
struct Input {
    #[serde(skip_serializing_if = "crate::op::is_zero")]
    input: i64,
}

#[derive(Serialize)]
struct Constraints<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    filter: &'a [String],
}

#[derive(Serialize)]
struct PlatformForm<'a> {
    #[serde(rename = "Architecture", skip_serializing_if = "str::is_empty")]
    architecture: &'a str,
    #[serde(rename = "OS", skip_serializing_if = "str::is_empty")]
    os: &'a str,
    #[serde(rename = "Variant", skip_serializing_if = "str::is_empty")]
    variant: &'a str,
    #[serde(rename = "OSVersion", skip_serializing_if = "str::is_empty")]
    os_version: &'a str,
    #[serde(rename = "OSFeatures", skip_serializing_if = "<[String]>::is_empty")]
    os_features: &'a [String],
}

impl<'a> PlatformForm<'a> {
    fn of(platform: &'a Platform) -> Self {
        let Platform { architecture, os, os_version, os_features, variant } = platform;
        PlatformForm { architecture, os, variant, os_version, os_features }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Mount;
    use crate::file::{Chown, FileOp, User};
    use crate::op::{MergeOp, SourceOp};

    fn check(kind: OpKind, platform: Option<Platform>, expected: &str) {
        let op = Op { kind, platform, constraints: Vec::new() };
        assert_eq!(serde_json::to_string(&op).expect("JSON"), expected);
    }

    #[test]
    fn forms() {
        let source = SourceOp { identifier: "local://x".into(), attrs: BTreeMap::new() };
        check(
            OpKind::Source(source),
            Some(Platform::new("linux", "arm", "v7")),
            r#"{"Op":{"source":{"identifier":"local://x"}},"platform":{"Architecture":"arm","OS":"linux","Variant":"v7"},"constraints":{}}"#,
        );
        let mount = Mount { dest: "/".into(), ..Mount::default() };
        let exec = ExecOp { mounts: vec![mount], ..ExecOp::default() };
        check(
            OpKind::Exec(Box::new(exec)),
            None,
            r#"{"Op":{"exec":{"meta":{},"mounts":[{"dest":"/"}]}},"constraints":{}}"#,
        );
        check(
            OpKind::Merge(MergeOp { inputs: vec![0, 1] }),
            None,
            r#"{"Op":{"merge":{"inputs":[{},{"input":1}]}},"constraints":{}}"#,
        );
        let owner = Chown { user: Some(User::Id(7)), group: None };
        let copy = Copy { src: "/a".into(), dest: "/b".into(), owner: Some(owner), ..Copy::default() };
        let kind = FileActionKind::Copy(copy);
        let action = FileAction { input: 0, secondary_input: 1, output: 0, kind };
        check(
            OpKind::File(FileOp { actions: vec![action] }),
            None,
            r#"{"Op":{"file":{"actions":[{"input":0,"secondaryInput":1,"output":0,"Action":{"copy":{"src":"/a","dest":"/b","owner":{"user":{"User":{"byId":7}}},"mode":-1,"timestamp":-1}}}]}},"constraints":{}}"#,
        );
    }
}
