//! Programs that are run at moments of a container's life.

use std::fs;

use executor::{Hook, Moment, Spec};

use crate::world::{Ran, World};

fn hook(at: Moment, script: &str) -> Hook {
    let args = ["sh", "-c", script].map(str::to_owned).to_vec();
    Hook { at, path: "/bin/sh".into(), args, env: Vec::new(), timeout: Some(20) }
}

/// A container with hooks that write to the folder `told`.
fn spec(world: &World, program: &str, hooks: &[(Moment, &str)]) -> Spec {
    let told = world.path("told");
    fs::create_dir_all(&told).expect("mkdir");
    let mut spec = world.shell(program);
    let script = |script: &str| script.replace("TOLD", &told.display().to_string());
    spec.hooks = hooks.iter().map(|(at, text)| hook(*at, &script(text))).collect();
    spec
}

#[tokio::test]
async fn each_has_its_moment_and_place() {
    let world = World::new();
    // The way in which programs for devices find the root: by the bundle that the state names.
    let in_root = "state=$(cat); bundle=$(echo $state | sed 's/.*\"bundle\":\"\\([^\"]*\\).*/\\1/'); \
                   root=$(sed 's/.*\"path\":\"\\([^\"]*\\).*/\\1/' $bundle/config.json); \
                   echo linked > $root/linked; echo $state > TOLD/createContainer; ls TOLD > $root/before";
    let mut spec = spec(
        &world,
        "cat /linked /before /dev/shm/started; echo; id -u",
        &[
            (Moment::Poststop, "cat > TOLD/poststop"),
            (Moment::Poststart, "cat > TOLD/poststart"),
            (Moment::StartContainer, "id -u > /dev/shm/started; cat >> /dev/shm/started"),
            (Moment::CreateContainer, in_root),
            (Moment::CreateRuntime, "cat > TOLD/createRuntime"),
            (Moment::Prestart, "cat > TOLD/prestart"),
        ],
    );
    // The hook that runs inside has no more rights than the program.
    spec.process.user = "1000".into();
    let (id, Ran { exit, stdout, stderr, .. }) = (spec.id.clone(), world.run(spec).await);
    assert!(exit.success(), "{stdout}{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[..4], ["linked", "createContainer", "createRuntime", "prestart"], "{stdout}");
    assert_eq!((lines[4], lines.last()), ("1000", Some(&"1000")), "{stdout}");
    assert!(lines[5].contains(r#""pid":1,"status":"created""#), "{stdout}");
    for (name, status) in [
        ("prestart", "creating"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
        ("poststart", "running"),
        ("poststop", "stopped"),
    ] {
        let told = fs::read_to_string(world.path("told").join(name)).expect(name);
        let state = [format!("\"id\":\"{id}\""), format!("\"status\":\"{status}\"")];
        assert!(state.iter().all(|part| told.contains(part)), "{name}: {told}");
        assert_eq!(told.contains("\"pid\":"), name != "poststop", "{name}: {told}");
    }
    let left = fs::read_dir(world.path("state/bundles")).expect("readable").count();
    assert_eq!(left, 0, "bundles are left behind");
}

#[tokio::test]
async fn one_that_fails_fails_the_container() {
    let world = World::new();
    for at in [Moment::CreateRuntime, Moment::CreateContainer, Moment::StartContainer, Moment::Poststart] {
        let spec = spec(&world, "sleep 20", &[(at, "echo no such card >&2; exit 3")]);
        let e = world.try_run(spec).await.expect_err("the hook failed");
        let expected =
            format!("the {} hook `/bin/sh` of a device failed: exit status: 3: no such card", at.name());
        assert_eq!(e.message(), expected);
    }
    let mut slow = spec(&world, "true", &[(Moment::CreateRuntime, "sleep 20")]);
    slow.hooks[0].timeout = Some(1);
    let e = world.try_run(slow).await.expect_err("it takes too long");
    assert!(e.message().ends_with("it did not end in time"), "{e}");
    let late = spec(&world, "true", &[(Moment::Poststop, "exit 3")]);
    assert!(world.run(late).await.exit.success(), "what was done stays done");
}
