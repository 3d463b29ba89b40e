//! Numbers as bits: of a given width, or in Elias' gamma code. It knows nothing of offsets.
//!
//! Gamma writes n ≥ 1 as ⌊log2 n⌋ zeros and then n in binary: 1 bit for 1, 3 for 2 and 3, 5 up to 7
//! (P. Elias, "Universal codeword sets", 1975). Alternating runs so written cost at most 1.5 bits for
//! each offset they cover, whatever the pattern, and a run of a million costs 39.

/// Bits in the order they were written, the most significant first.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// Unused bits of the last byte.
    free: u32,
}

impl Writer {
    /// Writes the lowest `width` bits, 64 at most.
    pub(super) fn bits(&mut self, value: u64, width: u32) {
        let mut left = width;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let taken = left.min(self.free);
            let chunk = (value >> (left - taken)) & ((1 << taken) - 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= (chunk << (self.free - taken)) as u8;
            }
            self.free -= taken;
            left -= taken;
        }
    }

    /// Writes a number from 1; 0 counts as 1.
    pub(super) fn gamma(&mut self, value: u64) {
        let log = value.max(1).ilog2();
        self.bits(0, log);
        self.bits(value.max(1), log + 1);
    }

    /// Returns the bytes; the last is filled up with zeros.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Returns how many bits [`Writer::gamma`] writes.
pub(super) fn gamma_bits(value: u64) -> u64 {
    u64::from(2 * value.max(1).ilog2() + 1)
}

/// Reads what a [`Writer`] wrote; `None` where the bits end or make no number.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Bits read.
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn bits(&mut self, width: u32) -> Option<u64> {
        if width > 64 {
            return None;
        }
        let mut value = 0;
        for _ in 0..width {
            value = value << 1 | u64::from(self.bit()?);
        }
        Some(value)
    }

    pub(super) fn gamma(&mut self) -> Option<u64> {
        let mut log = 0;
        while !self.bit()? {
            log += 1;
        }
        let below = if log < 64 { self.bits(log)? } else { return None };
        Some(1 << log | below)
    }

    /// Says whether nothing is left but the zeros that fill the last byte.
    pub(super) fn is_at_end(&mut self) -> bool {
        let left = self.bytes.len() * 8 - self.at;
        left < 8 && (0..left).all(|_| self.bit() == Some(false))
    }

    fn bit(&mut self) -> Option<bool> {
        let byte = *self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_numbers_cost_few_bits() {
        for (value, bits) in [(1, 1), (2, 3), (3, 3), (4, 5), (7, 5), (1_000_000, 39)] {
            assert_eq!(gamma_bits(value), bits, "{value}");
        }
    }

    proptest! {
        #[test]
        fn numbers_come_back_and_cost_what_is_said(
            values in prop::collection::vec((1u64.., 0u32..=64, any::<u64>()), 0..40)
        ) {
            let masked = |width: u32, raw: u64| if width == 0 { 0 } else { raw >> (64 - width) };
            let (mut writer, mut bits) = (Writer::default(), 0);
            for (number, width, raw) in &values {
                writer.gamma(*number);
                writer.bits(masked(*width, *raw), *width);
                bits += gamma_bits(*number) + u64::from(*width);
            }
            let bytes = writer.into_bytes();
            prop_assert_eq!(bytes.len() as u64, bits.div_ceil(8));
            let mut reader = Reader::new(&bytes);
            for (number, width, raw) in &values {
                prop_assert_eq!(reader.gamma(), Some(*number));
                prop_assert_eq!(reader.bits(*width), Some(masked(*width, *raw)));
            }
            prop_assert!(reader.is_at_end());
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..64), widths in any::<[u32; 4]>()
        ) {
            let mut reader = Reader::new(&bytes);
            while reader.gamma().is_some() {}
            let mut reader = Reader::new(&bytes);
            for width in widths {
                let _ = reader.bits(width % 80);
            }
            let _ = reader.is_at_end();
        }
    }
}
