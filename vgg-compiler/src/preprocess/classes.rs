//! Known orders of classes.

/// The classes of ImageNet. Its first lines say where they come from.
const IMAGENET: &str = include_str!("imagenet.tsv");

/// A known order of classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassOrder {
    /// The 1000 classes of ILSVRC 2012, sorted by their WordNet identifiers: Caffe, Keras, torchvision, tench first.
    Imagenet,
    /// The same classes in the order of ILSVRC's own numbers, as the first release of CNN-M and CNN-S has them: kit fox first.
    ImagenetIlsvrc,
    /// The ten of Fashion-MNIST.
    FashionMnist,
}

/// A class of ImageNet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImagenetClass {
    /// Its WordNet identifier, such as `n02123045`.
    pub synset: &'static str,
    /// Its name.
    pub name: &'static str,
}

impl ClassOrder {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Imagenet, Self::ImagenetIlsvrc, Self::FashionMnist];

    /// The word of the notation and of `--labels`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Imagenet => "imagenet",
            Self::ImagenetIlsvrc => "imagenet-ilsvrc",
            Self::FashionMnist => "fashion-mnist",
        }
    }

    /// The order of that name.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.word() == word)
    }

    /// The order in which the classes of ImageNet have these WordNet identifiers.
    pub fn of_synsets(synsets: &[&str]) -> Option<Self> {
        [Self::Imagenet, Self::ImagenetIlsvrc]
            .into_iter()
            .find(|order| order.imagenet().iter().map(|class| class.synset).eq(synsets.iter().copied()))
    }

    /// The classes of ImageNet in this order; none when it is that of other classes.
    pub fn imagenet(self) -> Vec<ImagenetClass> {
        if self == Self::FashionMnist {
            return Vec::new();
        }
        let mut classes: Vec<(usize, ImagenetClass)> = IMAGENET
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (synset, rest) = line.split_once('\t')?;
                let (number, name) = rest.split_once('\t')?;
                Some((number.parse().ok()?, ImagenetClass { synset, name }))
            })
            .collect();
        if self == Self::ImagenetIlsvrc {
            classes.sort_by_key(|(number, _)| *number);
        }
        classes.into_iter().map(|(_, class)| class).collect()
    }

    /// How many classes there are.
    pub fn len(self) -> usize {
        match self {
            Self::Imagenet | Self::ImagenetIlsvrc => 1000,
            Self::FashionMnist => 10,
        }
    }

    /// Whether there are no classes; there always are.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}
