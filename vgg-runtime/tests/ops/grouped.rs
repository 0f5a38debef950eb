//! Convolutions with groups and dilations.

use vgg_runtime::reference::{self, Conv};
use vgg_runtime::*;

use super::common::*;

#[derive(Clone, Copy, Debug)]
struct Case {
    channels: [usize; 2],
    groups: usize,
    size: [usize; 2],
    kernel: [usize; 2],
    strides: [usize; 2],
    pads: [usize; 4],
    dilations: [usize; 2],
    relu: bool,
    pool: Option<PoolWindow>,
    block: usize,
    halo: [usize; 4],
    batch: usize,
}

const BASE: Case = Case {
    channels: [8, 8],
    groups: 1,
    size: [6, 7],
    kernel: [3, 3],
    strides: [1, 1],
    pads: [1; 4],
    dilations: [1, 1],
    relu: false,
    pool: None,
    block: BLOCK,
    halo: [0, 1, 2, 0],
    batch: 2,
};

impl Case {
    fn attributes(&self) -> Conv {
        Conv {
            out_channels: self.channels[1],
            kernel: self.kernel,
            strides: self.strides,
            pads: self.pads,
            dilations: self.dilations,
            groups: self.groups,
        }
    }

    fn layer(&self, algorithm: GroupedAlgorithm) -> GroupedConvDims {
        let [height, width] = self.size;
        // One more than the padding, so that the two are not mixed up.
        let input = Blocked {
            channels: self.channels[0],
            height,
            width,
            block: self.block,
            halo: self.pads.map(|pad| pad + 1),
        };
        let convolved = self.attributes().output(nchw(input, 1));
        let extent = |axis, convolved| self.pool.map_or(convolved, |window| window.windows(axis, convolved));
        let output = Blocked {
            channels: self.channels[1],
            height: extent(0, convolved.height),
            width: extent(1, convolved.width),
            block: BLOCK,
            halo: self.halo,
        };
        GroupedConvDims {
            input,
            output,
            kernel: self.kernel,
            strides: self.strides,
            pads: self.pads,
            dilations: self.dilations,
            groups: self.groups,
            relu: self.relu,
            pool: self.pool,
            algorithm,
            batch: self.batch,
        }
    }

    /// Every algorithm that computes this convolution.
    fn algorithms(&self) -> Vec<GroupedAlgorithm> {
        let [inputs, outputs] = self.channels.map(|channels| channels / self.groups);
        let mut algorithms = Vec::new();
        if self.pool.is_none() {
            algorithms.push(GroupedAlgorithm::General);
            if (inputs, outputs, self.block) == (1, 1, BLOCK) {
                algorithms.push(GroupedAlgorithm::Depthwise);
            }
        }
        if self.dilations == [1, 1]
            && inputs.is_multiple_of(BLOCK)
            && outputs.is_multiple_of(BLOCK)
            && self.block == BLOCK
        {
            algorithms.push(GroupedAlgorithm::Each(Algorithm::Direct));
            match (self.kernel, self.strides) {
                ([3, 3], [1, 1]) | ([5, 5], [2, 2]) => algorithms.extend([
                    GroupedAlgorithm::Each(Algorithm::WinogradF4),
                    GroupedAlgorithm::Each(Algorithm::WinogradF6),
                ]),
                ([5, 5], [1, 1]) => algorithms.push(GroupedAlgorithm::Each(Algorithm::WinogradF4)),
                ([1, 1], [1, 1]) if self.pads == [0; 4] => algorithms.push(GroupedAlgorithm::Each(Algorithm::Gemm)),
                _ => {}
            }
        }
        algorithms
    }

    fn exists(&self) -> bool {
        let fits = |axis: usize| {
            let extent = (self.kernel[axis] - 1) * self.dilations[axis] + 1;
            self.size[axis] + self.pads[axis] + self.pads[axis + 2] >= extent
        };
        fits(0) && fits(1)
    }

    fn check(&self) {
        let mut random = Random::new(7);
        let shape = nchw(self.layer(GroupedAlgorithm::General).input, self.batch);
        let input = random.values(shape.len());
        let taps = self.channels[0] / self.groups * self.kernel[0] * self.kernel[1];
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
            expected = reference::max_pool(&expected, attributes.output(shape), window);
            bounds = reference::max_pool(&bounds, attributes.output(shape), window);
        }
        let algorithms = self.algorithms();
        assert!(!algorithms.is_empty(), "nothing computes this case");
        for algorithm in algorithms {
            let dims = self.layer(algorithm);
            let bounds: Vec<f64> = match algorithm {
                // As for convolutions without groups.
                GroupedAlgorithm::Each(Algorithm::WinogradF4 | Algorithm::WinogradF6) => {
                    vec![(taps + 1) as f64 * 400.0 * UNIT; bounds.len()]
                }
                _ => bounds.clone(),
            };
            let weights = PackedGroupedConv::pack(dims, &bytes(&weight), &bytes(&bias)).unwrap();
            let blocked = block(dims.input, self.batch, &input);
            for &isa in tiers() {
                let what = format!("{algorithm:?} on {}", isa.name());
                let output = run_with_all_threads(isa, &Op::GroupedConv(dims, &weights), &blocked);
                assert_within(&unblock(dims.output, self.batch, &output), &expected, &bounds, &what);
                let alone = GroupedConvDims { batch: 1, ..dims };
                let images = blocked.chunks(dims.input.len()).zip(output.chunks(dims.output.len()));
                for (image, (input, output)) in images.enumerate() {
                    let single = run(isa, &Threads::single(), &Op::GroupedConv(alone, &weights), input);
                    assert!(same_bits(&single, output), "{what}: image {image} differs from the same image alone");
                }
            }
        }
    }
}

#[test]
fn channels_in_groups_of_every_size() {
    let mut cases = Vec::new();
    for (groups, inputs, outputs) in [1, 2, 3, 5, 8, 9, 17].into_iter().flat_map(|groups| {
        [(1, 1), (1, 2), (2, 1), (3, 5), (4, 4), (8, 8), (9, 16), (16, 24), (8, 7)].map(|(i, o)| (groups, i, o))
    }) {
        cases.push(Case { channels: [groups * inputs, groups * outputs], groups, size: [3, 8], ..BASE });
        cases.push(Case {
            channels: [groups * inputs, groups * outputs],
            groups,
            size: [3, 4],
            relu: true,
            block: 1,
            ..BASE
        });
    }
    check_all(cases, Case::check);
}

#[test]
fn kernels_strides_pads_and_dilations() {
    let mut cases = Vec::new();
    for kernel in [[1, 1], [3, 3], [5, 5], [2, 3], [1, 4]] {
        for strides in [[1, 1], [2, 2], [1, 3]] {
            for dilations in [[1, 1], [2, 2], [1, 3], [4, 1]] {
                for pads in [[0; 4], [1; 4], [2, 0, 3, 1]] {
                    for (channels, groups) in [([9, 9], 9), ([6, 10], 2), ([16, 16], 2), ([5, 6], 1)] {
                        cases.push(Case { channels, groups, kernel, strides, pads, dilations, size: [9, 11], ..BASE });
                    }
                }
            }
        }
    }
    check_all(cases.into_iter().filter(Case::exists), Case::check);
}

#[test]
fn widths_around_every_tile() {
    let cases = (1..=20).flat_map(|width| {
        [([8, 8], 8), ([6, 6], 2), ([32, 16], 2)].map(|(channels, groups)| Case {
            channels,
            groups,
            size: [3, width],
            ..BASE
        })
    });
    check_all(cases, Case::check);
}

#[test]
fn groups_of_whole_blocks_with_a_pool() {
    let window = PoolWindow { kernel: [3, 3], strides: [2, 2], pads: [0; 4], ceil_mode: true };
    let mut cases = Vec::new();
    for (channels, groups) in [([16, 16], 2), ([32, 48], 2), ([48, 24], 3), ([16, 48], 2)] {
        for kernel in [3, 5] {
            let pads = [kernel / 2; 4];
            cases.push(Case {
                channels,
                groups,
                kernel: [kernel; 2],
                pads,
                pool: Some(window),
                relu: true,
                size: [9, 8],
                ..BASE
            });
        }
    }
    check_all(cases, Case::check);
}

#[test]
fn weights_are_checked() {
    for algorithm in [GroupedAlgorithm::General, GroupedAlgorithm::Each(Algorithm::Direct)] {
        let dims = Case { channels: [16, 16], groups: 2, ..BASE }.layer(algorithm);
        let weight = vec![0.5; 16 * 8 * 9];
        let message = |weight: &[f32], bias: &[f32]| {
            PackedGroupedConv::pack(dims, &bytes(weight), &bytes(bias)).unwrap_err().to_string()
        };
        assert!(PackedGroupedConv::pack(dims, &bytes(&weight), &bytes(&[0.0; 16])).is_ok());
        assert!(message(&weight[1..], &[0.0; 16]).contains("the weight has 4604 bytes where 4608 were expected"));
        assert!(message(&weight, &[0.0; 15]).contains("the bias has"));
        let mut infinite = weight.clone();
        infinite[1000] = f32::INFINITY;
        assert!(message(&infinite, &[0.0; 16]).contains("index 1000"), "{}", message(&infinite, &[0.0; 16]));
    }
}

#[test]
fn a_layer_of_another_kind_panics() {
    let case = Case { channels: [16, 16], groups: 2, ..BASE };
    let dims = case.layer(GroupedAlgorithm::General);
    let weights = PackedGroupedConv::pack(dims, &[0; 16 * 8 * 9 * 4], &[0; 16 * 4]).unwrap();
    let input = vec![0.0; dims.input.len() * 2];
    let panics = |dims: GroupedConvDims| {
        std::panic::catch_unwind(|| run(Isa::Portable, &Threads::single(), &Op::GroupedConv(dims, &weights), &input))
            .is_err()
    };
    assert!(!panics(dims));
    assert!(panics(GroupedConvDims { groups: 4, ..dims }));
    assert!(panics(GroupedConvDims { groups: 3, ..dims }));
    assert!(panics(GroupedConvDims { algorithm: GroupedAlgorithm::Each(Algorithm::Direct), ..dims }));
    assert!(panics(GroupedConvDims { algorithm: GroupedAlgorithm::Depthwise, ..dims }));
    assert!(panics(GroupedConvDims { dilations: [2, 2], ..dims }));
    assert!(panics(GroupedConvDims { pads: [2; 4], ..dims }));
    assert!(panics(GroupedConvDims { batch: 1, ..dims }));
}
