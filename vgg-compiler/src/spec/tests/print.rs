//! What is printed is read back as the same declaration.

use super::parsed;
use super::random::Random;
use crate::spec::ModelSpec;
use crate::spec::parse::ModelFile;
use crate::spec::print::print;
use crate::spec::variants::{VARIANTS, VARIANTS_TEXT};

/// Everything about a declaration but its spans.
fn content(spec: &ModelSpec) -> String {
    let layer = |layer: &crate::spec::LayerSpec| {
        format!("{:?} {:?}", layer.label.as_ref().map(|label| &label.value), layer.kind)
    };
    let rows: Vec<Vec<String>> = spec.rows.iter().map(|row| row.iter().map(layer).collect()).collect();
    let input = [spec.input.channels.value, spec.input.height.value, spec.input.width.value];
    let visibility = &spec.visibility;
    let visibility = quote::quote!(#visibility).to_string();
    let preprocess = spec.preprocess.as_ref().map(|preprocess| &preprocess.value);
    format!("{:?} {visibility:?} {:?} {input:?} {preprocess:?} {rows:#?}", spec.docs, spec.name.value)
}

fn read(text: &str) -> ModelSpec {
    syn::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn random_declarations_survive() {
    let mut random = Random(1);
    for _ in 0..500 {
        let spec = random.model();
        let text = print(&spec);
        let again = read(&text);
        assert_eq!(content(&again), content(&spec), "{text}");
        assert_eq!(print(&again), text);
    }
}

#[test]
fn a_preset_is_printed_by_its_name_and_anything_else_in_full() {
    let printed = |item: &str| {
        let text = print(&parsed(&format!("Net: 3 x 8 x 8 {{ {item} fc-2 }}")));
        text.lines().nth(1).unwrap_or_default().trim().to_owned()
    };
    let full = "preprocess(rgb, range 1, mean 0.485 0.456 0.406, std 0.229 0.224 0.225, resize 256, bilinear, classes imagenet);";
    assert_eq!(printed("preprocess torchvision;"), "preprocess torchvision;");
    assert_eq!(printed(full), "preprocess torchvision;");
    let expected = full.replace("256", "64").replace("imagenet", "imagenet-ilsvrc");
    assert_eq!(printed("preprocess torchvision(classes imagenet - ilsvrc, resize 6_4,);"), expected);
    let few = "preprocess(bgr, range 255, mean 127.5, stretch, nearest);";
    assert_eq!(printed("preprocess ( nearest, stretch, std 1.0, mean 127.5 127.5 1.275e2, range 255, bgr );"), {
        few.replace("127.5", "127.5 127.5 127.5")
    });
    let text = print(&parsed("pub Net = vgg-a { preprocess caffe-vgg; };"));
    assert!(text.starts_with("/// ") && text.contains("{\n    preprocess caffe-vgg;\n    conv3-64"), "{text}");
}

#[test]
fn variants_survive_and_are_canonical() {
    let file: ModelFile = syn::parse_str(VARIANTS_TEXT).expect("the variants");
    assert_eq!(file.models.len(), VARIANTS.len());
    for spec in &file.models {
        let text = print(spec);
        assert_eq!(content(&parsed(&text)), content(spec));
        assert!(VARIANTS_TEXT.contains(&text), "not as printed:\n{text}");
    }
}

#[test]
fn defaults_are_left_out_and_forms_made_uniform() {
    let text = "
        #[doc = \" two\\nlines\"]
        vgg! { pub ( crate ) Net : 3x64 x 0048 {
            first : conv3 - 6_4 ( pad 1, stride 2x1, ), bn ( ) , maxpool(3x3,stride 2), lrn(k 2.0, size 5, alpha 0.0005,),;
            conv3x5-8(pad 1x2, relu), bn(eps 0.001), avgpool(2x3, pad 0x1, ceil, stride 0_2);
            fc-20(relu), dropout(0.50), fc-10(linear), softmax,
        } }";
    // The doc comment belongs to the network, so here it stands before the macro in vain.
    let text = text.replace("#[doc = \" two\\nlines\"]", "").replacen("{ pub", "{ /** two\nlines */ pub", 1);
    let expected = "\
/// two
/// lines 
pub(crate) Net: 3 x 64 x 48 {
    first: conv3-64(stride 2x1), bn,           maxpool(3), lrn;
    conv3x5-8,                   bn(eps 1e-3), avgpool(2x3, pad 0x1, ceil);
    fc-20, dropout, fc-10, softmax
}
";
    assert_eq!(print(&parsed(&text)), expected);
}

#[test]
fn relu_of_the_last_fc_is_kept() {
    let text = "Net: 3 x 8 x 8 {\n    conv3-4(linear);\n    fc-5(linear), fc-6(relu)\n}\n";
    assert_eq!(print(&parsed(text)), text);
}

#[test]
fn a_built_in_is_its_rows_under_another_name() {
    for variant in &VARIANTS {
        let original = variant.spec().expect("a variant");
        for name in std::iter::once(&variant.name).chain(variant.aliases) {
            for text in
                [format!("pub Mine = {name};"), format!("pub Mine = {name}"), format!("vgg! {{ pub Mine = {name}; }};")]
            {
                let mut renamed = parsed(&text);
                assert_eq!(renamed.name.value, "Mine");
                renamed.name = original.name.clone();
                assert_eq!(content(&renamed), content(&original), "{text}");
            }
        }
    }
    let own = parsed("/// My own.\n pub(crate) Mine = vgg-d;");
    assert_eq!(own.docs, ["My own."]);
    assert!(print(&own).starts_with("/// My own.\npub(crate) Mine: 3 x 224 x 224 {"));
}

#[test]
fn all_spellings_of_an_extent_are_read() {
    for input in ["3 x 224 x 192", "3x224x192", "3x 224 x192", "3 x224x 192", "3x224 x 192"] {
        let spec = parsed(&format!("Net: {input} {{ conv3-4 }}"));
        let numbers = [spec.input.channels.value, spec.input.height.value, spec.input.width.value];
        assert_eq!(numbers, [3, 224, 192], "{input}");
    }
    for (pad, expected) in
        [("0x1", "0x1"), ("0x10", "0x10"), ("0 x 1", "0x1"), ("1x0", "1x0"), ("2x2", "2"), ("0", "0")]
    {
        let text = print(&parsed(&format!("Net: 3 x 32 x 32 {{ conv7-4(pad {pad}) }}")));
        assert!(text.contains(&format!("conv7-4(pad {expected})")), "{pad}: {text}");
    }
}
