//! Files of Keras: HDF5 with a group for each layer.
//!
//! ```text
//! Keras 1 and 2   the root or its group `model_weights` has the attribute layer_names; each layer's group has weight_names, paths
//!                 below it: `block1_conv1/kernel:0`, `block1_conv1_W_1:0`
//! Keras 3         `layers/NAME/vars/0`, `/1`, ..: the variables of a layer in their order; in an archive as `model.weights.h5`
//! ```
//!
//! Filters are [height, width, in, out], matrices [in, out], and a matrix behind a feature map has its rows in the order of height,
//! width, channel.
//!
//! Source: keras/src/legacy/saving/legacy_h5_format.py and keras/src/saving/saving_lib.py of Keras 3.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fmt::Display;

use bytes::Bytes;
use hdf5_reader::group::Group;
use hdf5_reader::{Dataset, Datatype, Hdf5File, OpenOptions};

use super::budget::Budget;
use super::file::{Container, Part, Role, SourceLayer, WeightsFile};
use super::lineage::SourceFormat;
use super::names::natural;
use super::problem::{Problem, printable};
use crate::weights::view::{ElementType, SourceTensor, View};

/// More layers than any network of the family has.
const MAX_LAYERS: usize = 4096;
/// More variables than any layer has.
const MAX_VARIABLES: usize = 16;
/// Layers in layers.
const MAX_DEPTH: usize = 6;

const NOT_KERAS: &str = "only files of Keras are read from HDF5; other arrays are written in Python with \
    `safetensors.numpy.save_file`";

/// A variable: its name in the file and its numbers.
type Variable = (String, View);

/// The name of a layer and its variables.
type Layer = (String, Vec<Variable>);

/// The network in `data`.
pub(super) fn read(container: Container, data: Bytes, budget: &mut Budget) -> Result<WeightsFile, Problem> {
    let options = OpenOptions {
        // Every array is read once.
        chunk_cache_bytes: 0,
        max_read_bytes: budget.left(),
        max_chunk_bytes: budget.left(),
        ..OpenOptions::default()
    };
    let hdf5 = Hdf5File::from_owner(data, options).map_err(damaged)?;
    let root = hdf5.root_group().map_err(damaged)?;
    let (groups, _) = root.member_names().map_err(damaged)?;
    let is_there = |name: &str| groups.iter().any(|group| group == name);
    let mut reader = Reader { file: &hdf5, budget, layers: Vec::new(), numbered: false, visited: 0 };
    if is_there("model_weights") {
        reader.named(&root.group("model_weights").map_err(damaged)?)?;
    } else if root.attribute("layer_names").is_ok() || root.attribute("layer_names0").is_ok() {
        reader.named(&root)?;
    } else if is_there("layers") || is_there("_layer_checkpoint_dependencies") {
        reader.numbered = true;
        reader.walk(&root, "", 0)?;
    } else {
        return Err(Problem::new("it has no layers, as files of Keras have", NOT_KERAS));
    }
    let (layers, numbered) = (reader.layers, reader.numbered);
    Ok(assemble(container, layers, numbered))
}

/// What the library found.
fn damaged(error: impl Display) -> Problem {
    Problem::from(printable(&error.to_string()))
}

struct Reader<'a> {
    file: &'a Hdf5File,
    budget: &'a mut Budget,
    layers: Vec<Layer>,
    /// Whether the file has layers sorted by their classes.
    numbered: bool,
    /// Groups that were looked into.
    visited: usize,
}

impl Reader<'_> {
    /// The layers that the attributes of Keras 1 and 2 list.
    fn named(&mut self, group: &Group) -> Result<(), Problem> {
        for layer in self.names(group, "layer_names")? {
            let inner = group.group(&layer).map_err(damaged)?;
            let names = self.names(&inner, "weight_names")?;
            if names.len() > MAX_VARIABLES {
                return Err(nested(&layer, names.len()));
            }
            let mut variables = Vec::new();
            for name in names {
                let dataset = find(&inner, &name)?;
                let view = self.numbers(&dataset, &format!("{layer}/{name}"))?;
                variables.push((name, view));
            }
            self.add(layer, variables)?;
        }
        Ok(())
    }

    /// A list of names in an attribute, or in several where it is too long for one: `weight_names0`, `weight_names1`, ...
    fn names(&self, group: &Group, attribute: &str) -> Result<Vec<String>, Problem> {
        let strings = |name: &str| -> Result<Option<Vec<String>>, Problem> {
            let Ok(found) = group.attribute(name) else { return Ok(None) };
            // An empty list has any type.
            if found.num_elements().map_err(damaged)? == 0 {
                return Ok(Some(Vec::new()));
            }
            let storage = self.file.storage();
            let whole = storage.read_range(0, usize::try_from(storage.len()).unwrap_or(0)).map_err(damaged)?;
            found.read_vlen_strings(&whole, group.offset_size()).map(Some).map_err(damaged)
        };
        if let Some(names) = strings(attribute)? {
            return Ok(names);
        }
        let mut all = Vec::new();
        for part in 0..MAX_LAYERS {
            match strings(&format!("{attribute}{part}"))? {
                Some(names) => all.extend(names),
                None if part == 0 => {
                    let group = printable(group.name());
                    return Err(Problem::new(format!("its group `{group}` has no attribute `{attribute}`"), NOT_KERAS));
                }
                None => break,
            }
        }
        Ok(all)
    }

    /// The layers of Keras 3, whose variables are numbered.
    fn walk(&mut self, group: &Group, name: &str, depth: usize) -> Result<(), Problem> {
        self.visited += 1;
        if self.visited > MAX_LAYERS {
            return Err(Problem::new("its layers contain too many layers", NOT_KERAS));
        }
        let (groups, _) = group.member_names().map_err(damaged)?;
        if groups.iter().any(|group| group == "vars") {
            let vars = group.group("vars").map_err(damaged)?;
            let (_, mut indices) = vars.member_names().map_err(damaged)?;
            indices.sort_by_cached_key(|index| natural(index));
            if indices.len() > MAX_VARIABLES {
                return Err(nested(name, indices.len()));
            }
            let mut variables = Vec::new();
            for index in indices {
                let dataset = find(&vars, &index)?;
                let path = format!("{name}/vars/{index}");
                variables.push((path.clone(), self.numbers(&dataset, &path)?));
            }
            // The layer's own name, where it is not that of its class.
            let own = group.attribute("name").or_else(|_| vars.attribute("name")).and_then(|name| name.read_string());
            self.add(own.unwrap_or_else(|_| name.to_owned()), variables)?;
        }
        if depth == MAX_DEPTH || groups.len() > MAX_LAYERS {
            return Err(Problem::new("its layers contain too many layers", NOT_KERAS));
        }
        let mut inner: Vec<&String> =
            groups.iter().filter(|group| *group != "vars" && *group != "optimizer" && *group != "metrics").collect();
        inner.sort_by_cached_key(|group| natural(group));
        for group_name in inner {
            let path = if name.is_empty() || group_name == "layers" {
                group_name.clone()
            } else {
                format!("{name}/{group_name}")
            };
            let path = if group_name == "layers" { name.to_owned() } else { path };
            self.walk(&group.group(group_name).map_err(damaged)?, &path, depth + 1)?;
        }
        Ok(())
    }

    fn add(&mut self, name: String, variables: Vec<Variable>) -> Result<(), Problem> {
        if self.layers.len() == MAX_LAYERS {
            return Err(format!("it has more than the {MAX_LAYERS} layers allowed").into());
        }
        if !variables.is_empty() {
            self.layers.push((name, variables));
        }
        Ok(())
    }

    fn numbers(&mut self, dataset: &Dataset, name: &str) -> Result<View, Problem> {
        let place = |problem: Problem| Problem { text: format!("`{}`: {}", printable(name), problem.text), ..problem };
        let element = match dataset.dtype() {
            Datatype::FloatingPoint { size: 2, .. } => ElementType::F16,
            Datatype::FloatingPoint { size: 4, .. } => ElementType::F32,
            Datatype::FloatingPoint { size: 8, .. } => ElementType::F64,
            Datatype::FixedPoint { size: size @ 1..=8, .. } => ElementType::Int(*size),
            other => return Err(place(printable(&format!("elements of the type {other:?}")).into())),
        };
        let shape = dataset.shape().iter().map(|&extent| usize::try_from(extent)).collect::<Result<Vec<_>, _>>();
        let shape = shape.map_err(|_| place("an extent too large to address".into()))?;
        // What is compressed, or not stored at all, may be far larger than the file.
        let bytes = dataset.raw_byte_len().map_err(|error| place(damaged(error)))?;
        self.budget.spend(bytes as u64).map_err(place)?;
        let mut data = dataset.read_native_bytes().map_err(|error| place(damaged(error)))?;
        if cfg!(target_endian = "big") {
            data.chunks_exact_mut(element.width()).for_each(<[u8]>::reverse);
        }
        View::new(element, shape, data.into()).map_err(|problem| place(problem.into()))
    }
}

fn nested(layer: &str, variables: usize) -> Problem {
    Problem::new(
        format!("its layer `{}` has {variables} variables, as a model inside of a model has", printable(layer)),
        "save the inner model alone: `model.get_layer(\"vgg16\").save_weights(\"out.weights.h5\")`",
    )
}

/// The dataset at a path below `group`.
fn find(group: &Group, path: &str) -> Result<Dataset, Problem> {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let name = parts.pop().ok_or("a variable without a name")?;
    if parts.len() > MAX_DEPTH {
        return Err(format!("the path `{}` is too long", printable(path)).into());
    }
    let mut at = group.clone();
    for part in parts {
        at = at.group(part).map_err(damaged)?;
    }
    at.dataset(name).map_err(damaged)
}

/// What Keras adds to variances unless told otherwise; what it was told is not among the weights.
const EPSILON: f32 = 1e-3;

/// The layers in the order of the network, with their axes in PyTorch's order.
fn assemble(container: Container, mut found: Vec<Layer>, numbered: bool) -> WeightsFile {
    if numbered {
        found = interleaved(found);
    }
    let mut file = WeightsFile {
        container,
        source: SourceFormat::Keras,
        network: None,
        prefix: String::new(),
        tensors: Vec::new(),
        layers: Vec::new(),
        lrn_layers: None,
        notes: Vec::new(),
        preprocess: None,
    };
    for (name, variables) in found {
        let mut layer = SourceLayer { name: caffe_name(&name), ..SourceLayer::default() };
        let norm = variables.len() > 2 || variables.iter().all(|(_, view)| view.shape().len() == 1);
        for (index, (variable, view)) in variables.into_iter().enumerate() {
            let tensor = file.tensors.len();
            let role = role(&variable, index, norm);
            let stored = if variable.starts_with(&name) { variable } else { format!("{name}/{variable}") };
            file.tensors.push(SourceTensor { name: stored, view: view.clone() });
            let axes: &[usize] = match (role, view.shape().len()) {
                (Some(Role::Weight), 4) => &[3, 2, 0, 1],
                (Some(Role::Weight), 2) => &[1, 0],
                _ => &[0],
            };
            if let Some(role) = role {
                layer.parts.insert(role, Part { tensor, view: view.permuted(axes).unwrap_or(view) });
            }
        }
        layer.epsilon = norm.then_some(EPSILON);
        file.layers.push(layer);
    }
    file
}

/// Layers sorted by their classes, each class in the order of the network: filters, then matrices. Batch normalisations go behind the
/// convolutions, behind all of these layers, or behind all but the last, as their number and their sizes say. Where these say nothing
/// they stay in front, where no layer takes them and they are left over.
fn interleaved(found: Vec<Layer>) -> Vec<Layer> {
    let shape = |(_, variables): &Layer| variables.first().map_or(Vec::new(), |(_, view)| view.shape().to_vec());
    let (norms, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|layer| shape(layer).len() == 1);
    let (convs, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(|layer| shape(layer).len() == 4);
    let places = [convs.len(), convs.len() + rest.len(), (convs.len() + rest.len()).saturating_sub(1)];
    let layers: Vec<Layer> = convs.into_iter().chain(rest).collect();
    // Outputs are the last axis of every weight.
    let same = |(layer, norm): (&Layer, &Layer)| shape(layer).last() == shape(norm).last();
    let paired = places.contains(&norms.len()) && layers.iter().zip(&norms).all(same);
    let (behind, mut ordered) = if paired { (norms, Vec::new()) } else { (Vec::new(), norms) };
    let mut norms = behind.into_iter();
    for layer in layers {
        ordered.push(layer);
        ordered.extend(norms.next());
    }
    ordered
}

/// What a variable is: by its name, or else by its place.
fn role(variable: &str, index: usize, norm: bool) -> Option<Role> {
    let last = variable.rsplit('/').next().unwrap_or_default();
    let word = last.split(':').next().unwrap_or_default();
    let roles: BTreeMap<&str, Role> = [
        ("kernel", Role::Weight),
        ("W", Role::Weight),
        ("bias", Role::Bias),
        ("b", Role::Bias),
        ("gamma", Role::Scale),
        ("beta", Role::Shift),
        ("moving_mean", Role::Mean),
        ("running_mean", Role::Mean),
        ("moving_variance", Role::Variance),
        ("running_std", Role::Variance),
    ]
    .into();
    // `block1_conv1_W_1`: the kind stands before a number.
    let kind = word.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
    let kind = roles
        .keys()
        .copied()
        .filter(|key| kind == *key || kind.ends_with(&format!("_{key}")))
        .max_by_key(|key| key.len());
    if let Some(kind) = kind {
        return roles.get(kind).copied();
    }
    let by_place = if norm {
        [Role::Scale, Role::Shift, Role::Mean, Role::Variance]
    } else {
        [Role::Weight, Role::Bias, Role::Mean, Role::Variance]
    };
    word.parse::<usize>().ok().and_then(|_| by_place.get(index).copied())
}

/// The name that Caffe has for a layer: `conv1_1` for `block1_conv1`, `fc6` for `fc1`.
fn caffe_name(name: &str) -> String {
    match name {
        "fc1" => "fc6".into(),
        "fc2" => "fc7".into(),
        "predictions" => "fc8".into(),
        _ => {
            let conv = name.strip_prefix("block").and_then(|rest| rest.split_once("_conv"));
            conv.map_or_else(|| name.to_owned(), |(block, index)| format!("conv{block}_{index}"))
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    fn layer(name: &str, shape: &[usize]) -> Layer {
        let bytes = vec![0; 4 * shape.iter().product::<usize>()];
        (name.into(), vec![("0".into(), View::new(ElementType::F32, shape.to_vec(), bytes.into()).unwrap())])
    }

    fn order(layers: Vec<Layer>) -> String {
        interleaved(layers).into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
    }

    /// Keras 3 sorts layers by their classes, so that where a batch normalisation stands is not said.
    #[test]
    fn no_batch_normalisation_is_lost() {
        let (a, b) = (layer("a", &[3, 3, 3, 8]), layer("b", &[3, 3, 8, 16]));
        let (c, d) = (layer("c", &[64, 32]), layer("d", &[32, 5]));
        let norm = |name: &str, size: usize| layer(name, &[size]);
        let layers = |norms: &[Layer]| [norms, &[a.clone(), b.clone(), c.clone(), d.clone()]].concat();
        let (n0, n1, n2) = (norm("n0", 8), norm("n1", 16), norm("n2", 32));
        assert_eq!(order(layers(&[])), "a b c d");
        assert_eq!(order(layers(&[n0.clone(), n1.clone()])), "a n0 b n1 c d");
        assert_eq!(order(layers(&[n0.clone(), n1.clone(), n2.clone()])), "a n0 b n1 c n2 d");
        assert_eq!(order(layers(&[n0.clone(), n1.clone(), n2.clone(), norm("n3", 5)])), "a n0 b n1 c n2 d n3");
        // Which layer each is behind is not clear, or it is of another size.
        assert_eq!(order(layers(std::slice::from_ref(&n0))), "n0 a b c d");
        assert_eq!(order(layers(&[n1.clone(), n0.clone()])), "n1 n0 a b c d");
        assert_eq!(order(layers(&[norm("of_the_input", 3), n0, n1])), "of_the_input n0 n1 a b c d");
    }
}
