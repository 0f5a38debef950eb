//! A network of one's own in a `.vgg` file, compiled by the library and executed in process.
//!
//! `cargo run --release --bin custom_net`

use std::path::Path;

use anyhow::Result;
use vgg_cli::Model;
use vgg_cli::session::Session;
use vgg_compiler::CompileOptions;
use vgg_compiler::weights::{Weights, seeded};
use vgg_runtime::{Isa, Threads};

fn main() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("custom_net/small.vgg");
    let model = Model::open(path.as_os_str())?;
    let compiled = model.compile(&CompileOptions::default())?;
    println!("{}", compiled.plan);

    let weights = Weights::resolve(&compiled.graph, seeded(&compiled.declared, 7), "seeded:7").map_err(|errors| {
        anyhow::anyhow!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    let mut session = Session::new(&compiled.graph, compiled.plan, &weights, Threads::from_env()?, Isa::detect()?)?;
    let input: Vec<f32> = (0..session.input_len()).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    let mut probabilities = vec![0.0; session.output_len()];
    session.run_observed(&input, &mut probabilities, &mut |step, values| {
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        println!("{:10} {:6} values, mean {mean:8.4}", step.name, values.len());
    });
    println!("sum of the {} probabilities: {:.6}", probabilities.len(), probabilities.iter().sum::<f32>());
    Ok(())
}
