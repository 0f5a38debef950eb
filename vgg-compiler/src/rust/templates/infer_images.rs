fn finish(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Computes the images of a NumPy array, shows the output of each batch, and says how many images there were.
fn infer(input_path: &Path, mut show: impl FnMut(&[f32; Model::OUTPUT_LEN])) -> Result<usize, String> {
    let (shape, images) = npy::read_f32(input_path).map_err(text)?;
    let count = shape.first().copied().unwrap_or(0);
    if shape.get(1..) != Some(&Model::INPUT_SHAPE[1..]) || count == 0 || count % Model::BATCH != 0 {
        return Err(format!(
            "{} has shape {shape:?}, expected [N, {:?}] with N a multiple of {}; convert the array",
            input_path.display(),
            &Model::INPUT_SHAPE[1..],
            Model::BATCH
        ));
    }
    let model = Model::load(WEIGHTS).map_err(text)?;
    let mut workspace = Model::workspace(Threads::from_env().map_err(text)?).map_err(text)?;
    let mut output = Box::new([0.0; Model::OUTPUT_LEN]);
    for batch in images.as_chunks::<{ Model::INPUT_LEN }>().0 {
        model.infer(&mut workspace, batch, &mut output);
        show(&output);
    }
    Ok(count)
}

fn text(error: Error) -> String {
    error.to_string()
}
