//! The generated code that is kept as golden files compiles as it stands there, and computes what the session does, to the bit.

use vgg_cli::reference::evaluate;
use vgg_cli::session::Session;
use vgg_compiler::weights::{WeightsSource, canonical};
use vgg_runtime::{Isa, Threads};
use vgg_tests::compare::{Tolerance, assert_close};
use vgg_tests::golden::generated;

#[path = "../golden/halves/mod.rs"]
mod halves;
#[path = "../golden/normalised/mod.rs"]
mod normalised;
#[path = "../golden/operators/mod.rs"]
mod operators;
#[path = "../golden/outputs/mod.rs"]
mod outputs;
#[path = "../golden/tiny/mod.rs"]
mod tiny;
#[path = "../golden/wholes/mod.rs"]
mod wholes;

macro_rules! as_the_session {
    ($name:literal, $model:ty) => {
        as_the_session!($name, $model, <$model>::OUTPUT_SHAPE)
    };
    ($name:literal, $model:ty, $shape:expr) => {{
        let case = generated().into_iter().find(|case| case.name == $name).expect("a generated network");
        let compiled = case.compile(1);
        let weights = WeightsSource::Seeded(5).load(&compiled.graph).expect("weights");
        let mut file = Vec::new();
        canonical::write_to(&mut file, &compiled.graph, &weights, &mut |_| {}).expect("a file in memory");
        assert_eq!(file.len(), <$model>::WEIGHTS_LEN);
        let model = <$model>::from_bytes(&file).expect("the weights fit");
        let images = case.images(&compiled, 2);
        let shape = $shape;
        for &isa in Isa::available() {
            for threads in 1..=3 {
                let mut workspace = <$model>::workspace_for(Threads::new(threads), isa);
                let plan = compiled.plan.clone();
                let mut session = Session::new(&compiled.graph, plan, &weights, Threads::new(threads), isa).unwrap();
                for image in images.as_chunks::<{ <$model>::INPUT_LEN }>().0 {
                    let (mut actual, mut expected) =
                        ([f32::NAN; <$model>::OUTPUT_LEN], [f32::NAN; <$model>::OUTPUT_LEN]);
                    model.infer(&mut workspace, image, &mut actual);
                    session.run(image, &mut expected);
                    assert_close($name, &shape, &actual, &expected, Tolerance::BIT_IDENTICAL);
                    let exact: Vec<f64> = evaluate(&compiled.graph, &weights, 1, image, &mut |_, _: &[f64]| {});
                    assert_close($name, &shape, &actual, &exact, Tolerance::probabilities(10.0));
                }
            }
        }
    }};
}

#[test]
fn a_network_of_convolutions_pools_and_a_head() {
    as_the_session!("tiny", tiny::names::Tiny);
}

#[test]
fn a_network_with_batch_norm_that_gives_images() {
    as_the_session!("normalised", normalised::names::Normalised);
}

#[test]
fn a_network_with_weights_of_f16() {
    as_the_session!("halves", halves::names::Rounded);
}

#[test]
fn a_network_with_weights_of_int8() {
    as_the_session!("wholes", wholes::names::Rounded);
}

#[test]
fn a_network_of_the_operators_that_no_declaration_has() {
    as_the_session!("operators", operators::names::Net);
}

#[test]
fn a_network_of_several_outputs() {
    use outputs::names::Net;
    as_the_session!("outputs", Net, [Net::OUTPUT_LEN]);
    assert_eq!(Net::OUTPUT_SHAPES, [&[1, 11, 4, 4][..], &[1, 6]]);
    assert_eq!(Net::OUTPUT_RANGES, [0..176, 176..182]);
    assert_eq!(Net::OUTPUT_NAMES, ["pool1", "prob"]);
}
