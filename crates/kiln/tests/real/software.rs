//! The built-in scanner finds what the package managers themselves list.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::base;
use crate::harness::{Engine, Folder};

/// Each of them says in `/truth` what it has.
const DOCKERFILE: &str = r#"FROM tools AS all
ARG BUILDKIT_SBOM_SCAN_STAGE=true
WORKDIR /truth
RUN python3 -m venv /venv && /venv/bin/pip install --no-cache-dir jinja2==3.1.6 \
    && /venv/bin/pip list --format=freeze > pypi
WORKDIR /app
COPY package.json .
RUN npm install --no-audit --no-fund && npm ls --all --json > /truth/npm.json
WORKDIR /go/lib
COPY <<EOF go.mod
module example.com/lib
go 1.19
EOF
COPY <<EOF lib.go
package lib

const Word = "hello"
EOF
WORKDIR /go/app
COPY <<EOF go.mod
module example.com/app
go 1.19
require example.com/lib v1.2.3
replace example.com/lib => ../lib
EOF
COPY <<EOF main.go
package main

import "example.com/lib"

func main() { println(lib.Word) }
EOF
RUN GOFLAGS=-mod=mod CGO_ENABLED=0 go build -o /usr/local/bin/app . && go version -m /usr/local/bin/app > /truth/golang
WORKDIR /rust
COPY Cargo.toml .
COPY <<EOF src/main.rs
fn main() {}
EOF
RUN cargo generate-lockfile && cargo metadata --format-version 1 > /truth/cargo.json
COPY hello.spec .
RUN rpmbuild -bb --define "_rpmdir /rust" hello.spec && rpm --dbpath /var/lib/rpm --nodeps -i /rust/noarch/hello-1.0-1.noarch.rpm \
    && rpm --dbpath /var/lib/rpm -qa --qf '%{name} %{version}-%{release}\n' > /truth/rpm
RUN dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\n' > /truth/deb
FROM scratch
COPY --from=all /truth /
"#;

const SPEC: &str = "Name: hello\nVersion: 1.0\nRelease: 1\nSummary: x\nLicense: MIT\nBuildArch: noarch\n%description\nx\n%files\n";
const PACKAGE: &str =
    r#"{"name": "app", "version": "1.0.0", "dependencies": {"chalk": "4.1.2", "@types/ms": "0.7.34"}}"#;
const CARGO: &str = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nitoa = \"=1.0.11\"\n";

#[test]
fn what_package_managers_list_is_found() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile(
        DOCKERFILE,
        &[("hello.spec", SPEC), ("package.json", PACKAGE), ("Cargo.toml", CARGO)],
    );
    let out = Folder::new(&[]);
    let args = ["--sbom=true", "-o", out.path().to_str().expect("UTF-8")];
    engine.build(&context).args(base::contexts()).args(args).ok();
    let sbom: Value = serde_json::from_str(&out.read("sbom-all.spdx.json")).expect("JSON");
    let found = |kind: &str, is_in: &str| -> BTreeSet<String> {
        let packages = sbom["predicate"]["packages"].as_array().expect("a list").iter();
        let of_kind = packages.filter(|package| {
            let purl = package["externalRefs"][0]["referenceLocator"].as_str().unwrap_or_default();
            let info = package["sourceInfo"].as_str().unwrap_or_default();
            purl.starts_with(&format!("pkg:{kind}/")) && info.contains(is_in)
        });
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        of_kind.map(|p| format!("{} {}", text(&p["name"]), text(&p["versionInfo"]))).collect()
    };
    let lines = |name: &str| out.read(name).lines().map(str::to_owned).collect::<Vec<_>>();

    let installed =
        lines("deb").into_iter().filter_map(|line| Some(line.strip_prefix("installed ")?.to_owned()));
    assert_eq!(found("deb", "/var/lib/dpkg/status"), installed.collect());

    let pip = lines("pypi").into_iter().map(|line| line.replacen("==", " ", 1)).collect();
    assert_eq!(found("pypi", "/venv/"), pip);

    let tree: Value = serde_json::from_str(&out.read("npm.json")).expect("JSON");
    let mut npm = BTreeSet::new();
    dependencies(&tree, &mut npm);
    assert_eq!(found("npm", "/app/node_modules/"), npm);

    let go = lines("golang").into_iter().filter_map(|line| {
        let mut fields = line.split('\t').skip(1);
        let (kind, name, version) = (fields.next()?, fields.next()?, fields.next().unwrap_or_default());
        // What stands in for another is a folder here.
        matches!(kind, "mod" | "dep").then(|| format!("{name} {version}"))
    });
    let go: BTreeSet<_> = go.collect();
    let mut read: BTreeSet<_> = found("golang", "/usr/local/bin/app");
    let standard = read.iter().find(|package| package.starts_with("stdlib 1.")).cloned();
    read.remove(&standard.expect("the version of go"));
    assert_eq!(
        read.iter().map(|p| p.trim().to_owned()).collect::<BTreeSet<_>>(),
        go.iter().map(|p| p.trim().to_owned()).collect()
    );

    let metadata: Value = serde_json::from_str(&out.read("cargo.json")).expect("JSON");
    let cargo = metadata["packages"].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let cargo = cargo.map(|p| format!("{} {}", text(&p["name"]), text(&p["version"]))).collect();
    assert_eq!(found("cargo", "/rust/Cargo.lock"), cargo);

    assert_eq!(found("rpm", ""), lines("rpm").into_iter().collect());
}

/// All packages of a tree that npm prints.
fn dependencies(tree: &Value, found: &mut BTreeSet<String>) {
    for (name, entry) in tree["dependencies"].as_object().into_iter().flatten() {
        if let Some(version) = entry["version"].as_str() {
            found.insert(format!("{name} {version}"));
        }
        dependencies(entry, found);
    }
}
