//! AVX2 with FMA and F16C, and AVX-512.

use std::arch::x86_64::*;

use super::register::{LANES, Register};

/// A register of AVX2.
#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256);

/// A register of AVX-512.
#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512);

// SAFETY of every block below: the caller has enabled the target features (`Register`), and has
// the memory that loads and stores touch; all of them are unaligned ones, masked lanes are not
// touched.

impl Register for Avx2 {
    const WIDTH: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm256_setzero_ps()) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm256_loadu_ps(from)) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        // SAFETY: see above.
        unsafe {
            let places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), places);
            Self(_mm256_maskload_ps(from, mask))
        }
    }

    #[inline(always)]
    unsafe fn load_half(from: *const u16) -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm256_cvtph_ps(_mm_loadu_si128(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm256_add_ps(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn subtract(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm256_sub_ps(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn absolute(self) -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0)) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm256_fmadd_ps(self.0, factor.0, addend.0)) }
    }

    #[inline(always)]
    unsafe fn total(lanes: &[f32; LANES / 2]) -> f64 {
        let from = lanes.as_ptr();
        // SAFETY: see above; the 16 lanes are read in fours.
        unsafe {
            let four = |at: usize| _mm256_cvtps_pd(_mm_loadu_ps(from.add(at)));
            let low = _mm256_add_pd(four(0), four(8));
            let high = _mm256_add_pd(four(4), four(12));
            total_of_four(_mm256_add_pd(low, high))
        }
    }
}

impl Register for Avx512 {
    const WIDTH: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm512_setzero_ps()) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm512_loadu_ps(from)) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm512_maskz_loadu_ps(first(count), from)) }
    }

    #[inline(always)]
    unsafe fn load_half(from: *const u16) -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn load_half_part(from: *const u16, count: usize) -> Self {
        // SAFETY: see above.
        unsafe {
            let halves = _mm256_maskz_loadu_epi16(first(count), from.cast());
            Self(_mm512_cvtph_ps(halves))
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm512_add_ps(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn subtract(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm512_sub_ps(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn absolute(self) -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm512_abs_ps(self.0)) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm512_fmadd_ps(self.0, factor.0, addend.0)) }
    }

    #[inline(always)]
    unsafe fn total(lanes: &[f32; LANES / 2]) -> f64 {
        let from = lanes.as_ptr();
        // SAFETY: see above; the 16 lanes are read in eights.
        unsafe {
            let low = _mm512_cvtps_pd(_mm256_loadu_ps(from));
            let high = _mm512_cvtps_pd(_mm256_loadu_ps(from.add(8)));
            let eight = _mm512_add_pd(low, high);
            let four = _mm512_extractf64x4_pd::<1>(eight);
            total_of_four(_mm256_add_pd(_mm512_castpd512_pd256(eight), four))
        }
    }
}

/// The lanes 0 and 2, and 1 and 3, added up.
///
/// # Safety
/// As [`Register`].
#[inline(always)]
unsafe fn total_of_four(four: __m256d) -> f64 {
    // SAFETY: as the caller's.
    unsafe {
        let two = _mm_add_pd(
            _mm256_castpd256_pd128(four),
            _mm256_extractf128_pd::<1>(four),
        );
        _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
    }
}

/// The mask of the first `count` of 16 lanes.
#[inline(always)]
fn first(count: usize) -> __mmask16 {
    ((1_u32 << count) - 1) as __mmask16
}
