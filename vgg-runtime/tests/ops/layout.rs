//! Between plain and blocked activations.

use vgg_runtime::*;

use super::common::*;

#[test]
fn packing_and_flattening_move_every_value_to_its_place() {
    let mut cases = Vec::new();
    for channels in [1, 2, 3, 7, 8, 9, 17] {
        for block in [1, 8] {
            for halo in [[0; 4], [1; 4], [0, 1, 2, 3]] {
                for batch in [1, 2] {
                    cases.push((Blocked { channels, height: 3, width: 5, block, halo }, batch));
                }
            }
        }
    }
    check_all(cases, |&(shape, batch)| {
        let values = Random::new(8).values(nchw(shape, batch).len());
        let blocked = block(shape, batch, &values);
        for &isa in tiers() {
            let packed = run_with_all_threads(isa, &Op::Pack(PackDims { output: shape, batch }), &values);
            assert!(same_bits(&packed, &blocked), "pack, {}", isa.name());
            let flat = run_with_all_threads(isa, &Op::Flatten(FlattenDims { input: shape, batch }), &blocked);
            assert!(same_bits(&flat, &values), "flatten, {}", isa.name());
        }
    });
}
