//! What is said of a file without an engine.

use dockerfile_llb::Diagnosis;

/// Faults as `<line>:<from>-<to> <message>`, findings as `<line> <rule>`.
fn check(text: &str, faults: &[&str], findings: &[&str]) {
    let diagnosis = Diagnosis::of(text.as_bytes(), b"ignored\n");
    let told: Vec<String> = diagnosis
        .faults
        .iter()
        .map(|fault| {
            let narrow = fault.ranges.iter().find(|r| r.start.character != r.end.character);
            match narrow.or(fault.ranges.first()) {
                Some(range) => format!(
                    "{}:{}-{} {}",
                    range.start.line, range.start.character, range.end.character, fault.message
                ),
                None => fault.message.clone(),
            }
        })
        .collect();
    assert_eq!(told, faults, "{text}");
    let found = |f: &dockerfile::lint::Finding| format!("{} {}", f.ranges[0].start.line, f.rule.name);
    let found: Vec<String> = diagnosis.findings.iter().map(found).collect();
    assert_eq!(found, findings, "{text}");
}

#[test]
fn all_faults_of_a_file() {
    check(
        "FROM alpine AS build\nRUM make\nCOPY --form=build a b\nENV x\nEXPOSE 1x\nCOPY --from=7 a b\nFROM a b\nRUN x",
        &[
            "2:0-3 dockerfile parse error on line 2: unknown instruction: RUM (did you mean RUN?)",
            "3:5-11 dockerfile parse error on line 3: unknown flag: --form (did you mean from?)",
            "4:0-0 ENV must have two arguments",
            "5:7-9 invalid containerPort: 1x",
            "6:12-13 invalid stage index 7",
            "7:0-0 dockerfile parse error on line 7: FROM requires either one or three arguments",
        ],
        &[],
    );
    check(
        "FROM $A\nFROM b AS x\nCOPY --from=y a b\nFROM c AS y\nCOPY --from=x a b\nRUN --mount=type=x true\nADD --checksum=1 a b",
        &[
            "1:5-7 base name ($A) should not be blank",
            "3:0-0 circular dependency detected on stage: x",
            "3:12-13 cannot copy from stage \"y\", it needs to be defined before current stage \"x\"",
            "6:12-18 unsupported mount type \"x\"",
            "7:15-16 checksum requires HTTP(S) or Git sources",
        ],
        &["1 InvalidDefaultArgInFrom", "1 UndefinedArgInFrom"],
    );
}

#[test]
fn findings_need_no_engine() {
    check("FROM a\nCOPY ignored /x\nWORKDIR x", &[], &["2 CopyIgnoredFile", "3 WorkdirRelativePath"]);
    check("FROM a\nADD x y", &[], &["2 kiln.AddForCopy"]);
    check(
        "# check=skip=kiln.AddForCopy;error=true\nFROM a\nADD x y\nMAINTAINER x",
        &[],
        &["4 MaintainerDeprecated"],
    );
    check("", &["the Dockerfile cannot be empty"], &[]);
}

#[test]
fn variables_of_images_are_not_known() {
    check("FROM java\nRUN x\nENV A=$JAVA_HOME", &[], &[]);
    check("FROM java\nARG VERSION=1\nENV A=$VERSOIN", &[], &["3 UndefinedVar"]);
    check("FROM scratch AS s\nFROM s\nENV A=$JAVA_HOME", &[], &["3 UndefinedVar"]);
}
