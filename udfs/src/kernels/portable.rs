//! Plain Rust, which the compiler turns into whatever vector instructions all processors of the
//! target have.

use std::array::from_fn;

use super::register::Register;

/// Lanes of the register: more than the processor's, so that loops over them become several
/// instructions that do not wait for each other.
const WIDTH: usize = 16;

/// A register of an imagined processor.
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; WIDTH]);

impl Register for Portable {
    const WIDTH: usize = WIDTH;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; WIDTH])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller has so many floats there; they are read unaligned.
        Self(unsafe { from.cast::<[f32; WIDTH]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        let mut padded = [0.0; WIDTH];
        for (i, lane) in padded.iter_mut().take(count).enumerate() {
            // SAFETY: `i` is below `count`, and the caller has so many floats there.
            *lane = unsafe { from.add(i).read_unaligned() };
        }
        Self(padded)
    }

    #[inline(always)]
    unsafe fn load_half(from: *const u16) -> Self {
        // SAFETY: the caller has so many numbers there; they are read unaligned.
        let halves = unsafe { from.cast::<[u16; WIDTH]>().read_unaligned() };
        Self(halves.map(widen))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller has room for so many floats there.
        unsafe { to.cast::<[f32; WIDTH]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] + other.0[i]))
    }

    #[inline(always)]
    unsafe fn subtract(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] - other.0[i]))
    }

    #[inline(always)]
    unsafe fn absolute(self) -> Self {
        Self(self.0.map(f32::abs))
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, addend: Self) -> Self {
        Self(from_fn(|i| {
            // Without the instruction it is a call of a function, some fifty times slower.
            if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
                self.0[i].mul_add(factor.0[i], addend.0[i])
            } else {
                self.0[i] * factor.0[i] + addend.0[i]
            }
        }))
    }
}

/// `f16` to `f32` by shifts of bits, without a branch, so that the compiler makes vectors of it: the exponent is moved by a
/// multiplication, which is exact and normalises subnormal numbers (the method of Fabian Giesen's
/// `half_to_float_fast5`).
#[inline(always)]
fn widen(half: u16) -> f32 {
    const MOVE_EXPONENT: f32 = f32::from_bits((254 - 15) << 23);
    const INFINITE_FROM: f32 = f32::from_bits((127 + 16) << 23);
    let magnitude = f32::from_bits(u32::from(half & 0x7fff) << 13) * MOVE_EXPONENT;
    let special = if magnitude >= INFINITE_FROM {
        0xff << 23
    } else {
        0
    };
    let sign = u32::from(half & 0x8000) << 16;
    f32::from_bits(magnitude.to_bits() | special | sign)
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn all_halves_are_widened() {
        for bits in 0..=u16::MAX {
            let expected = f16::from_bits(bits).to_f32();
            let widened = widen(bits);
            let equal = widened.to_bits() == expected.to_bits();
            assert!(
                equal || (widened.is_nan() && expected.is_nan()),
                "{bits:#x}"
            );
        }
    }
}
