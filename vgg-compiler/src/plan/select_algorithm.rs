//! select_algorithm: how each convolution is computed.

use crate::ir::Conv;

use super::step::Algorithm;

/// A 1x1 convolution of stride 1 without padding is a matrix product; everything else is summed directly.
pub(super) fn select_algorithm(conv: &Conv) -> Algorithm {
    let pointwise = conv.kernel_shape == [1, 1] && conv.strides == [1, 1] && conv.pads == [0; 4];
    if pointwise { Algorithm::Gemm } else { Algorithm::Direct }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_pointwise_convolution_is_a_matrix_product() {
        let conv = Conv { out_channels: 4, kernel_shape: [1, 1], strides: [1, 1], pads: [0; 4] };
        assert_eq!(select_algorithm(&conv), Algorithm::Gemm);
        assert_eq!(select_algorithm(&Conv { strides: [2, 2], ..conv }), Algorithm::Direct);
        assert_eq!(select_algorithm(&Conv { pads: [1; 4], ..conv }), Algorithm::Direct);
        assert_eq!(select_algorithm(&Conv { kernel_shape: [3, 3], ..conv }), Algorithm::Direct);
    }
}
