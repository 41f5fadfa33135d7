//! NEON, which every processor of aarch64 has.

use std::arch::aarch64::*;

use super::register::Register;

/// A register of NEON.
#[derive(Clone, Copy)]
pub(super) struct Neon(float32x4_t);

// SAFETY of every block below: NEON is part of the target; the caller has the memory that loads and
// stores touch, all of them unaligned ones.

impl Register for Neon {
    const WIDTH: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see above.
        unsafe { Self(vdupq_n_f32(0.0)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see above; loaded as bytes, which have no alignment.
        unsafe { Self(vreinterpretq_f32_u8(vld1q_u8(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        let mut padded = [0_f32; 4];
        // SAFETY: the caller has `count` floats at `from`; the array has 4.
        unsafe {
            std::ptr::copy_nonoverlapping(
                from.cast::<u8>(),
                padded.as_mut_ptr().cast::<u8>(),
                count.min(padded.len()) * size_of::<f32>(),
            );
            Self::load(padded.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn load_half(from: *const u16) -> Self {
        let wide: float32x4_t;
        // SAFETY: see above; the instruction belongs to NEON, only its intrinsic is not stable yet.
        unsafe {
            let halves = vld1_u8(from.cast());
            std::arch::asm!(
                "fcvtl {wide:v}.4s, {halves:v}.4h",
                wide = out(vreg) wide,
                halves = in(vreg) halves,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        Self(wide)
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see above.
        unsafe { vst1q_u8(to.cast(), vreinterpretq_u8_f32(self.0)) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { Self(vaddq_f32(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn subtract(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { Self(vsubq_f32(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn absolute(self) -> Self {
        // SAFETY: see above.
        unsafe { Self(vabsq_f32(self.0)) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: see above.
        unsafe { Self(vfmaq_f32(addend.0, self.0, factor.0)) }
    }
}
