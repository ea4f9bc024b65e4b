"""What the explorers of the types of convolution need from NumPy: pixels of a photograph, singular triplets.

The photograph is matplotlib's sample, Grace Hopper in uniform (public domain). Everything is the same
to the byte from run to run: images travel as uncompressed bitmaps.
"""

import base64
import struct

import numpy as np

from cvnotes.conv_types import explorers, reference


def photograph(side, grey=True):
    """Return the head of the sample photograph, `(side, side)` or `(side, side, 3)` integers from 0 to 255.

    `side` divides 384. Grey is (299 R + 587 G + 114 B) / 1000, as in ITU-R BT.601.
    """
    from matplotlib.cbook import get_sample_data
    from matplotlib.image import imread

    if 384 % side:
        raise ValueError(f"`side` (={side}) must divide 384")
    block = 384 // side
    with get_sample_data("grace_hopper.jpg") as file:
        image = imread(file, format="jpg")[20:404, 60:444].astype(np.int64)
    image = image.reshape(side, block, side, block, 3).sum((1, 3))  # (side, side, 3)
    if grey:
        image = image @ np.array([299, 587, 114]) // 1000
    return (image + block * block // 2) // (block * block)


def kernels_on_photograph(side=64):
    """Return the data of that explorer: the greys of each kernel's result for each dilation, with stride 1."""
    image = photograph(side)
    x = image[None, None].astype(float)
    pixels = {"identity": [_text(image)]}
    for name, (taps, divisor) in explorers.KERNELS.items():
        if name == "identity":
            continue
        pixels[name] = []
        for dilation in explorers.DILATIONS:
            w = np.array(taps, float).reshape(1, 1, 3, 3)
            y = reference.conv2d(x, w, padding=dilation, dilation=dilation)[0, 0] / divisor
            y = 128 + y / 4 if sum(taps) == 0 else y
            pixels[name].append(_text(np.clip(np.floor(y + 0.5), 0, 255)))
    headers = [_header(side // stride, side // stride) for stride in (1, 2, 4)]
    return {"side": side, "headers": headers, "pixels": pixels}


def rank():
    """Return the data of that explorer: taps and singular triplets of each 7 × 7 kernel, to six decimals."""
    return {name: _triplets(kernel) for name, kernel in zip(explorers.RANKED, _ranked_kernels())}


def sampling_points(side=96):
    """Return the data of that explorer: the photograph in grey."""
    return {"side": side, "header": _header(side, side), "pixels": _text(photograph(side))}


def involution_kernels(side=64):
    """Return the data of that explorer: the photograph in colour, and its channels grey, red, green, blue."""
    colour = photograph(side, grey=False)
    channels = [photograph(side)] + [colour[..., c] for c in range(3)]
    return {
        "side": side,
        "photograph": _colour_header(side, side) + _text(colour[..., ::-1]),
        "pixels": [_text(channel) for channel in channels],
    }


def _ranked_kernels():
    """Return the 7 × 7 kernels of the explorer of ranks, the largest tap of each being 1 or −1."""
    size = explorers.SIZE
    middle = size // 2
    y, x = np.mgrid[-middle:middle + 1, -middle:middle + 1].astype(float)
    square = y**2 + x**2
    bell = np.exp(-square / (2 * 1.4**2))
    noise = np.random.RandomState(0).uniform(-1, 1, (size, size))
    kernels = (
        bell, x * bell, (square / (2 * 1.4**2) - 1) * bell, (square <= 9.5).astype(float), np.eye(size),
        np.cos(1.1 * (x + y)) * bell, noise,
    )
    return [kernel / abs(kernel).max() for kernel in kernels]


def _triplets(kernel):
    """Return taps, sigma, u and v as lists; the largest entry of each column is positive."""
    u, sigma, vt = np.linalg.svd(kernel)
    for t in range(len(sigma)):
        largest = np.argmax(abs(u[:, t]) >= 0.999 * abs(u[:, t]).max())
        if u[largest, t] < 0:
            u[:, t], vt[t] = -u[:, t], -vt[t]
    sigma = np.where(sigma < 1e-9 * sigma[0], 0, sigma)
    u, vt = u * (sigma > 0), vt * (sigma > 0)[:, None]  # what has no weight is left out
    plain = lambda a: (np.round(a, 6) + 0.0).tolist()  # noqa: E731
    return {"taps": plain(kernel.ravel()), "sigma": plain(sigma), "u": plain(u.T), "v": plain(vt)}


def _text(image):
    """Return the bytes of an image in base64, row by row from the top; the page's bitmaps go that way."""
    return base64.b64encode(np.ascontiguousarray(image, dtype=np.uint8).tobytes()).decode()


def _header(width, height):
    """Return the start of a `data:` URI of a grey bitmap; base64 of the pixels may follow it.

    A Windows bitmap of 8 bits, its rows from the top (a negative height) and of a width that 4
    divides. Two bytes after the palette make the length a multiple of 3, so that the texts join.
    """
    greys = b"".join(bytes((grey, grey, grey, 0)) for grey in range(256))
    return _start(width, height, 8, greys + bytes(2))


def _colour_header(width, height):
    """Return the start of a `data:` URI of a bitmap of 24 bits, its pixels blue, green, red."""
    return _start(width, height, 24, b"")


def _start(width, height, bits, rest):
    length = width * height * bits // 8
    offset = 54 + len(rest)
    header = struct.pack("<2sIHHI", b"BM", offset + length, 0, 0, offset)
    header += struct.pack("<IiiHHIIiiII", 40, width, -height, 1, bits, 0, length, 0, 0, 0, 0)
    return "data:image/bmp;base64," + base64.b64encode(header + rest).decode()
