//! The loops: sums over pairs of a row and a query, in the one order of [`super`].

use super::register::{LANES, Register};

/// The sums of a pair: that of the measure, and where it has two, the second.
pub(super) type Sums = [f64; 2];

/// What is added up over the elements of a pair.
pub(super) trait Measure {
    /// Adds the terms of some elements to the two sums.
    ///
    /// # Safety
    /// As [`Register`].
    unsafe fn add<V: Register>(sums: [V; 2], row: V, query: V) -> [V; 2];
}

/// The squared Euclidean distance.
pub(super) struct SquaredL2;
/// The inner product.
pub(super) struct InnerProduct;
/// The taxicab distance.
pub(super) struct L1;
/// The inner product, and that of the row with itself.
pub(super) struct CosineParts;
/// The inner product of the row with itself.
pub(super) struct Norm;

impl Measure for SquaredL2 {
    #[inline(always)]
    unsafe fn add<V: Register>([sum, none]: [V; 2], row: V, query: V) -> [V; 2] {
        // SAFETY: as the caller's.
        unsafe {
            let difference = row.subtract(query);
            [difference.multiply_add(difference, sum), none]
        }
    }
}

impl Measure for InnerProduct {
    #[inline(always)]
    unsafe fn add<V: Register>([sum, none]: [V; 2], row: V, query: V) -> [V; 2] {
        // SAFETY: as the caller's.
        unsafe { [row.multiply_add(query, sum), none] }
    }
}

impl Measure for L1 {
    #[inline(always)]
    unsafe fn add<V: Register>([sum, none]: [V; 2], row: V, query: V) -> [V; 2] {
        // SAFETY: as the caller's.
        unsafe { [sum.add(row.subtract(query).absolute()), none] }
    }
}

impl Measure for CosineParts {
    #[inline(always)]
    unsafe fn add<V: Register>([dot, norm]: [V; 2], row: V, query: V) -> [V; 2] {
        // SAFETY: as the caller's.
        unsafe { [row.multiply_add(query, dot), row.multiply_add(row, norm)] }
    }
}

impl Measure for Norm {
    #[inline(always)]
    unsafe fn add<V: Register>([norm, none]: [V; 2], row: V, _: V) -> [V; 2] {
        // SAFETY: as the caller's.
        unsafe { [row.multiply_add(row, norm), none] }
    }
}

/// How the elements of a row are stored.
pub(super) trait Element: Copy {
    /// A register of elements from an address.
    ///
    /// # Safety
    /// As [`Register::load`].
    unsafe fn load<V: Register>(from: *const Self) -> V;

    /// `count` elements, fewer than a register has, and zeros.
    ///
    /// # Safety
    /// As [`Register::load_part`].
    unsafe fn load_part<V: Register>(from: *const Self, count: usize) -> V;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<V: Register>(from: *const Self) -> V {
        // SAFETY: as the caller's.
        unsafe { V::load(from) }
    }

    #[inline(always)]
    unsafe fn load_part<V: Register>(from: *const Self, count: usize) -> V {
        // SAFETY: as the caller's.
        unsafe { V::load_part(from, count) }
    }
}

/// The bits of an `f16`.
impl Element for u16 {
    #[inline(always)]
    unsafe fn load<V: Register>(from: *const Self) -> V {
        // SAFETY: as the caller's.
        unsafe { V::load_half(from) }
    }

    #[inline(always)]
    unsafe fn load_part<V: Register>(from: *const Self, count: usize) -> V {
        // SAFETY: as the caller's.
        unsafe { V::load_half_part(from, count) }
    }
}

/// The lanes of one sum as registers.
type Lanes<V, const GROUPS: usize> = [V; GROUPS];

/// One query and `sums.len()` rows of its dimension, one row after the other: rows are one stream for
/// the processor, which reads it from memory faster than several, and overlaps their additions itself.
///
/// # Safety
/// As [`Register`]; `rows` points to so many rows, at any alignment; `GROUPS * V::WIDTH` is
/// [`LANES`].
#[inline(always)]
pub(super) unsafe fn one_query<V: Register, M: Measure, E: Element, const GROUPS: usize>(
    query: &[f32],
    rows: *const E,
    sums: &mut [Sums],
) {
    for (row, sums) in sums.iter_mut().enumerate() {
        // SAFETY: `row` is below the number of rows.
        *sums = unsafe { one_row::<V, M, E, GROUPS>(query, rows.add(row * query.len())) };
    }
}

/// The sums of a query and a row.
///
/// # Safety
/// As [`one_query`].
#[inline(always)]
unsafe fn one_row<V: Register, M: Measure, E: Element, const GROUPS: usize>(
    query: &[f32],
    row: *const E,
) -> Sums {
    const { assert!(GROUPS * V::WIDTH == LANES) };
    let dimension = query.len();
    let whole = dimension - dimension % LANES;
    // SAFETY: all elements read are below the dimension.
    unsafe {
        let mut sums = [[V::zero(); GROUPS]; 2];
        for start in (0..whole).step_by(LANES) {
            for group in 0..GROUPS {
                let at = start + group * V::WIDTH;
                let (x, y) = (E::load(row.add(at)), V::load(query.as_ptr().add(at)));
                add::<V, M, GROUPS>(&mut sums, group, x, y);
            }
        }
        for group in 0..GROUPS {
            let at = whole + group * V::WIDTH;
            let count = dimension.saturating_sub(at).min(V::WIDTH);
            if count > 0 {
                let x = load_up_to(row.add(at), count);
                let y = load_up_to(query.as_ptr().add(at), count);
                add::<V, M, GROUPS>(&mut sums, group, x, y);
            }
        }
        [total(sums[0]), total(sums[1])]
    }
}

#[inline(always)]
unsafe fn add<V: Register, M: Measure, const GROUPS: usize>(
    sums: &mut [Lanes<V, GROUPS>; 2],
    group: usize,
    row: V,
    query: V,
) {
    // SAFETY: as the caller's.
    let [first, second] = unsafe { M::add([sums[0][group], sums[1][group]], row, query) };
    sums[0][group] = first;
    sums[1][group] = second;
}

/// `count` elements, at most a register.
///
/// # Safety
/// As [`Register::load_part`].
#[inline(always)]
unsafe fn load_up_to<V: Register, E: Element>(from: *const E, count: usize) -> V {
    // SAFETY: as the caller's.
    unsafe {
        if count == V::WIDTH {
            E::load(from)
        } else {
            E::load_part(from, count)
        }
    }
}

/// The lanes of a sum, added up.
///
/// # Safety
/// As [`Register`].
#[inline(always)]
unsafe fn total<V: Register, const GROUPS: usize>(groups: Lanes<V, GROUPS>) -> f64 {
    let mut lanes = [0_f32; LANES / 2];
    for group in 0..GROUPS / 2 {
        // SAFETY: half of the groups are half of the lanes.
        unsafe {
            let sum = groups[group].add(groups[group + GROUPS / 2]);
            sum.store(lanes.as_mut_ptr().add(group * V::WIDTH));
        }
    }
    // SAFETY: as the caller's.
    unsafe { V::total(&lanes) }
}

/// A tile of the product of queries and rows: `QUERIES` times `ROWS` pairs, each in one register,
/// group of lanes after group of lanes, so that a register of a row or a query serves several pairs.
///
/// # Safety
/// As [`one_query`]; `queries` are of one dimension.
#[inline(always)]
pub(super) unsafe fn tile<
    V: Register,
    M: Measure,
    E: Element,
    const GROUPS: usize,
    const QUERIES: usize,
    const ROWS: usize,
>(
    queries: [*const f32; QUERIES],
    rows: *const E,
    dimension: usize,
) -> [[f64; ROWS]; QUERIES] {
    const { assert!(GROUPS * V::WIDTH == LANES) };
    let mut lanes = [[[0_f32; LANES / 2]; ROWS]; QUERIES];
    for group in 0..GROUPS / 2 {
        // SAFETY: half of the groups are half of the lanes.
        unsafe {
            let low = tile_group::<V, M, E, QUERIES, ROWS>(queries, rows, dimension, group);
            let other = group + GROUPS / 2;
            let high = tile_group::<V, M, E, QUERIES, ROWS>(queries, rows, dimension, other);
            let pairs = low.as_flattened().iter().zip(high.as_flattened());
            for ((low, high), lanes) in pairs.zip(lanes.as_flattened_mut()) {
                low.add(*high)
                    .store(lanes.as_mut_ptr().add(group * V::WIDTH));
            }
        }
    }
    let mut sums = [[0_f64; ROWS]; QUERIES];
    for (sums, lanes) in sums.as_flattened_mut().iter_mut().zip(lanes.as_flattened()) {
        // SAFETY: as the caller's.
        *sums = unsafe { V::total(lanes) };
    }
    sums
}

/// One group of the lanes of a tile.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn tile_group<
    V: Register,
    M: Measure,
    E: Element,
    const QUERIES: usize,
    const ROWS: usize,
>(
    queries: [*const f32; QUERIES],
    rows: *const E,
    dimension: usize,
    group: usize,
) -> [[V; ROWS]; QUERIES] {
    let first = group * V::WIDTH;
    let whole = (dimension + LANES).saturating_sub(first + V::WIDTH) / LANES;
    let mut at = first;
    // SAFETY: all elements read are below the dimension.
    unsafe {
        let mut sums = [[V::zero(); ROWS]; QUERIES];
        for _ in 0..whole {
            let mut xs = [V::zero(); ROWS];
            for (row, x) in xs.iter_mut().enumerate() {
                *x = E::load(rows.add(row * dimension + at));
            }
            for (sums, query) in sums.iter_mut().zip(queries) {
                let y = V::load(query.add(at));
                for (sum, x) in sums.iter_mut().zip(xs) {
                    [*sum, _] = M::add([*sum, V::zero()], x, y);
                }
            }
            at += LANES;
        }
        if at < dimension {
            let count = dimension - at;
            for (sums, query) in sums.iter_mut().zip(queries) {
                let y = V::load_part(query.add(at), count);
                for (row, sum) in sums.iter_mut().enumerate() {
                    let x = E::load_part(rows.add(row * dimension + at), count);
                    [*sum, _] = M::add([*sum, V::zero()], x, y);
                }
            }
        }
        sums
    }
}

/// Queries of a [`query_group`].
pub(super) const QUERIES: usize = 4;

/// The first sums of [`QUERIES`] queries and `count` rows, `ROWS` rows at a time; each query has a
/// run of results.
///
/// # Safety
/// As [`one_query`]; the queries are of one dimension, and each run of results has `count` places.
#[inline(always)]
pub(super) unsafe fn query_group<
    V: Register,
    M: Measure,
    E: Element,
    const GROUPS: usize,
    const ROWS: usize,
>(
    queries: [&[f32]; QUERIES],
    rows: *const E,
    count: usize,
    results: &mut [&mut [f64]; QUERIES],
) {
    let dimension = queries[0].len();
    let pointers = queries.map(<[f32]>::as_ptr);
    // SAFETY: all rows read are below `count`.
    unsafe {
        let tiled = count - count % ROWS;
        for first in (0..tiled).step_by(ROWS) {
            let row = rows.add(first * dimension);
            let tile = tile::<V, M, E, GROUPS, QUERIES, ROWS>(pointers, row, dimension);
            for (results, sums) in results.iter_mut().zip(tile) {
                results[first..first + ROWS].copy_from_slice(&sums);
            }
        }
        for row in tiled..count {
            for (results, query) in results.iter_mut().zip(queries) {
                let row_start = rows.add(row * dimension);
                let [sum, _] = one_row::<V, M, E, GROUPS>(query, row_start);
                results[row] = sum;
            }
        }
    }
}
