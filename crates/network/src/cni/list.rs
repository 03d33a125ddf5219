//! Which plugins make a network.

use std::ffi::OsStr;
use std::path::Path;

use errdefs::{Error, Result, ResultExt as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The version of configurations that name none.
const OLDEST: &str = "0.1.0";

/// Where the addresses of bridges of ours are written down: what does not outlive the machine's run, as they do not.
pub(super) const ADDRESSES: &str = "/run/kiln/networks";

/// The plugins of one network, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct List {
    name: String,
    version: String,
    plugins: Vec<Map<String, Value>>,
}

impl List {
    /// Reads a configuration file: a list (`.conflist`), or that of a single plugin.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::from);
        let is_list = path.extension() == Some(OsStr::new("conflist"));
        text.and_then(|text| Self::parse(&text, is_list))
            .with_context(|| format!("failed to read cni config `{}`", path.display()))
    }

    fn parse(text: &str, is_list: bool) -> Result<Self> {
        let mut all: Map<String, Value> =
            serde_json::from_str(text).map_err(|e| Error::user(format!("it is no JSON object: {e}")))?;
        let text_of = |key: &str| all.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, version) = (text_of("name"), text_of("cniVersion"));
        let plugins = match all.remove("plugins") {
            Some(plugins) if is_list || !all.contains_key("type") => serde_json::from_value(plugins)
                .map_err(|e| Error::user(format!("`plugins` is no list of objects: {e}")))?,
            _ if is_list => return Err(Error::user("a list without `plugins`")),
            _ => vec![all],
        };
        let version = if version.is_empty() { OLDEST.into() } else { version };
        let list = List { name, version, plugins };
        list.check().map(|()| list)
    }

    fn check(&self) -> Result<()> {
        let is_name = |name: &str| {
            let may = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(may)
        };
        if !is_name(&self.name) {
            return Err(Error::user(format!("`{}` is no name of a network", self.name))
                .hint("give it a `name` of letters, digits, `_`, `.` and `-`"));
        }
        if self.plugins.is_empty() {
            return Err(Error::user(format!("network `{}` has no plugins", self.name)));
        }
        match self.types().find(|kind| kind.is_empty() || kind.contains('/')) {
            Some(kind) => Err(Error::user(format!("`{kind}` is no type of a plugin"))),
            None => Ok(()),
        }
    }

    /// A network of our own: a bridge from which addresses are translated, as BuildKit's. The names of plugins have this
    /// prefix.
    pub fn bridge(bridge: &str, subnet: &str, prefix: &str) -> Self {
        let named = |name: &str| format!("{prefix}{name}");
        let plugins = [
            json!({
                "type": named("bridge"), "bridge": bridge, "isDefaultGateway": true, "ipMasq": true,
                "ipam": {
                    "type": named("host-local"), "dataDir": ADDRESSES, "ranges": [[{"subnet": subnet}]],
                },
            }),
            json!({"type": named("firewall"), "ingressPolicy": "same-bridge"}),
        ];
        let plugins = plugins.into_iter().filter_map(|plugin| plugin.as_object().cloned()).collect();
        List { name: bridge.to_owned(), version: "1.0.0".into(), plugins }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The programs that it needs.
    pub(super) fn types(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.plugins.iter().map(|plugin| plugin.get("type").and_then(Value::as_str).unwrap_or_default())
    }

    /// What each plugin is told: its program, and its configuration with what came of those before.
    pub(super) fn told(&self, index: usize, result: Option<&Value>) -> Value {
        let mut config = self.plugins[index].clone();
        config.insert("name".into(), self.name.clone().into());
        config.insert("cniVersion".into(), self.version.clone().into());
        config.extend(result.map(|result| ("prevResult".to_owned(), result.clone())));
        config.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, is_list: bool, expected: Result<(&str, &[&str]), &str>) {
        let list = List::parse(text, is_list);
        match expected {
            Ok((name, types)) => {
                let list = list.expect(text);
                assert_eq!((list.name(), list.types().collect::<Vec<_>>().as_slice()), (name, types));
            }
            Err(why) => {
                let error = list.expect_err(text).to_string();
                assert!(error.contains(why), "{text}: {error}");
            }
        }
    }

    #[test]
    fn configurations() {
        let list = r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge"},{"type":"firewall"}]}"#;
        check(list, true, Ok(("n", &["bridge", "firewall"])));
        check(list, false, Ok(("n", &["bridge", "firewall"])));
        check(r#"{"name":"n.1","type":"ptp"}"#, false, Ok(("n.1", &["ptp"])));
        check(r#"{"name":"n","type":"ptp"}"#, true, Err("a list without `plugins`"));
        check(r#"{"name":"n"}"#, false, Err("`` is no type"));
        check(r#"{"name":"../n","type":"ptp"}"#, false, Err("`../n` is no name"));
        check(r#"{"type":"ptp"}"#, false, Err("`` is no name"));
        check(r#"{"name":"n","type":"../../bin/sh"}"#, false, Err("no type of a plugin"));
        check(r#"{"name":"n","plugins":[]}"#, true, Err("has no plugins"));
        check(r#"{"name":"n","plugins":[1]}"#, true, Err("no list of objects"));
        check("[]", true, Err("no JSON object"));
    }

    #[test]
    fn plugins_are_told_the_network_and_what_came_before() {
        let list = List::parse(r#"{"name":"n","type":"ptp","mtu":9000}"#, false).expect("valid");
        assert_eq!(
            list.told(0, None),
            json!({"name": "n", "cniVersion": "0.1.0", "type": "ptp", "mtu": 9000})
        );
        let result = json!({"ips": []});
        assert_eq!(list.told(0, Some(&result))["prevResult"], result);
        let bridge = List::bridge("b0", "10.0.0.0/24", "our-");
        assert!(bridge.check().is_ok());
        assert_eq!(bridge.types().collect::<Vec<_>>(), ["our-bridge", "our-firewall"]);
        let ipam = &bridge.told(0, None)["ipam"];
        assert_eq!(
            (&ipam["type"], &ipam["ranges"]),
            (&json!("our-host-local"), &json!([[{"subnet": "10.0.0.0/24"}]]))
        );
    }
}
