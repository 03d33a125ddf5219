//! The exam that every [`KeyStore`] must pass. Panics where one fails.

use jiff::Timestamp;
use oci::Digest;

use crate::keys::{Entry, KeyId, KeyInfo, KeyStore, Link};
use crate::memory::MemoryKeys;
use crate::results::{Record, ResultId};

/// Runs all checks, each on a new, empty store. `settle` waits until the store has done what it does later.
pub fn key_store<S: KeyStore>(new: impl Fn() -> S, settle: impl Fn(&S)) {
    links_lead_from_key_to_key(&new());
    records_are_told_newest_first(&new());
    a_key_is_kept_while_it_leads_to_something(&new(), &settle);
    one_result_may_have_many_keys(&new(), &settle);
    for case in 1..40 {
        agrees_with_memory(&new(), case, &settle);
    }
}

fn key(name: &str) -> KeyId {
    KeyId::from_stored(name)
}

fn link(op: &str, input: usize) -> Link {
    Link { input, output: 0, digest: Digest::of(op), selector: None }
}

fn record(name: &str, second: i64) -> Record {
    let created_at = Timestamp::from_second(second).expect("a second of this age");
    Record { result: ResultId(name.into()), created_at }
}

fn entry(name: &str, links: &[(&str, Link)], record: Option<Record>) -> Entry {
    let links = links.iter().map(|(from, link)| (key(from), link.clone())).collect();
    Entry { key: key(name), links, record, info: None }
}

fn links_lead_from_key_to_key<S: KeyStore>(store: &S) {
    let selected = Link { selector: Some(Digest::of("part")), ..link("op", 0) };
    store.add(&entry("b", &[("a", link("op", 0)), ("x", link("op", 1))], None)).expect("add");
    store.add(&entry("c", &[("a", link("op", 0))], None)).expect("add");
    store.add(&entry("d", &[("a", selected.clone())], None)).expect("add");
    store.add(&entry("b", &[("a", link("op", 0))], None)).expect("adding again changes nothing");
    let targets = |from: &str, link: &Link| store.targets(&key(from), link).expect("targets");
    assert_eq!(targets("a", &link("op", 0)), [key("b"), key("c")]);
    assert_eq!(targets("a", &selected), [key("d")]);
    assert_eq!(targets("x", &link("op", 1)), [key("b")]);
    for other in [link("op", 1), link("other", 0), Link { output: 1, ..link("op", 0) }] {
        assert!(targets("a", &other).is_empty(), "{other:?} leads nowhere");
    }
    let mut origins = store.origins(&key("b")).expect("origins");
    origins.sort();
    assert_eq!(origins, [(key("a"), link("op", 0)), (key("x"), link("op", 1))]);
    assert!(store.origins(&key("a")).expect("origins").is_empty());
    assert!(store.contains(&key("a")).expect("contains") && !store.contains(&key("z")).expect("contains"));
}

fn records_are_told_newest_first<S: KeyStore>(store: &S) {
    for (name, second) in [("r1", 10), ("r3", 30), ("r2", 20), ("r1", 40)] {
        store.add(&entry("a", &[], Some(record(name, second)))).expect("add");
    }
    let names = |store: &S| -> Vec<String> {
        store.records(&key("a")).expect("records").into_iter().map(|r| r.result.0).collect()
    };
    assert_eq!(names(store), ["r1", "r3", "r2"]);
    store.forget(&ResultId("r3".into())).expect("forget");
    store.forget(&ResultId("never seen".into())).expect("forget");
    assert_eq!(names(store), ["r1", "r2"]);

    let info = KeyInfo {
        digest: Digest::of("op"),
        output: 2,
        vertex: Digest::of("v"),
        name: "[1/2] RUN `x`".into(),
        ingredients: vec![("args".into(), "sh -c \u{1F41F}\n".into()), (String::new(), String::new())],
    };
    store.add(&Entry { info: Some(info.clone()), ..entry("a", &[], None) }).expect("add");
    store.add(&entry("a", &[], None)).expect("add");
    assert_eq!(store.info(&key("a")).expect("info"), Some(info));
    assert_eq!(store.info(&key("z")).expect("info"), None);
}

fn a_key_is_kept_while_it_leads_to_something<S: KeyStore>(store: &S, settle: &impl Fn(&S)) {
    store.add(&entry("a", &[], None)).expect("add");
    store.add(&entry("b", &[("a", link("op", 0))], Some(record("rb", 1)))).expect("add");
    store
        .add(&entry("c", &[("b", link("op", 0)), ("y", link("op", 1))], Some(record("rc", 2))))
        .expect("add");
    let kept = |name: &str| store.contains(&key(name)).expect("contains");
    store.forget(&ResultId("rb".into())).expect("forget");
    assert!(kept("a") && kept("b") && kept("c") && kept("y"));
    store.forget(&ResultId("rc".into())).expect("forget");
    settle(store);
    assert!(!kept("a") && !kept("b") && !kept("c") && !kept("y"));
    assert!(store.targets(&key("a"), &link("op", 0)).expect("targets").is_empty());
}

fn one_result_may_have_many_keys<S: KeyStore>(store: &S, settle: &impl Fn(&S)) {
    for name in ["a", "b"] {
        store.add(&entry(name, &[], Some(record("r", 1)))).expect("add");
    }
    store.add(&entry("b", &[], Some(record("s", 2)))).expect("add");
    let mut keys = store.keys_of(&ResultId("r".into())).expect("keys_of");
    keys.sort();
    assert_eq!(keys, [key("a"), key("b")]);
    let mut results = store.results().expect("results");
    results.sort();
    assert_eq!(results, [ResultId("r".into()), ResultId("s".into())]);
    store.forget(&ResultId("r".into())).expect("forget");
    assert!(store.keys_of(&ResultId("r".into())).expect("keys_of").is_empty());
    assert!(store.records(&key("a")).expect("records").is_empty());
    settle(store);
    assert!(!store.contains(&key("a")).expect("contains") && store.contains(&key("b")).expect("contains"));
}

/// The same random changes are made here and in memory; all answers must be the same.
fn agrees_with_memory<S: KeyStore>(store: &S, case: u64, settle: &impl Fn(&S)) {
    let model = MemoryKeys::default();
    let mut state = case.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut below = |n: u64| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    };
    let name = |n: u64| format!("k{n}");
    for second in 0..30 {
        if below(10) == 0 {
            settle(store);
        }
        if below(4) == 0 {
            let result = ResultId(format!("r{}", below(5)));
            store.forget(&result).expect("forget");
            model.forget(&result).expect("forget");
        } else {
            let to = below(6);
            let links: Vec<_> = (0..below(3))
                .map(|i| (key(&name(below(6))), link(&format!("op{}", below(2)), i as usize)))
                .collect();
            let record = (below(2) == 0).then(|| record(&format!("r{}", below(5)), second));
            let entry = Entry { key: key(&name(to)), links, record, info: None };
            store.add(&entry).expect("add");
            model.add(&entry).expect("add");
        }
    }
    settle(store);
    for k in (0..6).map(|n| key(&name(n))) {
        assert_eq!(
            store.contains(&k).expect("contains"),
            model.contains(&k).expect("contains"),
            "case {case}"
        );
        assert_eq!(store.records(&k).expect("records"), model.records(&k).expect("records"), "case {case}");
        let sorted = |mut origins: Vec<(KeyId, Link)>| {
            origins.sort();
            origins
        };
        let (found, expected) = (store.origins(&k).expect("origins"), model.origins(&k).expect("origins"));
        assert_eq!(sorted(found), sorted(expected), "case {case}");
        for op in [link("op0", 0), link("op0", 1), link("op1", 0), link("op1", 1)] {
            let (found, expected) = (store.targets(&k, &op).expect("targets"), model.targets(&k, &op));
            assert_eq!(found, expected.expect("targets"), "case {case}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_passes() {
        key_store(MemoryKeys::default, |_| {});
    }
}
