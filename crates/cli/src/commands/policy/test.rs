use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use errdefs::{Error, Result, ResultExt as _};
use policy::{File, Known, Level, Question, Signed, Suite, TestResult};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use super::{blocking, engine, host};
use crate::args::{GlobalArgs, PolicyTestArgs};
use crate::console;
use crate::environment::Environment;
use crate::policies::read_below;

const END: &str = "_test.rego";
/// Most bytes of a file.
const MOST: usize = 1 << 20;

pub(super) async fn test(args: &PolicyTestArgs, global: &GlobalArgs, env: &Environment) -> Result<ExitCode> {
    let name = format!("{}.rego", args.filename);
    let policy = read(&name, env).with_context(|| format!("read policy module {name}"))?;
    let files = files(&args.path, env)?;
    let tests = files.iter().map(|name| read(name, env)).collect::<Result<Vec<_>>>()?;
    let world = Arc::new(World {
        global: global.clone(),
        env: env.clone(),
        runtime: Handle::current(),
        engine: OnceCell::new(),
    });
    let run = args.run.clone();
    let results = blocking(move || {
        let host = Arc::clone(&world) as Arc<dyn policy::Host>;
        Suite::load(policy, &tests, &run, host)?.run(&mut || world.platform())
    })
    .await?;
    let told: String = results.iter().map(tell).collect();
    console::out(told)?;
    Ok(ExitCode::from(u8::from(results.iter().any(|result| !result.passed))))
}

/// One file, or those of a folder, by name.
fn files(path: &str, env: &Environment) -> Result<Vec<String>> {
    let path = match path.trim_end_matches('/') {
        "" => ".",
        path => path,
    };
    let there = env.cwd.join(path);
    if !there.metadata().with_context(|| format!("stat {path}"))?.is_dir() {
        return match path.ends_with(END) {
            true => Ok(vec![path.to_owned()]),
            false => Err(Error::user(format!("test file must have {END} suffix: {path}"))),
        };
    }
    let entries = std::fs::read_dir(&there).with_context(|| format!("read dir {path}"))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(END) && !entry.path().is_dir() {
            names.push(bake::clean_path(&format!("{path}/{name}")));
        }
    }
    names.sort();
    match names.is_empty() {
        true => {
            Err(Error::not_found("no policy tests found").hint(format!("tests are in files called ...{END}")))
        }
        false => Ok(names),
    }
}

fn read(name: &str, env: &Environment) -> Result<File> {
    let path = Path::new(name).strip_prefix(&env.cwd).ok().and_then(Path::to_str).unwrap_or(name);
    let data = read_below(&env.cwd, path, MOST)?;
    let data = data.ok_or_else(|| Error::not_found(format!("open {name}: no such file or directory")))?;
    Ok(File { name: name.to_owned(), data })
}

fn tell(result: &TestResult) -> String {
    let word = if result.passed { "PASS" } else { "FAIL" };
    let decision = result.decision.as_ref();
    let allow =
        decision.and_then(|decision| decision.allow).map_or("n/a".to_owned(), |allow| allow.to_string());
    let messages = decision.map(|decision| decision.messages.join("; ")).unwrap_or_default();
    let mut out = match messages.as_str() {
        "" => format!("{}: {word} (allow={allow})\n", result.name),
        messages => format!("{}: {word} (allow={allow}, deny_msg={messages})\n", result.name),
    };
    if result.passed {
        return out;
    }
    match &result.input {
        Some(input) => out.push_str(&format!("input:\n{}\n", policy::go_json(input))),
        None => out.push_str("input: <nil>\n"),
    }
    match decision {
        Some(decision) => out.push_str(&format!("decision:\n{}\n", policy::go_json(decision))),
        None => out.push_str("decision: <nil>\n"),
    }
    if !result.missing.is_empty() {
        let missing: Vec<_> = result.missing.iter().map(|field| format!("input.{field}")).collect();
        out.push_str(&format!("missing_input: {}\n", missing.join(", ")));
    }
    let needed: Vec<_> = ["git", "image"].into_iter().filter(|kind| needs(kind, &result.missing)).collect();
    if !needed.is_empty() {
        out.push_str(&format!("metadata_resolve: {}\n", needed.join(", ")));
    }
    out
}

/// Whether an engine would have to be asked for fields of that kind; not where there are fields that none knows.
fn needs(kind: &str, missing: &[String]) -> bool {
    policy::is_all_askable(missing) && missing.iter().any(|field| field.starts_with(&format!("{kind}.")))
}

/// Reaches the engine only when a test names an image.
struct World {
    global: GlobalArgs,
    env: Environment,
    runtime: Handle,
    engine: OnceCell<(Arc<crate::policies::Engine>, Arc<dyn policy::Host>)>,
}

impl World {
    async fn engine(&self) -> Result<&(Arc<crate::policies::Engine>, Arc<dyn policy::Host>)> {
        let open = async || {
            let engine = Arc::new(engine(&self.global, &self.env).await?);
            let host = host(&engine, &self.env);
            Ok((engine, host))
        };
        self.engine.get_or_try_init(open).await
    }

    fn platform(&self) -> Result<oci::Platform> {
        self.runtime.block_on(async { self.engine().await?.0.platform().await })
    }
}

impl policy::Host for World {
    fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>> {
        read_below(&self.env.cwd, path, most)
    }

    fn verify(&self, signed: &Signed, keys: &[u8]) -> Result<()> {
        let (_, host) = self.runtime.block_on(self.engine())?;
        host.verify(signed, keys)
    }

    fn ask(&self, question: &Question) -> Result<Known> {
        self.runtime.block_on(async { self.engine().await?.0.inquiry().await?.ask(question).await })
    }

    fn log(&self, _: Level, text: &str) {
        tracing::debug!("{text}");
    }

    fn hears(&self, _: Level) -> bool {
        tracing::enabled!(tracing::Level::DEBUG)
    }
}
