//! Matrix products, by the `gemm` crate on one thread.
//!
//! The crate chooses its kernel by the processor, and two of its choices change the order in which
//! products are added: short results are summed in vector lanes, and long sums are cut where the
//! first-level cache ends. Both are kept away from here (small results are computed in place, long
//! sums are cut at [`LONGEST`]), so each element is one chain of fused multiply-adds over the inner
//! dimension, and AVX2 and AVX-512 give the same bits.

use gemm::Parallelism;

use super::kernels::vectorised;

/// Terms of a sum that the crate adds in one go on every machine (its blocks are at least this).
const LONGEST: usize = 512;

/// Results up to this many elements could take the crate's lane-wise kernels.
const SMALL: usize = 256;

/// A matrix that lies somewhere in a buffer, perhaps transposed.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_step: usize,
    col_step: usize,
}

impl<'a> View<'a> {
    /// `rows` × `cols`, each row directly after the one before.
    pub(crate) fn dense(data: &'a [f32], rows: usize, cols: usize) -> View<'a> {
        View::stepped(data, rows, cols, cols)
    }

    /// `rows` × `cols`, where a row begins `step` elements after the one before.
    pub(crate) fn stepped(data: &'a [f32], rows: usize, cols: usize, step: usize) -> View<'a> {
        View { data, rows, cols, row_step: step, col_step: 1 }
    }

    /// The same matrix with rows and columns exchanged.
    pub(crate) fn transposed(self) -> View<'a> {
        View {
            rows: self.cols,
            cols: self.rows,
            row_step: self.col_step,
            col_step: self.row_step,
            ..self
        }
    }

    fn fits(&self) -> bool {
        self.rows == 0
            || self.cols == 0
            || (self.rows - 1) * self.row_step + (self.cols - 1) * self.col_step < self.data.len()
    }
}

/// `out = left · right`, or `out += left · right` where `add`; a row of `out` begins `step`
/// elements after the one before.
///
/// # Panics
/// When the shapes do not fit together or reach past a buffer.
pub(crate) fn product(out: &mut [f32], step: usize, left: View<'_>, right: View<'_>, add: bool) {
    let (rows, cols, inner) = (left.rows, right.cols, left.cols);
    assert_eq!(inner, right.rows, "inner dimensions of a matrix product");
    assert!(left.fits() && right.fits(), "a factor reaches past its buffer");
    if rows == 0 || cols == 0 {
        return;
    }
    assert!(step >= cols && (rows - 1) * step + cols <= out.len(), "a product past its buffer");
    if rows * cols <= SMALL || rows == 1 || cols == 1 || inner <= 2 {
        return small_product(out, step, left, right, add);
    }
    let mut start = 0;
    while start < inner {
        let terms = LONGEST.min(inner - start);
        #[expect(unsafe_code, reason = "the gemm crate takes pointers")]
        // SAFETY: `fits` showed that every element of both factors lies in its slice, the assert
        // above that every element of the product lies in `out`; `out` is borrowed exclusively, so
        // nothing overlaps, and steps are in elements and far below `isize::MAX`.
        unsafe {
            gemm::gemm(
                rows,
                cols,
                terms,
                out.as_mut_ptr(),
                1,
                step as isize,
                add || start > 0,
                left.data.as_ptr().add(start * left.col_step),
                left.col_step as isize,
                left.row_step as isize,
                right.data.as_ptr().add(start * right.row_step),
                right.col_step as isize,
                right.row_step as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
        start += terms;
    }
}

vectorised! {
    /// The same by hand, in the same order of additions.
    fn small_product(out: &mut [f32], step: usize, left: View<'_>, right: View<'_>, add: bool) {
        for row in 0..left.rows {
            for col in 0..right.cols {
                let cell = &mut out[row * step + col];
                if !add {
                    *cell = 0.0;
                }
                let mut start = 0;
                while start < left.cols {
                    let end = left.cols.min(start + LONGEST);
                    let mut sum = 0f32;
                    for i in start..end {
                        let l = left.data[row * left.row_step + i * left.col_step];
                        let r = right.data[i * right.row_step + col * right.col_step];
                        sum = l.mul_add(r, sum);
                    }
                    *cell += sum;
                    start = end;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    /// Products of all orientations and sizes equal the plain chain of multiply-adds, bit for bit.
    #[test]
    fn products_are_plain_chains() {
        for (rows, inner, cols) in
            [(1, 40, 9), (17, 32, 17), (64, 32, 137), (33, 600, 65), (128, 1100, 20), (5, 3, 300)]
        {
            let a = numbers(rows * inner, 1);
            let b = numbers(inner * cols, 2);
            let seed = numbers(rows * cols, 3);
            for (ta, tb, add) in [
                (false, false, false),
                (true, false, true),
                (false, true, true),
                (true, true, false),
            ] {
                let left = if ta {
                    View::dense(&a, inner, rows).transposed()
                } else {
                    View::dense(&a, rows, inner)
                };
                let right = if tb {
                    View::dense(&b, cols, inner).transposed()
                } else {
                    View::dense(&b, inner, cols)
                };
                let (mut fast, mut slow) = (seed.clone(), seed.clone());
                product(&mut fast, cols, left, right, add);
                small_product(&mut slow, cols, left, right, add);
                assert_eq!(fast, slow, "{rows}x{inner}x{cols} {ta} {tb} {add}");
            }
        }
    }
}
