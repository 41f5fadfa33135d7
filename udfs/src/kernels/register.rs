//! What the kernels ask of an instruction set.

/// Lanes of one sum; see the order of additions in [`super`].
pub(super) const LANES: usize = 32;

/// A register of `f32` lanes.
///
/// All functions are `unsafe` and inlined: they may only be called, transitively, from a function
/// that enables the target features of the implementation, on a processor that has them. Pointers
/// need no alignment.
pub(super) trait Register: Copy {
    /// Lanes of the register; a divisor of 16.
    const WIDTH: usize;

    /// Zeros.
    unsafe fn zero() -> Self;

    /// [`Self::WIDTH`] floats.
    ///
    /// # Safety
    /// As many `f32` can be read at `from`.
    unsafe fn load(from: *const f32) -> Self;

    /// `count` floats, fewer than [`Self::WIDTH`], and zeros.
    ///
    /// # Safety
    /// As many `f32` can be read at `from`.
    unsafe fn load_part(from: *const f32, count: usize) -> Self;

    /// [`Self::WIDTH`] 16-bit floats, widened.
    ///
    /// # Safety
    /// As many `u16` can be read at `from`.
    unsafe fn load_half(from: *const u16) -> Self;

    /// `count` 16-bit floats, fewer than [`Self::WIDTH`], widened, and zeros.
    ///
    /// # Safety
    /// As many `u16` can be read at `from`.
    #[inline(always)]
    unsafe fn load_half_part(from: *const u16, count: usize) -> Self {
        let mut padded = [0_u16; 16];
        // SAFETY: the caller has `count` numbers at `from`; the array has 16, and no register more.
        unsafe {
            std::ptr::copy_nonoverlapping(
                from.cast::<u8>(),
                padded.as_mut_ptr().cast::<u8>(),
                count.min(padded.len()) * size_of::<u16>(),
            );
            Self::load_half(padded.as_ptr())
        }
    }

    /// Writes all lanes.
    ///
    /// # Safety
    /// [`Self::WIDTH`] `f32` can be written at `to`.
    unsafe fn store(self, to: *mut f32);

    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;

    /// `self - other`.
    unsafe fn subtract(self, other: Self) -> Self;

    /// The absolute values.
    unsafe fn absolute(self) -> Self;

    /// `self * factor + addend`.
    unsafe fn multiply_add(self, factor: Self, addend: Self) -> Self;

    /// The sum of half of the lanes of a sum, to which the other half was added; in the order of [`super`].
    #[inline(always)]
    unsafe fn total(lanes: &[f32; LANES / 2]) -> f64 {
        // Loops: what the standard library does not inline has no target features.
        let mut sums = [0_f64; 8];
        for i in 0..8 {
            sums[i] = f64::from(lanes[i]) + f64::from(lanes[i + 8]);
        }
        for i in 0..4 {
            sums[i] += sums[i + 4];
        }
        (sums[0] + sums[2]) + (sums[1] + sums[3])
    }
}
