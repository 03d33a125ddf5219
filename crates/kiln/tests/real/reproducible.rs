//! The same inputs give the same digest, wherever and whenever they are built.

use serde_json::Value;

use crate::base;
use crate::harness::{Engine, Folder};

/// A name, a Dockerfile, and the files beside it.
type Image = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const IMAGES: [Image; 10] = [
    (
        "packages",
        r#"FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends less ca-certificates \
    && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/apt/* /var/cache/ldconfig/aux-cache
"#,
        &[],
    ),
    (
        "c",
        r#"FROM tools AS build
WORKDIR /src
COPY Makefile ./
COPY src/ src/
RUN make
FROM scratch
COPY --from=build /src/hello /hello
ENTRYPOINT ["/hello"]
"#,
        &[
            ("Makefile", "hello: src/hello.c\n\tgcc -O2 -static -o $@ $<\n"),
            ("src/hello.c", "#include <stdio.h>\nint main(void) { puts(__FILE__); return 0; }\n"),
        ],
    ),
    (
        "go",
        r#"FROM tools AS build
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -o /out/app .
FROM scratch
COPY --link --from=build /out /
"#,
        &[
            ("go.mod", "module example.com/app\ngo 1.19\n"),
            ("main.go", "package main\n\nfunc main() { println(1) }\n"),
        ],
    ),
    (
        "cargo",
        r#"FROM tools AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/root/.cargo/registry cargo build --release && cp target/release/app /app
FROM debian:bookworm-slim
COPY --from=build /app /usr/local/bin/
"#,
        &[
            (
                "Cargo.toml",
                "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nitoa = \"=1.0.11\"\n",
            ),
            ("src/main.rs", "fn main() { println!(\"{}\", itoa::Buffer::new().format(1)) }\n"),
        ],
    ),
    (
        "npm",
        r#"FROM tools AS build
WORKDIR /app
COPY package.json ./
RUN npm install --omit=dev --no-audit --no-fund --ignore-scripts && rm -rf /root/.npm
FROM scratch
COPY --from=build /app /app
"#,
        &[("package.json", r#"{"name": "app", "version": "1.0.0", "dependencies": {"chalk": "4.1.2"}}"#)],
    ),
    (
        "pip",
        r#"FROM tools AS build
ARG SOURCE_DATE_EPOCH
RUN python3 -m venv /venv && /venv/bin/pip install --no-cache-dir jinja2==3.1.6 markupsafe==3.0.2
FROM debian:bookworm-slim
COPY --from=build /venv /venv
"#,
        &[],
    ),
    (
        "stages",
        r#"FROM debian:bookworm-slim AS a
RUN mkdir -p /out/bin && printf 'x%.0s' $(seq 100000) > /out/long
FROM debian:bookworm-slim AS b
COPY <<EOF /out/config
key = value
EOF
COPY --chmod=0755 <<'EOF' /out/run
#!/bin/sh
exec echo "$@"
EOF
FROM debian:bookworm-slim
COPY --link --from=a /out /opt/a
COPY --link --from=b --chown=1:1 /out /opt/b
RUN <<EOF
set -e
useradd --create-home kim
install -d -o kim /srv/kim
ln /opt/b/run /usr/local/bin/run
EOF
USER kim
WORKDIR /srv/kim/new
CMD ["run", "hello"]
"#,
        &[],
    ),
    (
        "archives",
        r#"FROM tools AS pack
ARG SOURCE_DATE_EPOCH
WORKDIR /in
COPY . .
RUN tar --sort=name --mtime=@$SOURCE_DATE_EPOCH --owner=0 --group=0 -cf /a.tar b && gzip -n -k /a.tar
FROM scratch
COPY --link --from=pack /a.tar.gz /packed/
ADD b /b
"#,
        &[("b/one", "1"), ("b/two/three", "3"), ("b/link -> one", ""), ("+x b/run", "#!/bin/sh\n")],
    ),
    (
        "many files",
        r#"FROM debian:bookworm-slim
COPY --exclude=*.md . /srv/
RUN cd /srv && for i in $(seq 500); do mkdir -p d$((i % 7)) && echo $i > d$((i % 7))/f$i; done \
    && ln d1/f1 hard && ln -s d1/f1 soft && mkfifo pipe && chmod 4755 d2/f2
RUN rm -rf /srv/d3 && mv /srv/d4 /srv/d8
"#,
        &[("a", "a"), ("b.md", "b"), ("ü/x", "x"), (" space", "y")],
    ),
    (
        "platforms",
        "FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nCOPY $TARGETARCH /arch\nWORKDIR /w\n",
        &[("amd64", "1"), ("arm64", "2")],
    ),
];

/// Another umask, and one core.
const NARROW: [&str; 4] = ["sh", "-c", "umask 077; exec taskset -c 0 \"$@\"", "sh"];

/// A store and its engine, in which everything that should not count is its own.
struct Place {
    engine: Engine,
    /// Goes before the names of contexts.
    prefix: &'static str,
}

impl Place {
    fn digest(&self, (name, dockerfile, files): &Image) -> Result<String, String> {
        let outer = Folder::new(&[]);
        let context = format!("{}{name}", self.prefix);
        for (path, content) in files.iter().chain(&[("Dockerfile", *dockerfile)]) {
            match path.strip_prefix("+x ") {
                Some(path) => outer.add(&format!("+x {context}/{path}"), content),
                None => outer.add(&format!("{context}/{path}"), content),
            }
        }
        let metadata = outer.join("metadata.json").display().to_string();
        let output = format!("type=oci,rewrite-timestamp=true,dest={}", outer.join("out.tar").display());
        let mut args =
            vec!["--sbom=true", "--provenance=false", "--build-arg", "SOURCE_DATE_EPOCH=1700000000"];
        args.extend(["-o", &output, "--metadata-file", &metadata]);
        if *name == "platforms" {
            args.push("--platform=linux/amd64,linux/arm64");
        }
        let built = self.engine.build_from(&outer.join(&context).display().to_string());
        let built = built.args(base::contexts()).args(args).run();
        if built.code != Some(0) {
            return Err(format!("{name} fails:\n{}", built.stderr));
        }
        let told: Value = serde_json::from_str(&outer.read("metadata.json")).expect("JSON");
        Ok(told["containerimage.digest"].as_str().expect("a digest").to_owned())
    }
}

#[test]
fn ten_images_have_the_same_digest_anywhere_and_any_time() {
    base::contexts();
    // One place after the other: times are other ones too, and there is one store at a time.
    let places: [fn() -> Place; 2] = [
        || Place { engine: Engine::new(), prefix: "" },
        || Place { engine: Engine::new().wrapped(&NARROW), prefix: "elsewhere/in a folder of " },
    ];
    let [first, second] = places.map(|place| {
        let place = place();
        IMAGES.iter().map(|image| place.digest(image)).collect::<Vec<_>>()
    });
    let faults: Vec<String> = IMAGES
        .iter()
        .zip(first.into_iter().zip(second))
        .filter_map(|((name, ..), both)| match both {
            (Ok(a), Ok(b)) if a == b => None,
            (Ok(a), Ok(b)) => Some(format!("{name}: {a} and {b}")),
            (Err(e), _) | (_, Err(e)) => Some(e),
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
