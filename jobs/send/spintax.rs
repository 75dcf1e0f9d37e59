//! Which alternative of `{a|b|c}` a mail gets: chance that comes out the same every time.

use sha2::{Digest, Sha256};

/// A stream of choices that follows from an effect key alone, so that a retry, on any machine and
/// with any version of ours, writes the same mail.
///
/// SplitMix64, written out: the generators of `rand` may change between versions.
#[derive(Debug, Clone)]
pub(super) struct Spinner(u64);

impl Spinner {
    /// The choices of the mail with this effect key.
    pub(super) fn seeded(effect_key: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"postrider spintax v1\0");
        hash.update(effect_key.as_bytes());
        let digest = hash.finalize();
        let mut seed = [0; 8];
        seed.copy_from_slice(&digest[..8]);
        Self(u64::from_be_bytes(seed))
    }

    /// One of `0..count`; 0 when there is nothing to choose from.
    pub(super) fn pick(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        // The bias of the remainder is below 2^-50 for any template that fits in memory.
        usize::try_from(z % u64::try_from(count.max(1)).unwrap_or(1)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_gives_the_same_choices_for_ever() {
        let mut spinner = Spinner::seeded("campaign:1:ada");
        let picks: Vec<usize> = (0..8).map(|_| spinner.pick(10)).collect();
        let mut again = Spinner::seeded("campaign:1:ada");
        assert_eq!(picks, (0..8).map(|_| again.pick(10)).collect::<Vec<_>>());
    }

    #[test]
    fn different_keys_use_every_alternative_about_equally() {
        let mut counts = [0_u32; 3];
        for n in 0..3_000 {
            counts[Spinner::seeded(&format!("key-{n}")).pick(3)] += 1;
        }
        assert!(counts.iter().all(|n| (850..1_150).contains(n)), "{counts:?}");
    }
}
