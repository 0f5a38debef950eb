//! Whole plans: every buffer lives in its own place, and layouts fit their readers.

use super::*;
use crate::ir::testing::{Builder, conv3, image, max_pool};
use crate::ir::{Lrn, Pool, verify};

fn sample(batch: usize) -> ExecutionPlan {
    let graph = Builder::new(image(3, 9, 7))
        .op("conv1", conv3(12))
        .op("relu1", Op::Relu)
        .op("norm1", Op::Lrn(Lrn { size: 5, alpha: 5e-4, beta: 0.75, bias: 2.0 }))
        .op("pool1", max_pool(3, 2, true))
        .op("conv2", conv3(20))
        .op("relu2", Op::Relu)
        .op("pool2", max_pool(2, 2, true))
        .op(
            "pool3",
            Op::AveragePool {
                pool: Pool { kernel_shape: [2, 2], strides: [1, 1], pads: [0; 4], ceil_mode: false },
                count_include_pad: false,
            },
        )
        .op("flatten", Op::Flatten)
        .op("fc1", Op::Gemm { out_features: 5 })
        .op("relu3", Op::Relu)
        .op("fc2", Op::Gemm { out_features: 4 })
        .op("prob", Op::Softmax)
        .finish();
    plan(&verify(graph).unwrap(), &PlanOptions { batch, ..PlanOptions::default() }).unwrap()
}

#[test]
fn the_text_form_shows_fusion_layout_and_places() {
    let expected = "\
plan Test batch 1 arena 2016 f32 {
  pack: pack
    input -> %image @1008+297 (3x9x7 c1 halo 1)
  conv1: conv 3x3 direct, pad 1 + relu
    %image @1008+297 (3x9x7 c1 halo 1) -> %relu1 @0+1008 (12x9x7 c8)
  norm1: lrn size 5, alpha 0.0005, beta 0.75, bias 2
    %relu1 @0+1008 (12x9x7 c8) -> %norm1 @1008+1008 (12x9x7 c8)
  pool1: maxpool 3x3, stride 2, ceil
    %norm1 @1008+1008 (12x9x7 c8) -> %pool1 @0+480 (12x4x3 c8 halo 1)
  conv2: conv 3x3 direct, pad 1 + relu + maxpool 2x2, stride 2, ceil
    %pool1 @0+480 (12x4x3 c8 halo 1) -> %pool2 @480+96 (20x2x2 c8)
  pool3: avgpool 2x2, stride 1
    %pool2 @480+96 (20x2x2 c8) -> %pool3 @0+24 (20x1x1 c8)
  flatten: flatten
    %pool3 @0+24 (20x1x1 c8) -> %flatten @32+20 (20)
  fc1: gemm 20 to 5 + relu
    %flatten @32+20 (20) -> %relu3 @0+5 (5)
  fc2: gemm 5 to 4
    %relu3 @0+5 (5) -> %fc2 @16+4 (4)
  prob: softmax
    %fc2 @16+4 (4) -> output
}
";
    assert_eq!(sample(1).to_string(), expected);
}

#[test]
fn buffers_that_live_together_do_not_overlap() {
    for plan in [1, 2, 5].into_iter().flat_map(|batch| [sample(batch), branched(batch)]) {
        for (index, a) in plan.buffers.iter().enumerate() {
            assert!(a.range().end <= plan.arena_len, "{} ends behind the arena", a.name);
            assert_eq!(a.offset % 16, 0, "{} is not aligned", a.name);
            for b in &plan.buffers[index + 1..] {
                let together = a.written <= b.last_read && b.written <= a.last_read;
                let apart = a.range().end <= b.offset || b.range().end <= a.offset;
                assert!(!together || apart, "{} and {} overlap", a.name, b.name);
            }
        }
    }
}

/// Branches with a sum, a concatenation and two outputs.
fn branched(batch: usize) -> ExecutionPlan {
    let mut graph = Builder::new(image(3, 6, 6))
        .op("conv1", conv3(8))
        .op("relu1", Op::Relu)
        .join("conv2", conv3(8), &["relu1"])
        .join("sum", Op::Add, &["conv2", "relu1"])
        .op("relu2", Op::Relu)
        .join("joined", Op::Concat, &["relu1", "relu2", "conv2"])
        .op("conv3", conv3(5))
        .op("flatten", Op::Flatten)
        .op("fc1", Op::Gemm { out_features: 4 })
        .op("norm1", Op::BatchNormalization { epsilon: 1e-5 })
        .op("gate1", Op::Sigmoid)
        .join("product", Op::Mul, &["gate1", "norm1"])
        .finish();
    let value = |name: &str| ValueId(graph.values.iter().position(|value| value.name == name).unwrap());
    graph.outputs = vec![value("relu2"), value("product"), value("norm1")];
    plan(&verify(graph).unwrap(), &PlanOptions { batch, ..PlanOptions::default() }).unwrap()
}

#[test]
fn branches_keep_what_is_read_later() {
    let plan = branched(1);
    let text = plan.to_string();
    assert!(text.contains("concat: concat from channel 0 to 7\n"), "{text}");
    assert!(text.contains("joined: concat from channel 16 to 23\n"), "{text}");
    assert!(text.contains("sum: add + relu\n"), "{text}");
    assert!(text.contains("norm1: batch norm\n"), "{text}");
    assert!(
        text.contains(" -> output 0\n") && text.contains(" -> output 1\n") && text.contains(" -> output 2\n"),
        "{text}"
    );
    let buffer = |name: &str| plan.buffers.iter().find(|buffer| buffer.name == name).unwrap();
    let step = |name: &str| plan.steps.iter().position(|step| step.name == name).unwrap();
    let first_copy = step("concat");
    assert_eq!((buffer("relu1").written, buffer("relu1").last_read), (step("conv1"), first_copy));
    assert_eq!((buffer("joined").written, buffer("joined").last_read), (first_copy, step("conv3")));
    assert_eq!(buffer("relu2").last_read, step("unpack"), "an output lives until it is given back");
    assert_eq!(plan.output_len(), 8 * 36 + 4 + 4);
    assert_eq!(plan.output_range(1), 288..292);
}

#[test]
fn an_image_output_is_given_back_as_nchw() {
    let graph = verify(Builder::new(image(8, 5, 5)).op("conv1", conv3(9)).finish()).unwrap();
    let plan = plan(&graph, &PlanOptions::default()).unwrap();
    let last = plan.steps.last().unwrap();
    assert_eq!((last.name.as_str(), last.output), ("unpack", Operand::Output(0)));
    assert!(matches!(last.kind, StepKind::Flatten { input } if input.channels == 9));
    let Operand::Buffer(packed) = plan.steps[0].output else { panic!("the input is not packed") };
    assert!(
        matches!(plan.buffers[packed].layout, Layout::Blocked(Blocked { block: 8, .. })),
        "eight channels fill a block"
    );
}

#[test]
fn impossible_batches_are_refused() {
    let graph = verify(Builder::new(image(8, 5, 5)).op("conv1", conv3(9)).finish()).unwrap();
    let with = |batch| plan(&graph, &PlanOptions { batch, ..PlanOptions::default() }).unwrap_err();
    assert_eq!(with(0), PlanError::EmptyBatch);
    assert_eq!(with(usize::MAX / 2), PlanError::Overflow { batch: usize::MAX / 2 });
}
