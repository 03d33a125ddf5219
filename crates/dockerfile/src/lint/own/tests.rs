//! What each rule finds, and what it has to leave alone.

use crate::lint::{Linter, Settings, own};
use crate::{find_directive, parse};

/// Each line of `expected` is `<line> <rule>`, without `kiln.`.
fn check(text: &str, expected: &[&str]) {
    let directive = find_directive("check", text.as_bytes()).map_or(String::new(), |d| d.value);
    let parsed = parse(text.as_bytes(), &mut Linter::default());
    assert_eq!(parsed.errors, [], "{text}");
    let mut lint = Linter::new(Settings::parse(&directive).expect("valid"));
    own::check(&parsed.dockerfile, &mut lint);
    let mut got: Vec<(u32, String)> = lint
        .findings()
        .iter()
        .map(|f| (f.ranges[0].start.line, f.rule.name.trim_start_matches("kiln.").to_owned()))
        .collect();
    got.sort();
    let got: Vec<String> = got.into_iter().map(|(line, rule)| format!("{line} {rule}")).collect();
    assert_eq!(got, expected, "{text}");
}

/// As [`check`], of instructions behind `FROM a`, which is line 1.
fn check_stage(text: &str, expected: &[&str]) {
    check(&format!("FROM a\n{text}"), expected);
}

#[test]
fn a_copy_of_everything_busts_the_cache_of_dependencies() {
    check_stage("COPY . .\nRUN npm ci", &["2 CacheBust"]);
    check_stage(
        "ADD . /app\nRUN cd /app && pip install -r requirements.txt",
        &["2 AddForCopy", "2 CacheBust"],
    );
    check_stage("COPY . .\nRUN go mod download && go build ./...", &["2 CacheBust"]);
    check_stage("COPY ./ /src\nRUN apk add --no-cache git", &["2 CacheBust"]);
    check("FROM a AS b\nCOPY . .\nFROM b\nRUN yarn", &["2 CacheBust"]);
    // The right order, tools that were run before, and what builds the project itself.
    check_stage("COPY package.json .\nRUN npm ci\nCOPY . .\nRUN npm run build", &[]);
    check_stage("COPY package.json .\nRUN npm ci\nCOPY . .\nRUN npm ci --omit=dev", &[]);
    check_stage("COPY . .\nRUN pip install .", &[]);
    check_stage("COPY . .\nRUN pip install -e .", &[]);
    check_stage("COPY . .\nRUN pip install -r requirements.txt .", &[]);
    check_stage("COPY . .\nRUN poetry install", &[]);
    check_stage("COPY . .\nRUN go build ./... && make && cargo build", &[]);
    check_stage("COPY . .\nRUN --mount=type=cache,target=/root/.npm npm ci", &[]);
    check_stage("COPY --from=a . .\nRUN npm ci", &[]);
    check_stage("COPY . .\nRUN apt-get install ./x.deb", &[]);
    check_stage("COPY . .\nRUN npm install --help-me ./lib", &[]);
    check_stage("COPY . .\nRUN [\"npm\", \"ci\"]", &[]);
}

#[test]
fn an_arg_stands_where_it_is_used() {
    let apt = "RUN apt-get update && apt-get install -y x && rm -rf /var/lib/apt/lists/*";
    check_stage(&format!("ARG V\n{apt}\nRUN build $V"), &["2 EarlyArg"]);
    check_stage(&format!("ARG V=1\n{apt}\nLABEL version=${{V}}"), &["2 EarlyArg"]);
    check_stage(&format!("ARG A B\n{apt}\nRUN build $A $B"), &["2 EarlyArg", "2 EarlyArg"]);
    check_stage(&format!("{apt}\nARG V\nRUN build $V"), &[]);
    // Used by the installation, by nobody, by who reads the environment, or no choice of the user.
    check_stage("ARG V\nRUN apk add --no-cache x=$V\nRUN build $V", &[]);
    check_stage(&format!("ARG DEBIAN_FRONTEND=noninteractive\n{apt}\nENV DEBIAN_FRONTEND=x"), &[]);
    check_stage(&format!("ARG V\n{apt}"), &[]);
    check_stage(&format!("ARG TARGETARCH\n{apt}\nRUN build $TARGETARCH"), &[]);
    check_stage("ARG V\nRUN <<EOF\napk add --no-cache $V\nEOF\nRUN x $V", &[]);
    check_stage("ARG V\nRUN make\nRUN x $V", &[]);
    check_stage(&format!("ARG V\n{apt}\nRUN echo $VX"), &[]);
}

#[test]
fn secrets_stay_out_of_images() {
    check_stage("COPY .env /app/", &["2 SecretFile"]);
    check_stage("ADD id_rsa /root/.ssh/", &["2 AddForCopy", "2 SecretFile"]);
    check_stage("COPY a .npmrc tls.key ./", &["2 SecretFile", "2 SecretFile"]);
    check_stage("COPY .env.example .env", &[]);
    check_stage("COPY --from=b /etc/ssl/x.pem /", &[]);
    check_stage("# check=skip=kiln.SecretFile\nCOPY .npmrc .", &[]);
    let token = format!("ghp_{}", "a1B2".repeat(9));
    check_stage(&format!("ENV X={token}"), &["2 SecretValue"]);
    check(&format!("ARG X={token}\nFROM a\nARG Y={token}"), &["1 SecretValue", "3 SecretValue"]);
    check_stage(&format!("RUN curl -H 'Authorization: {token}' https://x"), &["2 SecretValue"]);
    check_stage("RUN git clone https://me:s3cr3t@example.com/x", &["2 SecretValue"]);
    check_stage("RUN --mount=type=secret,id=t git clone https://me:$(cat /run/secrets/t)@example.com/x", &[]);
}

#[test]
fn package_managers_clean_up() {
    check_stage("RUN apt-get update && apt-get install -y x", &["2 PackageCache"]);
    check_stage("RUN apt-get update; apt-get install -y x; apt-get clean", &["2 PackageCache"]);
    check_stage("RUN <<EOF\napt-get update\napt-get install -y x\nEOF", &["2 PackageCache"]);
    check_stage("RUN apk add x", &["2 PackageCache"]);
    check_stage("RUN dnf install -y x", &["2 PackageCache"]);
    check_stage("RUN apt-get update && apt-get install -y x && rm -rf /var/lib/apt/lists/*", &[]);
    check_stage("RUN --mount=type=cache,target=/var/lib/apt apt-get update && apt-get install x", &[]);
    check_stage("RUN apk add --no-cache x", &[]);
    check_stage("RUN apk -U add x && rm -rf /var/cache/apk/*", &[]);
    check_stage("RUN dnf -y install x && dnf clean all", &[]);
    check_stage("RUN echo 'apt-get update && apt-get install x'", &[]);
    // What nobody ships may be as large as it likes.
    let build = "FROM a AS build\nRUN apt-get update && apt-get install -y x\n";
    check(&format!("{build}FROM b\nCOPY --from=build /x /"), &[]);
    check(&format!("{build}FROM b\nRUN --mount=from=build x"), &[]);
    check(&format!("{build}FROM build"), &["2 PackageCache"]);
    check(&format!("{build}FROM b"), &["2 PackageCache"]);
}

#[test]
fn lists_are_updated_where_they_are_used() {
    check_stage("RUN apt-get update\nRUN apt-get install -y x", &["2 StaleLists"]);
    check_stage("RUN apt-get update && ./install.sh", &[]);
    check_stage("RUN apt-get update && apt-get upgrade -y && rm -r /var/lib/apt/lists", &[]);
    check_stage("RUN apk update", &[]);
}

#[test]
fn pins_are_for_all() {
    check("FROM a@sha256:1\nFROM b:1", &["2 UnpinnedBase"]);
    check("FROM a@sha256:1\nCOPY --from=b:1 / /", &["2 UnpinnedBase"]);
    check("FROM a@sha256:1 AS x\nFROM x\nFROM scratch\nCOPY --from=0 / /\nCOPY --from=x / /", &[]);
    check("ARG B=b\nFROM a@sha256:1\nFROM $B", &[]);
    check("FROM a\nFROM b:1", &[]);
}

#[test]
fn stages_are_called_by_their_name() {
    check("FROM a AS build\nFROM b\nCOPY --from=biuld / /", &["3 StageTypo"]);
    check("FROM a AS build\nFROM buidl", &["2 StageTypo"]);
    check("FROM a AS build\nFROM b\nRUN --mount=from=built x", &["3 StageTypo"]);
    check("FROM a AS build\nFROM b\nCOPY --from=BUILD / /", &[]);
    check("FROM alpine AS alpine2\nFROM alpine", &[]);
    check("FROM a AS base\nFROM bass/x:1\nCOPY --from=b / /", &[]);
}

#[test]
fn add_is_for_more_than_copies() {
    check_stage("ADD a b /x/", &["2 AddForCopy"]);
    check_stage("ADD src /x", &["2 AddForCopy"]);
    check_stage("ADD <<EOF /x\na\nEOF", &["2 AddForCopy"]);
    for fine in [
        "a.tar.gz",
        "https://x/y",
        "git@x:y",
        "$FILE",
        "rootfs*",
        "x.tar",
        "--unpack=true a",
        "lib*.*",
        "a.zip",
    ] {
        check_stage(&format!("ADD {fine} /x"), &[]);
    }
}

#[test]
fn pipes_fail_with_their_parts() {
    check_stage("RUN curl -f https://x | tar x", &["2 PipeFail"]);
    check_stage("RUN <<EOF\na\nb | c\nEOF", &["2 PipeFail"]);
    check_stage("SHELL [\"/bin/bash\", \"-c\"]\nRUN a | b", &["3 PipeFail"]);
    for fine in [
        "RUN echo x | sha256sum -c",
        "RUN a || b",
        "RUN echo 'a | b'",
        "RUN set -euxo pipefail; a | b",
        "RUN if a | grep -q b; then c; fi",
        "RUN case \"$x\" in a|b) c;; *) d;; esac",
        "RUN [\"a\", \"|\", \"b\"]",
        "RUN <<EOF\n#!/usr/bin/env python3\nx = a | b\nEOF",
        "SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\nRUN a | b",
        "SHELL [\"pwsh\", \"-Command\"]\nRUN a | b",
        "RUN yes | install",
    ] {
        check_stage(fine, &[]);
    }
    check("FROM a AS b\nSHELL [\"bash\", \"-eo\", \"pipefail\", \"-c\"]\nFROM b\nRUN a | b", &[]);
}

#[test]
fn directives_silence_rules() {
    check("# check=skip=kiln.AddForCopy,kiln.PipeFail\nFROM a\nADD x y\nRUN a | b", &[]);
    check("# check=skip=all\nFROM a\nADD x y", &[]);
    check_stage("# check=skip=kiln.AddForCopy\nADD x y\nADD x y", &["4 AddForCopy"]);
}
