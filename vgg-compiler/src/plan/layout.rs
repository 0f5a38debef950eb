//! assign_layout: how each activation lies in memory.

use std::collections::BTreeMap;

use crate::ir::{Op, Shape, TypedGraph, ValueId};

use super::fuse::Fused;
use super::step::{BLOCK, Blocked, Layout};

/// The layout of every value that is stored.
///
/// Feature maps are blocked by [`BLOCK`] channels, with the padding of the convolutions that read them as a halo. The
/// network's input stays planar (blocks of one channel) when it has too few channels to fill a block and only
/// convolutions read it. Vectors are flat.
pub(super) fn assign_layout(graph: &TypedGraph, groups: &[Fused<'_>]) -> BTreeMap<ValueId, Layout> {
    let stored = std::iter::once(graph.input).chain(groups.iter().map(Fused::output));
    stored
        .map(|value| {
            let layout = match graph.shape(value) {
                Shape::Flat { features } => Layout::Flat { features },
                Shape::Image { channels, height, width } => {
                    let readers = || groups.iter().filter(|group| group.inputs().contains(&value));
                    let convolutions = readers().filter_map(|group| match &group.node.op {
                        Op::Conv(conv) => Some(conv.pads),
                        _ => None,
                    });
                    let halo =
                        convolutions.fold([0; 4], |halo, pads| std::array::from_fn(|side| halo[side].max(pads[side])));
                    let only_convolved = readers().all(|group| matches!(group.node.op, Op::Conv(_)));
                    let planar = value == graph.input && channels < BLOCK && only_convolved;
                    Layout::Blocked(Blocked { channels, height, width, block: if planar { 1 } else { BLOCK }, halo })
                }
            };
            (value, layout)
        })
        .collect()
}
