//! Weights: generated, written, read, and matched with a network.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use ::safetensors::SafeTensors;
use ::safetensors::tensor::{Dtype, TensorView};
use common::{Builder, every_operator, normalised, numbers, set, tensor};
use vgg_compiler::ir::{FoldedRole, ParamId, ParamSource, TypedGraph};
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
        .plain("flatten", vgg_compiler::ir::Op::Flatten)
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

/// The bytes of a file with this header and so many bytes of zeroes.
fn file(json: &str, data: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn broken_files_are_refused_with_their_reason() {
    let entry = |key: &str, shape: &str, begin: usize, end: usize| {
        format!(r#""{key}":{{"dtype":"F32","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    };
    let a = entry("a", "[2]", 0, 8);
    let valid = file(&format!("{{{a}}}"), 8);
    assert!(parse(valid.clone().into(), Path::new("valid")).is_ok());
    let huge = |length: u64| [&length.to_le_bytes()[..], b"{}"].concat();
    let long = "k".repeat(1025);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "it has 0 bytes, not even the 8"),
        ("seven bytes", vec![0; 7], "it has 7 bytes"),
        ("header longer than the file", huge(1000), "its header should have 1000 bytes, but 2 follow"),
        ("header of 2^64 - 1 bytes", huge(u64::MAX), "its header should have 18446744073709551615 bytes, but 2 follow"),
        ("header of 2^63 bytes", huge(1 << 63), "its header should have 9223372036854775808 bytes"),
        ("no JSON", file("[1]", 0), "its header does not begin with `{`"),
        ("JSON cut off", file("{\"a\":", 0), "its header: tensor `a`: EOF while parsing"),
        ("not UTF-8", [&9u64.to_le_bytes()[..], b"{\"\xff\xff\":{}}"].concat(), "its header: "),
        ("data cut off", valid[..valid.len() - 1].to_vec(), "need 8 bytes of data, but the file has 7: it is cut off"),
        ("data with a tail", [&valid[..], b"x"].concat(), "need 8 bytes of data, but the file has 9"),
        ("key twice", file(&format!("{{{a},{}}}", entry("a", "[2]", 8, 16)), 16), "its header: `a` is declared twice"),
        (
            "metadata twice",
            file(&format!(r#"{{"__metadata__":{{}},"__metadata__":{{}},{a}}}"#), 8),
            "its header: `__metadata__` is declared twice",
        ),
        (
            "metadata key twice",
            file(&format!(r#"{{"__metadata__":{{"x":"1","x":"2"}},{a}}}"#), 8),
            "its header: `x` is declared twice",
        ),
        ("metadata of numbers", file(&format!(r#"{{"__metadata__":{{"x":1}},{a}}}"#), 8), "expected a string"),
        (
            "field twice",
            file(r#"{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8),
            "tensor `a`: duplicate field `dtype`",
        ),
        (
            "unknown field",
            file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"stride":[1]}}"#, 8),
            "tensor `a`: unknown field `stride`",
        ),
        ("no shape", file(r#"{"a":{"dtype":"F32","data_offsets":[0,8]}}"#, 8), "tensor `a`: missing field `shape`"),
        (
            "negative extent",
            file(&format!("{{{}}}", entry("a", "[-2]", 0, 8)), 8),
            "tensor `a`: invalid value: integer `-2`",
        ),
        (
            "overlap",
            file(&format!("{{{a},{}}}", entry("b", "[2]", 4, 12)), 12),
            "tensor `b` claims bytes 4 to 12 of the data, which overlap",
        ),
        ("gap", file(&format!("{{{a},{}}}", entry("b", "[2]", 12, 20)), 20), "tensor `b` claims bytes 12 to 20"),
        (
            "ends before it begins",
            file(&format!("{{{}}}", entry("a", "[2]", 8, 0)), 8),
            "tensor `a` ends at byte 0, before",
        ),
        (
            "shape larger than its bytes",
            file(&format!("{{{}}}", entry("a", "[3]", 0, 8)), 8),
            "tensor `a` of shape [3] needs 12 bytes, but claims 8",
        ),
        (
            "shape that overflows",
            file(&format!("{{{}}}", entry("a", "[4294967296,4294967296]", 0, 8)), 8),
            "tensor `a` of shape [4294967296, 4294967296] is too large",
        ),
        (
            "control character",
            file(&format!("{{{}}}", entry(r"a\u0000", "[2]", 0, 8)), 8),
            r"the key `a\0` holds control",
        ),
        ("long key", file(&format!("{{{}}}", entry(&long, "[2]", 0, 8)), 8), "a key of 1025 bytes, more than the 1024"),
        (
            "half precision",
            file(r#"{"x.weight":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#, 4),
            "tensor `x.weight` holds F16 numbers, expected F32",
        ),
        (
            "unknown type",
            file(r#"{"x":{"dtype":"G7","shape":[2],"data_offsets":[0,4]}}"#, 4),
            "tensor `x` holds G7 numbers, expected F32",
        ),
        (
            "counter under another name",
            file(r#"{"x":{"dtype":"I64","shape":[],"data_offsets":[0,8]}}"#, 8),
            "tensor `x` holds I64 numbers, expected F32",
        ),
    ];
    let mut failures = Vec::new();
    for (what, bytes, words) in cases {
        match parse(bytes.into(), Path::new("dir/w.safetensors")) {
            Ok(_) => failures.push(format!("{what}: read")),
            Err(error) => {
                let text = error.to_string();
                if !text.contains(words) || !text.starts_with("dir/w.safetensors: ") || error.help().is_none() {
                    failures.push(format!("{what}: {text}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_truncation_and_every_flipped_byte_of_the_header_is_survived() {
    let graph = normalised(true);
    let mut bytes = Vec::new();
    let weights = Weights::resolve(&graph, seeded(&graph, 1), "seeded").unwrap();
    canonical::write_to(&mut bytes, &graph, &weights, &mut |_| ()).unwrap();
    let path = Path::new("w.safetensors");
    for length in 0..bytes.len() {
        assert!(parse(bytes[..length].to_vec().into(), path).is_err(), "{length} bytes");
    }
    let whole = parse(bytes.clone().into(), path).unwrap();
    for position in 0..Header::new(&graph.params).bytes.len() {
        for flip in [1, 0x20, 0x80] {
            let mut changed = bytes.clone();
            changed[position] ^= flip;
            if let Ok(tensors) = parse(changed.into(), path) {
                let bytes: usize = tensors.values().map(|tensor| tensor.data.len()).sum();
                assert_eq!(bytes, whole.values().map(|tensor| tensor.data.len()).sum::<usize>(), "byte {position}");
            }
        }
    }
}

#[test]
fn other_formats_are_recognised() {
    let directory = tempfile::tempdir().unwrap();
    let cases: [(&str, &[u8], &str, &str); 9] = [
        ("vgg16.pth", b"PK\x03\x04\x00\x00\x08\x08\x00\x00\x00\x00", "a PyTorch file (zip archive)", "torch.load"),
        (
            "vgg16.safetensors",
            b"PK\x03\x04\x00\x00\x08\x08\x00\x00\x00\x00",
            "a PyTorch file (zip archive)",
            "torch.load",
        ),
        ("old.pth", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "a Python pickle", "torch.load"),
        ("keras.h5", b"\x89HDF\r\n\x1a\n\x00\x00\x00\x00", "an HDF5 file", "h5py"),
        ("vgg.mat", b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "a MATLAB file", "scipy.io.loadmat"),
        ("vgg.onnx", b"\x08\x08\x12\x03vgg:\x10\n\x04\n\x02", "an ONNX model", "onnx.load"),
        ("vgg.bin", b"\x08\x08\x12\x07pytorch:\x10\n\x04", "an ONNX model", "onnx.load"),
        ("vgg.caffemodel", b"\n\x0eVGG_ILSVRC_16_", "a Caffe model", "NetParameter"),
        ("a.npy", b"\x93NUMPY\x01\x00v\x00{", "a NumPy array", "safetensors.numpy"),
    ];
    for (name, bytes, found, convert) in cases {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = read(&path).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("{}: this is {found}", path.display())), "{text}");
        let help = error.help().unwrap();
        assert!(
            help.starts_with("only .safetensors files are read so far; convert it") && help.contains(convert),
            "{help}"
        );
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let error = read(directory.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{}: expected a file with weights, found a directory", directory.path().display())
    );
    let missing = directory.path().join("missing.safetensors");
    let error = read(&missing).unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}: cannot read the weights: ", missing.display())), "{error}");
    let into = directory.path().join("missing").join("w.safetensors");
    let graph = normalised(true);
    let weights = Weights::resolve(&graph, seeded(&graph, 1), "seeded").unwrap();
    let error = canonical::write(&into, &graph, &weights, &mut |_| ()).unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}: cannot write the weights: ", into.display())), "{error}");
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
