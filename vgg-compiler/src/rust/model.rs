//! The module of one network: its layer types, its weights, its inference. No name of the model enters it.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use crate::ir::{Shape, TypedGraph};
use crate::plan::{ExecutionPlan, StepKind};
use crate::preprocess::MEAN_KEY;
use crate::weights::Header;

use super::preprocess::preprocess;
use super::step::{call, element_type, layer, layer_type, number, weights_field, weights_reader, weights_type};

/// Everything that the emission of one network reads.
#[derive(Debug, Clone, Copy)]
pub struct Network<'a> {
    /// What is computed.
    pub graph: &'a TypedGraph,
    /// How it is computed.
    pub plan: &'a ExecutionPlan,
    /// Where each parameter lies in the canonical weights file.
    pub header: &'a Header,
}

/// The items of the module `model`.
pub(super) fn model(network: Network<'_>) -> TokenStream {
    let constants = constants(network);
    let layers = layers(network.plan);
    let weights = weights(network);
    let preprocess = preprocess(network.graph);
    let inference = inference(network.plan);
    quote! {
        use std::path::Path;

        #[allow(unused_imports, reason = "not every network has every kind of layer")]
        use ::vgg_runtime::{
            Activation, ActivationDims, AffineDims, Algorithm, Arena, AveragePoolDims, Blocked, Combination, CombineDims,
            ConcatDims, ConvDims, Error, FileBytes, FlattenDims, GemmDims, GroupedAlgorithm, GroupedConvDims, Isa, Layer, LrnDims,
            MaxPoolDims, PackDims, PackedAffine, PackedConv, PackedGemm, PackedGroupedConv, PoolWindow, Program, Scratch,
            Simd, SoftmaxDims, Threads, WeightsFile, Workspace, ops,
        };

        use super::names::LAYERS;

        #weights
        #constants
        #preprocess
        #inference
        #layers
    }
}

fn constants(network: Network<'_>) -> TokenStream {
    let Network { plan, header, .. } = network;
    let input_shape = batched(plan.batch, plan.input);
    let input_rank = number(input_shape.len());
    let [batch, input_len, arena_len] = [plan.batch, plan.batch * plan.input.len(), plan.arena_len].map(number);
    let outputs = outputs(plan);
    let scratch = plan.steps.iter().enumerate().filter_map(|(index, step)| {
        let layer = layer_type(index, &step.kind);
        match step.kind {
            StepKind::Conv(ref conv) if conv.is_plain() => Some(quote!(ops::conv_scratch_len(layers::#layer::DIMS))),
            StepKind::Conv(_) => Some(quote!(ops::grouped_conv_scratch_len(layers::#layer::DIMS))),
            StepKind::Lrn { .. } => Some(quote!(ops::lrn_scratch_len(layers::#layer::DIMS))),
            _ => None,
        }
    });
    let header_bytes = Literal::byte_string(&header.bytes);
    let (data_len, weights_len) = (number(header.data_len), number(header.file_len()));
    quote! {
        impl Model {
            /// Images of one inference.
            pub const BATCH: usize = #batch;

            /// Extents of the input: NCHW.
            pub const INPUT_SHAPE: [usize; #input_rank] = [#(#input_shape),*];

            /// Values of the input.
            pub const INPUT_LEN: usize = #input_len;

            #outputs

            /// Bytes of the weights file.
            pub const WEIGHTS_LEN: usize = #weights_len;
        }

        /// Values of the arena that holds every activation of one inference.
        const ARENA_LEN: usize = #arena_len;

        /// Values that each thread needs inside a kernel: the most that any layer asks for.
        const SCRATCH_LEN: usize = largest(&[#(#scratch),*]);

        /// The first bytes of the weights file: a safetensors header, which must match to the letter.
        const WEIGHTS_HEADER: &[u8] = #header_bytes;

        /// Bytes of the weights file behind its header.
        const WEIGHTS_DATA_LEN: usize = #data_len;

        const fn largest(values: &[usize]) -> usize {
            let (mut largest, mut index) = (0, 0);
            while index < values.len() {
                if values[index] > largest {
                    largest = values[index];
                }
                index += 1;
            }
            largest
        }
    }
}

/// The constants that describe the output, or each of the outputs.
fn outputs(plan: &ExecutionPlan) -> TokenStream {
    let len = number(plan.output_len());
    if let [output] = plan.outputs[..] {
        let shape = batched(plan.batch, output);
        let rank = number(shape.len());
        return quote! {
            /// Extents of the output: images first.
            pub const OUTPUT_SHAPE: [usize; #rank] = [#(#shape),*];

            /// Values of the output.
            pub const OUTPUT_LEN: usize = #len;
        };
    }
    let count = number(plan.outputs.len());
    let shapes = plan.outputs.iter().map(|&output| {
        let shape = batched(plan.batch, output);
        quote!(&[#(#shape),*])
    });
    let ranges = (0..plan.outputs.len()).map(|index| {
        let range = plan.output_range(index);
        let (start, end) = (number(range.start), number(range.end));
        quote!(#start..#end)
    });
    quote! {
        /// Extents of each output: images first.
        pub const OUTPUT_SHAPES: [&[usize]; #count] = [#(#shapes),*];

        /// Where each output lies among the values that [`Self::infer`] writes: one after the other.
        pub const OUTPUT_RANGES: [::core::ops::Range<usize>; #count] = [#(#ranges),*];

        /// Values of all outputs together.
        pub const OUTPUT_LEN: usize = #len;
    }
}

fn layers(plan: &ExecutionPlan) -> TokenStream {
    let layers = plan.steps.iter().enumerate().map(|(index, step)| layer(index, step, plan.batch));
    quote! {
        /// One type a step, with its dimensions as constants.
        mod layers {
            #[allow(clippy::wildcard_imports, reason = "the dimensions of every kind of layer")]
            use super::*;

            #(#layers)*
        }
    }
}

fn weights(network: Network<'_>) -> TokenStream {
    let Network { graph, plan, header } = network;
    let mut fields = Vec::new();
    let mut packs = Vec::new();
    for (index, step) in plan.steps.iter().enumerate() {
        let (Some(field), Some(ty), Some(reader)) =
            (weights_field(index, &step.kind), weights_type(&step.kind), weights_reader(&step.kind))
        else {
            continue;
        };
        let layer = layer_type(index, &step.kind);
        let tensors = step.kind.params().into_iter().map(|id| {
            let key = &graph.params[id.0].key;
            let (start, end) = (number(header.ranges[id.0].start), number(header.ranges[id.0].end));
            quote!((#key, #start..#end))
        });
        let name = number(fields.len());
        let element = element_type(&step.kind);
        fields.push(quote!(#field: #ty #element));
        packs.push(quote!(#field: file.#reader(LAYERS[#name], layers::#layer.dims(), [#(#tensors),*])?));
    }
    if let Some(range) = &header.mean {
        let (offset, len) = (number(range.start), number(range.len()));
        fields.push(quote!(mean: Box<[f32]>));
        packs.push(quote!(mean: file.numbers(#MEAN_KEY, #offset, #len)?));
    }
    quote! {
        /// The network with its weights, packed for the kernels. It never changes, so that any number of threads may share it.
        #[derive(Debug)]
        pub struct Model {
            #(#fields),*
        }

        impl Model {
            /// Loads the weights file at `path`. Where the system can, it is mapped into memory: the weights of fully connected
            /// layers are then used where they lie, so that the file must not be written to while the network is in use (see
            /// [`FileBytes`]).
            ///
            /// # Errors
            ///
            /// When the file cannot be read, is not the canonical safetensors file of this network, or holds a number
            /// that is not finite.
            pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
                Self::from_file(FileBytes::map(path.as_ref())?)
            }

            /// The same for a file that was mapped or read before: [`FileBytes::read`] asks nothing of the file afterwards.
            ///
            /// # Errors
            ///
            /// When the content is not the canonical safetensors file of this network, or holds a number that is not finite.
            pub fn from_file(file: FileBytes) -> Result<Self, Error> {
                Self::packed(&WeightsFile::of_file(file, WEIGHTS_HEADER, WEIGHTS_DATA_LEN)?)
            }

            /// Copies the weights from the content of a weights file.
            ///
            /// # Errors
            ///
            /// When the content is not the canonical safetensors file of this network, or holds a number that is not finite.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
                Self::packed(&WeightsFile::open(bytes, WEIGHTS_HEADER, WEIGHTS_DATA_LEN)?)
            }

            fn packed(file: &WeightsFile<'_>) -> Result<Self, Error> {
                Ok(Self { #(#packs),* })
            }

            /// Everything mutable of an inference: memory for the activations and `threads`. Made once, used again and again.
            ///
            /// # Errors
            ///
            /// When the variable `VGG_ISA` names an instruction set that is unknown or missing on this machine.
            pub fn workspace(threads: Threads) -> Result<Workspace, Error> {
                Ok(Self::workspace_for(threads, Isa::detect()?))
            }

            /// The same, for an instruction set of the caller's choice.
            pub fn workspace_for(threads: Threads, isa: Isa) -> Workspace {
                Workspace::new(ARENA_LEN, SCRATCH_LEN, threads, isa)
            }
        }
    }
}

fn inference(plan: &ExecutionPlan) -> TokenStream {
    let calls = plan.steps.iter().enumerate().map(|(index, step)| {
        let call = call(plan, index, step);
        quote!({ #call })
    });
    let shapes = if plan.outputs.len() == 1 { " [`Self::OUTPUT_SHAPE`]" } else { " [`Self::OUTPUT_SHAPES`]" };
    let result = format!("{shapes}. Allocates nothing; the result does not");
    quote! {
        impl Model {
            /// Computes the network for one batch, [`Self::INPUT_SHAPE`] to
            #[doc = #result]
            /// depend on the number of threads.
            ///
            /// # Panics
            ///
            /// When `workspace` was made by another network and is too small for this one.
            pub fn infer(&self, workspace: &mut Workspace, input: &[f32; Self::INPUT_LEN], output: &mut [f32; Self::OUTPUT_LEN]) {
                let isa = workspace.isa();
                let (threads, arena, scratch) = workspace.parts();
                isa.run(Inference { model: self, threads, arena, scratch, input, output });
            }
        }

        /// One inference, compiled once for each instruction set.
        struct Inference<'a> {
            model: &'a Model,
            threads: &'a Threads,
            arena: &'a mut Arena,
            scratch: &'a mut Scratch,
            input: &'a [f32],
            output: &'a mut [f32],
        }

        impl Program for Inference<'_> {
            type Output = ();

            #[allow(unused_variables, reason = "not every network has weights or needs scratch memory")]
            fn run<S: Simd>(self, simd: S) {
                let Self { model, threads, arena, scratch, input, output } = self;
                #(#calls)*
            }
        }
    }
}

fn batched(batch: usize, shape: Shape) -> Vec<Literal> {
    let dims = shape.dims();
    std::iter::once(batch).chain(dims).map(number).collect()
}
