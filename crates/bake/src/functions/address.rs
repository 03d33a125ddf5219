//! Networks: an address and the length of its prefix.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{CallError, Called, Context, bad, integer, text_of};
use crate::types::Type;
use crate::value::Value;

/// A network; its address has no bits after the prefix.
#[derive(Debug, Clone, Copy)]
struct Network {
    address: u128,
    prefix: u32,
    /// 32 or 128.
    bits: u32,
}

impl Network {
    fn parse(args: &[Value]) -> Result<Self, CallError> {
        let text = text_of(args, 0);
        let invalid = || bad(0, format!("`{text}` is no network such as 10.0.0.0/8"));
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let (address, bits) = match address.parse::<IpAddr>().map_err(|_| invalid())? {
            IpAddr::V4(a) => (u128::from(u32::from(a)), 32),
            IpAddr::V6(a) => (u128::from(a), 128),
        };
        let plain = prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|p| plain && *p <= bits).ok_or_else(invalid)?;
        Ok(Network { address, prefix, bits }.trimmed())
    }

    fn trimmed(self) -> Self {
        Network { address: self.address & !self.host_mask(), ..self }
    }

    /// The bits after the prefix.
    fn host_mask(self) -> u128 {
        match self.bits - self.prefix {
            128 => u128::MAX,
            hosts => (1 << hosts) - 1,
        }
    }

    fn last(self) -> u128 {
        self.address | self.host_mask()
    }

    fn show(self, address: u128) -> String {
        match self.bits {
            32 => Ipv4Addr::from(address as u32).to_string(),
            _ => Ipv6Addr::from(address).to_string(),
        }
    }

    fn text(self) -> Value {
        Value::string(format!("{}/{}", self.show(self.address), self.prefix))
    }
}

/// The address of this number; a negative one counts from the end.
pub(super) fn host(args: &[Value], _: &Context) -> Called {
    let network = Network::parse(args)?;
    let number = integer(args, 1)?;
    let max = network.host_mask();
    let distance = if number < 0 { u128::from(number.unsigned_abs()) - 1 } else { number as u128 };
    if distance > max {
        return Err(bad(1, format!("a prefix of {} has no host numbered {number}", network.prefix)));
    }
    let offset = if number < 0 { max - distance } else { distance };
    Ok(Value::string(network.show(network.address | offset)))
}

pub(super) fn netmask(args: &[Value], _: &Context) -> Called {
    let network = Network::parse(args)?;
    let all = if network.bits == 32 { u128::from(u32::MAX) } else { u128::MAX };
    Ok(Value::string(network.show(all & !network.host_mask())))
}

pub(super) fn subnet(args: &[Value], _: &Context) -> Called {
    let network = Network::parse(args)?;
    let (more, number) = (integer(args, 1)?, integer(args, 2)?);
    let more = u32::try_from(more)
        .ok()
        .filter(|m| *m <= 32)
        .ok_or_else(|| bad(1, "a prefix can be extended by 0 to 32 bits"))?;
    let prefix = network.prefix + more;
    if prefix > network.bits {
        return Err(bad(1, format!("a prefix of {} cannot be extended by {more}", network.prefix)));
    }
    let number = u128::try_from(number).ok().filter(|n| *n < 1 << more);
    let number = number.ok_or_else(|| bad(2, format!("{more} bits do not tell so many subnets apart")))?;
    let shift = network.bits - prefix;
    let address = network.address | number.checked_shl(shift).unwrap_or(0);
    Ok(Network { address, prefix, ..network }.text())
}

/// Subnets one after the other, each as near to the one before as its size allows.
pub(super) fn subnets(args: &[Value], _: &Context) -> Called {
    let network = Network::parse(args)?;
    let mut next = Some(network.address);
    let mut out = Vec::new();
    for i in 1..args.len() {
        let more = integer(args, i)?;
        let more = u32::try_from(more).ok().filter(|m| (1..=32).contains(m));
        let more = more.ok_or_else(|| bad(i, "a prefix can be extended by 1 to 32 bits"))?;
        let prefix = network.prefix + more;
        if prefix > network.bits {
            return Err(bad(i, format!("a prefix of {prefix} bits is too long for such an address")));
        }
        let at = next.and_then(|from| {
            let size = Network { address: 0, prefix, bits: network.bits };
            // Up to the next multiple of the size.
            let start = from.checked_add(size.host_mask())? & !size.host_mask();
            (start <= network.last()).then_some(Network { address: start, ..size })
        });
        let at = at.ok_or_else(|| bad(i, format!("no room is left for a prefix of {prefix} bits")))?;
        next = at.last().checked_add(1);
        out.push(at.text());
    }
    Ok(Value::list(Type::String, out))
}
