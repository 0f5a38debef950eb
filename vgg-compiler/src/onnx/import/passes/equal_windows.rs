//! Picked pixels whose means are those of an average pool: adaptive pooling of 8x8 to 7x7 is one of 2x2 windows, one pixel apart.

use super::map::Map;
use crate::ir::Pool;
use crate::onnx::import::net::{Net, Op, ValueId};

/// An average pool in place of what makes `value`, when `map` says that it is one, and the extents of `value` behind it.
pub(super) fn as_pool(net: &mut Net, value: ValueId, map: &Map) -> Option<()> {
    let &[batch, channels, height, width] = net.shape(map.base) else { return None };
    let count = map.rows.len();
    let pixels = count.checked_div(channels).filter(|pixels| pixels * channels == count)?;
    // Of a vector only the number of pixels is known.
    let (made, pool) = (1..=pixels.min(height)).filter(|rows| pixels.is_multiple_of(*rows)).find_map(|rows| {
        let made = [rows, pixels / rows];
        Some((made, window(map, [height, width], made).filter(|_| made != [height, width])?))
    })?;
    let shape = vec![batch, channels, made[0], made[1]];
    let target = net.shape(value).to_vec();
    let mut ops = vec![(Op::AveragePool { pool, count_include_pad: false }, shape.clone())];
    if target != shape {
        ops.push((Op::Reshape, target));
    }
    net.put_in_place(value, map.base, ops)
}

/// The window whose means over images of the extents `from` make all rows of `map`, which are channels of the extents `made`.
fn window(map: &Map, from: [usize; 2], made: [usize; 2]) -> Option<Pool> {
    let [height, width] = from;
    let elements = |index: usize| -> Option<Vec<usize>> {
        let (terms, shift) = map.rows.row(index)?;
        let share = |factor: f64| (factor * terms.len() as f64 - 1.0).abs() < 1e-6;
        let mut elements: Vec<usize> = terms.iter().map(|&(element, _)| element).collect();
        elements.sort_unstable();
        (shift == 0.0 && terms.iter().all(|&(_, factor)| share(factor))).then_some(elements)
    };
    // The first window begins at the first pixel; the next ones tell how far apart they are.
    let last = *elements(0)?.last()?;
    let kernel = [last.checked_div(width)? + 1, last.checked_rem(width)? + 1];
    let down = if made[0] > 1 { elements(made[1])?.first()?.checked_div(width)? } else { 1 };
    let right = if made[1] > 1 { elements(1)?.first()?.checked_rem(width)? } else { 1 };
    let strides = [down, right];
    for axis in 0..2 {
        // As many windows as fit, and none more.
        let count =
            |axis: usize| Some(from.get(axis)?.checked_sub(*kernel.get(axis)?)?.checked_div(*strides.get(axis)?)? + 1);
        if count(axis)? != *made.get(axis)? {
            return None;
        }
    }
    for index in 0..map.rows.len() {
        let (row, column) = (index / made[1], index % made[1]);
        let (channel, row) = (row / made[0], row % made[0]);
        let corner = (channel * height + row * down) * width + column * right;
        let all = (0..kernel[0]).flat_map(|y| (0..kernel[1]).map(move |x| corner + y * width + x));
        if !elements(index)?.into_iter().eq(all) {
            return None;
        }
    }
    Some(Pool { kernel_shape: kernel, strides, pads: [0; 4], ceil_mode: false })
}
