"""The chapter on feature pyramids against other oracles, published figures, and bad input."""

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from cvnotes import cost, data, shapes, train
from cvnotes.focal_loss import fast as focal_fast
from cvnotes.fpn import explorer_data, fast, figures, formulas, reference
from cvnotes.models import fpn as models
from cvnotes.models import small_detectors

CHAPTERS = Path(__file__).parent.parent / "chapters"
PUBLISHED = json.loads((Path(__file__).parent / "data" / "state_dict_fasterrcnn_resnet50_fpn.json").read_text())["state_dict"]


def maps(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def both(name, *args, **options):
    """Return what the reference and the fast version give for tensors, both as tensors."""
    given = getattr(reference, name)(*[a.numpy() if isinstance(a, torch.Tensor) else a for a in args], **options)
    return torch.from_numpy(np.asarray(given)), getattr(fast, name)(*args, **options)


def as_arrays(pairs):
    return [(w.numpy(), None if b is None else b.numpy()) for w, b in pairs]


# --- upsampling ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(10, 14), (5, 7), (9, 13), (10, 7), (5, 30), (31, 8)])
def test_upsample_nearest_is_torchs(size):
    x = maps(2, 3, 5, 7)
    wanted = F.interpolate(x, size, mode="nearest")
    for result in both("upsample_nearest", x, size):
        assert torch.equal(result, wanted)


@pytest.mark.parametrize("size", range(1, 12))
def test_upsample_nearest_to_the_double_repeats_each_place(size):
    x = maps(1, 2, size, size)
    for result in both("upsample_nearest", x, 2 * size):
        assert torch.equal(result, x.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.mark.parametrize("size, larger, first", [(10, 470, 47), (102, 4794, 47)])
def test_upsample_nearest_is_exact_where_a_rounded_ratio_is_a_place_too_early(size, larger, first):
    """In single precision, 47 · (10 / 470) comes out below 1: torch's kernel copies place 0 there."""
    x = torch.arange(size, dtype=torch.float32)[None, None, None]
    wanted = torch.tensor([math.floor(Fraction(i * size, larger)) for i in range(larger)], dtype=torch.float32)
    for result in both("upsample_nearest", x, (1, larger)):
        assert torch.equal(result[0, 0, 0], wanted)
    theirs = F.interpolate(x, (1, larger), mode="nearest")[0, 0, 0]
    differ = (theirs != wanted).nonzero().flatten().tolist()
    assert differ[0] == first and (theirs <= wanted).all()


def test_sizes_of_a_pyramid_are_those_of_repeated_halving():
    for size in range(1, 1400):
        side = size
        for level in range(1, 8):
            side = (side + 1) // 2
            assert formulas.level_size(size, level) == side


# --- the pyramid -----------------------------------------------------------------------


def network(channels, width=6, seed=0):
    """Return the model of the book with random weights, biases too, and its weights as pairs."""
    torch.manual_seed(seed)
    model = models.FeaturePyramidNetwork(channels, width).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    pairs = [[(block[0].weight.detach(), block[0].bias.detach()) for block in blocks]
             for blocks in (model.inner_blocks, model.layer_blocks)]
    return model, *pairs


@pytest.mark.parametrize("sizes", [
    [(16, 24), (8, 12), (4, 6), (2, 3)], [(17, 25), (9, 13), (5, 7), (3, 4)], [(13, 9), (7, 5)], [(5, 5)],
    [(167, 3), (84, 2), (42, 1)],
])
def test_feature_pyramid_is_the_model_with_the_same_weights(sizes):
    channels = [3, 5, 4, 7][:len(sizes)]
    model, lateral, output = network(channels)
    features = [maps(2, C, *size, seed=C) for C, size in zip(channels, sizes)]
    wanted = model(features)
    ours = fast.feature_pyramid(features, lateral, output)
    loops = reference.feature_pyramid([c.numpy() for c in features], as_arrays(lateral), as_arrays(output))
    assert len(ours) == len(loops) == len(wanted) == len(sizes)
    for a, b, c, size in zip(ours, loops, wanted, sizes):
        assert a.shape == (2, 6, *size)
        torch.testing.assert_close(a, c)
        torch.testing.assert_close(torch.from_numpy(b), c)


def test_feature_pyramid_is_conv_and_interpolate():
    """Written out with torch.nn.functional alone, for two levels."""
    fine, coarse = maps(1, 3, 6, 8), maps(1, 4, 3, 4, seed=1)
    l2, l3, o2, o3 = maps(5, 3, 1, 1), maps(5, 4, 1, 1, seed=2), maps(2, 5, 3, 3, seed=3), maps(2, 5, 3, 3, seed=4)
    M3 = F.conv2d(coarse, l3)
    M2 = F.conv2d(fine, l2) + F.interpolate(M3, scale_factor=2, mode="nearest")
    wanted = [F.conv2d(M2, o2, padding=1), F.conv2d(M3, o3, padding=1)]
    for a, b in zip(fast.feature_pyramid([fine, coarse], [(l2, None), (l3, None)], [(o2, None), (o3, None)]), wanted):
        torch.testing.assert_close(a, b)


def test_a_pyramid_is_linear_in_its_maps():
    """No ReLU on the way: what the chapter says of it."""
    model, lateral, output = network([2, 3])
    a, b = ([maps(1, 2, 6, 6, seed=s), maps(1, 3, 3, 3, seed=s + 9)] for s in (0, 1))
    nothing = [torch.zeros_like(c) for c in a]
    of = lambda c: fast.feature_pyramid(c, lateral, output)  # noqa: E731
    for both_, one, other, none in zip(of([x + y for x, y in zip(a, b)]), of(a), of(b), of(nothing)):
        torch.testing.assert_close(both_, one + other - none)


def test_the_coarsest_reaches_every_level_and_the_finest_only_its_own():
    model, lateral, output = network([2, 2, 2])
    features = [maps(1, 2, 8 // 2**k, 8 // 2**k, seed=k).requires_grad_() for k in range(3)]
    levels = fast.feature_pyramid(features, lateral, output)
    for i, level in enumerate(levels):
        reached = torch.autograd.grad(level.sum(), features, retain_graph=True, allow_unused=True)
        assert [g is not None for g in reached] == [k >= i for k in range(3)]


def test_fast_passes_gradcheck():
    model, lateral, output = network([2, 3], 2)
    features = [maps(1, 2, 5, 3).requires_grad_(), maps(1, 3, 3, 2, seed=1).requires_grad_()]
    lateral, output = ([(w.clone().requires_grad_(), b.clone().requires_grad_()) for w, b in p] for p in (lateral, output))
    flat = features + [x for pair in lateral + output for x in pair]

    def run(f0, f1, *rest):
        pairs = list(zip(rest[::2], rest[1::2]))
        return tuple(fast.feature_pyramid([f0, f1], pairs[:2], pairs[2:]))

    assert gradcheck(run, flat)
    for size in ((4, 6), (5, 4)):
        assert gradcheck(lambda x: fast.upsample_nearest(x, size), maps(1, 2, 2, 3).requires_grad_())


def test_arguments_are_not_written_into():
    model, lateral, output = network([2, 3])
    features = [maps(1, 2, 4, 4), maps(1, 3, 2, 2)]
    before = [x.clone() for x in features]
    fast.feature_pyramid(features, lateral, output)
    assert all(torch.equal(a, b) for a, b in zip(features, before))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_other_precisions_keep_their_dtype(dtype):
    model, lateral, output = network([2, 3])
    low = lambda pairs: [(w.to(dtype), b.to(dtype)) for w, b in pairs]  # noqa: E731
    features = [maps(1, 2, 4, 4, dtype=dtype), maps(1, 3, 2, 2, dtype=dtype)]
    levels = fast.feature_pyramid(features, low(lateral), low(output))
    wanted = fast.feature_pyramid([c.double() for c in features], lateral, output)
    tolerance = {torch.float32: 1e-5, torch.float16: 0.02, torch.bfloat16: 0.15}[dtype]
    for level, exact in zip(levels, wanted):
        assert level.dtype == dtype
        torch.testing.assert_close(level.double(), exact, rtol=tolerance, atol=tolerance)


def test_no_images_give_levels_of_none():
    model, lateral, output = network([2, 3])
    features = [torch.zeros(0, 2, 4, 4, dtype=torch.float64), torch.zeros(0, 3, 2, 2, dtype=torch.float64)]
    assert [level.shape for level in fast.feature_pyramid(features, lateral, output)] == [(0, 6, 4, 4), (0, 6, 2, 2)]
    given = reference.feature_pyramid([c.numpy() for c in features], as_arrays(lateral), as_arrays(output))
    assert [level.shape for level in given] == [(0, 6, 4, 4), (0, 6, 2, 2)]


# --- the level of a box ----------------------------------------------------------------


def exact_level(w, h, k0=4, size0=224, lowest=2, highest=5):
    """⌊k0 + ½·log₂(w·h / size0²)⌋ in fractions: the largest k with 4^(k − k0) ≤ w·h / size0²."""
    ratio, k = Fraction(w) * Fraction(h) / Fraction(size0) ** 2, lowest
    while k < highest and Fraction(4) ** (k + 1 - k0) <= ratio:
        k += 1
    return k


def test_box_level_is_exact_at_its_borders():
    sides = [n + d for n in (28, 56, 112, 224, 448, 896) for d in (-1, 0, 1)] + [0, 1, 2000]
    pairs = [(w, h) for w in sides for h in sides] + [(56, 224), (448, 112), (1792, 28), (64, 196), (63, 199)]
    boxes = torch.tensor([[3.0, 5.0, 3.0 + w, 5.0 + h] for w, h in pairs], dtype=torch.float64)
    for options in ({}, {"lowest": -2, "highest": 8}, {"k0": 3, "size0": 112}, {"lowest": 3, "highest": 7}):
        wanted = torch.tensor([exact_level(w, h, **options) for w, h in pairs])
        for result in both("box_level", boxes, **options):
            assert torch.equal(result, wanted)


def test_box_level_a_last_digit_below_the_border_is_below():
    for side, level in ((112.0, 3), (224.0, 4), (448.0, 5)):
        less = float(np.nextafter(side, 0))
        boxes = torch.tensor([[0, 0, side, side], [0, 0, less, less]], dtype=torch.float64)
        for result in both("box_level", boxes):
            assert result.tolist() == [level, level - 1]
    # a trifle that is added to the logarithm lifts also what is a trifle below
    assert formulas.box_level(111.999995, 111.999995) == 2 and math.floor(4 + math.log2(111.999995 / 224) + 1e-6) == 3


def test_box_level_is_the_published_formula_away_from_borders():
    """torchvision 0.28.0, ops/poolers.py, LevelMapper: floor(k0 + log2(s / s0) + 1e-6), clamped."""
    random = np.random.default_rng(0)
    boxes = np.zeros((5000, 4))
    boxes[:, 2:] = 2 ** random.uniform(2, 11, (5000, 2))
    exponent = 4 + np.log2(np.sqrt(boxes[:, 2] * boxes[:, 3]) / 224)
    boxes, exponent = boxes[abs(exponent - exponent.round()) > 1e-5], exponent[abs(exponent - exponent.round()) > 1e-5]
    wanted = torch.from_numpy(np.floor(exponent + 1e-6).clip(2, 5)).long()
    for result in both("box_level", torch.from_numpy(boxes)):
        assert torch.equal(result, wanted)
    assert len(boxes) > 4900 and set(wanted.tolist()) == {2, 3, 4, 5}


def test_box_level_figures_of_the_paper():
    """Lin et al. (2017), section 4.2: k0 = 4 for 224², and half of it is one level finer; levels P2 to P5."""
    boxes = torch.tensor([[0.0, 0, 224, 224], [0, 0, 112, 112], [0, 0, 1, 1], [0, 0, 1e4, 1e4], [7, 7, 7, 90]])
    for result in both("box_level", boxes):
        assert result.tolist() == [4, 3, 2, 5, 2] and result.dtype == torch.int64


def test_no_boxes_have_no_levels():
    for result in both("box_level", torch.zeros(0, 4)):
        assert result.shape == (0,) and result.dtype == torch.int64


def test_a_box_measures_14_to_28_places_on_its_own_level():
    for side in range(56, 896):
        assert 14 <= side / 2 ** formulas.box_level(side, side) < 28


# --- spectra ---------------------------------------------------------------------------


@pytest.mark.parametrize("n", [8, 16, 31])
def test_nearest_gain_is_that_of_repeated_samples(n):
    """Y(f) is X(2f) times |1 + e^−iω|: the copy above ¼ as well. By numpy's transform."""
    x = np.random.default_rng(0).standard_normal(n)
    X, Y = np.fft.fft(x), np.fft.fft(np.repeat(x, 2))
    for k in range(n + 1):
        assert abs(Y[k]) == pytest.approx(2 * abs(X[k % n]) * formulas.nearest_gain(k / (2 * n)), abs=1e-9)
        z = (np.roll(np.repeat(x, 2), 1) + 2 * np.repeat(x, 2) + np.roll(np.repeat(x, 2), -1)) / 4
        assert abs(np.fft.fft(z)[k]) == pytest.approx(abs(Y[k]) * formulas.binomial_gain(k / (2 * n)), abs=1e-9)


def test_share_above_counts_frequencies_across_and_down():
    across = np.cos(2 * np.pi * 3 * np.arange(8) / 8) * np.ones((8, 1))  # 3/8 of a period a place
    slow = np.cos(2 * np.pi * np.arange(8) / 8) * np.ones((8, 1))
    power = [np.abs(np.fft.fft2(x)) ** 2 for x in (across, across.T, slow, slow + across)]
    assert [round(figures.share_above(p), 6) for p in power] == [1, 1, 0, 0.5]
    quarter = np.cos(2 * np.pi * 2 * np.arange(8) / 8) * np.ones((8, 1))
    assert figures.share_above(np.abs(np.fft.fft2(quarter)) ** 2) < 1e-9  # ¼ itself is not above


# --- published figures -----------------------------------------------------------------


def test_names_and_shapes_of_the_published_weights():
    """The state_dict of torchvision 0.28.0's fasterrcnn_resnet50_fpn, as far as it is backbone."""
    with torch.device("meta"):
        network = models.BackboneWithFPN(2, models.Subsampling())
    ours = {f"backbone.{key}": list(value.shape) for key, value in network.state_dict().items()}
    wanted = {key: shape for key, shape in PUBLISHED.items() if key.startswith("backbone.")}
    assert list(ours) == list(wanted) and ours == wanted
    assert sum(key.startswith("backbone.fpn.") for key in wanted) == 16


def test_parameters_of_the_pyramid_and_its_head():
    size = lambda *starts: sum(math.prod(shape) for key, shape in PUBLISHED.items() if key.startswith(starts))  # noqa: E731
    assert size("backbone.fpn.inner") == 984_064
    assert size("backbone.fpn.layer") == 2_360_320
    assert size("rpn.head") == 593_935
    assert PUBLISHED["rpn.head.cls_logits.weight"] == [3, 256, 1, 1]  # three anchors a place, one score each
    assert PUBLISHED["rpn.head.bbox_pred.weight"] == [12, 256, 1, 1]
    assert cost.conv2d(256, 256, 3, 1, bias=True).params + cost.conv2d(256, 15, 1, 1, bias=True).params == 593_935


@pytest.fixture(scope="module")
def table():
    with torch.device("meta"):
        return cost.trace(models.BackboneWithFPN(2, models.Subsampling()), (1, 3, 800, 1344))


def test_sizes_and_costs_that_the_chapter_tells(table):
    rows = {row.name: row for row in table if row.name.startswith("fpn.") and row.cost.params}
    assert sum(row.cost.params for row in rows.values()) == 3_344_384
    sizes = [rows[f"fpn.layer_blocks.{k}.0"].output_shape[2:] for k in range(4)]
    assert sizes == [(200, 336), (100, 168), (50, 84), (25, 42)]
    assert sizes == [tuple(formulas.level_size(side, k) for side in (800, 1344)) for k in (2, 3, 4, 5)]
    macs = sum(row.cost.macs for row in rows.values())
    assert macs == 60_899_328_000
    assert rows["fpn.layer_blocks.0.0"].cost.macs / macs == pytest.approx(0.651, abs=5e-4)
    assert macs / table.total.macs == pytest.approx(0.410, abs=5e-4)
    later = sum(row.cost.macs for name, row in rows.items() if "blocks.0.0" not in name)
    assert 0.25 < later / macs < 0.3  # of a pyramid that starts at P3
    assert table.total.params - 3_344_384 == pytest.approx(23e6, rel=0.03)  # the backbone's
    places = [a * b for a, b in sizes]
    assert 400 * 672 / sum(places) == pytest.approx(3, abs=0.05)  # those of a P1


def test_anchors_of_the_proposal_network():
    """Lin et al. (2017), section 4.1: areas 32² to 512² on P2 to P6, ratios 1:2, 1:1, 2:1: 15 anchors over the pyramid."""
    anchors = focal_fast.retinanet_anchors(
        (800, 1344), strides=(4, 8, 16, 32, 64), sizes=(32, 64, 128, 256, 512), scales=(1.0,), dtype="float64"
    )
    places = [formulas.level_size(800, k) * formulas.level_size(1344, k) for k in range(2, 7)]
    assert len(anchors) == 3 * sum(places) == 268_569
    areas = [(level[:, 2:] - level[:, :2]).prod(1) for level in anchors.split([3 * n for n in places])]
    for area, side in zip(areas, (32, 64, 128, 256, 512)):
        torch.testing.assert_close(area, torch.full_like(area, side**2))


def test_the_papers_ablations_agree_with_what_its_text_says_of_them():
    """Lin et al. (2017), table 1, in the notebook; section 5.1 tells the gains over C4 alone: 8.0 and 12.9 points."""
    notebook = json.loads((CHAPTERS / "fpn.ipynb").read_text())
    cell = next("".join(c["source"]) for c in notebook["cells"] if "".join(c["source"]).startswith("PAPER ="))
    namespace = {}
    exec(cell.split("figures.table")[0], namespace)
    other = next("".join(c["source"]) for c in notebook["cells"] if "".join(c["source"]).startswith("DETECTORS ="))
    exec(other.split("figures.table")[0], namespace)
    paper = namespace["PAPER"]
    whole, C4 = paper["the whole pyramid"], paper["C4 alone"]
    assert (round(whole[1] - C4[1], 1), round(whole[2] - C4[2], 1)) == (8.0, 12.9)
    for column in (1, 2, 3):  # all, small, medium
        assert max(paper, key=lambda name: paper[name][column]) == "the whole pyramid"
    assert sorted(paper, key=lambda name: paper[name][4])[-3:] == ["the whole pyramid", "P2 alone", "no top-down"]
    assert 0 < paper["no top-down"][1] - C4[1] < 2 and paper["no top-down"][2] < C4[2]
    # table 3, (a) and (c); section 5.2.2 tells the gain of 2.3 points
    detectors = namespace["DETECTORS"]
    assert round(detectors["the whole pyramid"][0] - detectors["C4 alone"][0], 1) == 2.3
    gains = [round(a - b, 1) for a, b in zip(detectors["the whole pyramid"], detectors["C4 alone"])]
    assert (gains[1], gains[3]) == (4.6, -1.3)


# --- bad input -------------------------------------------------------------------------

_X, _W, _V = np.zeros((1, 2, 4, 4)), np.zeros((3, 2, 1, 1)), np.zeros((5, 3, 3, 3))
_SMALL = np.zeros((1, 2, 2, 2))
_OK = ([_X, _SMALL], [(_W, None)] * 2, [(_V, None)] * 2)
_BAD_BOX = np.array([[0.0, 0.0, 2.0, 2.0], [3.0, 1.0, 1.0, 3.0]])

REFUSED = [
    ("upsample_nearest", (_X, (2, 8)), {}, "`size` (=(2, 8)) must not be below the 4 × 4 of `x`"),
    ("upsample_nearest", (_X, 0), {}, "`size` (=0) must be at least 1"),
    ("upsample_nearest", (_X[0], 8), {}, "`x` has the shape (2, 4, 4); "),
    ("feature_pyramid", ([], [], []), {}, "`features` is empty; at least 1 map is needed"),
    ("feature_pyramid", (_X, *_OK[1:]), {}, "`features` (an array) must be a list"),
    ("feature_pyramid", (_OK[0], None, _OK[2]), {}, "`lateral` (of type NoneType) must be a list"),
    ("feature_pyramid", (_OK[0], _OK[1][:1], _OK[2]), {},
     "`lateral` has 1 convolutions; 2 are needed, as `features` has"),
    ("feature_pyramid", (_OK[0][::-1], *_OK[1:]), {},
     "`features[1]` is 4 × 4; it must not exceed the 2 × 2 of `features[0]`: maps go from fine to coarse"),
    ("feature_pyramid", ([_X, np.zeros((2, 2, 2, 2))], *_OK[1:]), {}, "`features[1]` has 2 images; `features[0]` has 1"),
    ("feature_pyramid", ([_X, np.zeros((1, 7, 2, 2))], *_OK[1:]), {}, "`lateral[1]` takes 2 channels; `features[1]` has 7"),
    ("feature_pyramid", (_OK[0], [(_W, None), (np.zeros((4, 2, 1, 1)), None)], _OK[2]), {},
     "`lateral[1]` gives 4 channels; `lateral[0]` gives 3, and they are added"),
    ("feature_pyramid", (_OK[0], _OK[1], [(_V, None), (np.zeros((5, 3, 1, 1)), None)]), {},
     "`output[1]` is 1 × 1; 3 × 3 is needed"),
    ("feature_pyramid", (_OK[0], [(_W, np.zeros(2)), (_W, None)], _OK[2]), {}, "`lateral[0][1]` has the shape (2,); "),
    ("feature_pyramid", (_OK[0], [_W, (_W, None)], _OK[2]), {},
     "`lateral[0]` (an array) must be a pair: a weight, and a bias or None"),
    ("feature_pyramid", (_OK[0], [(_W,), (_W, None)], _OK[2]), {},
     "`lateral[0]` (of type tuple) must be a pair: a weight, and a bias or None"),
    ("feature_pyramid", ([_X, _SMALL.astype("float32")], *_OK[1:]), {},
     "`features[1]` (dtype float32) must match `features[0]` (dtype float64)"),
    ("box_level", (_BAD_BOX,), {}, "`boxes` holds [3.0, 1.0, 1.0, 3.0] at index 1: x2 must not be less than x1"),
    ("box_level", (_BAD_BOX * np.nan,), {}, "`boxes` holds [nan, nan, nan, nan] at index 0: "),
    ("box_level", (_BAD_BOX[:1],), {"size0": 0}, "`size0` (=0.0) must be from 1e-06 to 1000000"),
    ("box_level", (_BAD_BOX[:1],), {"lowest": 6}, "`highest` (=5) must be at least 6"),
    ("box_level", (_BAD_BOX[:1],), {"k0": 4.5}, "`k0` (=4.5) must be an integer"),
]


def as_tensors(value):
    if isinstance(value, (list, tuple)):
        return type(value)(as_tensors(item) for item in value)
    return torch.from_numpy(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("name, args, options, sentence", REFUSED)
def test_bad_input_is_refused_with_the_same_sentence(name, args, options, sentence):
    for module, given in ((reference, args), (fast, as_tensors(args))):
        with pytest.raises(ValueError) as error:
            getattr(module, name)(*given, **options)
        assert str(error.value).startswith(sentence)
        assert str(error.value) == sentence or sentence[-1] in " "  # the rest is for other tests


# --- a trained pyramid -----------------------------------------------------------------


@pytest.fixture(scope="module")
def stored():
    return explorer_data.outputs(CHAPTERS / "data" / "fpn_outputs.safetensors")


@pytest.fixture(scope="module")
def script(benchmark):
    """The script that made the stored outputs, as a module."""
    return benchmark("fpn_outputs")


@pytest.fixture(scope="module")
def detector():
    return train.load_weights(CHAPTERS / "data" / "detectors_retinanet.safetensors")


def test_parts_add_up_to_the_pyramid_of_the_detector(script, detector):
    examples = [train.unseen(i) for i in range(2)]
    own = script.parts(detector, examples)
    with torch.no_grad():
        wanted = detector.pyramid_of(detector.backbone(train.batch_of(examples, 128)[0]))
    for k in range(4):
        torch.testing.assert_close(own["P"][k], wanted[k], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(own["L"][k] + own["U"][k], own["M"][k])
        # what is added is the 3×3 of what comes from above, without its bias: the pyramid is linear
        weight = detector.output[k].weight
        torch.testing.assert_close(own["added"][k], F.conv2d(own["U"][k], weight, padding=1), rtol=1e-3, atol=1e-3)
    assert not own["U"][3].any() and not own["added"][3].any()


def test_stored_outputs_are_those_of_the_stored_weights(script, detector, stored):
    arrays, about = stored
    assert about == {"scene": script.SCENE, "first": script.FIRST, "fitted": script.FITTED, "tested": script.TESTED,
                     "spectra": script.SPECTRA, "limits": list(script.LIMITS), "scored": script.SCORED,
                     "found": script.FOUND}
    made = {**script.shown(detector), **script.spectra(detector)}
    for name, value in made.items():
        assert arrays[name].shape == value.shape
        if name.startswith("class"):
            assert (arrays[name] == value).mean() > 0.99  # where two classes have the same score, either may win
        elif name.startswith("spectrum"):
            np.testing.assert_allclose(arrays[name], value, rtol=1e-3, atol=1e-7)
        else:
            np.testing.assert_allclose(arrays[name].astype(float), value.astype(float), rtol=0.01, atol=0.02)
    read = script.read_outs(detector)
    np.testing.assert_array_equal(arrays["objects"], read["objects"])
    np.testing.assert_allclose(arrays["right"], read["right"], atol=0.01 * read["objects"].max())
    for name in ("near", "nearest", "cells", "cells_always"):
        np.testing.assert_allclose(arrays[name], read[name], rtol=0.02)
    found, across = script.found_at_centres(detector), script.crossed(detector)
    for count, parts_of in (("scored", "found"), ("owned", "crossed")):
        for name in (count, parts_of):
            np.testing.assert_allclose(arrays[name], {**found, **across}[name], atol=0 if name == count else 3)
    assert set(made) | set(read) | set(found) | set(across) == set(arrays)
    assert (CHAPTERS / "data" / "fpn_outputs.safetensors").stat().st_size < 1_000_000


def test_ridge_is_least_squares_where_there_is_no_ridge(script, monkeypatch):
    """numpy's lstsq on all examples at once; with a ridge, weights are smaller."""
    random = np.random.default_rng(0)
    x, noise = random.standard_normal((200, 3)) * (1, 5, 0.1) + (0, 2, 9), random.standard_normal((200, 2))
    y = x @ random.standard_normal((3, 2)) + 0.3 * noise + 4
    monkeypatch.setattr(script, "RIDGE", 0.0)
    ridge = script.Ridge()
    for part in (slice(0, 70), slice(70, 200)):
        ridge.add(x[part], y[part])
    both_ = np.linalg.lstsq(np.c_[np.ones(200), x], y, rcond=None)[0]
    np.testing.assert_allclose(ridge.fit()(x), np.c_[np.ones(200), x] @ both_, atol=1e-8)
    before = np.abs(ridge.weights * x.std(0)[:, None]).sum()
    monkeypatch.setattr(script, "RIDGE", 1.0)
    assert np.abs(ridge.fit().weights * x.std(0)[:, None]).sum() < before


def test_read_outs_look_at_the_place_of_the_centre(script):
    """On maps that hold each place's own number, and for cells on a mask that is known."""
    example = train.unseen(3)
    labels, centres, sizes = script.objects_of(example)
    for stride in script.STRIDES:
        n = 128 // stride
        (x, classes, offsets, own), (every, wanted) = script.rows_of(
            np.arange(n * n, dtype=float).reshape(1, 1, n, n), [example], stride
        )
        place = x[:, 0].astype(int)
        middles = np.stack([place % n, place // n], 1) * stride + stride / 2
        np.testing.assert_allclose(middles + offsets, centres)
        assert (np.abs(offsets) <= stride / 2).all() and (classes == labels).all() and (own == sizes).all()
        cells = stride // 4
        for p in (0, n + 1, n * n - 1):
            row, column = every[p, 0] // n, every[p, 0] % n
            part = example.masks.any(0)[int(row * stride):int((row + 1) * stride), int(column * stride):int((column + 1) * stride)]
            share = part.reshape(cells, 4, cells, 4).mean((1, 3))
            assert (wanted[p] == (share >= 0.5).ravel()).all()
    assert len(labels) == (~example.iscrowd).sum()


def test_found_at_centres_counts_places_above_the_limit(script, detector, monkeypatch):
    """By loops over the objects of a few scenes, from scores that are made up."""
    random = np.random.default_rng(0)
    scores = [torch.from_numpy(random.random((3, 128 // stride, 128 // stride))) for stride in script.STRIDES]
    monkeypatch.setattr(script, "parts", lambda detector, examples: {"alone": [x**3 for x in scores], "P": scores})
    monkeypatch.setattr(script, "best", lambda detector, maps: (maps, None))
    made = script.found_at_centres(detector, 7, 3, 3)
    wanted, objects = np.zeros((4, 4, 2)), np.zeros(4)
    for n in range(3):
        example = train.unseen(7 + n)
        for (x1, y1, x2, y2), area, crowd in zip(example.boxes, example.area, example.iscrowd):
            if crowd:
                continue
            group = 1 + (area >= 16**2) + (area >= 48**2)
            objects[[0, group]] += 1
            for k, stride in enumerate(script.STRIDES):
                score = scores[k][n, int((y1 + y2) / 2 // stride), int((x1 + x2) / 2 // stride)].item()
                wanted[k, [0, group]] += [score**3 > 0.5, score > 0.5]
    assert (made["scored"] == objects).all() and (made["found"] == wanted).all() and objects[0] > 6


def test_crossed_reads_each_object_at_its_own_place(script, monkeypatch):
    """On maps that hold the class where an object has its centre, all read-outs are right on all levels."""
    def made(detector, examples):
        levels = []
        for stride in script.STRIDES:
            maps = torch.zeros(len(examples), 6, 128 // stride, 128 // stride)
            for n, example in enumerate(examples):
                own = script.levels_of(example.boxes) == script.STRIDES.index(stride)
                for (x1, y1, x2, y2), label in zip(example.boxes[own & ~example.iscrowd], example.labels[own & ~example.iscrowd]):
                    maps[n, :, int((y1 + y2) / 2 // stride), int((x1 + x2) / 2 // stride)] = torch.eye(6)[label]
            levels.append(maps)
        return {"P": levels, "alone": [0 * maps for maps in levels]}

    monkeypatch.setattr(script, "parts", made)
    found = script.crossed(None, fitted=60, tested=40, batch=20)
    wanted = np.stack([found["owned"]] * 4)
    assert (found["crossed"][1] >= wanted - 2).all() and (found["crossed"][0] < 0.5 * wanted).all()
    examples = [train.unseen(script.FIRST + i) for i in range(60, 100)]
    assert found["owned"].sum() == sum((~example.iscrowd).sum() for example in examples)


def test_levels_of_are_those_of_the_nearest_anchors(script):
    sides = np.array([3, 10, 16.9, 17, 24, 33.9, 34, 60, 67, 68, 128.0])
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], 1)
    nearest = [min(range(4), key=lambda k: abs(math.log(side / (12 * 2**k)))) for side in sides]
    assert script.levels_of(boxes).tolist() == nearest


def test_two_waves_are_the_wave_and_its_copy():
    fine, slow, ripple = figures.two_waves(3, 32)
    np.testing.assert_allclose(slow + ripple, fine, atol=1e-12)
    for wave, at in ((slow, 3), (ripple, 29)):
        heights = np.abs(np.fft.rfft(wave)) / 32
        assert heights.argmax() == at and np.delete(heights, at).max() < 1e-12
        assert heights[at] == pytest.approx(formulas.nearest_gain(at / 64))
    axes = figures.plot_copy().axes
    drawn = [line.get_ydata() for ax in axes for line in ax.lines]
    for values, wanted in zip(drawn, (fine[:22], fine[:22:2], slow[:22], ripple[:22])):
        np.testing.assert_allclose(values, wanted, atol=1e-12)


def test_gain_by_band_is_that_of_a_filter():
    """A map times 3 has the gain 3 in each band; one that is smoothed, that of each wave in it."""
    x = np.random.default_rng(0).standard_normal((16, 16))
    power = np.abs(np.fft.fft2(x)) ** 2
    assert figures.gain_by_band(power, 9 * power) == pytest.approx([3] * 4)
    for band, k in enumerate((1, 3, 5, 7)):
        wave = np.cos(2 * np.pi * k * np.arange(16) / 16) * np.ones((16, 1))
        power = np.abs(np.fft.fft2(wave)) ** 2 + 1e-12
        gains = figures.gain_by_band(power, figures.smoothed(power))
        assert gains[band] == pytest.approx(formulas.binomial_gain(k / 16), rel=1e-4)


def test_tables_show_the_stored_counts(stored):
    arrays, _ = stored
    found = figures.found_table(arrays).data.replace("\u00a0", " ").splitlines()
    assert found[0] == "| level | below 16 px, % | 16 to 48 px, % | 48 and more px, % |"
    assert found[2:] == ["| P2 | 12 → 59 | 0 → 0 | 0 → 0 |", "| P3 | 8 → 19 | 34 → 45 | 0 → 0 |",
                         "| P4 | 1 → 2 | 33 → 43 | 15 → 28 |", "| P5 | 1 → 1 | 4 → 4 | 47 → 47 |"]
    crossed = figures.crossed_table(arrays).data.replace("\u00a0", " ").splitlines()
    assert crossed[2:] == ["| fitted to P2 | 67 → 67 | 44 → 59 | 40 → 52 | 29 → 32 |",
                           "| fitted to P3 | 37 → 50 | 79 → 77 | 61 → 63 | 37 → 50 |",
                           "| fitted to P4 | 32 → 40 | 54 → 56 | 78 → 75 | 34 → 42 |",
                           "| fitted to P5 | 27 → 27 | 33 → 31 | 34 → 35 | 59 → 59 |"]


def test_plot_ablations_draws_every_seed():
    one = lambda x: {"seeds": [x, x + 0.02], "mean": x + 0.01, "deviation": 0.014}  # noqa: E731
    made = {"variants": {
        variant: {"summary": {key: one(0.1 * i + 0.05 * j) for j, key in enumerate(figures.FIGURES)},
                  "boxes": 4080, "params": 1234}
        for i, variant in enumerate(figures.ABLATIONS, 1)
    }}
    axes, = figures.plot_ablations(made).axes
    dots = sorted(y for line in axes.lines if line.get_marker() == "o" for y in line.get_ydata())
    wanted = sorted(100 * (0.1 * i + 0.05 * j + d) for i in range(1, 5) for j in range(4) for d in (0, 0.02))
    assert dots == pytest.approx(wanted)
    text = figures.ablation_table(made).data.replace("\u00a0", " ")
    assert "| the whole pyramid | 11.0 ± 1.4 | 16.0 ± 1.4 | 21.0 ± 1.4 | 26.0 ± 1.4 | 4,080 | 1,234 |" in text


# --- what the chapter says of it ---------------------------------------------------------


def test_where_is_known_best_by_the_finest_map(stored):
    arrays, _ = stored
    near, nearest, cells = arrays["near"][:, 0], arrays["nearest"][:, 0], arrays["cells"]
    for rows in (slice(0, 4), slice(4, 8)):  # C, then P
        assert (np.diff(near[rows]) > 0).all() and (np.diff(cells[rows]) > 0).all()
    assert ((1.5 < near[1:4] / near[:3]) & (near[1:4] / near[:3] < 2.5)).all()  # about doubles
    assert (near[:4] < nearest).all() and near[0] == pytest.approx(1.0, abs=0.05) and near[3] > 8
    assert cells[0] < 0.02 and 0.095 < cells[3] < 0.1 and round(arrays["cells_always"].item(), 2) == 0.22


def test_what_is_known_best_by_the_map_whose_view_an_object_fills(stored):
    arrays, _ = stored
    right = arrays["right"] / arrays["objects"]
    error = np.sqrt(right * (1 - right) / arrays["objects"])  # standard errors
    small, medium, large = right[:4, 1], right[:4, 2], right[:4, 3]
    assert min(small[:2]) - max(small[2:]) > 0.1 and small[3] < 0.21 and small[3] - 1 / 6 < 0.05
    assert medium.argmax() == 2 and medium[2] - max(medium[[0, 1, 3]]) > 2 * error[2, 2]
    assert min(large[2:]) > 2 * large[0] and abs(large[2] - large[3]) < error[2, 3]
    # a place of C2 has seen 14 pixels across: a 6×6 with a stride of 4, then a 3×3
    assert shapes.receptive_field([(6, 4, 1, 1), (3, 1, 1, 1)])[-1][0] == 14


def test_top_down_brings_what_to_the_finest_level(stored):
    arrays, _ = stored
    right, near = arrays["right"] / arrays["objects"], arrays["near"][:, 0]
    percent = np.rint(100 * right).astype(int)
    assert percent[[0, 4], 1].tolist() == [58, 64] and percent[[0, 4], 2].tolist() == [40, 64]
    assert near[4] < 1 and near[4] < near[0]
    assert right[4, 0] > max(right[:4, 0])  # as well as the best map of the backbone, over all
    assert (right[5:7, 1] < right[1:3, 1] - 0.05).all()  # small objects, from P3 and P4
    assert (arrays["cells"][4:] > arrays["cells"][:4]).all()  # outlines, from each level
    assert right[4, 3] < 0.4 and min(right[6:, 3]) > 0.55  # large ones: P2, and P4, P5
    assert (right[4] > right[0]).all()  # P2 better than C2 at every size
    assert right[2, 2] > right[4, 2] + 0.05 and right[3, 3] > right[4, 3] + 0.2  # medium ones: C4; large ones: C5
    near, nearest = arrays["near"][:4, 0], arrays["nearest"][:, 0]
    assert (near / nearest > 0.7).all() and (near / nearest)[[0, 3]].min() > 0.85  # most of it is the distance of places


def test_levels_mean_nearly_the_same_from_P2_to_P4(stored):
    arrays, _ = stored
    alone, both_ways = arrays["crossed"] / arrays["owned"]
    own = np.diag(both_ways)
    assert 0.58 < own.min() and own.max() < 0.78
    for k in range(3):
        for j in range(3):
            if k != j:
                assert alone[k, j] < both_ways[k, j] < own[k] and 0.39 < both_ways[k, j] < 0.635
    assert max(both_ways[3, :3]) < 0.36  # what is fitted to P5 tells little elsewhere


def test_top_down_finds_more_on_each_level_that_has_one_above(stored):
    arrays, _ = stored
    alone, both_ways = arrays["found"][..., 0], arrays["found"][..., 1]
    assert (both_ways[:3, 0] > alone[:3, 0]).all() and (both_ways >= alone).all() and (both_ways[3] == alone[3]).all()


def test_the_trained_3x3_amplifies_all_waves_and_the_fastest_from_above_the_most(stored):
    arrays, _ = stored
    for k in (2, 3):  # P4 has from above nothing in the fastest band
        gains = {a: figures.gain_by_band(arrays[f"spectrum {k} {a}"], arrays[f"spectrum {k} {b}"])
                 for a, b in (("U", "added"), ("M", "P"))}
        assert min(gains["U"] + gains["M"]) > 1.1
        assert gains["U"][3] == max(gains["U"])
    share = {(k, part): figures.share_above(arrays[f"spectrum {k} {part}"]) for k in (2, 3, 4) for part in "MP"}
    assert share[2, "P"] > share[2, "M"] and all(share[k, "P"] < share[k, "M"] for k in (3, 4))
    assert f"{figures.share_above(np.ones((32, 32))):.0%}" == "72%"


def test_the_trained_3x3_leaves_more_of_the_copies(stored):
    arrays, _ = stored
    share = {(k, part): figures.share_above(arrays[f"spectrum {k} {part}"]) for k in (2, 3, 4) for part in "LUMP"}
    added = {k: figures.share_above(arrays[f"spectrum {k} added"]) for k in (2, 3, 4)}
    assert all(added[k] > share[k, "U"] + 0.03 for k in (2, 3, 4))
    assert [round(100 * x) for x in (share[2, "U"], added[2], added[4])] == [13, 18, 27]
    assert 0.145 < share[4, "U"] < 0.16
    for k in (2, 3, 4):
        assert figures.share_above(figures.smoothed(arrays[f"spectrum {k} U"])) < 0.015
        assert 0.22 < share[k, "M"] < 0.28 and 0.22 < share[k, "P"] < 0.28  # a quarter, before and after


def test_smoothed_is_the_spectrum_of_a_filtered_map():
    x = np.random.default_rng(0).standard_normal((8, 6))
    filtered = x
    for axis in (0, 1):
        filtered = (np.roll(filtered, 1, axis) + 2 * filtered + np.roll(filtered, -1, axis)) / 4
    wanted = np.abs(np.fft.fft2(filtered)) ** 2
    np.testing.assert_allclose(figures.smoothed(np.abs(np.fft.fft2(x)) ** 2), wanted, atol=1e-12)


def test_scores_that_try_this_tells(stored):
    """Where nothing is told of an object on a level, it has no score there, whether at its centre or elsewhere."""
    arrays, about = stored
    example = explorer_data.shown_scene(about)
    names = [data.CLASSES[label] for label in example.labels]
    assert names == ["triangle", "cross", "cross", "cross", "ring", "triangle"]  # small, left, large, on its edge, …
    scores = {level: arrays[f"view {level} score of the head"].astype(float) for level in (2, 3, 4, 5)}
    assert scores[2][0].max() < 0.0955  # P2 by itself finds none
    # on P3, the lateral way alone has two places of the ring, and one of the small triangle
    assert np.argwhere(scores[3][0] > 0.5).tolist() == [[2, 6], [2, 7], [3, 3]]
    assert np.argwhere(scores[4][0] > 0.5).tolist() == [[6, 0], [6, 1]]  # on P4, the large triangle
    assert scores[5][0].max() == scores[5][0][1, 2]  # on P5, the large cross


# --- the ablations, rebuilt small --------------------------------------------------------


@pytest.fixture(scope="module")
def training():
    return json.loads((CHAPTERS / "data" / "detectors_training.json").read_text())


def test_ablations_that_the_chapter_tells(training):
    settings, variants = training["settings"], training["variants"]
    told = (settings["steps"], settings["batch"], settings["seeds"], settings["tested"])
    assert told == (800, 16, 3, 500) and (settings["small_below"], settings["large_from"]) == (16, 48)
    found = {name: {key: variants[name]["summary"][key]["seeds"] for key in figures.FIGURES} for name in figures.ABLATIONS}
    whole, no_top_down, no_lateral, finest = found.values()
    for key in figures.FIGURES:  # every seed of one against every seed of another
        assert max(no_lateral[key]) < min(min(other[key]) for other in (whole, no_top_down, finest))
        assert min(no_top_down[key]) > max(whole[key])
    for key in ("AP", "APs", "APm"):
        assert min(no_top_down[key]) > max(finest[key])  # the picture's name: it is the highest for these
    for key in ("AP", "APs"):
        assert max(finest[key]) < min(whole[key]) - 0.05
    assert max(no_lateral["AP"]) < 0.12 and min(finest["APl"]) > max(whole["APl"])
    mean = {name: variants[name]["summary"]["AP"]["mean"] for name in ("full", "no-top-down")}
    assert f"{100 * (mean['no-top-down'] - mean['full']):.0f}" == "8"
    assert variants["finest"]["boxes"] > 3 * variants["full"]["boxes"]


def test_longer_training_leaves_little_of_the_difference(training):
    whole, without = (training["longer"][name]["summary"] for name in ("full", "no-top-down"))
    assert len(whole["AP"]["seeds"]) == len(without["AP"]["seeds"]) == 2
    assert {training["longer"][name]["steps"] for name in ("full", "no-top-down")} == {3000}
    assert f"{100 * (without['AP']['mean'] - whole['AP']['mean']):.1f}" == "1.5"
    for key in figures.FIGURES:
        assert min(without[key]["seeds"]) > max(whole[key]["seeds"])
    assert "66.6, 65.9" in figures.longer_table(training).data


def test_a_large_object_matches_more_anchors_on_the_finest_level():
    box = torch.tensor([[20.0, 30.0, 90.0, 100.0]])
    counts = {}
    for pyramid in ("full", "finest"):
        detector = small_detectors.SmallRetinaNet(6, pyramid=pyramid)
        counts[pyramid] = (focal_fast.match_anchors(box, detector.boxes) >= 0).sum().item()
    assert counts["finest"] > 10 * counts["full"]


def test_views_of_the_small_backbone_reach_beyond_its_anchors():
    """Receptive fields of C2 to C5: two 3×3 after the stem and in each stage; and ResNet-50's layers."""
    layers = [(6, 4, 1, 1), (3, 1, 1, 1)] + [(3, 2, 1, 1), (3, 1, 1, 1)] * 3
    seen = [shapes.receptive_field(layers)[i][0] for i in (1, 3, 5, 7)]
    assert seen == [14, 38, 86, 182] and all(a > b for a, b in zip(seen, small_detectors.SmallRetinaNet.SIDES))
    convolutions = [m for m in small_detectors.Backbone().modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(m.kernel_size[0], m.stride[0], m.padding[0], 1) for m in convolutions] == layers
    blocks = [3, 4, 6, 3]
    assert 1 + 3 * blocks[0] == 10 and 1 + 3 * sum(blocks) == 49
