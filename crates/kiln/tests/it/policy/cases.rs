//! What policies decide. buildx gives the same answers; where it is there, the test asks it.

pub struct Case {
    /// Rules beside `default allow := false` and the decision.
    pub policy: &'static str,
    pub source: &'static str,
    pub expected: &'static str,
}

const fn case(policy: &'static str, source: &'static str, expected: &'static str) -> Case {
    Case { policy, source, expected }
}

const IMAGE: &str = "docker-image://{image}:1";
const FILE: &str = "{web}/file?q=1&q=2";
const REPO: &str = "{repo}#v1";
const OK: &str = "ok";
const DENIED: &str = "policy denied";

pub const DECISIONS: &[Case] = &[
    case("allow if true", IMAGE, OK),
    case("allow if false", IMAGE, DENIED),
    case("deny_msg contains \"a\"\ndeny_msg contains \"b\"", IMAGE, "policy denied: a; b"),
    case("deny_msg contains \"a\"\nallow if true", IMAGE, OK),
    case("allow if input.image.repo == \"{image}\"", IMAGE, OK),
    case("allow if input.image.host == \"{host}\"", IMAGE, OK),
    case("allow if input.image.tag == \"1\"", IMAGE, OK),
    case("allow if input.image.ref == \"{image}:1\"", IMAGE, OK),
    case("allow if input.image.isCanonical", IMAGE, DENIED),
    case("allow if not input.image.isCanonical", IMAGE, OK),
    case("allow if input.image.platform == \"linux/amd64\"", IMAGE, OK),
    case("allow if { input.image.os == \"linux\"; input.image.arch == \"amd64\" }", IMAGE, OK),
    case("allow if input.image.labels.l == \"v\"", IMAGE, OK),
    case("allow if input.image.labels.l == \"w\"", IMAGE, DENIED),
    case("allow if input.image.labels[\"l\"] == \"v\"", IMAGE, OK),
    case("allow if input.image.env[_] == \"A=1\"", IMAGE, OK),
    case("allow if { some e in input.image.env; startswith(e, \"A=\") }", IMAGE, OK),
    case("allow if { every e in input.image.env { contains(e, \"=\") } }", IMAGE, OK),
    case("allow if input.image.user == \"7\"", IMAGE, OK),
    case("allow if count(input.image.volumes) == 2", IMAGE, OK),
    case("allow if input.image.workingDir == \"/w\"", IMAGE, OK),
    case("allow if startswith(input.image.checksum, \"sha256:\")", IMAGE, OK),
    case("allow if input.image.hasProvenance", IMAGE, OK),
    case("allow if input.image.provenance.frontend == \"dockerfile.v0\"", IMAGE, OK),
    case("allow if input.image.provenance.predicateType == \"https://slsa.dev/provenance/v1\"", IMAGE, OK),
    case("allow if { input.image.hasProvenance; input.image.labels.l == \"v\" }", IMAGE, OK),
    case("allow if docker_github_builder(input.image, \"a/b\")", IMAGE, DENIED),
    case("allow if { i := input.image; i.labels.l == \"v\" }", IMAGE, OK),
    case("allow if { input.image.repo == \"other\"; input.image.labels.l == \"v\" }", IMAGE, DENIED),
    case("allow if input.image.labels.l in load_json(\"list.json\").l", IMAGE, OK),
    case("allow if load_json(\"none.json\")", IMAGE, DENIED),
    case(
        "allow if pin_image(input.image, \"sha256:1111111111111111111111111111111111111111111111111111111111111111\")",
        IMAGE,
        OK,
    ),
    case("allow if pin_image(input.image, \"wrong\")", IMAGE, DENIED),
    case("allow if input.env.filename == \"p\"", IMAGE, OK),
    case("allow if input.env.depth == 0", IMAGE, OK),
    case("allow if input.http.url == \"{web}/file?q=1&q=2\"", FILE, OK),
    case("allow if input.http.schema == \"http\"", FILE, OK),
    case("allow if concat(\"\", [\"http://\", input.http.host]) == \"{web}\"", FILE, OK),
    case("allow if input.http.path == \"/file\"", FILE, OK),
    case("allow if input.http.query.q == [\"1\", \"2\"]", FILE, OK),
    case("allow if input.http.query[\"q\"][_] == \"3\"", FILE, DENIED),
    case("allow if startswith(input.http.checksum, \"sha256:\")", FILE, OK),
    case("allow if input.http.checksum == \"sha256:0\"", FILE, DENIED),
    case("allow if input.http.hasAuth", FILE, DENIED),
    case("allow if input.git.remote == \"{repo}\"", REPO, OK),
    case("allow if input.git.tagName == \"v1\"", REPO, OK),
    case("allow if input.git.ref == \"refs/tags/v1\"", REPO, OK),
    case("allow if input.git.isAnnotatedTag", REPO, OK),
    case("allow if input.git.branch == \"main\"", "{repo}#main", OK),
    case("allow if input.git.commit.message == \"first\\n\\nmore\"", REPO, OK),
    case("allow if input.git.commit.author.name == \"Ann\"", REPO, OK),
    case("allow if input.git.commit.committer.when == \"2023-11-15T00:13:20+02:00\"", REPO, OK),
    case("allow if input.git.tag.message == \"tagged\"", REPO, OK),
    case("allow if input.git.checksum != input.git.commitChecksum", REPO, OK),
    case("allow if verify_git_signature(input.git.commit, \"list.json\")", REPO, DENIED),
    case("allow if input.local.name == \"context\"", ".", OK),
    case("allow if input.image", ".", DENIED),
    case("allow := \"yes\"", IMAGE, "error"),
    case("allow if nothing(1)", IMAGE, "error"),
];
