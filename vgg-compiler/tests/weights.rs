//! Weights: generated, written, read, and matched with a network.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use ::safetensors::SafeTensors;
use ::safetensors::tensor::{Dtype, TensorView};
use common::{Builder, every_operator, normalised, numbers, set, tensor};
use vgg_compiler::ir::{FoldedRole, Op, ParamId, ParamSource, TypedGraph};
use vgg_compiler::weights::{Header, Tensors, Weights, WeightsError, WeightsSource, canonical, parse, read, seeded};

/// Fowler, Noll and Vo's hash, variant 1a.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn hash(tensors: &Tensors) -> u64 {
    let mut all = Vec::new();
    for (key, tensor) in tensors {
        all.extend_from_slice(key.as_bytes());
        all.extend_from_slice(&tensor.data);
    }
    fnv(&all)
}

#[test]
fn generated_weights_are_the_same_everywhere() {
    let graph = every_operator(false);
    assert_eq!(format!("{:016x}", hash(&seeded(&graph, 0))), "e353f0e21191e97a");
    assert_eq!(format!("{:016x}", hash(&seeded(&graph, 7))), "0ab701af01448c38");
    let large = Builder::new("Large", [64, 3, 3]).conv("conv1_1", "features.0", [512, 64, 3, 3], [0; 4]).build();
    assert_eq!(format!("{:016x}", hash(&seeded(&large, 7))), "c7647d46ad5e0168");
}

fn moments(values: &[f32]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    (mean, values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count)
}

#[test]
fn generated_weights_have_the_variance_of_he() {
    let graph = Builder::new("Large", [64, 3, 3])
        .conv("conv1_1", "features.0", [512, 64, 3, 3], [0; 4])
        .plain("flatten", Op::Flatten)
        .gemm("fc2", "classifier.0", 4096, 512)
        .build();
    let tensors = seeded(&graph, 1);
    for (key, variance, tolerance) in [
        ("features.0.weight", 2.0 / 576.0, 0.01),
        ("features.0.bias", 2.0 / 576.0, 0.2),
        ("classifier.0.weight", 2.0 / 512.0, 0.01),
        ("classifier.0.bias", 2.0 / 512.0, 0.1),
    ] {
        let values = numbers(&tensors[key].data);
        let (mean, found) = moments(&values);
        assert!((found / variance - 1.0).abs() < tolerance, "{key}: variance {found}, expected {variance}");
        let error_of_mean = (variance / values.len() as f64).sqrt();
        assert!(mean.abs() < 4.0 * error_of_mean, "{key}: mean {mean}");
    }
    // Within one deviation lie 68.27 % of a normal distribution, within two 95.45 %.
    let values = numbers(&tensors["classifier.0.weight"].data);
    let deviation = (2.0f32 / 512.0).sqrt();
    for (factor, share) in [(1.0, 0.6827), (2.0, 0.9545)] {
        let within =
            values.iter().filter(|value| value.abs() < factor * deviation).count() as f64 / values.len() as f64;
        assert!((within - share).abs() < 0.002, "{within} within {factor} deviations");
    }
}

#[test]
fn generated_statistics_can_be_normalised_with() {
    let tensors = seeded(&normalised(false), 5);
    for layer in ["features.1", "features.4"] {
        for (suffix, low, high) in
            [("weight", 0.4, 1.6), ("bias", -0.6, 0.6), ("running_mean", -0.6, 0.6), ("running_var", 0.5, 1.5)]
        {
            let values = numbers(&tensors[&format!("{layer}.{suffix}")].data);
            assert!(values.iter().all(|value| (low..high).contains(value)), "{layer}.{suffix}: {values:?}");
            assert!(values.iter().any(|&value| value != values[0]), "{layer}.{suffix}: {values:?}");
        }
    }
}

#[test]
fn generated_weights_depend_on_places_and_seed_alone() {
    let graph = normalised(false);
    assert!(seeded(&graph, 1) != seeded(&graph, 2));
    assert!(seeded(&graph, 1) == seeded(&normalised(true), 1), "folding changes what is stored");
    let mut renamed = graph.clone().into_graph();
    for (index, param) in renamed.params.iter_mut().enumerate() {
        param.key = format!("p{index:02}");
    }
    let again = seeded(&renamed, 1);
    for (param, old) in renamed.params.iter().zip(&graph.params) {
        assert_eq!(again[&param.key], seeded(&graph, 1)[&old.key]);
    }
}

#[test]
fn the_safetensors_crate_reads_the_canonical_file_and_would_write_the_same_header() {
    let directory = tempfile::tempdir().unwrap();
    for (name, graph) in [("every", every_operator(false)), ("folded", normalised(true))] {
        let path = directory.path().join(format!("{name}.safetensors"));
        let weights = Weights::resolve(&graph, seeded(&graph, 1), "seeded:1").unwrap();
        let mut reported = 0;
        canonical::write(&path, &graph, &weights, &mut |bytes| reported = bytes).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(reported, bytes.len() as u64);

        let header = Header::new(&graph.params);
        assert_eq!(header.bytes, bytes[..header.bytes.len()]);
        assert_eq!(header.bytes.len() % 64, 0);
        assert_eq!(header.file_len(), bytes.len());
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.len(), graph.params.len());
        for (index, param) in graph.params.iter().enumerate() {
            let view = file.tensor(&param.key).unwrap();
            assert_eq!((view.dtype(), view.shape()), (Dtype::F32, &param.shape[..]));
            assert_eq!(view.data(), &weights.get(ParamId(index))[..], "{}", param.key);
            assert_eq!(view.data(), &bytes[header.file_range(ParamId(index))], "{}", param.key);
        }
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let theirs = ::safetensors::serialize(file.iter(), Some(metadata)).unwrap();
        let json = |bytes: &[u8]| {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            String::from_utf8(bytes[8..8 + length].to_vec()).unwrap().trim_end().to_owned()
        };
        assert_eq!(json(&bytes), json(&theirs));

        let again = read(&path).unwrap();
        assert_eq!(Weights::resolve(&graph, again, "again").unwrap(), weights);
    }
}

#[test]
fn folded_weights_are_those_of_the_formula() {
    let graph = normalised(true);
    let tensors = seeded(&graph, 9);
    let weights = Weights::resolve(&graph, tensors.clone(), "seeded:9").unwrap();
    let column = |key: &str| numbers(&tensors[key].data).into_iter().map(f64::from).collect::<Vec<_>>();
    let mut folded = 0;
    for (index, param) in graph.params.iter().enumerate() {
        let found = numbers(weights.get(ParamId(index)));
        let ParamSource::FoldedBatchNorm { role, conv, batch_norm, epsilon } = &param.source else {
            assert_eq!(weights.get(ParamId(index)), &tensors[&param.key].data);
            continue;
        };
        folded += 1;
        let [scale, shift, mean, variance] = batch_norm.each_ref().map(|param| column(&param.key));
        let own = column(&conv[usize::from(*role == FoldedRole::Bias)].key);
        let per_channel = own.len() / scale.len();
        for (position, (&found, own)) in found.iter().zip(own).enumerate() {
            let channel = position / per_channel;
            let factor = scale[channel] / (variance[channel] + f64::from(*epsilon)).sqrt();
            let expected = match role {
                FoldedRole::Weight => own * factor,
                FoldedRole::Bias => (own - mean[channel]) * factor + shift[channel],
            };
            assert_eq!(found, expected as f32, "{} at {position}", param.key);
        }
    }
    assert_eq!(folded, 4);
}

#[test]
fn stored_weights_are_not_copied() {
    let graph = every_operator(false);
    let tensors = seeded(&graph, 0);
    let weights = Weights::resolve(&graph, tensors.clone(), "seeded").unwrap();
    for (index, param) in graph.params.iter().enumerate() {
        assert_eq!(weights.get(ParamId(index)).as_ptr(), tensors[&param.key].data.as_ptr(), "{}", param.key);
    }
}

#[test]
fn counters_of_pytorch_are_passed_over() {
    let graph = normalised(false);
    let mut tensors = seeded(&graph, 0);
    let counter = 3i64.to_le_bytes();
    let views: BTreeMap<&str, TensorView<'_>> = tensors
        .iter()
        .map(|(key, tensor)| (&key[..], TensorView::new(Dtype::F32, tensor.shape.clone(), &tensor.data).unwrap()))
        .chain([("features.1.num_batches_tracked", TensorView::new(Dtype::I64, vec![], &counter).unwrap())])
        .collect();
    let bytes = ::safetensors::serialize(views, None).unwrap();
    let again = parse(bytes.into(), Path::new("a.safetensors")).unwrap();
    assert_eq!(again, tensors);
    tensors.insert("features.1.num_batches_tracked".into(), tensor(&[], &[3.0]));
    assert!(Weights::resolve(&graph, tensors, "a").is_ok());
}

fn refused(graph: &TypedGraph, tensors: Tensors) -> Vec<String> {
    let errors = Weights::resolve(graph, tensors, "w.safetensors").unwrap_err();
    assert!(errors.iter().all(|error| error.help().is_some()));
    errors.iter().map(WeightsError::to_string).collect()
}

#[test]
fn weights_that_do_not_fit_are_refused_with_every_reason() {
    let graph = every_operator(false);
    let good = || seeded(&graph, 0);

    let mut several = good();
    let weight = several.remove("features.0.weight").unwrap();
    several.insert("module.features.0.weight".into(), weight);
    several.insert("classifier.0.bias".into(), tensor(&[4], &[0.0; 4]));
    set(&mut several, "features.1.weight", 2, f32::NAN);
    set(&mut several, "classifier.0.weight", 85, f32::NEG_INFINITY);
    set(&mut several, "classifier.0.weight", 87, f32::NAN);
    let errors = Weights::resolve(&graph, several, "w.safetensors").unwrap_err();
    let texts: Vec<String> = errors.iter().map(WeightsError::to_string).collect();
    assert_eq!(
        texts,
        [
            "w.safetensors: tensor `features.0.weight` of shape [4, 2, 3, 2] is missing",
            "w.safetensors: tensor `features.1.weight` is NaN at index [2] (1 such of 4), expected finite numbers",
            "w.safetensors: tensor `classifier.0.weight` is -inf at index [1, 1] (2 such of 420), expected finite numbers",
            "w.safetensors: tensor `classifier.0.bias` has shape [4], expected [5]",
            "w.safetensors: the network has no `module.features.0.weight`",
        ]
    );
    let help = errors[0].help().unwrap();
    assert!(help.contains("the most similar tensor in the file is `module.features.0.weight`"), "{help}");

    let mut transposed = good();
    transposed.get_mut("classifier.0.weight").unwrap().shape.reverse();
    let errors = Weights::resolve(&graph, transposed, "w.safetensors").unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "w.safetensors: tensor `classifier.0.weight` has shape [84, 5], expected [5, 84]"
    );
    assert!(errors[0].help().unwrap().contains("transposed"));

    let mut short = good();
    let bias = short.get_mut("classifier.0.bias").unwrap();
    bias.data.truncate(19);
    assert_eq!(refused(&graph, short), ["w.safetensors: tensor `classifier.0.bias` has 19 bytes, expected 20"]);

    let mut many = good();
    many.extend((0..9).map(|index| (format!("x{index}"), tensor(&[1], &[0.0]))));
    let expected = "w.safetensors: the network has no `x0`, `x1`, `x2`, `x3`, `x4`, `x5` and 3 more";
    assert_eq!(refused(&graph, many), [expected]);

    assert_eq!(refused(&graph, Tensors::new()).len(), graph.params.len());
}

#[test]
fn statistics_that_cannot_be_folded_are_refused() {
    let graph = normalised(true);
    let mut tensors = seeded(&graph, 0);
    set(&mut tensors, "features.1.running_var", 1, -1.0);
    let text = "w.safetensors: tensor `features.1.running_var` is -1 at index 1; \
        with epsilon 0.00001 added it must be above 0";
    assert_eq!(refused(&graph, tensors.clone()), [text]);
    assert_eq!(refused(&normalised(false), tensors), [text]);

    let mut tensors = seeded(&graph, 0);
    set(&mut tensors, "features.4.running_var", 0, 0.0);
    set(&mut tensors, "features.4.weight", 0, f32::MAX);
    set(&mut tensors, "features.3.weight", 0, 0.0);
    set(&mut tensors, "features.3.weight", 1, -2.0);
    let texts = refused(&graph, tensors);
    let text = "w.safetensors: tensor `features.3.weight` becomes -inf at index [0, 1, 0, 0] when `features.4.weight` \
        is folded in, expected finite numbers";
    assert!(texts.iter().any(|found| found == text), "{texts:#?}");
}

#[test]
fn folded_files_are_taken_as_they_are_and_mixed_ones_refused() {
    let graph = normalised(true);
    let tensors = seeded(&graph, 4);
    let without = |layers: &[&str]| {
        let mut tensors = tensors.clone();
        tensors.retain(|key, _| !layers.iter().any(|layer| key.starts_with(layer)));
        tensors
    };
    let folded = without(&["features.1.", "features.4."]);
    let weights = Weights::resolve(&graph, folded.clone(), "w.safetensors").unwrap();
    for (index, param) in graph.params.iter().enumerate() {
        assert_eq!(weights.get(ParamId(index)), &folded[&param.key].data, "{}", param.key);
    }

    assert_eq!(
        refused(&graph, without(&["features.4."])),
        ["w.safetensors: batch normalisation is stored for `features.0.weight` and absent for `features.3.weight`: \
            either every layer has it or none"]
    );
    assert_eq!(
        refused(&graph, without(&["features.4.running_mean"])),
        ["w.safetensors: tensor `features.4.running_mean` of shape [3] is missing"]
    );
    // Neither the declared parameters nor the folded ones: what was declared is missing.
    assert_eq!(refused(&graph, without(&["features.1.", "features.4.", "classifier.0.bias"])).len(), 9);
    // A network that keeps its batch normalisation cannot take folded weights.
    assert_eq!(refused(&normalised(false), folded).len(), 8);
}

#[test]
fn sources_give_weights() {
    let graph = normalised(true);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("w.safetensors");
    let seeded = WeightsSource::parse("seeded:11").unwrap();
    assert_eq!(seeded.to_string(), "seeded:11");
    let weights = seeded.load(&graph).unwrap();
    canonical::write(&path, &graph, &weights, &mut |_| ()).unwrap();
    let file = WeightsSource::parse(path.to_str().unwrap()).unwrap();
    assert_eq!(file, WeightsSource::File(PathBuf::from(&path)));
    assert_eq!(file.load(&graph).unwrap(), weights);
    let other = file.load(&every_operator(false)).unwrap_err();
    assert!(other.iter().all(|error| error.to_string().starts_with(&path.display().to_string())));
}

#[test]
fn a_batch_norm_that_stays_computes_finite_numbers() {
    let norm = Op::BatchNormalization { epsilon: 0.0 };
    let graph = Builder::new("Norm", [2, 3, 3]).node("bn1", norm, "norm", vec![vec![2]; 4]).build();
    let tensors = |scale: f32, mean: f32, variance: f32| -> Tensors {
        let columns = [("weight", scale), ("bias", 0.5), ("running_mean", mean), ("running_var", variance)];
        columns.map(|(suffix, value)| (format!("norm.{suffix}"), tensor(&[2], &[1.0, value]))).into()
    };
    assert!(Weights::resolve(&graph, tensors(2.0, 1.0, 4.0), "w").is_ok());
    for (tensors, what) in [(tensors(1e30, 0.0, 1e-30), "factor of inf"), (tensors(1e30, 1e30, 1.0), "summand of -inf")]
    {
        let errors = Weights::resolve(&graph, tensors, "w").unwrap_err();
        assert_eq!(
            errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [format!(
                "w: the batch normalisation of `norm.weight` has a {what} at index [1] for what arrives, expected finite numbers"
            )]
        );
    }
}
