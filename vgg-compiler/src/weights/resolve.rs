//! Tensors by key against the parameters of a network.

use std::collections::{BTreeMap, BTreeSet};
use std::{mem, thread};

use bytes::Bytes;

use super::error::WeightsError;
use super::round;
use super::tensors::{Tensor, Tensors, values};
use crate::ir::{FoldedRole, Graph, Node, Op, Param, ParamId, ParamSource, Precision, TypedGraph};
use crate::preprocess::MEAN_KEY;
use crate::suggest::nearest_key;

/// The numbers of every parameter of one graph, checked: of the right length and finite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights {
    params: Vec<Bytes>,
}

impl Weights {
    /// Matches `tensors` with the parameters of `graph`. `origin` is the name of the file, for messages.
    ///
    /// Stored parameters share the memory of `tensors`; those with a batch normalisation folded in are computed in f64
    /// and rounded once; so are weights that the graph wants in fewer bytes. A file that has no batch normalisation at all but every parameter of the folded graph holds
    /// folded weights, and is taken as it is. PyTorch's counters `*.num_batches_tracked` are passed over. Every problem
    /// is reported.
    pub fn resolve(graph: &TypedGraph, tensors: Tensors, origin: &str) -> Result<Self, Vec<WeightsError>> {
        let mut errors = Vec::new();
        let expected = expected(graph, &tensors, origin, &mut errors);
        let stored = matched(&expected, &tensors, origin, &mut errors);
        variances(graph, &stored, origin, &mut errors);
        if errors.is_empty() {
            affine(graph, &stored, origin, &mut errors);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut params = Vec::with_capacity(graph.params.len());
        for param in &graph.params {
            let found = stored.get(param.key.as_str());
            params.push(match (found, &param.source) {
                (Some(tensor), ParamSource::Rounded(precision)) => rounded(param, tensor, *precision, origin)
                    .unwrap_or_else(|error| {
                        errors.push(error);
                        Bytes::new()
                    }),
                (_, ParamSource::RowScales { weight }) => {
                    let scales =
                        stored.get(weight.key.as_str()).map(|weight| round::row_scales(&weight.data, param.len()));
                    scales.into_iter().flatten().flat_map(f32::to_le_bytes).collect()
                }
                (Some(tensor), source) if expected.folded || *source == ParamSource::Stored => tensor.data.clone(),
                (_, ParamSource::Stored | ParamSource::Rounded(_)) => Bytes::new(),
                (_, ParamSource::FoldedBatchNorm { role, conv, batch_norm, epsilon }) => {
                    let fold = Fold { origin, param, conv, batch_norm, epsilon: *epsilon };
                    fold.compute(*role, &stored).unwrap_or_else(|error| {
                        errors.push(error);
                        Bytes::new()
                    })
                }
            });
        }
        if errors.is_empty() { Ok(Self { params }) } else { Err(errors) }
    }

    /// Takes `params`, the numbers of every parameter of `graph`, of the right lengths, once they are known to be finite.
    pub(super) fn checked(graph: &Graph, params: Vec<Bytes>, origin: &str) -> Result<Self, Vec<WeightsError>> {
        let tensors = graph.params.iter().zip(&params);
        let errors: Vec<WeightsError> = tensors
            .filter_map(|(param, data)| {
                let (first, value) = first_not_finite(data, param.precision())?;
                let count =
                    round::decode(data, param.precision(), &[]).iter().filter(|value| !value.is_finite()).count();
                Some(not_finite(param, first, value, count, origin))
            })
            .collect();
        if errors.is_empty() { Ok(Self { params }) } else { Err(errors) }
    }

    /// The numbers of a parameter, little-endian as its precision has them, in C order.
    ///
    /// # Panics
    ///
    /// When the graph for which the weights were resolved has no such parameter.
    pub fn get(&self, param: ParamId) -> &Bytes {
        &self.params[param.0]
    }

    /// Gives the numbers of a parameter away; an empty tensor takes their place.
    ///
    /// # Panics
    ///
    /// As [`Weights::get`].
    pub fn take(&mut self, param: ParamId) -> Bytes {
        mem::take(&mut self.params[param.0])
    }

    /// The numbers of the parameter `index` of `node`, a node of the graph for which the weights were resolved.
    ///
    /// # Panics
    ///
    /// When `graph` is another, or has no such parameter.
    pub fn numbers(&self, graph: &Graph, node: &Node, index: usize) -> Vec<f32> {
        let id = node.params[index];
        let precision = graph.params[id.0].precision();
        let scales = node.params.last().filter(|_| precision == Precision::Int8);
        round::decode(self.get(id), precision, scales.map_or(&[], |&scales| self.get(scales)))
    }

    /// The same numbers in the memory that `share` gives.
    #[must_use]
    pub fn moved(self, share: impl FnMut(Bytes) -> Bytes) -> Self {
        Self { params: self.params.into_iter().map(share).collect() }
    }

    /// The tensors in the order of [`ParamId`].
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.params.iter()
    }

    /// Bytes of all tensors.
    pub fn total_bytes(&self) -> u64 {
        self.params.iter().map(|data| data.len() as u64).sum()
    }

    /// Whether there is a tensor of the right length for every parameter of `graph`.
    pub fn fit(&self, graph: &Graph) -> bool {
        self.params.len() == graph.params.len()
            && self.params.iter().zip(&graph.params).all(|(data, param)| data.len() == param.bytes())
    }
}

/// The tensors that a file must hold.
struct Expected<'a> {
    params: Vec<&'a Param>,
    /// Whether they are those after folding.
    folded: bool,
}

/// The parameters of `graph` itself that come from a file.
fn own(graph: &Graph) -> impl Iterator<Item = &Param> {
    graph.params.iter().filter(|param| !matches!(param.source, ParamSource::RowScales { .. }))
}

/// Decides between the parameters as declared and the folded ones, and reports files that are neither.
fn expected<'a>(graph: &'a Graph, tensors: &Tensors, origin: &str, errors: &mut Vec<WeightsError>) -> Expected<'a> {
    let mut present = None;
    let mut absent: Vec<(&Param, &[Box<Param>; 4])> = Vec::new();
    for param in &graph.params {
        let ParamSource::FoldedBatchNorm { role: FoldedRole::Weight, conv: [weight, _], batch_norm, .. } =
            &param.source
        else {
            continue;
        };
        if batch_norm.iter().any(|param| tensors.contains_key(&param.key)) {
            present.get_or_insert(weight);
        } else {
            absent.push((weight, batch_norm));
        }
    }
    let folded = present.is_none() && !absent.is_empty() && own(graph).all(|param| tensors.contains_key(&param.key));
    let mut params = if folded { own(graph).collect() } else { graph.stored_params() };
    if let Some(present) = present.filter(|_| !absent.is_empty()) {
        errors.push(WeightsError::Mixed {
            origin: origin.into(),
            present: present.key.clone(),
            absent: absent.iter().map(|(weight, _)| weight.key.clone()).collect(),
        });
        let reported: BTreeSet<&str> =
            absent.iter().flat_map(|(_, params)| params.iter()).map(|param| param.key.as_str()).collect();
        params.retain(|param| !reported.contains(param.key.as_str()));
    }
    Expected { params, folded }
}

/// The expected tensors among those of the file. Missing, surplus and unusable ones are reported.
fn matched<'a>(
    expected: &Expected<'a>,
    tensors: &'a Tensors,
    origin: &str,
    errors: &mut Vec<WeightsError>,
) -> BTreeMap<&'a str, &'a Tensor> {
    let known: BTreeSet<&str> = expected.params.iter().map(|param| param.key.as_str()).collect();
    let extra: Vec<&str> = tensors
        .keys()
        .map(String::as_str)
        .filter(|key| !known.contains(key) && !key.ends_with(".num_batches_tracked") && *key != MEAN_KEY)
        .collect();
    let mut stored = BTreeMap::new();
    for param in &expected.params {
        match tensors.get(&param.key) {
            Some(tensor) => {
                errors.extend(unusable(param, tensor, origin));
                stored.insert(param.key.as_str(), tensor);
            }
            None => errors.push(WeightsError::Missing {
                origin: origin.into(),
                key: param.key.clone(),
                expected: param.shape.clone(),
                closest: nearest_key(&param.key, extra.iter().copied()).map(str::to_owned),
            }),
        }
    }
    if !extra.is_empty() {
        errors
            .push(WeightsError::Extra { origin: origin.into(), keys: extra.into_iter().map(str::to_owned).collect() });
    }
    stored
}

/// Why a tensor cannot be a parameter.
fn unusable(param: &Param, tensor: &Tensor, origin: &str) -> Option<WeightsError> {
    let (origin, key) = (origin.to_owned(), param.key.clone());
    if tensor.shape != param.shape {
        let (arrived, expected) = (tensor.shape.clone(), param.shape.clone());
        return Some(WeightsError::Shape { origin, key, arrived, expected });
    }
    if tensor.data.len() != 4 * param.len() {
        return Some(WeightsError::Length { origin, key, arrived: tensor.data.len(), expected: 4 * param.len() });
    }
    let (first, value) = first_not_finite(&tensor.data, Precision::F32)?;
    let count = tensor.values().filter(|value| !value.is_finite()).count();
    Some(not_finite(param, first, value, count, &origin))
}

fn not_finite(param: &Param, first: usize, value: f32, count: usize, origin: &str) -> WeightsError {
    let (origin, key) = (origin.to_owned(), param.key.clone());
    WeightsError::NotFinite { origin, key, index: index(&param.shape, first), value, count, of: param.len() }
}

/// The numbers of a stored tensor in the precision that the graph wants.
fn rounded(param: &Param, tensor: &Tensor, precision: Precision, origin: &str) -> Result<Bytes, WeightsError> {
    match precision {
        Precision::F32 => Ok(tensor.data.clone()),
        Precision::F16 | Precision::Bf16 => round::to_halves(&tensor.data, precision).map_err(|first| {
            let value = tensor.values().nth(first).unwrap_or_default();
            let (origin, key) = (origin.to_owned(), param.key.clone());
            WeightsError::Range { origin, key, index: index(&param.shape, first), value, precision }
        }),
        Precision::Int8 => {
            let scales = round::row_scales(&tensor.data, param.shape.first().copied().unwrap_or_default());
            Ok(round::to_int8(&tensor.data, &scales))
        }
    }
}

/// Reports variances that batch normalisation cannot divide by.
fn variances(graph: &Graph, stored: &BTreeMap<&str, &Tensor>, origin: &str, errors: &mut Vec<WeightsError>) {
    let normalisations = graph.nodes.iter().filter_map(|node| {
        let params = || node.params.iter().map(|id| &graph.params[id.0]);
        match node.op {
            Op::BatchNormalization { epsilon } => params().next_back().map(|variance| (variance, epsilon)),
            _ => params().find_map(|param| match &param.source {
                ParamSource::FoldedBatchNorm { batch_norm: [.., variance], epsilon, .. } => {
                    Some((&**variance, *epsilon))
                }
                _ => None,
            }),
        }
    });
    for (param, epsilon) in normalisations {
        let Some(tensor) = stored.get(param.key.as_str()) else { continue };
        if let Some((index, value)) =
            tensor.values().enumerate().find(|(_, value)| f64::from(*value) + f64::from(epsilon) <= 0.0)
        {
            let (origin, key) = (origin.to_owned(), param.key.clone());
            errors.push(WeightsError::Variance { origin, key, index, value, epsilon });
        }
    }
}

/// Reports what batch normalisations that are not folded make infinite.
fn affine(graph: &Graph, stored: &BTreeMap<&str, &Tensor>, origin: &str, errors: &mut Vec<WeightsError>) {
    for node in &graph.nodes {
        let Op::BatchNormalization { epsilon } = node.op else { continue };
        let tensors: Vec<&Tensor> =
            node.params.iter().filter_map(|id| stored.get(graph.params[id.0].key.as_str()).copied()).collect();
        let [scale, shift, mean, variance] = tensors[..] else { continue };
        let statistics = scale.values().zip(shift.values()).zip(mean.values()).zip(variance.values());
        let computed = statistics.map(|(((scale, shift), mean), variance)| {
            let factor = f64::from(scale) / (f64::from(variance) + f64::from(epsilon)).sqrt();
            [("factor", factor as f32), ("summand", (f64::from(shift) - f64::from(mean) * factor) as f32)]
        });
        let infinite = computed.enumerate().find_map(|(index, values)| {
            values.into_iter().find(|(_, value)| !value.is_finite()).map(|(what, value)| (index, what, value))
        });
        if let (Some((index, what, value)), Some(&id)) = (infinite, node.params.first()) {
            let (origin, key) = (origin.to_owned(), graph.params[id.0].key.clone());
            errors.push(WeightsError::Affine { origin, key, what, index, value });
        }
    }
}

/// Bytes that are looked at together.
const RUN: usize = 1 << 16;

/// The place and the value of the first element that is not finite.
fn first_not_finite(data: &[u8], precision: Precision) -> Option<(usize, f32)> {
    let finite = |run: &[u8]| round::all_finite(run, precision);
    let broken = |part: &[u8]| !part.chunks(RUN).all(finite);
    let threads = thread::available_parallelism().map_or(1, |count| count.get()).min(1 + data.len() / (32 * RUN));
    let mut parts = data.chunks(data.len().div_ceil(threads).next_multiple_of(RUN).max(RUN));
    let own = parts.next().unwrap_or_default();
    let any = thread::scope(|scope| {
        let others: Vec<_> = parts.map(|part| scope.spawn(move || broken(part))).collect();
        // A thread that could not look counts as if it had found something: the search below tells.
        broken(own) | others.into_iter().fold(false, |any, other| any | other.join().unwrap_or(true))
    });
    if !any {
        return None;
    }
    round::decode(data, precision, &[]).into_iter().enumerate().find(|(_, value)| !value.is_finite())
}

/// The index of the element at `position` in C order.
fn index(shape: &[usize], mut position: usize) -> Vec<usize> {
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&extent| {
            let within = position % extent.max(1);
            position /= extent.max(1);
            within
        })
        .collect();
    index.reverse();
    index
}

/// A convolution's parameter with the batch normalisation behind it folded in.
struct Fold<'a> {
    origin: &'a str,
    param: &'a Param,
    conv: &'a [Box<Param>; 2],
    batch_norm: &'a [Box<Param>; 4],
    epsilon: f32,
}

impl Fold<'_> {
    /// `w * scale / sqrt(var + epsilon)`, or `(b - mean) * scale / sqrt(var + epsilon) + shift`.
    fn compute(&self, role: FoldedRole, stored: &BTreeMap<&str, &Tensor>) -> Result<Bytes, WeightsError> {
        let column = |param: &Param| -> Vec<f64> {
            stored.get(param.key.as_str()).into_iter().flat_map(|tensor| tensor.values()).map(f64::from).collect()
        };
        let [weight, bias] = self.conv;
        let [scale, shift, mean, variance] = self.batch_norm.each_ref().map(|param| column(param));
        let deviations = variance.iter().map(|variance| (variance + f64::from(self.epsilon)).sqrt());
        let factors = scale.iter().zip(deviations).map(|(scale, deviation)| scale / deviation);
        let mut out = Vec::with_capacity(4 * self.param.len());
        match role {
            FoldedRole::Weight => {
                let data = stored.get(weight.key.as_str()).map_or(&[][..], |tensor| &tensor.data);
                let per_channel = 4 * weight.shape.iter().skip(1).product::<usize>();
                for (filter, factor) in data.chunks(per_channel.max(1)).zip(factors) {
                    out.extend(values(filter).flat_map(|w| ((f64::from(w) * factor) as f32).to_le_bytes()));
                }
            }
            FoldedRole::Bias => {
                let columns = column(bias).into_iter().zip(mean).zip(factors).zip(shift);
                out.extend(
                    columns
                        .flat_map(|(((b, mean), factor), shift)| (((b - mean) * factor + shift) as f32).to_le_bytes()),
                );
            }
        }
        match first_not_finite(&out, Precision::F32) {
            None => Ok(out.into()),
            Some((first, value)) => Err(WeightsError::Folded {
                origin: self.origin.into(),
                key: self.param.key.clone(),
                batch_norm: self.batch_norm[0].key.clone(),
                index: index(&self.param.shape, first),
                value,
            }),
        }
    }
}
