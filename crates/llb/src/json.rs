//! An op in the JSON form of protobuf, as clients find it in errors.

use bytes::Bytes;
use errdefs::{Error, Result};
use serde_json::{Map, Value, json};

use crate::file::{FileAction, FileActionKind};
use crate::op::OpKind;
use crate::wire;

/// The JSON of an encoded op.
///
/// # Errors
/// For what is no op.
pub fn op_json(encoded: &[u8]) -> Result<Value> {
    let (op, inputs) = wire::decode_op(&Bytes::copy_from_slice(encoded))?;
    let mut object = Map::new();
    let inputs: Vec<_> =
        inputs.iter().map(|i| json!({"digest": i.digest.to_string(), "index": i.index})).collect();
    object.insert("inputs".into(), inputs.into());
    let Some(op) = op else { return Ok(object.into()) };
    let (name, kind) = match &op.kind {
        OpKind::Exec(exec) => ("exec", value(exec)?),
        OpKind::Source(source) => ("source", value(source)?),
        OpKind::File(file) => {
            let actions = file.actions.iter().map(action).collect::<Result<Vec<_>>>()?;
            ("file", json!({ "actions": actions }))
        }
        OpKind::Build(build) => {
            let inputs: Map<_, _> =
                build.inputs.iter().map(|(name, input)| (name.clone(), json!({ "input": input }))).collect();
            ("build", json!({"builder": build.builder, "inputs": inputs, "attrs": build.attrs}))
        }
        OpKind::Merge(merge) => {
            let inputs: Vec<_> = merge.inputs.iter().map(|input| json!({ "input": input })).collect();
            ("merge", json!({ "inputs": inputs }))
        }
        OpKind::Diff(diff) => {
            ("diff", json!({"lower": {"input": diff.lower}, "upper": {"input": diff.upper}}))
        }
        OpKind::Passthrough(p) => ("passthrough", json!({"id": p.id, "outputs": p.outputs})),
    };
    object.insert(name.into(), kind);
    if let Some(p) = &op.platform {
        let platform = json!({
            "Architecture": p.architecture, "OS": p.os, "Variant": p.variant,
            "OSVersion": p.os_version, "OSFeatures": p.os_features,
        });
        object.insert("platform".into(), platform);
    }
    if !op.constraints.is_empty() {
        object.insert("constraints".into(), json!({ "filter": op.constraints }));
    }
    Ok(object.into())
}

fn action(action: &FileAction) -> Result<Value> {
    let (name, mut kind) = match &action.kind {
        FileActionKind::Copy(copy) => ("copy", value(copy)?),
        FileActionKind::MkFile(file) => ("mkfile", value(file)?),
        FileActionKind::MkDir(dir) => ("mkdir", value(dir)?),
        FileActionKind::Rm(rm) => ("rm", value(rm)?),
        FileActionKind::Symlink(link) => ("symlink", value(link)?),
    };
    // Cache keys have one more object around a user.
    for side in ["user", "group"] {
        if let Some(user) = kind.pointer_mut(&format!("/owner/{side}")) {
            *user = user.get_mut("User").map(Value::take).unwrap_or_default();
        }
    }
    Ok(json!({
        "input": action.input, "secondaryInput": action.secondary_input, "output": action.output, name: kind,
    }))
}

fn value(of: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(of).map_err(|e| Error::internal(e.to_string()))
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use proto::pb;

    use super::op_json;

    fn check(op: pb::op::Op, inputs: usize, expected: &str) {
        let input = pb::Input { digest: oci::Digest::of("x").to_string(), index: 0 };
        let op = pb::Op { inputs: vec![input; inputs], op: Some(op), ..Default::default() };
        let json = op_json(&op.encode_to_vec()).expect("an op");
        let mut json = json.as_object().expect("an object").clone();
        json.remove("inputs");
        assert_eq!(serde_json::to_string(&json).expect("JSON"), expected);
    }

    #[test]
    fn forms() {
        let merge = pb::MergeOp { inputs: vec![pb::MergeInput { input: 0 }, pb::MergeInput { input: 1 }] };
        check(pb::op::Op::Merge(merge), 2, r#"{"merge":{"inputs":[{"input":0},{"input":1}]}}"#);
        let owner = pb::UserOpt { user: Some(pb::user_opt::User::ById(7)) };
        let mkfile = pb::FileActionMkFile {
            path: "/a".into(),
            data: b"x".to_vec(),
            owner: Some(pb::ChownOpt { user: Some(owner), group: None }),
            ..Default::default()
        };
        let action = pb::FileAction {
            input: -1,
            secondary_input: -1,
            output: 0,
            action: Some(pb::file_action::Action::Mkfile(mkfile)),
        };
        check(
            pb::op::Op::File(pb::FileOp { actions: vec![action] }),
            0,
            r#"{"file":{"actions":[{"input":-1,"mkfile":{"data":"eA==","owner":{"user":{"byId":7}},"path":"/a"},"output":0,"secondaryInput":-1}]}}"#,
        );
    }
}
