use super::*;

/// Builds chains from lines such as `c = a b` (op c of inputs a and b), `c = a|x b` (the first input is a or x) and
/// `c: l1 l2` (c leads to these layers).
fn chains(text: &str) -> Chains {
    let mut chains = Chains::default();
    let mut named: HashMap<&str, ItemId> = HashMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some((name, layers)) = line.split_once(": ") {
            let descriptors = layers.split(' ').map(|l| Descriptor::of("layer", l.as_bytes())).collect();
            chains.add_result(named[name], Layers { descriptors, created_at: Timestamp::UNIX_EPOCH });
        } else if let Some((name, inputs)) = line.split_once(" = ") {
            let source = |name: &str| (named[name], None);
            let inputs: Vec<Vec<Source>> =
                inputs.split(' ').map(|alternatives| alternatives.split('|').map(source).collect()).collect();
            // `x1` and `x2` are the same op.
            let op = name.trim_end_matches(|c: char| c.is_ascii_digit());
            let id = chains.op(&Digest::of(op), &inputs);
            named.insert(name, id);
        } else {
            named.insert(line, chains.root(&Digest::of(line)));
        }
    }
    chains
}

/// The config as text: a line for each record, with names for digests.
fn shown(chains: &Chains, names: &str) -> Vec<String> {
    let name =
        |digest: &Digest| names.split(' ').find(|n| Digest::of(n) == *digest).unwrap_or("?").to_owned();
    let (config, blobs) = chains.config();
    assert!(config.layers.iter().all(|l| blobs.contains_key(&l.blob)));
    let stack = |mut at: i64| {
        let mut stack = Vec::new();
        while let Ok(layer) = usize::try_from(at) {
            stack.insert(0, name(&config.layers[layer].blob));
            at = config.layers[layer].parent;
        }
        stack.join(" ")
    };
    let line = |record: &Record| {
        let input = |input: &Input| name(&config.records[input.record as usize].digest);
        let mut inputs: Vec<Vec<String>> =
            record.inputs.iter().map(|all| all.iter().map(input).collect()).collect();
        inputs.iter_mut().for_each(|all| all.sort());
        let inputs: Vec<String> = inputs.iter().map(|all| all.join("|")).collect();
        let results: Vec<String> = record.results.iter().map(|r| stack(r.layer)).collect();
        format!("{} = {}: {}", name(&record.digest), inputs.join(" "), results.join(", "))
    };
    let mut lines: Vec<String> = config.records.iter().map(line).collect();
    lines.sort();
    lines
}

fn check(text: &str, names: &str, expected: &[&str]) {
    assert_eq!(shown(&chains(text), names), expected, "{text}");
}

#[test]
fn keys_are_linked_and_lead_to_layers() {
    check(
        "a\nrun = a\nx\ncopy = run x\nrun: l1\ncopy: l1 l2",
        "a run x copy l1 l2",
        &["a = : ", "copy = run x: l1 l2", "run = a: l1", "x = : "],
    );
}

#[test]
fn ops_that_share_a_key_for_each_input_are_one() {
    check(
        "a\nb\nrun1 = a\nrun2 = a|b\nrun3 = b\nrun1: l\nend = run3",
        "a b run l end",
        &["a = : ", "b = : ", "end = run: ", "run = a|b: l"],
    );
    check("a\nb\nrun1 = a\nrun2 = b", "a b run", &["a = : ", "b = : ", "run = a: ", "run = b: "]);
}

#[test]
fn two_that_turn_out_to_be_the_same_become_one() {
    check(
        "a\nb\nrun1 = a\nrun2 = b\nend1 = run1\nend2 = run2\nend1: l\nrun3 = a|b",
        "a b run end l",
        &["a = : ", "b = : ", "end = run: l", "run = a|b: "],
    );
}

#[test]
fn what_is_made_of_a_key_does_not_stand_for_its_input() {
    check(
        "a\ncopy = a\nrun = copy\ncopy2 = a|run\ncopy2: l",
        "a copy run l",
        &["a = : ", "copy = a: l", "run = copy: "],
    );
}

#[test]
fn the_order_in_which_keys_come_does_not_show() {
    let one = chains("a\nb\nrun1 = a\nrun2 = b\nrun1: l1\nrun2: l2 l1\nc = run1 run2\nc: l2 l1 l3");
    let two = chains("b\na\nrun2 = b\nrun2: l2 l1\nrun1 = a\nc = run1 run2\nc: l2 l1 l3\nrun1: l1");
    assert_eq!(one.config(), two.config());
}

#[test]
fn deep_chains_are_written_down() {
    let mut chains = Chains::default();
    let mut last = chains.root(&Digest::of("root"));
    for at in 0..20_000 {
        last = chains.op(&Digest::of(at.to_string()), &[vec![(last, None)]]);
    }
    assert_eq!(chains.config().0.records.len(), 20_001);
}
