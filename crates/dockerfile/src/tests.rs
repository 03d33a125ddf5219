//! Whole files: what is understood, what is refused and where.

use proptest::prelude::*;

use crate::instruction::{KeyValue, MountKind, Network, Sharing};
use crate::lint::Linter;
use crate::*;

fn stage_of(text: &str) -> Stage {
    let parsed = parse(text.as_bytes(), &mut Linter::default());
    assert_eq!(parsed.errors, [], "{text}");
    parsed.dockerfile.stages.into_iter().next_back().expect("a stage")
}

/// The only instruction after `FROM a`.
fn kind_of(text: &str) -> Kind {
    let mut stage = stage_of(&format!("FROM a\n{text}"));
    assert_eq!(stage.instructions.len(), 1, "{text}");
    stage.instructions.remove(0).kind
}

/// The first error: message, and its first range as `line:from-to`.
fn check_error(text: &str, expected: &str, place: &str) {
    let parsed = parse(text.as_bytes(), &mut Linter::default());
    let error = parsed.errors.first().unwrap_or_else(|| panic!("accepted: {text}"));
    let narrow = error.ranges().iter().find(|r| r.start.character != r.end.character);
    let at = narrow
        .or(error.ranges().first())
        .map_or("-".into(), |r| format!("{}:{}-{}", r.start.line, r.start.character, r.end.character));
    assert_eq!((error.message(), at.as_str()), (expected, place), "{text}");
}

#[test]
fn lines_are_joined() {
    let code = |text: &str| stage_of(&format!("FROM a\n{text}")).instructions.remove(0).code;
    assert_eq!(code("RUN a \\\n  b"), "RUN a   b");
    assert_eq!(code("RUN a \\  \n# comment\n\n b"), "RUN a  b");
    assert_eq!(code("RUN a \\\r\nb\r\n"), "RUN a b");
    assert_eq!(code("RUN a \\\\\n"), "RUN a \\\\");
    assert_eq!(code("  run\ta"), "run\ta");
    assert_eq!(code("RUN \\\na\\"), "RUN a");
    let tick = "# escape=`\nFROM a\nRUN C:\\ `\n b";
    assert_eq!(stage_of(tick).instructions[0].code, "RUN C:\\  b");
    let late = "FROM a\n# escape=`\nRUN a \\\nb";
    assert_eq!(stage_of(late).instructions[0].code, "RUN a b");
}

#[test]
fn places_are_lines_from_the_first_to_the_last() {
    let check = |text: &str, expected: (u32, u32)| {
        let stage = stage_of(text);
        let place = &stage.instructions[0].place;
        assert_eq!((place.first_line(), place.last_line()), expected, "{text}");
    };
    check("FROM a\n\nRUN a", (3, 3));
    check("FROM a\nRUN a \\\n# c\n b\nRUN c", (2, 4));
    check("FROM a\nRUN <<E\nx\nE\nRUN c", (2, 4));
}

#[test]
fn comments_belong_to_what_follows() {
    let stage = stage_of("# syntax=x\n# dropped\n#\n# build the thing\n# two\nFROM a AS build");
    assert_eq!(stage.comments, ["build the thing", "two"]);
    assert_eq!(stage.description, "the thing");
    let parsed = parse(b"# V the version\nARG V=1\nFROM a", &mut Linter::default());
    let Kind::Arg(args) = &parsed.dockerfile.global_args[0].kind else { panic!("an ARG") };
    assert_eq!((args[0].value.as_deref(), args[0].description.as_str()), (Some("1"), "the version"));
}

#[test]
fn stages() {
    let parsed = parse(
        b"\xef\xbb\xbfARG V\nFROM --platform=$P a:$V AS Build\nRUN x\nFROM build\n",
        &mut Linter::default(),
    );
    let stages = &parsed.dockerfile.stages;
    assert_eq!((stages.len(), parsed.dockerfile.global_args.len()), (2, 1));
    let first = &stages[0];
    assert_eq!((first.name.as_str(), first.base.as_str(), first.platform.as_str()), ("build", "a:$V", "$P"));
    assert_eq!(stages[1].name, "");
}

#[test]
fn pairs() {
    let pair = |key: &str, value: &str, legacy| KeyValue { key: key.into(), value: value.into(), legacy };
    let check = |text: &str, expected: &[KeyValue]| {
        assert_eq!(kind_of(text), Kind::Env(expected.to_vec()), "{text}");
    };
    check(
        "ENV a=b c=\"d e\" f=",
        &[pair("a", "b", false), pair("c", "\"d e\"", false), pair("f", "", false)],
    );
    check("ENV a  b  c=d", &[pair("a", "b  c=d", true)]);
    check("ENV a=b\\ c", &[pair("a", "b\\ c", false)]);
}

#[test]
fn commands() {
    let check = |text: &str, words: &[&str], shell| {
        let (Kind::Cmd(command) | Kind::Entrypoint(command)) = kind_of(text) else { panic!("{text}") };
        assert_eq!(
            (command.words, command.shell),
            (words.iter().map(|w| w.to_string()).collect(), shell),
            "{text}"
        );
    };
    check("CMD echo  hi", &["echo  hi"], true);
    check("CMD [\"a\", \"b\"]", &["a", "b"], false);
    check("CMD [\"a\" \"b\"]", &["[\"a\" \"b\"]"], true);
    check("ENTRYPOINT []", &[], false);
    check("CMD", &[], true);
}

#[test]
fn run_flags() {
    let text = "RUN --mount=type=cache,target=/x,sharing=locked,id=i --mount=type=secret,id=s,required --network=none make";
    let Kind::Run(run) = kind_of(text) else { panic!("a RUN") };
    assert_eq!((run.command.words.as_slice(), run.network), (["make".to_owned()].as_slice(), Network::None));
    let mounts: Vec<_> =
        run.mounts.iter().map(|m| m.resolve(&mut |w| Ok(w.to_owned())).expect("valid")).collect();
    assert_eq!(mounts[0].kind, MountKind::Cache);
    assert_eq!(
        (mounts[0].sharing, mounts[0].readonly, mounts[0].id.as_str()),
        (Some(Sharing::Locked), false, "i")
    );
    assert_eq!((mounts[1].kind, mounts[1].required, mounts[1].readonly), (MountKind::Secret, true, true));
}

#[test]
fn mounts() {
    let check = |text: &str, expected: Result<&str, &str>| {
        let flag = instruction::MountFlag { text: text.into(), from: String::new() };
        let got = flag.resolve(&mut |w| Lexer::new('\\').word(w, &NoEnvironment));
        let got = got.map(|m| format!("{} {} {} {}", m.kind, m.source, m.target, m.readonly));
        assert_eq!(
            got.map_err(|e| e.to_string()),
            expected.map(str::to_owned).map_err(str::to_owned),
            "{text}"
        );
    };
    check("target=/x", Ok("bind  /x true"));
    check("src=a,dst=/x,rw", Ok("bind a /x false"));
    check("TYPE=Cache,\"target=/a,b\",ro=1", Ok("cache  /a,b true"));
    check("type=tmpfs,target=/x,size=1m", Ok("tmpfs  /x false"));
    check("type=cach", Err("unsupported mount type \"cach\" (did you mean cache?)"));
    check("type=cache,sharing=x", Err("unsupported sharing value \"x\""));
    check("type=cache,sharing=share", Err("unsupported sharing value \"share\" (did you mean shared?)"));
    check("tarjet=/x", Err("unexpected key 'tarjet' in 'tarjet=/x' (did you mean target?)"));
    check("size=1", Err("unexpected key 'size' for mount type 'bind'"));
    check("required", Err("unexpected key 'required' for mount type 'bind'"));
    check("target", Err("invalid field 'target' must be a key=value pair"));
    check("ro=maybe", Err("invalid value for ro: maybe"));
    check("type=tmpfs,size=big", Err("invalid value for size: big"));
    check("mode=755", Err("mode not allowed for \"bind\" type mounts"));
    check("type=ssh,uid=-1", Err("invalid value -1 for uid"));
    check("type=secret", Err("invalid secret mount. one of source, target required"));
    check("type=secret,id=a,src=b", Err("both source and id can't be set"));
    check("type=secret,id=a,from=b", Err("secret mount should not have a from"));
    check("type=bind,sharing=shared", Err("invalid cache sharing set for bind mount"));
    check(
        "a\"b",
        Err("failed to parse csv mounts: parse error on line 1, column 2: bare \" in non-quoted-field"),
    );
}

#[test]
fn copies() {
    let Kind::Copy(copy) = kind_of("COPY --from=b --chown=1:2 --link --exclude=*.o --exclude=x a b /c/")
    else {
        panic!("a COPY")
    };
    assert_eq!((copy.sources.paths.len(), copy.sources.destination.as_str()), (2, "/c/"));
    assert_eq!((copy.link, copy.exclude.len(), copy.parents), (true, 2, false));
    let Kind::Add(add) = kind_of("ADD --keep-git-dir=false --unpack [\"a b\", \"/c\"]") else {
        panic!("an ADD")
    };
    assert_eq!((add.keep_git_dir, add.unpack), (Some(false), Some(true)));
    assert_eq!(add.sources.paths, ["--unpack"].map(|_| "a b".to_owned()));
}

#[test]
fn heredocs_become_files_and_scripts() {
    let Kind::Copy(copy) = kind_of("COPY <<A <<-'B' x /d/\n$one\nA\n\t\ttwo\n\tB") else { panic!("a COPY") };
    let files: Vec<_> =
        copy.sources.inline.iter().map(|f| (f.name.as_str(), f.content.as_str(), f.expand)).collect();
    assert_eq!(files, [("A", "$one\n", true), ("B", "two\n", false)]);
    assert_eq!(copy.sources.paths, ["x"]);
    let Kind::Run(run) = kind_of("RUN cat <<A && cat <<B\n1\nA\n2\nB") else { panic!("a RUN") };
    assert_eq!(run.command.heredocs.iter().map(|h| h.content.as_str()).collect::<Vec<_>>(), ["1\n", "2\n"]);
    let trigger = "COPY <<A /d\nx\nA";
    assert_eq!(kind_of(&format!("ONBUILD  {trigger}")), Kind::Onbuild(trigger.into()));
    let Kind::Run(run) = kind_of("RUN [\"cat\", \"<<A\"]") else { panic!("a RUN") };
    assert!(run.command.heredocs.is_empty());
}

#[test]
fn the_rest() {
    assert_eq!(kind_of("EXPOSE 80 443/tcp"), Kind::Expose(vec!["443/tcp".into(), "80".into()]));
    assert_eq!(kind_of("WORKDIR /a b"), Kind::Workdir("/a b".into()));
    assert_eq!(kind_of("VOLUME /a /b"), Kind::Volume(vec!["/a".into(), "/b".into()]));
    assert_eq!(kind_of("SHELL [\"/bin/bash\", \"-c\"]"), Kind::Shell(vec!["/bin/bash".into(), "-c".into()]));
    let Kind::Healthcheck(health) = kind_of("HEALTHCHECK --interval=1m --retries=3 CMD curl x") else {
        panic!("a HEALTHCHECK")
    };
    assert_eq!(health.test, ["CMD-SHELL", "curl x"]);
    assert_eq!((health.interval, health.retries), (60_000_000_000, 3));
    let Kind::Healthcheck(none) = kind_of("HEALTHCHECK NONE") else { panic!("a HEALTHCHECK") };
    assert_eq!(none.test, ["NONE"]);
}

#[test]
fn lexical_faults() {
    check_error("", "the Dockerfile cannot be empty", "-");
    check_error("\n# x\n", "file with no instructions", "2:0-0");
    check_error("# escape=x\nFROM a", "invalid escape token 'x' does not match ` or \\", "1:0-0");
    check_error("# syntax=x\n#syntax=y\nFROM a", "only one syntax parser directive can be used", "2:0-0");
    check_error("FROM a\nRUN <<E\nx", "unterminated heredoc", "2:6-7");
    check_error("FROM a\nENV x", "ENV must have two arguments", "2:0-0");
    check_error(
        "FROM a\nENV x=y \\\n  z",
        "Syntax error - can't find = in \"z\". Must be of the form: name=value",
        "3:2-3",
    );
    check_error(
        "FROM a\nCMD [1]",
        "when using JSON array syntax, arrays must be comprised of strings only",
        "2:0-0",
    );
    let long = format!("FROM a\nRUN {}", "x".repeat(65_532));
    check_error(&long, "dockerfile line greater than max allowed size of 65535", "2:0-0");
}

#[test]
fn faults_of_instructions() {
    let check = |text: &str, message: &str, place: &str| {
        check_error(
            &format!("FROM a\n{text}"),
            &format!("dockerfile parse error on line 2: {message}"),
            place,
        );
    };
    check("RNU x", "unknown instruction: RNU (did you mean RUN?)", "2:0-3");
    check("rnu x", "unknown instruction: rnu (did you mean run?)", "2:0-3");
    check("XYZZY", "unknown instruction: XYZZY", "2:0-5");
    check("COPY --form=x a b", "unknown flag: --form (did you mean from?)", "2:5-11");
    check("COPY --link --link a b", "duplicate flag specified: --link", "2:5-11");
    check("COPY --chown a b", "missing a value on flag: --chown", "2:5-12");
    check("COPY --link= a b", "missing a value on flag: --link", "2:5-11");
    check("COPY --link=x a b", "expecting boolean value for flag --link, not: x", "2:5-11");
    check(
        "COPY \\\n  a",
        "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
        "2:0-0",
    );
    check("COPY a <<E\nE", "COPY cannot accept a heredoc as a destination", "2:7-10");
    check("ENV", "ENV requires at least one argument", "2:0-0");
    check("ENV =x", "ENV names can not be blank", "2:0-0");
    check("ARG =x", "ARG names can not be blank", "2:4-6");
    check("ARG", "ARG requires at least one argument", "2:0-0");
    check("WORKDIR", "WORKDIR requires exactly one argument", "2:0-0");
    check("SHELL bash -c", "SHELL requires the arguments to be in JSON form", "2:0-0");
    check("SHELL []", "SHELL requires at least one argument", "2:0-0");
    check("VOLUME [\"\"]", "VOLUME specified can not be an empty string", "2:0-0");
    check("ONBUILD", "ONBUILD requires at least one argument", "2:0-0");
    check("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", "2:0-0");
    check("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger", "2:0-0");
    check("HEALTHCHECK", "HEALTHCHECK requires at least one argument", "2:0-0");
    check("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments", "2:0-0");
    check("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD", "2:0-0");
    check("HEALTHCHECK x", "Unknown type \"X\" in HEALTHCHECK (try CMD)", "2:12-13");
    check("HEALTHCHECK --timeout=1us CMD x", "Interval \"timeout\" cannot be less than 1ms", "2:22-25");
    check("HEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative (-1)", "2:22-24");
    check("HEALTHCHECK --timeout=5 CMD x", "time: missing unit in duration \"5\"", "2:22-23");
    check("RUN --network=x a", "invalid network mode \"x\"", "2:14-15");
    check("RUN --security=x a", "security \"x\" is not valid", "2:15-16");
    check(
        "RUN --mount=from=$x,target=/a b",
        "'from' doesn't support variable expansion, define alias stage instead",
        "2:12-29",
    );
    check("FROM a b", "FROM requires either one or three arguments", "2:0-0");
    check(
        "FROM a AS 1b",
        "invalid name for build stage: \"1b\", name can't start with a number or contain symbols",
        "2:10-12",
    );
    check_error("RUN x\nFROM a", "no build stage in current context", "1:0-0");
    check_error("ARG x", "dockerfile contains no stages to build", "-");
}

#[test]
fn every_fault_is_told() {
    let parsed = parse(b"FROM a\nRNU x\nCOPY a\nENV b\n", &mut Linter::default());
    let lines: Vec<_> = parsed.errors.iter().map(|e| e.ranges()[0].start.line).collect();
    assert_eq!(lines, [4, 2, 3]);
}

#[test]
fn a_fault_makes_no_others() {
    let check = |text: &str, expected: &[u32]| {
        let parsed = parse(text.as_bytes(), &mut Linter::default());
        let lines: Vec<_> = parsed.errors.iter().map(|e| e.ranges()[0].start.line).collect();
        assert_eq!(lines, expected, "{text}");
    };
    check("FROM a b\nRUN x\nFROM c AS 1\nCOPY --from=0 x y", &[1, 3]);
    check("FRM a\nRUN x\nRUN y", &[1]);
    check("RUN x\nRUN y\nFROM a\nEXPOSE", &[1, 4]);
}

#[test]
fn words_are_found_where_they_stand_alone() {
    let at = |text, word| {
        let range = stage_of(text).instructions[0].place.ranges_of(word)[0];
        (range.start.character, range.end.character)
    };
    assert_eq!(at("FROM a\nCOPY --from=x fromx from /", "from"), (20, 24));
    assert_eq!(at("FROM a\nRUN ab b", "b"), (7, 8));
    assert_eq!(at("FROM a\nRUN abc", "b"), (5, 6));
    assert_eq!(at("FROM a\nRUN abc", "x"), (0, 0));
}

#[test]
fn columns_follow_continuations() {
    check_error(
        "FROM a\nCOPY \\\n   --form=x \\\n  a b",
        "dockerfile parse error on line 2: unknown flag: --form (did you mean from?)",
        "3:3-9",
    );
    check_error(
        "FROM a\n \u{fc} x",
        "dockerfile parse error on line 2: unknown instruction: \u{fc}",
        "2:1-2",
    );
}

/// Each line of `expected` is `<line> <rule>: <message>`.
fn check_findings(text: &str, expected: &[&str]) {
    let directive = find_directive("check", text.as_bytes()).map_or(String::new(), |d| d.value);
    let mut lint = Linter::new(lint::Settings::parse(&directive).expect("valid"));
    parse(text.as_bytes(), &mut lint);
    let show = |f: &lint::Finding| format!("{} {}: {}", f.ranges[0].start.line, f.rule.name, f.message);
    let got: Vec<_> = lint.findings().iter().map(show).collect();
    assert_eq!(got, expected, "{text}");
}

#[test]
fn findings_in_instructions() {
    let check = check_findings;
    check("FROM a AS B", &["1 StageNameCasing: Stage name 'B' should be lowercase"]);
    check("FROM a as b", &["1 FromAsCasing: 'as' and 'FROM' keywords' casing do not match"]);
    check("FROM a\nRUN x \\\n\n y", &["4 NoEmptyContinuation: Empty continuation line"]);
    check(
        "FROM a AS b\nMAINTAINER x",
        &["2 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label"],
    );
    check("# check=skip=all\nFROM a as B", &[]);
    check("FROM a\n# check=skip=MaintainerDeprecated\nMAINTAINER x", &[]);
}

#[test]
fn findings_in_descriptions() {
    let check = |text: &str, expected: &[&str]| {
        check_findings(text, &[]);
        check_findings(&format!("# check=experimental=all\n{text}"), expected);
    };
    check("# A is\nARG A\n# b is\nFROM a AS b\n# any\nRUN x\n# B is\nARG A B", &[]);
    check(
        "# a\nARG A\n# B\nFROM a AS b\n# any\nARG C D",
        &[
            "3 InvalidDefinitionDescription: Comment for ARG should follow the format: `# A <description>`",
            "5 InvalidDefinitionDescription: Comment for FROM should follow the format: `# b <description>`",
            "7 InvalidDefinitionDescription: Comment for ARG should follow the format: `# <arg_key> <description>`",
        ],
    );
}

#[test]
fn findings_in_the_file_as_a_whole() {
    let check = check_findings;
    check(
        "FROM a AS b\nFROM a AS b",
        &["2 DuplicateStageName: Duplicate stage name \"b\", stage names should be unique"],
    );
    check(
        "FROM a AS context",
        &["1 ReservedStageName: Stage name should not use the same name as reserved stage \"context\""],
    );
    let casing = |line, keyword, majority| {
        format!(
            "{line} ConsistentInstructionCasing: Command '{keyword}' should match the case of the command majority ({majority})"
        )
    };
    check("FROM a\ncopy a b\nCOPY a b", &[&casing(2, "copy", "uppercase")]);
    check("From a\nfrom b", &[&casing(1, "From", "lowercase")]);
    check("from a\nRUN a", &[&casing(1, "from", "uppercase")]);
    check("from a\nrun a", &[]);
    // Comments speak for their instruction alone.
    check("FROM a\n# check=skip=all\nRun a", &[&casing(3, "Run", "uppercase")]);
}

#[test]
fn what_stands_behind_a_fault_is_not_linted() {
    let first = "1 StageNameCasing: Stage name 'B' should be lowercase";
    check_findings(
        "FROM a AS B\nMAINTAINER x\nNO\nMAINTAINER y",
        &[first, "2 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label"],
    );
    check_findings("FROM a AS B\nRUN <<E\n", &[]);
}

#[test]
fn triggers() {
    let place = Place::lines(7, 8);
    let run = parse_trigger("RUN x", &place).expect("valid");
    assert_eq!((run.place.first_line(), run.code.as_str()), (7, "RUN x"));
    let refused = |text| parse_trigger(text, &place).expect_err(text);
    assert_eq!(refused("RUN x\nRUN y").message(), "onbuild trigger should be a single expression");
    assert_eq!(refused("ENV x").ranges(), place.ranges());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&data, &mut Linter::default());
        let _ = detect_syntax(&data);
        let _ = ignore::parse(&data);
    }

    #[test]
    fn near_misses_never_panic(lines in prop::collection::vec(
        "(FROM|RUN|COPY|ADD|ENV|ARG|ONBUILD|HEALTHCHECK|CMD|LABEL|SHELL|#|)[ \\t]{0,2}(--[a-z]{0,6}=?)?(<<-?[A-B'\"]{0,3}|\\[|\"|'|\\\\|`|a=b|[a-b\u{fc}]{1,3}| |,|\\]){0,6}\\\\?",
        0..8,
    )) {
        let text = lines.join("\n");
        let parsed = parse(text.as_bytes(), &mut Linter::default());
        for error in &parsed.errors {
            for range in error.ranges() {
                prop_assert!(range.start.line as usize <= lines.len());
            }
        }
    }
}
