//! tract: optimised for this CPU, its operators on a pool of threads.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use tract_linalg::multithread::{Executor, set_default_executor};
use tract_onnx::prelude::*;

use crate::Network;
use crate::array::Array;

struct Tract {
    plan: Arc<TypedRunnableModel>,
    input: TValue,
}

/// Loads `model` for `input`.
pub(crate) fn load(model: &Path, input: Array, threads: usize) -> Result<Box<dyn Network>> {
    set_default_executor(if threads > 1 { Executor::multithread(threads) } else { Executor::SingleThread });
    let plan = tract_onnx::onnx().model_for_path(model)?.into_optimized()?.into_runnable()?;
    let input = Tensor::from_shape(&input.dims, &input.values)?.into_tvalue();
    Ok(Box::new(Tract { plan, input }))
}

impl Network for Tract {
    fn run(&mut self) -> Result<Vec<f32>> {
        let outputs = self.plan.run(tvec!(self.input.clone()))?;
        let output = outputs.first().context("tract computes no output")?;
        Ok(output.to_plain_array_view::<f32>()?.iter().copied().collect())
    }
}
