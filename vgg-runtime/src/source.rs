//! The text of this crate, from which a standalone crate gets its own copy of the runtime.

macro_rules! files {
    ($($path:literal)*) => { &[$(($path, include_str!($path))),*] };
}

/// Every file of `src/`: its path below `src/`, with `/` between the parts, and its text.
pub const FILES: &[(&str, &str)] = files! {
    "aligned.rs"
    "dispatch.rs"
    "error.rs"
    "files.rs"
    "finite.rs"
    "kernels/conv/ahead.rs"
    "kernels/conv/direct.rs"
    "kernels/conv/epilogue.rs"
    "kernels/conv/grouped.rs"
    "kernels/conv/microkernel.rs"
    "kernels/conv/mod.rs"
    "kernels/conv/winograd/blocking.rs"
    "kernels/conv/winograd/gemm.rs"
    "kernels/conv/winograd/input.rs"
    "kernels/conv/winograd/mod.rs"
    "kernels/conv/winograd/output.rs"
    "kernels/conv/winograd/tests.rs"
    "kernels/conv/winograd/tiles.rs"
    "kernels/conv/winograd/transform.rs"
    "kernels/conv/winograd/weights.rs"
    "kernels/elementwise.rs"
    "kernels/fork_join.rs"
    "kernels/gemm.rs"
    "kernels/halo.rs"
    "kernels/layout.rs"
    "kernels/lrn.rs"
    "kernels/mod.rs"
    "kernels/pool.rs"
    "kernels/shared.rs"
    "kernels/softmax.rs"
    "later.rs"
    "lib.rs"
    "math.rs"
    "memory.rs"
    "npy.rs"
    "onnx.rs"
    "ops/conv.rs"
    "ops/elementwise.rs"
    "ops/flat.rs"
    "ops/gemm.rs"
    "ops/grouped.rs"
    "ops/image.rs"
    "ops/lrn.rs"
    "ops/mod.rs"
    "ops/pool.rs"
    "preprocess/mod.rs"
    "preprocess/resize.rs"
    "probe.rs"
    "reference/conv.rs"
    "reference/elementwise.rs"
    "reference/flat.rs"
    "reference/mod.rs"
    "reference/norm.rs"
    "reference/pool.rs"
    "reference/real.rs"
    "reference/tests.rs"
    "shape.rs"
    "shape/conv.rs"
    "shape/elementwise.rs"
    "shape/grouped.rs"
    "shape/pool.rs"
    "simd/avx2.rs"
    "simd/avx512.rs"
    "simd/element.rs"
    "simd/mod.rs"
    "simd/portable.rs"
    "simd/x86.rs"
    "source.rs"
    "threads.rs"
    "weights.rs"
    "weights/affine.rs"
    "weights/conv.rs"
    "weights/file.rs"
    "weights/gemm.rs"
    "weights/grouped.rs"
    "weights/values.rs"
    "workspace.rs"
};

/// The manifest of a copy: no dependencies, the features `std` and `mmap` on by default.
pub const MANIFEST: &str = concat!(
    r#"[package]
name = "vgg-runtime"
description = "Inference kernels for the VGG family: fused convolution, ReLU and pooling, without dependencies"
version = ""#,
    env!("CARGO_PKG_VERSION"),
    r#""
edition = "2024"
rust-version = "1.95"
license = "MIT OR Apache-2.0"
publish = false

[features]
default = ["std", "mmap"]
std = []
mmap = ["std"]

[lints.rust]
# Features of the original that a copy has no use for.
unexpected_cfgs = { level = "warn", check-cfg = ['cfg(feature, values("macros", "source"))'] }
"#
);
