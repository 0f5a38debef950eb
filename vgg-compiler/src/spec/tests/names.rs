//! Names and parameter keys beyond those of the variants.

use super::parsed;
use crate::spec::names::{file_stem, layer_names};

/// Name, ReLU and key of every layer.
fn names(rows: &str) -> Vec<String> {
    let spec = parsed(&format!("Net: 3 x 64 x 64 {{ {rows} }}"));
    layer_names(&spec)
        .into_iter()
        .flatten()
        .map(|names| [Some(names.name), names.relu, names.key].into_iter().flatten().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn convolutions_are_numbered_by_row_and_place() {
    assert_eq!(
        names("conv3-4, conv3-4(linear), maxpool; conv3-4, lrn, lrn, maxpool, avgpool; fc-2"),
        [
            "conv1_1 relu1_1 features.0",
            "conv1_2 features.2",
            "pool1",
            "conv2_1 relu2_1 features.4",
            "norm2",
            "norm2_2",
            "pool2",
            "pool2_2",
            "fc3 classifier.0",
        ]
    );
}

#[test]
fn relu_stands_after_batch_norm() {
    assert_eq!(
        names("conv3-4, bn, conv3-4(linear), bn, conv3-4, maxpool; fc-2"),
        [
            "conv1_1 relu1_1 features.0",
            "bn1_1 features.1",
            "conv1_2 features.3",
            "bn1_2 features.4",
            "conv1_3 relu1_3 features.5",
            "pool1",
            "fc2 classifier.0",
        ]
    );
}

#[test]
fn labels_name_what_belongs_to_the_layer() {
    assert_eq!(
        names("conv7: conv3-4, bn, stem: conv3-4, bn"),
        ["conv7 relu7 features.0", "bn7 features.1", "stem stem_relu features.3", "stem_bn features.4"]
    );
    assert_eq!(
        names("conv3-4, norm: bn, down: maxpool; full6: fc-3, half: dropout, fc_b: fc-3, dropout, fc-2, p: softmax"),
        [
            "conv1_1 relu1_1 features.0",
            "norm features.1",
            "down",
            "full6 full6_relu classifier.0",
            "half",
            "fc_b relu_b classifier.3",
            "drop3",
            "fc4 classifier.6",
            "p",
        ]
    );
}

#[test]
fn fc_is_numbered_after_the_last_row_with_a_convolution() {
    assert_eq!(
        names("maxpool; conv3-4; maxpool; dropout, fc-3, dropout, fc-2"),
        [
            "pool1",
            "conv2_1 relu2_1 features.1",
            "pool3",
            "drop4",
            "fc3 relu3 classifier.1",
            "drop3",
            "fc4 classifier.4",
        ]
    );
    assert_eq!(names("fc-3, fc-2"), ["fc1 relu1 classifier.0", "fc2 classifier.2"]);
    assert_eq!(names("dropout, conv3-4"), ["drop1", "conv1_1 relu1_1 features.1"]);
}

#[test]
fn file_stems_are_snake_case() {
    for (name, stem) in [
        ("Vgg16", "vgg16"),
        ("VggALrn", "vgg_a_lrn"),
        ("VGGNet", "vgg_net"),
        ("A", "a"),
        ("tiny_net", "tiny_net"),
        ("Tiny_Net", "tiny_net"),
        ("Cifar10Vgg", "cifar10_vgg"),
    ] {
        assert_eq!(file_stem(name), stem);
    }
}
