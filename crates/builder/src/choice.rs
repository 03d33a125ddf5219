//! Which node builds which platforms.

use oci::Platform;

/// The platforms of a build that one node takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Its place among the nodes.
    pub node: usize,
    /// None where the build asks for none: then the engine takes its own.
    pub platforms: Vec<Platform>,
}

/// How a platform of a node has to suit a wish.
#[derive(Clone, Copy)]
enum Fit {
    /// It is the same.
    Same,
    /// Its machine runs it too, as one for arm64 runs arm/v7.
    Runs,
}

/// Gives each platform to a node. `fixed` are the platforms that each node was given by the user. Where one is wanted that
/// no node was given, `found` tells what the engines say of themselves, by node, and the best of all is taken; with none
/// that suits, the first node, which may run it in an emulator.
///
/// # Errors
/// Those of `found`.
pub async fn choose<E>(
    wanted: &[Platform],
    fixed: &[Vec<Platform>],
    found: impl AsyncFnOnce() -> Result<Vec<Vec<Platform>>, E>,
) -> Result<Vec<Share>, E> {
    // Where there is nothing to choose, no engine need be asked.
    if wanted.is_empty() || fixed.len() < 2 {
        return Ok(vec![Share { node: 0, platforms: wanted.to_vec() }]);
    }
    let strict: Option<Vec<usize>> = wanted.iter().map(|p| best(p, fixed, Fit::Same)).collect();
    if let Some(nodes) = strict {
        return Ok(shares(wanted, &nodes));
    }
    let all: Vec<Vec<Platform>> =
        fixed.iter().zip(found().await?).map(|(fixed, found)| [fixed.clone(), found].concat()).collect();
    let nodes: Vec<usize> = wanted.iter().map(|p| best(p, &all, Fit::Runs).unwrap_or_default()).collect();
    Ok(shares(wanted, &nodes))
}

/// The node whose platform suits best; the first of equals.
fn best(wanted: &Platform, nodes: &[Vec<Platform>], fit: Fit) -> Option<usize> {
    let mut best: Option<(usize, &Platform)> = None;
    for (node, platforms) in nodes.iter().enumerate() {
        for offered in platforms {
            let Some(rank) = rank(offered, wanted, fit) else { continue };
            // The one before is worse where this one's machine would rather run the wish than that one's own images.
            let is_better = match best {
                None => true,
                Some((_, before)) => {
                    self::rank(offered, before, fit).is_none_or(|of_before| rank < of_before)
                }
            };
            if is_better {
                best = Some((node, offered));
            }
        }
    }
    best.map(|(node, _)| node)
}

/// How far down the list of what the machine `offered` runs a platform stands.
fn rank(offered: &Platform, wanted: &Platform, fit: Fit) -> Option<usize> {
    match fit {
        Fit::Same => offered.rank(wanted).filter(|rank| *rank == 0),
        Fit::Runs => offered.rank(wanted),
    }
}

fn shares(wanted: &[Platform], nodes: &[usize]) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    for (platform, node) in wanted.iter().zip(nodes) {
        match shares.iter_mut().find(|share| share.node == *node) {
            Some(share) => share.platforms.push(platform.clone()),
            None => shares.push(Share { node: *node, platforms: vec![platform.clone()] }),
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn list(text: &str) -> Vec<Platform> {
        let parse = |p: &str| p.parse::<Platform>().expect(p).normalize();
        text.split_whitespace().map(parse).collect()
    }

    /// Nodes are divided by `|`. What is expected ends with `asked` where the engines had to be.
    fn check(wanted: &str, fixed: &str, found: &str, expect: &str) {
        let nodes = |text: &str| text.split('|').map(list).collect::<Vec<_>>();
        let asked = std::cell::Cell::new("");
        let ask = async || {
            asked.set(" asked");
            Ok::<_, Infallible>(nodes(found))
        };
        let (wanted, fixed) = (list(wanted), nodes(fixed));
        let mut work = std::pin::pin!(choose(&wanted, &fixed, ask));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(Ok(shares)) = work.as_mut().poll(&mut context) else { panic!("it waits") };
        let told: Vec<String> = shares
            .iter()
            .map(|s| {
                let platforms = s.platforms.iter().map(Platform::to_string).collect::<Vec<_>>();
                format!("{}:{}", s.node, platforms.join(","))
            })
            .collect();
        assert_eq!(told.join(" ") + asked.get(), expect, "{wanted:?} on {fixed:?}, {found}");
    }

    #[test]
    fn platforms_go_to_the_nodes_that_were_given_them() {
        let fixed = "linux/amd64 linux/386 | linux/arm64 linux/arm/v7";
        let found = "linux/amd64 | linux/arm64";
        check("", fixed, found, "0:");
        check("linux/amd64", fixed, found, "0:linux/amd64");
        check("linux/arm64", fixed, found, "1:linux/arm64");
        check("linux/arm64/v8", fixed, found, "1:linux/arm64");
        check(
            "linux/arm/v7 linux/amd64 linux/arm64",
            fixed,
            found,
            "1:linux/arm/v7,linux/arm64 0:linux/amd64",
        );
        // Two that have it: the first.
        check("linux/amd64", "linux/arm64 | linux/amd64 | linux/amd64", "||", "1:linux/amd64");
    }

    #[test]
    fn where_nobody_was_given_a_platform_the_engines_are_asked() {
        check("linux/arm64", "|", "linux/amd64|linux/arm64", "1:linux/arm64 asked");
        check("linux/amd64 linux/arm64", "|", "linux/amd64|linux/arm64", "0:linux/amd64 1:linux/arm64 asked");
        // A machine that runs another variant, and then one that is made for it.
        check("linux/arm/v7", "|", "linux/amd64|linux/arm64", "1:linux/arm/v7 asked");
        check("linux/arm/v7", "|", "linux/arm64|linux/arm/v7", "1:linux/arm/v7 asked");
        check("linux/arm/v7", "|", "linux/arm/v7|linux/arm64", "0:linux/arm/v7 asked");
        check("linux/arm/v6", "|", "linux/arm/v7|linux/arm/v6", "1:linux/arm/v6 asked");
        check("linux/arm/v6", "|", "linux/arm/v6|linux/arm/v7", "0:linux/arm/v6 asked");
        check("linux/386", "|", "linux/arm64|linux/amd64", "1:linux/386 asked");
        // One wish without a match is enough for all to be looked at again.
        check(
            "linux/amd64 linux/s390x",
            "linux/amd64|linux/arm64",
            "linux/amd64|linux/amd64 linux/s390x",
            "0:linux/amd64 1:linux/s390x asked",
        );
    }

    #[test]
    fn what_suits_no_node_goes_to_the_first() {
        check("linux/riscv64", "|", "linux/amd64|linux/arm64", "0:linux/riscv64 asked");
        check(
            "linux/riscv64 linux/arm64",
            "linux/amd64|linux/arm64",
            "|",
            "0:linux/riscv64 1:linux/arm64 asked",
        );
        // A single node is not asked at all.
        check("linux/riscv64 linux/arm64", "linux/amd64", "linux/amd64", "0:linux/riscv64,linux/arm64");
    }
}
