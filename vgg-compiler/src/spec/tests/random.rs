//! Random numbers and random declarations, the same in every run.

use proc_macro2::Span;

use crate::preprocess::{ClassOrder, Colours, Filter, Mean, PRESETS, Preprocess, Range, Resize};
use crate::spec::{Extent, InputSpec, LayerKind, LayerSpec, ModelSpec, PoolSpec, Spanned};

/// SplitMix64 (Steele, Lea & Flood 2014).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("the bound is a usize")
    }

    /// True once in `odds` times.
    pub(super) fn once_in(&mut self, odds: usize) -> bool {
        self.below(odds) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn extent(&mut self, from: usize, to: usize) -> Extent {
        let height = from + self.below(to - from + 1);
        let width = if self.once_in(2) { height } else { from + self.below(to - from + 1) };
        Extent { height, width }
    }

    /// A positive number of any magnitude up to 1.
    fn real(&mut self) -> f32 {
        let numbers = [0.5, 1.0, 5e-4, 1e-5, 0.75, 1e-3, 0.1, f32::MIN_POSITIVE, 1e-45];
        if self.once_in(2) { self.pick(&numbers) } else { (self.below(1 << 24) + 1) as f32 / (1 << 24) as f32 }
    }

    fn layer(&mut self, images: bool) -> LayerKind {
        match self.below(if images { 5 } else { 3 }) {
            0 if images => {
                let kernel = self.extent(1, 7);
                LayerKind::Conv {
                    kernel,
                    filters: 1 + self.below(64),
                    stride: if self.once_in(2) { Extent::square(1) } else { self.extent(1, 3) },
                    pad: if self.once_in(2) { kernel.same_pad() } else { self.extent(0, 3) },
                    relu: !self.once_in(4),
                }
            }
            1 if images => {
                LayerKind::Lrn { size: 1 + self.below(7), alpha: self.real(), beta: self.real(), k: self.real() * 3.0 }
            }
            2 if images => LayerKind::MaxPool(self.pool()),
            3 => LayerKind::AvgPool(self.pool()),
            0 | 1 => LayerKind::Fc { units: 1 + self.below(100), relu: !self.once_in(3) },
            _ => LayerKind::Dropout { ratio: self.real() / 2.0 },
        }
    }

    fn pool(&mut self) -> PoolSpec {
        let kernel = self.extent(2, 4);
        let pad = if self.once_in(2) { Extent::square(0) } else { self.extent(0, 1) };
        PoolSpec { kernel, stride: self.extent(1, 3), pad, ceil: self.once_in(2) }
    }

    /// A declaration that uses all of the notation. Its windows may not fit its images.
    pub(super) fn model(&mut self) -> ModelSpec {
        let mut rows: Vec<_> = (0..1 + self.below(5)).map(|_| self.row(true)).collect();
        rows.push(self.row(false));
        let at = |value: usize| Spanned { value, span: Span::call_site() };
        let docs =
            ["VGG-like.", "", "  indented", "/ slash", "\"quotes\" and \\", "tab\there", "bell\u{7}", "ünïcödé ✓", " "];
        ModelSpec {
            docs: (0..self.below(4)).map(|_| self.pick(&docs).to_owned()).collect(),
            visibility: syn::parse_str(self.pick(&["", "pub", "pub(crate)", "pub(super)", "pub(in crate::nets)"]))
                .expect("a visibility"),
            name: Spanned { value: self.pick(&["Net", "Vgg16", "A_b"]).to_owned(), span: Span::call_site() },
            input: InputSpec {
                channels: at(1 + self.below(4)),
                height: at(64 + self.below(200)),
                width: at(64 + self.below(200)),
            },
            preprocess: self.once_in(2).then(|| Spanned { value: self.preprocess(), span: Span::call_site() }),
            rows,
        }
    }

    /// A preset, or values of which some are the defaults.
    fn preprocess(&mut self) -> Preprocess {
        if self.once_in(3) {
            return PRESETS[self.below(PRESETS.len())].preprocess();
        }
        let colours = self.pick(&Colours::ALL);
        let values = |values: &[f32], random: &mut Self| (0..colours.channels()).map(|_| random.pick(values)).collect();
        Preprocess {
            colours,
            range: self.pick(&[Range::Unit, Range::Bytes]),
            mean: match self.below(4) {
                0 => Mean::Image(None),
                _ => Mean::Channels(values(&[0.0, 0.485, 123.68, -1.5, 1e-5], self)),
            },
            std: values(&[1.0, 0.229, 58.393, 1e-6], self),
            resize: if self.once_in(3) { Resize::Stretch } else { Resize::ShortSide(1 + self.below(512)) },
            filter: self.pick(&Filter::ALL),
            classes: self.once_in(2).then(|| self.pick(&ClassOrder::ALL)),
        }
    }

    fn row(&mut self, images: bool) -> Vec<LayerSpec> {
        let mut row = Vec::new();
        for _ in 0..1 + self.below(4) {
            let kind = self.layer(images);
            let bn = matches!(kind, LayerKind::Conv { .. }) && self.once_in(3);
            row.push(self.entry(kind));
            if bn {
                let epsilon = self.real();
                row.push(self.entry(LayerKind::BatchNorm { epsilon }));
            }
        }
        if !images {
            row.push(self.entry(LayerKind::Softmax));
        }
        row
    }

    fn entry(&mut self, kind: LayerKind) -> LayerSpec {
        let label =
            self.once_in(5).then(|| Spanned { value: format!("l{}", self.below(1000)), span: Span::call_site() });
        LayerSpec { label, kind, span: Span::call_site() }
    }
}
