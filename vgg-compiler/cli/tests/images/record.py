"""Makes the images and the arrays beside this file (pip install pillow==12.0.0 numpy): `python record.py chelsea.png`.

chelsea.png is the photograph of scikit-image's data sets, by Stefan van der Walt, CC0. `cat.png` is a part of it at a fifth of its
size. The other images hold it in other ways; `*-rgb.png` is what they look like. The arrays are the input of a network of 16 x 16 pixels
by Pillow and NumPy: resized as torchvision does, then level / 255 or level, minus the mean, over the deviation, in f32.
"""

import struct
import sys
import zlib

import numpy as np
from PIL import Image

cat = Image.open(sys.argv[1]).convert("RGB").crop((70, 20, 375, 255)).resize((61, 47), Image.Resampling.LANCZOS)
cat.save("cat.png", optimize=True)
cat.save("cat.bmp")
cat.save("cat.webp", lossless=True)
cat.save("lossy.webp", quality=90)
cat.save("cat.jpg", quality=95, subsampling=0)
for orientation in range(2, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    cat.save(f"orientation-{orientation}.jpg", quality=95, subsampling=0, exif=exif)
exif = Image.Exif()
exif[0x0112] = 6
cat.save("orientation-6.png", optimize=True, exif=exif)

grey = cat.convert("L")
grey.save("grey.png", optimize=True)
grey.save("grey.jpg", quality=95)
Image.merge("RGB", (grey,) * 3).save("grey-rgb.png", optimize=True)
levels = np.asarray(grey).astype(np.uint16)
Image.fromarray(levels * 257).save("grey16.png")

palette = cat.quantize(31)
palette.save("palette.png", optimize=True)
palette.convert("RGB").save("palette-rgb.png", optimize=True)
other = Image.new("RGB", cat.size, (255, 0, 0)).quantize(2)
palette.save("two-frames.gif", save_all=True, append_images=[other], duration=100)

ramp = Image.linear_gradient("L").resize(cat.size)
alpha = cat.copy()
alpha.putalpha(ramp)
alpha.save("alpha.png", optimize=True)
white = Image.new("RGBA", cat.size, (255, 255, 255, 255))
Image.alpha_composite(white, alpha).convert("RGB").save("alpha-rgb.png", optimize=True)
grey_alpha = Image.merge("LA", (grey, ramp))
grey_alpha.save("grey-alpha.png", optimize=True)
Image.alpha_composite(white, grey_alpha.convert("RGBA")).convert("RGB").save("grey-alpha-rgb.png", optimize=True)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# 16 bits a channel, which Pillow does not write.
rows = (np.asarray(cat).astype(">u2") * 257).astype(">u2")
raw = b"".join(b"\0" + row.tobytes() for row in rows)
header = struct.pack(">IIBBBBB", *cat.size, 16, 2, 0, 0, 0)
with open("rgb16.png", "wb") as file:
    file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def cropped(image, side):
    w, h = image.size
    new = (side, int(side * h / w)) if w <= h else (int(side * w / h), side)
    image = image.resize(new, Image.Resampling.BILINEAR)
    top, left = int(round((new[1] - 16) / 2.0)), int(round((new[0] - 16) / 2.0))
    return image.crop((left, top, left + 16, top + 16))


def record(name, pixels, white, mean, std):
    pixels = np.atleast_3d(np.asarray(pixels)).astype(np.float32)
    if white == 1:
        pixels = pixels / np.float32(255)
    result = (pixels - np.array(mean, np.float32)) / np.array(std, np.float32)
    np.save(f"{name}.npy", np.ascontiguousarray(result.transpose(2, 0, 1)[None]).astype("<f4"))


record("torchvision", cropped(cat, 18), 1, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
record("caffe-vgg", np.asarray(cropped(cat, 20))[:, :, ::-1], 255, [103.939, 116.779, 123.68], [1, 1, 1])
record("matconvnet", cropped(cat, 16), 255, [123.68, 116.779, 103.939], [1, 1, 1])
record("keras", np.asarray(cat.resize((16, 16), Image.Resampling.NEAREST))[:, :, ::-1], 255, [103.939, 116.779, 123.68], [1, 1, 1])
record("grey", cat.convert("L").resize((16, 16), Image.Resampling.BICUBIC), 1, [0.286], [0.353])
