//! Images become what Pillow and torchvision make of them, to the bit (`tests/pillow/record.py` has recorded it), and colours, ranges
//! and means are applied in their order.

use vgg_runtime::Error;
use vgg_runtime::preprocess::{Colours, Filter, Preprocess, Resize};

const RECORDED: &str = include_str!("pillow/recorded.tsv");

/// The levels themselves.
const LEVELS: Preprocess<'static> = Preprocess {
    colours: Colours::Rgb,
    white: 255.0,
    mean: &[0.0; 3],
    std: &[1.0; 3],
    resize: Resize::Stretch,
    filter: Filter::Bilinear,
    height: 2,
    width: 2,
};

fn noise(count: usize) -> Vec<u8> {
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    std::iter::successors(next(&1), next).take(count).map(|state| (state >> 24) as u8).collect()
}

fn smooth(width: usize, height: usize) -> Vec<u8> {
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    places.flat_map(|(x, y)| [x * 255 / width, y * 255 / height, (x + y) * 3 % 256]).map(|level| level as u8).collect()
}

fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[test]
fn pixels_are_pillows() {
    let mut count = 0;
    for line in RECORDED.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [source, width, height, colours, filter, side, columns, rows, hash] = fields[..] else { panic!("{line}") };
        let [width, height, side, columns, rows] =
            [width, height, side, columns, rows].map(|number| number.parse::<usize>().unwrap());
        let image = if source == "noise" { noise(width * height * 3) } else { smooth(width, height) };
        let colours = if colours == "rgb" { Colours::Rgb } else { Colours::Grey };
        let preprocess = Preprocess {
            colours,
            mean: &LEVELS.mean[..colours.channels()],
            std: &LEVELS.std[..colours.channels()],
            filter: match filter {
                "nearest" => Filter::Nearest,
                "bilinear" => Filter::Bilinear,
                _ => Filter::Bicubic,
            },
            resize: if side == 0 { Resize::Stretch } else { Resize::ShortSide(side) },
            height: rows,
            width: columns,
            ..LEVELS
        };
        let mut input = vec![f32::NAN; preprocess.len()];
        preprocess.apply(&image, width, height, &mut input).unwrap();
        // Planes to pixels.
        let pixels = (0..rows * columns).flat_map(|pixel| input[pixel..].iter().step_by(rows * columns));
        let found = fnv(pixels.map(|&level| level as u8));
        assert_eq!(format!("{found:016x}"), hash, "{line}");
        count += 1;
    }
    assert!(count > 1000, "{count} recorded images");
}

#[test]
fn colours_ranges_and_means_are_in_the_order_of_the_channels() {
    let image = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120];
    let input = LEVELS.input::<12>(&image, 2, 2).unwrap();
    assert_eq!(*input, [10., 40., 70., 100., 20., 50., 80., 110., 30., 60., 90., 120.]);

    let caffe = Preprocess { colours: Colours::Bgr, mean: &[103.939, 116.779, 123.68], ..LEVELS };
    let input = caffe.input::<12>(&image, 2, 2).unwrap();
    assert_eq!((input[0], input[4], input[8]), (30. - 103.939, 20. - 116.779, 10. - 123.68));

    let torchvision = Preprocess { white: 1.0, mean: &[0.485, 0.456, 0.406], std: &[0.229, 0.224, 0.225], ..LEVELS };
    let input = torchvision.input::<12>(&image, 2, 2).unwrap();
    assert_eq!(input[1], (40. / 255. - 0.485) / 0.229);
    assert_eq!(input[11], (120. / 255. - 0.406) / 0.225);

    let grey = Preprocess { colours: Colours::Grey, mean: &[0.0], std: &[1.0], ..LEVELS };
    let input = grey.input::<4>(&[255, 0, 0, 0, 255, 0, 0, 0, 255, 7, 7, 7], 2, 2).unwrap();
    // 0.299, 0.587 and 0.114 of white; grey stays what it is.
    assert_eq!(*input, [76., 150., 29., 7.]);
}

#[test]
fn a_mean_image_has_a_number_for_each_value() {
    let image = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120];
    let mean = [1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 0.5];
    let preprocess = Preprocess { colours: Colours::Bgr, mean: &mean, std: &[1., 2., 4.], ..LEVELS };
    let input = preprocess.input::<12>(&image, 2, 2).unwrap();
    assert_eq!(*input, [29., 58., 87., 116., 7.5, 22., 36.5, 51., 0.25, 7.5, 14.75, 24.875]);
}

/// What a crop throws away is not computed: enlarged whole, these would have billions of pixels.
#[test]
fn very_long_images_take_no_memory() {
    let crop = Preprocess { resize: Resize::ShortSide(256), height: 224, width: 224, ..LEVELS };
    for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic] {
        let crop = Preprocess { filter, ..crop };
        let image: Vec<u8> = (0..30_000).flat_map(|pixel| [if pixel < 15_000 { 0 } else { 200 }; 3]).collect();
        for (width, height) in [(30_000, 1), (1, 30_000)] {
            let input = crop.input::<{ 3 * 224 * 224 }>(&image, width, height).unwrap();
            let last = input[input.len() - 1];
            assert!(input[0] < 100.0 && last > 100.0, "{filter:?}: {} and {last}", input[0]);
        }
    }
}

#[test]
fn bytes_that_are_no_image_are_refused() {
    for (len, width, height) in [(0, 0, 0), (0, 4, 0), (11, 2, 2), (13, 2, 2), (12, usize::MAX, usize::MAX), (12, 4, 4)]
    {
        let error = LEVELS.input::<12>(&vec![0; len], width, height).unwrap_err();
        assert!(matches!(error, Error::Image { found, .. } if found == len), "{error}");
        assert!(error.to_string().contains(&format!("{width} x {height} pixels")), "{error}");
    }
}
