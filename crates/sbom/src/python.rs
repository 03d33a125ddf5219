//! Packages that pip installed: `METADATA` and `PKG-INFO` (Python's core metadata).

use crate::package::{Kind, Package};
use crate::paragraphs::paragraphs;

/// A licence is what people wrote; what is longer is its text.
const LICENSE_LIMIT: usize = 100;

/// The package that a file of metadata tells of.
pub fn metadata(bytes: &[u8]) -> Option<Package> {
    let text = String::from_utf8_lossy(bytes);
    // What follows the first empty line is a description.
    let fields = paragraphs(&text).next()?;
    let (name, version) = (fields.get("Name"), fields.get("Version"));
    if name.is_empty() || version.is_empty() {
        return None;
    }
    let mut package = Package::new(Kind::Pypi, name, version);
    let classified = fields.all("Classifier").filter_map(|c| c.strip_prefix("License :: OSI Approved :: "));
    let classified = classified.map(of_classifier).collect::<Vec<_>>().join("\n");
    let plain = Some(fields.get("License")).filter(|text| text.len() <= LICENSE_LIMIT && *text != "UNKNOWN");
    let told = [fields.get("License-Expression"), plain.unwrap_or_default(), &classified];
    package.license = told.into_iter().find(|text| !text.is_empty()).unwrap_or_default().into();
    package.supplier = fields.get("Author").into();
    package.homepage = fields.get("Home-page").into();
    package.provides = vec![normal(name)];
    let wanted = fields.all("Requires-Dist").filter(|need| !need.contains("extra =="));
    package.needs =
        wanted.map(|need| normal(need.split(|c| !is_of_name(c)).next().unwrap_or_default())).collect();
    Some(package)
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// The form in which names are compared.
fn normal(name: &str) -> String {
    let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

/// The SPDX name of what a classifier says, where it is one of the usual ones.
fn of_classifier(text: &str) -> &str {
    match text {
        "MIT License" => "MIT",
        "ISC License (ISCL)" => "ISC",
        "Apache Software License" => "Apache-2.0",
        "Mozilla Public License 2.0 (MPL 2.0)" => "MPL-2.0",
        "GNU General Public License v2 (GPLv2)" => "GPL-2.0-only",
        "GNU General Public License v2 or later (GPLv2+)" => "GPL-2.0-or-later",
        "GNU General Public License v3 (GPLv3)" => "GPL-3.0-only",
        "GNU General Public License v3 or later (GPLv3+)" => "GPL-3.0-or-later",
        "GNU Lesser General Public License v3 (LGPLv3)" => "LGPL-3.0-only",
        "Python Software Foundation License" => "PSF-2.0",
        "The Unlicense (Unlicense)" => "Unlicense",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pip_leaves() {
        for (text, expected) in [
            (
                "Metadata-Version: 2.1\nName: A_b\nVersion: 1\nLicense: MIT\nRequires-Dist: C.d (>=1); x\nRequires-Dist: e ; extra == 'f'\n\nName: no\n",
                "A_b 1 MIT c-d",
            ),
            (
                "Name: a\nVersion: 1\nLicense: UNKNOWN\nClassifier: License :: OSI Approved :: Apache Software License\n",
                "a 1 Apache-2.0 ",
            ),
            ("Name: a\n", "-"),
        ] {
            let told = |p: Package| format!("{} {} {} {}", p.name, p.version, p.license, p.needs.join(","));
            assert_eq!(metadata(text.as_bytes()).map_or("-".into(), told), expected);
        }
    }
}
