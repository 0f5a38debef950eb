"""Records what Pillow makes of images, for tests/preprocess.rs: `python record.py > recorded.tsv` (pip install pillow==12.0.0; from 13 on Pillow
exchanges the two passes for some sizes, which changes some pixels by one level).

Each line is an image of pseudo-random or smooth pixels, what is done to it, and the FNV-1a hash of the resulting bytes. The size after
a resize of the shorter side and the place of the crop are computed as in torchvision/transforms/functional.py.
"""

import PIL
from PIL import Image

FILTERS = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
SIZES = [(1, 1), (2, 3), (5, 7), (31, 17), (64, 64), (100, 37), (257, 129), (300, 200), (640, 11)]
STRETCHED = [(1, 1), (3, 2), (8, 8), (17, 31), (64, 64), (96, 80), (129, 257)]
CROPPED = [(8, 8), (10, 7), (33, 32), (64, 48)]


def noise(count):
    state = 1
    for _ in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        yield state >> 24


def smooth(width, height):
    for y in range(height):
        for x in range(width):
            yield from ((x * 255 // width), (y * 255 // height), ((x + y) * 3 % 256))


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return value


def short_side(image, side, width, height, filter):
    w, h = image.size
    short, long = (w, h) if w <= h else (h, w)
    new_short, new_long = side, int(side * long / short)
    new = (new_short, new_long) if w <= h else (new_long, new_short)
    if new[0] * new[1] > 4_000_000:
        return None
    image = image.resize(new, filter)
    top, left = int(round((new[1] - height) / 2.0)), int(round((new[0] - width) / 2.0))
    return image.crop((left, top, left + width, top + height))


print(f"# Pillow {PIL.__version__}")
print("# source, width, height, colours, filter, shorter side (0: stretched), width and height of the result, hash")
for width, height in SIZES:
    for source in ("noise", "smooth"):
        pixels = noise(width * height * 3) if source == "noise" else smooth(width, height)
        rgb = Image.frombytes("RGB", (width, height), bytes(pixels))
        for colours, image in (("rgb", rgb), ("grey", rgb.convert("L"))):
            for name, filter in FILTERS.items():
                jobs = [(0, size) for size in STRETCHED] + [(max(size) + extra, size) for size in CROPPED for extra in (0, 3)]
                for side, (w, h) in jobs:
                    result = short_side(image, side, w, h, filter) if side else image.resize((w, h), filter)
                    if result is not None:
                        print(source, width, height, colours, name, side, w, h, f"{fnv(result.tobytes()):016x}", sep="\t")
