//! The nine built-in variants. What each of them is stands in `variants.vgg`; here are their names and sources.

use super::ModelSpec;
use super::diagnostic::FileErrors;
use super::parse::parse_models;
use crate::suggest::nearest;

/// The text that declares the nine variants, in the order of [`VARIANTS`].
pub const VARIANTS_TEXT: &str = include_str!("variants.vgg");

/// The name of that text in messages.
const VARIANTS_FILE: &str = "variants.vgg";

const DEVIL: &str = "Chatfield, Simonyan, Vedaldi & Zisserman, Return of the Devil in the Details: Delving Deep into \
                     Convolutional Nets, BMVC 2014, arXiv:1405.3531";
const VERY_DEEP: &str = "Simonyan & Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015, \
                         arXiv:1409.1556";

/// One built-in variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// The canonical name, such as `vgg-d`.
    pub name: &'static str,
    /// Other names that mean the same.
    pub aliases: &'static [&'static str],
    /// The name of its declaration in [`VARIANTS_TEXT`], and so of the type that is generated from it.
    pub type_name: &'static str,
    /// The paper that describes it.
    pub source: &'static str,
}

/// The nine variants, from the 2014 "CNN" networks to configuration E.
pub static VARIANTS: [Variant; 9] = [
    Variant { name: "vgg-f", aliases: &["cnn-f"], type_name: "VggF", source: DEVIL },
    Variant { name: "vgg-m", aliases: &["cnn-m"], type_name: "VggM", source: DEVIL },
    Variant { name: "vgg-s", aliases: &["cnn-s"], type_name: "VggS", source: DEVIL },
    Variant { name: "vgg-a", aliases: &["vgg11"], type_name: "VggA", source: VERY_DEEP },
    Variant { name: "vgg-a-lrn", aliases: &[], type_name: "VggALrn", source: VERY_DEEP },
    Variant { name: "vgg-b", aliases: &["vgg13"], type_name: "VggB", source: VERY_DEEP },
    Variant { name: "vgg-c", aliases: &[], type_name: "VggC", source: VERY_DEEP },
    Variant { name: "vgg-d", aliases: &["vgg16"], type_name: "VggD", source: VERY_DEEP },
    Variant { name: "vgg-e", aliases: &["vgg19"], type_name: "VggE", source: VERY_DEEP },
];

impl Variant {
    /// The declaration of this variant.
    ///
    /// # Errors
    ///
    /// The mistakes of the built-in text, which has none.
    pub fn spec(&self) -> Result<ModelSpec, FileErrors> {
        let missing = || FileErrors { file: VARIANTS_FILE.to_owned(), errors: Vec::new(), truncated: false };
        let models = parse_models(VARIANTS_FILE, VARIANTS_TEXT)?;
        models.into_iter().find(|model| model.name.value == self.type_name).ok_or_else(missing)
    }
}

/// The variant of that name or alias, exactly as written.
pub fn variant(name: &str) -> Option<&'static Variant> {
    VARIANTS.iter().find(|variant| variant.name == name || variant.aliases.contains(&name))
}

/// The name or alias that `name` was most likely meant to be.
pub fn suggest(name: &str) -> Option<&'static str> {
    nearest(
        name,
        VARIANTS.iter().flat_map(|variant| std::iter::once(variant.name).chain(variant.aliases.iter().copied())),
    )
}
