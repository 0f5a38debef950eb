//! Every fixture against the formula of its numbers.

use vgg_compiler::weights::ElementType;
use vgg_compiler::weights::readers::{Match, SourceFormat};

use super::support::{TINY, TINY_BN, contents, graph, load, norm, numbers, state, values};

const ORDER: &str = "layers matched by order, as their shapes agree and their names do not";
const FILTERS: &str = "filters [height, width, in, out] transposed to [out, in, height, width]";
const MATRICES: &str = "matrices [in, out] transposed to [out, in]";
const HWC: &str = "inputs of `fc6` reordered from height, width, channel to channel, height, width";
const RESHAPED_1: &str = "1 weights stored as filters reshaped to matrices, or the reverse";
const RESHAPED_3: &str = "3 weights stored as filters reshaped to matrices, or the reverse";
const NO_SIZE: &str = "its meta does not tell how images become its input: it has no `imageSize`";
const CLASSES: &str =
    "its meta names 2 classes, `n01440764` first, in none of the known orders: --labels FILE gives them their names";

/// The fixtures of the network without batch normalisation.
const PLAIN: [(&str, Match, SourceFormat, &[&str]); 31] = [
    ("tiny.pth", Match::Keys, SourceFormat::Torchvision, &[]),
    ("tiny-legacy.pth", Match::Keys, SourceFormat::Torchvision, &[]),
    ("tiny-f16.pth", Match::Keys, SourceFormat::Torchvision, &["12 tensors of F16 widened to F32"]),
    ("tiny-bf16.pth", Match::Keys, SourceFormat::Torchvision, &["12 tensors of BF16 widened to F32"]),
    ("tiny-bf16-legacy.pth", Match::Keys, SourceFormat::Torchvision, &["12 tensors of BF16 widened to F32"]),
    ("tiny-f64.pth", Match::Keys, SourceFormat::Torchvision, &["12 tensors of F64 rounded to F32"]),
    (
        "tiny-checkpoint.pth",
        Match::Keys,
        SourceFormat::Torchvision,
        &["took the tensors under the key `state_dict` of a checkpoint", "`module.` taken off the names"],
    ),
    (
        "tiny-checkpoint-legacy.pth",
        Match::Keys,
        SourceFormat::Torchvision,
        &["took the tensors under the key `state_dict` of a checkpoint", "`module.` taken off the names"],
    ),
    ("tiny-views.pth", Match::Keys, SourceFormat::Torchvision, &[]),
    ("tiny-views-legacy.pth", Match::Keys, SourceFormat::Torchvision, &[]),
    ("tiny-f16.safetensors", Match::Keys, SourceFormat::Torchvision, &["12 tensors of F16 widened to F32"]),
    ("tiny-bf16.safetensors", Match::Keys, SourceFormat::Torchvision, &["12 tensors of BF16 widened to F32"]),
    ("tiny-f64.safetensors", Match::Keys, SourceFormat::Torchvision, &["12 tensors of F64 rounded to F32"]),
    (
        "tiny-timm.safetensors",
        Match::Order,
        SourceFormat::Timm,
        &[ORDER, "2 weights stored as filters reshaped to matrices, or the reverse"],
    ),
    ("tiny-caffe-in-torch.safetensors", Match::Order, SourceFormat::CaffeInTorch, &[ORDER]),
    ("tiny-named.safetensors", Match::Names, SourceFormat::Unknown, &["layers matched by name"]),
    ("tiny-v2.caffemodel", Match::Order, SourceFormat::Caffe, &[ORDER]),
    ("tiny-v2-double.caffemodel", Match::Order, SourceFormat::Caffe, &[ORDER, "12 tensors of F64 rounded to F32"]),
    ("tiny-v2-full.caffemodel", Match::Order, SourceFormat::Caffe, &[ORDER, RESHAPED_1]),
    ("tiny-v1.caffemodel", Match::Order, SourceFormat::Caffe, &[ORDER]),
    ("tiny-v0.caffemodel", Match::Order, SourceFormat::Caffe, &[ORDER]),
    ("tiny.mat", Match::Order, SourceFormat::MatConvNet, &[NO_SIZE, CLASSES, ORDER, FILTERS, RESHAPED_3]),
    ("tiny-compressed.mat", Match::Order, SourceFormat::MatConvNet, &[NO_SIZE, CLASSES, ORDER, FILTERS, RESHAPED_3]),
    ("tiny-old.mat", Match::Order, SourceFormat::MatConvNet, &[NO_SIZE, CLASSES, ORDER, FILTERS, RESHAPED_3]),
    ("tiny-net.mat", Match::Order, SourceFormat::MatConvNet, &[NO_SIZE, CLASSES, ORDER, FILTERS, RESHAPED_3]),
    ("tiny-keras1.h5", Match::Order, SourceFormat::Keras, &[ORDER, FILTERS, MATRICES, HWC]),
    ("tiny-keras2.h5", Match::Order, SourceFormat::Keras, &[ORDER, FILTERS, MATRICES, HWC]),
    ("tiny-keras2-model.h5", Match::Order, SourceFormat::Keras, &[ORDER, FILTERS, MATRICES, HWC]),
    ("tiny-keras3-model.h5", Match::Order, SourceFormat::Keras, &[ORDER, FILTERS, MATRICES, HWC]),
    ("tiny-keras3.weights.h5", Match::Order, SourceFormat::Keras, &[ORDER, FILTERS, MATRICES, HWC]),
    ("tiny.keras", Match::Order, SourceFormat::Keras, &[ORDER, FILTERS, MATRICES, HWC]),
];

#[test]
fn every_tensor_is_that_of_the_source() {
    for (name, how, source, notes) in PLAIN {
        let adapted = load(name, TINY);
        assert_eq!(adapted.tensors.len(), 12, "{name}");
        for (key, shape, expected) in state() {
            assert_eq!(adapted.tensors[&key].shape, shape, "{name}: {key}");
            assert_eq!(values(&adapted.tensors, &key), expected, "{name}: {key}");
        }
        assert_eq!((adapted.how, adapted.source), (Some(how), source), "{name}");
        assert_eq!(adapted.notes, notes, "{name}");
    }
}

#[test]
fn tensors_are_shown_as_stored() {
    let found = contents("tiny-f16.pth");
    assert_eq!(found.len(), 12);
    let (name, element, values) = &found[0];
    assert_eq!((name.as_str(), *element), ("features.0.weight", ElementType::F16));
    assert!(values.iter().copied().eq(numbers(108, 0).into_iter().map(f64::from)));
    // The order of the file is that of the network.
    let names: Vec<&str> = found.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(names, state().iter().map(|(key, _, _)| key.as_str()).collect::<Vec<_>>());
    let counters = contents("tiny-bn.pth").into_iter().filter(|(name, _, _)| name.ends_with("num_batches_tracked"));
    assert_eq!(
        counters.map(|(_, element, values)| (element, values)).collect::<Vec<_>>(),
        vec![(ElementType::Int(8), vec![7.0]); 3]
    );
}

/// Whether `found` is `w * scale / sqrt(variance + epsilon)`, to the rounding of what the file stores.
fn close(found: f32, expected: f64, what: &str) {
    assert!(
        (f64::from(found) - expected).abs() <= 1e-6 * expected.abs().max(0.1),
        "{what}: {found}, expected {expected}"
    );
}

/// Fixtures with batch normalisation, what is added to their variances, and whether their convolutions have a bias.
const NORMED: [(&str, f64, bool); 4] = [
    ("tiny-bn.pth", 1e-5, false),
    ("tiny-bn.caffemodel", 2e-5, false),
    ("tiny-bn.mat", 1e-4, true),
    ("tiny-bn.keras", 1e-3, false),
];

#[test]
fn batch_normalisation_is_folded_when_the_network_has_none() {
    for (name, epsilon, biased) in NORMED {
        let adapted = load(name, TINY);
        assert!(
            adapted.notes.iter().any(|note| note.starts_with("3 batch normalisations folded")),
            "{:?}",
            adapted.notes
        );
        for (index, key) in ["features.0", "features.2", "features.5"].into_iter().enumerate() {
            let [scale, shift, mean, variance] = norm(index);
            let plain =
                |part: &str| state().into_iter().find(|(found, _, _)| *found == format!("{key}.{part}")).unwrap().2;
            let (weight, bias) = (plain("weight"), plain("bias"));
            let per_channel = weight.len() / bias.len();
            let factor = |channel: usize| f64::from(scale[channel]) / (f64::from(variance[channel]) + epsilon).sqrt();
            for (position, found) in values(&adapted.tensors, &format!("{key}.weight")).into_iter().enumerate() {
                close(found, f64::from(weight[position]) * factor(position / per_channel), name);
            }
            for (channel, found) in values(&adapted.tensors, &format!("{key}.bias")).into_iter().enumerate() {
                let bias = if biased { f64::from(bias[channel]) } else { 0.0 };
                close(found, (bias - f64::from(mean[channel])) * factor(channel) + f64::from(shift[channel]), name);
            }
        }
    }
}

#[test]
fn batch_normalisation_is_kept_when_the_network_has_it() {
    for (name, epsilon, biased) in NORMED {
        let adapted = load(name, TINY_BN);
        for (index, (conv, bn)) in
            [("features.0", "features.1"), ("features.3", "features.4"), ("features.7", "features.8")]
                .into_iter()
                .enumerate()
        {
            let plain = &state()[2 * index..2 * index + 2];
            assert_eq!(values(&adapted.tensors, &format!("{conv}.weight")), plain[0].2, "{name}");
            let bias = if biased { plain[1].2.clone() } else { vec![0.0; plain[1].2.len()] };
            assert_eq!(values(&adapted.tensors, &format!("{conv}.bias")), bias, "{name}");
            let [scale, shift, mean, variance] = norm(index);
            assert_eq!(values(&adapted.tensors, &format!("{bn}.weight")), scale, "{name}");
            assert_eq!(values(&adapted.tensors, &format!("{bn}.bias")), shift, "{name}");
            for (found, mean) in values(&adapted.tensors, &format!("{bn}.running_mean")).into_iter().zip(mean) {
                close(found, f64::from(mean), name);
            }
            let found = values(&adapted.tensors, &format!("{bn}.running_var"));
            for (found, variance) in found.into_iter().zip(variance) {
                close(found, f64::from(variance) + epsilon - 1e-5, name);
            }
        }
        let expected = "3 convolutions without a bias were given zeros".to_owned();
        assert_eq!(adapted.notes.contains(&expected), !biased, "{name}: {:?}", adapted.notes);
    }
}

#[test]
fn features_are_taken_from_a_file_with_a_classifier() {
    for name in ["tiny.pth", "tiny-f16.pth", "tiny.mat"] {
        let adapted = load(name, "Tiny: 3 x 8 x 8 { conv3-4, conv3-4, maxpool; conv3-6, maxpool }");
        assert_eq!(adapted.tensors.len(), 6, "{name}");
        assert!(adapted.notes.iter().any(|note| note.starts_with("left out ")), "{name}: {:?}", adapted.notes);
    }
}

/// Numbers of another layer are not cut to size.
#[test]
fn a_batch_normalisation_of_another_size_is_refused() {
    let (mut header, mut data) = (Vec::new(), Vec::new());
    let tensors = [("0.weight", vec![4, 3, 3, 3]), ("0.bias", vec![4])]
        .into_iter()
        .chain(["1.weight", "1.bias", "1.running_mean", "1.running_var"].map(|name| (name, vec![7_usize])));
    for (name, shape) in tensors {
        let (start, count) = (data.len(), shape.iter().product::<usize>());
        data.extend(numbers(count, 1).into_iter().flat_map(|value| (value.abs() + 0.5).to_le_bytes()));
        let end = data.len();
        header.push(format!(r#""features.{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{end}]}}"#));
    }
    let header = format!("{{{}}}", header.join(","));
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    let path = std::env::temp_dir().join(format!("vgg-other-size-{}.safetensors", std::process::id()));
    std::fs::write(&path, file).unwrap();
    let refused = |declaration: &str| vgg_compiler::weights::readers::load(&path, &graph(declaration)).is_err();
    let found = ["Tiny: 3 x 8 x 8 { conv3-4, maxpool }", "Tiny: 3 x 8 x 8 { conv3-4, bn, maxpool }"].map(refused);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(found, [true, true]);
}
