//! Networks of several outputs through the commands: the first one is the result, a tap shows another, and all are verified.

use vgg_cli::Progress;
use vgg_cli::input::{Images, SEED};
use vgg_cli::reference::evaluate;
use vgg_cli::run::run;
use vgg_cli::verify::verify;
use vgg_compiler::weights::WeightsSource;
use vgg_runtime::{Isa, Threads};
use vgg_tests::compare::{Tolerance, assert_close};
use vgg_tests::graphs::{every_operator, two_outputs};

const WEIGHTS: WeightsSource = WeightsSource::Seeded(3);

#[test]
fn a_run_gives_the_first_output_and_taps_the_other() {
    let graph = two_outputs().compile(1).graph;
    let images = Images::generated(graph.input_shape(), 3, SEED);
    let taps = [graph.outputs[1], graph.nodes[0].output];
    let (threads, isa, progress) = (Threads::new(2), Isa::widest(), Progress::silent());
    let found = run(&graph, &WEIGHTS, &images, &taps, threads, isa, false, &progress).unwrap();
    assert_eq!(found.shape, graph.output_shape());
    assert_eq!(found.taps.iter().map(|tap| tap.name.as_str()).collect::<Vec<_>>(), ["prob", "conv1"]);

    let weights = WEIGHTS.load(&graph).unwrap();
    let exact = evaluate(&graph, &weights, 3, &images.values, &mut |_, _: &[f64]| {});
    let (pooled, probabilities) = exact.split_at(3 * graph.output_shape().len());
    assert_close("the output", &[3, 11, 4, 4], &found.values, pooled, Tolerance::DIRECT_VS_F64);
    let tolerance = Tolerance::probabilities(10.0);
    assert_close("the tap", &[3, 6], &found.taps[0].values, probabilities, tolerance);
}

#[test]
fn verification_compares_every_output() {
    for (case, count) in [(two_outputs(), 2), (every_operator(), 1)] {
        let graph = case.compile(1).graph;
        let images = Images::generated(graph.input_shape(), 2, SEED);
        let progress = Progress::silent();
        let (report, expected) =
            verify(&graph, &WEIGHTS, &images, &Threads::new(2), Isa::widest(), false, &progress).unwrap();
        assert!(report.pass(), "{}", report.to_text());
        assert_eq!((report.outputs.len(), expected.len()), (count, count));
        assert_eq!(report.layers.len(), graph.nodes.len());
        for (index, shape) in graph.output_shapes().enumerate() {
            assert_eq!(expected[index].len(), 2 * shape.len());
        }
        // The last output alone decides as well.
        let mut wrong = report.clone();
        let last = *wrong.outputs.last().unwrap();
        wrong.layers[last].worst.max_rel = 1.0;
        assert!(!wrong.pass());
        assert!(wrong.failure().to_string().contains("the output"), "{}", wrong.failure());
    }
}
