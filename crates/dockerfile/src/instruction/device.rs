//! `RUN --device`.

use crate::{Error, Result, csv, suggest};

const KEYS: [&str; 2] = ["name", "required"];

/// A device that a step asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// `vendor.com/class`, `vendor.com/class=name`, or a class of devices.
    pub name: String,
    pub required: bool,
}

impl Device {
    pub(super) fn parse(text: &str) -> Result<Device> {
        let mut device = Device::default();
        let fields = csv::fields(text).map_err(|e| e.context("failed to parse csv devices"))?;
        for field in fields {
            match field.split_once('=') {
                Some((key, value)) => device.set(&key.to_lowercase(), value, &field)?,
                None if field.eq_ignore_ascii_case("required") => device.required = true,
                None if device.name.is_empty() => device.name = field,
                None => return Err(Error::new(format!("invalid field '{field}' must be a key=value pair"))),
            }
        }
        Ok(device)
    }

    fn set(&mut self, key: &str, value: &str, field: &str) -> Result<()> {
        match key {
            "name" if !self.name.is_empty() => {
                return Err(Error::new(format!("device name already set to {}", self.name)));
            }
            "name" => value.clone_into(&mut self.name),
            "required" => {
                let required = oci::parse_bool(value);
                self.required =
                    required.ok_or_else(|| Error::new(format!("invalid value for {key}: {value}")))?;
            }
            // A device of a kind: its name has the sign too.
            _ if self.name.is_empty() => field.clone_into(&mut self.name),
            _ => {
                let message = format!("unexpected key '{key}' in '{field}'");
                return Err(Error::new(suggest::append_any_case(message, key, KEYS)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(&str, bool), &str>) {
        let device = Device::parse(text).map(|d| (d.name, d.required)).map_err(|e| e.to_string());
        let expected = expected.map(|(name, required)| (name.to_owned(), required));
        assert_eq!(device, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn devices() {
        check("vendor1.com/device", Ok(("vendor1.com/device", false)));
        check("vendor1.com/device=foo,required", Ok(("vendor1.com/device=foo", true)));
        check("name=vendor1.com/device=foo,required=true", Ok(("vendor1.com/device=foo", true)));
        check("class1,REQUIRED=false", Ok(("class1", false)));
        check("a,b", Err("invalid field 'b' must be a key=value pair"));
        check("a,name=b", Err("device name already set to a"));
        check("a,required=x", Err("invalid value for required: x"));
        check("a,requird=1", Err("unexpected key 'requird' in 'requird=1' (did you mean required?)"));
        check("", Err("failed to parse csv devices: EOF"));
    }
}
