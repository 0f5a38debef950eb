//! Weights of fully connected layers in f16, bf16 and int8: rounded, written, read.

mod common;

use std::collections::HashMap;
use std::fs;

use ::safetensors::SafeTensors;
use ::safetensors::tensor::Dtype;
use common::{Builder, every_operator, numbers, tensor};
use prost::Message;
use vgg_compiler::ir::{ParamId, Precision, TypedGraph, verify};
use vgg_compiler::onnx::messages::{DataLocation, DataType, ModelProto};
use vgg_compiler::onnx::{ExportOptions, write_model};
use vgg_compiler::passes::round_weights;
use vgg_compiler::weights::{Header, Weights, WeightsError, WeightsSource, canonical, seeded};

const ROUNDED: [Precision; 3] = [Precision::F16, Precision::Bf16, Precision::Int8];

fn rounded(graph: TypedGraph, precision: Precision) -> TypedGraph {
    let mut graph = graph.into_graph();
    round_weights(&mut graph, precision);
    verify(graph).unwrap()
}

/// A fully connected layer with these weights, in `precision`: its weight, and the scales of its rows if it has such.
fn layer(values: &[f32], rows: usize, precision: Precision) -> Result<[Vec<u8>; 2], Vec<WeightsError>> {
    let columns = values.len() / rows;
    let graph = Builder::new("Layer", [columns, 1, 1])
        .plain("flatten", vgg_compiler::ir::Op::Flatten)
        .gemm("fc1", "classifier.0", rows, columns)
        .build();
    let mut tensors = seeded(&graph, 0);
    tensors.insert("classifier.0.weight".into(), tensor(&[rows, columns], values));
    let graph = rounded(graph, precision);
    let weights = Weights::resolve(&graph, tensors, "layer.safetensors")?;
    let scales = if precision == Precision::Int8 { weights.get(ParamId(2)).to_vec() } else { Vec::new() };
    Ok([weights.get(ParamId(0)).to_vec(), scales])
}

/// Bits of an f32, and what NumPy 2.4 and ml_dtypes 0.6 (`astype`) make of it as float16 and bfloat16: numbers in the middle between two,
/// next to it, subnormal ones, the largest.
const HALVES: [(u32, u16, u16); 28] = [
    (0x0000_0000, 0x0000, 0x0000),
    (0x8000_0000, 0x8000, 0x8000),
    (0x3f80_0000, 0x3c00, 0x3f80),
    (0x3f80_1000, 0x3c00, 0x3f80),
    (0x3f80_1001, 0x3c01, 0x3f80),
    (0x3f80_3000, 0x3c02, 0x3f80),
    (0x3f80_2fff, 0x3c01, 0x3f80),
    (0x477f_e000, 0x7bff, 0x4780),
    (0x477f_efff, 0x7bff, 0x4780),
    (0xc77f_efff, 0xfbff, 0xc780),
    (0x3380_0000, 0x0001, 0x3380),
    (0x3300_0000, 0x0000, 0x3300),
    (0x3300_0001, 0x0001, 0x3300),
    (0x33c0_0000, 0x0002, 0x33c0),
    (0x3880_0000, 0x0400, 0x3880),
    (0x387f_c000, 0x03ff, 0x3880),
    (0x387f_e000, 0x0400, 0x3880),
    (0x387f_ffff, 0x0400, 0x3880),
    (0x3eaa_aaab, 0x3555, 0x3eab),
    (0xc2f6_e979, 0xd7b7, 0xc2f7),
    (0x3f80_8000, 0x3c04, 0x3f80),
    (0x3f81_8000, 0x3c0c, 0x3f82),
    (0x3f80_8001, 0x3c04, 0x3f81),
    (0x0000_0001, 0x0000, 0x0000),
    (0x0000_8000, 0x0000, 0x0000),
    (0x0001_8000, 0x0000, 0x0002),
    (0x4049_0fdb, 0x4248, 0x4049),
    (0x2edb_e6ff, 0x0000, 0x2edc),
];

#[test]
fn halves_are_those_of_numpy() {
    let values = HALVES.map(|(bits, ..)| f32::from_bits(bits));
    // More numbers than are rounded at a time.
    let many: Vec<f32> = values.iter().copied().cycle().take(28 * 400).collect();
    for (precision, expected) in
        [(Precision::F16, HALVES.map(|(_, half, _)| half)), (Precision::Bf16, HALVES.map(|(.., brain)| brain))]
    {
        let [found, _] = layer(&many, 4, precision).unwrap();
        let found: Vec<u16> = found.as_chunks().0.iter().map(|&bytes| u16::from_le_bytes(bytes)).collect();
        assert_eq!(found.len(), many.len());
        for row in found.chunks(28) {
            assert_eq!(row, expected, "{precision}");
        }
    }
}

/// Recorded from NumPy 2.4: `s = abs(w).max(1) / float32(127)`, `rint(w / s)`, and 0 where s is 0.
#[test]
fn whole_numbers_and_scales_are_those_of_numpy() {
    let rows = [
        [1.0, -2.0, 0.5, 0.0078, 127.0, -127.0, 63.5, -63.5, 0.5, 1.5, 2.5],
        [0.0; 11],
        [0.1, -0.2, 0.3, 0.011_023_622, -0.001_181_1, 0.25, 0.299, -0.3, 0.001_18, 0.001_19, 1e-9],
    ];
    let expected: [[i8; 11]; 3] =
        [[1, -2, 0, 0, 127, -127, 64, -64, 0, 2, 2], [0; 11], [42, -85, 127, 5, 0, 106, 127, -127, 0, 1, 0]];
    let [found, scales] = layer(rows.as_flattened(), 3, Precision::Int8).unwrap();
    assert_eq!(found, expected.as_flattened().iter().map(|&q| q as u8).collect::<Vec<_>>());
    let bits: Vec<u32> = numbers(&scales).iter().map(|scale| scale.to_bits()).collect();
    assert_eq!(bits, [0x3f80_0000, 0, 0x3b1a_cf38]);
}

#[test]
fn numbers_beyond_all_scales_stay_in_range() {
    // The scale of the first row is the smallest number that there is: the quotients reach 185. Those of the last are the largest.
    let tiny = f32::from_bits(1);
    let values = [185.0 * tiny, -185.0 * tiny, 3.0 * tiny, f32::MAX, f32::MIN, 1.0];
    let [found, scales] = layer(&values, 2, Precision::Int8).unwrap();
    assert_eq!(found.iter().map(|&q| q as i8).collect::<Vec<_>>(), [127, -127, 3, 127, -127, 0]);
    assert_eq!(numbers(&scales), [tiny, f32::MAX / 127.0]);
}

#[test]
fn what_is_too_large_is_refused() {
    let refused = |value: f32, precision: Precision| {
        let mut values = vec![1.0; 6000 * 2];
        values[6000 + 5000] = value;
        let [error] = &layer(&values, 2, precision).unwrap_err()[..] else { panic!("one error is expected") };
        format!("{error}; {}", error.help().unwrap())
    };
    let text = refused(-65520.0, Precision::F16);
    assert!(
        text.starts_with(
            "layer.safetensors: tensor `classifier.0.weight` is -65520 at index [1, 5000], more than f16 can hold"
        ),
        "{text}"
    );
    assert!(text.contains("65504") && text.contains("--precision bf16"), "{text}");
    let text = refused(f32::MAX, Precision::Bf16);
    assert!(text.contains("more than bf16 can hold") && text.contains("--precision f32"), "{text}");
}

#[test]
fn the_file_is_what_the_format_says() {
    let directory = tempfile::tempdir().unwrap();
    for precision in ROUNDED {
        let graph = rounded(every_operator(false), precision);
        let path = directory.path().join(format!("{precision}.safetensors"));
        let source = WeightsSource::File(path.clone());
        let weights = Weights::resolve(&graph, seeded(&graph, 1), "seeded:1").unwrap();
        canonical::write(&path, &graph, &weights, &mut |_| {}).unwrap();
        let bytes = fs::read(&path).unwrap();
        let header = Header::new(&graph.params);
        assert_eq!((header.file_len(), &header.bytes[..]), (bytes.len(), &bytes[..header.bytes.len()]));
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.len(), graph.params.len());
        for (index, param) in graph.params.iter().enumerate() {
            let view = file.tensor(&param.key).unwrap();
            let dtype = match param.precision() {
                Precision::F32 => Dtype::F32,
                Precision::F16 => Dtype::F16,
                Precision::Bf16 => Dtype::BF16,
                Precision::Int8 => Dtype::I8,
            };
            assert_eq!((view.dtype(), view.shape()), (dtype, &param.shape[..]), "{}", param.key);
            assert_eq!(view.data(), &bytes[header.file_range(ParamId(index))], "{}", param.key);
            assert_eq!(header.ranges[index].start % param.precision().bytes(), 0, "{}", param.key);
        }
        // Only the fully connected layer is rounded.
        let other = file.iter().filter(|(_, view)| view.dtype() != Dtype::F32).map(|(key, _)| key);
        assert_eq!(other.collect::<Vec<_>>(), ["classifier.0.weight"]);
        assert_eq!(file.tensor("classifier.0.weight_scale").is_ok(), precision == Precision::Int8);
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let theirs = ::safetensors::serialize(file.iter(), Some(metadata)).unwrap();
        let json = |bytes: &[u8]| {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            String::from_utf8(bytes[8..8 + length].to_vec()).unwrap().trim_end().to_owned()
        };
        assert_eq!(json(&bytes), json(&theirs));

        assert_eq!(source.load(&graph).unwrap(), weights, "the file of this network is taken as it is");
        assert!(canonical::is_of(&graph, &path) && !canonical::is_of(&every_operator(false), &path));
        assert!(canonical::open(&every_operator(false), &bytes.clone().into(), "x").is_none());
        assert!(canonical::open(&graph, &bytes[..bytes.len() - 1].to_vec().into(), "x").is_none());
    }
}

#[test]
fn int8_weights_fit_the_network_they_were_written_for_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("int8.safetensors");
    let graph = rounded(every_operator(false), Precision::Int8);
    let weights = Weights::resolve(&graph, seeded(&graph, 1), "seeded:1").unwrap();
    canonical::write(&path, &graph, &weights, &mut |_| {}).unwrap();
    for other in [Precision::F32, Precision::F16] {
        let errors = WeightsSource::File(path.clone()).load(&rounded(every_operator(false), other)).unwrap_err();
        let text = format!("{}; {}", errors[0], errors[0].help().unwrap());
        assert!(
            text.contains("tensor `classifier.0.weight` holds I8 numbers") && text.contains("--precision int8"),
            "{text}"
        );
    }
}

#[test]
fn numbers_of_a_rounded_file_are_finite_or_refused() {
    for (precision, bytes) in [(Precision::F16, 0x7c00_u16), (Precision::Bf16, 0xff80)] {
        let graph = rounded(every_operator(false), precision);
        let weights = Weights::resolve(&graph, seeded(&graph, 1), "seeded:1").unwrap();
        let mut file = Vec::new();
        canonical::write_to(&mut file, &graph, &weights, &mut |_| {}).unwrap();
        let place = Header::new(&graph.params).file_range(ParamId(6)).start;
        assert_eq!(graph.params[6].key, "classifier.0.weight");
        file[place + 170..place + 172].copy_from_slice(&bytes.to_le_bytes());
        let errors = canonical::open(&graph, &file.into(), "x.safetensors").unwrap().unwrap_err();
        let text = errors[0].to_string();
        assert!(
            text.starts_with("x.safetensors: tensor `classifier.0.weight` is ") && text.contains("index [1, 1]"),
            "{text}"
        );
        assert!(text.contains("inf") && text.contains("(1 such of 420)"), "{text}");
    }
}

/// The numbers that a node reads are those of the format, whatever the file holds.
#[test]
fn rounded_numbers_are_near_the_originals() {
    let exact = every_operator(false);
    let original = Weights::resolve(&exact, seeded(&exact, 1), "seeded:1").unwrap();
    let node = |graph: &TypedGraph| graph.nodes.iter().find(|node| node.name == "fc6").unwrap().clone();
    let expected = original.numbers(&exact, &node(&exact), 0);
    for (precision, bound) in
        [(Precision::F16, 2f32.powi(-11)), (Precision::Bf16, 2f32.powi(-8)), (Precision::Int8, 0.0)]
    {
        let graph = rounded(every_operator(false), precision);
        let weights = Weights::resolve(&graph, seeded(&graph, 1), "seeded:1").unwrap();
        let found = weights.numbers(&graph, &node(&graph), 0);
        assert_eq!(weights.numbers(&graph, &node(&graph), 1), original.numbers(&exact, &node(&exact), 1));
        for (found, expected) in found.chunks(84).zip(expected.chunks(84)) {
            let largest = expected.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
            for (found, expected) in found.iter().zip(expected) {
                let bound =
                    if precision == Precision::Int8 { largest / 254.0 * 1.0001 } else { bound * expected.abs() };
                assert!((found - expected).abs() <= bound, "{precision}: {found}, expected {expected} within {bound}");
            }
        }
    }
}

#[test]
fn onnx_gets_the_same_numbers_and_their_conversion() {
    let directory = tempfile::tempdir().unwrap();
    for precision in ROUNDED {
        let graph = rounded(every_operator(false), precision);
        let weights = Weights::resolve(&graph, seeded(&graph, 1), "seeded:1").unwrap();
        for external in [None, Some("w.safetensors".to_owned())] {
            let path = directory.path().join("model.onnx");
            let options = ExportOptions { external: external.clone(), ..ExportOptions::default() };
            write_model(&path, &graph, &weights, &options, &mut |_| {}).unwrap();
            let model = ModelProto::decode(&fs::read(&path).unwrap()[..]).unwrap();
            let message = model.graph.unwrap();
            let tensor =
                message.initializer.iter().find(|tensor| tensor.name.as_deref() == Some("fc6_weight")).unwrap();
            let kind = match precision {
                Precision::F16 => DataType::Float16,
                Precision::Bf16 => DataType::Bfloat16,
                _ => DataType::Int8,
            };
            assert_eq!((tensor.data_type, &tensor.dims[..]), (Some(kind as i32), &[5, 84][..]));
            match external {
                None => assert_eq!(tensor.raw_data.as_ref(), Some(weights.get(ParamId(6)))),
                Some(_) => {
                    assert_eq!(tensor.data_location, Some(DataLocation::External as i32));
                    let length =
                        tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some("length")).unwrap();
                    assert_eq!(length.value, Some((420 * precision.bytes()).to_string()));
                }
            }
            let place = message.node.iter().position(|node| node.name.as_deref() == Some("fc6")).unwrap();
            let (conversion, gemm) = (&message.node[place - 1], &message.node[place]);
            assert_eq!(gemm.input[1..], ["fc6_weight_f32", "fc6_bias"]);
            assert_eq!(conversion.output, ["fc6_weight_f32"]);
            let (op, inputs): (_, &[&str]) = match precision {
                Precision::Int8 => ("DequantizeLinear", &["fc6_weight", "fc6_weight_scale"]),
                _ => ("Cast", &["fc6_weight"]),
            };
            assert_eq!(
                (conversion.op_type.as_deref(), &conversion.input[..]),
                (Some(op), &inputs.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()[..])
            );
        }
    }
}
