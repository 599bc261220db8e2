"""Writes the fixtures of the tests with NumPy and Pillow, as an oracle that shares no code with the package.

Run once, by hand: python test/make-fixtures.py  (numpy 2, pillow 11 or later)
"""
import gzip, json, os, struct, zlib
import numpy as np
from PIL import Image

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures")
os.makedirs(here, exist_ok=True)
at = lambda name: os.path.join(here, name)
expected = {}

# NPY: every dtype, both byte orders, both memory orders, all versions.
base = np.arange(6).reshape(2, 3) - 2
arrays = {}
for code in ["i1", "i2", "i4", "i8", "f2", "f4", "f8"]:
    arrays[code] = base.astype(code)
for code in ["u1", "u2", "u4", "u8"]:
    arrays[code] = (base + 2).astype(code)
arrays["b1"] = base > 0
arrays["c8"] = (base + 1j * base).astype("c8")
arrays["c16"] = (base + 1j * base).astype("c16")
for code, array in arrays.items():
    np.save(at(f"{code}.npy"), array)
    np.save(at(f"{code}-big-fortran.npy"), np.asfortranarray(array.astype(array.dtype.newbyteorder(">"))))
np.save(at("scalar.npy"), np.float32(2.5))
np.save(at("empty.npy"), np.zeros((0, 3), "f4"))
np.save(at("text.npy"), np.array(["a", "grün", "日本"]))
np.save(at("bytes.npy"), np.array([b"ab", b"c"]))
np.save(at("text-big-fortran.npy"), np.asfortranarray(np.array([["a", "b"], ["cd", "e"]]).astype(">U2")))
np.save(at("rank3-fortran.npy"), np.asfortranarray(np.arange(24).reshape(2, 3, 4).astype("<i4")))
for version in [(2, 0), (3, 0)]:
    with open(at(f"version{version[0]}.npy"), "wb") as out:
        np.lib.format.write_array(out, np.array([1.5, -2], "f4"), version=version)
np.save(at("object.npy"), np.array([{}], dtype=object), allow_pickle=True)
np.save(at("record.npy"), np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]))
np.save(at("date.npy"), np.array(["2020-01-01"], dtype="M8[D]"))
np.savez(at("stored.npz"), x=np.arange(6, dtype="f4").reshape(3, 2), label=np.array([2, 0, 1]))
np.savez_compressed(at("compressed.npz"), x=np.ones((40, 50), "f4"), y=np.array(3))

# IDX.
pixels = (np.arange(3 * 4 * 5) * 4 % 256).astype(np.uint8).reshape(3, 4, 5)
images = struct.pack(">HBBIII", 0, 8, 3, 3, 4, 5) + pixels.tobytes()
labels = struct.pack(">HBBI", 0, 8, 1, 3) + bytes([7, 1, 9])
with open(at("mini-images-idx3-ubyte.gz"), "wb") as out:
    out.write(gzip.compress(images, mtime=0))
with open(at("mini-labels-idx1-ubyte"), "wb") as out:
    out.write(labels)
with open(at("float-idx2"), "wb") as out:
    out.write(struct.pack(">HBBII", 0, 13, 2, 2, 2) + np.array([1, -2, 0.5, 4], ">f4").tobytes())

# PNG of every kind; expected pixels by Pillow's decoder.
rng = np.random.default_rng(7)
colour = rng.integers(0, 256, (9, 11, 3), dtype=np.uint8)
colour[2:7, 2:9] = [200, 30, 90]
grey = colour[:, :, 0]
rgba = np.dstack([colour, np.full((9, 11), 128, np.uint8)])
Image.fromarray(colour).save(at("rgb.png"))
Image.fromarray(grey).save(at("grey.png"))
Image.fromarray(rgba).save(at("rgba.png"))
Image.fromarray(np.dstack([grey, grey // 2]), "LA").save(at("grey-alpha.png"))
Image.fromarray(grey > 100).save(at("bit.png"))
for colours in (4, 16, 200):
    Image.fromarray(colour).quantize(colours).save(at(f"palette{colours}.png"))
Image.fromarray((grey.astype(np.uint16) * 257)).save(at("grey16.png"))


def adam7(name, array, colour_type):
    """Pillow cannot write interlaced images; this can, without filters."""
    height, width = array.shape[:2]
    raw = b""
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        part = array[y0::dy, x0::dx]
        if part.size:
            raw += b"".join(b"\0" + row.tobytes() for row in part)
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 1)
    with open(at(name), "wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


adam7("interlaced.png", colour, 2)
adam7("interlaced-tiny.png", grey[:1, :3].copy(), 0)
y, x = np.mgrid[0:40, 0:60]
smooth = np.dstack([x * 4, y * 6, (x + y) * 2]).astype(np.uint8)
Image.fromarray(smooth).save(at("smooth.jpg"), quality=95, subsampling=0)
Image.fromarray(smooth).save(at("progressive.jpg"), quality=95, progressive=True)
Image.fromarray(smooth[:, :, 0]).save(at("grey.jpg"), quality=95)
Image.fromarray(smooth).save(at("smooth.webp"), lossless=True)

for name in sorted(os.listdir(here)):
    if name.endswith((".png", ".jpg")):
        image = Image.open(at(name))
        pixels8 = np.array(image.convert("I"), dtype=np.int64) >> 8 if name == "grey16.png" else None
        rgb = np.dstack([pixels8] * 3) if pixels8 is not None else np.array(image.convert("RGB"))
        expected[name] = {"shape": rgb.shape, "rgb": zlib.compress(rgb.astype(np.uint8).tobytes()).hex()}

# Resizing, by Pillow.
source = Image.open(at("smooth.jpg")).convert("RGB")
noisy = Image.fromarray(rng.integers(0, 256, (37, 53, 3), dtype=np.uint8))
noisy.save(at("noise.png"))
expected["noise.png"] = {"shape": [37, 53, 3], "rgb": zlib.compress(np.array(noisy).tobytes()).hex()}
resized = []
for width, height in [(20, 15), (100, 90), (53, 10), (7, 37)]:
    for filter_name, filter_code in [("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC), ("nearest", Image.NEAREST)]:
        out = np.array(noisy.resize((width, height), filter_code))
        resized.append({"width": width, "height": height, "interpolation": filter_name, "rgb": zlib.compress(out.tobytes()).hex()})
expected["resized"] = resized
expected["grey"] = zlib.compress(np.array(noisy.convert("L")).tobytes()).hex()
with open(at("images.json"), "w") as out:
    json.dump(expected, out, separators=(",", ":"))
    out.write("\n")
