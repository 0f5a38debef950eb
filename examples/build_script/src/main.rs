//! Uses a network that the build script compiled from `tiny.vgg`, with its weights inside the binary.
//!
//! `cargo run --release -p vgg-example-build-script`

use vgg_runtime::{Error, Threads};

include!(concat!(env!("OUT_DIR"), "/tiny.rs"));

const WEIGHTS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tiny.safetensors"));

fn main() -> Result<(), Error> {
    let model = Tiny::from_bytes(WEIGHTS)?;
    let mut workspace = Tiny::workspace(Threads::from_env()?)?;
    let input = std::array::from_fn(|i| (i % 29) as f32 / 14.0 - 1.0);
    let mut probabilities = [0.0; Tiny::OUTPUT_LEN];
    model.infer(&mut workspace, &input, &mut probabilities);
    println!("probabilities {probabilities:.4?}");
    println!("sum {:.6}", probabilities.iter().sum::<f32>());
    Ok(())
}
