//! Compiles `tiny.vgg` to a module and to a weights file in `OUT_DIR`.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use vgg_compiler::spec::parse::parse_file;
use vgg_compiler::weights::{Weights, canonical, seeded};
use vgg_compiler::{CompileOptions, compile, module_source};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=tiny.vgg");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let spec = parse_file("tiny.vgg", &fs::read_to_string("tiny.vgg")?)?;
    fs::write(out.join("tiny.rs"), module_source(&spec)?)?;

    let graph = compile(&spec, &CompileOptions::default())?.graph;
    let weights = Weights::resolve(&graph, seeded(&graph, 0), "seeded:0")
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    canonical::write(&out.join("tiny.safetensors"), &graph, &weights, &mut |_| {})?;
    Ok(())
}
