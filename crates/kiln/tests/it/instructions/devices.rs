//! RUN `--device`.

use crate::harness::{Engine, Folder, check_files};

const SPEC: &str = r#"
cdiVersion: "0.6.0"
kind: "vendor.com/dev"
annotations:
  org.mobyproject.buildkit.device.autoallow: false
containerEdits:
  env: [ALL=yes]
devices:
- name: one
  annotations:
    org.mobyproject.buildkit.device.autoallow: true
  containerEdits:
    env: [ONE=here]
- name: two
  annotations:
    org.mobyproject.buildkit.device.class: twos
  containerEdits:
    env: [TWO=here]
    deviceNodes:
    - path: /dev/two/zero
      hostPath: /dev/zero
      fileMode: 0640
      gid: 44
    additionalGids: [45]
    mounts:
    - {hostPath: HOST, containerPath: /opt/two, options: [ro, nosuid]}
- name: hooked
  annotations:
    org.mobyproject.buildkit.device.autoallow: true
  containerEdits:
    hooks:
    - {hookName: createContainer, path: /bin/sh, args: [sh, -c, "cat > HOST/state"]}
    - {hookName: startContainer, path: /bin/sh, args: [sh, -c, "echo $WHO > /o"], env: [WHO=hook]}
- name: broken
  annotations:
    org.mobyproject.buildkit.device.autoallow: true
  containerEdits:
    hooks:
    - {hookName: createRuntime, path: /bin/sh, args: [sh, -c, "echo no such card >&2; exit 3"]}
"#;

#[test]
fn devices() {
    let specs = Folder::new(&[("host/file", "from the host")]);
    specs.write("vendor.yaml", SPEC.replace("HOST", &specs.join("host").display().to_string()));
    let config = format!("[cdi]\nspecDirs = [{:?}]\n", specs.path());
    let engine = Engine::with_config(&config);
    let dockerfile = |run: &str| format!("FROM busybox AS b\nRUN {run}\nFROM scratch\nCOPY --from=b /o /");
    let check = |run: &str, args: &[&str], expect: &str| {
        check_files(&engine, &dockerfile(run), &[], args, &[&format!("644 0:0 o '{expect}'")]);
    };
    let env = "sh -c 'echo $ALL $ONE $TWO > /o'";
    check(&format!("--device=vendor.com/dev=one,required {env}"), &[], "yes here\\n");
    check(&format!("--device=other.com/dev {env}"), &[], "\\n");
    let look = "cat /opt/two/file > /o; stat -c ' %a %g %t:%T' /dev/two/zero >> /o; id -G >> /o";
    let all = ["--allow", "device=vendor.com/dev=*"];
    check(&format!("--device=vendor.com/dev=two {look}"), &all, "from the host 640 44 1:5\\n0 45\\n");
    check(&format!("--device=twos {env}"), &all, "yes here\\n");
    check(
        &format!("--device=mine {env}"),
        &["--allow", "device=vendor.com/dev=two,alias=mine"],
        "yes here\\n",
    );

    check("--device=vendor.com/dev=hooked echo step >> /o", &[], "hook\\nstep\\n");
    assert!(specs.read("host/state").contains("\"status\":\"creating\""));

    let fails = |run: &str, text: &str| {
        engine.build(&Folder::with_dockerfile(&dockerfile(run), &[])).fails(1, &[text]);
    };
    let text = "device vendor.com/dev=two is requested by the build but not allowed";
    fails("--device=vendor.com/dev=two true", text);
    fails("--device=vendor.com/none,required true", "required device \"vendor.com/none\" is not registered");
    let text = "the createRuntime hook `/bin/sh` of a device failed: exit status: 3: no such card";
    fails("--device=vendor.com/dev=broken true", text);
    fails("--device=a,b true", "invalid field 'b' must be a key=value pair");
}
