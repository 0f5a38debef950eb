//! Images as people have them. `tests/images/record.py` made the files and, with Pillow and NumPy, the arrays.

use std::path::{Path, PathBuf};

use serde_json::json;
use vgg_cli::image::{Picture, WHITE, read};
use vgg_runtime::npy;

use crate::support::{Place, keys};

fn images() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images")
}

fn image(name: &str) -> String {
    images().join(name).to_str().unwrap().to_owned()
}

fn picture(name: &str) -> Picture {
    read(&images().join(name), WHITE).unwrap_or_else(|error| panic!("{error}"))
}

fn difference(one: &Picture, other: &Picture) -> u8 {
    assert_eq!((one.width, one.height), (other.width, other.height));
    one.rgb.iter().zip(&other.rgb).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

fn fashion(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fashion").join(name);
    path.canonicalize().unwrap().to_str().unwrap().to_owned()
}

/// A network that gives its input back.
const MIRROR: &str = "Mirror: 3 x 16 x 16 { maxpool(1, stride 1) }";

#[test]
fn every_format_gives_the_pixels_that_pillow_sees() {
    let cat = picture("cat.png");
    assert_eq!((cat.width, cat.height), (61, 47));
    let pixel = |x: usize, y: usize| &cat.rgb[(y * 61 + x) * 3..][..3];
    assert_eq!([pixel(0, 0), pixel(60, 0), pixel(0, 46)], [&[144, 93, 76], &[167, 114, 109], &[182, 149, 135]]);
    assert_eq!([pixel(60, 46), pixel(30, 23)], [&[138, 113, 93], &[186, 150, 132]]);
    for same in ["cat.bmp", "cat.webp", "rgb16.png"] {
        assert_eq!(picture(same), cat, "{same}");
    }
    for (name, expected) in [
        ("grey.png", "grey-rgb.png"),
        ("grey16.png", "grey-rgb.png"),
        ("palette.png", "palette-rgb.png"),
        ("two-frames.gif", "palette-rgb.png"),
    ] {
        assert_eq!(picture(name), picture(expected), "{name}");
    }
    // Pillow rounds the sum of the two parts, we their mixture.
    for name in ["alpha", "grey-alpha"] {
        let difference = difference(&picture(&format!("{name}.png")), &picture(&format!("{name}-rgb.png")));
        assert!(difference <= 1, "{name}: {difference}");
    }
    // Lossy formats lose little at this quality.
    for (name, expected, bound) in
        [("cat.jpg", "cat.png", 40), ("grey.jpg", "grey-rgb.png", 20), ("lossy.webp", "cat.png", 80)]
    {
        let (picture, expected) = (picture(name), picture(expected));
        let sum: u64 = picture.rgb.iter().zip(&expected.rgb).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        assert!(difference(&picture, &expected) <= bound, "{name}: {}", difference(&picture, &expected));
        assert!((sum as f64) < 8.0 * expected.rgb.len() as f64, "{name}: {sum}");
    }
}

#[test]
fn images_are_upright() {
    let cat = picture("cat.jpg");
    let at = |picture: &Picture, x: usize, y: usize| picture.rgb[(y * picture.width + x) * 3..][..3].to_vec();
    let (w, h) = (cat.width - 1, cat.height - 1);
    /// Where a pixel of the upright image lies in the file.
    type Place = fn(usize, usize, usize, usize) -> (usize, usize);
    let places: [Place; 7] = [
        |x, y, w, _| (w - x, y),
        |x, y, w, h| (w - x, h - y),
        |x, y, _, h| (x, h - y),
        |x, y, _, _| (y, x),
        |x, y, _, h| (y, h - x),
        |x, y, w, h| (w - y, h - x),
        |x, y, w, _| (w - y, x),
    ];
    for (orientation, place) in (2..).zip(places) {
        let turned = picture(&format!("orientation-{orientation}.jpg"));
        let expected = if orientation < 5 { (61, 47) } else { (47, 61) };
        assert_eq!((turned.width, turned.height), expected, "{orientation}");
        for (x, y) in [(0, 0), (turned.width - 1, 0), (3, turned.height - 2), (20, 30)] {
            let (column, row) = place(x, y, w, h);
            assert_eq!(at(&turned, x, y), at(&cat, column, row), "orientation {orientation}, pixel {x}, {y}");
        }
    }
    assert_eq!(picture("orientation-6.png").width, 47);
}

#[test]
fn transparent_pixels_show_the_background() {
    let place = Place::empty();
    place.write("mirror.vgg", MIRROR);
    let clear = [10, 20, 30, 0].repeat(16 * 16);
    ::image::save_buffer(place.path("clear.png"), &clear, 16, 16, ::image::ColorType::Rgba8).unwrap();
    for (arguments, expected) in [(&[][..], [255.0, 255.0, 255.0]), (&["--background", "0a64ff"], [10.0, 100.0, 255.0])]
    {
        let run = [
            "run",
            "mirror.vgg",
            "--preprocess",
            "rgb, range 255, stretch",
            "--image",
            "clear.png",
            "--output",
            "y.npy",
        ];
        place.ok(&[&run, arguments].concat());
        let (_, values) = npy::read_f32(&place.path("y.npy")).unwrap();
        assert_eq!([values[0], values[256], values[512]], expected);
    }
    place.fails(2, &["run", "mirror.vgg", "--image", "clear.png", "--background", "white"]);
}

#[test]
fn inputs_are_those_of_pillow_and_numpy_to_the_bit() {
    let place = Place::empty();
    place.write("mirror.vgg", MIRROR);
    place.write("grey.vgg", "Mirror: 1 x 16 x 16 { maxpool(1, stride 1) }");
    for (name, preprocess) in [
        ("torchvision", "torchvision(resize 18)"),
        ("caffe-vgg", "caffe-vgg(resize 20)"),
        ("matconvnet", "matconvnet(resize 16)"),
        ("keras", "keras"),
        ("grey", "fashion(bicubic)"),
    ] {
        let model = if name == "grey" { "grey.vgg" } else { "mirror.vgg" };
        place.ok(&["run", model, "--preprocess", preprocess, "--image", &image("cat.png"), "--output", "y.npy"]);
        let (dims, expected) = npy::read_f32(&images().join(format!("{name}.npy"))).unwrap();
        let (found_dims, found) = npy::read_f32(&place.path("y.npy")).unwrap();
        assert_eq!(found_dims, dims, "{name}");
        let differing = found.iter().zip(&expected).position(|(a, b)| a.to_bits() != b.to_bits());
        assert_eq!(differing, None, "{name}");
    }
}

/// Test images of Fashion-MNIST as PNG files, and what the network says they are.
#[test]
fn trained_classes_are_recognised_by_name() {
    let place = Place::empty();
    let pixels = std::fs::read(fashion("images.idx3-ubyte")).unwrap();
    let labels = std::fs::read(fashion("labels.idx1-ubyte")).unwrap();
    let classes =
        ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];
    std::fs::create_dir(place.path("photos")).unwrap();
    let count = 20;
    for index in 0..count {
        let grey = &pixels[16 + index * 784..][..784];
        ::image::save_buffer(place.path(&format!("photos/{index:02}.png")), grey, 28, 28, ::image::ColorType::L8)
            .unwrap();
    }
    let (model, weights) = (fashion("fashion.vgg"), fashion("fashion-vgg.safetensors"));
    let run = ["run", &model, "--weights", &weights, "--image", "photos", "--top", "2"];
    let document = place.json(&[&run[..], &["--json"]].concat());
    assert_eq!(
        keys(&document),
        [
            "model",
            "weights",
            "precision",
            "threads",
            "isa",
            "preprocessing",
            "output",
            "images",
            "refused",
            "written",
            "taps"
        ]
    );
    assert_eq!((&document["preprocessing"]["name"], &document["output"]), (&json!("fashion"), &json!([20, 10])));
    let mut right = 0;
    for (index, image) in document["images"].as_array().unwrap().iter().enumerate() {
        assert_eq!(keys(image), ["file", "width", "height", "top", "min", "max", "mean"]);
        assert_eq!(image["file"], format!("photos/{index:02}.png"));
        let best = &image["top"][0];
        assert_eq!(keys(best), ["index", "score", "probability", "label", "synset"]);
        assert_eq!(best["label"], classes[best["index"].as_u64().unwrap() as usize]);
        right += usize::from(best["label"] == classes[usize::from(labels[8 + index])]);
        let probability = best["probability"].as_f64().unwrap();
        assert!(probability > 0.3 && probability <= 1.0 && best["synset"].is_null(), "{best}");
    }
    // PyTorch has these right as well: 939 of the first 1000.
    assert!(right >= 19, "{right} of {count}");
    let table = place.ok(&run);
    assert_eq!(table.lines().count(), 1 + 2 * count);
    let first: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((first[0], first[1], &first[3..]), ("photos/00.png", "9", &["Ankle", "boot"][..]));

    // The same as with the arrays: scores, and the order of the images.
    place.ok(&[&run[..], &["--output", "images.npy"]].concat());
    let values: Vec<f32> =
        pixels[16..16 + count * 784].iter().map(|&pixel| (f32::from(pixel) / 255.0 - 0.286) / 0.353).collect();
    npy::write_f32(&place.path("x.npy"), &[count, 1, 28, 28], &values).unwrap();
    place.ok(&["run", &model, "--weights", &weights, "--input", "x.npy", "--output", "arrays.npy"]);
    assert_eq!(place.read("images.npy"), place.read("arrays.npy"));
}

#[test]
fn a_bad_image_is_reported_and_the_others_are_computed() {
    let place = Place::new();
    place.write("broken.png", &std::fs::read(image("cat.png")).unwrap()[..3000]);
    // Decoders of JPEG make grey of what is missing.
    let jpeg = std::fs::read(image("cat.jpg")).unwrap();
    place.write("half.jpg", &jpeg[..jpeg.len() / 2]);
    place.write("text.jpg", "no image");
    place.write("empty.gif", "");
    std::fs::create_dir(place.path("none")).unwrap();
    let cat = image("cat.png");
    let arguments = [
        "run",
        "tiny.vgg",
        "--preprocess",
        "torchvision",
        "--json",
        "--tap",
        "pool1",
        "--image",
        "broken.png",
        &cat,
        "half.jpg",
        "text.jpg",
        "empty.gif",
        "missing.png",
        "none",
        "*.tiff",
        &cat,
    ];
    let (stdout, stderr) = place.exits(3, &arguments);
    let document: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(document["images"].as_array().unwrap().len(), 2);
    assert_eq!(document["images"][0]["top"], document["images"][1]["top"]);
    assert_eq!(document["output"], json!([2, 10]));
    assert_eq!(npy::read_f32(&place.path("pool1.npy")).unwrap().0[0], 2);
    let refused: Vec<&str> =
        document["refused"].as_array().unwrap().iter().map(|entry| entry["file"].as_str().unwrap()).collect();
    assert_eq!(refused, ["none", "*.tiff", "broken.png", "half.jpg", "text.jpg", "empty.gif", "missing.png"]);
    for expected in [
        "error: broken.png: the image is damaged or cut off",
        "error: half.jpg: the image is damaged or cut off: there is no end of image",
        "error: text.jpg: expected an image, found no format that is read",
        "error: empty.gif: the file is empty",
        "error: missing.png: cannot read the file",
        "error: none: there is no image in the directory",
        "error: *.tiff: no file matches the pattern",
    ] {
        let lines: Vec<&str> = stderr.lines().collect();
        let place = lines.iter().position(|line| line.starts_with(expected));
        assert!(place.is_some_and(|place| lines[place + 1].starts_with("help: ")), "{expected}: {stderr}");
    }
    // With nothing left there is no result, and no file.
    let run = ["run", "tiny.vgg", "--preprocess", "torchvision", "--output", "y.npy", "--image", "text.jpg"];
    let (stdout, _) = place.exits(3, &run);
    assert_eq!((stdout.as_str(), place.path("y.npy").exists()), ("", false));
}

#[test]
fn without_lineage_nothing_is_guessed() {
    let place = Place::new();
    let cat = image("cat.png");
    let stderr = place.fails(2, &["run", "tiny.vgg", "--image", &cat]);
    assert!(stderr.contains("error: `Tiny`: it is not known how images become its input"), "{stderr}");
    for preset in ["--preprocess NAME", "torchvision (", "caffe-vgg (", "matconvnet (", "keras (", "fashion ("] {
        assert!(stderr.contains(preset), "{preset}: {stderr}");
    }
    for (preprocess, expected) in [
        ("torchvison", "did you mean `torchvision`?"),
        ("fashion", "`grey` has 1 channel, expected the 3 of the input"),
        ("torchvision(resize 8)", "becomes 8 pixels, expected at least the 16 of the input"),
        ("rgb, range 1", "`resize N` or `stretch` is missing"),
    ] {
        let stderr = place.fails(2, &["run", "tiny.vgg", "--image", &cat, "--preprocess", preprocess]);
        assert!(stderr.contains("--preprocess: ") && stderr.contains(expected), "{stderr}");
    }
    place.fails(2, &["run", "tiny.vgg", "--image", &cat, "--input", "x.npy"]);
    place.fails(2, &["run", "tiny.vgg", "--input", "x.npy", "--preprocess", "torchvision"]);
}

/// The lineage goes with the weights, and a contradiction is seen.
#[test]
fn weights_remember_how_they_were_trained() {
    let place = Place::new();
    place.array("x.npy", &[1, 3, 16, 16]);
    let cat = image("cat.png");
    place.write("caffe.vgg", crate::support::TINY.replace("conv3-8, bn", "preprocess caffe-vgg; conv3-8, bn"));
    let text = "bgr, range 255, mean 103.939 116.779 123.68, resize 256, bilinear, classes imagenet";
    let shown = place.json(&["show", "caffe.vgg", "--json"]);
    assert_eq!((&shown["preprocessing"]["name"], &shown["preprocessing"]["text"]), (&json!("caffe-vgg"), &json!(text)));
    assert!(place.ok(&["show", "caffe.vgg"]).contains(&format!("preprocessing: caffe-vgg ({text})")));
    assert!(place.ok(&["show", "tiny.vgg"]).contains("preprocessing: unknown"));

    place.ok(&["export", "caffe.vgg", "-o", "caffe.onnx", "--external"]);
    let header = place.read("caffe.safetensors");
    assert!(String::from_utf8_lossy(&header).contains(&format!(r#"{{"format":"pt","vgg.preprocessing":"{text}"}}"#)));
    let run = |arguments: &[&str]| place.json(&[&["run"], arguments, &["--json", "--image", &cat]].concat());
    let scores = |document: &serde_json::Value| document["images"][0]["top"].clone();

    // A declaration that knows nothing, with the weights that do; and the ONNX file alone.
    let expected = run(&["caffe.vgg", "--weights", "caffe.safetensors"]);
    for arguments in [&["tiny.vgg", "--weights", "caffe.safetensors"][..], &["caffe.onnx"]] {
        let found = run(arguments);
        assert_eq!(found["preprocessing"], expected["preprocessing"]);
        assert_eq!(scores(&found), scores(&expected));
    }
    // The number of classes is not ImageNet's: they have no names.
    assert!(expected["images"][0]["top"][0]["label"].is_null());

    // Another declaration contradicts, and --preprocess decides, not without a warning.
    place.write("other.vgg", crate::support::TINY.replace("conv3-8, bn", "preprocess torchvision; conv3-8, bn"));
    for command in [
        &["run", "other.vgg", "--image", &cat][..],
        &["export", "other.vgg", "-o", "o.onnx"],
        &["build", "other.vgg", "--out", "o"],
    ] {
        let stderr = place.fails(3, &[command, &["--weights", "caffe.safetensors"]].concat());
        for expected in [
            "caffe.safetensors: the weights were trained with caffe-vgg (bgr",
            "declares torchvision (rgb",
            "differ in colour order, range, mean, std",
        ] {
            assert!(stderr.contains(expected), "{stderr}");
        }
    }
    let decided = ["run", "other.vgg", "--weights", "caffe.safetensors", "--image", &cat, "--preprocess", "keras"];
    let (_, stderr) = place.exits(0, &decided);
    assert!(stderr.contains("warning: --preprocess says keras (bgr"), "{stderr}");
    assert!(
        stderr.contains("caffe.safetensors says caffe-vgg (") && stderr.contains("they differ in resizing"),
        "{stderr}"
    );
    // Arrays have no colours.
    place.ok(&["run", "other.vgg", "--weights", "caffe.safetensors", "--input", "x.npy"]);
    // Without a contradiction there is nothing to say.
    let agreed = ["run", "caffe.vgg", "--weights", "caffe.safetensors", "--image", &cat, "--preprocess", "caffe-vgg"];
    assert!(!place.exits(0, &agreed).1.contains("warning"));

    // What cannot be understood is not passed over.
    let mut bytes = header.clone();
    let at = header.windows(3).position(|part| part == b"bgr").unwrap();
    bytes[at..at + 3].copy_from_slice(b"cmy");
    place.write("caffe.safetensors", &bytes);
    let stderr = place.fails(3, &["run", "tiny.vgg", "--weights", "caffe.safetensors", "--image", &cat]);
    assert!(stderr.contains("`vgg.preprocessing` cannot be understood"), "{stderr}");
}

/// A mean image goes with the weights, and is subtracted pixel by pixel.
#[test]
fn mean_images_are_part_of_the_weights() {
    let place = Place::empty();
    place.write("mirror.vgg", MIRROR);
    place.write("net.vgg", "Net: 3 x 16 x 16 { conv3-2 }");
    place.write("declared.vgg", "Net: 3 x 16 x 16 { preprocess(bgr, range 255, mean image, resize 20); conv3-2 }");
    place.array("mean.npy", &[3, 16, 16]);
    place.array("small.npy", &[3, 16, 15]);
    let cat = image("cat.png");
    let (_, mean) = npy::read_f32(&place.path("mean.npy")).unwrap();
    let input = |arguments: &[&str]| {
        place.ok(&[&["run", "mirror.vgg"], arguments, &["--image", &cat, "--output", "y.npy"]].concat());
        npy::read_f32(&place.path("y.npy")).unwrap().1
    };
    let levels = input(&["--preprocess", "bgr, range 255, resize 20"]);
    let without = input(&["--preprocess", "caffe-cnn(resize 20)", "--mean-image", "mean.npy"]);
    assert!(levels.iter().zip(&mean).zip(&without).all(|((level, mean), value)| level - mean == *value));

    // The weights keep it, for declarations that say so and for those that say nothing.
    let export = ["export", "declared.vgg", "-o", "net.onnx", "--external"];
    let stderr = place.fails(3, &export);
    assert!(
        stderr.contains("has a mean image, which seeded:0 does not hold") && stderr.contains("--mean-image"),
        "{stderr}"
    );
    place.ok(&[&export[..], &["--mean-image", "mean.npy"]].concat());
    let scores = |model: &str, arguments: &[&str]| {
        let run = ["run", model, "--image", &cat, "--output", "y.npy"];
        place.ok(&[&run[..], arguments].concat());
        place.read("y.npy")
    };
    let expected = scores("declared.vgg", &["--mean-image", "mean.npy"]);
    for model in ["declared.vgg", "net.vgg"] {
        assert!(scores(model, &["--weights", "net.safetensors"]) == expected, "{model}");
    }
    assert!(scores("net.vgg", &["--preprocess", "bgr, range 255, resize 20"]) != expected);

    // What takes no images needs none.
    place.ok(&["verify", "declared.vgg"]);
    place.ok(&["bench", "declared.vgg", "--runs", "1", "--precision", "int8"]);

    // A crate has it in its weights; the model of pixels has it in the graph.
    place.ok(&["build", "net.vgg", "--weights", "net.safetensors", "--out", "crate"]);
    let source = String::from_utf8(place.read("crate/src/model.rs")).unwrap();
    assert!(
        source.contains("pub fn preprocess(\n        &self,") || source.contains("pub fn preprocess(&self,"),
        "{source}"
    );
    place.ok(&["export", "net.vgg", "--weights", "net.safetensors", "-o", "pixels.onnx", "--preprocess-in-graph"]);

    let other = ["export", "net.vgg", "-o", "o.onnx", "--preprocess", "caffe-cnn", "--mean-image", "small.npy"];
    let stderr = place.fails(3, &other);
    assert!(stderr.contains("the mean image has shape [3, 16, 15], expected [3, 16, 16]"), "{stderr}");
    place.fails(2, &["export", "net.vgg", "-o", "o.onnx", "--mean-image", "mean.npy"]);
    let mut bytes = place.read("net.safetensors");
    let len = bytes.len();
    bytes[len - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    place.write("nan.safetensors", &bytes);
    place.write("short.safetensors", &bytes[..len - 4]);
    for (weights, expected) in [("nan.safetensors", "holds NaN or infinity"), ("short.safetensors", "claims bytes")] {
        let stderr = place.fails(3, &["run", "net.vgg", "--weights", weights, "--image", &cat]);
        assert!(stderr.contains("`vgg.mean`") && stderr.contains(expected), "{stderr}");
    }
}

/// A model of pixels is read back as the network behind them and its preprocessing: nothing is done twice, and nothing left out.
#[test]
fn a_model_of_pixels_is_read_back() {
    let place = Place::empty();
    let cat = image("cat.png");
    let mean: Vec<f32> = (0..3 * 16 * 16).map(|index| 90.0 + (index % 61) as f32).collect();
    npy::write_f32(&place.path("mean.npy"), &[3, 16, 16], &mean).unwrap();
    let net = "conv3-4, maxpool; fc-5, softmax }";
    for (channels, preprocess, image) in [
        (3, "torchvision(resize 18)", false),
        (3, "caffe-vgg(resize 16)", false),
        (3, "(rgb, range 255, stretch)", false),
        (3, "caffe-cnn(resize 20)", true),
        (1, "(grey, range 1, mean 0.286, std 0.353, stretch)", false),
    ] {
        place.write("net.vgg", format!("Net: {channels} x 16 x 16 {{ preprocess {preprocess}; {net}"));
        let mut export =
            vec!["export", "net.vgg", "-o", "pixels.onnx", "--weights", "seeded:4", "--preprocess-in-graph"];
        let mut run = vec!["run", "net.vgg", "--weights", "seeded:4", "--image", &cat, "--output", "a.npy"];
        if image {
            let asked = ["--preprocess", preprocess, "--mean-image", "mean.npy"];
            export.extend(asked);
            run.extend(asked);
        }
        place.ok(&export);
        place.ok(&run);
        let (_, stderr) = place.exits(0, &["run", "pixels.onnx", "--image", &cat, "--output", "b.npy"]);
        assert_eq!(place.read("a.npy"), place.read("b.npy"), "{preprocess}");
        assert!(
            stderr.contains("the nodes that make the input of pixels are taken off") && !stderr.contains("warning")
        );
        let [declared, found] = ["net.vgg", "pixels.onnx"].map(|model| place.json(&["show", model, "--json"]));
        if !image {
            assert_eq!(found["preprocessing"], declared["preprocessing"], "{preprocess}");
        }
        assert_eq!((&found["input"], &found["steps"]), (&declared["input"], &declared["steps"]), "{preprocess}");
        // Again with the nodes, which are the same.
        place.ok(&["export", "pixels.onnx", "-o", "again.onnx", "--preprocess-in-graph"]);
        place.ok(&["run", "again.onnx", "--image", &cat, "--output", "b.npy"]);
        assert_eq!(place.read("a.npy"), place.read("b.npy"), "{preprocess}");
    }

    // A file whose nodes and metadata contradict each other is refused: here the deviation of grey.
    let file = place.read("again.onnx");
    let std = file.windows(4).position(|bytes| bytes == 0.353f32.to_le_bytes()).unwrap();
    let changed = [&file[..std], &0.35f32.to_le_bytes(), &file[std + 4..]].concat();
    place.write("changed.onnx", changed);
    let stderr = place.fails(3, &["show", "changed.onnx"]);
    assert!(
        stderr.contains("its first nodes are not those that its metadata `vgg.preprocessing` describe"),
        "{stderr}"
    );
}

/// As Keras exports a network with its `preprocess_input`: the nodes of a model of pixels, on floats and without a word in the metadata.
#[test]
fn what_the_graph_does_itself_is_not_done_again_unsaid() {
    let place = Place::empty();
    let cat = image("cat.png");
    let own = |preprocess: &str, name: &str| {
        place.write("net.vgg", format!("Net: 3 x 16 x 16 {{ preprocess {preprocess}; conv3-4, maxpool; fc-5 }}"));
        place.ok(&["export", "net.vgg", "-o", "pixels.onnx", "--weights", "seeded:4", "--preprocess-in-graph"]);
        let mut file = place.read("pixels.onnx");
        let find = |file: &[u8], bytes: &[u8]| file.windows(bytes.len()).position(|found| found == bytes).unwrap();
        let key = find(&file, b"vgg.preprocessing");
        file[key + 4] = b'P';
        // The type of the input's elements: field 1 of its tensor type, 2 for uint8 and 1 for float.
        let input = file
            .windows(7)
            .rposition(|found| found == b"\x0a\x05image")
            .unwrap_or_else(|| find(&file, b"\x05image\x12"));
        let kind = input + find(&file[input..], b"\x08\x02");
        file[kind + 1] = 1;
        place.write(name, file);
        place.ok(&["run", "net.vgg", "--weights", "seeded:4", "--image", &cat, "--output", "a.npy"]);
    };
    let warnings = |preprocess: &str| {
        let run = ["run", "keras.onnx", "--preprocess", preprocess, "--image", &cat, "--output", "b.npy"];
        let (_, stderr) = place.exits(0, &run);
        assert!(stderr.contains("the graph itself changes its input: it "), "{stderr}");
        stderr.lines().filter(|line| line.starts_with("warning: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let agree = || {
        let [expected, found] = ["a.npy", "b.npy"].map(|name| npy::read_f32(&place.path(name)).unwrap().1);
        let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>().sqrt();
        norm(&mut expected.iter().zip(&found).map(|(a, b)| a - b)) < 1e-4 * norm(&mut expected.iter().copied())
    };
    own("keras", "keras.onnx");
    let stderr = place.fails(2, &["run", "keras.onnx", "--image", &cat]);
    assert!(stderr.contains("puts its channels in another order, adds -103.939 -116.779 -123.68 to it"), "{stderr}");
    assert!(warnings("rgb, range 255, stretch, nearest").is_empty());
    assert!(agree());
    for twice in ["keras", "bgr, range 255, stretch, nearest", "torchvision"] {
        let said = warnings(twice);
        assert!(
            said.len() == 1 && said[0].contains("does so before it: give what the graph is to be given"),
            "{said:?}"
        );
        assert!(!agree(), "{twice}");
    }
    own("(rgb, range 1, mean 0.5, std 0.25, stretch)", "keras.onnx");
    assert!(warnings("rgb, range 255, stretch").is_empty());
    assert!(agree());
    for twice in ["rgb, range 1, stretch", "rgb, range 255, std 2, stretch"] {
        assert_eq!(warnings(twice).len(), 1, "{twice}");
    }
}

#[test]
fn labels_must_be_those_of_the_weights() {
    let place = Place::empty();
    let head = "conv3-1, maxpool(4, stride 4); fc-1000, softmax";
    place.write("sorted.vgg", format!("Net: 3 x 16 x 16 {{ preprocess torchvision; {head} }}"));
    place.write("numbered.vgg", format!("Net: 3 x 16 x 16 {{ preprocess matconvnet-cnn; {head} }}"));
    place.write("labels.txt", (0..1000).map(|class| format!("n{class:08} class {class}\n")).collect::<String>());
    place.write("few.txt", "cat\ndog\n");
    place.write("latin1.txt", b"cat\ncaf\xe9\n");
    let cat = image("cat.png");
    let best = |arguments: &[&str]| {
        let document = place.json(&[&["run"], arguments, &["--json", "--image", &cat]].concat());
        let best = document["images"][0]["top"][0].clone();
        let index = best["index"].as_u64().unwrap() as usize;
        (index, best["label"].as_str().unwrap().to_owned(), best["synset"].as_str().unwrap().to_owned())
    };
    let (index, sorted, synset) = best(&["sorted.vgg"]);
    assert_eq!(best(&["sorted.vgg", "--labels", "imagenet"]), (index, sorted.clone(), synset.clone()));
    let (same, numbered, other) = best(&["numbered.vgg", "--preprocess", "torchvision(classes imagenet-ilsvrc)"]);
    assert_eq!(same, index);
    assert!(numbered != sorted && other != synset, "{numbered}");
    assert_eq!(best(&["sorted.vgg", "--labels", "labels.txt"]).1, format!("class {index}"));
    for (arguments, expected) in [
        (
            &["sorted.vgg", "--labels", "imagenet-ilsvrc"][..],
            "the classes of these weights are in the order `imagenet`",
        ),
        (&["numbered.vgg", "--labels", "imagenet"], "in the order `imagenet-ilsvrc`"),
        (&["sorted.vgg", "--labels", "few.txt"], "there are 2 labels, expected one for each of the 1000 classes"),
        (&["sorted.vgg", "--labels", "fashion-mnist"], "there are 10 labels"),
        (&["sorted.vgg", "--labels", "latin1.txt"], "latin1.txt:2: expected UTF-8 text"),
        (&["sorted.vgg", "--labels", "missing.txt"], "missing.txt: cannot read the file"),
    ] {
        let stderr = place.fails(3, &[&["run"], arguments, &["--image", &cat]].concat());
        assert!(stderr.contains(expected) && stderr.contains("help: "), "{expected}: {stderr}");
    }
}
