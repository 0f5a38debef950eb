//! The preprocessing of the weights that are in circulation, by name.

use super::{ClassOrder, Colours, Filter, Mean, Preprocess, Range, Resize};
use crate::suggest::nearest;

/// A preprocessing with a name.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// Its name in the notation and of `--preprocess`.
    pub name: &'static str,
    /// Whose weights have it.
    pub of: &'static str,
    colours: Colours,
    range: Range,
    mean: &'static [f32],
    std: &'static [f32],
    resize: Resize,
    filter: Filter,
    classes: ClassOrder,
}

/// The mean pixel of ILSVRC 2012 in the order red, green, blue, as the release of VGG-16 and VGG-19 gives it:
/// <https://gist.github.com/ksimonyan/211839e770f7b538e2d8>.
const PIXEL: [f32; 3] = [123.68, 116.779, 103.939];
const PIXEL_BGR: [f32; 3] = [103.939, 116.779, 123.68];

/// All presets.
///
/// Sources: [torchvision](https://github.com/pytorch/vision/blob/main/torchvision/models/vgg.py) and its `ImageClassification` preset;
/// the [VGG-16 release for Caffe](https://gist.github.com/ksimonyan/211839e770f7b538e2d8);
/// [MatConvNet's importer](https://github.com/vlfeat/matconvnet/blob/master/utils/import-ref-models.sh);
/// [Keras](https://github.com/keras-team/keras/blob/master/keras/src/applications/imagenet_utils.py), mode `caffe`, with images of
/// `load_img(target_size=(224, 224))`; the mean of CNN-F, CNN-M and CNN-S is their mean image's, as
/// [Fast R-CNN](https://github.com/rbgirshick/fast-rcnn/blob/master/lib/fast_rcnn/config.py) has it.
pub const PRESETS: [Preset; 7] = [
    Preset {
        name: "torchvision",
        of: "torchvision and timm, and ONNX files made of them",
        colours: Colours::Rgb,
        range: Range::Unit,
        mean: &[0.485, 0.456, 0.406],
        std: &[0.229, 0.224, 0.225],
        resize: Resize::ShortSide(256),
        filter: Filter::Bilinear,
        classes: ClassOrder::Imagenet,
    },
    Preset {
        name: "caffe-vgg",
        of: "the authors' VGG-16 and VGG-19 for Caffe, and what was converted from them without exchanging the colours",
        colours: Colours::Bgr,
        range: Range::Bytes,
        mean: &PIXEL_BGR,
        std: &[1.0; 3],
        resize: Resize::ShortSide(256),
        filter: Filter::Bilinear,
        classes: ClassOrder::Imagenet,
    },
    Preset {
        name: "caffe-cnn",
        of: "the authors' CNN-F, CNN-M and CNN-S for Caffe, with the mean pixel in place of the mean image",
        colours: Colours::Bgr,
        range: Range::Bytes,
        mean: &[102.9801, 115.9465, 122.7717],
        std: &[1.0; 3],
        resize: Resize::ShortSide(256),
        filter: Filter::Bilinear,
        classes: ClassOrder::Imagenet,
    },
    Preset {
        name: "matconvnet",
        of: "MatConvNet's imagenet-vgg-verydeep-16 and -19",
        colours: Colours::Rgb,
        range: Range::Bytes,
        mean: &PIXEL,
        std: &[1.0; 3],
        resize: Resize::ShortSide(256),
        filter: Filter::Bilinear,
        classes: ClassOrder::Imagenet,
    },
    Preset {
        name: "matconvnet-cnn",
        of: "MatConvNet's imagenet-vgg-m and -s, with the mean pixel in place of the mean image",
        colours: Colours::Rgb,
        range: Range::Bytes,
        mean: &[122.7717, 115.9465, 102.9801],
        std: &[1.0; 3],
        resize: Resize::ShortSide(256),
        filter: Filter::Bilinear,
        classes: ClassOrder::ImagenetIlsvrc,
    },
    Preset {
        name: "keras",
        of: "Keras' VGG16 and VGG19",
        colours: Colours::Bgr,
        range: Range::Bytes,
        mean: &PIXEL_BGR,
        std: &[1.0; 3],
        resize: Resize::Stretch,
        filter: Filter::Nearest,
        classes: ClassOrder::Imagenet,
    },
    Preset {
        name: "fashion",
        of: "the trained network of `examples/fashion`",
        colours: Colours::Grey,
        range: Range::Unit,
        mean: &[0.286],
        std: &[0.353],
        resize: Resize::Stretch,
        filter: Filter::Bilinear,
        classes: ClassOrder::FashionMnist,
    },
];

impl Preset {
    /// What the name stands for.
    pub fn preprocess(&self) -> Preprocess {
        let &Self { colours, range, mean, std, resize, filter, classes, .. } = self;
        Preprocess {
            colours,
            range,
            mean: Mean::Channels(mean.into()),
            std: std.into(),
            resize,
            filter,
            classes: Some(classes),
        }
    }
}

/// The preset of that name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// The name of a preprocessing that is a preset.
pub fn name_of(preprocess: &Preprocess) -> Option<&'static str> {
    PRESETS.iter().find(|preset| preset.preprocess() == *preprocess).map(|preset| preset.name)
}

/// The preset that `name` was most likely meant to be.
pub fn suggest(name: &str) -> Option<&'static str> {
    nearest(name, PRESETS.iter().map(|preset| preset.name))
}
