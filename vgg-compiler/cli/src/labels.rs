//! What the classes are called.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use vgg_compiler::preprocess::{ClassOrder, ImagenetClass};

use crate::error::Error;

/// Fashion-MNIST's, from <https://github.com/zalandoresearch/fashion-mnist#labels>.
const FASHION_MNIST: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// The largest file of labels that is read. ImageNet's has 30 kB.
const MAX_FILE: u64 = 16 << 20;

/// The name of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Its WordNet identifier, such as `n02123045`.
    pub synset: Option<String>,
    /// Its name.
    pub name: String,
}

/// The names of all classes in the order of a network's outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels(Vec<Label>);

impl Labels {
    /// Those of a known order.
    pub fn known(order: ClassOrder) -> Self {
        let plain = |name: &str| Label { synset: None, name: name.to_owned() };
        if order == ClassOrder::FashionMnist {
            return Self(FASHION_MNIST.into_iter().map(plain).collect());
        }
        let label = |ImagenetClass { synset, name }| Label { synset: Some(synset.to_owned()), name: name.to_owned() };
        Self(order.imagenet().into_iter().map(label).collect())
    }

    /// Reads a file of one name a line, as Caffe's `synset_words.txt` with the WordNet identifier before each.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is no UTF-8 text.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let reading = |error| {
            let orders = ClassOrder::ALL.map(ClassOrder::word).join(", ");
            Error::reading(path, &error).with_help(format!("give a file of one label a line, or one of {orders}"))
        };
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)).map_err(reading)?;
        let name = path.display();
        if bytes.len() as u64 > MAX_FILE {
            return Err(Error::refused(format!("{name}: the file of labels has more than {MAX_FILE} bytes"))
                .with_help("give a file of one label a line"));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let line = before.split(|&byte| byte == b'\n').count();
            Error::refused(format!("{name}:{line}: expected UTF-8 text, found other bytes"))
                .with_help("give a file of one label a line")
        })?;
        Ok(Self(text.lines().map(|line| Label::parse(line.trim_end())).collect()))
    }

    /// The name of a class, when there are so many.
    pub fn get(&self, class: usize) -> Option<&Label> {
        self.0.get(class)
    }

    /// How many classes have a name.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no class has a name.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Label {
    fn parse(line: &str) -> Self {
        let synset = line.split_once(' ').filter(|(first, _)| {
            first
                .strip_prefix('n')
                .is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()))
        });
        match synset {
            Some((synset, name)) => Self { synset: Some(synset.to_owned()), name: name.trim_start().to_owned() },
            None => Self { synset: None, name: line.to_owned() },
        }
    }
}

/// The labels that `--labels` names, or else those of the order that the preprocessing knows, for a network of `classes` outputs.
///
/// # Errors
///
/// When there are more or fewer labels than classes, or the order that is asked for is not the one that is known.
pub(crate) fn labels(
    asked: Option<&OsStr>,
    known: Option<ClassOrder>,
    classes: usize,
) -> Result<Option<Labels>, Error> {
    let Some(asked) = asked else {
        // A network that was trained anew on other classes keeps the preprocessing of the old.
        return Ok(known.filter(|order| order.len() == classes).map(Labels::known));
    };
    let (order, shown) = (asked.to_str().and_then(ClassOrder::of_word), asked.display());
    if let (Some(order), Some(known)) = (order, known)
        && order != known
        && known.len() == classes
        && order.len() == classes
    {
        let known = known.word();
        return Err(Error::refused(format!(
            "--labels {shown}: the classes of these weights are in the order `{known}`"
        ))
        .with_help("leave --labels out, or say with --preprocess how the weights were trained"));
    }
    let labels = match order {
        Some(order) => Labels::known(order),
        None => Labels::read(Path::new(asked))?,
    };
    if labels.len() != classes {
        let count = labels.len();
        return Err(Error::refused(format!(
            "--labels {shown}: there are {count} labels, expected one for each of the {classes} classes"
        ))
        .with_help("give the labels that the network was trained with, one a line and no others"));
    }
    Ok(Some(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_of_imagenet_have_all_classes() {
        let [sorted, ilsvrc] = [ClassOrder::Imagenet, ClassOrder::ImagenetIlsvrc].map(Labels::known);
        let label = |labels: &Labels, class| {
            let Label { synset, name } = labels.get(class).unwrap();
            format!("{} {name}", synset.as_deref().unwrap_or_default())
        };
        for (class, expected) in [(0, "n01440764 tench"), (281, "n02123045 tabby"), (999, "n15075141 toilet tissue")] {
            assert_eq!(label(&sorted, class), expected);
        }
        for (class, expected) in
            [(0, "n02119789 kit fox"), (1, "n02100735 English setter"), (999, "n03255030 dumbbell")]
        {
            assert_eq!(label(&ilsvrc, class), expected);
        }
        let synsets = |labels: &Labels| -> Vec<_> { labels.0.iter().map(|label| label.synset.clone()).collect() };
        let (ordered, mut other) = (synsets(&sorted), synsets(&ilsvrc));
        assert_eq!((ordered.len(), ordered.is_sorted()), (1000, true));
        assert_ne!(ordered, other);
        other.sort();
        assert_eq!(ordered, other);
        for order in ClassOrder::ALL {
            assert_eq!(Labels::known(order).len(), order.len());
        }
    }

    #[test]
    fn lines_may_begin_with_an_identifier() {
        assert_eq!(Label::parse("n02119789 kit fox, Vulpes macrotis").name, "kit fox, Vulpes macrotis");
        for plain in ["cat", "n0211978 x", "n02119789", "nx2119789 y", ""] {
            assert_eq!(Label::parse(plain), Label { synset: None, name: plain.into() });
        }
    }
}
