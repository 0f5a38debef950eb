//! Operators on constants: the shape arithmetic that exporters leave behind, and weights that a file computes.

use super::constant::{Constant, Data, Externals, element_count, filled, floats, permute, read, to_bytes};
use super::error::Refusal;
use super::node::Node;
use crate::onnx::messages::DataType;

/// Most elements that a file may have computed, a little less than four times those of the largest network of the papers.
const MAX_MADE: usize = 1 << 29;

/// What is needed to evaluate nodes.
pub(super) struct Folder<'e> {
    pub(super) externals: &'e mut Externals,
    made: usize,
}

impl<'e> Folder<'e> {
    pub(super) fn new(externals: &'e mut Externals) -> Self {
        Self { externals, made: 0 }
    }

    /// The result of a node whose inputs are all constant. Inputs that are left out are none.
    pub(super) fn evaluate(&mut self, node: Node<'_>, inputs: &[Option<&Constant>]) -> Result<Constant, Refusal> {
        let input = |index: usize| {
            inputs.get(index).copied().flatten().ok_or_else(|| node.damaged(format_args!("input {index} is missing")))
        };
        if matches!(node.op_type(), "Cast" | "Gather" | "Concat" | "Transpose" | "Add" | "Sub" | "Mul" | "Div") {
            let sizes = inputs.iter().flatten().map(|constant| constant.shape.iter().product::<usize>());
            self.charge(node, sizes.fold(0, usize::saturating_add))?;
        }
        match node.op_type() {
            "Constant" => self.constant(node),
            "ConstantOfShape" => self.of_shape(node, input(0)?),
            "Identity" | "Dropout" => input(0).cloned(),
            "Cast" => cast(node, input(0)?),
            "Shape" => Ok(Constant::whole(input(0)?.shape.iter().map(|&extent| extent as i64).collect())),
            "Gather" => gather(node, input(0)?, input(1)?),
            "Slice" => slice(node, inputs),
            "Concat" => concat(node, inputs),
            "Unsqueeze" | "Squeeze" | "Reshape" | "Flatten" => reshaped(node, inputs),
            "Transpose" => transpose(node, input(0)?),
            "Add" | "Sub" | "Mul" | "Div" => arithmetic(node, input(0)?, input(1)?),
            _ => Err(node.unsupported("it is applied to constants, and not evaluated when a file is read")),
        }
    }

    /// Counts numbers before there is memory for them.
    fn charge(&mut self, node: Node<'_>, count: usize) -> Result<(), Refusal> {
        self.made = self.made.saturating_add(count);
        if self.made > MAX_MADE {
            return Err(node.unsupported(format_args!("the file computes more than {MAX_MADE} constants")));
        }
        Ok(())
    }

    fn constant(&mut self, node: Node<'_>) -> Result<Constant, Refusal> {
        if let Some(tensor) = node.attribute("value").and_then(|attribute| attribute.t.as_ref()) {
            return Ok(read(tensor, self.externals)?.0);
        }
        if let Some(attribute) = node.attribute("value_float") {
            return Ok(Constant { shape: vec![], data: Data::F32(to_bytes(attribute.f.into_iter())) });
        }
        if let Some(attribute) = node.attribute("value_floats") {
            let data = Data::F32(to_bytes(attribute.floats.iter().copied()));
            return Ok(Constant { shape: vec![attribute.floats.len()], data });
        }
        if let Some(attribute) = node.attribute("value_int") {
            return Ok(Constant { shape: vec![], data: Data::I64(attribute.i.into_iter().collect()) });
        }
        match node.ints("value_ints") {
            Some(ints) => Ok(Constant::whole(ints.to_vec())),
            None => Err(node.unsupported("it has none of the values that are read: tensors and numbers")),
        }
    }

    fn of_shape(&mut self, node: Node<'_>, shape: &Constant) -> Result<Constant, Refusal> {
        let extents = wholes(node, shape)?.iter().map(|&extent| usize::try_from(extent).ok()).collect();
        let extents: Option<Vec<usize>> = extents;
        let made = extents.as_ref().and_then(|extents| element_count(extents));
        let (Some(shape), Some(count)) = (extents, made) else {
            return Err(node.damaged("its shape is negative or too large"));
        };
        self.charge(node, count)?;
        let value = match node.attribute("value").and_then(|attribute| attribute.t.as_ref()) {
            Some(tensor) => read(tensor, self.externals)?.0.data,
            None => Data::F32(filled(0.0, 1)),
        };
        let data = match value {
            Data::F32(bytes) => Data::F32(filled(floats(&bytes).next().unwrap_or(0.0), count)),
            Data::I64(values) => Data::I64(vec![values.first().copied().unwrap_or(0); count]),
        };
        Ok(Constant { shape, data })
    }
}

fn wholes<'a>(node: Node<'_>, constant: &'a Constant) -> Result<&'a [i64], Refusal> {
    constant.wholes().ok_or_else(|| node.damaged("it has real numbers where whole ones are expected"))
}

fn cast(node: Node<'_>, input: &Constant) -> Result<Constant, Refusal> {
    let to = i32::try_from(node.int("to", 0)).ok().and_then(|kind| DataType::try_from(kind).ok());
    let data = match (to, &input.data) {
        (Some(DataType::Float), _) | (Some(DataType::Double), Data::F32(_)) => match &input.data {
            Data::F32(bytes) => Data::F32(bytes.clone()),
            Data::I64(values) => Data::F32(to_bytes(values.iter().map(|&value| value as f32))),
        },
        (Some(DataType::Int64 | DataType::Int32), Data::I64(values)) => Data::I64(values.clone()),
        (Some(DataType::Int64 | DataType::Int32), Data::F32(bytes)) => {
            Data::I64(floats(bytes).map(|value| value as i64).collect())
        }
        _ => {
            return Err(node.unsupported(format_args!("a cast to type {}, expected Float or Int64", node.int("to", 0))));
        }
    };
    Ok(Constant { shape: input.shape.clone(), data })
}

/// `index` from the front, or from the back when it is negative.
fn place(index: i64, extent: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(extent as i64)? } else { index };
    usize::try_from(index).ok().filter(|&index| index < extent)
}

fn gather(node: Node<'_>, data: &Constant, indices: &Constant) -> Result<Constant, Refusal> {
    let values = wholes(node, data)?;
    if data.shape.len() != 1 || node.int("axis", 0) != 0 {
        return Err(node.unsupported("only elements of a vector are gathered"));
    }
    let picked =
        wholes(node, indices)?.iter().map(|&index| place(index, values.len()).and_then(|i| values.get(i)).copied());
    let picked: Option<Vec<i64>> = picked.collect();
    let data = Data::I64(picked.ok_or_else(|| node.damaged("an index lies outside of its vector"))?);
    Ok(Constant { shape: indices.shape.clone(), data })
}

fn slice(node: Node<'_>, inputs: &[Option<&Constant>]) -> Result<Constant, Refusal> {
    let input = |index: usize| inputs.get(index).copied().flatten();
    let Some(data) = input(0).filter(|data| data.shape.len() == 1) else {
        return Err(node.unsupported("only vectors are sliced"));
    };
    let bound = |index: usize, attribute: &str| {
        let ints = input(index).and_then(Constant::wholes).or_else(|| node.ints(attribute));
        ints.and_then(|ints| ints.first()).copied()
    };
    let values = wholes(node, data)?;
    let step = input(4).and_then(Constant::wholes).and_then(|steps| steps.first().copied()).unwrap_or(1);
    let (Some(start), Some(end), 1) = (bound(1, "starts"), bound(2, "ends"), step) else {
        return Err(node.unsupported("only slices of step 1 with constant bounds are evaluated"));
    };
    let extent = values.len() as i64;
    let clamp = |index: i64| {
        usize::try_from(if index < 0 { index.saturating_add(extent) } else { index }.clamp(0, extent)).unwrap_or(0)
    };
    Ok(Constant::whole(values.get(clamp(start)..clamp(end)).unwrap_or_default().to_vec()))
}

fn concat(node: Node<'_>, inputs: &[Option<&Constant>]) -> Result<Constant, Refusal> {
    let mut all = Vec::new();
    for constant in inputs.iter().copied().flatten() {
        if constant.shape.len() != 1 {
            return Err(node.unsupported("only vectors are concatenated"));
        }
        all.extend_from_slice(wholes(node, constant)?);
    }
    Ok(Constant::whole(all))
}

/// The same elements under other extents.
fn reshaped(node: Node<'_>, inputs: &[Option<&Constant>]) -> Result<Constant, Refusal> {
    let input = |index: usize| inputs.get(index).copied().flatten();
    let data = input(0).ok_or_else(|| node.damaged("input 0 is missing"))?;
    let count: usize = data.shape.iter().product();
    let given = input(1).and_then(Constant::wholes).or_else(|| node.ints("axes"));
    let rank = data.shape.len();
    let shape = match (node.op_type(), given) {
        ("Reshape", Some(target)) => {
            let known = target.iter().enumerate().map(|(axis, &extent)| match extent {
                0 => data.shape.get(axis).copied(),
                -1 => Some(1),
                extent => usize::try_from(extent).ok(),
            });
            let known: Option<Vec<usize>> = known.collect();
            let known = known.ok_or_else(|| node.damaged(format_args!("it has the target shape {target:?}")))?;
            let rest = element_count(&known).and_then(|product| count.checked_div(product)).unwrap_or(0);
            known.into_iter().zip(target).map(|(known, &extent)| if extent == -1 { rest } else { known }).collect()
        }
        ("Unsqueeze", Some(axes)) => {
            let places: Option<Vec<usize>> = axes.iter().map(|&axis| place(axis, rank + axes.len())).collect();
            let places = places.ok_or_else(|| node.damaged(format_args!("its axes are {axes:?}")))?;
            let mut old = data.shape.iter();
            (0..rank + axes.len())
                .filter_map(|axis| if places.contains(&axis) { Some(1) } else { old.next().copied() })
                .collect()
        }
        ("Squeeze", axes) => {
            let gone = |axis: usize| axes.is_none_or(|axes| axes.iter().any(|&a| place(a, rank) == Some(axis)));
            let kept = data.shape.iter().enumerate().filter(|&(axis, &extent)| !(gone(axis) && extent == 1));
            kept.map(|(_, &extent)| extent).collect()
        }
        _ => return Err(node.unsupported("it is applied to constants, without a constant shape")),
    };
    let shape: Vec<usize> = shape;
    if element_count(&shape) != Some(count) {
        return Err(node.damaged(format_args!("{:?} cannot become {shape:?}", data.shape)));
    }
    Ok(Constant { shape, data: data.data.clone() })
}

fn transpose(node: Node<'_>, input: &Constant) -> Result<Constant, Refusal> {
    let rank = input.shape.len();
    let order: Vec<usize> = match node.ints("perm") {
        Some(perm) => perm.iter().map(|&axis| place(axis, rank).unwrap_or(rank)).collect(),
        None => (0..rank).rev().collect(),
    };
    let moved = input.reals().and_then(|data| permute(data, &input.shape, &order));
    let data = moved.ok_or_else(|| node.damaged(format_args!("axes {order:?} of {:?}", input.shape)))?;
    let shape = order.iter().filter_map(|&axis| input.shape.get(axis).copied()).collect();
    Ok(Constant { shape, data: Data::F32(data) })
}

/// Element by element, between equal shapes or with one number.
fn arithmetic(node: Node<'_>, a: &Constant, b: &Constant) -> Result<Constant, Refusal> {
    let (counts, op) = ((a.shape.iter().product::<usize>(), b.shape.iter().product::<usize>()), node.op_type());
    let shape = match counts {
        _ if a.shape == b.shape => a.shape.clone(),
        (_, 1) if b.shape.len() <= a.shape.len() => a.shape.clone(),
        (1, _) if a.shape.len() <= b.shape.len() => b.shape.clone(),
        _ => return Err(node.unsupported(format_args!("constants of the shapes {:?} and {:?}", a.shape, b.shape))),
    };
    let count: usize = shape.iter().product();
    let data = match (&a.data, &b.data) {
        (Data::I64(a), Data::I64(b)) => {
            let pairs = a.iter().cycle().zip(b.iter().cycle()).take(count);
            let values = pairs.map(|(&a, &b)| match op {
                "Add" => a.checked_add(b),
                "Sub" => a.checked_sub(b),
                "Mul" => a.checked_mul(b),
                _ => a.checked_div(b),
            });
            let values: Option<Vec<i64>> = values.collect();
            Data::I64(values.ok_or_else(|| node.damaged("its result is too large, or divided by zero"))?)
        }
        (Data::F32(a), Data::F32(b)) => {
            let (a, b) = (a.as_chunks::<4>().0.iter().cycle(), b.as_chunks::<4>().0.iter().cycle());
            let pairs = a.zip(b).take(count).map(|(&a, &b)| (f32::from_le_bytes(a), f32::from_le_bytes(b)));
            Data::F32(to_bytes(pairs.map(|(a, b)| match op {
                "Add" => a + b,
                "Sub" => a - b,
                "Mul" => a * b,
                _ => a / b,
            })))
        }
        _ => return Err(node.damaged("it mixes real and whole numbers")),
    };
    Ok(Constant { shape, data })
}
