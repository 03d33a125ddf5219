//! Who may use which device.

use std::collections::BTreeMap;

use errdefs::{Class, Code, Error, Result};

use crate::known::Known;

/// The name of the entitlement.
const DEVICE: &str = "device";

/// A device, several or a class of them that a step asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub name: String,
    /// It is no error if there is none.
    pub optional: bool,
}

/// The devices that a client lets its build use, besides those that everybody may.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    all: bool,
    /// By the name that steps ask for, with the device that is meant by it if that is another.
    devices: BTreeMap<String, Option<String>>,
}

impl Rights {
    /// From the entitlements of a build: `device`, `device=<name>`, `device=<name>,alias=<name in steps>`. Others are
    /// passed over.
    pub fn of<S: AsRef<str>>(entitlements: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut rights = Rights::default();
        for entitlement in entitlements {
            let (name, rest) = split(entitlement.as_ref());
            if name == DEVICE {
                rights.add(rest)?;
            }
        }
        Ok(rights)
    }

    fn add(&mut self, text: &str) -> Result<()> {
        if text.is_empty() {
            self.all = true;
            return Ok(());
        }
        let mut fields = text.split(',');
        let name = fields.next().unwrap_or_default().to_owned();
        let mut alias = None;
        for field in fields {
            alias = match field.split_once('=') {
                Some(("alias", alias)) => Some(alias.to_owned()),
                Some((key, _)) => return Err(Error::user(format!("unknown device config key {key:?}"))),
                None => return Err(Error::user(format!("invalid device config {field:?}"))),
            };
        }
        match alias.filter(|alias| !alias.is_empty()) {
            Some(alias) => self.devices.insert(alias, Some(name)),
            None => self.devices.insert(name, None),
        };
        Ok(())
    }
}

/// The name of an entitlement, and what is said with it: that of devices may say which.
fn split(entitlement: &str) -> (&str, &str) {
    match entitlement.split_once('=') {
        Some((DEVICE, rest)) => (DEVICE, rest),
        _ => (entitlement, ""),
    }
}

/// What an engine has to grant for an entitlement.
pub(crate) fn name(entitlement: &str) -> &str {
    split(entitlement).0
}

impl Known {
    /// The devices that a step gets of those that it asks for.
    ///
    /// # Errors
    /// One that is not there and not optional, and one that is neither granted nor free for all.
    pub fn grant(&self, wanted: &[Wanted], rights: &Rights) -> Result<Vec<Wanted>> {
        if rights.all {
            return Ok(wanted.to_vec());
        }
        let mut granted = Vec::new();
        let mut others = Vec::new();
        for wanted in wanted {
            match rights.devices.get(&wanted.name) {
                Some(Some(meant)) => granted.push(Wanted { name: meant.clone(), optional: wanted.optional }),
                _ => others.push(wanted.clone()),
            }
        }
        let others = self.find(&others)?;
        if others.is_empty() {
            return Ok(granted);
        }
        let named = |(name, meant): (&String, &Option<String>)| Wanted {
            name: meant.as_ref().unwrap_or(name).clone(),
            optional: false,
        };
        let allowed = self.find(&rights.devices.iter().map(named).collect::<Vec<_>>())?;
        let is_free = |name: &String| self.get(name).is_some_and(|device| device.auto_allowed);
        let (free, refused): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|name| allowed.contains(name) || is_free(name));
        if !refused.is_empty() {
            let (one, are) = if refused.len() == 1 { ("device", "is") } else { ("devices", "are") };
            let names = refused.join(", ");
            let message = format!("{one} {names} {are} requested by the build but not allowed");
            let error = Error::new(Class::User, Code::PermissionDenied, message);
            return Err(error.hint(format!("allow it with `--allow device={}`", refused[0])));
        }
        granted.extend(free.into_iter().map(|name| Wanted { name, optional: false }));
        Ok(granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known::tests::known;

    fn check(entitlements: &[&str], wanted: &[&str], expected: Result<&[&str], &str>) {
        let wanted: Vec<_> = wanted
            .iter()
            .map(|name| Wanted { name: name.trim_end_matches('?').to_owned(), optional: name.ends_with('?') })
            .collect();
        let granted = Rights::of(entitlements).and_then(|rights| known().grant(&wanted, &rights));
        let granted = granted.map(|all| all.into_iter().map(|w| w.name).collect::<Vec<_>>());
        let granted = granted.map_err(|e| e.message().to_owned());
        assert_eq!(
            granted,
            expected.map(|names| names.iter().map(|n| (*n).to_owned()).collect()).map_err(str::to_owned),
            "{entitlements:?} {wanted:?}"
        );
    }

    #[test]
    fn devices_are_for_those_who_may() {
        let refused = "device a.com/x=one is requested by the build but not allowed";
        check(&[], &["a.com/x=one"], Err(refused));
        check(&["network.host"], &["a.com/x=one"], Err(refused));
        check(&[], &["b.com/y=free"], Ok(&["b.com/y=free"]));
        check(
            &[],
            &["a.com/x=*"],
            Err("devices a.com/x=one, a.com/x=two are requested by the build but not allowed"),
        );
        check(&["device"], &["a.com/x"], Ok(&["a.com/x"]));
        check(&["device=a.com/x=one"], &["a.com/x"], Ok(&["a.com/x=one"]));
        check(&["device=a.com/x"], &["a.com/x=one"], Ok(&["a.com/x=one"]));
        check(
            &["device=a.com/x"],
            &["a.com/x=two"],
            Err("device a.com/x=two is requested by the build but not allowed"),
        );
        check(&["device=a.com/x=*"], &["a.com/x=two", "b.com/y"], Ok(&["a.com/x=two", "b.com/y=free"]));
        check(&["device=a.com/x=two,alias=gpu"], &["gpu"], Ok(&["a.com/x=two"]));
        check(&[], &["c.com/z?"], Ok(&[]));
        check(&[], &["c.com/z"], Err("required device \"c.com/z\" is not registered"));
        check(&["device=x,name=y"], &[], Err("unknown device config key \"name\""));
        check(&["device=x,y"], &[], Err("invalid device config \"y\""));
    }
}
