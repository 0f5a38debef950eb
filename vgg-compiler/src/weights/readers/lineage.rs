//! Whose conventions a weights file follows, and what those imply for images.

use std::fmt;

use super::file::{Container, WeightsFile};
use crate::preprocess::{ClassOrder, Colours, Preprocess};

/// Whose conventions a weights file follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceFormat {
    /// Torchvision's names: `features.0.weight`, `classifier.0.weight`.
    Torchvision,
    /// timm's names: `pre_logits.fc1.weight`, `head.fc.weight`.
    Timm,
    /// Caffe's VGG-16 and 19 with torchvision's names, as `jcjohnson/pytorch-vgg` has them: `classifier.1.weight`.
    CaffeInTorch,
    /// A Caffe model.
    Caffe,
    /// MatConvNet.
    MatConvNet,
    /// Keras.
    Keras,
    /// Names of another kind.
    Unknown,
}

/// The order of an image's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColourOrder {
    /// Red first.
    Rgb,
    /// Blue first, as OpenCV and Caffe have it.
    Bgr,
}

impl fmt::Display for ColourOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rgb => "RGB",
            Self::Bgr => "BGR",
        })
    }
}

impl SourceFormat {
    /// A short name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Torchvision => "torchvision",
            Self::Timm => "timm",
            Self::CaffeInTorch => "caffe-in-torch",
            Self::Caffe => "caffe",
            Self::MatConvNet => "matconvnet",
            Self::Keras => "keras",
            Self::Unknown => "unknown",
        }
    }

    /// The order of the channels that the published VGG files of this source were trained with. A file of one's own may have
    /// been trained with another; none is assumed for names of an unknown kind.
    pub fn colour_order(self) -> Option<ColourOrder> {
        match self {
            Self::Torchvision | Self::Timm | Self::MatConvNet => Some(ColourOrder::Rgb),
            Self::CaffeInTorch | Self::Caffe | Self::Keras => Some(ColourOrder::Bgr),
            Self::Unknown => None,
        }
    }

    /// How the published VGG files of this source want their images: a sentence.
    pub fn preprocessing(self) -> Option<&'static str> {
        match self {
            Self::Torchvision | Self::Timm => Some(
                "published files of this kind take RGB images, divided by 255, minus [0.485, 0.456, 0.406], over [0.229, 0.224, 0.225]",
            ),
            Self::CaffeInTorch | Self::Keras => {
                Some("published files of this kind take BGR images of 0 to 255, minus [103.939, 116.779, 123.68]")
            }
            Self::Caffe => Some(
                "published files of this kind take BGR images of 0 to 255: VGG-16 and 19 minus [103.939, 116.779, 123.68], \
                 CNN-F, M and S minus a mean image",
            ),
            Self::MatConvNet => Some(
                "published files of this kind take RGB images of 0 to 255 minus the averageImage of their meta: \
                 [123.68, 116.779, 103.939] for VGG-16 and 19, an image for CNN-F, M and S",
            ),
            Self::Unknown => None,
        }
    }

    /// The order of the classes of the published ImageNet files of this source: a clause.
    pub fn class_order(self) -> Option<&'static str> {
        match self {
            Self::Torchvision | Self::Timm | Self::Caffe | Self::CaffeInTorch | Self::Keras => {
                Some("classes in the order of their WordNet ids (n01440764 first)")
            }
            Self::MatConvNet => Some(
                "classes as in its meta: in the order of their WordNet ids for VGG-16, VGG-19 and CNN-F, in that of ILSVRC \
                 (n02119789 first) for CNN-M and S",
            ),
            Self::Unknown => None,
        }
    }
}

impl WeightsFile {
    /// What speaks against `preprocess` for these weights: the colours or the classes of the published files of its kind are in another
    /// order. A clause; none for files that may be of any kind, as those with torchvision's names that a conversion wrote, and for those that
    /// say themselves how images become their input.
    pub fn doubt(&self, preprocess: &Preprocess) -> Option<String> {
        if self.preprocess.is_some() {
            return None;
        }
        let common = matches!(self.container, Container::Safetensors | Container::Onnx);
        if common && !matches!(self.source, SourceFormat::Timm | SourceFormat::CaffeInTorch) {
            return None;
        }
        let own = self.source.colour_order()?;
        let made = match preprocess.colours {
            Colours::Rgb => Some(ColourOrder::Rgb),
            Colours::Bgr => Some(ColourOrder::Bgr),
            Colours::Grey => None,
        };
        let published = match self.source {
            SourceFormat::Torchvision => "torchvision",
            SourceFormat::Timm => "timm",
            SourceFormat::Caffe | SourceFormat::CaffeInTorch => "Caffe",
            SourceFormat::MatConvNet => "MatConvNet",
            SourceFormat::Keras => "Keras",
            SourceFormat::Unknown => return None,
        };
        if let Some(made) = made.filter(|made| *made != own) {
            return Some(format!(
                "the published files of {published} take {own} images, but the preprocessing makes {made} ones: red and blue \
                 change places unless these weights were trained otherwise"
            ));
        }
        (self.source != SourceFormat::MatConvNet && preprocess.classes == Some(ClassOrder::ImagenetIlsvrc)).then(|| {
            format!(
                "the published files of {published} have their classes in the order `{}`, but the preprocessing says `{}`: names \
                 will be wrong unless these weights were trained otherwise",
                ClassOrder::Imagenet.word(),
                ClassOrder::ImagenetIlsvrc.word()
            )
        })
    }
}

impl fmt::Display for SourceFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
