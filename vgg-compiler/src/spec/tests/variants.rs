//! The nine variants against the figures that are published or follow from the published tables, and the readings that give
//! the same parameter shapes but another network.

use crate::ir::Shape;
use crate::spec::names::layer_names;
use crate::spec::shape::{LayerShape, layer_shapes, totals};
use crate::spec::variants::{VARIANTS, suggest, variant};
use crate::spec::{Extent, LayerKind, ModelSpec};

fn spec(name: &str) -> ModelSpec {
    variant(name).unwrap_or_else(|| panic!("no variant {name}")).spec().unwrap_or_else(|errors| panic!("{errors}"))
}

/// Name, key, and shape of each layer.
fn table(spec: &ModelSpec) -> Vec<(String, Option<String>, LayerShape, LayerKind)> {
    let shapes = layer_shapes(spec).unwrap_or_else(|error| panic!("{}", error.message));
    let names = layer_names(spec).into_iter().flatten();
    let layers = spec.rows.iter().flatten();
    names
        .zip(shapes.into_iter().flatten())
        .zip(layers)
        .map(|((names, shape), layer)| (names.name, names.key, shape, layer.kind.clone()))
        .collect()
}

fn shape(spec: &ModelSpec, name: &str) -> LayerShape {
    table(spec).into_iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("no layer {name}")).2
}

fn kind(spec: &ModelSpec, name: &str) -> LayerKind {
    table(spec).into_iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("no layer {name}")).3
}

fn image(channels: usize, side: usize) -> Shape {
    Shape::Image { channels, height: side, width: side }
}

#[test]
fn totals_are_exact() {
    let expected = [
        ("vgg-f", 60_834_536, 724_005_632),
        ("vgg-m", 102_908_520, 1_676_172_320),
        ("vgg-s", 102_908_520, 2_637_708_320),
        ("vgg-a", 132_863_336, 7_609_090_048),
        ("vgg-a-lrn", 132_863_336, 7_609_090_048),
        ("vgg-b", 133_047_848, 11_308_466_176),
        ("vgg-c", 133_638_952, 11_770_888_192),
        ("vgg-d", 138_357_544, 15_470_264_320),
        ("vgg-e", 143_667_240, 19_632_062_464),
    ];
    assert_eq!(expected.map(|row| row.0), VARIANTS.each_ref().map(|variant| variant.name));
    for (name, parameters, macs) in expected {
        let totals = totals(&layer_shapes(&spec(name)).expect(name)).expect(name);
        assert_eq!((totals.parameters, totals.macs), (parameters, macs), "{name}");
    }
}

#[test]
fn convolutions_of_a_to_e_are_exact() {
    let expected = [
        ("vgg-a", 9_220_480, 7_485_456_384_u64),
        ("vgg-a-lrn", 9_220_480, 7_485_456_384),
        ("vgg-b", 9_404_992, 11_184_832_512),
        ("vgg-c", 9_996_096, 11_647_254_528),
        ("vgg-d", 14_714_688, 15_346_630_656),
        ("vgg-e", 20_024_384, 19_508_428_800),
    ];
    for (name, parameters, macs) in expected {
        let convs: Vec<_> =
            table(&spec(name)).into_iter().filter(|row| matches!(row.3, LayerKind::Conv { .. })).collect();
        assert_eq!(convs.iter().map(|row| row.2.parameters).sum::<u64>(), parameters, "{name}");
        assert_eq!(convs.iter().map(|row| row.2.macs).sum::<u64>(), macs, "{name}");
    }
}

#[test]
fn layers_with_weights_are_counted_as_in_the_papers() {
    for (name, count) in [
        ("vgg-f", 8),
        ("vgg-m", 8),
        ("vgg-s", 8),
        ("vgg-a", 11),
        ("vgg-a-lrn", 11),
        ("vgg-b", 13),
        ("vgg-c", 16),
        ("vgg-d", 16),
        ("vgg-e", 19),
    ] {
        assert_eq!(table(&spec(name)).iter().filter(|row| row.1.is_some()).count(), count, "{name}");
    }
}

/// One line of a table: layer, what leaves it (channels and side, or features), parameters, MACs.
type Line = (&'static str, &'static [usize], u64, u64);

fn assert_lines(name: &str, lines: &[Line]) {
    let spec = spec(name);
    for &(layer, output, parameters, macs) in lines {
        let expected = match *output {
            [channels, side] => image(channels, side),
            [features] => Shape::Flat { features },
            _ => panic!("{layer}"),
        };
        let shape = shape(&spec, layer);
        assert_eq!((shape.output, shape.parameters, shape.macs), (expected, parameters, macs), "{name} {layer}");
    }
}

#[test]
fn cnn_f_layer_by_layer() {
    assert_lines(
        "vgg-f",
        &[
            ("conv1", &[64, 54], 23_296, 67_744_512),
            ("norm1", &[64, 54], 0, 0),
            ("pool1", &[64, 27], 0, 0),
            ("conv2", &[256, 27], 409_856, 298_598_400),
            ("norm2", &[256, 27], 0, 0),
            ("pool2", &[256, 13], 0, 0),
            ("conv3", &[256, 13], 590_080, 99_680_256),
            ("conv4", &[256, 13], 590_080, 99_680_256),
            ("conv5", &[256, 13], 590_080, 99_680_256),
            ("pool5", &[256, 6], 0, 0),
            ("fc6", &[4096], 37_752_832, 37_748_736),
            ("fc7", &[4096], 16_781_312, 16_777_216),
            ("fc8", &[1000], 4_097_000, 4_096_000),
        ],
    );
}

#[test]
fn cnn_m_layer_by_layer() {
    assert_lines(
        "vgg-m",
        &[
            ("conv1", &[96, 109], 14_208, 167_664_672),
            ("pool1", &[96, 54], 0, 0),
            ("conv2", &[256, 26], 614_656, 415_334_400),
            ("pool2", &[256, 13], 0, 0),
            ("conv3", &[512, 13], 1_180_160, 199_360_512),
            ("conv4", &[512, 13], 2_359_808, 398_721_024),
            ("conv5", &[512, 13], 2_359_808, 398_721_024),
            ("pool5", &[512, 6], 0, 0),
            ("fc6", &[4096], 75_501_568, 75_497_472),
            ("fc7", &[4096], 16_781_312, 16_777_216),
            ("fc8", &[1000], 4_097_000, 4_096_000),
        ],
    );
}

#[test]
fn cnn_s_layer_by_layer() {
    assert_lines(
        "vgg-s",
        &[
            ("conv1", &[96, 109], 14_208, 167_664_672),
            ("pool1", &[96, 37], 0, 0),
            ("conv2", &[256, 33], 614_656, 669_081_600),
            ("pool2", &[256, 17], 0, 0),
            ("conv3", &[512, 17], 1_180_160, 340_918_272),
            ("conv4", &[512, 17], 2_359_808, 681_836_544),
            ("conv5", &[512, 17], 2_359_808, 681_836_544),
            ("pool5", &[512, 6], 0, 0),
            ("fc6", &[4096], 75_501_568, 75_497_472),
            ("fc7", &[4096], 16_781_312, 16_777_216),
            ("fc8", &[1000], 4_097_000, 4_096_000),
        ],
    );
}

#[test]
fn d_layer_by_layer() {
    assert_lines(
        "vgg-d",
        &[
            ("conv1_1", &[64, 224], 1_792, 86_704_128),
            ("conv1_2", &[64, 224], 36_928, 1_849_688_064),
            ("pool1", &[64, 112], 0, 0),
            ("conv2_1", &[128, 112], 73_856, 924_844_032),
            ("conv2_2", &[128, 112], 147_584, 1_849_688_064),
            ("pool2", &[128, 56], 0, 0),
            ("conv3_1", &[256, 56], 295_168, 924_844_032),
            ("conv3_3", &[256, 56], 590_080, 1_849_688_064),
            ("pool3", &[256, 28], 0, 0),
            ("conv4_1", &[512, 28], 1_180_160, 924_844_032),
            ("conv4_3", &[512, 28], 2_359_808, 1_849_688_064),
            ("pool4", &[512, 14], 0, 0),
            ("conv5_3", &[512, 14], 2_359_808, 462_422_016),
            ("pool5", &[512, 7], 0, 0),
            ("fc6", &[4096], 102_764_544, 102_760_448),
            ("fc7", &[4096], 16_781_312, 16_777_216),
            ("fc8", &[1000], 4_097_000, 4_096_000),
            ("prob", &[1000], 0, 0),
        ],
    );
}

#[test]
fn c_has_1x1_convolutions_without_padding() {
    assert_lines(
        "vgg-c",
        &[
            ("conv3_3", &[256, 56], 65_792, 205_520_896),
            ("conv4_3", &[512, 28], 262_656, 205_520_896),
            ("conv5_3", &[512, 14], 262_656, 51_380_224),
        ],
    );
    for name in ["conv3_3", "conv4_3", "conv5_3"] {
        let LayerKind::Conv { kernel, pad, .. } = kind(&spec("vgg-c"), name) else { panic!("{name}") };
        assert_eq!((kernel, pad), (Extent::square(1), Extent::square(0)), "{name}");
    }
}

/// 2x2 windows rounded down give the same sizes as 3x3 windows rounded up, and other numbers.
#[test]
fn cnn_f_and_m_have_3x3_pools_that_round_up() {
    for name in ["vgg-f", "vgg-m"] {
        for pool in ["pool1", "pool2", "pool5"] {
            let LayerKind::MaxPool(window) = kind(&spec(name), pool) else { panic!("{name} {pool}") };
            let expected = (Extent::square(3), Extent::square(2), Extent::square(0), true);
            assert_eq!((window.kernel, window.stride, window.pad, window.ceil), expected, "{name} {pool}");
        }
    }
}

#[test]
fn cnn_s_pools_are_3_by_3_2_by_2_3_by_3_and_round_up() {
    for (pool, side) in [("pool1", 3), ("pool2", 2), ("pool5", 3)] {
        let LayerKind::MaxPool(window) = kind(&spec("vgg-s"), pool) else { panic!("{pool}") };
        let expected = (Extent::square(side), Extent::square(side), Extent::square(0), true);
        assert_eq!((window.kernel, window.stride, window.pad, window.ceil), expected, "{pool}");
    }
}

/// The paper's padding of 1 gives the same parameters.
#[test]
fn cnn_s_conv2_has_no_padding() {
    let LayerKind::Conv { pad, .. } = kind(&spec("vgg-s"), "conv2") else { panic!("conv2") };
    assert_eq!(pad, Extent::square(0));
    let LayerKind::Conv { pad, stride, .. } = kind(&spec("vgg-m"), "conv2") else { panic!("conv2") };
    assert_eq!((pad, stride), (Extent::square(1), Extent::square(2)));
}

/// The alpha of Krizhevsky et al. and MatConvNet, 1e-4, is not divided by the window size; k is 1 by default elsewhere.
#[test]
fn lrn_has_the_divided_alpha_and_k_2() {
    for (name, layer) in [
        ("vgg-f", "norm1"),
        ("vgg-f", "norm2"),
        ("vgg-m", "norm1"),
        ("vgg-m", "norm2"),
        ("vgg-s", "norm1"),
        ("vgg-a-lrn", "norm1"),
    ] {
        let expected = LayerKind::Lrn { size: 5, alpha: 5e-4, beta: 0.75, k: 2.0 };
        assert_eq!(kind(&spec(name), layer), expected, "{name} {layer}");
    }
}

#[test]
fn lrn_stands_where_the_weights_were_trained_with_it() {
    let expected: [(&str, &[&str]); 9] = [
        ("vgg-f", &["norm1", "norm2"]),
        ("vgg-m", &["norm1", "norm2"]),
        ("vgg-s", &["norm1"]),
        ("vgg-a", &[]),
        ("vgg-a-lrn", &["norm1"]),
        ("vgg-b", &[]),
        ("vgg-c", &[]),
        ("vgg-d", &[]),
        ("vgg-e", &[]),
    ];
    for (name, norms) in expected {
        let table = table(&spec(name));
        let found: Vec<_> =
            table.iter().filter(|row| matches!(row.3, LayerKind::Lrn { .. })).map(|row| row.0.as_str()).collect();
        assert_eq!(found, norms, "{name}");
    }
    // After the convolution, before the pool.
    let table = table(&spec("vgg-a-lrn"));
    let first: Vec<_> = table.iter().take(3).map(|row| row.0.as_str()).collect();
    assert_eq!(first, ["conv1_1", "norm1", "pool1"]);
}

#[test]
fn names_of_cnn_f_are_those_of_caffe() {
    let names: Vec<_> = layer_names(&spec("vgg-f"))
        .into_iter()
        .flatten()
        .flat_map(|names| std::iter::once(names.name).chain(names.relu))
        .collect();
    let expected = "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 fc6 relu6 drop6 \
                    fc7 relu7 drop7 fc8 prob";
    assert_eq!(names.join(" "), expected);
}

#[test]
fn names_of_d_are_those_of_caffe() {
    let names: Vec<_> = layer_names(&spec("vgg-d"))
        .into_iter()
        .flatten()
        .flat_map(|names| std::iter::once(names.name).chain(names.relu))
        .collect();
    let expected = "conv1_1 relu1_1 conv1_2 relu1_2 pool1 conv2_1 relu2_1 conv2_2 relu2_2 pool2 conv3_1 relu3_1 conv3_2 relu3_2 \
                    conv3_3 relu3_3 pool3 conv4_1 relu4_1 conv4_2 relu4_2 conv4_3 relu4_3 pool4 conv5_1 relu5_1 conv5_2 \
                    relu5_2 conv5_3 relu5_3 pool5 fc6 relu6 drop6 fc7 relu7 drop7 fc8 prob";
    assert_eq!(names.join(" "), expected);
}

fn keys(spec: &ModelSpec, of: fn(&LayerKind) -> bool) -> Vec<String> {
    table(spec).into_iter().filter(|row| of(&row.3)).filter_map(|row| row.1).collect()
}

fn is_conv(kind: &LayerKind) -> bool {
    matches!(kind, LayerKind::Conv { .. })
}

fn features(numbers: &[usize]) -> Vec<String> {
    numbers.iter().map(|number| format!("features.{number}")).collect()
}

#[test]
fn keys_are_those_of_torchvision() {
    let expected: [(&str, &[usize]); 6] = [
        ("vgg-f", &[0, 4, 8, 10, 12]),
        ("vgg-m", &[0, 4, 8, 10, 12]),
        ("vgg-a", &[0, 3, 6, 8, 11, 13, 16, 18]),
        ("vgg-b", &[0, 2, 5, 7, 10, 12, 15, 17, 20, 22]),
        ("vgg-d", &[0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]),
        ("vgg-e", &[0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]),
    ];
    for (name, convs) in expected {
        let spec = spec(name);
        assert_eq!(keys(&spec, is_conv), features(convs), "{name}");
        let fcs = keys(&spec, |kind| matches!(kind, LayerKind::Fc { .. }));
        assert_eq!(fcs, ["classifier.0", "classifier.3", "classifier.6"], "{name}");
    }
}

/// The same network with batch norm after every convolution, as torchvision's `_bn` networks are.
fn with_batch_norm(mut spec: ModelSpec) -> ModelSpec {
    for row in &mut spec.rows {
        let layers = std::mem::take(row);
        for layer in layers {
            let norm = crate::spec::LayerSpec {
                label: None,
                kind: LayerKind::BatchNorm { epsilon: LayerKind::DEFAULT_EPSILON },
                span: layer.span,
            };
            let conv = is_conv(&layer.kind);
            row.push(layer);
            row.extend(conv.then_some(norm));
        }
    }
    spec
}

#[test]
fn batch_normalised_keys_and_parameters_are_those_of_torchvision() {
    let expected: [(&str, u64, &[usize]); 4] = [
        ("vgg-a", 132_868_840, &[0, 4, 8, 11, 15, 18, 22, 25]),
        ("vgg-b", 133_053_736, &[0, 3, 7, 10, 14, 17, 21, 24, 28, 31]),
        ("vgg-d", 138_365_992, &[0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40]),
        ("vgg-e", 143_678_248, &[0, 3, 7, 10, 14, 17, 20, 23, 27, 30, 33, 36, 40, 43, 46, 49]),
    ];
    for (name, parameters, convs) in expected {
        let spec = with_batch_norm(spec(name));
        assert_eq!(totals(&layer_shapes(&spec).expect(name)).expect(name).parameters, parameters, "{name}");
        assert_eq!(keys(&spec, is_conv), features(convs), "{name}");
        let after: Vec<_> = convs.iter().map(|number| number + 1).collect();
        assert_eq!(keys(&spec, |kind| matches!(kind, LayerKind::BatchNorm { .. })), features(&after), "{name}");
    }
    let names = layer_names(&with_batch_norm(spec("vgg-f")));
    let first: Vec<_> = names.iter().flatten().take(2).map(|names| names.name.as_str()).collect();
    assert_eq!(first, ["conv1", "bn1"]);
}

/// ReLU follows every convolution and every fully connected layer but the last, and both dropouts drop one half.
#[test]
fn relu_and_dropout_stand_where_the_papers_have_them() {
    for variant in &VARIANTS {
        let table = table(&spec(variant.name));
        for (name, _, _, kind) in &table {
            match kind {
                LayerKind::Conv { relu, .. } => assert!(relu, "{} {name}", variant.name),
                LayerKind::Fc { relu, .. } => assert_eq!(*relu, name != "fc8", "{} {name}", variant.name),
                LayerKind::Dropout { ratio } => assert_eq!(*ratio, 0.5, "{} {name}", variant.name),
                _ => {}
            }
        }
        let tail: Vec<_> = table.iter().rev().take(6).rev().map(|row| row.0.as_str()).collect();
        assert_eq!(tail, ["fc6", "drop6", "fc7", "drop7", "fc8", "prob"], "{}", variant.name);
    }
}

#[test]
fn a_variant_has_a_name_aliases_and_near_misses() {
    for (alias, name) in [
        ("vgg-d", "vgg-d"),
        ("vgg16", "vgg-d"),
        ("vgg11", "vgg-a"),
        ("vgg13", "vgg-b"),
        ("vgg19", "vgg-e"),
        ("cnn-f", "vgg-f"),
        ("cnn-m", "vgg-m"),
        ("cnn-s", "vgg-s"),
    ] {
        assert_eq!(variant(alias).map(|variant| variant.name), Some(name));
    }
    assert!(variant("vgg").is_none() && variant("VGG-D").is_none() && variant("").is_none());
    for (typed, meant) in [("VGG-D", "vgg-d"), ("vgg-16", "vgg16"), ("vgg_a_lrn", "vgg-a-lrn"), ("vg-d", "vgg-d")] {
        assert_eq!(suggest(typed), Some(meant), "{typed}");
    }
    assert_eq!(suggest("resnet50"), None);
}
