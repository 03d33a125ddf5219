//! How often, and by which chance.

use std::time::{SystemTime, UNIX_EPOCH};

/// Rounds of a test: `KILN_STRESS` where it is set, else `usual`.
pub fn rounds(usual: u32) -> u32 {
    let asked = std::env::var("KILN_STRESS").ok();
    asked.map_or(usual, |text| {
        text.parse().unwrap_or_else(|_| panic!("KILN_STRESS is `{text}`, not a number"))
    })
}

/// Numbers without order (xorshift64*), the same for one seed. `KILN_SEED` repeats a run; without it each is another.
pub struct Chance(u64);

impl Chance {
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
        let seed =
            std::env::var("KILN_SEED").map_or(now, |text| text.parse().expect("KILN_SEED is a number"));
        // Tests that fail show what they printed.
        println!("KILN_SEED={seed}");
        Chance(seed | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }
}
