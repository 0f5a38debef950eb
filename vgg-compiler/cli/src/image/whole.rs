//! Whether a file holds the picture that it announces. The decoders of JPEG and WebP fill up what is missing with grey and say nothing.

use image::ImageFormat;

/// What the file `content` of this format lacks at its end, a clause; none when it is whole, or its decoder tells.
pub(super) fn lacks(format: ImageFormat, content: &[u8]) -> Option<String> {
    match format {
        ImageFormat::Jpeg if !ends_as_jpeg(content) => Some("there is no end of image (the marker FFD9)".into()),
        ImageFormat::WebP => {
            let announced = content.get(4..8)?.first_chunk().map(|&len| 8 + u64::from(u32::from_le_bytes(len)))?;
            let found = content.len() as u64;
            (found < announced).then(|| format!("{announced} bytes are announced, the file has {found}"))
        }
        _ => None,
    }
}

/// Why `content`, a file of this format, cannot hold so many pixels; none when it can, or its decoder tells. A few bytes would otherwise
/// make a decoder take all the memory that it may.
pub(super) fn too_short(format: ImageFormat, content: &[u8], pixels: u64) -> Option<String> {
    let each = match format {
        // One bit for each block of 64 of the component with most samples.
        ImageFormat::Jpeg => 512,
        // A code of 12 bits stands for 4096 pixels at most.
        ImageFormat::Gif => 4096 * 8 / 12,
        // Runs and jumps, of which four bytes pass over 255 x 255 pixels.
        ImageFormat::Bmp => 255 * 255 / 4,
        _ => return None,
    };
    let most = SMALL + each * content.len() as u64;
    (pixels > most).then(|| format!("it has {pixels} pixels in {} bytes, which hold {most} at most", content.len()))
}

/// Pixels that any file may have: a GIF may be larger than its pictures.
const SMALL: u64 = 1 << 20;

const END: u8 = 0xd9;

/// Whether the marker of the end follows the segments of a JPEG file. Source: ITU-T T.81, B.1.
fn ends_as_jpeg(content: &[u8]) -> bool {
    // Behind the marker of the beginning.
    let mut at = 2;
    loop {
        // What is no marker is passed over, as decoders do: FF with a zero stands for itself, and may be repeated before a marker.
        let Some(&[first, marker]) = content.get(at..).and_then(|rest| rest.first_chunk()) else { return false };
        match (first, marker) {
            (0xff, END) => return true,
            (0xff, 0xff) => at += 1,
            // Restarts and others without content.
            (0xff, 0 | 1 | 0xd0..=0xd8) => at += 2,
            // The numbers of a scan follow its segment, up to the next marker.
            (0xff, _) => {
                let len = content.get(at + 2..).and_then(|rest| rest.first_chunk());
                let Some(&len) = len else { return false };
                at += 2 + usize::from(u16::from_be_bytes(len)).max(2);
            }
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jpeg_file_has_a_marker_at_its_end() {
        let content = include_bytes!("../../tests/images/cat.jpg");
        assert_eq!(lacks(ImageFormat::Jpeg, content), None);
        // What cameras append is no part of the image.
        assert_eq!(lacks(ImageFormat::Jpeg, &[&content[..], b"\xff\xd8 a preview"].concat()), None);
        for len in 0..content.len() {
            assert!(lacks(ImageFormat::Jpeg, &content[..len]).is_some(), "{len}");
        }
        // The marker inside of a segment, as in a preview, is not that of the end.
        let preview = b"\xff\xd8\xff\xe1\0\x06\xff\xd8\xff\xd9\xff\xda\0\x02\x12\xff\0\xff\xd0\x34";
        assert!(lacks(ImageFormat::Jpeg, preview).is_some());
        assert_eq!(lacks(ImageFormat::Jpeg, &[&preview[..], b"\xff\xff\xd9"].concat()), None);
    }

    #[test]
    fn a_webp_file_has_as_many_bytes_as_it_says() {
        for content in
            [&include_bytes!("../../tests/images/cat.webp")[..], include_bytes!("../../tests/images/lossy.webp")]
        {
            assert_eq!(lacks(ImageFormat::WebP, content), None);
            for len in 8..content.len() {
                assert!(lacks(ImageFormat::WebP, &content[..len]).is_some(), "{len}");
            }
        }
    }

    #[test]
    fn a_few_bytes_hold_few_pixels() {
        for format in [ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::Bmp] {
            assert_eq!(too_short(format, &[0; 50], 1 << 20), None);
            assert!(too_short(format, &[0; 50], 1 << 27).is_some_and(|problem| problem.contains("in 50 bytes")));
        }
        // A black photograph of 64 million pixels, as small as it can be.
        assert_eq!(too_short(ImageFormat::Jpeg, &vec![0; 1 << 17], 1 << 26), None);
        // What unpacks any number of pixels from a byte, or tells itself.
        assert_eq!(too_short(ImageFormat::WebP, &[0; 50], 1 << 27), None);
        assert_eq!(too_short(ImageFormat::Png, &[0; 50], 1 << 27), None);
    }
}
