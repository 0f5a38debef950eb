//! Weights and settings that are refused, with what the message must say; and the arena.

use vgg_runtime::*;

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[track_caller]
fn assert_says<T: std::fmt::Debug>(result: Result<T, Error>, expected: &[&str]) {
    let message = result.unwrap_err().to_string();
    for expected in expected {
        assert!(message.contains(expected), "`{message}` does not say `{expected}`");
    }
}

const CONV: ConvDims = ConvDims {
    input: Blocked { channels: 2, height: 3, width: 3, block: 8, halo: [0; 4] },
    output: Blocked { channels: 3, height: 3, width: 3, block: 8, halo: [0; 4] },
    kernel: [1, 1],
    strides: [1, 1],
    pads: [0; 4],
    relu: true,
    pool: None,
    algorithm: Algorithm::Gemm,
    batch: 1,
};

const GEMM: GemmDims = GemmDims { in_features: 2, out_features: 3, relu: false, batch: 1 };

#[test]
fn a_wrong_number_of_weights_is_refused() {
    for (weight, bias) in [(5, 3), (7, 3), (6, 2), (0, 3)] {
        let (weight, bias) = (vec![0; weight * 4], vec![0; bias * 4]);
        assert_says(PackedConv::pack(CONV, &weight, &bias), &["bytes where", "expected", "another network"]);
        assert_says(PackedGemm::pack(GEMM, &weight, &bias), &["bytes where", "expected", "another network"]);
    }
    assert_says(PackedGemm::pack(GEMM, &[0; 25], &[0; 12]), &["the weight has 25 bytes where 24 were expected"]);
}

#[test]
fn weights_that_are_not_finite_are_refused_by_place() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut weight = [1.0; 6];
        weight[4] = value;
        let expected = format!("conv1_1: the weight holds {value} at index 4");
        let result = PackedConv::pack(CONV, &bytes(&weight), &bytes(&[0.0; 3]));
        assert_says(result.map_err(|error| error.in_layer("conv1_1")), &[&expected]);
        assert_says(PackedGemm::pack(GEMM, &bytes(&weight), &bytes(&[0.0; 3])), &["the weight", "at index 4"]);
        let bias = bytes(&[0.0, value, 0.0]);
        assert_says(PackedConv::pack(CONV, &bytes(&[1.0; 6]), &bias), &["the bias holds", "at index 1"]);
        assert_says(PackedGemm::pack(GEMM, &bytes(&[1.0; 6]), &bias), &["the bias holds", "at index 1"]);
    }
}

#[test]
fn a_weights_file_is_opened_by_its_exact_header() {
    let header = b"\x10\0\0\0\0\0\0\0{\"a\":[0,8]}     ";
    let mut file = header.to_vec();
    file.extend(bytes(&[1.0, 2.0]));
    let opened = WeightsFile::open(&file, header, 8).unwrap();
    assert_eq!(opened.tensor("a", 4, 4).unwrap(), 2.0f32.to_le_bytes());
    assert_says(opened.tensor("a", 4, 8), &["a: the data", "8 bytes where 12 were expected"]);
    assert_says(opened.tensor("a", usize::MAX, 8), &["a: the data"]);

    assert_says(WeightsFile::open(&file[..file.len() - 1], header, 8), &["31 bytes where 32 were expected"]);
    assert_says(WeightsFile::open(&file[..10], header, 8), &["at byte 10", "<end of file>"]);
    assert_says(WeightsFile::open(&[], header, 8), &["at byte 0", "<end of file>"]);
    file[10] = b'b';
    assert_says(WeightsFile::open(&file, header, 8), &["at byte 10", "`b\\\":[0,8]", "`a\\\":[0,8]", "use the file"]);
}

#[test]
fn a_missing_file_is_named() {
    assert_says(read_file("/no/such/file".as_ref()), &["cannot read /no/such/file"]);
}

#[test]
fn tiers_have_names() {
    for &isa in Isa::available() {
        assert_eq!(Isa::named(isa.name()).unwrap(), isa);
    }
    assert_eq!(Isa::available().first(), Some(&Isa::Portable));
    assert_says(Isa::named("avx9"), &["VGG_ISA is `avx9`", "portable"]);
}

#[test]
fn the_arena_gives_pairs_that_do_not_overlap() {
    let mut workspace = Workspace::new(100, 10, Threads::single(), Isa::Portable);
    let (_, arena, scratch) = workspace.parts();
    assert_eq!(scratch.len(), 10);
    arena.get_mut(0..100).iter_mut().enumerate().for_each(|(i, value)| *value = i as f32);
    let (read, write) = arena.pair(10..20, 20..30);
    assert_eq!((read[0], write[0], read.len(), write.len()), (10.0, 20.0, 10, 10));
    let (read, write) = arena.pair(50..60, 0..50);
    assert_eq!((read[0], write[0], read.len(), write.len()), (50.0, 0.0, 10, 50));
    let ([first, second, third], write) = arena.reads([10..20, 40..45, 10..20], 20..30);
    assert_eq!((first[0], second[0], third[9], write[0], write.len()), (10.0, 40.0, 19.0, 20.0, 10));
    let ([nothing, all], write) = arena.reads([0..0, 0..20], 20..100);
    assert_eq!((nothing.len(), all.len(), write.len()), (0, 20, 80));
    assert_eq!(arena.get(99..100), [99.0]);
    for (read, write) in [(0..10, 9..20), (9..20, 0..10), (0..10, 0..10), (0..5, 90..101)] {
        let mut workspace = Workspace::new(100, 0, Threads::single(), Isa::Portable);
        let pair = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            workspace.parts().1.pair(read.clone(), write.clone());
        }));
        assert!(pair.is_err(), "{read:?} and {write:?}");
        let reads = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            workspace.parts().1.reads([30..40, read.clone()], write.clone());
        }));
        assert!(reads.is_err(), "{read:?} and {write:?}");
    }
}
