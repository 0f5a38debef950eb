//! Readings of the papers that give the same parameter shapes but another network. Each is built in the right and in the wrong way:
//! shapes cannot tell them apart, the numbers can, and ours are those of an oracle that shares nothing with the compiler.
//!
//! Two oracles: ONNX Runtime on the published tables ([`vgg_tests::published`]), and NumPy with naive loops (`python/forward.py`).

use std::fs::File;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use onnx_protobuf::{Message, ModelProto};
use serde_json::{Value, json};
use vgg_cli::ort::{OrtModel, OrtOptions};
use vgg_compiler::ir::{ParamId, Shape};
use vgg_compiler::onnx::{self, ExportOptions};
use vgg_compiler::spec::parse::parse_file;
use vgg_compiler::spec::print::print;
use vgg_compiler::spec::variants::{VARIANTS, variant};
use vgg_compiler::weights::Header;
use vgg_compiler::{CompileOptions, Compiled, compile};
use vgg_runtime::{Isa, npy};
use vgg_tests::backends::{Backend, InOnnxRuntime, InSession, LayerValues, Prepared};
use vgg_tests::cases::{self, Case, Network};
use vgg_tests::compare::{Tolerance, assert_close, check_close, compare};
use vgg_tests::conform::{Scope, conform};
use vgg_tests::onnx::with_all_outputs;
use vgg_tests::published::{self, Layer};
use vgg_tests::python::{self, Script};

/// The networks of full size run one after the other: each takes some gigabytes.
static LARGE: Mutex<()> = Mutex::new(());

/// How far apart two networks must be to be told apart: far more than any tolerance.
const APART: f64 = 1e-3;

const THREADS: usize = 2;

/// The text of a variant, in the canonical notation.
fn text_of(name: &str) -> String {
    print(&variant(name).expect("a built-in variant").spec().expect("a valid declaration"))
}

/// `text` with `from` replaced by `to`, which must occur `times` times.
fn replaced(text: &str, from: &str, to: &str, times: usize) -> String {
    assert_eq!(text.matches(from).count(), times, "`{from}` in {text}");
    text.replace(from, to)
}

/// The shape of every parameter, in order.
fn parameter_shapes(compiled: &Compiled) -> Vec<Vec<usize>> {
    compiled.graph.params.iter().map(|param| param.shape.clone()).collect()
}

fn compiled(text: &str) -> Compiled {
    let spec = parse_file("trap", text).unwrap_or_else(|errors| panic!("{errors}"));
    compile(&spec, &CompileOptions::default()).expect("a valid declaration")
}

/// Every layer of our network on one image of the sequence that all traps share.
fn ours(prepared: &Prepared, images: &[f32]) -> Vec<LayerValues> {
    let backend = InSession { isa: Isa::widest(), threads: THREADS, stored: true, exact: true };
    backend.run(prepared, images, 1).expect("the session runs").layers
}

/// Every layer of the network of a table in ONNX Runtime, with the weights of `prepared`.
fn oracle(prepared: &Prepared, layers: &[Layer], images: &[f32]) -> Vec<Vec<f32>> {
    let weights = prepared.weights_file();
    let mut bytes = Vec::new();
    File::open(weights).expect("the weights file").take(1 << 16).read_to_end(&mut bytes).expect("the weights file");
    let Shape::Image { channels, height, width } = prepared.graph.input_shape() else { panic!("an image") };
    let name = weights.file_name().expect("a name").to_str().expect("plain");
    let model = published::model(layers, [channels, height, width].map(|extent| extent as i64), name, &bytes);
    let path = prepared.path("published.onnx");
    std::fs::write(&path, with_all_outputs(&model.write_to_bytes().unwrap()).unwrap()).unwrap();
    let mut model = OrtModel::from_file(&path, OrtOptions { intra_threads: THREADS, ..OrtOptions::default() }).unwrap();
    let mut outputs = model.run(images, &[1, channels, height, width]).unwrap();
    // The graph's own output comes first, then those of the nodes before it.
    let last = outputs.remove(0);
    outputs.into_iter().chain([last]).map(|tensor| tensor.data).collect()
}

/// Our network, layer by layer, is that of the table.
fn assert_agrees(what: &str, ours: &[LayerValues], oracle: &[Vec<f32>]) {
    let ours = match ours.last() {
        Some(last) if last.name == "prob" => &ours[..ours.len() - 1],
        _ => ours,
    };
    assert_eq!(ours.len(), oracle.len(), "{what}: layers");
    let failures: Vec<String> = ours
        .iter()
        .zip(oracle)
        .filter_map(|(layer, expected)| {
            check_close(&layer.name, &layer.shape, &layer.values, expected, Tolerance::DIRECT_VS_ORT).err()
        })
        .map(|mismatch| mismatch.to_string())
        .collect();
    assert!(failures.is_empty(), "{what} differs from the published network:\n{}", failures.join("\n"));
}

fn logits(layers: &[LayerValues]) -> &[f64] {
    &layers.iter().rev().find(|layer| layer.name != "prob").expect("a layer").values
}

/// A wrong reading of a variant.
struct Trap {
    variant: &'static str,
    /// What the wrong reading does to the notation: what is replaced, by what, how often.
    wrong: (&'static str, &'static str, usize),
    /// What it does to the published table.
    table: fn(&mut Vec<Layer>),
}

fn assert_told_apart(traps: &[Trap]) {
    let _guard = LARGE.lock().unwrap_or_else(PoisonError::into_inner);
    for Trap { variant, wrong: (from, to, times), table } in traps {
        let right_text = text_of(variant);
        let wrong_text = replaced(&right_text, from, to, *times);
        let (right_network, wrong_network) = (compiled(&right_text), compiled(&wrong_text));
        assert_eq!(parameter_shapes(&right_network), parameter_shapes(&wrong_network), "{variant}: the trap is silent");

        let case = Case::of_text(*variant, right_text);
        let images = case.images(&right_network, 1);
        let published = published::table(variant);
        let mut misread = published.clone();
        table(&mut misread);
        assert_ne!(published, misread, "{variant}");

        let prepared = Prepared::new(&case);
        let right = ours(&prepared, &images);
        assert_agrees(variant, &right, &oracle(&prepared, &published, &images));
        let right = logits(&right).to_vec();
        drop(prepared);
        let prepared = Prepared::new(&Case::of_text(*variant, wrong_text));
        let wrong = ours(&prepared, &images);
        assert_agrees(&format!("{variant}, misread"), &wrong, &oracle(&prepared, &misread, &images));
        let apart = compare(logits(&wrong), &right).normwise;
        assert!(apart > APART, "{variant}: `{to}` for `{from}` changes the logits by {apart:e} only");
    }
}

/// All nine, layer by layer, against tables that were written down a second time.
#[test]
fn the_nine_variants_are_those_published() {
    let _guard = LARGE.lock().unwrap_or_else(PoisonError::into_inner);
    for variant in &VARIANTS {
        let case = Case::of_variant(variant);
        let prepared = Prepared::new(&case);
        let images = case.images(&case.compile(1), 1);
        assert_agrees(
            variant.name,
            &ours(&prepared, &images),
            &oracle(&prepared, &published::table(variant.name), &images),
        );
    }
}

/// F and M: 3x3 windows of stride 2, rounded up. 2x2 windows rounded down give 27, 13, 6 and 54, 26, 13, 6 all the same.
#[test]
fn trap_1_pools_overlap_and_round_up() {
    fn narrow(layers: &mut Vec<Layer>) {
        for layer in layers {
            if let Layer::MaxPool(kernel, _, ceil) = layer {
                (*kernel, *ceil) = (2, false);
            }
        }
    }
    let trap = |variant| Trap { variant, wrong: ("maxpool(3, ceil)", "maxpool", 3), table: narrow };
    assert_told_apart(&[trap("vgg-f"), trap("vgg-m")]);
}

/// S: the published weights were trained with a conv2 of padding 0; the paper's table says 1. fc6 has 18432 inputs in both.
#[test]
fn trap_2_conv2_of_s_has_no_padding() {
    assert_told_apart(&[Trap {
        variant: "vgg-s",
        wrong: ("conv5-256(pad 0)", "conv5-256(pad 1)", 1),
        table: |layers| layers[3] = Layer::Conv(256, 5, 1, 1),
    }]);
}

/// Alpha is divided by the size of the window in Caffe, ONNX and here: 5e-4. Dialects that do not divide write 1e-4.
#[test]
fn trap_3_alpha_is_divided_by_the_window() {
    fn undivided(layers: &mut Vec<Layer>) {
        for layer in layers {
            if let Layer::Lrn(alpha, _) = layer {
                *alpha = 1e-4;
            }
        }
    }
    let trap = |variant, times| Trap { variant, wrong: ("lrn", "lrn(alpha 1e-4)", times), table: undivided };
    assert_told_apart(&[trap("vgg-f", 2), trap("vgg-m", 2), trap("vgg-s", 1), trap("vgg-a-lrn", 1)]);
}

/// The constant is 2 in the papers, and 1 by default in every framework.
#[test]
fn trap_4_the_constant_of_lrn_is_two() {
    fn one(layers: &mut Vec<Layer>) {
        for layer in layers {
            if let Layer::Lrn(_, constant) = layer {
                *constant = 1.0;
            }
        }
    }
    let trap = |variant, times| Trap { variant, wrong: ("lrn", "lrn(k 1)", times), table: one };
    assert_told_apart(&[trap("vgg-f", 2), trap("vgg-m", 2), trap("vgg-s", 1), trap("vgg-a-lrn", 1)]);
}

/// F and M normalise after conv1 and conv2, S after conv1 alone.
#[test]
fn trap_5_s_has_one_lrn_and_f_and_m_have_two() {
    let second = |variant| Trap {
        variant,
        wrong: ("conv2: conv5-256,                  lrn, ", "conv2: conv5-256, ", 1),
        table: |layers| {
            layers.remove(4);
        },
    };
    assert_told_apart(&[
        Trap {
            variant: "vgg-s",
            wrong: ("conv2: conv5-256(pad 0), ", "conv2: conv5-256(pad 0), lrn, ", 1),
            table: |layers| layers.insert(4, Layer::Lrn(5e-4, 2.0)),
        },
        second("vgg-f"),
        Trap {
            wrong: ("conv2: conv5-256(stride 2, pad 1), lrn, ", "conv2: conv5-256(stride 2, pad 1), ", 1),
            ..second("vgg-m")
        },
    ]);
}

/// The rows of fc6 are in the order of channels, rows, columns. In frameworks with the channels innermost they are not, and as many.
#[test]
fn trap_8_features_are_flattened_channels_first() {
    let _guard = LARGE.lock().unwrap_or_else(PoisonError::into_inner);
    let case = Case::of_variant(variant("vgg-f").expect("a variant"));
    let prepared = Prepared::new(&case);
    let images = case.images(&case.compile(1), 1);
    let right = published::table("vgg-f");
    let mut wrong = right.clone();
    let fc6 = wrong.iter().position(|layer| matches!(layer, Layer::Fc(_))).expect("fc6");
    wrong.insert(fc6, Layer::ChannelsLast);
    let (right, wrong) = (oracle(&prepared, &right, &images), oracle(&prepared, &wrong, &images));
    let ours = ours(&prepared, &images);
    assert_agrees("vgg-f", &ours, &right);
    let (right, wrong) = (right.last().unwrap(), wrong.last().unwrap());
    assert_eq!(right.len(), wrong.len());
    assert!(compare(wrong, right).normwise > APART);
    assert!(compare(logits(&ours), wrong).normwise > APART);
}

/// C's 1x1 convolutions have no padding. The default of this notation says so; with 1 the shapes would change, and the head with them.
#[test]
fn trap_11_the_1x1_convolutions_of_c_have_no_padding() {
    let right_text = text_of("vgg-c");
    assert!(right_text.contains("conv1-256,") && right_text.contains("conv1-512,"), "{right_text}");
    let wrong_text =
        replaced(&replaced(&right_text, "conv1-256", "conv1-256(pad 1)", 1), "conv1-512", "conv1-512(pad 1)", 2);
    let (right, wrong) = (compiled(&right_text), compiled(&wrong_text));
    let map = |compiled: &Compiled, name: &str| {
        let node = compiled.graph.nodes.iter().find(|node| node.name == name).expect("the layer");
        compiled.graph.shape(node.output).dims()
    };
    assert_eq!((map(&right, "conv3_2"), map(&right, "conv3_3")), (vec![256, 56, 56], vec![256, 56, 56]));
    assert_eq!(map(&wrong, "conv3_3"), [256, 58, 58]);
    assert_eq!(right.graph.param_count(), 133_638_952);
    assert_ne!(right.graph.param_count(), wrong.graph.param_count());
}

/// A network of small, asymmetric tensors, in our kernels and in NumPy.
struct Small {
    prepared: Prepared,
    images: Vec<f32>,
}

impl Small {
    fn new(text: &str) -> Self {
        let case = Case::of_text("small", text);
        let prepared = Prepared::new(&case);
        let images = case.images(&case.compile(1), 1);
        let small = Self { prepared, images };
        small.write("x.npy", &small.prepared.graph.input_shape().dims(), &small.images);
        for index in 0..small.prepared.graph.params.len() {
            small.write(&format!("p{index}.npy"), &small.shape(index), &small.parameter(index));
        }
        small
    }

    fn shape(&self, index: usize) -> Vec<usize> {
        self.prepared.graph.params[index].shape.clone()
    }

    fn parameter(&self, index: usize) -> Vec<f32> {
        let bytes = self.prepared.weights.get(ParamId(index));
        bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    }

    /// Images get their leading 1.
    fn write(&self, name: &str, shape: &[usize], values: &[f32]) {
        let shape = if name.starts_with('x') { [&[1], shape].concat() } else { shape.to_vec() };
        npy::write_f32(&self.prepared.path(name), &shape, values).expect("a file");
    }

    /// The same network in NumPy, its definition written out by hand.
    fn numpy(&self, input: &str, layers: &[Value]) -> Vec<f32> {
        let network = json!({ "input": input, "output": "y.npy", "layers": layers });
        let path = self.prepared.path("network.json");
        std::fs::write(&path, network.to_string()).expect("a file");
        python::run(Script::File("forward.py"), &[&path]).unwrap();
        npy::read_f32(&self.prepared.path("y.npy")).expect("the output").1
    }

    /// Our output, the same on every tier within the tolerance.
    fn ours(&self) -> Vec<f64> {
        let run = |isa| {
            let backend = InSession { isa, threads: 1, stored: false, exact: true };
            backend.run(&self.prepared, &self.images, 1).expect("the session runs").outputs.remove(0)
        };
        let widest = run(Isa::widest());
        for &isa in Isa::available() {
            assert_close(isa.name(), &[widest.len()], &run(isa), &widest, Tolerance::DIRECT_VS_ORT);
        }
        widest
    }

    fn assert_right(&self, what: &str, numpy: &[f32]) {
        assert_close(what, &[numpy.len()], &self.ours(), numpy, Tolerance::DIRECT_VS_F64);
    }

    fn assert_wrong(&self, what: &str, numpy: &[f32]) {
        let ours = self.ours();
        assert_eq!(ours.len(), numpy.len(), "{what}: the trap is silent");
        let apart = compare(&ours, numpy).normwise;
        assert!(apart > APART, "{what} changes the output by {apart:e} only");
    }
}

fn conv(weight: &str, bias: &str, stride: usize, pad: usize) -> Value {
    json!({ "op": "conv", "weight": weight, "bias": bias, "stride": stride, "pad": pad })
}

fn fc(weight: &str, bias: &str) -> Value {
    json!({ "op": "fc", "weight": weight, "bias": bias })
}

fn flatten(order: &str) -> Value {
    json!({ "op": "flatten", "order": order })
}

/// `values` of the extents `shape` with two axes exchanged.
fn exchanged(values: &[f32], shape: &[usize], first: usize, second: usize) -> Vec<f32> {
    let mut order = shape.to_vec();
    order.swap(first, second);
    let strides =
        |shape: &[usize]| (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect::<Vec<usize>>();
    let (from, to) = (strides(shape), strides(&order));
    let place = |index: usize| -> usize {
        let mut position: Vec<usize> = (0..order.len()).map(|axis| index / to[axis] % order[axis]).collect();
        position.swap(first, second);
        position.iter().zip(&from).map(|(coordinate, stride)| coordinate * stride).sum()
    };
    (0..values.len()).map(|index| values[place(index)]).collect()
}

/// Images stay in the order of channels that they have: this release knows no preprocessing, and neither swaps colours nor subtracts
/// means. BGR images for RGB weights give another result, and no complaint.
#[test]
fn traps_6_and_7_images_are_taken_as_they_are() {
    let small = Small::new("Net: 3 x 6 x 5 { conv3-4; fc-6 }");
    let layers = [conv("p0.npy", "p1.npy", 1, 1), json!({ "op": "relu" }), flatten("CHW"), fc("p2.npy", "p3.npy")];
    small.assert_right("the image as it is", &small.numpy("x.npy", &layers));
    let reversed: Vec<f32> = small.images.chunks_exact(30).rev().flatten().copied().collect();
    small.write("x_bgr.npy", &[3, 6, 5], &reversed);
    small.assert_wrong("the order of colours", &small.numpy("x_bgr.npy", &layers));
    let centred: Vec<f32> = small.images.iter().map(|value| value - 0.5).collect();
    small.write("x_mean.npy", &[3, 6, 5], &centred);
    small.assert_wrong("a mean", &small.numpy("x_mean.npy", &layers));

    // And the file says that nobody knows what the numbers mean.
    let options = ExportOptions { external: Some("w.safetensors".to_owned()), ..ExportOptions::default() };
    let graph = &small.prepared.graph;
    let model = onnx::graph_bytes(graph, &Header::new(&graph.params), &options).expect("a model");
    let model = ModelProto::parse_from_bytes(&model).expect("a model");
    let said = model.metadata_props.iter().find(|entry| entry.key == "vgg.preprocessing").map(|entry| &*entry.value);
    assert_eq!(said, Some("unknown"));
}

/// fc weights have one column for each channel, row and column of the image, in this order.
#[test]
fn trap_8_rows_of_fc_are_in_the_order_of_channels_rows_columns() {
    let small = Small::new("Net: 3 x 4 x 4 { conv3-5, maxpool; fc-6 }");
    let layers = |order| {
        let pool = json!({ "op": "maxpool", "kernel": 2, "stride": 2, "ceil": false });
        [conv("p0.npy", "p1.npy", 1, 1), json!({ "op": "relu" }), pool, flatten(order), fc("p2.npy", "p3.npy")]
    };
    small.assert_right("channels first", &small.numpy("x.npy", &layers("CHW")));
    small.assert_wrong("channels last", &small.numpy("x.npy", &layers("HWC")));
}

/// Output number i is row i of the last weight: no class changes its place.
#[test]
fn trap_9_classes_keep_their_order() {
    let small = Small::new("Net: 2 x 3 x 3 { fc-7, softmax }");
    let layers = |weight, bias| [flatten("CHW"), fc(weight, bias), json!({ "op": "softmax" })];
    let close = Tolerance::probabilities(10.0);
    let right = small.numpy("x.npy", &layers("p0.npy", "p1.npy"));
    assert_close("classes", &[7], &small.ours(), &right, close);
    let rows: Vec<f32> = small.parameter(0).chunks_exact(18).rev().flatten().copied().collect();
    let biases: Vec<f32> = small.parameter(1).into_iter().rev().collect();
    small.write("rows.npy", &[7, 18], &rows);
    small.write("biases.npy", &[7], &biases);
    let wrong = small.numpy("x.npy", &layers("rows.npy", "biases.npy"));
    small.assert_wrong("the order of classes", &wrong);
    let turned: Vec<f32> = wrong.into_iter().rev().collect();
    assert_close("classes, turned", &[7], &small.ours(), &turned, close);
}

/// Filters are [out, in, height, width]. Square kernels, and equal numbers of channels, hide every exchange of axes.
#[test]
fn trap_10_filters_are_output_input_height_width() {
    let small = Small::new("Net: 4 x 7 x 7 { conv3-4(linear), conv5-4(stride 2, linear) }");
    let layers = |first, second| [conv(first, "p1.npy", 1, 1), conv(second, "p3.npy", 2, 2)];
    small.assert_right("OIHW", &small.numpy("x.npy", &layers("p0.npy", "p2.npy")));
    for (name, axes) in [("OIWH", [2, 3]), ("IOHW", [0, 1])] {
        for index in [0, 2] {
            let wrong = exchanged(&small.parameter(index), &small.shape(index), axes[0], axes[1]);
            assert_ne!(wrong, small.parameter(index));
            small.write("wrong.npy", &small.shape(index), &wrong);
            let layers = if index == 0 { layers("wrong.npy", "p2.npy") } else { layers("p0.npy", "wrong.npy") };
            small.assert_wrong(name, &small.numpy("x.npy", &layers));
        }
    }
    // A kernel turned by half a circle would make it a true convolution.
    let turned: Vec<f32> = small.parameter(0).chunks_exact(9).flat_map(|plane| plane.iter().rev().copied()).collect();
    small.write("wrong.npy", &small.shape(0), &turned);
    small.assert_wrong("a turned kernel", &small.numpy("x.npy", &layers("wrong.npy", "p2.npy")));
}

/// Local response normalisation with an even window: of the channel more than on the other side, ONNX says that it lies behind. ONNX
/// Runtime takes odd windows alone; where it refuses, NumPy is the judge.
#[test]
fn even_windows_of_lrn_have_one_channel_more_behind() {
    let definitions = [
        ("lrn of size 2", 2, 0.75, vec![json!({ "op": "maxpool", "kernel": 2, "stride": 2, "ceil": false })]),
        ("lrn of size 4", 4, 0.6, vec![conv("p2.npy", "p3.npy", 1, 1), json!({ "op": "relu" })]),
    ];
    for (case, (name, size, beta, between)) in cases::even_lrn().into_iter().zip(definitions) {
        assert_eq!(case.name, name);
        let Network::Text(text) = &case.network else { panic!("a text") };
        let small = Small::new(text);
        let head = small.prepared.graph.params.len() - 2;
        let lrn = |size: usize| json!({ "op": "lrn", "size": size, "alpha": 5e-4, "beta": beta, "k": 2.0 });
        let layers = |lrn: Value| {
            let mut layers = vec![conv("p0.npy", "p1.npy", 1, 1), json!({ "op": "relu" }), lrn];
            layers.extend(between.iter().cloned());
            layers.extend([flatten("CHW"), fc(&format!("p{head}.npy"), &format!("p{}.npy", head + 1))]);
            layers
        };
        small.assert_right(name, &small.numpy("x.npy", &layers(lrn(size))));
        small.assert_wrong(name, &small.numpy("x.npy", &layers(lrn(size + 1))));
        conform(&case, Scope::WITHOUT_ONNX_RUNTIME).assert_conforms(1, 100);
        let refusal =
            InOnnxRuntime::Inline.run(&small.prepared, &small.images, 1).expect_err("ONNX Runtime takes it now");
        assert!(refusal.contains("ONNX Runtime refuses the model"), "{refusal}");
    }
}
