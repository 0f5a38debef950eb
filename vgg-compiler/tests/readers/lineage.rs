//! What files of MatConvNet say of images, in the layouts of the published ones.

use vgg_compiler::preprocess::{ClassOrder, Mean};
use vgg_compiler::weights::{lineage, readers};

use super::support::{TINY, fixture, load, numbers, state, values};

#[test]
fn the_meta_of_matconvnet_says_how_images_become_the_input() {
    for (name, text, notes) in [
        (
            "tiny-meta.mat",
            "rgb, range 255, mean image, resize 10, bilinear, classes imagenet",
            "its meta names 1000 classes, `n01440764` first, in the order `imagenet`",
        ),
        (
            "tiny-meta-old.mat",
            "rgb, range 255, mean 123.68 116.779 103.939, resize 8, bicubic, classes imagenet-ilsvrc",
            "its meta names 1000 classes, `n02119789` first, in the order `imagenet-ilsvrc`",
        ),
        (
            "tiny-meta-net.mat",
            "rgb, range 255, mean 120.5 110.25 99, resize 10, bilinear",
            "its meta names 5 classes, `cat` first, in none of the known orders: --labels FILE gives them their names",
        ),
    ] {
        let recorded = lineage(&fixture(name)).unwrap().unwrap_or_else(|| panic!("{name} says nothing"));
        assert_eq!(recorded.to_string(), text, "{name}");
        assert_eq!(readers::open(&fixture(name)).unwrap().preprocess, Some(recorded.clone()), "{name}");
        let adapted = load(name, TINY);
        assert_eq!(adapted.notes[..2], [format!("its meta says of images: {text}"), notes.to_owned()], "{name}");
        for (key, _, expected) in state() {
            assert_eq!(values(&adapted.tensors, &key), expected, "{name}: {key}");
        }
    }
}

/// The image of [height, width, 3] as [3, height, width].
#[test]
fn the_average_image_is_taken_whole() {
    let recorded = lineage(&fixture("tiny-meta.mat")).unwrap().unwrap();
    let Mean::Image(Some(image)) = recorded.mean else { panic!("{:?}", recorded.mean) };
    let file: Vec<f32> = numbers(8 * 8 * 3, 7).into_iter().map(|value| value + 120.0).collect();
    let expected: Vec<f32> =
        (0..3).flat_map(|channel| file.iter().skip(channel).step_by(3).copied().collect::<Vec<_>>()).collect();
    assert_eq!(image[..], expected);
}

/// A file that does not say all of it says nothing.
#[test]
fn what_the_meta_lacks_is_not_guessed() {
    for name in ["tiny.mat", "tiny-old.mat", "tiny-net.mat", "tiny-bn.mat", "tiny.pth", "tiny-v1.caffemodel"] {
        assert_eq!(lineage(&fixture(name)).unwrap(), None, "{name}");
    }
}

#[test]
fn orders_of_classes_are_told_by_all_their_identifiers() {
    for order in [ClassOrder::Imagenet, ClassOrder::ImagenetIlsvrc] {
        let classes = order.imagenet();
        let mut synsets: Vec<&str> = classes.iter().map(|class| class.synset).collect();
        assert_eq!(ClassOrder::of_synsets(&synsets), Some(order));
        synsets.swap(998, 999);
        assert_eq!(ClassOrder::of_synsets(&synsets), None);
        assert_eq!(ClassOrder::of_synsets(&synsets[..998]), None);
    }
}
