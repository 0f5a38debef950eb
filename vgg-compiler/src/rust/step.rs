//! One step of a plan as Rust: the layer type that carries its dimensions, and the call of its kernel.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote};

use crate::ir::{Pool, Precision};
use crate::plan::{Activation, Algorithm, Blocked, Combination, ConvStep, ExecutionPlan, Operand, Step, StepKind};

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
        StepKind::Activation { .. } => "Activation",
        StepKind::Affine { .. } => "Affine",
        StepKind::Combine { .. } => "Combine",
        StepKind::Concat { .. } => "Concat",
        StepKind::MaxPool { .. } => "MaxPool",
        StepKind::AveragePool { .. } => "AveragePool",
        StepKind::Lrn { .. } => "Lrn",
        StepKind::Flatten { .. } => "Flatten",
        StepKind::Gemm { .. } => "Gemm",
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
        StepKind::Affine { .. } => Some(format_ident!("affine{index}")),
        _ => None,
    }
}

/// The type of the packed weights of a step that has any.
pub(super) fn weights_type(kind: &StepKind) -> Option<Ident> {
    let name = match kind {
        StepKind::Conv(conv) if conv.is_plain() => "PackedConv",
        StepKind::Conv(_) => "PackedGroupedConv",
        StepKind::Gemm { .. } => "PackedGemm",
        StepKind::Affine { .. } => "PackedAffine",
        _ => return None,
    };
    Some(Ident::new(name, Span::call_site()))
}

/// The function of a weights file that packs the weights of a step that has any.
pub(super) fn weights_reader(kind: &StepKind) -> Option<Ident> {
    match kind {
        StepKind::Conv(conv) if conv.is_plain() => Some(Ident::new("conv", Span::call_site())),
        StepKind::Conv(_) => Some(Ident::new("grouped_conv", Span::call_site())),
        StepKind::Gemm { precision: Precision::Int8, .. } => Some(Ident::new("gemm_scaled", Span::call_site())),
        StepKind::Gemm { .. } => Some(Ident::new("gemm", Span::call_site())),
        StepKind::Affine { .. } => Some(Ident::new("affine", Span::call_site())),
        _ => None,
    }
}

/// The type of the numbers of a step's weights, where it is not f32.
pub(super) fn element_type(kind: &StepKind) -> Option<TokenStream> {
    match kind {
        StepKind::Gemm { precision: Precision::F16, .. } => Some(quote!(<::vgg_runtime::F16>)),
        StepKind::Gemm { precision: Precision::Bf16, .. } => Some(quote!(<::vgg_runtime::Bf16>)),
        StepKind::Gemm { precision: Precision::Int8, .. } => Some(quote!(<::vgg_runtime::Int8>)),
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
            let algorithm = algorithm(conv);
            let pool = match &conv.pool {
                Some(pool) => {
                    let window = window(pool);
                    quote!(Some(#window))
                }
                None => quote!(None),
            };
            let (name, groups) = if conv.is_plain() {
                ("ConvDims", None)
            } else {
                let (dilations, groups) = (array(&conv.dilations), number(conv.group));
                ("GroupedConvDims", Some(quote!(dilations: #dilations, groups: #groups,)))
            };
            (
                name,
                quote!(
                    input: #input,
                    output: #output,
                    kernel: #kernel,
                    strides: #strides,
                    pads: #pads,
                    #groups
                    relu: #relu,
                    pool: #pool,
                    algorithm: #algorithm,
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
            let [alpha, beta, bias] = [lrn.alpha, lrn.beta, lrn.bias].map(float);
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
        StepKind::Activation { input, output, function } => {
            let (input, output, function) = (blocked(input), blocked(output), activation(*function));
            ("ActivationDims", quote!(input: #input, output: #output, function: #function, batch: #batch))
        }
        StepKind::Affine { input, output, epsilon, relu, .. } => {
            let (input, output, epsilon) = (blocked(input), blocked(output), float(*epsilon));
            ("AffineDims", quote!(input: #input, output: #output, epsilon: #epsilon, relu: #relu, batch: #batch))
        }
        StepKind::Combine { inputs, output, operation, relu } => {
            let ([left, right], output) = (inputs.each_ref().map(blocked), blocked(output));
            let operation = match operation {
                Combination::Add => quote!(Combination::Add),
                Combination::Mul => quote!(Combination::Mul),
            };
            (
                "CombineDims",
                quote!(
                    inputs: [#left, #right],
                    output: #output,
                    operation: #operation,
                    relu: #relu,
                    batch: #batch
                ),
            )
        }
        StepKind::Concat { input, output, first } => {
            let (input, output, first) = (blocked(input), blocked(output), number(*first));
            ("ConcatDims", quote!(input: #input, output: #output, first: #first, batch: #batch))
        }
        StepKind::Flatten { input } => {
            let input = blocked(input);
            ("FlattenDims", quote!(input: #input, batch: #batch))
        }
        StepKind::Gemm { in_features, out_features, relu, .. } => {
            ("GemmDims", quote!(in_features: #in_features, out_features: #out_features, relu: #relu, batch: #batch))
        }
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
        StepKind::Conv(conv) if conv.is_plain() => "conv",
        StepKind::Conv(_) => "grouped_conv",
        StepKind::Activation { .. } => "activation",
        StepKind::Affine { .. } => "affine",
        StepKind::Combine { .. } => "combine",
        StepKind::Concat { .. } => "concat",
        StepKind::MaxPool { .. } => "max_pool",
        StepKind::AveragePool { .. } => "average_pool",
        StepKind::Lrn { .. } => "lrn",
        StepKind::Flatten { .. } => "flatten",
        StepKind::Gemm { .. } => "gemm",
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
    let buffers: Vec<usize> = step.inputs.iter().filter_map(|&input| buffer(input)).collect();
    let (bind, sources, write) = match (&buffers[..], step.output) {
        ([], Operand::Buffer(to)) => {
            let to = range(to);
            (None, Vec::new(), quote!(arena.get_mut(#to)))
        }
        ([from], Operand::Buffer(to)) => {
            let (from, to) = (range(*from), range(to));
            (Some(quote!(let (read, write) = arena.pair(#from, #to);)), vec![quote!(read)], quote!(write))
        }
        (from, Operand::Buffer(to)) => {
            let names: Vec<Ident> = (0..from.len()).map(|index| format_ident!("read{index}")).collect();
            let (from, to) = (from.iter().map(|&from| range(from)), range(to));
            let bind = quote!(let ([#(#names),*], write) = arena.reads([#(#from),*], #to););
            (Some(bind), names.iter().map(|name| quote!(#name)).collect(), quote!(write))
        }
        (from, to) => {
            let sources = from.iter().map(|&from| {
                let from = range(from);
                quote!(arena.get(#from))
            });
            (None, sources.collect(), target(plan, to))
        }
    };
    let mut sources = sources.into_iter();
    let mut reads = step.inputs.iter().map(|&input| match buffer(input) {
        Some(_) => sources.next().unwrap_or_default(),
        None => quote!(input),
    });
    let read = match step.kind {
        StepKind::Combine { .. } => quote!([#(#reads),*]),
        _ => reads.next().unwrap_or_default(),
    };
    quote! {
        #bind
        ops::#operation(simd, threads, layers::#layer, #read, #weights #write #scratch);
    }
}

fn buffer(operand: Operand) -> Option<usize> {
    match operand {
        Operand::Buffer(index) => Some(index),
        Operand::Input | Operand::Output(_) => None,
    }
}

/// Where the caller's output lies: of several, each has its part.
fn target(plan: &ExecutionPlan, operand: Operand) -> TokenStream {
    match operand {
        Operand::Output(index) if plan.outputs.len() > 1 => {
            let range = plan.output_range(index);
            let (start, end) = (number(range.start), number(range.end));
            quote!(&mut output[#start..#end])
        }
        _ => quote!(output),
    }
}

fn algorithm(conv: &ConvStep) -> TokenStream {
    let algorithm = match conv.algorithm {
        Algorithm::Direct => quote!(Algorithm::Direct),
        Algorithm::Gemm => quote!(Algorithm::Gemm),
        Algorithm::WinogradF4 => quote!(Algorithm::WinogradF4),
        Algorithm::WinogradF6 => quote!(Algorithm::WinogradF6),
        Algorithm::Depthwise => return quote!(GroupedAlgorithm::Depthwise),
        Algorithm::General => return quote!(GroupedAlgorithm::General),
    };
    if conv.is_plain() { algorithm } else { quote!(GroupedAlgorithm::Each(#algorithm)) }
}

fn activation(function: Activation) -> TokenStream {
    match function {
        Activation::Relu => quote!(Activation::Relu),
        Activation::Clip { min, max } => {
            let (min, max) = (float(min), float(max));
            quote!(Activation::Clip { min: #min, max: #max })
        }
        Activation::LeakyRelu { alpha } => {
            let alpha = float(alpha);
            quote!(Activation::LeakyRelu { alpha: #alpha })
        }
        Activation::Sigmoid => quote!(Activation::Sigmoid),
    }
}

/// A number that is not NaN.
fn float(value: f32) -> TokenStream {
    let sign = value.is_sign_negative().then(|| quote!(-));
    if value.is_infinite() {
        return quote!(#sign f32::INFINITY);
    }
    let magnitude = Literal::f32_unsuffixed(value.abs());
    quote!(#sign #magnitude)
}

/// What the step does, in words that hold no name of the model.
fn describe(step: &Step) -> String {
    match &step.kind {
        StepKind::Pack { output } => format!("NCHW to {output}"),
        StepKind::Conv(conv) => format!("{}: {} to {}", step.kind, conv.input, conv.output),
        StepKind::MaxPool { input, output, .. }
        | StepKind::AveragePool { input, output, .. }
        | StepKind::Lrn { input, output, .. }
        | StepKind::Activation { input, output, .. }
        | StepKind::Affine { input, output, .. }
        | StepKind::Concat { input, output, .. } => format!("{}: {input} to {output}", step.kind),
        StepKind::Combine { inputs: [left, right], output, .. } => {
            format!("{}: {left} and {right} to {output}", step.kind)
        }
        StepKind::Flatten { input } => format!("{input} to CHW"),
        StepKind::Gemm { .. } | StepKind::Softmax { .. } | StepKind::LogSoftmax { .. } => step.kind.to_string(),
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
