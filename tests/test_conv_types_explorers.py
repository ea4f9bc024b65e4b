"""The explorers of the types of convolution: what they say agrees with the reference."""

import base64
import random
import re

import numpy as np
import pytest

from cvnotes.conv_types import explorers, image_data, reference

DATA = {
    "kernels_on_photograph": image_data.kernels_on_photograph, "rank": image_data.rank,
    "sampling_points": image_data.sampling_points, "involution_kernels": image_data.involution_kernels,
}
NAMES = ("all_types", "groups", *DATA)


@pytest.fixture(scope="module")
def made():
    """All explorers, bound to their data."""
    bound = {name: getattr(explorers, name) for name in NAMES}
    return {name: bound[name].with_data(DATA[name]()) if name in DATA else bound[name] for name in NAMES}


def pixels(text, side):
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(side, side).astype(float)


@pytest.mark.parametrize("name", NAMES)
def test_explorer_shows_a_picture_and_a_sentence_in_random_states(made, name):
    draw = random.Random(name)
    shown = 0
    for _ in range(60):
        state = {control: draw.choice(values) for control, values in made[name].controls.items()}
        picture, sentence, failed = made[name].render(state)
        assert (picture, sentence, failed) == made[name].render(state)
        assert "`" in sentence if failed else picture.startswith("<svg") and picture.count("<") < 700
        assert re.search(r"\d", sentence) and "NaN" not in sentence
        shown += not failed
    assert shown >= 5


@pytest.mark.parametrize("name", DATA)
def test_data_are_the_same_to_the_byte(made, name):
    assert repr(DATA[name]()) == repr(made[name].data)


def test_all_types_counts_agree_with_the_reference():
    """The gradient of the outputs' sum with unit weights counts how often each input is used."""
    for type, kernel, stride, dilation in (("standard", 3, 2, 1), ("dilated", 2, 1, 3), ("1×1", 1, 3, 1)):
        used = {"kernel": kernel, "stride": stride, "dilation": dilation, "groups": 1}
        across = explorers._places_of(type, 7, used)
        fed, counts = explorers._uses(type, 7, across, used, across + 1 if across > 2 else 0)
        one = np.eye(49).reshape(49, 1, 7, 7)
        y = reference.conv2d(one, np.ones((1, 1, kernel, kernel)), stride=stride, dilation=dilation)
        assert counts == y.sum((1, 2, 3)).astype(int).tolist()
        assert sorted(fed) == np.flatnonzero(y.reshape(49, -1)[:, across + 1 if across > 2 else 0]).tolist()
    used = {"kernel": 3, "stride": 2, "dilation": 1, "groups": 1}
    fed, counts = explorers._uses("transposed", 3, 7, used, 16)
    y = reference.conv_transpose2d(np.eye(9).reshape(9, 1, 3, 3), np.ones((1, 1, 3, 3)), stride=2)
    assert counts == y.sum((0, 1)).astype(int).ravel().tolist()
    assert sorted(fed) == np.flatnonzero(y.reshape(9, -1)[:, 16]).tolist()
    used = {"kernel": 3, "stride": 2, "dilation": 2, "groups": 1}
    fed, counts = explorers._uses("involution", 7, 4, used, 5)
    y = reference.involution2d(np.eye(49).reshape(49, 1, 7, 7), np.ones((49, 1, 3, 3, 4, 4)), stride=2, dilation=2)
    assert counts == y.sum((1, 2, 3)).astype(int).tolist() and sorted(fed) == np.flatnonzero(y.reshape(49, -1)[:, 5]).tolist()


def test_all_types_deformable_reads_what_the_reference_reads():
    used = {"kernel": 3, "stride": 1, "dilation": 1, "groups": 1}
    offset = np.zeros((49, 18, 5, 5))
    for place in range(25):
        for tap, (y, x) in enumerate(explorers._samples(used, place, 5)):
            shift = y / 2 - place // 5 - tap // 3, x / 2 - place % 5 - tap % 3
            offset[:, 2 * tap:2 * tap + 2, place // 5, place % 5] = shift
    y = reference.deform_conv2d(np.eye(49).reshape(49, 1, 7, 7), offset, np.ones((1, 1, 3, 3))).reshape(49, 25)
    for place in (0, 7, 24):
        fed, counts = explorers._uses("deformable", 7, 5, used, place)
        assert sorted(fed) == np.flatnonzero(y[:, place]).tolist()


def test_all_types_refuses_what_has_no_meaning():
    with pytest.raises(ValueError, match="`kernel` .=4. must be odd"):
        explorers.all_types(type="involution", kernel=4)
    with pytest.raises(ValueError, match="spans 13 pixels"):
        explorers.all_types(type="dilated", kernel=5, dilation=3)


def test_groups_counts_weights_exactly():
    _, sentence = explorers.groups(channels_in=12, channels_out=6, groups=3, kernel=5)
    assert "= 600 weights, 1/3 of" in sentence and "1,881,600 multiply-adds" in sentence
    with pytest.raises(ValueError, match=r"`groups` \(=5\) must divide the 8 input channels"):
        explorers.groups(groups=5)


def test_kernels_on_photograph_agree_with_the_reference(made):
    data = made["kernels_on_photograph"].data
    image = pixels(data["pixels"]["identity"][0], 64)[None, None]
    for kernel, (taps, divisor) in explorers.KERNELS.items():
        w = np.array(taps, float).reshape(1, 1, 3, 3) / divisor
        y = reference.conv2d(image, w, padding=2, dilation=2, stride=2)[0, 0]
        shown = np.clip(np.floor((128 + y / 4 if sum(taps) == 0 else y) + 0.5), 0, 255)
        text = data["pixels"][kernel][-1 if kernel == "identity" else 1]
        thinned = explorers._thinned(text, 64, 2)
        assert abs(pixels(thinned, 32) - shown).max() <= 1  # a sum that ends in a half may go either way
        picture, sentence = made["kernels_on_photograph"](kernel=kernel, dilation=2, stride=2)
        value = y[explorers.EYE[0] // 2, explorers.EYE[1] // 2]
        digits = 0 if divisor == 1 else 1
        assert f"products sum to {explorers.number(float(round(value, 6)), digits)}. " in sentence
        assert thinned in picture


def test_thinned_pads_as_base64_does():
    image = np.arange(49, dtype=np.uint8)
    text = base64.b64encode(image.tobytes()).decode()
    for stride in (1, 2, 3, 4, 7):
        rows = image.reshape(7, 7)[::stride, ::stride]
        assert explorers._thinned(text, 7, stride) == base64.b64encode(rows.tobytes()).decode()


def test_rank_errors_agree_with_numpy(made):
    assert [sum(value > 0 for value in made["rank"].data[name]["sigma"]) for name in explorers.RANKED] == [
        1, 1, 2, 3, 7, 2, 7
    ]
    for name, kernel in zip(explorers.RANKED, image_data._ranked_kernels()):
        residual = reference.separate_kernel(kernel)[2]
        error = 100 * np.linalg.norm(residual) / np.linalg.norm(kernel)
        assert f"leaves {error:.1f}% of its norm" in made["rank"](kernel=name, terms=1)[1]


def test_sampling_points_agree_with_the_reference(made):
    image = pixels(made["sampling_points"].data["pixels"], 96)[None, None]
    for shape, amount, y, x in (("rotated", 3, 42, 38), ("free", 7, 20, 70), ("bent", 8, 2, 95), ("scaled", 5, 90, 4)):
        low, left = max(0, y - 24), max(0, x - 24)
        near = image[..., low:y + 25, left:x + 25]  # the offsets reach no farther than 8 pixels from the taps
        offset = np.zeros((1, 18, *near.shape[2:]))
        offset[0, :, y - low, x - left] = np.array(explorers._offsets(shape, amount), float).ravel()
        w = np.full((1, 1, 3, 3), 1 / 9)
        mean = reference.deform_conv2d(near, offset, w, padding=8, dilation=8)[0, 0, y - low, x - left]
        _, sentence = made["sampling_points"](shape=shape, amount=amount, y=y, x=x)
        assert f"the mean of the nine samples is {mean:.1f};" in sentence


def test_involution_kernels_agree_with_the_reference(made):
    data = made["involution_kernels"].data
    image = np.stack([pixels(channel, 64) for channel in data["pixels"]])
    for y, x, group in ((30, 36, 0), (0, 63, 1), (58, 32, 1)):
        kernel = np.zeros((1, 2, 3, 3, 64, 64))
        for g in (0, 1):
            kernel[0, g, :, :, y, x] = np.reshape(explorers.involution_kernel(image[:, y, x], g), (3, 3))
        low, high = max(0, y - 2), max(0, x - 2)
        near = np.s_[..., low:y + 3, high:x + 3]
        out = reference.involution2d(image[None][near], kernel[near])[0, :, y - low, x - high]
        _, sentence = made["involution_kernels"](y=y, x=x, group=group)
        first, second = (explorers.number(float(value), 1) for value in out[2 * group:2 * group + 2])
        assert f"outputs {first} and {second}. " in sentence
