//! rpm's own database, of SUSE (rpm, lib/backend/ndb): slots that tell where headers lie. Numbers have their lowest byte
//! first.

const DATABASE: &[u8] = b"RpmP";
const SLOT: &[u8] = b"Slot";
const BLOB: &[u8] = b"BlbS";
/// Bytes of a slot: magic, package, first block, blocks. The first two hold the head of the file.
const SLOT_SIZE: usize = 16;
const SLOTS_IN_A_PAGE: usize = 4096 / SLOT_SIZE;
/// Bytes of a block.
const BLOCK: usize = 16;

/// The headers; `None` for what is no such file.
pub fn blobs(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    if !bytes.starts_with(DATABASE) {
        return None;
    }
    let slots = (number(bytes, 12)? as usize).saturating_mul(SLOTS_IN_A_PAGE);
    let slots = bytes.chunks_exact(SLOT_SIZE).take(slots).skip(2);
    Some(slots.filter_map(|slot| blob(bytes, slot)).collect())
}

fn blob<'a>(bytes: &'a [u8], slot: &[u8]) -> Option<&'a [u8]> {
    let package = number(slot, 4).filter(|package| *package != 0 && slot.starts_with(SLOT))?;
    let blob = bytes.get((number(slot, 8)? as usize).checked_mul(BLOCK)?..)?;
    let is_its_own = blob.starts_with(BLOB) && number(blob, 4)? == package;
    let size = number(blob, 12)? as usize;
    blob.get(16..)?.get(..size).filter(|_| is_its_own)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_lead_to_headers() {
        let mut file = vec![0; 8192];
        let mut put = |at: usize, magic: &[u8], numbers: &[u32]| {
            file[at..at + 4].copy_from_slice(magic);
            for (i, number) in numbers.iter().enumerate() {
                file[at + 4 + 4 * i..at + 8 + 4 * i].copy_from_slice(&number.to_le_bytes());
            }
        };
        put(0, DATABASE, &[0, 1, 1]);
        put(32, SLOT, &[7, 300, 2]);
        put(48, SLOT, &[0, 0, 0]);
        put(64, SLOT, &[8, u32::MAX, 1]);
        put(300 * 16, BLOB, &[7, 1, 3]);
        file[300 * 16 + 16..300 * 16 + 19].copy_from_slice(b"abc");
        assert_eq!(blobs(&file), Some(vec![&b"abc"[..]]));
        assert_eq!((blobs(&file[..40]), blobs(b"x")), (Some(Vec::new()), None));
    }
}
