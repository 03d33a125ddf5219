//! Network interfaces of the machine that a container has.

use std::process::Command;

use executor::{Namespace, NetDevice, Network, Spec};

use crate::world::World;

/// A pair of interfaces, the first with an address. Both are gone with the value.
struct Pair(String);

impl Pair {
    fn new(n: u32) -> Self {
        let pair = Pair(format!("k{}x{n}", std::process::id()));
        ip(&format!("link add {} type veth peer name {}p", pair.0, pair.0));
        ip(&format!("address add 192.0.2.{n}/24 dev {}", pair.0));
        pair
    }

    /// The container calls it `card0`.
    fn give(&self, spec: &mut Spec) {
        spec.net_devices = vec![NetDevice { host: self.0.clone(), name: "card0".into() }];
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.0]).status();
    }
}

fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split(' ')).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_container_has_it_with_its_address_and_gives_it_back() {
    let world = World::new();
    let namespace = Namespace::new().expect("made");
    for (n, shared) in [(1, None), (2, Some(namespace.path()))] {
        let pair = Pair::new(n);
        let mut spec = world.shell("ip addr show card0");
        pair.give(&mut spec);
        match shared {
            Some(path) => spec.namespace = Some(path),
            None => spec.network = Network::None,
        }
        let out = world.output(spec).await;
        assert!(out.contains(&format!("inet 192.0.2.{n}/24")) && out.contains(",UP"), "{out}");
        let back = ip(&format!("address show dev {}", pair.0));
        assert!(back.contains(&format!("inet 192.0.2.{n}/24")) && back.contains(",UP"), "{back}");
    }
}

#[tokio::test]
async fn what_cannot_be_given_is_told() {
    let world = World::new();
    let mut spec = world.shell("true");
    spec.net_devices = vec![NetDevice { host: "k-none".into(), name: "card0".into() }];
    let e = world.try_run(spec.clone()).await.expect_err("there is no network to put it into");
    assert!(e.message().contains("the step shares the machine's network"), "{e}");
    spec.network = Network::None;
    let e = world.try_run(spec).await.expect_err("it is not there");
    assert!(e.message().contains("failed to give the network device `k-none` to the container"), "{e}");
}
