//! What runs again, and what does not.

use std::fs::File;
use std::time::{Duration, SystemTime};

use crate::harness::{Engine, Folder, State, Steps, list_tar};

use State::{Cached, Ran};

const DOCKERFILE: &str = "FROM busybox AS deps\nCOPY deps.txt /d/\nRUN cat /d/deps.txt > /deps\n\
                          FROM busybox AS app\nCOPY --from=deps /deps /\nCOPY src /src/\nRUN cat /src/* > /app\n\
                          FROM scratch\nCOPY --from=app /app /deps /";

const DEPS: &[&str] = &["COPY deps.txt", "RUN cat /d/deps.txt"];
const APP: &[&str] = &["COPY --from=deps", "COPY src", "RUN cat /src", "COPY --from=app"];

fn context() -> Folder {
    Folder::with_dockerfile(DOCKERFILE, &[("deps.txt", "d"), ("src/a", "a"), ("src/b", "b"), ("unused", "u")])
}

fn build(engine: &Engine, context: &Folder, args: &[&str]) -> Steps {
    engine.build(context).args(["-otype=tar,dest=/dev/null"]).args(args).steps()
}

fn all(state: State) -> Vec<(&'static str, State)> {
    DEPS.iter().chain(APP).map(|name| (*name, state)).collect()
}

#[test]
fn the_same_again_does_nothing() {
    let engine = Engine::new();
    let context = context();
    build(&engine, &context, &[]).assert(&all(Ran));
    build(&engine, &context, &[]).assert(&all(Cached));
    engine.stop();
    build(&engine, &context, &[]).assert(&all(Cached));
    // The content of a folder counts, not which folder it is.
    build(&engine, &self::context(), &[]).assert(&all(Cached));
    // What was found in the cache is what was built.
    assert_eq!(list_tar(&engine.build(&context).tar()), ["644 0:0 app 'ab'", "644 0:0 deps 'd'"]);
}

#[test]
fn content_decides_and_not_time() {
    let engine = Engine::new();
    let context = context();
    build(&engine, &context, &[]).assert(&all(Ran));

    let file = File::options().write(true).open(context.join("src/a")).expect("opened");
    file.set_modified(SystemTime::now() - Duration::from_secs(86_400)).expect("touched");
    build(&engine, &context, &[]).assert(&all(Cached));

    context.write("unused", "something else");
    build(&engine, &context, &[]).assert(&all(Cached));

    context.write("src/a", "A");
    build(&engine, &context, &[]).assert(&[
        ("COPY deps.txt", Cached),
        ("RUN cat /d/deps.txt", Cached),
        ("COPY --from=deps", Cached),
        ("COPY src", Ran),
        ("RUN cat /src", Ran),
        ("COPY --from=app", Ran),
    ]);
    assert_eq!(list_tar(&engine.build(&context).tar()), ["644 0:0 app 'Ab'", "644 0:0 deps 'd'"]);
}

#[test]
fn an_input_with_the_same_result_stops_the_change() {
    let engine = Engine::new();
    let dockerfile = "FROM busybox AS a\nCOPY f /f\nRUN wc -c < /f > /size\nFROM busybox\nCOPY --from=a /size /\nRUN cat /size";
    let context = Folder::with_dockerfile(dockerfile, &[("f", "one")]);
    build(&engine, &context, &[]);
    context.write("f", "two");
    build(&engine, &context, &[]).assert(&[
        ("COPY f", Ran),
        ("RUN wc", Ran),
        ("COPY --from=a", Cached),
        ("RUN cat", Cached),
    ]);
}

#[test]
fn a_step_depends_on_what_it_says() {
    let engine = Engine::new();
    let check = |before: &str, after: &str, args: [&[&str]; 2], expect: State| {
        let dockerfile = |line: &str| format!("FROM busybox\n{line}\nRUN echo here");
        build(&engine, &Folder::with_dockerfile(&dockerfile(before), &[]), args[0]);
        let steps = build(&engine, &Folder::with_dockerfile(&dockerfile(after), &[]), args[1]);
        assert_eq!(steps.state("RUN echo here"), expect, "{before} {after} {args:?}");
    };
    check("ENV A=1", "ENV A=2", [&[]; 2], Ran);
    check("WORKDIR /a", "WORKDIR /b", [&[]; 2], Ran);
    check("USER 1", "USER 2", [&[]; 2], Ran);
    check("LABEL a=1", "LABEL a=2", [&[]; 2], Cached);
    check("CMD a", "CMD b", [&[]; 2], Cached);
    check("ARG B", "ARG B", [&["--build-arg", "B=1"], &["--build-arg", "B=2"]], Ran);
    check("LABEL x=1", "LABEL x=1", [&["--build-arg", "U=1"], &["--build-arg", "U=2"]], Cached);
}

#[test]
fn bind_mounts_count_by_content() {
    let engine = Engine::new();
    let dockerfile = "FROM busybox\nRUN --mount=source=src,target=/m cat /m/a > /a";
    let context = Folder::with_dockerfile(dockerfile, &[("src/a", "a"), ("other", "o")]);
    let state = || build(&engine, &context, &[]).state("RUN --mount");
    assert_eq!(state(), Ran);
    assert_eq!(state(), Cached);
    context.write("other", "changed");
    assert_eq!(state(), Cached);
    context.write("src/a", "changed");
    assert_eq!(state(), Ran);
}

#[test]
fn it_can_be_passed_over() {
    let engine = Engine::new();
    let context = context();
    build(&engine, &context, &[]).assert(&all(Ran));
    build(&engine, &context, &["--no-cache"]).assert(&all(Ran));
    build(&engine, &context, &[]).assert(&all(Cached));
    let filtered = build(&engine, &context, &["--no-cache-filter", "app"]);
    filtered.assert(&DEPS.iter().map(|name| (*name, Cached)).collect::<Vec<_>>());
    filtered.assert(&[("COPY src", Ran), ("RUN cat /src", Ran)]);
}

#[test]
fn it_can_be_pruned() {
    let engine = Engine::new();
    let context = context();
    build(&engine, &context, &[]);
    let du = engine.run("du");
    assert!(du.status.success(), "{}", String::from_utf8_lossy(&du.stderr));
    let told = String::from_utf8_lossy(&du.stdout).into_owned();
    assert!(told.contains("Total:"), "{told}");
    let prune = engine.run("prune --all --force");
    assert!(prune.status.success(), "{}", String::from_utf8_lossy(&prune.stderr));
    build(&engine, &context, &[]).assert(&all(Ran));
}

#[test]
fn two_builds_at_once_do_the_work_once() {
    let engine = Engine::new();
    let out = Folder::new(&[]);
    let context =
        Folder::with_dockerfile("FROM busybox\nRUN sleep 1; cat /proc/sys/kernel/random/uuid > /id", &[]);
    let children: Vec<_> = ["a", "b"]
        .iter()
        .map(|name| {
            engine
                .build(&context)
                .args(["-o", &format!("type=oci,dest={}", out.join(name).display())])
                .spawn()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let layer = |name: &str| crate::harness::Image::open(&out.join(name)).layer(1);
    assert_eq!(layer("a"), layer("b"));
}

/// Regular files in the layer trees of the store.
fn files_in_layers(engine: &Engine) -> usize {
    let (mut todo, mut count) = (vec![engine.root().join("layers-v1")], 0);
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("read")) {
            match entry.file_type().expect("a type") {
                kind if kind.is_dir() => todo.push(entry.path()),
                _ => count += 1,
            }
        }
    }
    count
}

#[test]
fn a_small_change_is_copied_alone_and_nothing_tells() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile(
        "FROM busybox\nCOPY src /src/\nRUN ls /src /src/new /src/d > /list; cat /src/f7 /src/new/n >> /list",
        &[("src/new/n", "n"), ("src/d/gone", "g"), ("src/d/stays", "s")],
    );
    (0..100).for_each(|i| context.write(&format!("src/f{i}"), i.to_string()));
    build(&engine, &context, &[]);
    let before = files_in_layers(&engine);
    for turn in 0..3 {
        context.write("src/f7", format!("turn {turn}"));
        context.write(&format!("src/new/{turn}"), "new");
        let _ = std::fs::remove_file(context.join("src/d/gone"));
        build(&engine, &context, &[]).assert(&[("COPY src", Ran), ("RUN ls", Ran)]);
    }
    let more = files_in_layers(&engine) - before;
    assert!(more < 60, "{more} files for three small changes");
    let fresh = Engine::new();
    let check = || {
        let [image, expected] = [&engine, &fresh].map(|engine| engine.build(&context).image());
        assert_eq!(image.manifest["layers"][1], expected.manifest["layers"][1]);
        assert_eq!(image.layer(2), expected.layer(2));
    };
    check();
    engine.stop();
    build(&engine, &context, &[]).assert(&[("COPY src", Cached), ("RUN ls", Cached)]);
    context.write("src/f7", "after a restart");
    check();
    assert!(engine.run("prune --all --force").status.success());
    assert_eq!(files_in_layers(&engine), 0);
}
