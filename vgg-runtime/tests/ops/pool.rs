//! Pooling on its own.

use vgg_runtime::reference::{self, Nchw};
use vgg_runtime::*;

use super::common::*;

#[derive(Clone, Copy, Debug)]
struct Case {
    shape: Nchw,
    window: PoolWindow,
    halos: [[usize; 4]; 2],
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut random = Random::new(5);
    for kernel in [[1, 1], [2, 2], [3, 3], [7, 7], [2, 3]] {
        for strides in [[1, 1], [2, 2], [3, 3], [1, 2]] {
            for pads in [[0; 4], [1, 0, 0, 1], [1; 4]] {
                for ceil_mode in [false, true] {
                    let window = PoolWindow { kernel, strides, pads, ceil_mode };
                    if (0..4).any(|side| pads[side] >= kernel[side % 2]) {
                        continue;
                    }
                    for _ in 0..4 {
                        let shape = Nchw {
                            batch: random.below(2) + 1,
                            channels: random.pick(&[1, 7, 8, 9, 24]),
                            height: random.below(12) + 1,
                            width: random.below(12) + 1,
                        };
                        if window.windows(0, shape.height) > 0 && window.windows(1, shape.width) > 0 {
                            let halos = [(); 2].map(|()| [(); 4].map(|()| random.below(3)));
                            cases.push(Case { shape, window, halos });
                        }
                    }
                }
            }
        }
    }
    cases
}

impl Case {
    fn images(&self) -> [Blocked; 2] {
        let pooled = reference::pooled(self.shape, self.window);
        let image = |shape: Nchw, halo| Blocked {
            channels: shape.channels,
            height: shape.height,
            width: shape.width,
            block: BLOCK,
            halo,
        };
        [image(self.shape, self.halos[0]), image(pooled, self.halos[1])]
    }
}

#[test]
fn max_pooling_is_exact() {
    check_all(cases(), |case| {
        let [input, output] = case.images();
        let values = Random::new(1).values(case.shape.len());
        let op = Op::MaxPool(MaxPoolDims { input, output, window: case.window, batch: case.shape.batch });
        let expected = reference::max_pool(&values, case.shape, case.window);
        for &isa in tiers() {
            let found = run_with_all_threads(isa, &op, &block(input, case.shape.batch, &values));
            assert!(same_bits(&unblock(output, case.shape.batch, &found), &expected), "{}", isa.name());
        }
    });
}

#[test]
fn average_pooling_counts_with_and_without_the_padding() {
    check_all(cases(), |case| {
        let [input, output] = case.images();
        let values = Random::new(2).values(case.shape.len());
        let bound = (case.window.kernel[0] * case.window.kernel[1] + 1) as f64 * UNIT;
        for count_include_pad in [false, true] {
            let (window, batch) = (case.window, case.shape.batch);
            let op = Op::AveragePool(AveragePoolDims { input, output, window, count_include_pad, batch });
            let expected = reference::average_pool(&double(&values), case.shape, window, count_include_pad);
            let bounds = vec![bound; expected.len()];
            for &isa in tiers() {
                let found = run_with_all_threads(isa, &op, &block(input, batch, &values));
                assert_within(&unblock(output, batch, &found), &expected, &bounds, isa.name());
            }
        }
    });
}

#[test]
fn an_output_that_the_window_does_not_give_is_refused() {
    let image = |height| Blocked { channels: 8, height, width: 4, block: 8, halo: [0; 4] };
    let window = PoolWindow { kernel: [2, 1], strides: [2, 1], pads: [0; 4], ceil_mode: false };
    let check = |height| {
        let dims = MaxPoolDims { input: image(4), output: image(height), window, batch: 1 };
        std::panic::catch_unwind(|| dims.check()).is_ok()
    };
    assert!(check(2));
    assert!(!check(3));
}
