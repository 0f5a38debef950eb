//! Operators on constants: the shape arithmetic that exporters leave behind, and weights that a file computes.

mod arithmetic;
mod axes;
mod dequantize;

pub(super) use axes::{order, places, sliced};

use half::{bf16, f16};

use super::constant::{Constant, Data, element_count, filled, floats, to_bytes};
use super::error::Refusal;
use super::external::Externals;
use super::net::OPEN;
use super::node::Node;
use super::tensor::read;
use crate::onnx::messages::DataType;

/// Most elements that a file may have computed, a little less than four times those of the largest network of the papers.
const MAX_MADE: usize = 1 << 29;

/// Most whole numbers that a file may have copied: shapes have a few.
const MAX_COPIED: usize = 1 << 24;

/// What is needed to evaluate nodes.
pub(super) struct Folder<'e> {
    pub(super) externals: &'e mut Externals,
    made: usize,
    copied: usize,
}

impl<'e> Folder<'e> {
    pub(super) fn new(externals: &'e mut Externals) -> Self {
        Self { externals, made: 0, copied: 0 }
    }

    /// The result of a node whose inputs are all constant. Inputs that are left out are none.
    pub(super) fn evaluate(&mut self, node: Node<'_>, inputs: &[Option<&Constant>]) -> Result<Constant, Refusal> {
        let input = |index: usize| {
            inputs.get(index).copied().flatten().ok_or_else(|| node.damaged(format_args!("input {index} is missing")))
        };
        let result = match node.op_type() {
            "Constant" => return self.constant(node),
            "ConstantOfShape" => return self.of_shape(node, input(0)?),
            "Identity" => {
                self.charge_copy(node, input(0)?)?;
                return input(0).cloned();
            }
            "Dropout" => {
                node.not_training()?;
                let mode = inputs.get(2).copied().flatten();
                if mode.is_some_and(|mode| mode.wholes().is_none_or(|mode| mode != [0])) {
                    return Err(node.unsupported("training_mode is true, expected false"));
                }
                self.charge_copy(node, input(0)?)?;
                return input(0).cloned();
            }
            "Shape" => return shape_of(node, &input(0)?.shape),
            "Size" => Constant { shape: vec![], data: Data::I64(vec![whole(input(0)?.len())]) },
            "Unsqueeze" | "Squeeze" | "Reshape" | "Flatten" => {
                let data = input(0)?;
                let given = inputs.get(1).copied().flatten().map(|given| wholes(node, given)).transpose()?;
                let shape = axes::target(node, &data.shape, given.or_else(|| node.ints("axes")))?;
                self.charge_copy(node, data)?;
                return Ok(data.with_shape(shape));
            }
            "Cast" => {
                self.charge(node, input(0)?.len())?;
                cast(node, input(0)?)?
            }
            "DequantizeLinear" => {
                self.charge(node, input(0)?.len())?;
                dequantize::dequantize(node, input(0)?, input(1)?, inputs.get(2).copied().flatten())?
            }
            "Gather" => axes::gather(node, input(0)?, input(1)?, &mut |count| self.charge(node, count))?,
            "GatherND" => axes::gather_nd(node, input(0)?, input(1)?, &mut |count| self.charge(node, count))?,
            "Slice" => {
                self.charge(node, input(0)?.len())?;
                axes::slice(node, inputs)?
            }
            "Concat" => {
                let all: Vec<&Constant> = inputs.iter().copied().flatten().collect();
                self.charge(node, all.iter().map(|constant| constant.len()).fold(0, usize::saturating_add))?;
                axes::concat(node, &all)?
            }
            "Transpose" => {
                self.charge(node, input(0)?.len())?;
                axes::transpose(node, input(0)?)?
            }
            "Expand" => axes::expand(node, input(0)?, wholes(node, input(1)?)?, &mut |count| self.charge(node, count))?,
            "Add" | "Sub" | "Mul" | "Div" | "Equal" => {
                arithmetic::binary(node, input(0)?, input(1)?, &mut |count| self.charge(node, count))?
            }
            // Of any number of tensors.
            "Min" | "Max" => {
                self.charge_copy(node, input(0)?)?;
                let mut result = input(0)?.clone();
                for index in 1..inputs.len() {
                    result = arithmetic::binary(node, &result, input(index)?, &mut |count| self.charge(node, count))?;
                }
                result
            }
            "Where" => {
                arithmetic::choose(node, [input(0)?, input(1)?, input(2)?], &mut |count| self.charge(node, count))?
            }
            "Neg" | "Floor" | "Ceil" | "Sqrt" => {
                self.charge(node, input(0)?.len())?;
                arithmetic::unary(node, input(0)?)?
            }
            "ReduceProd" | "ReduceMax" => {
                self.charge(node, input(0)?.len())?;
                arithmetic::reduced(node, input(0)?, inputs.get(1).copied().flatten())?
            }
            _ => return Err(node.unsupported("it is applied to constants, and not evaluated when a file is read")),
        };
        Ok(result)
    }

    /// Counts a constant that is copied: real numbers are shared.
    fn charge_copy(&mut self, node: Node<'_>, constant: &Constant) -> Result<(), Refusal> {
        self.copied = self.copied.saturating_add(constant.wholes().map_or(0, <[i64]>::len));
        if self.copied > MAX_COPIED {
            return Err(node.unsupported(format_args!("the file copies more than {MAX_COPIED} whole numbers")));
        }
        Ok(())
    }

    /// Counts numbers before there is memory for them.
    pub(super) fn charge(&mut self, node: Node<'_>, count: usize) -> Result<(), Refusal> {
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
            return Ok(Constant::real(vec![attribute.floats.len()], attribute.floats.iter().copied()));
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

/// The extents of a tensor, or those from `start` to `end`.
pub(super) fn shape_of(node: Node<'_>, shape: &[usize]) -> Result<Constant, Refusal> {
    let rank = whole(shape.len());
    let bound = |name: &str, default: i64| {
        let given = node.int(name, default);
        let from_front = if given < 0 { given.saturating_add(rank) } else { given };
        usize::try_from(from_front.clamp(0, rank)).unwrap_or(0)
    };
    let extents = shape.get(bound("start", 0)..bound("end", rank)).unwrap_or_default();
    Ok(Constant::whole(extents.iter().map(|&extent| whole(extent)).collect()))
}

/// The shape that Reshape, Flatten, Squeeze or Unsqueeze makes of `shape`.
pub(super) fn reshaped(node: Node<'_>, shape: &[usize], given: Option<&[i64]>) -> Result<Vec<usize>, Refusal> {
    axes::target(node, shape, given)
}

/// An extent as ONNX counts. Nothing that is held in memory has more than 2^63 elements.
pub(super) fn whole(extent: usize) -> i64 {
    i64::try_from(extent).unwrap_or(i64::MAX)
}

fn wholes<'a>(node: Node<'_>, constant: &'a Constant) -> Result<&'a [i64], Refusal> {
    constant.wholes().ok_or_else(|| node.damaged("it has real numbers where whole ones are expected"))
}

fn cast(node: Node<'_>, input: &Constant) -> Result<Constant, Refusal> {
    let to = i32::try_from(node.int("to", 0)).ok().and_then(|kind| DataType::try_from(kind).ok());
    let refuse = || node.unsupported(format_args!("a cast to type {}, expected Float or Int64", node.int("to", 0)));
    let to = to.ok_or_else(refuse)?;
    let data = match (to, &input.data) {
        (_, Data::I64(values)) if values.iter().any(|&value| value != 0 && value % whole(OPEN) == 0) && is_real(to) => {
            return Err(node.unsupported("it makes a real number of the batch, which is open, expected a fixed batch"));
        }
        (DataType::Float | DataType::Double, Data::F32(bytes)) => Data::F32(bytes.clone()),
        (DataType::Float16, Data::F32(bytes)) => Data::F32(to_bytes(floats(bytes).map(nearest_f16))),
        (DataType::Float16, Data::I64(values)) => {
            Data::F32(to_bytes(values.iter().map(|&value| nearest_f16(value as f32))))
        }
        (DataType::Bfloat16, Data::F32(bytes)) => Data::F32(to_bytes(floats(bytes).map(nearest_bf16))),
        (DataType::Float | DataType::Double, Data::I64(values)) => {
            Data::F32(to_bytes(values.iter().map(|&value| value as f32)))
        }
        (DataType::Int64 | DataType::Int32, Data::I64(values)) => Data::I64(values.clone()),
        (DataType::Int64 | DataType::Int32, Data::F32(bytes)) => {
            Data::I64(floats(bytes).map(|value| value as i64).collect())
        }
        (DataType::Bool, Data::I64(values)) => Data::I64(values.iter().map(|&value| i64::from(value != 0)).collect()),
        (DataType::Bool, Data::F32(bytes)) => Data::I64(floats(bytes).map(|value| i64::from(value != 0.0)).collect()),
        _ => return Err(refuse()),
    };
    Ok(Constant { shape: input.shape.clone(), data })
}

fn is_real(kind: DataType) -> bool {
    matches!(kind, DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16)
}

/// The nearest number of half precision.
fn nearest_f16(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

/// The nearest number of eight bits.
fn nearest_bf16(value: f32) -> f32 {
    bf16::from_f32(value).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_round_to_the_nearest() {
        assert_eq!([1.0005, 65519.0, 70000.0].map(nearest_f16), [1.000_976_6, 65504.0, f32::INFINITY]);
        // A tie goes to the even one.
        assert_eq!([1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0].map(nearest_bf16), [1.0, 1.0 + 4.0 / 256.0]);
        assert!(nearest_f16(f32::NAN).is_nan() && nearest_bf16(f32::NAN).is_nan());
    }
}
