//! Inference kernels for the VGG family.
