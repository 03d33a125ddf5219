//! Which images run on a platform, and which of them suits best.

use super::Platform;

impl Platform {
    /// How well `offered` suits a wish for this platform: 0 is best, `None` is not at all. An arm machine runs the
    /// images of older variants, an amd64 machine those of lower levels and of 386, an arm64 machine those of arm.
    pub fn rank(&self, offered: &Platform) -> Option<usize> {
        let (wanted, offered) = (self.normalize(), offered.normalize());
        let suits =
            wanted.os == offered.os && wanted.suits_version(&offered) && wanted.has_features(&offered);
        let place = |(a, v): &(String, String)| *a == offered.architecture && *v == offered.variant;
        if suits { wanted.runs().iter().position(place) } else { None }
    }

    /// Whether images of `offered` run here.
    pub fn matches(&self, offered: &Platform) -> bool {
        self.rank(offered).is_some()
    }

    /// Only a Windows image minds the version: it needs its own build of the host, or an older one since 2022's.
    fn suits_version(&self, offered: &Platform) -> bool {
        const SERVER_2022: u32 = 20348;
        if self.os != "windows" {
            return true;
        }
        let (Some(host), Some(image)) = (version(&self.os_version), version(&offered.os_version)) else {
            return true;
        };
        let same_build = host.2 == image.2;
        let newer_host = host.2 >= SERVER_2022 && (SERVER_2022..=host.2).contains(&image.2);
        (host.0, host.1) == (image.0, image.1) && (same_build || newer_host)
    }

    fn has_features(&self, offered: &Platform) -> bool {
        let given = |f: &String| self.os_features.contains(f) || (self.os == "windows" && f == "win32k");
        offered.os_features.iter().all(given)
    }

    /// Processor and variant of the images that run on this normalized platform, best first.
    fn runs(&self) -> Vec<(String, String)> {
        let (a, v) = (self.architecture.as_str(), self.variant.as_str());
        let level = v.strip_prefix('v').and_then(|n| n.parse::<u32>().ok());
        let mut list = vec![pair(a, v)];
        match a {
            "amd64" => {
                list.extend((1..level.unwrap_or(1)).rev().map(|n| pair(a, &format!("v{n}"))));
                list.push(pair("386", ""));
            }
            "arm" => list.extend((5..level.unwrap_or(5)).rev().map(|n| pair(a, &format!("v{n}")))),
            "arm64" => list = arm64(v),
            _ => {}
        }
        list
    }
}

/// In usual names, as offers are.
fn pair(architecture: &str, variant: &str) -> (String, String) {
    super::names::architecture(architecture, variant)
}

/// Arm64 counts in minor steps; version 9.n contains 8.(n+5).
fn arm64(variant: &str) -> Vec<(String, String)> {
    let step = if variant.is_empty() { "8" } else { variant.trim_start_matches('v') };
    let (major, minor) = step.split_once('.').unwrap_or((step, "0"));
    let steps: Vec<(u32, u32)> = match (major, minor.parse::<u32>()) {
        ("8", Ok(minor @ 0..=9)) => vec![(8, minor)],
        ("9", Ok(minor @ 0..=7)) => vec![(9, minor), (8, (minor + 5).min(9))],
        _ => return Vec::new(),
    };
    let mut list = Vec::new();
    for (major, highest) in steps {
        let name = |minor| if minor == 0 { format!("v{major}") } else { format!("v{major}.{minor}") };
        list.extend((0..=highest).rev().map(|minor| pair("arm64", &name(minor))));
    }
    list.extend((5..=8).rev().map(|n| pair("arm", &format!("v{n}"))));
    list
}

/// The first three numbers of a version.
fn version(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = text.split('.').map(|n| n.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &str, offered: &str, rank: Option<usize>) {
        let parse = |t: &str| t.parse::<Platform>().expect("valid");
        assert_eq!(parse(wanted).rank(&parse(offered)), rank, "{offered} on {wanted}");
    }

    #[test]
    fn older_variants_run_but_come_last() {
        check("linux/amd64", "linux/amd64", Some(0));
        check("linux/amd64", "linux/amd64/v1", Some(0));
        check("linux/amd64", "linux/amd64/v2", None);
        check("linux/amd64/v3", "linux/amd64", Some(2));
        check("linux/amd64", "linux/386", Some(1));
        check("linux/386", "linux/amd64", None);
        check("linux/arm/v7", "linux/arm/v6", Some(1));
        check("linux/arm/v6", "linux/arm/v7", None);
        check("linux/arm64", "linux/arm64/v8", Some(0));
        check("linux/arm64/v9", "linux/arm64/v8.3", Some(3));
        check("linux/arm64", "linux/arm/v7", Some(2));
        check("linux/arm64", "linux/arm64/v9", None);
        check("linux/amd64", "linux/arm64", None);
        check("linux/riscv64", "linux/riscv64", Some(0));
    }

    #[test]
    fn versions_and_features_must_be_there() {
        check("windows(10.0.17763)/amd64", "windows(10.0.17763.1)/amd64", Some(0));
        check("windows(10.0.17763)/amd64", "windows(10.0.20348)/amd64", None);
        check("windows(10.0.26100)/amd64", "windows(10.0.20348)/amd64", Some(0));
        check("windows/amd64", "windows(10.0.20348+win32k)/amd64", Some(0));
        check("linux/amd64", "linux(+x)/amd64", None);
        check("linux(+x)/amd64", "linux(+x)/amd64", Some(0));
    }
}
