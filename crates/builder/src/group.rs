use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use errdefs::{Error, Result};
use oci::Platform;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::check_name;

/// A builder. Its JSON is that of buildx, in which an empty list or map is `null`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Group {
    pub name: String,
    pub driver: String,
    #[serde(with = "null_when_empty")]
    pub nodes: Vec<Node>,
    /// Its nodes come and go by themselves.
    pub dynamic: bool,
}

/// An engine of a builder.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Node {
    pub name: String,
    /// What it is depends on the driver: an address, or the name of a Docker context.
    pub endpoint: String,
    /// What the user says that it builds natively.
    #[serde(with = "null_when_empty")]
    pub platforms: Vec<Platform>,
    #[serde(with = "null_when_empty")]
    pub driver_opts: BTreeMap<String, String>,
    /// Arguments of the engine.
    #[serde(with = "null_when_empty")]
    pub flags: Vec<String>,
    /// Configuration of the engine, by name: `buildkitd.toml` and what it refers to.
    #[serde(with = "null_when_empty")]
    pub files: BTreeMap<String, File>,
}

/// Bytes, which JSON has in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File(pub Vec<u8>);

impl Serialize for File {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for File {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(File).map_err(serde::de::Error::custom)
    }
}

/// Lists and maps as Go writes those that hold nothing.
mod null_when_empty {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<'a, T, S>(value: &'a T, serializer: S) -> Result<S::Ok, S::Error>
    where
        T: Serialize,
        &'a T: IntoIterator,
        S: Serializer,
    {
        match value.into_iter().next() {
            None => serializer.serialize_none(),
            Some(_) => value.serialize(serializer),
        }
    }

    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: Deserialize<'de> + Default,
        D: Deserializer<'de>,
    {
        Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
    }
}

/// What `create` is to do to a builder. `None` leaves what is there.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The node that is meant; a new one takes the next free name.
    pub node: Option<String>,
    pub endpoint: String,
    /// Whether the user has given it: then a node that is there changes its own.
    pub is_endpoint_given: bool,
    /// A node may be added to those that are there.
    pub append: bool,
    pub platforms: Vec<Platform>,
    pub driver_opts: Option<BTreeMap<String, String>>,
    pub flags: Option<Vec<String>>,
    pub files: Option<BTreeMap<String, File>>,
}

impl Group {
    pub fn new(name: &str, driver: &str) -> Self {
        Group { name: name.into(), driver: driver.into(), ..Group::default() }
    }

    /// Adds a node, or changes one. Says whether an engine that runs will hear of it only when it starts again.
    ///
    /// # Errors
    /// There is no such node and none may be added, its name is none, or another node has the same endpoint.
    pub fn update(&mut self, change: Change) -> Result<bool> {
        if self.dynamic {
            return Err(Error::user("dynamic node group does not support Update"));
        }
        let name = change.node.clone().filter(|name| !name.is_empty());
        let there = name.as_ref().and_then(|name| self.nodes.iter().position(|n| n.name == *name));
        if let Some(place) = there {
            let endpoint = change.endpoint.clone();
            let wants_restart = self.nodes[place].change(change);
            self.settle(place, &endpoint)?;
            return Ok(wants_restart);
        }
        if !change.append && !self.nodes.is_empty() {
            let name = name.unwrap_or_default();
            return Err(Error::user(format!("node {name} not found, did you mean to append?")));
        }
        let name = check_name(&name.unwrap_or_else(|| self.next_node_name()))?;
        let endpoint = change.endpoint.clone();
        self.nodes.push(Node {
            name,
            endpoint: change.endpoint,
            platforms: change.platforms,
            driver_opts: change.driver_opts.unwrap_or_default(),
            flags: change.flags.unwrap_or_default(),
            files: change.files.unwrap_or_default(),
        });
        self.settle(self.nodes.len() - 1, &endpoint)?;
        Ok(false)
    }

    /// Removes a node.
    pub fn leave(&mut self, node: &str) -> Result<Node> {
        if self.dynamic {
            return Err(Error::user("dynamic node group does not support Leave"));
        }
        let place = self.nodes.iter().position(|n| n.name == node);
        let unknown = || Error::not_found(format!("node {node:?} not found for {}", self.name));
        let place = place.ok_or_else(unknown)?;
        if self.nodes.len() == 1 {
            return Err(Error::user("can not leave last node, do you want to rm instance instead?"));
        }
        Ok(self.nodes.remove(place))
    }

    /// The first of `b0`, `b1`, … that no node has.
    pub fn next_node_name(&self) -> String {
        let mut names = (0..).map(|number| format!("{}{number}", self.name));
        names.find(|name| !self.nodes.iter().any(|n| n.name == *name)).unwrap_or_default()
    }

    /// Two nodes are not one engine, and a platform is native to one node: to the one that was given it last.
    fn settle(&mut self, place: usize, endpoint: &str) -> Result<()> {
        if self.nodes.iter().filter(|n| n.endpoint == endpoint).count() > 1 {
            return Err(Error::user(format!("invalid duplicate endpoint {endpoint}")));
        }
        let taken: Vec<String> = self.nodes[place].platforms.iter().map(Platform::to_string).collect();
        for (other, node) in self.nodes.iter_mut().enumerate() {
            if other != place {
                node.platforms.retain(|p| !taken.contains(&p.to_string()));
            }
        }
        Ok(())
    }
}

impl Node {
    fn change(&mut self, change: Change) -> bool {
        let mut wants_restart = change.is_endpoint_given;
        if change.is_endpoint_given {
            self.endpoint = change.endpoint;
        }
        if !change.platforms.is_empty() {
            self.platforms = change.platforms;
        }
        if let Some(flags) = change.flags {
            self.flags = flags;
            wants_restart = true;
        }
        if let Some(options) = change.driver_opts {
            self.driver_opts = options;
            wants_restart = true;
        }
        if let Some(files) = change.files {
            self.files.extend(files);
            wants_restart = true;
        }
        wants_restart
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_platforms;

    /// Nodes as `name endpoint platforms`.
    fn told(group: &Group) -> String {
        let node = |n: &Node| {
            let platforms: Vec<_> = n.platforms.iter().map(Platform::to_string).collect();
            format!("{} {} {}", n.name, n.endpoint, platforms.join(","))
        };
        group.nodes.iter().map(node).collect::<Vec<_>>().join("; ")
    }

    /// `node endpoint platforms`, `-` for what is not given; `+` before it appends.
    fn change(text: &str) -> Change {
        let (append, text) = text.strip_prefix('+').map_or((false, text), |rest| (true, rest));
        let words: Vec<_> =
            text.split(' ').map(|w| if w == "-" { None } else { Some(w.to_owned()) }).collect();
        Change {
            node: words[0].clone(),
            endpoint: words[1].clone().unwrap_or_else(|| "tcp://same:1".into()),
            is_endpoint_given: words[1].is_some(),
            append,
            platforms: words[2]
                .iter()
                .flat_map(|p| parse_platforms(std::slice::from_ref(p)).expect("platforms"))
                .collect(),
            ..Change::default()
        }
    }

    fn check(changes: &[&str], expect: &str) {
        let mut group = Group::new("b", "remote");
        let done = changes.iter().try_for_each(|text| group.update(change(text)).map(drop));
        let told = done.map_or_else(|e| e.to_string(), |()| told(&group));
        assert_eq!(told, expect, "{changes:?}");
    }

    #[test]
    fn nodes_are_added_and_changed() {
        check(&["- tcp://h:1 -"], "b0 tcp://h:1 ");
        check(&["n tcp://h:1 linux/arm64"], "n tcp://h:1 linux/arm64");
        check(&["- tcp://h:1 -", "- tcp://h:2 -"], "node  not found, did you mean to append?");
        check(&["- tcp://h:1 -", "x tcp://h:2 -"], "node x not found, did you mean to append?");
        check(
            &["- tcp://h:1 -", "+- tcp://h:2 -", "+b2 tcp://h:3 -"],
            "b0 tcp://h:1 ; b1 tcp://h:2 ; b2 tcp://h:3 ",
        );
        check(&["- tcp://h:1 -", "b0 tcp://h:2 linux/arm64"], "b0 tcp://h:2 linux/arm64");
        check(&["- tcp://h:1 linux/arm64", "b0 - -"], "b0 tcp://h:1 linux/arm64");
        check(&["- tcp://h:1 -", "+- tcp://h:1 -"], "invalid duplicate endpoint tcp://h:1");
        check(
            &["a/b tcp://h:1 -"],
            "invalid name a/b, name needs to start with a letter and may not contain symbols, except ._-",
        );
    }

    #[test]
    fn a_platform_belongs_to_the_node_that_was_given_it_last() {
        check(
            &["- tcp://h:1 linux/amd64,linux/arm64", "+- tcp://h:2 linux/arm64"],
            "b0 tcp://h:1 linux/amd64; b1 tcp://h:2 linux/arm64",
        );
        check(
            &["- tcp://h:1 linux/arm64", "+- tcp://h:2 linux/386", "b0 - linux/386"],
            "b0 tcp://h:1 linux/386; b1 tcp://h:2 ",
        );
    }

    #[test]
    fn what_an_engine_hears_only_at_its_start_is_told() {
        let mut group = Group::new("b", "kiln");
        let mut update = |flags: Option<&str>, platforms: &str| {
            let flags = flags.map(|f| vec![f.to_owned()]);
            group.update(Change { flags, ..change(&format!("b0 - {platforms}")) }).expect("updated")
        };
        assert!(!update(Some("--debug"), "-"), "a new node");
        assert!(!update(None, "linux/arm64"));
        assert!(update(Some("--trace"), "-"));
    }

    #[test]
    fn nodes_leave() {
        let mut group = Group::new("b", "remote");
        for text in ["- tcp://h:1 -", "+- tcp://h:2 -"] {
            group.update(change(text)).expect("added");
        }
        assert_eq!(group.leave("x").expect_err("unknown").to_string(), "node \"x\" not found for b");
        assert_eq!(group.leave("b0").expect("left").endpoint, "tcp://h:1");
        let last = group.leave("b1").expect_err("the last one").to_string();
        assert_eq!(last, "can not leave last node, do you want to rm instance instead?");
        assert_eq!(group.next_node_name(), "b0");
    }

    /// What buildx 0.36 has written, and what it reads.
    #[test]
    fn json_is_that_of_buildx() {
        let text = r#"{"Name":"b","Driver":"remote","Nodes":[{"Name":"b0","Endpoint":"unix:///a.sock","Platforms":[{"architecture":"arm64","os":"linux"},{"architecture":"arm","os":"linux","variant":"v7"}],"DriverOpts":{"cacert":"/ca.pem"},"Flags":["--debug"],"Files":{"buildkitd.toml":"ZGVidWc9dHJ1ZQo="}},{"Name":"b1","Endpoint":"tcp://h:1","Platforms":null,"DriverOpts":null,"Flags":null,"Files":null}],"Dynamic":false}"#;
        let group: Group = serde_json::from_str(text).expect("read");
        assert_eq!(group.nodes[0].files["buildkitd.toml"].0, b"debug=true\n");
        assert_eq!(serde_json::to_string(&group).expect("written"), text);
        let empty = text.replace("null", "[]").replace("\"DriverOpts\":[]", "\"DriverOpts\":{}");
        let empty = empty.replace("\"Files\":[]", "\"Files\":{}");
        assert_eq!(serde_json::from_str::<Group>(&empty).expect("read"), group);
    }
}
