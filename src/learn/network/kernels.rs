//! Everything between the matrix products: norms, rotary positions, softmax, SwiGLU, the loss.
//!
//! Plain Rust, compiled twice: for any processor, and for those with AVX2 and FMA (chosen when it
//! runs). Both give the same bits, because the order of every sum is written down: [`dot`] adds in
//! [`LANES`] lanes whatever the vectors' width, `mul_add` is exact everywhere, and [`exp`] is a
//! polynomial of our own and not the system's.

/// Whether the processor has what the second compilation needs.
#[cfg(target_arch = "x86_64")]
pub(crate) fn is_wide() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
}

/// Compiles a function twice, see the module, and calls the version that the processor can run.
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $kind:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "kernels take their buffers one by one")]
        $vis fn $name($($arg: $kind),*) $(-> $out)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            fn plain($($arg: $kind),*) $(-> $out)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments, reason = "as above")]
                fn wide($($arg: $kind),*) $(-> $out)? {
                    plain($($arg),*)
                }
                if $crate::learn::network::kernels::is_wide() {
                    #[expect(unsafe_code, reason = "needs the processor features just checked")]
                    // SAFETY: the processor has AVX2 and FMA.
                    return unsafe { wide($($arg),*) };
                }
            }
            plain($($arg),*)
        }
    };
}
pub(crate) use vectorised;

/// Lanes of a sum over a row.
pub(crate) const LANES: usize = 16;

/// Adds lanes pairwise, always in the same order.
#[inline(always)]
fn fold(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The sum of the products of two rows.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_whole.iter().zip(b_whole) {
        for i in 0..LANES {
            lanes[i] = x[i].mul_add(y[i], lanes[i]);
        }
    }
    for (i, (x, y)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[i] = x.mul_add(*y, lanes[i]);
    }
    fold(lanes)
}

#[inline(always)]
fn sum(a: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (whole, rest) = a.as_chunks::<LANES>();
    for x in whole {
        for i in 0..LANES {
            lanes[i] += x[i];
        }
    }
    for (i, x) in rest.iter().enumerate() {
        lanes[i] += x;
    }
    fold(lanes)
}

#[inline(always)]
fn largest(a: &[f32]) -> f32 {
    let mut lanes = [f32::MIN; LANES];
    let (whole, rest) = a.as_chunks::<LANES>();
    for x in whole {
        for i in 0..LANES {
            lanes[i] = if x[i] > lanes[i] { x[i] } else { lanes[i] };
        }
    }
    for (i, x) in rest.iter().enumerate() {
        lanes[i] = if *x > lanes[i] { *x } else { lanes[i] };
    }
    lanes.iter().fold(f32::MIN, |m, x| if *x > m { *x } else { m })
}

/// e to the `x`, to about one unit in the last place; finite for every finite `x`.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Cephes' expf: x = n ln 2 + r, and a polynomial for e^r. Adding 1.5 * 2^23 rounds to the
    // nearest whole number and leaves it in the low bits, ready to become an exponent.
    const MAGIC: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4f32;
    p = p.mul_add(r, 1.398_199_9e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 0.5);
    let power = (p * r).mul_add(r, r) + 1.0;
    power * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

vectorised! {
    /// Divides each row of `x` by its root mean square and multiplies it with `gain`; `scales` keeps
    /// the reciprocal roots for the way back.
    pub(crate) fn rms_norm(out: &mut [f32], scales: &mut [f32], x: &[f32], gain: &[f32], eps: f32) {
        let width = gain.len();
        for ((out, x), scale) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(scales) {
            *scale = 1.0 / (dot(x, x) / width as f32 + eps).sqrt();
            for ((o, x), g) in out.iter_mut().zip(x).zip(gain) {
                *o = x * *scale * g;
            }
        }
    }
}

vectorised! {
    /// The way back through [`rms_norm`]: adds to `dx` and to `dgain`.
    pub(crate) fn rms_norm_back(
        dx: &mut [f32], dgain: &mut [f32], dout: &[f32], x: &[f32], scales: &[f32], gain: &[f32],
    ) {
        let width = gain.len();
        let rows = dx.chunks_exact_mut(width).zip(dout.chunks_exact(width)).zip(x.chunks_exact(width));
        for (((dx, dout), x), scale) in rows.zip(scales) {
            row_norm_back(dx, dgain, dout, x, *scale, gain);
        }
    }
}

#[inline(always)]
fn row_norm_back(
    dx: &mut [f32],
    dgain: &mut [f32],
    dout: &[f32],
    x: &[f32],
    scale: f32,
    gain: &[f32],
) {
    // With n = x * scale and w = dout * gain: dx = scale * (w - n * mean(w * n)).
    let mut lanes = [0f32; LANES];
    for (i, ((d, x), g)) in dout.iter().zip(x).zip(gain).enumerate() {
        lanes[i % LANES] += d * g * x;
    }
    let mean = fold(lanes) * scale / x.len() as f32;
    let terms = dx.iter_mut().zip(dgain).zip(dout).zip(x).zip(gain);
    for ((((dx, dg), d), x), g) in terms {
        let n = x * scale;
        *dg += d * n;
        *dx += scale * (d * g - n * mean);
    }
}

/// Cosines and sines of all positions: `head_dim / 2` of each per position.
pub(crate) struct Rope {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
}

impl Rope {
    pub(crate) fn new(head_dim: usize, theta: f64, positions: usize) -> Rope {
        let half = head_dim / 2;
        let angle = |i: usize| {
            let exponent = 2.0 * (i % half) as f64 / head_dim as f64;
            (i / half) as f64 / theta.powf(exponent)
        };
        let cos = (0..positions * half).map(|i| angle(i).cos() as f32).collect();
        let sin = (0..positions * half).map(|i| angle(i).sin() as f32).collect();
        Rope { cos, sin, half }
    }

    #[inline(always)]
    fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let range = position * self.half..(position + 1) * self.half;
        (&self.cos[range.clone()], &self.sin[range])
    }
}

/// Heads to normalise and rotate: `heads` of them in each row, from column `from` of the input (rows
/// of `in_step`) to column `to` of the output (rows of `out_step`).
#[derive(Clone, Copy)]
pub(crate) struct Heads<'a> {
    pub(crate) heads: usize,
    pub(crate) from: usize,
    pub(crate) in_step: usize,
    pub(crate) to: usize,
    pub(crate) out_step: usize,
    pub(crate) gain: &'a [f32],
    pub(crate) eps: f32,
    pub(crate) rope: &'a Rope,
    /// The position of each row.
    pub(crate) positions: &'a [u32],
}

vectorised! {
    /// Normalises each head of each row and rotates it by the row's position.
    pub(crate) fn norm_and_rotate(
        out: &mut [f32], scales: &mut [f32], x: &[f32], which: Heads<'_>,
    ) {
        let Heads { gain, eps, rope, positions, .. } = which;
        let (dim, half) = (gain.len(), gain.len() / 2);
        for (row, position) in positions.iter().enumerate() {
            let (cos, sin) = rope.at(*position as usize);
            for head in 0..which.heads {
                let x = &x[row * which.in_step + which.from + head * dim..][..dim];
                let out = &mut out[row * which.out_step + which.to + head * dim..][..dim];
                let scale = 1.0 / (dot(x, x) / dim as f32 + eps).sqrt();
                scales[row * which.heads + head] = scale;
                let (low, high) = out.split_at_mut(half);
                for i in 0..half {
                    let a = x[i] * scale * gain[i];
                    let b = x[i + half] * scale * gain[i + half];
                    low[i] = a * cos[i] - b * sin[i];
                    high[i] = b * cos[i] + a * sin[i];
                }
            }
        }
    }
}

vectorised! {
    /// The way back through [`norm_and_rotate`]: writes `dx`, adds to `dgain`. `dout` is turned back
    /// in place on the way.
    pub(crate) fn norm_and_rotate_back(
        dx: &mut [f32], dgain: &mut [f32], dout: &mut [f32], x: &[f32], scales: &[f32],
        which: Heads<'_>,
    ) {
        let Heads { gain, rope, positions, .. } = which;
        let (dim, half) = (gain.len(), gain.len() / 2);
        for (row, position) in positions.iter().enumerate() {
            let (cos, sin) = rope.at(*position as usize);
            for head in 0..which.heads {
                let from = row * which.in_step + which.from + head * dim;
                let dout = &mut dout[row * which.out_step + which.to + head * dim..][..dim];
                let (low, high) = dout.split_at_mut(half);
                for i in 0..half {
                    let (a, b) = (low[i], high[i]);
                    low[i] = a * cos[i] + b * sin[i];
                    high[i] = b * cos[i] - a * sin[i];
                }
                let dx = &mut dx[from..][..dim];
                dx.fill(0.0);
                let scale = scales[row * which.heads + head];
                row_norm_back(dx, dgain, dout, &x[from..][..dim], scale, gain);
            }
        }
    }
}

vectorised! {
    /// Softmax of each row's first `first + row + 1` columns times `scale`; the columns after them,
    /// up to `cols`, are the future and become 0. A row begins `step` after the one before.
    pub(crate) fn causal_softmax(scores: &mut [f32], step: usize, cols: usize, first: usize, scale: f32) {
        for (row, scores) in scores.chunks_mut(step).enumerate() {
            let (past, future) = scores[..cols].split_at_mut(first + row + 1);
            softmax_row(past, scale);
            future.fill(0.0);
        }
    }
}

/// Softmax of a row times `scale`.
#[inline(always)]
pub(crate) fn softmax_row(row: &mut [f32], scale: f32) {
    let top = largest(row) * scale;
    for x in row.iter_mut() {
        *x = exp(*x * scale - top);
    }
    let share = 1.0 / sum(row);
    for x in row.iter_mut() {
        *x *= share;
    }
}

vectorised! {
    /// The way back through a softmax: `dp`, gradients of the probabilities `p` (rows of `cols`
    /// columns, `p`'s rows `step` apart), become those of the scores before `scale`.
    pub(crate) fn softmax_back(dp: &mut [f32], p: &[f32], step: usize, cols: usize, scale: f32) {
        for (dp, p) in dp.chunks_exact_mut(cols).zip(p.chunks(step)) {
            let p = &p[..cols];
            let mean = dot(dp, p);
            for (d, p) in dp.iter_mut().zip(p) {
                *d = *p * (*d - mean) * scale;
            }
        }
    }
}

vectorised! {
    /// `silu(gate) * up` for rows that hold `gate` and `up` side by side.
    pub(crate) fn swiglu(out: &mut [f32], gate_up: &[f32], hidden: usize) {
        for (out, row) in out.chunks_exact_mut(hidden).zip(gate_up.chunks_exact(2 * hidden)) {
            let (gate, up) = row.split_at(hidden);
            for ((o, g), u) in out.iter_mut().zip(gate).zip(up) {
                *o = g / (1.0 + exp(-g)) * u;
            }
        }
    }
}

vectorised! {
    /// The way back through [`swiglu`]: `gate_up` is replaced by its gradient.
    pub(crate) fn swiglu_back(gate_up: &mut [f32], dout: &[f32], hidden: usize) {
        for (row, dout) in gate_up.chunks_exact_mut(2 * hidden).zip(dout.chunks_exact(hidden)) {
            let (gate, up) = row.split_at_mut(hidden);
            let (gate, gate_rest) = gate.as_chunks_mut::<LANES>();
            let (up, up_rest) = up.as_chunks_mut::<LANES>();
            let (dout, dout_rest) = dout.as_chunks::<LANES>();
            for ((gate, up), dout) in gate.iter_mut().zip(up).zip(dout) {
                // On copies, so that it is plain that gate and up do not overlap.
                let (mut g, mut u, d) = (*gate, *up, *dout);
                for i in 0..LANES {
                    (g[i], u[i]) = swiglu_slopes(g[i], u[i], d[i]);
                }
                (*gate, *up) = (g, u);
            }
            for ((g, u), d) in gate_rest.iter_mut().zip(up_rest).zip(dout_rest) {
                (*g, *u) = swiglu_slopes(*g, *u, *d);
            }
        }
    }
}

#[inline(always)]
fn swiglu_slopes(gate: f32, up: f32, dout: f32) -> (f32, f32) {
    let share = 1.0 / (1.0 + exp(-gate));
    let silu = gate * share;
    (dout * up * share * (1.0 + gate - silu), dout * silu)
}

vectorised! {
    /// Cross-entropy: each row of `logits` becomes its gradient times `weight`; gives the sum of
    /// the rows' losses, each `-ln p(target)`.
    pub(crate) fn cross_entropy(logits: &mut [f32], targets: &[u32], weight: f32) -> f64 {
        let mut loss = 0f64;
        if targets.is_empty() {
            return loss;
        }
        let vocab = logits.len() / targets.len();
        for (row, target) in logits.chunks_exact_mut(vocab).zip(targets) {
            softmax_row(row, 1.0);
            let p = row[*target as usize];
            loss -= f64::from(p.max(f32::MIN_POSITIVE)).ln();
            for x in row.iter_mut() {
                *x *= weight;
            }
            row[*target as usize] -= weight;
        }
        loss
    }
}

vectorised! {
    /// `out += x`.
    pub(crate) fn add(out: &mut [f32], x: &[f32]) {
        for (o, x) in out.iter_mut().zip(x) {
            *o += x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_as_good_as_the_systems() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours / exact - 1.0).abs() < 3e-7, "exp({x}) = {ours}, not {exact}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e9) > 0.0 && exp(1e9).is_finite() && exp(f32::NAN).is_nan());
    }

    #[test]
    fn both_compilations_give_the_same_bits() {
        let row: Vec<f32> = (0..137).map(|i| ((i * 37 % 101) as f32 - 50.0) / 13.0).collect();
        let mut wide = row.clone();
        causal_softmax(&mut wide, 137, 137, 136, 0.3);
        let mut plain = row.clone();
        softmax_row(&mut plain, 0.3);
        assert_eq!(wide, plain);
        assert!((wide.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}
