//! A network as a type of this program, by the `vgg!` macro.
//!
//! A program that does this depends on `vgg-runtime` with its feature `macros`, and on nothing else. Here the weights are
//! PyTorch's, brought into the network's canonical file by the compiler; `vgg export --external` does the same.
//!
//! `cargo run --release --bin macro_in_place`

use std::error::Error;
use std::path::Path;

use vgg_compiler::spec::parse::parse_file;
use vgg_compiler::weights::{WeightsSource, canonical};
use vgg_compiler::{CompileOptions, compile};
use vgg_runtime::{Threads, vgg};

vgg! {
    /// The network of `examples/fashion`.
    pub Fashion: 1 x 28 x 28 {
        preprocess fashion;
        conv3-32, bn, conv3-32, bn, maxpool;
        conv3-64, bn, conv3-64, bn, maxpool;
        conv3-128, bn, conv3-128, bn, maxpool;
        fc-256, dropout, fc-10
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let model = Fashion::from_bytes(&weights()?)?;
    let mut workspace = Fashion::workspace(Threads::from_env()?)?;
    let mut logits = [0.0; Fashion::OUTPUT_LEN];
    let image = boot()?;
    model.infer(&mut workspace, &image, &mut logits);

    println!("input {:?}, output {:?}", Fashion::INPUT_SHAPE, Fashion::OUTPUT_SHAPE);
    for (class, logit) in logits.iter().enumerate() {
        println!("class {class}: {logit:9.4}");
    }
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    println!("most likely: class {}", best.unwrap_or_default());
    Ok(())
}

/// The content of the network's weights file: batch norm folded, in the order that the type expects.
fn weights() -> Result<Vec<u8>, Box<dyn Error>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fashion");
    let spec = parse_file("fashion.vgg", &std::fs::read_to_string(dir.join("fashion.vgg"))?)?;
    let graph = compile(&spec, &CompileOptions::default())?.graph;
    let weights = WeightsSource::File(dir.join("fashion-vgg.safetensors"))
        .load(&graph)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let mut file = Vec::new();
    canonical::write_to(&mut file, &graph, &weights, &mut |_| {})?;
    Ok(file)
}

/// The first test image, an ankle boot, preprocessed as in training. Images are RGB, grey ones as well.
fn boot() -> Result<Box<[f32; Fashion::INPUT_LEN]>, vgg_runtime::Error> {
    let file = include_bytes!("../fashion/images.idx3-ubyte");
    let rgb: Vec<u8> = file[16..][..28 * 28].iter().flat_map(|&level| [level; 3]).collect();
    Fashion::preprocess(&rgb, 28, 28)
}
