//! No bake file hangs the program, eats its memory or its stack.

use bake::{Budget, Context, Definition, File, Given};

fn given() -> Given {
    Given {
        environment: Default::default(),
        vars: Default::default(),
        built_in: Default::default(),
        dotenv: None,
        read: Box::new(|_| Err(std::io::ErrorKind::NotFound.into())),
        file_relative: false,
        remote: None,
        clock: Context::new(0, "/", |bytes| bytes.fill(0)),
    }
}

fn check(text: &str, expected: &str) {
    let files = vec![File::new("a.hcl", text)];
    let error = Definition::load_within(files, given(), Budget::of(200_000, 16 << 20)).expect_err("too much");
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn what_doubles_ends() {
    let doubling: String = (1..60)
        .map(|i| format!("variable \"V{i}\" {{ default = \"${{V{}}}${{V{}}}\" }}\n", i - 1, i - 1))
        .collect();
    check(&format!("variable \"V0\" {{ default = \"0123456789\" }}\n{doubling}"), "too much data");
    let calls: String = (1..60)
        .map(|i| format!("function \"f{i}\" {{\n params = [a]\n result = f{}(f{}(a))\n}}\n", i - 1, i - 1))
        .collect();
    let first = "function \"f0\" {\n params = [a]\n result = a\n}\n";
    check(&format!("{first}{calls}variable \"V\" {{ default = f59(1) }}"), "too many steps");
}

#[test]
fn what_is_deep_ends() {
    let chain: String =
        (0..5000).map(|i| format!("variable \"V{i:04}\" {{ default = V{:04} }}\n", i + 1)).collect();
    check(&format!("{chain}variable \"V5000\" {{ default = 1 }}"), "nested too deeply");
    let nested = format!("A = {}1{}", "[".repeat(5000), "]".repeat(5000));
    check(&nested, "Invalid syntax");
    let operators = format!("A = {}1", "1 + ".repeat(5000));
    check(&operators, "Invalid syntax");
}

#[test]
fn a_thousand_targets_take_a_thousand_times_the_steps_of_one() {
    let mut text =
        "variable \"TAG\" { default = \"1\" }\ntarget \"base\" {\n args = { A = \"a\" }\n}\n".to_owned();
    for i in 0..1000 {
        text.push_str(&format!(
            "target \"t{i}\" {{\n inherits = [\"base\"]\n tags = [\"me/t{i}:${{TAG}}\"]\n args = {{ B = upper(\"b\") }}\n}}\n"
        ));
    }
    let start = std::time::Instant::now();
    let budget = Budget::of(12_000, 1 << 20);
    let definition =
        Definition::load_within(vec![File::new("a.hcl", text)], given(), budget).expect("a bake");
    let resolved = definition.resolve(&["t*".to_owned()], &[]).expect("targets");
    assert_eq!(resolved.targets.len(), 1000);
    assert!(resolved.print().len() > 100_000);
    eprintln!("1,000 targets in {:?}", start.elapsed());
}
