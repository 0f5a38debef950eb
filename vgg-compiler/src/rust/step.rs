//! One step of a plan as Rust: the layer type that carries its dimensions, and the call of its kernel.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote};

use crate::ir::Pool;
use crate::plan::{Algorithm, Blocked, ExecutionPlan, Operand, Step, StepKind};

/// A number without its type, which the place where it stands gives.
pub(super) fn number(value: usize) -> Literal {
    Literal::usize_unsuffixed(value)
}

/// The identifier of the layer type of step `index`. It is built from what the step computes and its number, never from a
/// name of the model.
pub(super) fn layer_type(index: usize, kind: &StepKind) -> Ident {
    let stem = match kind {
        StepKind::Pack { .. } => "Pack",
        StepKind::Conv(_) => "Conv",
        StepKind::MaxPool { .. } => "MaxPool",
        StepKind::AveragePool { .. } => "AveragePool",
        StepKind::Lrn { .. } => "Lrn",
        StepKind::Relu { .. } => "Relu",
        StepKind::Flatten { .. } => "Flatten",
        StepKind::Gemm { .. } => "Gemm",
        StepKind::FlatRelu { .. } => "FlatRelu",
        StepKind::Softmax { .. } => "Softmax",
        StepKind::LogSoftmax { .. } => "LogSoftmax",
    };
    format_ident!("{stem}{index}")
}

/// The field that holds the weights of step `index`, for a step that has any.
pub(super) fn weights_field(index: usize, kind: &StepKind) -> Option<Ident> {
    match kind {
        StepKind::Conv(_) => Some(format_ident!("conv{index}")),
        StepKind::Gemm { .. } => Some(format_ident!("gemm{index}")),
        _ => None,
    }
}

/// The type of the packed weights of a step that has any.
pub(super) fn weights_type(kind: &StepKind) -> Option<Ident> {
    match kind {
        StepKind::Conv(_) => Some(Ident::new("PackedConv", Span::call_site())),
        StepKind::Gemm { .. } => Some(Ident::new("PackedGemm", Span::call_site())),
        _ => None,
    }
}

/// The function of a weights file that packs the weights of a step that has any.
pub(super) fn weights_reader(kind: &StepKind) -> Option<Ident> {
    match kind {
        StepKind::Conv(_) => Some(Ident::new("conv", Span::call_site())),
        StepKind::Gemm { .. } => Some(Ident::new("gemm", Span::call_site())),
        _ => None,
    }
}

/// The zero-sized type of step `index`, whose dimensions are constants.
pub(super) fn layer(index: usize, step: &Step, batch: usize) -> TokenStream {
    let name = layer_type(index, &step.kind);
    let batch = number(batch);
    let doc = format!(" {}.", describe(step));
    let (dims, fields) = match &step.kind {
        StepKind::Pack { output } => {
            let output = blocked(output);
            ("PackDims", quote!(output: #output, batch: #batch))
        }
        StepKind::Conv(conv) => {
            let (input, output) = (blocked(&conv.input), blocked(&conv.output));
            let (kernel, strides) = (array(&conv.kernel), array(&conv.strides));
            let pads = array(&conv.pads);
            let relu = conv.relu;
            let algorithm = Ident::new(
                match conv.algorithm {
                    Algorithm::Direct => "Direct",
                    Algorithm::Gemm => "Gemm",
                    Algorithm::WinogradF4 => "WinogradF4",
                    Algorithm::WinogradF6 => "WinogradF6",
                },
                Span::call_site(),
            );
            let pool = match &conv.pool {
                Some(pool) => {
                    let window = window(pool);
                    quote!(Some(#window))
                }
                None => quote!(None),
            };
            (
                "ConvDims",
                quote!(
                    input: #input,
                    output: #output,
                    kernel: #kernel,
                    strides: #strides,
                    pads: #pads,
                    relu: #relu,
                    pool: #pool,
                    algorithm: Algorithm::#algorithm,
                    batch: #batch
                ),
            )
        }
        StepKind::MaxPool { input, output, pool } => {
            let (input, output, window) = (blocked(input), blocked(output), window(pool));
            ("MaxPoolDims", quote!(input: #input, output: #output, window: #window, batch: #batch))
        }
        StepKind::AveragePool { input, output, pool, count_include_pad } => {
            let (input, output, window) = (blocked(input), blocked(output), window(pool));
            (
                "AveragePoolDims",
                quote!(
                    input: #input,
                    output: #output,
                    window: #window,
                    count_include_pad: #count_include_pad,
                    batch: #batch
                ),
            )
        }
        StepKind::Lrn { input, output, lrn } => {
            let (input, output) = (blocked(input), blocked(output));
            let [alpha, beta, bias] = [lrn.alpha, lrn.beta, lrn.bias].map(Literal::f32_unsuffixed);
            let size = number(lrn.size);
            (
                "LrnDims",
                quote!(
                    input: #input,
                    output: #output,
                    size: #size,
                    alpha: #alpha,
                    beta: #beta,
                    bias: #bias,
                    batch: #batch
                ),
            )
        }
        StepKind::Relu { input, output } => {
            let (input, output) = (blocked(input), blocked(output));
            ("ReluDims", quote!(input: #input, output: #output, batch: #batch))
        }
        StepKind::Flatten { input } => {
            let input = blocked(input);
            ("FlattenDims", quote!(input: #input, batch: #batch))
        }
        StepKind::Gemm { in_features, out_features, relu, .. } => {
            ("GemmDims", quote!(in_features: #in_features, out_features: #out_features, relu: #relu, batch: #batch))
        }
        StepKind::FlatRelu { features } => ("FlatReluDims", quote!(features: #features, batch: #batch)),
        StepKind::Softmax { features } | StepKind::LogSoftmax { features } => {
            ("SoftmaxDims", quote!(features: #features, batch: #batch))
        }
    };
    let dims = Ident::new(dims, Span::call_site());
    quote! {
        #[doc = #doc]
        #[derive(Debug, Clone, Copy)]
        pub(super) struct #name;

        impl #name {
            pub(super) const DIMS: #dims = #dims { #fields }.check();
        }

        impl Layer<#dims> for #name {
            #[inline(always)]
            fn dims(self) -> #dims {
                Self::DIMS
            }
        }
    }
}

/// The call of the kernel of step `index`.
pub(super) fn call(plan: &ExecutionPlan, index: usize, step: &Step) -> TokenStream {
    let layer = layer_type(index, &step.kind);
    let operation = match &step.kind {
        StepKind::Pack { .. } => "pack",
        StepKind::Conv(_) => "conv",
        StepKind::MaxPool { .. } => "max_pool",
        StepKind::AveragePool { .. } => "average_pool",
        StepKind::Lrn { .. } => "lrn",
        StepKind::Relu { .. } => "relu",
        StepKind::Flatten { .. } => "flatten",
        StepKind::Gemm { .. } => "gemm",
        StepKind::FlatRelu { .. } => "flat_relu",
        StepKind::Softmax { .. } => "softmax",
        StepKind::LogSoftmax { .. } => "log_softmax",
    };
    let operation = Ident::new(operation, Span::call_site());
    let weights = weights_field(index, &step.kind).map(|field| quote!(&model.#field,));
    let scratch = matches!(step.kind, StepKind::Conv(_) | StepKind::Lrn { .. }).then(|| quote!(, scratch));
    let range = |operand: usize| {
        let range = plan.buffers[operand].range();
        let (start, end) = (number(range.start), number(range.end));
        quote!(#start..#end)
    };
    let (bind, read, write) = match (step.input, step.output) {
        (Operand::Buffer(from), Operand::Buffer(to)) => {
            let (from, to) = (range(from), range(to));
            (Some(quote!(let (read, write) = arena.pair(#from, #to);)), quote!(read), quote!(write))
        }
        (Operand::Buffer(from), _) => {
            let from = range(from);
            (None, quote!(arena.get(#from)), quote!(output))
        }
        (_, Operand::Buffer(to)) => {
            let to = range(to);
            (None, quote!(input), quote!(arena.get_mut(#to)))
        }
        _ => (None, quote!(input), quote!(output)),
    };
    quote! {
        #bind
        ops::#operation(simd, threads, layers::#layer, #read, #weights #write #scratch);
    }
}

/// What the step does, in words that hold no name of the model.
fn describe(step: &Step) -> String {
    match &step.kind {
        StepKind::Pack { output } => format!("NCHW to {output}"),
        StepKind::Conv(conv) => format!("{}: {} to {}", step.kind, conv.input, conv.output),
        StepKind::MaxPool { input, output, .. }
        | StepKind::AveragePool { input, output, .. }
        | StepKind::Lrn { input, output, .. }
        | StepKind::Relu { input, output } => format!("{}: {input} to {output}", step.kind),
        StepKind::Flatten { input } => format!("{input} to CHW"),
        StepKind::Gemm { .. } | StepKind::FlatRelu { .. } | StepKind::Softmax { .. } | StepKind::LogSoftmax { .. } => {
            step.kind.to_string()
        }
    }
}

fn blocked(blocked: &Blocked) -> TokenStream {
    let halo = array(&blocked.halo);
    let [channels, height, width, block] = [blocked.channels, blocked.height, blocked.width, blocked.block].map(number);
    quote!(Blocked { channels: #channels, height: #height, width: #width, block: #block, halo: #halo })
}

fn window(pool: &Pool) -> TokenStream {
    let (kernel, strides, pads) = (array(&pool.kernel_shape), array(&pool.strides), array(&pool.pads));
    let ceil_mode = pool.ceil_mode;
    quote!(PoolWindow { kernel: #kernel, strides: #strides, pads: #pads, ceil_mode: #ceil_mode })
}

fn array(values: &[usize]) -> TokenStream {
    let values = values.iter().copied().map(number);
    quote!([#(#values),*])
}
