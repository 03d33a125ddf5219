//! Making packets.

use bytes::Bytes;
use proto::fsutil::Packet;
use proto::fsutil::packet::PacketType;

use crate::files::stat::Stat;

pub(crate) fn stat(stat: &Stat) -> Packet {
    Packet { r#type: PacketType::PacketStat.into(), stat: Some(stat.into()), ..Default::default() }
}

pub(crate) fn end_of_listing() -> Packet {
    Packet { r#type: PacketType::PacketStat.into(), ..Default::default() }
}

pub(crate) fn request(id: u32) -> Packet {
    Packet { r#type: PacketType::PacketReq.into(), id, ..Default::default() }
}

/// A piece of file `id`; an empty one ends it.
pub(crate) fn data(id: u32, data: Bytes) -> Packet {
    Packet { r#type: PacketType::PacketData.into(), id, data, ..Default::default() }
}

pub(crate) fn fin() -> Packet {
    Packet { r#type: PacketType::PacketFin.into(), ..Default::default() }
}

pub(crate) fn error(message: String) -> Packet {
    Packet { r#type: PacketType::PacketErr.into(), data: message.into(), ..Default::default() }
}
