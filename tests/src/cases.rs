//! The networks on which every way to run a network is compared: one list, used by every backend.
//!
//! A case is a declaration or a graph, the seeds of its weights and of its images, and nothing else. [`variants`] are the nine built-in ones at
//! full size; [`options`], [`channels`], [`sizes`] and [`random`] are small networks that reach every option of the language and every
//! edge of a block or tile; [`crate::graphs`] has the operators that the language has no words for.

use vgg_compiler::ir::{Graph, Op, Precision};
use vgg_compiler::spec::ModelSpec;
use vgg_compiler::spec::parse::parse_file;
use vgg_compiler::spec::variants::{VARIANTS, Variant};
use vgg_compiler::{CompileOptions, Compiled, compile, compile_graph};

use crate::random::Random;

/// One network with its numbers.
#[derive(Clone, Debug)]
pub struct Case {
    /// What reports call it.
    pub name: String,
    /// What is run.
    pub network: Network,
    /// The seed of the weights.
    pub weights_seed: u64,
    /// The seed of the images.
    pub images_seed: u64,
    /// How the weights of fully connected layers are kept.
    pub precision: Precision,
}

/// Where a network comes from.
#[derive(Clone, Debug)]
pub enum Network {
    /// A built-in variant.
    Variant(&'static Variant),
    /// The text of a declaration.
    Text(String),
    /// A graph, for what no declaration says.
    Graph(Box<Graph>),
}

impl Case {
    /// The case of a declaration.
    pub fn of_text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            network: Network::Text(text.into()),
            weights_seed: 1,
            images_seed: 2,
            precision: Precision::F32,
        }
    }

    /// The case of a built-in variant.
    pub fn of_variant(variant: &'static Variant) -> Self {
        Self {
            name: variant.name.to_owned(),
            network: Network::Variant(variant),
            weights_seed: 1,
            images_seed: 2,
            precision: Precision::F32,
        }
    }

    /// The case of a graph.
    pub fn of_graph(name: impl Into<String>, graph: Graph) -> Self {
        Self {
            name: name.into(),
            network: Network::Graph(Box::new(graph)),
            weights_seed: 1,
            images_seed: 2,
            precision: Precision::F32,
        }
    }

    /// The same with the weights of fully connected layers in `precision`.
    #[must_use]
    pub fn rounded(self, precision: Precision) -> Self {
        Self { name: format!("{}, {precision}", self.name), precision, ..self }
    }

    /// The network for `batch` images at a time.
    ///
    /// # Panics
    /// When it cannot be compiled: a mistake in the list of cases.
    pub fn compile(&self, batch: usize) -> Compiled {
        let options = CompileOptions { batch, precision: self.precision, ..CompileOptions::default() };
        let compiled = match &self.network {
            Network::Variant(variant) => {
                let spec = variant.spec().unwrap_or_else(|errors| panic!("{}: {errors}", self.name));
                compile(&spec, &options)
            }
            Network::Text(text) => {
                let spec = parse_file(&self.name, text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
                compile(&spec, &options)
            }
            Network::Graph(graph) => compile_graph((**graph).clone(), &options),
        };
        compiled.unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// `count` images for `compiled`, in NCHW order, one after the other.
    ///
    /// Networks with local response normalisation get values as large as pixels: with small ones its sum would vanish beside its
    /// constant, and a wrong sum would not show.
    pub fn images(&self, compiled: &Compiled, count: usize) -> Vec<f32> {
        let normalised = compiled.graph.nodes.iter().any(|node| matches!(node.op, Op::Lrn(_)));
        let scale = if normalised { 128.0 } else { 1.5 };
        Random::new(self.images_seed).values(count * compiled.graph.input_shape().len(), scale)
    }
}

/// The nine built-in variants at full size.
pub fn variants() -> Vec<Case> {
    VARIANTS.iter().map(Case::of_variant).collect()
}

/// Fully connected layers around every edge of a tile, whose weights are rounded.
pub fn rounded() -> Vec<Case> {
    let declarations = [
        ("a head", "3 x 6 x 6 { conv3-8; fc-12, fc-7, softmax }"),
        ("wide", "8 x 4 x 4 { maxpool; fc-70, fc-33(linear), fc-13(relu), fc-1 }"),
        ("folded", "3 x 8 x 8 { conv3-8, bn, maxpool; fc-40, dropout, fc-5, softmax }"),
        ("large", "16 x 12 x 12 { conv1-16; fc-50, fc-10 }"),
    ];
    let cases = declarations.iter().flat_map(|(name, body)| {
        let rounded = [Precision::F16, Precision::Bf16, Precision::Int8];
        rounded.map(|precision| Case::of_text(format!("rounded {name}"), format!("N: {body}")).rounded(precision))
    });
    cases.collect()
}

/// Every option of the language, alone and in the combinations that the planner treats differently.
pub fn options() -> Vec<Case> {
    let declarations: &[(&str, &str)] = &[
        ("plain", "3 x 16 x 16 { conv3-16, conv3-24, maxpool; fc-20, fc-10, softmax }"),
        ("linear conv", "3 x 9 x 9 { conv3-8(linear), conv3-8; fc-5 }"),
        ("linear conv before a pool", "3 x 10 x 10 { conv3-8(linear), maxpool; conv3-8, maxpool; fc-5 }"),
        ("linear fc", "3 x 6 x 6 { conv3-8; fc-12(linear), fc-7, fc-5 }"),
        ("relu on the last fc", "3 x 6 x 6 { conv3-8; fc-12, fc-9(relu) }"),
        ("softmax after relu", "3 x 6 x 6 { conv3-8; fc-9(relu), softmax }"),
        (
            "labels",
            "3 x 12 x 12 { first: conv5-8, thinner: maxpool; conv2: conv3-8, n: lrn; head: fc-6, chances: softmax }",
        ),
        ("3x5 kernel", "3 x 11 x 13 { conv3x5-9, conv5x3-8(linear), maxpool; fc-4 }"),
        ("1x7 and 7x1 kernels", "2 x 13 x 11 { conv1x7-8, conv7x1-8; fc-4 }"),
        ("even kernels", "3 x 12 x 12 { conv2-8, conv4-8, conv2x3-8(pad 1); fc-4 }"),
        ("stride 2x1", "3 x 13 x 9 { conv3-8(stride 2x1), conv3-16(stride 1x2); fc-4 }"),
        ("stride 3", "3 x 17 x 17 { conv3-8(stride 3), maxpool; fc-4 }"),
        ("stride beyond the kernel", "3 x 20 x 20 { conv2-8(stride 5, pad 0), conv1-8(stride 2); fc-4 }"),
        ("pad 0x2", "3 x 9 x 9 { conv3-8(pad 0x2), conv3-8(pad 2x0); fc-4 }"),
        ("pad beyond the kernel", "2 x 5 x 6 { conv3-8(pad 4), maxpool(3, stride 2); fc-4 }"),
        ("pad 0", "3 x 12 x 12 { conv3-8(pad 0), conv5-8(pad 0), maxpool; fc-4 }"),
        ("pad 1 after a pool", "16 x 10 x 10 { conv3-16, maxpool; conv3-16(pad 2), maxpool; fc-4 }"),
        (
            "an image that is not square",
            "3 x 28 x 31 { conv3-16, conv3-16, maxpool; conv3-16, maxpool; fc-10, softmax }",
        ),
        (
            "an 11x11 kernel of stride 4",
            "3 x 67 x 67 { conv11-64(stride 4, pad 0), lrn, maxpool(3, ceil); conv5-32; fc-9 }",
        ),
        (
            "a 7x7 kernel of stride 2",
            "3 x 45 x 45 { conv7-24(stride 2, pad 0), lrn, maxpool(3, stride 3, ceil); fc-9 }",
        ),
        ("a 5x5 kernel of pad 0", "3 x 21 x 21 { conv5-16(pad 0), maxpool(ceil); conv5-24(pad 0); fc-9 }"),
        ("1x1 convolutions", "3 x 14 x 14 { conv1-16, conv1-33(linear), conv1-8, maxpool; fc-9 }"),
        ("a 1x1 convolution of pad 1", "3 x 7 x 7 { conv1-8(pad 1), conv1-8(stride 2, pad 1); fc-9 }"),
        (
            "a network of C's kind",
            "3 x 16 x 16 { conv3-16, conv3-16, conv1-16, maxpool; conv3-32, conv1-32, maxpool; fc-9, softmax }",
        ),
        ("lrn of size 1", "3 x 8 x 8 { conv3-16, lrn(size 1); fc-4 }"),
        ("lrn of size 3", "3 x 8 x 8 { conv3-16, lrn(size 3), maxpool; fc-4 }"),
        ("lrn of size 5", "3 x 8 x 8 { conv3-20, lrn; conv3-8; fc-4 }"),
        ("lrn of size 7", "3 x 8 x 8 { conv3-20, lrn(size 7), maxpool; fc-4 }"),
        ("lrn of size 15 over 9 channels", "3 x 8 x 8 { conv3-9, lrn(size 15), maxpool; fc-4 }"),
        ("lrn of beta 0.5", "3 x 8 x 8 { conv3-16, lrn(beta 0.5, alpha 1e-3, k 1); fc-4 }"),
        ("lrn of beta 1", "3 x 8 x 8 { conv3-16, lrn(beta 1, alpha 2e-3); fc-4 }"),
        ("lrn of beta 0.6", "3 x 8 x 8 { conv3-16, lrn(size 3, beta 0.6, k 1.5); fc-4 }"),
        ("lrn of beta 2.3", "3 x 8 x 8 { conv3-16, lrn(beta 2.3, alpha 1e-4, k 1.5); fc-4 }"),
        ("lrn first", "7 x 6 x 6 { lrn(size 3), conv3-8; fc-4 }"),
        ("lrn twice", "3 x 9 x 9 { conv3-16, lrn, lrn(size 3), maxpool; fc-4 }"),
        ("lrn before a padded convolution", "3 x 9 x 9 { conv3-16, lrn; conv5-16; fc-4 }"),
        ("lrn after a pool", "3 x 9 x 9 { conv3-16, maxpool, lrn; conv3-16; fc-4 }"),
        ("lrn alone", "5 x 4 x 6 { lrn }"),
        ("maxpool with ceil", "3 x 11 x 12 { conv3-8, maxpool(ceil); conv3-8, maxpool(ceil); fc-4 }"),
        (
            "maxpool with pad",
            "3 x 11 x 11 { conv3-8, maxpool(3, pad 1); conv3-8(linear), maxpool(3, pad 1, ceil); fc-4 }",
        ),
        ("maxpool 3x3 of stride 2", "3 x 13 x 13 { conv3-8, maxpool(3); conv3-8, maxpool(3, ceil); fc-4 }"),
        (
            "maxpool 3x3 of stride 2 with ceil, even",
            "3 x 14 x 14 { conv3-8, maxpool(3, ceil); conv3-8, maxpool(3, ceil); fc-4 }",
        ),
        ("maxpool 3x3 of stride 3", "3 x 14 x 14 { conv3-8, maxpool(3, stride 3, ceil); fc-4 }"),
        (
            "maxpool 2x2 of stride 1",
            "3 x 7 x 7 { conv3-8, maxpool(stride 1); conv3-8, maxpool(3, stride 1, pad 1); fc-4 }",
        ),
        ("maxpool 1x1", "3 x 7 x 7 { conv3-8, maxpool(1, stride 1); conv3-8, maxpool(1); fc-4 }"),
        ("maxpool 2x3 of stride 1x2", "3 x 9 x 9 { conv3-8, maxpool(2x3, stride 1x2, pad 1x0, ceil); fc-4 }"),
        ("maxpool of linear values with pad", "3 x 5 x 5 { conv3-8(linear), maxpool(3, stride 2, pad 1) }"),
        ("maxpool first", "3 x 12 x 12 { maxpool, conv3-8; fc-4 }"),
        ("maxpool first, of many channels", "19 x 12 x 12 { maxpool(3, ceil), conv3-8; fc-4 }"),
        ("maxpool twice", "3 x 16 x 16 { conv3-8, maxpool, maxpool(3, stride 1); fc-4 }"),
        ("maxpool alone", "4 x 5 x 7 { maxpool(ceil) }"),
        ("avgpool", "3 x 12 x 12 { conv3-8, avgpool; conv3-8, avgpool(3, stride 3); fc-4 }"),
        ("avgpool with pad", "3 x 11 x 11 { conv3-8, avgpool(3, pad 1); conv3-8, avgpool(3, stride 1, pad 1); fc-4 }"),
        ("avgpool with ceil", "3 x 12 x 12 { conv3-8, avgpool(3, ceil); conv3-8, avgpool(ceil); fc-4 }"),
        (
            "avgpool with pad and ceil",
            "3 x 12 x 12 { conv3-8, avgpool(3, pad 1, ceil); conv3-8(linear), avgpool(2x3, stride 2, pad 1, ceil) }",
        ),
        (
            "pools whose last window is dropped",
            "3 x 12 x 11 { conv3-8, maxpool(3, pad 1, ceil); conv3-8(linear), avgpool(2x3, stride 2, pad 1, ceil), maxpool(2, pad 1, ceil) }",
        ),
        ("avgpool over the whole image", "3 x 7 x 9 { conv3-24, avgpool(7x9, stride 1); fc-10, softmax }"),
        ("avgpool first", "3 x 9 x 9 { avgpool(3, stride 2), conv3-8; fc-4 }"),
        (
            "avgpool and maxpool",
            "3 x 13 x 13 { conv3-8, avgpool(2, stride 1), maxpool; conv3-8, maxpool, avgpool; fc-4 }",
        ),
        ("bn", "3 x 8 x 8 { conv3-16, bn, conv3-16, bn, maxpool; fc-8, dropout, fc-5 }"),
        ("bn with eps", "3 x 8 x 8 { conv3-16, bn(eps 1e-1), conv3-16, bn(eps 1e-3), maxpool; fc-5, softmax }"),
        ("bn of linear convolutions", "3 x 8 x 8 { conv3-16(linear), bn, conv1-8(linear), bn }"),
        ("bn, then lrn", "3 x 8 x 8 { conv3-16, bn, lrn, maxpool; fc-5 }"),
        (
            "bn on some convolutions",
            "3 x 9 x 9 { a: conv3-8, bn, conv3-8, conv5-8(stride 2), bn(eps 0.5), maxpool(ceil); fc-5 }",
        ),
        (
            "dropout everywhere",
            "3 x 8 x 8 { dropout, conv3-8, dropout(0.2), maxpool, dropout; fc-9, dropout(0), fc-5, dropout, softmax }",
        ),
        ("dropout at the end", "3 x 8 x 8 { conv3-8; fc-5, dropout(0.9) }"),
        ("no softmax", "3 x 8 x 8 { conv3-8, maxpool; fc-16, fc-10 }"),
        ("softmax of two", "3 x 8 x 8 { conv3-8, maxpool; fc-2, softmax }"),
        ("softmax of one", "3 x 8 x 8 { conv3-8, maxpool; fc-1, softmax }"),
        ("image output", "3 x 9 x 7 { conv3-16, maxpool; conv3-5 }"),
        ("image output after a pool", "3 x 9 x 7 { conv3-16, maxpool; conv3-5, maxpool(ceil) }"),
        ("image output, one convolution", "3 x 5 x 5 { conv3-1 }"),
        ("only fc", "3 x 5 x 4 { fc-7 }"),
        ("only fc, deep", "1 x 1 x 40 { fc-33, fc-17, fc-9, fc-4, softmax }"),
        ("only fc on one number", "1 x 1 x 1 { fc-3, softmax }"),
        ("no fc but many convolutions", "3 x 8 x 8 { conv3-8, conv3-8, conv3-8, conv3-8, conv3-8, conv3-8 }"),
        ("wide fc", "3 x 4 x 4 { conv3-8; fc-257, fc-1000, softmax }"),
        (
            "nineteen layers",
            "3 x 32 x 32 { conv3-16, conv3-16, maxpool; conv3-16, conv3-16, maxpool; conv3-24, conv3-24, conv3-24, \
          conv3-24, maxpool; conv3-24, conv3-24, conv3-24, conv3-24, maxpool; conv3-24, conv3-24, conv3-24, conv3-24, maxpool; \
          fc-32, dropout, fc-32, dropout, fc-10, softmax }",
        ),
        (
            "a small F",
            "3 x 79 x 79 { conv1: conv11-16(stride 4, pad 0), lrn, maxpool(3, ceil); conv2: conv5-24, lrn, maxpool(3, ceil); \
          conv3: conv3-24; conv4: conv3-24; conv5: conv3-24, maxpool(3, ceil); fc-40, dropout, fc-40, dropout, fc-10, softmax }",
        ),
        (
            "a small S",
            "3 x 100 x 100 { conv1: conv7-16(stride 2, pad 0), lrn, maxpool(3, stride 3, ceil); conv2: conv5-24(pad 0), \
          maxpool(ceil); conv3: conv3-24; conv4: conv3-24; conv5: conv3-24, maxpool(3, stride 3, ceil); fc-40, dropout, fc-10, softmax }",
        ),
    ];
    declarations.iter().map(|(name, body)| Case::of_text(*name, format!("Net: {body}"))).collect()
}

/// Local response normalisation with an even window, whose one channel more lies behind by ONNX's rule. ONNX Runtime does not take
/// these, so they have an oracle of their own.
pub fn even_lrn() -> Vec<Case> {
    let declarations: &[(&str, &str)] = &[
        ("lrn of size 2", "3 x 6 x 6 { conv3-16, lrn(size 2), maxpool; fc-4 }"),
        ("lrn of size 4", "3 x 6 x 6 { conv3-16, lrn(size 4, beta 0.6); conv3-8; fc-4 }"),
    ];
    declarations.iter().map(|(name, body)| Case::of_text(*name, format!("Net: {body}"))).collect()
}

/// Numbers of channels around the blocks of 8 and the panels of 16, in and out.
pub fn channels() -> Vec<Case> {
    const COUNTS: [usize; 12] = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 24, 33];
    let mut cases = Vec::new();
    for (index, &input) in COUNTS.iter().enumerate() {
        let (middle, output) = (COUNTS[(index + 5) % COUNTS.len()], COUNTS[(index + 8) % COUNTS.len()]);
        let body = format!(
            "{input} x 7 x 6 {{ conv3-{middle}, maxpool(ceil); conv3-{output}, lrn(size 3), conv1-{input}; fc-{middle}, fc-{output} }}"
        );
        cases.push(Case::of_text(format!("channels {input}, {middle}, {output}"), format!("Net: {body}")));
    }
    for output in COUNTS {
        let body = format!("8 x 5 x 9 {{ conv3-{output}, bn, avgpool(3, stride 2, pad 1); conv5-{output}(linear) }}");
        cases.push(Case::of_text(format!("images of {output} channels as output"), format!("Net: {body}")));
    }
    cases
}

/// Sizes of images around tiles, down to a single pixel.
pub fn sizes() -> Vec<Case> {
    let mut sizes: Vec<(usize, usize)> = (1..=13).map(|side| (side, side)).collect();
    sizes.extend([(14, 14), (15, 16), (17, 15), (28, 31), (33, 33), (97, 131), (1, 40), (40, 1), (2, 25), (23, 3)]);
    let mut cases = Vec::new();
    for &(height, width) in &sizes {
        let body = format!("3 x {height} x {width} {{ conv3-16, conv3-8, conv5-8(linear); fc-6, softmax }}");
        cases.push(Case::of_text(format!("{height}x{width}"), format!("Net: {body}")));
    }
    for &(height, width) in sizes.iter().filter(|(height, width)| *height >= 4 && *width >= 4) {
        let body = format!(
            "3 x {height} x {width} {{ conv3-16, maxpool; conv3-16(stride 2), maxpool(stride 1, pad 1); conv3-9, maxpool(3, stride 2, pad 1, ceil) }}"
        );
        cases.push(Case::of_text(format!("{height}x{width}, pooled"), format!("Net: {body}")));
    }
    cases
}

/// The number of cases of [`random`].
pub const RANDOM_CASES: usize = 48;

/// Random networks: texts from a fixed sequence, those kept that the checks of the language accept.
pub fn random() -> Vec<Case> {
    let mut random = Random::new(0x5eed);
    let mut cases = Vec::new();
    while cases.len() < RANDOM_CASES {
        let text = declaration(&mut random);
        if let Ok(spec) = parse_file("random", &text)
            && is_small(&spec)
        {
            let number = cases.len();
            let mut case = Case::of_text(format!("random {number}"), text);
            (case.weights_seed, case.images_seed) = (random.bits(), random.bits());
            cases.push(case);
        }
    }
    cases
}

/// Whether an oracle of naive loops runs it in a moment.
fn is_small(spec: &ModelSpec) -> bool {
    compile(spec, &CompileOptions::default())
        .is_ok_and(|compiled| compiled.graph.total_macs() < 20_000_000 && compiled.graph.param_count() < 1_000_000)
}

fn declaration(random: &mut Random) -> String {
    let mut rows = Vec::new();
    for _ in 0..random.below(4) {
        rows.push((0..1 + random.below(4)).map(|_| spatial(random)).collect::<Vec<_>>().join(", "));
    }
    if rows.is_empty() || !random.once_in(4) {
        let mut head = Vec::new();
        for _ in 0..1 + random.below(3) {
            let activation = random.pick(&["", "", "", "(linear)", "(relu)"]);
            head.push(format!("fc-{}{activation}", 1 + random.below(70)));
            if random.once_in(3) {
                head.push("dropout".to_owned());
            }
        }
        if random.once_in(2) {
            head.push("softmax".to_owned());
        }
        rows.push(head.join(", "));
    }
    let (channels, height) = (random.pick(&[1, 2, 3, 3, 4, 8, 11]), 1 + random.below(40));
    let width = if random.once_in(2) { height } else { 1 + random.below(40) };
    format!("Net: {channels} x {height} x {width} {{ {} }}", rows.join("; "))
}

fn spatial(random: &mut Random) -> String {
    match random.below(10) {
        0 => format!(
            "lrn(size {}, beta {}, k {})",
            random.pick(&[1, 3, 5, 9]),
            random.pick(&[0.75, 0.5, 0.9]),
            1 + random.below(3)
        ),
        1 | 2 => format!("maxpool({})", window(random)),
        3 => format!("avgpool({})", window(random)),
        _ => convolution(random),
    }
}

fn convolution(random: &mut Random) -> String {
    let mut modifiers = Vec::new();
    if random.once_in(3) {
        modifiers.push(format!("stride {}", extent(random, 1, 3)));
    }
    if random.once_in(3) {
        modifiers.push(format!("pad {}", extent(random, 0, 3)));
    }
    if random.once_in(4) {
        modifiers.push("linear".to_owned());
    }
    let modifiers = if modifiers.is_empty() { String::new() } else { format!("({})", modifiers.join(", ")) };
    let norm = if random.once_in(3) { ", bn" } else { "" };
    format!("conv{}-{}{modifiers}{norm}", extent(random, 1, 6), 1 + random.below(40))
}

fn window(random: &mut Random) -> String {
    let mut text = extent(random, 1, 4);
    if random.once_in(2) {
        text += &format!(", stride {}", extent(random, 1, 3));
    }
    if random.once_in(3) {
        text += &format!(", pad {}", extent(random, 0, 1));
    }
    text + if random.once_in(2) { ", ceil" } else { "" }
}

fn extent(random: &mut Random, from: usize, to: usize) -> String {
    let height = from + random.below(to - from + 1);
    if random.once_in(2) { height.to_string() } else { format!("{height}x{}", from + random.below(to - from + 1)) }
}
