//! rten: graph optimisations, packed weights, a pool of threads.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rten::{Model, ModelOptions, RunOptions, ThreadPool};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;

use crate::Network;
use crate::array::Array;

struct Rten {
    model: Model,
    options: RunOptions,
    input: Tensor<f32>,
}

/// Loads `model` for `input`. The packing of its weights is done by as many threads as RTEN_NUM_THREADS says.
pub(crate) fn load(model: &Path, input: Array, threads: usize) -> Result<Box<dyn Network>> {
    let model = ModelOptions::with_all_ops().prepack_weights(true).load_file(model)?;
    let options = RunOptions::default().with_thread_pool(Some(Arc::new(ThreadPool::with_num_threads(threads))));
    let input = Tensor::from_data(&input.dims, input.values);
    Ok(Box::new(Rten { model, options, input }))
}

impl Network for Rten {
    fn run(&mut self) -> Result<Vec<f32>> {
        let output = self.model.run_one(self.input.view().into(), Some(self.options.clone()))?;
        let output = output.into_tensor::<f32>().context("rten's output is not f32")?;
        Ok(output.to_vec())
    }
}
