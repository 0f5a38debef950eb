//! Weights and settings that are refused, with what the message must say; weights in files; and the arena.

use std::fs;
use std::sync::Arc;

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
        assert_says(PackedGemm::<f32>::pack(GEMM, &weight, &bias), &["bytes where", "expected", "another network"]);
        let weight = SharedBytes::new(weight);
        assert_says(PackedGemm::<f32>::share(GEMM, &weight, &bias), &["bytes where", "expected", "another network"]);
    }
    assert_says(PackedGemm::<f32>::pack(GEMM, &[0; 25], &[0; 12]), &["the weight has 25 bytes where 24 were expected"]);
}

#[test]
fn weights_that_are_not_finite_are_refused_by_place() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut weight = [1.0; 6];
        weight[4] = value;
        let expected = format!("conv1_1: the weight holds {value} at index 4");
        let result = PackedConv::pack(CONV, &bytes(&weight), &bytes(&[0.0; 3]));
        assert_says(result.map_err(|error| error.in_layer("conv1_1")), &[&expected]);
        assert_says(PackedGemm::<f32>::pack(GEMM, &bytes(&weight), &bytes(&[0.0; 3])), &["the weight", "at index 4"]);
        // In place a weight is not looked at: it goes into the sum of its row.
        let shared = PackedGemm::<f32>::share(GEMM, &SharedBytes::new(bytes(&weight)), &bytes(&[0.0; 3])).unwrap();
        let finite: Vec<bool> =
            product(Isa::Portable, GEMM, &shared).into_iter().map(|bits| f32::from_bits(bits).is_finite()).collect();
        assert_eq!(finite, [true, true, false]);
        let bias = bytes(&[0.0, value, 0.0]);
        assert_says(PackedConv::pack(CONV, &bytes(&[1.0; 6]), &bias), &["the bias holds", "at index 1"]);
        assert_says(PackedGemm::<f32>::pack(GEMM, &bytes(&[1.0; 6]), &bias), &["the bias holds", "at index 1"]);
    }
}

#[test]
fn weights_of_few_bytes_are_refused_as_others_are() {
    let bias = bytes(&[0.0; 3]);
    assert_says(
        PackedGemm::<F16>::pack(GEMM, &[0; 24], &bias),
        &["the weight has 24 bytes where 12 were expected", "another network"],
    );
    assert_says(PackedGemm::<Bf16>::pack(GEMM, &[0; 13], &bias), &["the weight has 13 bytes where 12 were expected"]);
    assert_says(
        PackedGemm::pack_scaled(GEMM, &[0; 5], &bias, &bias),
        &["the weight has 5 bytes where 6 were expected"],
    );
    assert_says(
        PackedGemm::pack_scaled(GEMM, &[0; 6], &[0; 8], &bias),
        &["the scale of the weight has 8 bytes where 12 were expected"],
    );
    assert_says(PackedGemm::pack_scaled(GEMM, &[0; 6], &bias, &[0; 8]), &["the bias has 8 bytes"]);
    for (pattern, value) in [(0x7c00_u16, "inf"), (0xfc00, "-inf"), (0x7e01, "NaN"), (0xfc01, "NaN")] {
        let mut weight = [0; 12];
        weight[8..10].copy_from_slice(&pattern.to_le_bytes());
        let expected = format!("the weight holds {value} at index 4");
        assert_says(PackedGemm::<F16>::pack(GEMM, &weight, &bias), &[&expected]);
    }
    for (pattern, value) in [(0x7f80_u16, "inf"), (0xff80, "-inf"), (0x7fc0, "NaN"), (0xff81, "NaN")] {
        let mut weight = [0; 12];
        weight[10..12].copy_from_slice(&pattern.to_le_bytes());
        let expected = format!("the weight holds {value} at index 5");
        assert_says(PackedGemm::<Bf16>::pack(GEMM, &weight, &bias), &[&expected]);
    }
    let scale = bytes(&[1.0, f32::NAN, 1.0]);
    assert_says(
        PackedGemm::pack_scaled(GEMM, &[0; 6], &scale, &bias),
        &["the scale of the weight holds NaN at index 1"],
    );
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

/// A file that is removed in the end.
struct Temporary(std::path::PathBuf);

impl Temporary {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("vgg-runtime-{}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn a_mapped_file_holds_what_a_read_one_holds() {
    let content: Vec<u8> = (0..300_001u32).map(|index| (index % 251) as u8).collect();
    let temporary = Temporary::new("content", &content);
    let [mapped, read] = [FileBytes::map(&temporary.0).unwrap(), FileBytes::read(&temporary.0).unwrap()];
    assert_eq!(mapped.is_mapped(), cfg!(all(feature = "mmap", unix, target_pointer_width = "64", not(miri))));
    assert!(!read.is_mapped());
    for file in [mapped, read].map(Arc::new) {
        let all: &[u8] = (*file).as_ref();
        assert!(all == content);
        assert_eq!(file.range_of(&all[7..70_000]), Some(7..70_000));
        assert_eq!(file.range_of(&content[7..70_000]), None);
        assert!(FilePart::new(&file, 1..300_002).is_none());
        assert!(FilePart::new(&file, usize::MAX - 1..usize::MAX).is_none());
        // What another owner drops stays readable, pages at both ends and all.
        let parts = [0..300_001, 65_536..131_072, 100..200_000, 300_001..300_001, 5..5];
        for range in parts {
            let part = FilePart::new(&file, range.clone()).unwrap();
            assert!(part.as_ref() == &content[range]);
            drop(part);
            assert!(all == content);
        }
    }
}

#[test]
fn what_is_no_regular_file_is_read_or_refused() {
    let empty = Temporary::new("empty", &[]);
    let file = FileBytes::map(&empty.0).unwrap();
    assert!(file.as_ref().is_empty() && !file.is_mapped());
    let missing = std::path::Path::new("/no/such/file");
    assert_says(FileBytes::map(missing), &["cannot read /no/such/file"]);
    assert_says(FileBytes::read(missing), &["cannot read /no/such/file"]);
    assert_says(FileBytes::map(&std::env::temp_dir()), &["cannot read"]);
}

/// The output of a fully connected layer of `dims` whose weights are `packed`.
fn product<W: Element>(isa: Isa, dims: GemmDims, packed: &PackedGemm<W>) -> Vec<u32> {
    struct Product<'a, W>(GemmDims, &'a PackedGemm<W>, Vec<f32>);

    impl<W: Element> Program for Product<'_, W> {
        type Output = Vec<f32>;

        fn run<S: Simd>(self, simd: S) -> Vec<f32> {
            let mut output = vec![f32::NAN; self.0.out_features];
            ops::gemm(simd, &Threads::new(2), self.0, &self.2, self.1, &mut output);
            output
        }
    }

    let input = (0..dims.in_features).map(|index| (index as f32 * 0.7).sin()).collect();
    isa.run(Product(dims, packed, input)).into_iter().map(f32::to_bits).collect()
}

#[test]
fn weights_in_place_give_the_bits_of_copied_ones() {
    let dims = GemmDims { in_features: 70, out_features: 40, relu: false, batch: 1 };
    let weight: Vec<f32> = (0..70 * 40).map(|index| (index as f32 * 0.3).cos()).collect();
    let bias: Vec<f32> = (0..40).map(|index| index as f32 * 0.01).collect();
    let (weight, bias) = (bytes(&weight), bytes(&bias));
    let header = b"\x10\0\0\0\0\0\0\0{\"weights\":true}";
    for shift in [0, 1, 2, 4, 8, 20] {
        // The weight begins at an address that is `shift` bytes beyond a multiple of 8.
        let mut content = header.to_vec();
        content.extend(vec![0; shift]);
        content.extend(&weight);
        content.extend(&bias);
        let places =
            || [("w", shift..shift + weight.len()), ("b", shift + weight.len()..shift + weight.len() + bias.len())];
        let temporary = Temporary::new(&format!("shift-{shift}"), &content);
        let data_len = content.len() - header.len();
        let copied = PackedGemm::<f32>::pack(dims, &weight, &bias).unwrap();
        assert!(!copied.is_shared());
        let open = |file: FileBytes| WeightsFile::of_file(file, header, data_len).unwrap().gemm("fc", dims, places());
        let packed: [PackedGemm; 3] = [
            open(FileBytes::map(&temporary.0).unwrap()).unwrap(),
            open(FileBytes::read(&temporary.0).unwrap()).unwrap(),
            WeightsFile::open(&content, header, data_len).unwrap().gemm("fc", dims, places()).unwrap(),
        ];
        assert_eq!(packed[0].is_shared(), shift % 4 == 0 && cfg!(target_endian = "little"));
        for &isa in Isa::available() {
            let expected = product(isa, dims, &copied);
            for packed in &packed {
                assert_eq!(product(isa, dims, packed), expected, "{shift} on {}", isa.name());
            }
        }
        let mut broken = content.clone();
        broken[header.len() + shift + 80..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
        let broken = Temporary::new(&format!("broken-{shift}"), &broken);
        assert_says(open(FileBytes::map(&broken.0).unwrap()), &["fc: the weight holds NaN at index 20"]);
        let cut = Temporary::new(&format!("cut-{shift}"), &content[..content.len() - 1]);
        let file = FileBytes::map(&cut.0).unwrap();
        assert_says(WeightsFile::of_file(file, header, data_len), &["the weights file has", "cut short"]);
    }
}

#[test]
fn small_weights_in_place_give_the_bits_of_copied_ones() {
    let dims = GemmDims { in_features: 70, out_features: 40, relu: false, batch: 1 };
    let numbers: Vec<u8> = (0..2 * 70 * 40_u32).map(|index| (index * 37 % 251) as u8 & 0x3f).collect();
    let row = bytes(&(0..40).map(|index| index as f32 * 0.01).collect::<Vec<_>>());
    let header = b"\x10\0\0\0\0\0\0\0{\"weights\":true}";
    for shift in 0..5 {
        let mut content = header.to_vec();
        content.extend(vec![0; shift]);
        content.extend(&numbers);
        content.extend(&row);
        let (half, end) = (shift + 70 * 40, shift + numbers.len());
        let bias = || ("b", end..end + row.len());
        let temporary = Temporary::new(&format!("small-{shift}"), &content);
        let file = FileBytes::map(&temporary.0).unwrap();
        let file = WeightsFile::of_file(file, header, content.len() - header.len()).unwrap();
        let halves: PackedGemm<F16> = file.gemm("fc", dims, [("w", shift..end), bias()]).unwrap();
        let brains: PackedGemm<Bf16> = file.gemm("fc", dims, [("w", shift..end), bias()]).unwrap();
        let wholes = file.gemm_scaled("fc", dims, [("w", shift..half), ("s", end..end + row.len()), bias()]).unwrap();
        assert_eq!(halves.is_shared(), shift % 2 == 0 && cfg!(target_endian = "little"));
        assert!(wholes.is_shared());
        for &isa in Isa::available() {
            let copied = PackedGemm::<F16>::pack(dims, &numbers, &row).unwrap();
            assert_eq!(product(isa, dims, &halves), product(isa, dims, &copied), "f16, {shift} on {}", isa.name());
            let copied = PackedGemm::<Bf16>::pack(dims, &numbers, &row).unwrap();
            assert_eq!(product(isa, dims, &brains), product(isa, dims, &copied), "bf16, {shift} on {}", isa.name());
            let copied = PackedGemm::pack_scaled(dims, &numbers[..70 * 40], &row, &row).unwrap();
            assert_eq!(product(isa, dims, &wholes), product(isa, dims, &copied), "int8, {shift} on {}", isa.name());
        }
    }
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
