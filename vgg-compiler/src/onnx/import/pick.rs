//! Nodes that take elements of an activation: parts of it, the same in another order, or all but some.

use super::affine::{Affine, MAX_NUMBERS};
use super::constant::{Constant, element_count, floats, place};
use super::error::Refusal;
use super::fold::{places, sliced};
use super::net::{OPEN, Op};
use super::operator::{Made, Operand, Reading};

impl Reading<'_> {
    /// Of one axis a part, or all of it backwards.
    pub(super) fn slice(&self) -> Result<Made, Refusal> {
        let node = self.node;
        let shape = self.activation()?;
        let slice = sliced(node, shape, [self.list(1)?, self.list(2)?, self.list(3)?, self.list(4)?])?;
        let mut changed = (0..shape.len()).filter(|&axis| {
            slice.shape.get(axis) != shape.get(axis) || slice.steps.get(axis).is_some_and(|&by| by < 0)
        });
        let Some(axis) = changed.next() else { return self.unary(Op::Identity("Slice")) };
        if changed.next().is_some() || axis == 0 {
            return Err(node.unsupported("it takes a part of an activation along several axes or of the batch"));
        }
        let at = |values: &[usize]| values.get(axis).copied().unwrap_or(0);
        let step = slice.steps.get(axis).copied().unwrap_or(1);
        let (mut index, mut indices) = (at(&slice.starts), Vec::with_capacity(at(&slice.shape).min(MAX_NUMBERS)));
        for _ in 0..at(&slice.shape).min(MAX_NUMBERS) {
            indices.push(index);
            index = index.saturating_add_signed(step);
        }
        let count = indices.len();
        self.picked("Slice", axis..axis + 1, indices, vec![count])
    }

    /// Of one axis the elements at given places.
    pub(super) fn gather(&self) -> Result<Made, Refusal> {
        let node = self.node;
        let shape = self.activation()?;
        let axis = self.axis("axis", 0, shape.len())?;
        let indices = self.constant(1)?;
        let extent = shape.get(axis).copied().unwrap_or(0);
        let given = indices.wholes().ok_or_else(|| node.damaged("its indices are not whole numbers"))?;
        let found: Option<Vec<usize>> = given.iter().map(|&index| place(index, extent)).collect();
        let found = found.ok_or_else(|| node.damaged("an index lies outside of its data"))?;
        self.picked("Gather", axis..axis + 1, found, indices.shape.clone())
    }

    /// Of the first axes the elements at given places.
    pub(super) fn gather_nd(&self) -> Result<Made, Refusal> {
        let indices = self.constant(1)?;
        let (found, shape, depth) = places(self.node, self.activation()?, indices)?;
        self.picked("GatherND", 0..depth, found, shape)
    }

    /// What `op` takes: the elements at `indices` of `axes`, with the extents `shape` in their place.
    fn picked(
        &self,
        op: &'static str,
        axes: std::ops::Range<usize>,
        indices: Vec<usize>,
        shape: Vec<usize>,
    ) -> Result<Made, Refusal> {
        let node = self.node;
        let own = self.activation()?;
        let (Some(before), Some(these), Some(behind)) =
            (own.get(..axes.start), own.get(axes.clone()), own.get(axes.end..))
        else {
            return Err(node.damaged("its axes are none of its input's"));
        };
        if these.contains(&OPEN) {
            return Err(node.unsupported("it takes some images of a batch, expected all"));
        }
        let made: Vec<usize> = before.iter().chain(&shape).chain(behind).copied().collect();
        if indices.is_empty() || made.contains(&0) {
            return Err(node.unsupported("it takes nothing of an activation"));
        }
        Ok((Op::Gather { op, axes, indices, shape }, made))
    }

    /// One number in place of some elements, which are the same in every image.
    pub(super) fn masked(&self) -> Result<Made, Refusal> {
        let node = self.node;
        let expected = "it chooses between activations, expected an activation and one number";
        let (shape, number, kept) = match (self.operand(1), self.operand(2)) {
            (Operand::Constant(number), Operand::Activation(shape)) => (shape, number, false),
            (Operand::Activation(shape), Operand::Constant(number)) => (shape, number, true),
            _ => return Err(node.unsupported(expected)),
        };
        let number = number.reals().filter(|data| data.len() == 4).and_then(|data| floats(data).next());
        let number = f64::from(number.ok_or_else(|| node.unsupported(expected))?);
        let image: Vec<usize> = std::iter::once(1).chain(shape.iter().skip(1).copied()).collect();
        let condition = self.constant(0)?;
        let all = element_count(&image).filter(|&count| count <= MAX_NUMBERS).and_then(|_| condition.broadcast(&image));
        let Some(chosen) = all.as_ref().and_then(Constant::wholes) else {
            let problem = format!("its condition has the shape {:?}, expected one for each element", condition.shape);
            return Err(node.unsupported(problem));
        };
        let stays = || chosen.iter().map(|&chosen| (chosen != 0) == kept);
        let scale = stays().map(|stays| f64::from(u8::from(stays))).collect();
        let shift = stays().map(|stays| if stays { 0.0 } else { number }).collect();
        self.affine(Affine { op: "Where", axis: None, scale, shift })
    }

    /// The largest pixel of each channel.
    pub(super) fn largest(&self) -> Result<Made, Refusal> {
        let [n, c, ..] = self.image()?;
        let (axes, keep) = self.reduced()?;
        if axes != [2, 3] {
            let problem = format!("it takes the largest over the axes {axes:?}, expected rows and columns");
            return Err(self.node.unsupported(problem + " of [N, C, H, W]"));
        }
        Ok((Op::GlobalMaxPool, if keep { vec![n, c, 1, 1] } else { vec![n, c] }))
    }
}
