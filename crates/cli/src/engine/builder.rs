//! The builder that is meant: its nodes, and what drives them.

use std::path::{Path, PathBuf};

use ::builder::{Group, Node, Owner, Store};
use client::Client;
use errdefs::{Error, Result};
use futures_util::future::{join_all, try_join_all};
use jiff::Timestamp;

use crate::args::GlobalArgs;
use crate::console;
use crate::docker::contexts;
use crate::engine::driver::{self, Driver, KILN};
use crate::engine::{Home, Place};
use crate::environment::Environment;

/// The builder with the user's own engine.
pub(crate) const DEFAULT: &str = "default";

/// A builder, with at least one node.
pub(crate) struct Builder {
    pub name: String,
    pub driver: String,
    pub nodes: Vec<Member>,
    pub last_activity: Option<Timestamp>,
    /// Whether the store has it.
    pub is_kept: bool,
}

/// A node, and what drives its engine, if its options make sense.
pub(crate) struct Member {
    pub node: Node,
    pub driver: Result<Box<dyn Driver>>,
}

/// The engine of a node, which answers.
pub(crate) struct Reached {
    pub node: String,
    pub client: Client,
}

impl Member {
    pub(crate) fn driver(&self) -> Result<&dyn Driver> {
        self.driver.as_deref().map_err(Clone::clone)
    }

    /// Connects, once the engine runs.
    pub(crate) async fn connect(&self) -> Result<Client> {
        self.driver()?.boot().await
    }
}

impl Builder {
    /// The engine at `--host`; else the builder of `--builder`; else what the environment names; else the one that `use`
    /// has chosen, if its engines are Kiln's or looked after by somebody; else the user's own engine.
    pub(crate) fn find(global: &GlobalArgs, env: &Environment) -> Result<Self> {
        // KILN_HOST comes with the flag.
        if let Some(host) = global.host.as_deref().filter(|host| !host.is_empty()) {
            return Ok(Builder::at(Place::given(host, global, env)?));
        }
        if let Some(name) = asked_for(global, env) {
            return Builder::named(&name, global, env);
        }
        if let Some(host) = env.filled("BUILDKIT_HOST") {
            let place = Place::given(host, global, env).map_err(|e: Error| e.context("BUILDKIT_HOST"))?;
            return Ok(Builder::at(place));
        }
        match chosen(env)? {
            // In the containers and pods of buildx runs BuildKit, if they run: who wants that names the builder.
            Some((store, group)) if driver::kind(&group.driver).is_ok() => Builder::of(group, &store, env),
            _ => Builder::own(global, env),
        }
    }

    /// The builder that `use` has chosen, or the user's own engine.
    pub(crate) fn current(global: &GlobalArgs, env: &Environment) -> Result<Self> {
        match chosen(env)? {
            Some((store, group)) => Builder::of(group, &store, env),
            None => Builder::own(global, env),
        }
    }

    /// # Errors
    /// There is none of this name, or nothing here drives it.
    pub(crate) fn named(name: &str, global: &GlobalArgs, env: &Environment) -> Result<Self> {
        let store = store(env);
        let group = store.as_ref().map_or(Ok(None), |store| store.get(name))?;
        match (store, group) {
            (Some(store), Some(group)) => Builder::of(group, &store, env),
            _ if name == DEFAULT => Builder::own(global, env),
            _ => Err(Error::not_found(format!("no builder {name:?} found"))
                .hint("`kiln builder ls` lists builders; leave `--builder` out for an engine of your own")),
        }
    }

    /// # Errors
    /// Nothing here drives it, or it has no node.
    pub(crate) fn of(group: Group, store: &Store, env: &Environment) -> Result<Self> {
        driver::check(&group.driver).map_err(|e| e.context(format!("builder {:?}", group.name)))?;
        if group.nodes.is_empty() {
            return Err(Error::user(format!("builder {:?} has no node", group.name)));
        }
        let member = |node: Node| Member { driver: driver::of_node(&group.driver, &node, env), node };
        Ok(Builder {
            last_activity: store.last_activity(&group.name),
            nodes: group.nodes.into_iter().map(member).collect(),
            name: group.name,
            driver: group.driver,
            is_kept: true,
        })
    }

    pub(crate) fn own(global: &GlobalArgs, env: &Environment) -> Result<Self> {
        Ok(Builder::at(Place::Own(Home::find(global.root.as_deref(), env)?)))
    }

    fn at(place: Place) -> Self {
        let node = Node { name: DEFAULT.into(), endpoint: place.address().to_string(), ..Node::default() };
        Builder {
            name: DEFAULT.into(),
            driver: KILN.into(),
            nodes: vec![Member { node, driver: Ok(driver::at(place)) }],
            last_activity: None,
            is_kept: false,
        }
    }

    /// The first engine that can be used.
    ///
    /// # Errors
    /// There is none; what is wrong with the first is told.
    pub(crate) fn place(&self) -> Result<&Place> {
        if let Some(driver) = self.nodes.iter().find_map(|member| member.driver.as_deref().ok()) {
            return Ok(driver.place());
        }
        let broken = self.nodes.iter().find_map(|member| member.driver().err());
        Err(broken.unwrap_or_else(|| Error::internal("a builder without a node")))
    }

    /// Connects to the engines of all nodes whose options make sense.
    ///
    /// # Errors
    /// There is no such node, or an engine does not answer.
    pub(crate) async fn connect_all(&self) -> Result<Vec<Client>> {
        self.place()?;
        let usable = self.nodes.iter().filter(|member| member.driver.is_ok());
        let several = self.nodes.len() > 1;
        try_join_all(usable.map(async |member| {
            let named = |e: Error| if several { e.context(format!("node {}", member.node.name)) } else { e };
            member.connect().await.map_err(named)
        }))
        .await
    }

    /// Asks the engines of all nodes, or of one, side by side. Of several, one that does not answer is told of and left
    /// out.
    ///
    /// # Errors
    /// None answers, or there is no such node.
    pub(crate) async fn ask<T>(
        &self,
        only: Option<&str>,
        ask: impl AsyncFn(&Client) -> Result<T>,
    ) -> Result<Vec<(Reached, T)>> {
        let wanted = |member: &&Member| only.is_none_or(|name| member.node.name == name);
        let asked = join_all(self.nodes.iter().filter(wanted).map(async |member| {
            let reached = async {
                let client = member.connect().await?;
                let answer = ask(&client).await?;
                Ok((Reached { node: member.node.name.clone(), client }, answer))
            };
            reached.await.map_err(|e: Error| (&member.node.name, e))
        }))
        .await;
        let (answered, silent): (Vec<_>, Vec<_>) = asked.into_iter().partition(Result::is_ok);
        let mut silent: Vec<_> = silent.into_iter().filter_map(Result::err).collect();
        if answered.is_empty() {
            return Err(match silent.is_empty() {
                true => Error::not_found(format!(
                    "builder {} has no node {}",
                    self.name,
                    only.unwrap_or_default()
                )),
                false if self.nodes.len() == 1 => silent.swap_remove(0).1,
                false => {
                    let (node, e) = silent.swap_remove(0);
                    e.context(format!("node {node}"))
                }
            });
        }
        for (node, e) in silent {
            console::note(format_args!("WARNING: node {node} is left out: {e}\n"));
        }
        Ok(answered.into_iter().flatten().collect())
    }

    /// Remembers that it is used. That this fails is no reason to fail a build.
    pub(crate) fn touch(&self, env: &Environment) {
        if let (true, Some(store)) = (self.is_kept, store(env))
            && let Err(e) = store.touch(&self.name)
        {
            tracing::debug!("the use of the builder is not remembered: {e}");
        }
    }
}

/// The builder that was named, on the command line or by the environment.
pub(crate) fn asked_for(global: &GlobalArgs, env: &Environment) -> Option<String> {
    let named = global.builder.as_deref().filter(|name| !name.is_empty());
    named.or_else(|| env.filled("BUILDX_BUILDER")).map(str::to_owned)
}

/// The folder of buildx; `None` where the user has no home.
pub(crate) fn store(env: &Environment) -> Option<Store> {
    let dir = match env.filled("BUILDX_CONFIG") {
        Some(dir) => PathBuf::from(dir),
        None => env.docker_config_dir()?.join("buildx"),
    };
    let owner = owner(&dir, env);
    Some(Store::new(dir, owner))
}

/// Under sudo, what lies in the home of the user who called it is to stay that user's.
fn owner(dir: &Path, env: &Environment) -> Option<Owner> {
    env.filled("SUDO_COMMAND")?;
    let number = |name| env.filled(name)?.parse().ok();
    let (uid, gid) = (number("SUDO_UID")?, number("SUDO_GID")?);
    let home = Path::new(env.filled("HOME")?);
    let is_theirs = std::os::unix::fs::MetadataExt::uid(&home.metadata().ok()?) == uid;
    (is_theirs && dir.starts_with(home)).then_some(Owner { uid, gid })
}

/// The builder that `use` has chosen.
fn chosen(env: &Environment) -> Result<Option<(Store, Group)>> {
    let Some(store) = store(env) else { return Ok(None) };
    let group = store.current(&contexts::key(env))?;
    Ok(group.map(|group| (store, group)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store with one builder `b`.
    fn with_builder(json: &str) -> (tempfile::TempDir, Environment) {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("instances")).expect("made");
        std::fs::write(dir.path().join("instances/b"), json).expect("written");
        let vars = [("BUILDX_CONFIG", dir.path().to_str().expect("UTF-8")), ("HOME", "/home/a")];
        let env = Environment::of(&vars);
        (dir, env)
    }

    /// Name and endpoints.
    fn told(builder: Result<Builder>) -> String {
        match builder {
            Ok(b) => {
                let place = |m: &Member| match m.driver() {
                    Ok(driver) => driver.place().address().to_string(),
                    Err(e) => e.to_string(),
                };
                format!("{} {}", b.name, b.nodes.iter().map(place).collect::<Vec<_>>().join(" "))
            }
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn builders_of_buildx() {
        let check = |json: &str, expect: &str| {
            let (_dir, env) = with_builder(json);
            assert_eq!(told(Builder::named("b", &GlobalArgs::default(), &env)), expect, "{json}");
        };
        check(
            r#"{"Name":"b","Driver":"remote","Nodes":[{"Name":"b0","Endpoint":"tcp://h:1"},{"Name":"b1","Endpoint":"ssh://h"}]}"#,
            "b tcp://h:1 ssh://h",
        );
        check(
            r#"{"Name":"b","Driver":"docker-container","Nodes":[{"Name":"b0","Endpoint":"far"}]}"#,
            "b docker-container://buildx_buildkit_b0?context=far",
        );
        check(
            r#"{"Name":"b","Driver":"remote","Nodes":[{"Name":"b0","Endpoint":"x"}]}"#,
            "b invalid engine address `x`",
        );
        check(
            r#"{"Name":"b","Driver":"kubernetes","Nodes":[{}]}"#,
            "builder \"b\": the driver `kubernetes` is not supported yet",
        );
        check(r#"{"Name":"b","Driver":"what"}"#, "builder \"b\": failed to find driver \"what\"");
        check(r#"{"Name":"b","Driver":"remote","Nodes":[]}"#, "builder \"b\" has no node");
    }

    #[test]
    fn the_builder_that_is_meant() {
        let (dir, env) =
            with_builder(r#"{"Name":"b","Driver":"remote","Nodes":[{"Name":"b0","Endpoint":"tcp://h:1"}]}"#);
        let check = |host: &str, builder: &str, vars: &[(&str, &str)], expect: &str| {
            let text = |text: &str| Some(text.to_owned());
            let global = GlobalArgs { host: text(host), builder: text(builder), ..GlobalArgs::default() };
            let mut env = env.clone();
            vars.iter().for_each(|(name, value)| env.set(name, (*value).to_owned()));
            assert_eq!(told(Builder::find(&global, &env)), expect, "{host} {builder} {vars:?}");
        };
        let own = "default unix:///home/a/.local/share/kiln/engine.sock";
        check("", "", &[], own);
        check("", "b", &[], "b tcp://h:1");
        check("", "", &[("BUILDX_BUILDER", "b")], "b tcp://h:1");
        check("", "default", &[("BUILDX_BUILDER", "b")], own);
        check("tcp://g:1", "b", &[], "default tcp://g:1");
        check("", "../b", &[], "no builder \"../b\" found");
        check("", "c", &[], "no builder \"c\" found");
        let store = Store::new(dir.path().into(), None);
        store
            .lock()
            .and_then(|s| s.set_current("unix:///var/run/docker.sock", "b", false, false))
            .expect("set");
        check("", "", &[], "b tcp://h:1");
        check("", "default", &[], own);
        check("", "", &[("BUILDKIT_HOST", "tcp://g:1")], "default tcp://g:1");
        check("", "", &[("DOCKER_HOST", "tcp://other:1")], own);
    }

    #[test]
    fn containers_of_buildx_are_taken_by_name_only() {
        for driver in ["docker-container", "kubernetes"] {
            let json = format!(r#"{{"Name":"b","Driver":"{driver}","Nodes":[{{"Name":"b0"}}]}}"#);
            let (dir, env) = with_builder(&json);
            let key = contexts::key(&env);
            let store = Store::new(dir.path().into(), None);
            store.lock().and_then(|s| s.set_current(&key, "b", false, false)).expect("set");
            let found = told(Builder::find(&GlobalArgs::default(), &env));
            assert_eq!(found, "default unix:///home/a/.local/share/kiln/engine.sock", "{driver}");
            let current = told(Builder::current(&GlobalArgs::default(), &env));
            assert_ne!(current, found, "{driver}");
        }
    }

    #[test]
    fn under_sudo_the_store_stays_the_users() {
        let dir = tempfile::tempdir().expect("a folder");
        let uid = rustix::process::geteuid().as_raw().to_string();
        let home = dir.path().to_str().expect("UTF-8");
        let sudo = [("SUDO_COMMAND", "x"), ("SUDO_UID", &*uid), ("SUDO_GID", "7"), ("HOME", home)];
        let expect = Owner { uid: uid.parse().expect("a number"), gid: 7 };
        let of = |vars: &[(&str, &str)], dir: &Path| owner(dir, &Environment::of(vars));
        assert_eq!(of(&sudo, &dir.path().join(".docker/buildx")), Some(expect));
        assert_eq!(of(&sudo, Path::new("/etc/buildx")), None);
        assert_eq!(of(&sudo[1..], dir.path()), None);
    }
}
