//! Making and changing builders.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use ::builder::{Change, File, Group, Node, Store, check_name, parse_platforms, random_name};
use errdefs::{Error, Result, ResultExt as _};

use super::{boot, there};
use crate::args::{CreateArgs, GlobalArgs};
use crate::console;
use crate::docker::contexts;
use crate::engine::Builder;
use crate::engine::builder::DEFAULT;
use crate::engine::driver::{self, KILN, Kind, Own, REMOTE};
use crate::environment::Environment;
use crate::flags::fields;

/// Configuration for builders that are given none, in the folder of the store.
const DEFAULT_CONFIG: &str = "buildkitd.default.toml";
/// Most bytes of a configuration file.
const CONFIG: u64 = 1 << 20;

/// Removes a node, with its engine where that is Kiln's.
pub(super) async fn leave(args: &CreateArgs, env: &Environment) -> Result<()> {
    let (driver, node) = take_out(args, &there(env)?)?;
    // One that makes no sense has no engine.
    let Ok(driver) = driver::of_node(&driver, &node, env) else { return Ok(()) };
    driver.stop().await?;
    driver.remove(false).await
}

/// Takes a node out of the store.
fn take_out(args: &CreateArgs, store: &Store) -> Result<(String, Node)> {
    let required = |value: &Option<String>, what: &str| {
        let value = value.clone().filter(|value| !value.is_empty());
        value.ok_or_else(|| Error::user(format!("leave requires {what} name")))
    };
    let (name, node) = (required(&args.name, "instance")?, required(&args.node, "node")?);
    let locked = store.lock()?;
    let unknown = || Error::not_found(format!("failed to find instance {name:?} for leave"));
    let mut group = store.get(&name)?.ok_or_else(unknown)?;
    let node = group.leave(&node)?;
    locked.forget_builds(&name, &node.name)?;
    locked.save(&group)?;
    Ok((group.driver, node))
}

/// Makes a builder, or adds or changes a node of one, and prints its name.
pub(super) async fn create(args: &CreateArgs, global: &GlobalArgs, env: &Environment) -> Result<()> {
    let store = there(env)?;
    let group = put(args, &store, global, env)?;
    let builder = Builder::of(group, &store, env)?;
    if args.bootstrap {
        boot::boot(&builder, env).await?;
    }
    console::out(format!("{}\n", builder.name))
}

/// Changes the store.
fn put(args: &CreateArgs, store: &Store, global: &GlobalArgs, env: &Environment) -> Result<Group> {
    let given = args.name.as_deref().filter(|name| !name.is_empty());
    if given == Some(DEFAULT) {
        return Err(Error::user(
            "default is a reserved name and cannot be used to identify builder instance",
        ));
    }
    if args.append && given.is_none() {
        return Err(Error::user("append requires a builder name"));
    }
    let locked = store.lock()?;
    let name = match given {
        Some(name) => name.to_owned(),
        None => random_name(|name| store.instance(name).exists())?,
    };
    if !args.append && contexts::names(env)?.contains(&name) {
        return Err(Error::user(format!("instance name {name:?} already exists as context builder")));
    }
    check_name(&name)?;
    let there = store.get(&name)?;
    let driver = driver_of(args, there.as_ref(), env)?;
    let mut group = match there {
        Some(group) => checked(group, args, &driver)?,
        None if args.append => {
            return Err(Error::not_found(format!("failed to find instance {name:?} for append")));
        }
        None => Group::new(&name, &driver),
    };
    let kind = driver::kind(&driver)?;
    let change = change(args, &group, kind, store, global, env)?;
    if group.update(change)? {
        console::note("WARNING: new settings may not be used until builder is restarted\n");
    }
    for node in &group.nodes {
        driver::of_node(&group.driver, node, env)
            .map_err(|e| e.context(format!("failed to initialize builder {name} ({})", node.name)))?;
    }
    locked.save(&group)?;
    if args.use_it {
        locked.set_current(&contexts::key(env), &group.name, false, false)?;
    }
    Ok(group)
}

/// A builder that is there and may be changed so.
fn checked(group: Group, args: &CreateArgs, driver: &str) -> Result<Group> {
    let name = &group.name;
    if args.node.is_none() && !args.append {
        return Err(Error::user(format!(
            "existing instance for {name:?} but no append mode, specify the node name to make changes for existing instances"
        ))
        .hint("`--append` adds a node"));
    }
    if driver != group.driver {
        let of = &group.driver;
        return Err(Error::user(format!("existing instance for {name:?} but has mismatched driver {of:?}")));
    }
    Ok(group)
}

/// The driver that is asked for, or that the rest asks for.
fn driver_of(args: &CreateArgs, there: Option<&Group>, env: &Environment) -> Result<String> {
    let endpoint = args.endpoint.as_deref().unwrap_or_default();
    let named = args.driver.clone().filter(|driver| !driver.is_empty());
    let driver = match (named, there) {
        (Some(driver), _) => driver,
        (None, Some(group)) => group.driver.clone(),
        (None, None) if endpoint.is_empty() && env.filled("BUILDKIT_HOST").is_none() => KILN.into(),
        (None, None) if endpoint.is_empty() || endpoint.contains("://") => REMOTE.into(),
        // The name of a Docker context, or of a machine with Docker.
        (None, None) => "docker-container".into(),
    };
    driver::kind(&driver).map(|kind| kind.name.to_owned())
}

fn change(
    args: &CreateArgs,
    group: &Group,
    kind: &Kind,
    store: &Store,
    global: &GlobalArgs,
    env: &Environment,
) -> Result<Change> {
    let node = args.node.clone().filter(|node| !node.is_empty());
    let (endpoint, is_endpoint_given) = match kind.name {
        REMOTE => remote_endpoint(args, node.as_deref(), group, env)?,
        _ => {
            if let Some(endpoint) = args.endpoint.as_deref().filter(|e| !e.is_empty()) {
                return Err(Error::user(format!("kiln driver does not support endpoint args {endpoint:?}")));
            }
            let named = node.clone().unwrap_or_else(|| group.next_node_name());
            (Own::endpoint(&check_name(&named)?, global.root.as_deref(), env)?, false)
        }
    };
    let default = store.dir().join(DEFAULT_CONFIG);
    let config = match args.buildkitd_config.as_deref().filter(|path| !path.is_empty()) {
        Some(path) => Some(env.cwd.join(path)),
        None => Some(default).filter(|path| kind.is_configured && path.exists()),
    };
    let files = config.map(|path| files(&path)).transpose()?;
    let flags = args.buildkitd_flags.as_deref().map(words).transpose()?;
    Ok(Change {
        node,
        endpoint,
        is_endpoint_given,
        append: args.append,
        platforms: parse_platforms(&args.platforms)?,
        driver_opts: driver_opts(&args.driver_opts)?,
        flags: flags.filter(|flags| !flags.is_empty()),
        files,
    })
}

/// The address of a node, and whether it is a new one.
fn remote_endpoint(
    args: &CreateArgs,
    node: Option<&str>,
    group: &Group,
    env: &Environment,
) -> Result<(String, bool)> {
    let given = args.endpoint.as_deref().filter(|endpoint| !endpoint.is_empty());
    let there = group.nodes.iter().find(|n| Some(n.name.as_str()) == node);
    if let (None, Some(there)) = (given, there) {
        return Ok((there.endpoint.clone(), false));
    }
    let endpoint = given.or_else(|| env.filled("BUILDKIT_HOST"));
    let endpoint = endpoint.ok_or_else(|| Error::user("no remote endpoint provided"))?;
    if !endpoint.contains("://") {
        return Err(Error::user("unrecognized url scheme ")
            .hint(format!("write `{endpoint}` as `unix:///path`, `tcp://host:port` or `ssh://user@host`")));
    }
    endpoint.parse::<client::Address>()?;
    Ok((endpoint.to_owned(), true))
}

/// `NAME=VALUE`, several after commas; `None` where nothing is said of them.
fn driver_opts(flags: &[String]) -> Result<Option<BTreeMap<String, String>>> {
    if flags.is_empty() {
        return Ok(None);
    }
    let mut options = BTreeMap::new();
    for flag in flags {
        for field in fields(flag)? {
            let bad = || Error::user(format!("invalid value {field:?}, expecting k=v"));
            let (name, value) = field.split_once('=').ok_or_else(bad)?;
            options.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(Some(options))
}

fn words(line: &str) -> Result<Vec<String>> {
    shlex::split(line).ok_or_else(|| Error::user("failed to parse buildkit flags: a quote is not closed"))
}

/// What an engine reads when it starts.
fn files(path: &Path) -> Result<BTreeMap<String, File>> {
    let shown = path.display();
    let mut text = Vec::new();
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::not_found(format!(
                "buildkit configuration file not found: {shown}: no such file or directory"
            )));
        }
        Err(e) => return Err(Error::from(e).context(format!("invalid buildkit configuration file: {shown}"))),
    };
    let read = file.take(CONFIG).read_to_end(&mut text);
    read.with_context(|| format!("failed to read buildkit configuration file: {shown}"))?;
    Ok(BTreeMap::from([("buildkitd.toml".to_owned(), File(text))]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{BuilderCommand, Cli, Command};
    use clap::Parser as _;

    /// Runs `create` and `create --leave` one after the other, and tells the last error or the file of builder `b`.
    fn check(lines: &[&str], vars: &[(&str, &str)], expect: &str) {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().to_str().expect("UTF-8");
        std::fs::write(dir.path().join("d.toml"), "debug = true\n").expect("written");
        let vars = [vars, &[("BUILDX_CONFIG", folder), ("HOME", "/home/a")]].concat();
        let mut env = Environment::of(&vars);
        env.cwd = dir.path().into();
        let store = there(&env).expect("a place");
        let mut told = String::new();
        for line in lines {
            let words = ["kiln", "builder", "create"].into_iter().chain(line.split(' '));
            let cli = Cli::try_parse_from(words).expect(line);
            let Some(Command::Builder(args)) = cli.command else { panic!("{line}") };
            let BuilderCommand::Create(args) = args.command else { panic!("{line}") };
            let done = match args.leave {
                true => take_out(&args, &store).map(drop),
                false => put(&args, &store, &cli.global, &env).map(drop),
            };
            told = match done {
                Ok(()) => std::fs::read_to_string(store.instance("b")).unwrap_or_default(),
                Err(e) => e.to_string().replace(folder, "DIR"),
            };
        }
        assert_eq!(told, expect, "{lines:?}");
    }

    fn json(driver: &str, nodes: &str) -> String {
        format!(r#"{{"Name":"b","Driver":"{driver}","Nodes":[{nodes}],"Dynamic":false}}"#)
    }

    fn node(name: &str, endpoint: &str) -> String {
        format!(
            r#"{{"Name":"{name}","Endpoint":"{endpoint}","Platforms":null,"DriverOpts":null,"Flags":null,"Files":null}}"#
        )
    }

    #[test]
    fn builders_are_made() {
        check(&["--name b tcp://h:1"], &[], &json("remote", &node("b0", "tcp://h:1")));
        check(&["--name b"], &[("BUILDKIT_HOST", "tcp://h:1")], &json("remote", &node("b0", "tcp://h:1")));
        check(&["--name b"], &[], &json("kiln", &node("b0", "kiln:///home/a/.local/share/kiln-builders/b0")));
        check(
            &["--name b --node n --buildkitd-flags --debug --buildkitd-config d.toml --platform linux/arm64"],
            &[],
            &json(
                "kiln",
                r#"{"Name":"n","Endpoint":"kiln:///home/a/.local/share/kiln-builders/n","Platforms":[{"architecture":"arm64","os":"linux"}],"DriverOpts":null,"Flags":["--debug"],"Files":{"buildkitd.toml":"ZGVidWcgPSB0cnVlCg=="}}"#,
            ),
        );
        let two = format!("{},{}", node("b0", "tcp://h:1"), node("b1", "tcp://h:2"));
        check(&["--name b tcp://h:1", "--name b --append tcp://h:2"], &[], &json("remote", &two));
        check(&["--name b tcp://h:1", "--name b --node b0"], &[], &json("remote", &node("b0", "tcp://h:1")));
        check(
            &["--name b tcp://h:1", "--name b --append tcp://h:2", "--name b --leave --node b0"],
            &[],
            &json("remote", &node("b1", "tcp://h:2")),
        );
        check(
            &["--name b tcp://h:1", "--name b --node b0 tcp://h:3"],
            &[],
            &json("remote", &node("b0", "tcp://h:3")),
        );
    }

    /// The words of buildx.
    #[test]
    fn what_cannot_be_made_is_told() {
        let fails = |lines: &[&str], expect: &str| check(lines, &[], expect);
        fails(
            &["--name default"],
            "default is a reserved name and cannot be used to identify builder instance",
        );
        fails(&["--append tcp://h:1"], "append requires a builder name");
        fails(&["--name z --append tcp://h:1"], "failed to find instance \"z\" for append");
        fails(
            &["--name b tcp://h:1", "--name b tcp://h:2"],
            "existing instance for \"b\" but no append mode, specify the node name to make changes for existing instances",
        );
        fails(
            &["--name b tcp://h:1", "--name b --node x tcp://h:2"],
            "node x not found, did you mean to append?",
        );
        fails(
            &["--name b tcp://h:1", "--name b --append --driver kiln"],
            "existing instance for \"b\" but has mismatched driver \"remote\"",
        );
        fails(&["--name b tcp://h:1", "--name b --append tcp://h:1"], "invalid duplicate endpoint tcp://h:1");
        fails(&["--name b tcp://h:1", "--name b --leave --node q"], "node \"q\" not found for b");
        fails(
            &["--name b tcp://h:1", "--name b --leave --node b0"],
            "can not leave last node, do you want to rm instance instead?",
        );
        fails(&["--leave"], "leave requires instance name");
        fails(&["--leave --name b"], "leave requires node name");
        fails(&["--leave --name b --node c"], "failed to find instance \"b\" for leave");
        fails(&["--driver docker"], "additional instances of driver \"docker\" cannot be created");
        fails(&["--driver nope"], "failed to find driver \"nope\"");
        fails(&["far"], "the driver `docker-container` is not supported yet");
        fails(&["--driver remote"], "no remote endpoint provided");
        fails(&["--driver remote foo"], "unrecognized url scheme ");
        fails(&["--name b --driver-opt x tcp://h:1"], "invalid value \"x\", expecting k=v");
        fails(
            &["--name b --driver-opt x=y tcp://h:1"],
            "failed to initialize builder b (b0): invalid driver option x for remote driver",
        );
        fails(
            &["--name b --buildkitd-flags x tcp://h:1"],
            "failed to initialize builder b (b0): setting buildkit flags is not supported for remote driver",
        );
        fails(&["--name b --buildkitd-flags 'x"], "failed to parse buildkit flags: a quote is not closed");
        fails(
            &["--name b --buildkitd-config no.toml"],
            "buildkit configuration file not found: DIR/no.toml: no such file or directory",
        );
        fails(
            &["--name b --driver kiln tcp://h:1"],
            "kiln driver does not support endpoint args \"tcp://h:1\"",
        );
    }

    #[test]
    fn a_change_that_fails_leaves_what_was_there() {
        let fine = "--name b tcp://h:1 --platform linux/arm64";
        let nodes = r#"{"Name":"b0","Endpoint":"tcp://h:1","Platforms":[{"architecture":"arm64","os":"linux"}],"DriverOpts":null,"Flags":null,"Files":null}"#;
        let bad = "--name b --append tcp://h:2 --driver-opt x=y --platform linux/arm64";
        // A change of nothing tells what is there.
        check(&[fine, bad, "--name b --node b0 tcp://h:1"], &[], &json("remote", nodes));
    }
}
