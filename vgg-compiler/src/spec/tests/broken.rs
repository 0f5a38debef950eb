//! Broken declarations: where each mistake is reported, and in which words.

use super::parsed;
use crate::spec::check::check;
use crate::spec::diagnostic::FileErrors;
use crate::spec::parse::{MAX_TEXT, parse_file, parse_tokens};
use crate::spec::{Extent, LayerKind, PoolSpec};

fn refused(text: &str) -> FileErrors {
    match parse_file("net.vgg", text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(errors) => errors,
    }
}

/// The errors of a file go to another thread and into any error type, which spans could not.
#[test]
fn file_errors_are_ordinary_errors() {
    let error: Box<dyn std::error::Error + Send + Sync> = refused("Net").into();
    assert!(error.to_string().starts_with("error: net.vgg:1:4: expected `:` and the input"), "{error}");
}

/// Text, then for each mistake its place and words of its message or help.
type Case = (&'static str, &'static [(&'static str, &'static str)]);

fn assert_refused(cases: &[Case]) {
    let mut failures = Vec::new();
    for (text, expected) in cases {
        let errors = match parse_file("net.vgg", text) {
            Ok(_) => {
                failures.push(format!("accepted: {text}"));
                continue;
            }
            Err(errors) => errors,
        };
        let fits = errors.errors.len() == expected.len()
            && errors.errors.iter().zip(*expected).all(|(error, (place, words))| {
                let help = error.help.as_deref().unwrap_or_default();
                format!("{}:{}", error.line, error.column) == *place
                    && format!("{}\n{help}", error.message).contains(words)
            });
        if !fits {
            failures.push(format!("{text}\nexpected {expected:?}, got\n{errors}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn headers() {
    assert_refused(&[
        ("", &[("1:1", "expected the name of the network")]),
        ("// nothing\n", &[("1:11", "found the end")]),
        ("pub", &[("1:4", "expected the name of the network")]),
        ("pub Net", &[("1:8", "expected `:` and the input")]),
        ("pub Net {}", &[("1:9", "found `{`")]),
        (
            "pub Net: {}",
            &[("1:5", "at least one layer"), ("1:10", "expected the input as channels x height x width, found `{`")],
        ),
        ("Net: 3 x 224 { fc-1 }", &[("1:6", "found 2 of the 3 numbers")]),
        ("Net: 3 x 2 x 2 x 2 { fc-1 }", &[("1:6", "found 4 of the 3 numbers")]),
        ("Net: 3 x 224 x { fc-1 }", &[("1:16", "found `{`")]),
        ("Net: 3 x 0 x 224 { fc-1 }", &[("1:10", "the height of the input is 0, expected 1 to 32768")]),
        ("Net: 0 x 4 x 4 { fc-1 }", &[("1:6", "the number of input channels is 0")]),
        ("Net: 3 x 4 x 99999 { fc-1 }", &[("1:14", "the width of the input is 99999")]),
        ("Net: 3 x 4 x 99999999999999999999 { fc-1 }", &[("1:14", "the number is too large")]),
        ("Net: 3 x -4 x 4 { fc-1 }", &[("1:10", "found `-4`")]),
        ("Net: 3 x 4.5 x 4 { fc-1 }", &[("1:10", "it must be a whole number")]),
        ("Net: 3xx4x4 { fc-1 }", &[("1:6", "found `3xx4x4`")]),
        ("Net: 3 x 4 x 4", &[("1:15", "expected `{` and the layers, found the end")]),
        ("Net: 3 x 4 x 4 [fc-1]", &[("1:16", "expected `{` and the layers, found `[`")]),
        ("Net: 3 x 4 x 4 { }", &[("1:1", "at least one layer")]),
        ("Net: 3 x 4 x 4 { dropout }", &[("1:1", "found nothing but dropout")]),
        ("fn: 3 x 4 x 4 { fc-1 }", &[("1:1", "is `fn`, which is a keyword of Rust")]),
        ("gen: 3 x 4 x 4 { fc-1 }", &[("1:1", "keyword")]),
        ("r#fn: 3 x 4 x 4 { fc-1 }", &[("1:1", "raw identifier")]),
        ("Größe: 3 x 4 x 4 { fc-1 }", &[("1:1", "expected ASCII letters")]),
        ("__: 3 x 4 x 4 { fc-1 }", &[("1:1", "with a letter among them")]),
        ("16Net: 3 x 4 x 4 { fc-1 }", &[("1:1", "expected the name of the network")]),
        ("#[derive(Debug)] Net: 3 x 4 x 4 { fc-1 }", &[("1:1", "found another attribute")]),
        ("//! Inner.\nNet: 3 x 4 x 4 { fc-1 }", &[("1:1", "found an inner one")]),
        ("A: 3 x 4 x 4 { fc-1 }\nB: 3 x 4 x 4 { fc-1 }", &[("2:1", "expected one declaration, found `B`")]),
        ("vgg! ( A: 3 x 4 x 4 { fc-1 } )", &[("1:6", "expected `{` after `vgg!`")]),
        ("vgg! { A: 3 x 4 x 4 { fc-1 } } more", &[("1:32", "found `more`")]),
        ("A = resnet50;", &[("1:5", "unknown network `resnet50`")]),
        ("A = vgg-16;", &[("1:5", "did you mean `vgg16`?")]),
        ("A = ;", &[("1:5", "expected a built-in network after `=`, found `;`")]),
        ("A = \"vgg-d\";", &[("1:5", "found `\"vgg-d\"`")]),
        ("A = vgg-d; B = vgg-e;", &[("1:12", "expected one declaration")]),
    ]);
}

#[test]
fn tokens() {
    assert_refused(&[
        ("Net: 3 x 4 x 4 {\n  fc-1\n", &[("1:16", "matching brackets")]),
        ("Net: 3 x 4 x 4 {\n  fc-1 )\n}", &[("2:8", "matching brackets")]),
        ("Net: 3 x 4 x 4 { fc-1 } }", &[("1:25", "matching brackets")]),
        ("Net: 3 x 4 x 4 { fc-1\0 }", &[("1:22", "character that has no meaning")]),
        ("Net: 3 x 4 x 4 { fc-1 \u{1b}[31m }", &[("1:23", "character that has no meaning")]),
        ("Net: 3 x 4 x 4 { \"fc }", &[("1:18", "stray quote")]),
        ("Net: 3 x 4 x 4 { fc-1 /* }", &[("1:23", "matching")]),
        ("\u{feff}Net: 3 x 4 x 4 { fc-0 }", &[("1:21", "the number of units is 0")]),
        ("Net: 3 x 4 x 4 {\r\n\tfc-0 }", &[("2:5", "the number of units is 0")]),
        ("(", &[("1:1", "matching")]),
        ("}", &[("1:1", "matching")]),
        ("\n )", &[("2:2", "matching")]),
        ("Net: 3 x 4 x 4 { ✓ }", &[("1:18", "character that has no meaning")]),
    ]);
}

#[test]
fn layers() {
    assert_refused(&[
        ("Net: 3x8x8 {\n  conv3-8, maxpol;\n  fc-10 }", &[("2:12", "unknown layer `maxpol`; did you mean `maxpool`?")]),
        ("Net: 3x8x8 { cnov3-8 }", &[("1:14", "did you mean `conv3`?")]),
        ("Net: 3x8x8 { sotfmax }", &[("1:14", "did you mean `softmax`?")]),
        ("Net: 3x8x8 { fc10 }", &[("1:14", "did you mean `fc-10`?")]),
        ("Net: 3x8x8 { maxpool2 }", &[("1:14", "did you mean `maxpool(2)`?")]),
        ("Net: 3x8x8 { dense-10 }", &[("1:14", "a fully connected layer is written `fc-4096`")]),
        ("Net: 3x8x8 { LRN }", &[("1:14", "did you mean `lrn`?")]),
        ("Net: 3x8x8 { inception }", &[("1:14", "the layers are `conv3-64`, `bn`, `lrn`")]),
        ("Net: 3x8x8 { relu }", &[("1:14", "relu follows every conv")]),
        ("Net: 3x8x8 { conv3_8 }", &[("1:14", "unknown layer `conv3_8`")]),
        ("Net: 3x8x8 { conv-8 }", &[("1:14", "`conv` has no kernel size")]),
        ("Net: 3x8x8 { conv3 }", &[("1:20", "expected `-` and the number of filters after `conv3`, found the end")]),
        ("Net: 3x8x8 { conv3- }", &[("1:21", "expected the number of filters after `conv3-`, found the end")]),
        ("Net: 3x8x8 { conv3-, fc-1 }", &[("1:20", "found `,`")]),
        ("Net: 3x8x8 { conv3--8 }", &[("1:20", "found `-8`")]),
        ("Net: 3x8x8 { conv3-8.5 }", &[("1:20", "it must be a whole number")]),
        ("Net: 3x8x8 { conv3-8u32 }", &[("1:20", "without a suffix, such as 8")]),
        ("Net: 3x8x8 { conv3-0x20 }", &[("1:20", "found `0x20`")]),
        ("Net: 3x8x8 { conv3-0 }", &[("1:20", "the number of filters is 0, expected 1 to 65536")]),
        ("Net: 3x8x8 { conv3-70000 }", &[("1:20", "the number of filters is 70000")]),
        ("Net: 3x8x8 { conv0-8 }", &[("1:14", "the kernel size is 0, expected 1 to 1024")]),
        ("Net: 3x8x8 { conv3x2000-8 }", &[("1:14", "the kernel size is 2000")]),
        ("Net: 3x8x8 { conv3x3x3-8 }", &[("1:14", "unknown layer `conv3x3x3`")]),
        ("Net: 3x8x8 { conv99999999999999999999-8 }", &[("1:14", "the number is too large")]),
        ("Net: 3x8x8 { fc }", &[("1:17", "the number of units after `fc`")]),
        ("Net: 3x8x8 { fc-2000000 }", &[("1:17", "the number of units is 2000000")]),
        ("Net: 3x8x8 { fc-'a' }", &[("1:17", "found `'a'`")]),
        ("Net: 3x8x8 { conv3-8 fc-10 }", &[("1:22", "expected `,` or `;` after a layer, found `fc`")]),
        ("Net: 3x8x8 { conv3-8, , fc-10 }", &[("1:23", "expected a layer, found `,`")]),
        ("Net: 3x8x8 { conv3-8;; fc-10 }", &[("1:22", "found an empty row")]),
        ("Net: 3x8x8 { 7, fc-10 }", &[("1:14", "expected a layer, such as `conv3-64` or `maxpool`, found `7`")]),
        ("Net: 3x8x8 { {fc-10} }", &[("1:14", "found `{`")]),
        ("Net: 3x8x8 {\n  /// First.\n  fc-10 }", &[("2:3", "only the network has a doc comment")]),
        ("Net: 3x8x8 { a: fc-10, a: fc-10 }", &[("1:24", "the name `a` is taken already")]),
        ("Net: 3x8x8 { conv3-8; conv1_1: conv3-8 }", &[("1:23", "the name `conv1_1` is taken already")]),
        ("Net: 3x8x8 { conv3-8; relu1_1: maxpool }", &[("1:23", "is taken already by `conv1_1`")]),
        ("Net: 3x8x8 { match: fc-10 }", &[("1:14", "the label is `match`, which is a keyword")]),
        ("Net: 3x8x8 { input: fc-10 }", &[("1:14", "a name that every network uses")]),
        ("Net: 3x8x8 { 1: fc-10 }", &[("1:14", "expected a layer")]),
        ("Net: 3x8x8 { a: b: fc-10 }", &[("1:17", "unknown layer `b`")]),
    ]);
}

#[test]
fn preprocessing() {
    assert_refused(&[
        ("N: 3x8x8 { preprocess torchvison; fc-1 }", &[("1:23", "did you mean `torchvision`?")]),
        ("N: 3x8x8 { preprocess imagenet; fc-1 }", &[("1:23", "the presets are `torchvision`, `caffe-vgg`")]),
        ("N: 3x8x8 { preprocess; fc-1 }", &[("1:22", "expected a preprocessing, such as `torchvision`, found `;`")]),
        ("N: 3x8x8 { preprocess torchvision, fc-1 }", &[("1:34", "expected `;` after `preprocess`, found `,`")]),
        ("N: 3x8x8 { fc-1; preprocess torchvision }", &[("1:18", "stands before the first layer")]),
        ("N: 1x8x8 { preprocess torchvision; fc-1 }", &[("1:12", "`rgb` has 3 channels, expected the 1 of the input")]),
        ("N: 3x8x8 { preprocess fashion; fc-1 }", &[("1:12", "`grey` has 1 channel, expected the 3 of the input")]),
        ("N: 3x8x300 { preprocess keras; preprocess keras; fc-1 }", &[("1:32", "before the first layer")]),
        ("N: 3x8x300 { preprocess torchvision; fc-1 }", &[("1:14", "becomes 256 pixels, expected at least the 300")]),
        ("N: 3x8x8 { preprocess torchvision(rgb); fc-1 }", &[("1:35", "`rgb` would change the colours of a preset")]),
        ("N: 3x8x8 { preprocess torchvision(range 255); fc-1 }", &[("1:35", "change the range of a preset")]),
        (
            "N: 3x8x8 { preprocess(rgb); fc-1 }",
            &[("1:12", "`range 1` or `range 255` and `resize N` or `stretch` are missing")],
        ),
        ("N: 3x8x8 { preprocess(rgb, bgr); fc-1 }", &[("1:28", "`bgr` says again what was said before")]),
        ("N: 3x8x8 { preprocess(range 2); fc-1 }", &[("1:29", "the range is 2, expected 1 or 255")]),
        ("N: 3x8x8 { preprocess(mean 1 2); fc-1 }", &[("1:12", "are missing")]),
        (
            "N: 3x8x8 { preprocess keras(mean 1 2); fc-1 }",
            &[("1:34", "`mean` has 2 numbers, expected 1 or 3 for `bgr`")],
        ),
        ("N: 3x8x8 { preprocess keras(mean); fc-1 }", &[("1:33", "expected a number after `mean`, found the end")]),
        (
            "N: 3x8x8 { preprocess keras(mean 1e9); fc-1 }",
            &[("1:34", "the mean is 1000000000, expected at least -1000000")],
        ),
        ("N: 3x8x8 { preprocess keras(std 0); fc-1 }", &[("1:33", "the deviation is 0, expected at least 0.000001")]),
        ("N: 3x8x8 { preprocess keras(std -1); fc-1 }", &[("1:34", "the deviation is -1")]),
        ("N: 3x8x8 { preprocess keras(resize 0); fc-1 }", &[("1:36", "the shorter side is 0, expected 1 to 32768")]),
        ("N: 3x8x8 { preprocess keras(resise 9); fc-1 }", &[("1:29", "did you mean `resize`?")]),
        ("N: 3x8x8 { preprocess keras(resize 9 nearest); fc-1 }", &[("1:38", "expected `,` after a setting")]),
        (
            "N: 3x8x8 { preprocess keras(classes cifar); fc-1 }",
            &[("1:37", "`imagenet`, `imagenet-ilsvrc`, `fashion-mnist` and `unknown`")],
        ),
        ("N: 3x8x8 { preprocess keras(classes); fc-1 }", &[("1:36", "expected an order of classes after `classes`")]),
        ("A = vgg-d { conv3-64 }", &[("1:13", "expected `preprocess ..;` after a built-in network, found `conv3`")]),
        ("A = vgg-d { preprocess fashion; }", &[("1:13", "expected the 3 of the input")]),
    ]);
}

#[test]
fn modifiers() {
    assert_refused(&[
        ("Net: 3x8x8 { conv3-8(strid 2) }", &[("1:22", "unknown modifier `strid` of `conv`; did you mean `stride`?")]),
        ("Net: 3x8x8 { conv3-8(groups 2) }", &[("1:22", "`conv` takes `stride`, `pad`, `linear` and `relu`")]),
        ("Net: 3x8x8 { conv3-8(ceil) }", &[("1:22", "unknown modifier `ceil` of `conv`")]),
        ("Net: 3x8x8 { conv3-8(2) }", &[("1:22", "expected a modifier of `conv`, found `2`")]),
        ("Net: 3x8x8 { conv3-8(stride) }", &[("1:28", "expected a whole number after `stride`, found the end")]),
        ("Net: 3x8x8 { conv3-8(stride = 2) }", &[("1:29", "with nothing between them")]),
        ("Net: 3x8x8 { conv3-8(stride 0) }", &[("1:29", "the stride is 0, expected 1 to 1024")]),
        ("Net: 3x8x8 { conv3-8(stride 1.5) }", &[("1:29", "found `1.5`")]),
        ("Net: 3x8x8 { conv3-8(stride -1) }", &[("1:29", "it cannot be negative")]),
        ("Net: 3x8x8 { conv3-8(stride 1x2x3) }", &[("1:29", "found 3 numbers")]),
        ("Net: 3x8x8 { conv3-8(pad 2000) }", &[("1:26", "the padding is 2000")]),
        ("Net: 3x8x8 { conv3-8(pad 1 pad 1) }", &[("1:28", "expected `,` or `)`")]),
        ("Net: 3x8x8 { conv3-8(pad 1, pad 1) }", &[("1:29", "has the modifier `pad` twice")]),
        ("Net: 3x8x8 { conv3-8(linear, relu) }", &[("1:30", "has both `linear` and `relu`")]),
        ("Net: 3x8x8 { conv3-8(, linear) }", &[("1:22", "expected a modifier of `conv`, found `,`")]),
        ("Net: 3x8x8 { maxpool(0) }", &[("1:22", "the window size is 0")]),
        ("Net: 3x8x8 { maxpool(2, 3) }", &[("1:25", "two numbers that stand alone")]),
        ("Net: 3x8x8 { maxpool(2, pad 2) }", &[("1:29", "the padding is 2 for a 2 window, expected less")]),
        ("Net: 3x8x8 { avgpool(cell) }", &[("1:22", "did you mean `ceil`?")]),
        ("Net: 3x8x8 { lrn(size 0) }", &[("1:23", "the lrn size is 0")]),
        ("Net: 3x8x8 { lrn(5) }", &[("1:18", "`lrn` takes `size`, `alpha`, `beta` and `k`")]),
        ("Net: 3x8x8 { lrn(alpha -1) }", &[("1:25", "alpha is -1, expected more than 0")]),
        ("Net: 3x8x8 { lrn(beta 0) }", &[("1:23", "beta is 0, expected more than 0")]),
        ("Net: 3x8x8 { lrn(k 0.0) }", &[("1:20", "k is 0, expected more than 0")]),
        ("Net: 3x8x8 { lrn(k 1e99) }", &[("1:20", "too large for f32")]),
        ("Net: 3x8x8 { lrn(k 2f32) }", &[("1:20", "write a plain number")]),
        ("Net: 3x8x8 { lrn(k nan) }", &[("1:20", "expected a number after `k`, found `nan`")]),
        ("Net: 3x8x8 { conv3-8, bn(eps 0) }", &[("1:30", "eps is 0, expected more than 0")]),
        (
            "Net: 3x8x8 { fc-10, dropout(1) }",
            &[("1:29", "the dropout ratio is 1, expected at least 0 and less than 1")],
        ),
        ("Net: 3x8x8 { fc-10, dropout(ratio 0.5) }", &[("1:29", "takes one number that stands alone")]),
        ("Net: 3x8x8 { fc-10, softmax(1) }", &[("1:29", "`softmax` has no modifiers")]),
        ("Net: 3x8x8 { fc-10(stride 2) }", &[("1:20", "unknown modifier `stride` of `fc`")]),
    ]);
}

#[test]
fn order() {
    assert_refused(&[
        ("Net: 3x8x8 { conv3-8, softmax, fc-10 }", &[("1:23", "`prob` has no classes to work on")]),
        ("Net: 3x8x8 { fc-10, softmax, fc-10 }", &[("1:21", "`prob` is followed by `fc2`, expected at the end")]),
        ("Net: 3x8x8 { fc-10, softmax, softmax }", &[("1:30", "`prob_2` is a second softmax")]),
        ("Net: 3x8x8 { fc-10, softmax, dropout }", &[("1:21", "is followed by `drop1`")]),
        ("Net: 3x8x8 { fc-10; conv3-8 }", &[("1:21", "`conv2_1` comes after `fc3`, where no image is left")]),
        ("Net: 3x8x8 { fc-10, maxpool }", &[("1:21", "`pool1` comes after `fc1`")]),
        ("Net: 3x8x8 { conv3-8; fc-10, lrn }", &[("1:30", "`norm2` comes after `fc2`")]),
        ("Net: 3x8x8 { bn }", &[("1:14", "`bn1_1` stands at the start of a row")]),
        ("Net: 3x8x8 { conv3-8; bn }", &[("1:23", "expected directly after a convolution of the same row")]),
        ("Net: 3x8x8 { conv3-8, maxpool, bn }", &[("1:32", "follows `pool1`")]),
        ("Net: 3x8x8 { conv3-8, bn, bn }", &[("1:27", "follows `bn1_1`")]),
    ]);
}

#[test]
fn shapes() {
    assert_refused(&[
        (
            "Net: 3x4x4 {\n  conv3-8, maxpool;\n  conv3-8, maxpool;\n  conv3-8(pad 0), maxpool;\n  fc-10 }",
            &[("4:3", "`conv3_1` has a 3x3 kernel, but an image of 8x1x1 arrives; expected at least 3x3")],
        ),
        ("Net: 3x4x4 { conv11-8(pad 2) }", &[("1:14", "an image of 3x4x4 arrives (8x8 with padding)")]),
        ("Net: 3x1x9 { maxpool }", &[("1:14", "`pool1` has a 2x2 window, but an image of 3x1x9 arrives")]),
        ("Net: 3x1x9 { maxpool(2, ceil) }", &[("1:14", "leave out a pool before it")]),
        ("Net: 3x32768x32768 { conv3-8 }", &[("1:6", "the input 3x32768x32768 is too large")]),
        (
            "Net: 1x32768x32768 { conv3-8 }",
            &[("1:22", "`conv1_1` gives 8x32768x32768, expected at most 2147483648 numbers")],
        ),
        ("Net: 1x32768x1 { conv1-1(pad 1x0) }", &[("1:18", "gives an image of 1x32770x1, expected at most 32768")]),
        ("Net: 1x1024x1024 { fc-65536 }", &[("1:20", "`fc1` would have 68719476736 weights")]),
        ("Net: 65536x1x1 { conv1023-65536 }", &[("1:18", "weights for the 65536x1x1 that arrives")]),
        (
            "Net: 1x256x256 { fc-32768, fc-65536, fc-32768, fc-65536, fc-32768 }",
            &[("1:1", "`Net` is too large, expected at most 8589934592 parameters")],
        ),
    ]);
}

#[test]
fn several_mistakes_are_reported_at_once() {
    assert_refused(&[
        (
            "Net: 3 x 0 x 8 {\n    conv3-0, maxpol;\n    conv3-8(strid 2, pad -1), bn(eps 0);\n    fc-10(linear, linear)\n}",
            &[
                ("1:10", "the height of the input is 0"),
                ("2:11", "the number of filters is 0"),
                ("2:14", "did you mean `maxpool`?"),
                ("3:13", "did you mean `stride`?"),
                ("3:26", "found `-1`"),
                ("3:38", "eps is 0"),
                ("4:19", "twice"),
            ],
        ),
        // The order is judged in spite of the modifier; the shapes are not, since they would follow from it.
        (
            "Net: 3x8x8 {\n  conv3-8(stride 0), conv99-1;\n  fc-10, softmax, softmax, maxpool }",
            &[
                ("2:18", "the stride is 0"),
                ("3:10", "`prob` is followed by `pool2`"),
                ("3:19", "a second softmax"),
                ("3:28", "where no image is left"),
            ],
        ),
        (
            "Net: 3x8x8 { conv3-0(strid 2), fc-0(lin) }",
            &[("1:20", "filters is 0"), ("1:22", "stride"), ("1:35", "units is 0"), ("1:37", "linear")],
        ),
        ("fn: 3x8x8 { bn; a: fc-1, a: fc-2 }", &[("1:1", "keyword"), ("1:13", "start of a row"), ("1:26", "taken")]),
    ]);
}

#[test]
fn a_message_shows_file_line_and_place() {
    let errors = refused("Net: 3x8x8 {\n\tconv3-8, maxpol;\n\tfc-10(lin)\n}");
    let expected = "\
error: net.vgg:2:11: unknown layer `maxpol`; did you mean `maxpool`?
  |  conv3-8, maxpol;
  |           ^^^^^^
help: the layers are `conv3-64`, `bn`, `lrn`, `maxpool`, `avgpool`, `fc-4096`, `dropout` and `softmax`
error: net.vgg:3:8: unknown modifier `lin` of `fc`; did you mean `linear`?
  |  fc-10(lin)
  |        ^^^
help: `fc` takes `linear` and `relu`";
    assert_eq!(errors.to_string(), expected);
}

#[test]
fn the_macro_gets_every_mistake_with_its_span() {
    let tokens = "Net: 3x8x8 { conv3-0, maxpol }".parse().expect("tokens");
    let errors = parse_tokens(tokens).expect_err("two mistakes");
    let places: Vec<_> = errors.to_syn_error().into_iter().map(|error| error.span().start().column).collect();
    assert_eq!(places, [19, 22]);
    let code = errors.to_compile_error().to_string();
    assert_eq!(code.matches("compile_error").count(), 2);
    assert!(code.contains("did you mean `maxpool`?") && code.contains("help: "), "{code}");
}

#[test]
fn hostile_texts_are_refused() {
    let deep = |open: &str, close: &str| format!("Net: 3x8x8 {{ {}{} }}", open.repeat(100_000), close.repeat(100_000));
    for text in [deep("(", ")"), deep("{", "}"), deep("([", "])")] {
        let errors = refused(&text);
        assert!(errors.to_string().contains("nested more than 32 deep"), "{errors}");
    }
    let errors = refused(&" ".repeat(MAX_TEXT + 1));
    assert!(errors.to_string().contains("the file has 1048577 bytes, expected at most 1048576"), "{errors}");
    assert_eq!((errors.errors[0].line, errors.errors[0].column), (1, 1));
    for (unit, count) in
        [("!", 500_000), (",", 500_000), (";", 500_000), ("x;", 250_000), ("-", 500_000), ("#", 500_000)]
    {
        let errors = refused(&format!("Net: 3x8x8 {{ {} }}", unit.repeat(count)));
        assert!(errors.errors.len() <= 64, "{unit}");
        assert_eq!(
            errors.truncated,
            errors.to_string().ends_with("error: net.vgg: stopped after 64 mistakes"),
            "{unit}"
        );
        assert_eq!(errors.truncated, [",", ";", "x;"].contains(&unit), "{unit}");
        assert!(errors.to_string().len() < 100_000, "{unit}");
    }
    let errors = refused(&format!("#[doc = {}1] Net: 3x8x8 {{ fc-1 }}", "!".repeat(500_000)));
    assert!(errors.to_string().contains("found another attribute"), "{errors}");
    let errors = refused(&format!("Net: 3x8x8 {{ {} }}", "fc-1,".repeat(2000)));
    assert!(errors.to_string().contains("has 2000 layers, expected at most 1024"), "{errors}");
    let errors = refused(&format!("{}: 3x8x8 {{ fc-1 }}", "a".repeat(100_000)));
    assert!(errors.to_string().contains("has 100000 characters, expected at most 64"), "{errors}");
    let errors = refused("Net: 3x8x8 { fc-\"\\u{7}\u{9b}31m\" }");
    assert!(!errors.to_string().contains('\u{9b}'), "{errors}");
}

/// Declarations that were not written in the notation have values that the parser never saw.
#[test]
fn values_of_a_built_declaration_are_checked() {
    let bad = [
        (LayerKind::Fc { units: 0, relu: true }, "`fc1`: the number of units is 0"),
        (LayerKind::BatchNorm { epsilon: f32::NAN }, "eps is NaN"),
        (LayerKind::Lrn { size: 5, alpha: f32::INFINITY, beta: 0.75, k: 2.0 }, "alpha is inf"),
        (LayerKind::Lrn { size: 5, alpha: 1.0, beta: 0.75, k: f32::NAN }, "k is NaN"),
        (LayerKind::Dropout { ratio: -0.5 }, "the dropout ratio is -0.5"),
        (LayerKind::MaxPool(PoolSpec { stride: Extent::square(0), ..PoolSpec::default() }), "the stride is 0"),
        (LayerKind::AvgPool(PoolSpec { pad: Extent { height: 0, width: 2 }, ..PoolSpec::default() }), "padding is 0x2"),
        (
            LayerKind::Conv {
                kernel: Extent { height: usize::MAX, width: 0 },
                filters: usize::MAX,
                stride: Extent::square(usize::MAX),
                pad: Extent::square(usize::MAX),
                relu: true,
            },
            "`conv1_1`: the stride is",
        ),
    ];
    for (kind, words) in bad {
        let mut spec = parsed("Net: 3x8x8 { conv3-8, dropout }");
        spec.rows[0][0].kind = kind.clone();
        let messages: Vec<_> = check(&spec).iter().map(|error| error.message.clone()).collect();
        assert!(messages.iter().any(|message| message.contains(words)), "{kind:?}: {messages:?}");
        // The walk itself must not overflow either.
        let _ = crate::spec::shape::layer_shapes(&spec);
    }
    let mut spec = parsed("Net: 3x8x8 { fc-1 }");
    spec.input.channels.value = usize::MAX;
    spec.rows.insert(0, Vec::new());
    assert!(!check(&spec).is_empty());
    assert!(crate::spec::shape::layer_shapes(&spec).is_err());
}
