//! The form of SLSA v0.2, made from that of v1.

use serde_json::{Map, Value, json};

const BUILD_TYPE: &str = "https://mobyproject.org/buildkit@v1";

/// Turns a predicate of v1 into one of v0.2.
pub fn as_v02(mut v1: Value) -> Value {
    let mut take = |pointer: &str| v1.pointer_mut(pointer).map(Value::take).filter(|v| !v.is_null());
    let mut source = object(take("/buildDefinition/externalParameters/configSource"));
    if let Some(path) = source.remove("path") {
        source.insert("entryPoint".into(), path);
    }
    let parameters = object(take("/buildDefinition/externalParameters/request"));
    let mut environment = object(take("/buildDefinition/internalParameters"));
    let build_config = environment.remove("buildConfig");
    let platform = environment.remove("builderPlatform").unwrap_or_default();
    environment.insert("platform".into(), platform);
    let builder = take("/runDetails/builder/id").unwrap_or_else(|| "".into());
    let materials = take("/buildDefinition/resolvedDependencies");
    let metadata = take("/runDetails/metadata").map(metadata);

    let mut v02 = Map::new();
    v02.insert("builder".into(), json!({ "id": builder }));
    v02.insert("buildType".into(), BUILD_TYPE.into());
    v02.extend(materials.map(|materials| ("materials".to_owned(), materials)));
    let invocation = json!({ "configSource": source, "parameters": parameters, "environment": environment });
    v02.insert("invocation".into(), invocation);
    v02.extend(build_config.map(|config| ("buildConfig".to_owned(), config)));
    v02.extend(metadata.map(|metadata| ("metadata".to_owned(), metadata)));
    v02.into()
}

fn metadata(v1: Value) -> Value {
    let mut v1 = object(Some(v1));
    let mut v02 = Map::new();
    let renamed = [
        ("invocationId", "buildInvocationID"),
        ("startedOn", "buildStartedOn"),
        ("finishedOn", "buildFinishedOn"),
        ("buildkit_metadata", "https://mobyproject.org/buildkit@v1#metadata"),
        ("buildkit_hermetic", "https://mobyproject.org/buildkit@v1#hermetic"),
    ];
    for (from, to) in renamed {
        v02.extend(v1.remove(from).map(|value| (to.to_owned(), value)));
    }
    let known = object(v1.remove("buildkit_completeness"));
    let knows = |key: &str| known.get(key).and_then(Value::as_bool).unwrap_or(false);
    let completeness = json!({
        "parameters": knows("request"), "environment": true, "materials": knows("resolvedDependencies"),
    });
    v02.insert("completeness".into(), completeness);
    let reproducible = v1.get("buildkit_reproducible").and_then(Value::as_bool).unwrap_or(false);
    v02.insert("reproducible".into(), reproducible.into());
    v02.into()
}

fn object(value: Option<Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}
