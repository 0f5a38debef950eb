//! Convolution against the f64 reference, over sizes around every edge of tiles, panels, blocks, runs and bands.

use vgg_runtime::reference::{self, Conv};
use vgg_runtime::*;

use super::common::*;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) channels: [usize; 2],
    pub(crate) size: [usize; 2],
    pub(crate) kernel: [usize; 2],
    pub(crate) strides: [usize; 2],
    pub(crate) pads: [usize; 4],
    pub(crate) relu: bool,
    pub(crate) pool: Option<PoolWindow>,
    pub(crate) block: usize,
    /// Rows and columns by which the input's halo exceeds the padding.
    pub(crate) spare: usize,
    /// Halo of the output.
    pub(crate) halo: [usize; 4],
    pub(crate) batch: usize,
}

pub(crate) const BASE: Case = Case {
    channels: [8, 16],
    size: [5, 7],
    kernel: [3, 3],
    strides: [1, 1],
    pads: [1; 4],
    relu: true,
    pool: None,
    block: 8,
    spare: 0,
    halo: [1; 4],
    batch: 1,
};

pub(crate) const fn window(kernel: usize, stride: usize, pad: usize, ceil_mode: bool) -> PoolWindow {
    PoolWindow { kernel: [kernel; 2], strides: [stride; 2], pads: [pad; 4], ceil_mode }
}

impl Case {
    pub(crate) fn layer(&self, algorithm: Algorithm) -> ConvDims {
        let [height, width] = self.size;
        let input = Blocked {
            channels: self.channels[0],
            height,
            width,
            block: self.block,
            halo: self.pads.map(|pad| pad + self.spare),
        };
        let convolved = self.attributes().output(nchw(input, self.batch));
        let pooled = self.pool.map_or(convolved, |window| reference::pooled(convolved, window));
        let output = Blocked {
            channels: self.channels[1],
            height: pooled.height,
            width: pooled.width,
            block: BLOCK,
            halo: self.halo,
        };
        ConvDims {
            input,
            output,
            kernel: self.kernel,
            strides: self.strides,
            pads: self.pads,
            relu: self.relu,
            pool: self.pool,
            algorithm,
            batch: self.batch,
        }
    }

    /// Every algorithm that computes this convolution.
    fn algorithms(&self) -> Vec<Algorithm> {
        let unit_stride = self.strides == [1, 1];
        let mut algorithms = vec![Algorithm::Direct];
        if self.kernel == [1, 1] && unit_stride && self.pads == [0; 4] {
            algorithms.push(Algorithm::Gemm);
        }
        if self.block == BLOCK {
            match (self.kernel, self.strides) {
                ([3, 3], [1, 1]) | ([5, 5], [2, 2]) => {
                    algorithms.extend([Algorithm::WinogradF4, Algorithm::WinogradF6]);
                }
                ([5, 5], [1, 1]) => algorithms.push(Algorithm::WinogradF4),
                _ => {}
            }
        }
        algorithms
    }

    fn attributes(&self) -> Conv {
        Conv { strides: self.strides, pads: self.pads, ..Conv::new(self.channels[1], self.kernel) }
    }

    /// Whether the padded input holds the kernel at least once, so that the layer exists.
    pub(crate) fn exists(&self) -> bool {
        (0..2).all(|axis| {
            let padded = self.size[axis] + self.pads[axis] + self.pads[axis + 2];
            padded >= self.kernel[axis]
                && self.pool.is_none_or(|window| {
                    window.windows(axis, (padded - self.kernel[axis]) / self.strides[axis] + 1) > 0
                })
        })
    }

    pub(crate) fn check(&self) {
        let mut random = Random::new(7);
        let shape = nchw(self.layer(Algorithm::Direct).input, self.batch);
        let input = random.values(shape.len());
        let taps = self.channels[0] * self.kernel[0] * self.kernel[1];
        let weight = random.values(self.channels[1] * taps);
        let bias = random.values(self.channels[1]);

        // The error of a sum of n products in any order is at most n units of the sum of their absolute values.
        let magnitudes = |values: &[f32]| values.iter().map(|value| f64::from(value.abs())).collect::<Vec<_>>();
        let attributes = self.attributes();
        let bounds = reference::conv(&magnitudes(&input), shape, &magnitudes(&weight), &magnitudes(&bias), attributes);
        let mut bounds: Vec<f64> = bounds.iter().map(|bound| bound * (taps + 1) as f64 * UNIT).collect();
        let mut expected = reference::conv(&double(&input), shape, &double(&weight), &double(&bias), attributes);
        if self.relu {
            expected = reference::relu(&expected);
        }
        if let Some(window) = self.pool {
            let convolved = attributes.output(shape);
            expected = reference::max_pool(&expected, convolved, window);
            bounds = reference::max_pool(&bounds, convolved, window);
        }

        for algorithm in self.algorithms() {
            let dims = self.layer(algorithm);
            // The largest value that an input, a weight and a bias of at most 1 can give scales the error of transforms, which mix the
            // inputs of a tile.
            let largest = (taps + 1) as f64;
            let bounds: Vec<f64> = match algorithm {
                Algorithm::WinogradF4 if taps == 9 * self.channels[0] => vec![largest * 100.0 * UNIT; bounds.len()],
                Algorithm::WinogradF4 | Algorithm::WinogradF6 => vec![largest * 400.0 * UNIT; bounds.len()],
                _ => bounds.clone(),
            };
            let weights = PackedConv::pack(dims, &bytes(&weight), &bytes(&bias)).unwrap();
            let blocked = block(dims.input, self.batch, &input);
            for &isa in tiers() {
                let what = format!("{algorithm:?} on {}", isa.name());
                let output = run_with_all_threads(isa, &Op::Conv(dims, &weights), &blocked);
                let plain = unblock(dims.output, self.batch, &output);
                assert_within(&plain, &expected, &bounds, &what);

                let alone = ConvDims { batch: 1, ..dims };
                let images = blocked.chunks(dims.input.len()).zip(output.chunks(dims.output.len()));
                for (image, (input, output)) in images.enumerate() {
                    let single = run(isa, &Threads::single(), &Op::Conv(alone, &weights), input);
                    assert!(same_bits(&single, output), "{what}: image {image} differs from the same image alone");
                }
            }
        }
    }
}

#[test]
fn widths_around_every_tile() {
    let cases = (1..=20).flat_map(|width| {
        [([3, 3], [1; 4]), ([1, 1], [0; 4])].map(|(kernel, pads)| Case { size: [3, width], kernel, pads, ..BASE })
    });
    check_all(cases, Case::check);
}

#[test]
fn channels_around_every_block_and_panel() {
    let counts = [1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 25, 33];
    let cases = counts.iter().flat_map(|&input| {
        counts.iter().flat_map(move |&output| {
            [1, 8].map(|block| Case { channels: [input, output], block, size: [3, 4], ..BASE })
        })
    });
    check_all(cases, Case::check);
}

#[test]
fn kernels_strides_and_pads() {
    let mut cases = Vec::new();
    for kernel in [[1, 1], [2, 2], [3, 3], [5, 5], [7, 7], [11, 11], [3, 5], [5, 1], [1, 4]] {
        for strides in [[1, 1], [2, 2], [4, 4], [1, 3], [2, 1]] {
            for pads in [[0; 4], [kernel[0] / 2, kernel[1] / 2, kernel[0] / 2, kernel[1] / 2], [1, 2, 3, 0]] {
                for block in [1, 8] {
                    let channels = if block == 1 { [3, 16] } else { [9, 17] };
                    cases.push(Case { kernel, strides, pads, block, channels, size: [12, 13], ..BASE });
                }
            }
        }
    }
    check_all(cases.into_iter().filter(Case::exists), Case::check);
}

#[test]
fn pools_of_every_kind() {
    let windows = [
        window(2, 2, 0, false),
        window(2, 2, 0, true),
        window(3, 2, 0, true),
        window(3, 2, 0, false),
        window(3, 3, 0, true),
        window(2, 1, 0, false),
        window(3, 2, 1, false),
        window(3, 1, 1, true),
        window(2, 3, 1, true),
        PoolWindow { kernel: [2, 3], strides: [3, 1], pads: [1, 0, 0, 2], ceil_mode: true },
    ];
    let cases = windows.into_iter().flat_map(|pool| {
        (1..=9).flat_map(move |height| {
            [4, 7, 13].map(|width| Case { pool: Some(pool), size: [height, width], channels: [8, 24], ..BASE })
        })
    });
    check_all(cases.filter(Case::exists), Case::check);
}

#[test]
fn negative_maxima_survive_a_pool_without_relu() {
    let cases = [window(2, 2, 0, false), window(3, 2, 1, true)].map(|pool| Case {
        relu: false,
        pool: Some(pool),
        size: [7, 7],
        channels: [3, 9],
        block: 1,
        ..BASE
    });
    check_all(cases, Case::check);
}

#[test]
fn halos_of_every_kind() {
    let mut cases = Vec::new();
    for halo in [[0; 4], [1; 4], [2, 0, 1, 3], [5; 4]] {
        for spare in [0, 1, 3] {
            for pool in [None, Some(window(2, 2, 0, true))] {
                cases.push(Case { halo, spare, pool, channels: [8, 24], ..BASE });
                cases.push(Case { halo, spare, pool, kernel: [1, 1], pads: [0; 4], channels: [8, 24], ..BASE });
            }
        }
    }
    check_all(cases, Case::check);
}

#[test]
fn pointwise_convolutions_over_long_rows() {
    let cases = [[1, 1], [2, 3], [5, 7], [7, 7], [14, 14], [13, 13], [1, 521], [20, 29]].into_iter().flat_map(|size| {
        [1, 2].map(|batch| Case { size, batch, kernel: [1, 1], pads: [0; 4], halo: [0; 4], channels: [24, 40], ..BASE })
    });
    check_all(cases, Case::check);
}

#[test]
fn sums_that_wait_between_runs_of_input_blocks() {
    let mut cases = Vec::new();
    for input in [112, 113, 136, 240, 300] {
        for pool in [None, Some(window(2, 2, 0, false))] {
            cases.push(Case { channels: [input, 24], size: [4, 7], pool, ..BASE });
        }
    }
    cases.push(Case { channels: [24, 9], kernel: [11, 11], pads: [5; 4], size: [6, 6], ..BASE });
    cases.push(Case { channels: [9, 9], kernel: [33, 33], pads: [16; 4], size: [3, 3], ..BASE });
    check_all(cases, Case::check);
}

#[test]
fn images_of_several_bands() {
    let mut cases = Vec::new();
    for pool in [None, Some(window(2, 2, 0, false)), Some(window(3, 2, 0, true)), Some(window(3, 1, 1, false))] {
        for size in [[11, 200], [40, 61], [3, 1100]] {
            cases.push(Case { channels: [3, 20], block: 1, size, pool, ..BASE });
        }
    }
    check_all(cases, Case::check);
}

#[test]
fn batches() {
    let cases = [2, 3, 5].into_iter().flat_map(|batch| {
        [None, Some(window(2, 2, 0, false))].map(|pool| Case { batch, pool, channels: [16, 24], ..BASE })
    });
    check_all(cases, Case::check);
}

#[test]
fn random_layers() {
    let mut random = Random::new(11);
    let mut cases = Vec::new();
    while cases.len() < 300 {
        let pads = [(); 4].map(|()| random.below(3));
        let case = Case {
            channels: [random.below(40) + 1, random.below(40) + 1],
            size: [random.below(16) + 1, random.below(16) + 1],
            kernel: [random.below(5) + 1, random.below(5) + 1],
            strides: [random.below(3) + 1, random.below(3) + 1],
            pads,
            relu: random.below(2) == 0,
            pool: random.pick(&[
                None,
                None,
                Some(window(2, 2, 0, false)),
                Some(window(3, 2, 1, true)),
                Some(window(2, 1, 0, true)),
            ]),
            block: random.pick(&[1, 8]),
            spare: random.below(2),
            halo: [(); 4].map(|()| random.below(3)),
            batch: random.below(2) + 1,
        };
        if case.exists() {
            cases.push(case);
        }
    }
    check_all(cases, Case::check);
}

layer!(
    /// A layer whose dimensions are constants, as in generated code.
    Static: ConvDims = ConvDims {
        input: Blocked { channels: 9, height: 5, width: 8, block: 8, halo: [1; 4] },
        output: Blocked { channels: 20, height: 2, width: 4, block: 8, halo: [0; 4] },
        kernel: [3, 3],
        strides: [1, 1],
        pads: [1; 4],
        relu: true,
        pool: Some(window(2, 2, 0, false)),
        algorithm: Algorithm::Direct,
        batch: 1,
    }
);

struct StaticCall<'a>(&'a [f32], &'a PackedConv, &'a mut [f32]);

impl Program for StaticCall<'_> {
    type Output = ();

    fn run<S: Simd>(self, simd: S) {
        let threads = Threads::single();
        let mut scratch = Scratch::new(ops::conv_scratch_len(Static.dims()), &threads);
        ops::conv(simd, &threads, Static, self.0, self.1, self.2, &mut scratch);
    }
}

#[test]
fn constant_and_dynamic_dimensions_give_the_same_bits() {
    let dims = Static.dims();
    let mut random = Random::new(3);
    let weights = PackedConv::pack(dims, &bytes(&random.values(20 * 9 * 9)), &bytes(&random.values(20))).unwrap();
    let input = block(dims.input, 1, &random.values(9 * 5 * 8));
    for &isa in tiers() {
        let mut output = vec![f32::NAN; dims.output.len()];
        isa.run(StaticCall(&input, &weights, &mut output));
        assert!(same_bits(&output, &run(isa, &Threads::single(), &Op::Conv(dims, &weights), &input)), "{}", isa.name());
    }
}

#[test]
fn a_wrong_length_or_foreign_weights_panic_before_anything_is_written() {
    let dims = BASE.layer(Algorithm::Direct);
    let weights = PackedConv::pack(dims, &[0; 16 * 8 * 9 * 4], &[0; 16 * 4]).unwrap();
    let input = vec![0.0; dims.input.len()];
    let panics = |dims: ConvDims, input: &[f32]| {
        std::panic::catch_unwind(|| run(Isa::Portable, &Threads::single(), &Op::Conv(dims, &weights), input)).is_err()
    };
    assert!(!panics(dims, &input));
    assert!(panics(dims, &input[1..]));
    assert!(panics(ConvDims { batch: 2, ..dims }, &input));
    assert!(panics(ConvDims { pads: [2; 4], ..dims }, &input));
    assert!(panics(ConvDims { output: Blocked { channels: 17, ..dims.output }, ..dims }, &input));
    assert!(panics(ConvDims { kernel: [3, 2], ..dims }, &input));
    for algorithm in [Algorithm::Gemm, Algorithm::WinogradF4, Algorithm::WinogradF6] {
        assert!(panics(ConvDims { algorithm, ..dims }, &input));
    }
}
