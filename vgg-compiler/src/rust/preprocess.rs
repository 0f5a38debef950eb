//! From an image to the input, for networks of which it is known how.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

use super::step::number;
use crate::ir::{Shape, TypedGraph};
use crate::preprocess::{Colours, Filter, Mean, Preprocess, Resize};

/// The items that make the input of an image; none when the preprocessing is unknown.
pub(super) fn preprocess(graph: &TypedGraph) -> Option<TokenStream> {
    let preprocess = graph.preprocess.as_ref()?;
    let Shape::Image { height, width, .. } = graph.input_shape() else { return None };
    let Preprocess { colours, range, mean, std, resize, filter, .. } = preprocess;
    let text = format!(" How images become the input: `{preprocess}`.");
    let len = number(graph.input_shape().len());
    let colours = format_ident!(
        "{}",
        match colours {
            Colours::Rgb => "Rgb",
            Colours::Bgr => "Bgr",
            Colours::Grey => "Grey",
        }
    );
    let filter = format_ident!(
        "{}",
        match filter {
            Filter::Nearest => "Nearest",
            Filter::Bilinear => "Bilinear",
            Filter::Bicubic => "Bicubic",
        }
    );
    let resize = match *resize {
        Resize::ShortSide(side) => {
            let side = number(side);
            quote!(ShortSide(#side))
        }
        Resize::Stretch => quote!(Stretch),
    };
    let white = real(&range.white());
    let std = std.iter().map(real);
    let image = matches!(mean, Mean::Image(_));
    let (mean, text_of_mean) = match mean {
        Mean::Channels(mean) => (mean.iter().map(real).collect(), ""),
        Mean::Image(_) => (Vec::new(), " The mean image is part of the weights, and `mean` is empty here."),
    };
    let text = format!("{text}{text_of_mean}");
    // A mean image comes with the weights.
    let (receiver, step) = match image {
        true => (
            Some(quote!(&self,)),
            quote!(::vgg_runtime::preprocess::Preprocess { mean: &self.mean, ..Self::PREPROCESS }),
        ),
        false => (None, quote!(Self::PREPROCESS)),
    };
    let (height, width) = (number(height), number(width));
    Some(quote! {
        impl Model {
            /// Values of the input of one image.
            pub const IMAGE_LEN: usize = #len;

            #[doc = #text]
            pub const PREPROCESS: ::vgg_runtime::preprocess::Preprocess<'static> = ::vgg_runtime::preprocess::Preprocess {
                colours: ::vgg_runtime::preprocess::Colours::#colours,
                white: #white,
                mean: &[#(#mean),*],
                std: &[#(#std),*],
                resize: ::vgg_runtime::preprocess::Resize::#resize,
                filter: ::vgg_runtime::preprocess::Filter::#filter,
                height: #height,
                width: #width,
            };

            /// The input for one image of `width` x `height` RGB pixels: three bytes each, red first, row after row from the top.
            /// It is what [`Self::PREPROCESS`] says, to the bit the same as `vgg run --image` makes of these pixels.
            ///
            /// # Errors
            ///
            /// When `rgb8` has not three bytes for each pixel, or there are none.
            pub fn preprocess(#receiver rgb8: &[u8], width: usize, height: usize) -> Result<Box<[f32; Self::IMAGE_LEN]>, Error> {
                #step.input(rgb8, width, height)
            }
        }
    })
}

/// A number, with its sign as an operator: a literal has none.
fn real(value: &f32) -> TokenStream {
    let magnitude = Literal::f32_unsuffixed(value.abs());
    if value.is_sign_negative() { quote!(-#magnitude) } else { quote!(#magnitude) }
}
