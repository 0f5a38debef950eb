//! Every form of a declaration that the macro takes.

use vgg_runtime::vgg;

vgg! {
    /// Documented,
    ///
    /// with `code`, "quotes" and a \ backslash.
    pub Documented: 3 x 8 x 8 { conv3-8, maxpool; fc-10, softmax }
}

vgg! { Private: 3x8x8 { conv3-8; fc-4 }; }

vgg! { pub(crate) Trailing: 1 x 6 x 7 { first: conv3x5-4(stride 1x2, pad 0x1, linear), bn(eps 1e-3,), ; fc-4(relu), }; }

mod inner {
    use vgg_runtime::vgg;

    vgg! { pub(super) Inner: 2 x 5 x 5 { lrn(size 3), avgpool(2, stride 1), conv1-3 } }

    // The same name in another module.
    vgg! { pub Private: 3 x 4 x 4 { fc-4 } }
}

vgg! { pub Seen: 3 x 8 x 8 { preprocess torchvision(resize 10, bicubic,); conv3-8; fc-10 } }

vgg! { pub SeenGrey: 1 x 8 x 8 { preprocess(grey, range 255, mean -1, stretch); fc-10 } }

pub(crate) fn main() {
    assert_eq!(Seen::preprocess(&[0; 12 * 16 * 3], 16, 12).unwrap().len(), Seen::IMAGE_LEN);
    assert_eq!(SeenGrey::preprocess(&[9; 3], 1, 1).unwrap(), Box::new([10.0; 64]));
    assert_eq!(Documented::INPUT_SHAPE, [1, 3, 8, 8]);
    assert_eq!(Documented::OUTPUT_SHAPE, [1, 10]);
    assert_eq!(Private::OUTPUT_LEN, 4);
    assert_eq!(Trailing::INPUT_LEN, 42);
    assert_eq!(inner::Inner::OUTPUT_SHAPE, [1, 3, 4, 4]);
    assert_eq!(inner::Private::INPUT_LEN, 48);
    assert!(Documented::from_bytes(&[]).is_err());
    assert!(!Documented::ONNX_GRAPH.is_empty());
    let _: fn(&Private, &mut vgg_runtime::Workspace, &[f32; 192], &mut [f32; 4]) = Private::infer;
}
