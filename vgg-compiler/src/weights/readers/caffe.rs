//! Caffe models: a message NetParameter whose layers have their numbers in blobs.
//!
//! ```text
//! NetParameter    name = 1, layers = 2 (V1), layer = 100 (V2)
//! LayerParameter  name = 1, type = 2 (a text), blobs = 7, batch_norm_param = 139 { eps = 3 }      V2
//!                 name = 4, type = 5 (a number), blobs = 6, layer = 1 (V0)                         V1
//!                 name = 1, type = 2 (a text), blobs = 50                                          V0
//! BlobProto       data = 5, double_data = 8, shape = 7 { dim = 1 }, or num, channels, height, width = 1, 2, 3, 4
//! ```
//!
//! Source: src/caffe/proto/caffe.proto of BVLC/caffe at 9b891540.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use bytes::Bytes;

use super::cursor::Cursor;
use super::file::{Container, Part, Role, SourceLayer, WeightsFile};
use super::lineage::SourceFormat;
use super::problem::{Problem, printable};
use super::wire::{Fields, Wire, varint};
use crate::weights::tensors::Tensor;
use crate::weights::view::{ElementType, SourceTensor, View};

/// More layers than any network of the family has.
const MAX_LAYERS: usize = 4096;
/// More blobs than any layer has.
const MAX_BLOBS: usize = 16;
/// More axes than any tensor of the family has.
const MAX_AXES: usize = 8;

/// A layer of any version.
#[derive(Default)]
struct Layer {
    name: String,
    kind: String,
    blobs: Vec<View>,
    epsilon: Option<f32>,
}

/// Whether `data` has the fields of a NetParameter with layers. Only its outermost fields are looked at.
pub(super) fn is_net(data: &Bytes) -> bool {
    let mut layers = false;
    for field in Fields::new(data.clone()) {
        match field {
            Ok((2 | 100, Wire::Bytes(_))) => layers = true,
            Ok((1 | 3 | 6 | 8, Wire::Bytes(_)) | (4 | 5 | 7, Wire::Varint(_))) => {}
            // A file that was cut off is still one of Caffe.
            Err(_) => return layers,
            Ok(_) => return false,
        }
    }
    layers
}

/// Whether `data` is a single blob with four extents, as mean images are kept.
pub(super) fn is_blob(data: &Bytes) -> bool {
    let mut extents = 0;
    for field in Fields::new(data.clone()).take(64) {
        match field {
            Ok((1..=4, Wire::Varint(_))) => extents += 1,
            Ok((5 | 7 | 8, Wire::Bytes(_)) | (5, Wire::Fixed32(_))) => {}
            _ => return false,
        }
    }
    extents == 4
}

/// The mean image in `data`, a single blob: [channels, height, width].
pub(super) fn mean_image(data: Bytes) -> Result<Tensor, String> {
    let blob = blob(data)?;
    match *blob.shape() {
        [1, channels, height, width] => {
            let image = blob.reshaped(&[channels, height, width]).ok_or("its extents are too large to address")?;
            Ok(image.to_tensor())
        }
        ref other => Err(format!("its blob has the extents {other:?}, expected [1, channels, height, width]")),
    }
}

/// The network in `data`.
pub(super) fn read(data: Bytes) -> Result<WeightsFile, Problem> {
    let mut network = None;
    let mut layers = Vec::new();
    for field in Fields::new(data) {
        match field? {
            (1, Wire::Bytes(name)) => network = Some(text(&name)),
            (2, Wire::Bytes(message)) => layers.push(v1(message)),
            (100, Wire::Bytes(message)) => layers.push(v2(message)),
            _ => continue,
        }
        if layers.len() > MAX_LAYERS {
            return Err(format!("it has more than the {MAX_LAYERS} layers allowed").into());
        }
    }
    let layers = layers.into_iter().collect::<Result<Vec<_>, _>>()?;
    let lrn_layers = layers.iter().filter(|layer| layer.kind == "LRN").count();
    let mut tensors: Vec<SourceTensor> = Vec::new();
    let mut found: Vec<SourceLayer> = Vec::new();
    let mut statistics: BTreeMap<usize, Vec<View>> = BTreeMap::new();
    for layer in layers.into_iter().filter(|layer| !layer.blobs.is_empty()) {
        let first = tensors.len();
        for (index, view) in layer.blobs.iter().enumerate() {
            tensors.push(SourceTensor { name: format!("{}[{index}]", layer.name), view: view.clone() });
        }
        let part = |index: usize| layer.blobs.get(index).map(|view| Part { tensor: first + index, view: view.clone() });
        let mut parts = BTreeMap::new();
        let roles: &[Role] = match layer.kind.as_str() {
            "Convolution" | "InnerProduct" | "Deconvolution" => &[Role::Weight, Role::Bias],
            "BatchNorm" => &[Role::Mean, Role::Variance],
            "Scale" => &[Role::Scale, Role::Shift],
            _ => continue,
        };
        for (index, &role) in roles.iter().enumerate() {
            if let Some(part) = part(index) {
                let view = match role {
                    Role::Weight if layer.kind == "InnerProduct" => trimmed(&part.view, 2),
                    Role::Weight => part.view,
                    _ => trimmed(&part.view, 1),
                };
                parts.insert(role, Part { view, ..part });
            }
        }
        match (
            layer.kind.as_str(),
            found.last_mut().filter(|last| last.is_norm() && !last.parts.contains_key(&Role::Scale)),
        ) {
            ("Scale", Some(norm)) => norm.parts.extend(parts),
            ("BatchNorm", _) => {
                if layer.blobs.len() > 2 {
                    statistics.insert(found.len(), layer.blobs.clone());
                }
                found.push(SourceLayer { name: layer.name, parts, epsilon: Some(layer.epsilon.unwrap_or(1e-5)) });
            }
            _ => found.push(SourceLayer { name: layer.name, parts, epsilon: None }),
        }
    }
    for (index, blobs) in statistics {
        if let Some(layer) = found.get_mut(index) {
            average(layer, &blobs);
        }
    }
    Ok(WeightsFile {
        container: Container::Caffe,
        source: SourceFormat::Caffe,
        network,
        prefix: String::new(),
        tensors,
        layers: found,
        lrn_layers: Some(lrn_layers),
        notes: Vec::new(),
        preprocess: None,
    })
}

/// Divides the sums of a batch normalisation's statistics by the number in its third blob. The blob counts as part of the layer.
fn average(layer: &mut SourceLayer, blobs: &[View]) {
    let mut divisor = 0.0;
    if let Some(count) = blobs.get(2) {
        count.for_each(&mut |value| divisor = value);
    }
    let factor = if divisor == 0.0 { 0.0 } else { 1.0 / divisor };
    for part in
        layer.parts.iter_mut().filter(|(role, _)| matches!(role, Role::Mean | Role::Variance)).map(|(_, part)| part)
    {
        let mut data = Vec::with_capacity(4 * part.view.len());
        part.view.for_each(&mut |value| data.extend_from_slice(&((value * factor) as f32).to_le_bytes()));
        part.view = View::from(Tensor { shape: part.view.shape().to_vec(), data: data.into() });
    }
    // Marks the divisor as used, in a role that nothing else has.
    if let (Some(count), Some(mean)) = (blobs.get(2), layer.parts.get(&Role::Mean)) {
        let part = Part { tensor: mean.tensor + 2, view: count.clone() };
        layer.parts.insert(Role::Count, part);
    }
}

fn v2(message: Bytes) -> Result<Layer, Problem> {
    let mut layer = Layer::default();
    let mut blobs = Vec::new();
    for field in Fields::new(message) {
        match field? {
            (1, Wire::Bytes(name)) => layer.name = text(&name),
            (2, Wire::Bytes(kind)) => layer.kind = text(&kind),
            (7, Wire::Bytes(message)) => blobs.push(message),
            (139, Wire::Bytes(message)) => {
                for field in Fields::new(message) {
                    if let (3, Wire::Fixed32(epsilon)) = field? {
                        layer.epsilon = Some(f32::from_le_bytes(epsilon));
                    }
                }
            }
            _ => {}
        }
    }
    with_blobs(layer, blobs)
}

fn v1(message: Bytes) -> Result<Layer, Problem> {
    let mut layer = Layer::default();
    let mut blobs = Vec::new();
    for field in Fields::new(message) {
        match field? {
            (1, Wire::Bytes(message)) => return v0(message),
            (4, Wire::Bytes(name)) => layer.name = text(&name),
            (5, Wire::Varint(kind)) => {
                layer.kind = match kind {
                    4 => "Convolution",
                    14 => "InnerProduct",
                    15 => "LRN",
                    39 => "Deconvolution",
                    _ => "",
                }
                .into();
            }
            (6, Wire::Bytes(message)) => blobs.push(message),
            _ => {}
        }
    }
    with_blobs(layer, blobs)
}

fn v0(message: Bytes) -> Result<Layer, Problem> {
    let mut layer = Layer::default();
    let mut blobs = Vec::new();
    for field in Fields::new(message) {
        match field? {
            (1, Wire::Bytes(name)) => layer.name = text(&name),
            (2, Wire::Bytes(kind)) => {
                layer.kind = match &kind[..] {
                    b"conv" => "Convolution",
                    b"innerproduct" => "InnerProduct",
                    b"lrn" => "LRN",
                    _ => "",
                }
                .into();
            }
            (50, Wire::Bytes(message)) => blobs.push(message),
            _ => {}
        }
    }
    with_blobs(layer, blobs)
}

fn with_blobs(mut layer: Layer, blobs: Vec<Bytes>) -> Result<Layer, Problem> {
    if blobs.len() > MAX_BLOBS {
        return Err(format!(
            "layer `{}` has {} blobs, more than the {MAX_BLOBS} allowed",
            printable(&layer.name),
            blobs.len()
        )
        .into());
    }
    for (index, message) in blobs.into_iter().enumerate() {
        let view = blob(message)
            .map_err(|problem| format!("blob {index} of layer `{}`: {problem}", printable(&layer.name)))?;
        layer.blobs.push(view);
    }
    Ok(layer)
}

fn blob(message: Bytes) -> Result<View, String> {
    let mut legacy = [None; 4];
    let mut shape = None;
    // Nearly always one run of packed numbers; others are put together.
    let (mut single, mut double) = (Vec::new(), Vec::new());
    for field in Fields::new(message) {
        match field? {
            (number @ 1..=4, Wire::Varint(extent)) => {
                if let Some(slot) = usize::try_from(number).ok().and_then(|number| legacy.get_mut(number - 1)) {
                    *slot = Some(extent);
                }
            }
            (5, Wire::Bytes(packed)) => single.push(packed),
            (5, Wire::Fixed32(value)) => single.push(Bytes::copy_from_slice(&value)),
            (8, Wire::Bytes(packed)) => double.push(packed),
            (8, Wire::Fixed64(value)) => double.push(Bytes::copy_from_slice(&value)),
            (7, Wire::Bytes(message)) => shape = Some(dims(message)?),
            _ => {}
        }
    }
    let (element, data) = if double.is_empty() { (ElementType::F32, single) } else { (ElementType::F64, double) };
    let data = match <[Bytes; 1]>::try_from(data) {
        Ok([whole]) => whole,
        Err(parts) => Bytes::from(parts.concat()),
    };
    let shape = match shape {
        Some(shape) => shape,
        None if legacy.iter().all(Option::is_none) => vec![(data.len() / element.width()) as u64],
        // Extents that are not written are 0 by the schema, which no blob with numbers has.
        None => legacy.iter().map(|extent| extent.unwrap_or(0)).collect(),
    };
    let shape = shape.iter().map(|&extent| usize::try_from(extent as i64)).collect::<Result<Vec<_>, _>>();
    View::new(element, shape.map_err(|_| "a negative extent")?, data)
}

/// The extents of a BlobShape: packed or one by one.
fn dims(message: Bytes) -> Result<Vec<u64>, String> {
    let mut dims = Vec::new();
    for field in Fields::new(message) {
        match field? {
            (1, Wire::Varint(extent)) => dims.push(extent),
            (1, Wire::Bytes(packed)) => {
                let mut cursor = Cursor::new(packed);
                while cursor.remaining() > 0 && dims.len() <= MAX_AXES {
                    dims.push(varint(&mut cursor)?);
                }
            }
            _ => {}
        }
        if dims.len() > MAX_AXES {
            return Err(format!("it has more than the {MAX_AXES} axes allowed"));
        }
    }
    Ok(dims)
}

/// `view` without leading axes of extent 1, down to `axes` axes: old Caffe wrote four always.
fn trimmed(view: &View, axes: usize) -> View {
    let surplus = view.shape().len().saturating_sub(axes);
    match view.shape().split_at_checked(surplus) {
        Some((ones, rest)) if ones.iter().all(|&extent| extent == 1) => {
            view.reshaped(rest).unwrap_or_else(|| view.clone())
        }
        _ => view.clone(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
