use super::*;
use crate::spec::parse::parse_preprocess;

#[test]
fn presets_are_what_their_sources_say() {
    let text = |name: &str| preset(name).unwrap().preprocess().to_string();
    for (name, expected) in [
        ("caffe-vgg", "bgr, range 255, mean 103.939 116.779 123.68, resize 256, bilinear, classes imagenet"),
        ("caffe-cnn", "bgr, range 255, mean 102.9801 115.9465 122.7717, resize 256, bilinear, classes imagenet"),
        ("matconvnet", "rgb, range 255, mean 123.68 116.779 103.939, resize 256, bilinear, classes imagenet"),
        (
            "matconvnet-cnn",
            "rgb, range 255, mean 122.7717 115.9465 102.9801, resize 256, bilinear, classes imagenet-ilsvrc",
        ),
        ("keras", "bgr, range 255, mean 103.939 116.779 123.68, stretch, nearest, classes imagenet"),
        ("fashion", "grey, range 1, mean 0.286, std 0.353, stretch, bilinear, classes fashion-mnist"),
    ] {
        assert_eq!(text(name), expected);
    }
}

/// The table of the documentation has every preset, with what it stands for.
#[test]
fn presets_are_documented() {
    let documentation = include_str!("../../../docs/images.md");
    for preset in &PRESETS {
        let (begin, end) = (format!("| `{}` |", preset.name), format!("| {} |", preset.preprocess()));
        let row = documentation.lines().find(|line| line.starts_with(&begin));
        assert!(row.is_some_and(|row| row.ends_with(&end)), "{begin} .. {end}");
    }
}

#[test]
fn every_text_is_read_back() {
    for preset in &PRESETS {
        let preprocess = preset.preprocess();
        assert_eq!(parse_preprocess(&preprocess.to_string()), Ok(preprocess.clone()), "{}", preset.name);
        assert_eq!(parse_preprocess(preset.name), Ok(preprocess.clone()));
        assert_eq!(name_of(&preprocess), Some(preset.name), "two presets are the same");
    }
}

#[test]
fn texts_of_files_are_refused_with_their_reason() {
    for (text, expected) in [
        ("", "expected a preprocessing, such as `torchvision`, found the end"),
        ("unknown", "unknown preprocessing `unknown`"),
        ("rgb", "`range 1` or `range 255` and `resize N` or `stretch` are missing"),
        ("rgb, range 1, resize 256; rm", "expected the end, found `;`"),
        ("torchvision;", "expected the end, found `;`"),
        ("torchvision keras", "expected the end, found `keras`"),
        ("rgb, range 1, mean 1e39, stretch", "expected a number after `mean`, found `1e39`"),
        ("\"", "expected words and numbers, found something else"),
    ] {
        assert_eq!(parse_preprocess(text).unwrap_err(), expected, "{text:?}");
    }
    assert!(parse_preprocess(&"(".repeat(4000)).is_err());
    assert!(
        parse_preprocess(&format!("keras({}", "(".repeat(2000) + &")".repeat(2001))).unwrap_err().contains("nested")
    );
    assert!(parse_preprocess(&" ".repeat(5000)).unwrap_err().contains("5000 bytes"));
}

#[test]
fn conflicts_are_told_by_what_differs() {
    let [torchvision, caffe, keras] =
        ["torchvision", "caffe-vgg", "keras"].map(|name| preset(name).unwrap().preprocess());
    assert_eq!(torchvision.differences(&caffe), "colour order, range, mean, std");
    assert_eq!(caffe.differences(&keras), "resizing");
    let unnamed = Preprocess { classes: None, ..caffe.clone() };
    assert!(!unnamed.conflicts(&caffe) && !caffe.conflicts(&unnamed) && caffe.conflicts(&keras));
    let reordered = Preprocess { classes: Some(ClassOrder::ImagenetIlsvrc), ..caffe.clone() };
    assert!(reordered.conflicts(&caffe) && reordered.same_input(&caffe));
    assert_eq!(reordered.differences(&caffe), "class order");
}
