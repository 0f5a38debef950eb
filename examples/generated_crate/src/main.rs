//! Uses a crate that `vgg build` wrote. Generate it first, from the root of the repository:
//!
//! ```sh
//! cargo run --release --bin fashion
//! cargo run --release --manifest-path examples/generated_crate/Cargo.toml
//! ```

use fashion::{Error, Fashion, Threads, WEIGHTS};

fn main() -> Result<(), Error> {
    let model = Fashion::load(WEIGHTS)?;
    let mut workspace = Fashion::workspace(Threads::single())?;
    let mut logits = [0.0; Fashion::OUTPUT_LEN];
    model.infer(&mut workspace, &[0.0; Fashion::INPUT_LEN], &mut logits);
    println!("logits of a grey image: {logits:.3?}");
    Ok(())
}
