//! Weight files of other formats, told by their first bytes.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

/// What a file is that is not safetensors, and how its weights become safetensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Foreign {
    pub(crate) found: &'static str,
    pub(crate) convert: &'static str,
}

const TORCH: &str = "convert it in Python with \
    `safetensors.torch.save_file(torch.load(\"in.pth\", map_location=\"cpu\", weights_only=True), \"out.safetensors\")`";
const ONNX: &str = "convert it in Python with `safetensors.numpy.save_file({t.name: onnx.numpy_helper.to_array(t) \
    for t in onnx.load(\"in.onnx\").graph.initializer}, \"out.safetensors\")`";
const KERAS: &str = "convert it in Python: read the arrays with h5py, transpose kernels to [out, in, height, width], \
    and write them with `safetensors.numpy.save_file`";
const MATLAB: &str = "convert it in Python: read the arrays with scipy.io.loadmat, transpose filters to \
    [out, in, height, width], and write them with `safetensors.numpy.save_file`";
const CAFFE: &str = "convert it in Python: read the blobs with caffe.proto's NetParameter, and write them with \
    `safetensors.numpy.save_file`";
const NUMPY: &str = "convert it in Python with `safetensors.numpy.save_file`";

/// Recognises a format by the first bytes of a file and the extension of its name, in lower case.
pub(crate) fn recognise(head: &[u8], extension: &str) -> Option<Foreign> {
    let begins = |magic: &[u8]| head.starts_with(magic);
    let (found, convert) = match extension {
        _ if begins(b"PK\x03\x04") && extension == "npz" => ("a NumPy archive", NUMPY),
        _ if begins(b"PK\x03\x04") => ("a PyTorch file (zip archive)", TORCH),
        _ if begins(b"\x80") && head.get(1).is_some_and(|&protocol| (2..=5).contains(&protocol)) => {
            ("a Python pickle, as older PyTorch files are", TORCH)
        }
        _ if begins(b"\x89HDF\r\n\x1a\n") => ("an HDF5 file, as Keras writes", KERAS),
        _ if begins(b"MATLAB ") => ("a MATLAB file", MATLAB),
        _ if begins(b"\x93NUMPY") => ("a NumPy array", NUMPY),
        "onnx" => ("an ONNX model", ONNX),
        // The first field of an ONNX model is the version of its format, a small number.
        _ if begins(b"\x08") && head.get(1).is_some_and(|&version| (1..=32).contains(&version)) => {
            ("an ONNX model", ONNX)
        }
        "caffemodel" => ("a Caffe model", CAFFE),
        "pth" | "pt" => ("a PyTorch file", TORCH),
        _ => return None,
    };
    Some(Foreign { found, convert })
}
