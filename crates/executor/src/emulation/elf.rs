//! What programs of each architecture look like to the kernel (System V ABI, "ELF Header").

/// The first bytes of a program, up to what says which machine it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine {
    pub header: [u8; 20],
}

impl Machine {
    /// Nothing for an architecture that is not known here.
    pub fn of(architecture: &str) -> Option<Self> {
        let (bits, big_endian, machine): (u8, bool, u16) = match architecture {
            "386" => (32, false, 3),
            "amd64" => (64, false, 62),
            "arm" => (32, false, 40),
            "arm64" => (64, false, 183),
            "loong64" => (64, false, 258),
            "mips64" => (64, true, 8),
            "mips64le" => (64, false, 8),
            "ppc64" => (64, true, 21),
            "ppc64le" => (64, false, 21),
            "riscv64" => (64, false, 243),
            "s390x" => (64, true, 22),
            _ => return None,
        };
        const EXECUTABLE: u16 = 2;
        let short = |n: u16| if big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
        let mut header = [0; 20];
        header[..4].copy_from_slice(b"\x7fELF");
        header[4] = if bits == 64 { 2 } else { 1 };
        header[5] = if big_endian { 2 } else { 1 };
        header[6] = 1;
        header[16..18].copy_from_slice(&short(EXECUTABLE));
        header[18..20].copy_from_slice(&short(machine));
        Some(Machine { header })
    }

    /// The bits of the header that count: neither which system it is for, nor whether it may lie anywhere in memory.
    pub fn mask(&self) -> [u8; 20] {
        let big_endian = self.header[5] == 2;
        let mut mask = [0xff; 20];
        mask[7] = 0;
        mask[if big_endian { 17 } else { 16 }] = 0xfe;
        mask
    }
}

/// What qemu calls an architecture.
pub(crate) fn qemu_name(architecture: &str) -> &str {
    match architecture {
        "386" => "i386",
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "loong64" => "loongarch64",
        "mips64le" => "mips64el",
        other => other,
    }
}
