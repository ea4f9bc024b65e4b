"""The chapter on boxes against other oracles, published examples, and bad input."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from cvnotes import bench, train
from cvnotes.boxes import explorers, fast, figures, formulas, reference

ROOT = Path(__file__).resolve().parent.parent
DTYPES = (torch.float32, torch.float64)


def tensor(values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


def random_boxes(count, seed=0, size=0.2, extent=1.0, dtype=torch.float64):
    """Return boxes with sides up to `size` in a square of side `extent`."""
    generator = torch.Generator().manual_seed(seed)
    corner, side = torch.rand(2, count, 2, generator=generator, dtype=torch.float64)
    return (extent * torch.cat([corner, corner + size * side], 1)).to(dtype)


def random_scores(count, seed=1, dtype=torch.float64):
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def both(name, *args, **kwargs):
    """Return what the reference and the fast version give for tensors, both as tensors."""
    given = getattr(reference, name)(*[a.numpy() if isinstance(a, torch.Tensor) else a for a in args], **kwargs)
    return torch.from_numpy(given), getattr(fast, name)(*args, **kwargs)


def check(results, oracle, **tolerance):
    for result in results:
        torch.testing.assert_close(result, oracle, **tolerance)


# --- areas and formats -----------------------------------------------------------------


FORMATTED = {  # torchvision, test/test_ops.py, TestBoxConvert
    "xyxy": [[0, 0, 100, 100], [0, 0, 0, 0], [10, 15, 30, 35], [23, 35, 93, 95]],
    "xywh": [[0, 0, 100, 100], [0, 0, 0, 0], [10, 15, 20, 20], [23, 35, 70, 60]],
    "cxcywh": [[50, 50, 100, 100], [0, 0, 0, 0], [20, 25, 20, 20], [58, 65, 70, 60]],
}


@pytest.mark.parametrize("in_fmt", formulas.FORMATS)
@pytest.mark.parametrize("out_fmt", formulas.FORMATS)
def test_box_convert_gives_the_published_boxes(in_fmt, out_fmt):
    boxes = tensor(FORMATTED[in_fmt])
    check(both("box_convert", boxes, in_fmt, out_fmt), tensor(FORMATTED[out_fmt]), rtol=0, atol=0)
    for result in both("box_convert", boxes, in_fmt, out_fmt):
        result += 1  # it is a new array, also where nothing changes
    assert torch.equal(boxes, tensor(FORMATTED[in_fmt]))


@pytest.mark.parametrize("fmt", formulas.FORMATS)
def test_box_convert_comes_back(fmt):
    boxes = random_boxes(50)
    check([fast.box_convert(fast.box_convert(boxes, "xyxy", fmt), fmt, "xyxy")], boxes)


def test_box_area_gives_the_published_areas():
    # torchvision, test/test_ops.py, TestBoxArea
    check(both("box_area", tensor(FLOATS)), tensor([604723.0806, 600965.4666, 592761.0085]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    boxes = tensor([[0.0, 0.0, 300.0, 400.0], [100.0, 0.0, 400.0, 400.0], [0.0, 0.0, 30.0, 40.0]], dtype)
    wide = boxes.float()  # areas beyond 65,504 don't fit in float16
    for name in ("box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou"):
        expected = getattr(fast, name)(wide, wide).to(dtype)
        assert torch.equal(getattr(fast, name)(boxes, boxes), expected) and expected.isfinite().all()
    scores = tensor([0.5, 0.75, 0.25], dtype)
    assert fast.nms(boxes, scores, 0.5).tolist() == [1, 0, 2] and fast.nms(boxes, scores, 0.49).tolist() == [1, 2]
    if dtype == torch.float16:
        assert np.array_equal(reference.box_iou(boxes.numpy(), boxes.numpy()), fast.box_iou(boxes, boxes).numpy())
        assert reference.nms(boxes.numpy(), scores.numpy(), 0.5).tolist() == [1, 0, 2]
        assert reference.box_area(boxes.numpy()).tolist() == fast.box_area(boxes).tolist() == [120000, 120000, 1200]


# --- IoU and its relatives -------------------------------------------------------------


MEASURES = {
    "iou": "box_iou", "generalized": "generalized_box_iou",
    "distance": "distance_box_iou", "complete": "complete_box_iou",
}
FLOATS = [  # torchvision, test/test_ops.py, FLOAT_BOXES
    [285.3538, 185.5758, 1193.5110, 851.4551],
    [285.1472, 188.7374, 1192.4984, 851.0669],
    [279.2440, 197.9812, 1189.4746, 849.2019],
]


def test_iou_counts_pixels():
    random = np.random.default_rng(0)
    boxes = np.sort(random.integers(0, 9, (30, 2, 2)), 1).reshape(30, 4)
    images = np.zeros((30, 8, 8), bool)
    for image, (x1, y1, x2, y2) in zip(images, boxes):
        image[y1:y2, x1:x2] = True
    shared = (images[:, None] & images).sum((2, 3))
    covered = (images[:, None] | images).sum((2, 3))
    counted = torch.from_numpy(np.where(covered, shared / np.maximum(covered, 1), 0))
    assert (covered == 0).any() and (shared == covered).any()
    check(both("box_iou", tensor(boxes), tensor(boxes)), counted, rtol=0, atol=0)


def exact(kind, a, b):
    """An oracle in exact rational numbers."""
    a, b = ([Fraction(value) for value in box] for box in (a, b))
    sides = [[max(box[i + 2] for box in (a, b)) - min(box[i] for box in (a, b)) for i in (0, 1)]]
    meet = [max(Fraction(0), min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    shared = meet[0] * meet[1]
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - shared
    iou = shared / union if union else Fraction(0)
    (w, h), = sides
    if kind == "generalized":
        return iou - (1 - union / (w * h) if w * h else 0)
    if kind == "distance":
        apart = sum((a[i] + a[i + 2] - b[i] - b[i + 2]) ** 2 for i in (0, 1)) / 4
        return iou - (apart / (w * w + h * h) if w * w + h * h else 0)
    return iou


@pytest.mark.parametrize("kind", ["iou", "generalized", "distance"])
@pytest.mark.parametrize("steps", [4, 1000])
def test_measures_equal_exact_rational_arithmetic(kind, steps):
    random = np.random.default_rng(0)
    boxes = tensor(np.sort(random.integers(0, steps, (40, 2, 2)), 1).reshape(40, 4)) / 8
    expected = tensor([[float(exact(kind, a, b)) for b in boxes.tolist()] for a in boxes.tolist()])
    check(both(MEASURES[kind], boxes, boxes), expected, rtol=1e-14, atol=2e-16)


def test_measures_give_the_published_values():
    # torchvision, test/test_ops.py: INT_BOXES against the first three of them, expected by TestBoxIou,
    # TestGeneralizedBoxIou, TestDistanceBoxIoU and TestCompleteBoxIou, to four digits.
    boxes = tensor([[0, 0, 100, 100], [0, 0, 50, 50], [200, 200, 300, 300], [0, 0, 25, 25]])
    by_distance = [[1, 0.1875, -0.4444], [0.1875, 1, -0.5625], [-0.4444, -0.5625, 1], [-0.0781, 0.1875, -0.6267]]
    published = {
        "iou": [[1, 0.25, 0], [0.25, 1, 0], [0, 0, 1], [0.0625, 0.25, 0]],
        "generalized": [[1, 0.25, -0.7778], [0.25, 1, -0.8611], [-0.7778, -0.8611, 1], [0.0625, 0.25, -0.8819]],
        "distance": by_distance, "complete": by_distance,  # all are squares
    }
    for kind, name in MEASURES.items():
        check(both(name, boxes, boxes[:3]), tensor(published[kind]), rtol=0, atol=6e-5)
        alike = tensor([[1, 0.9933, 0.9673], [0.9933, 1, 0.9737], [0.9673, 0.9737, 1]])
        check(both(name, tensor(FLOATS), tensor(FLOATS)), alike, rtol=0, atol=1e-3)


def test_measures_give_the_published_losses():
    # fvcore, tests/test_giou_loss.py, and torchvision, test/test_ops.py, TestCompleteBoxIouLoss
    one, two = tensor([[-1, -1, 1, 1]] * 4), tensor([[-1, -1, 1, 1], [0, 0, 1, 1], [0, 1, 1, 2], [1, 1, 2, 2]])
    check(both("paired_iou", one, two, kind="complete"), 1 - tensor([0, 0.8125, 1.1923, 1.25]), rtol=0, atol=5e-5)
    one, two = tensor([[-1, -1, 1, 1]] * 2 + [[0, 0, 1, 1]] * 2), two
    check(both("paired_iou", one, two, kind="generalized"), 1 - tensor([0, 0.75, 1, 1.5]), rtol=0, atol=1e-15)


@pytest.mark.parametrize("kind", MEASURES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_measures_have_their_properties(kind, dtype):
    a, b = random_boxes(60, 0, dtype=dtype), random_boxes(50, 1, 1.0, dtype=dtype)
    measure = getattr(fast, MEASURES[kind])
    values = measure(a, b)
    assert torch.equal(values, measure(b, a).T)  # to the bit
    assert values.max() <= 1 and values.min() > (-1.5 if kind == "complete" else -1)
    assert torch.equal(measure(a, a).diagonal(), torch.ones(60, dtype=dtype))
    assert torch.equal(measure(a * 1024, b * 1024), values)  # by a power of two: nothing is rounded
    torch.testing.assert_close(measure(a + 3, b + 3), values, rtol=0, atol=3e-5 if dtype == torch.float32 else 1e-13)
    swapped = measure(a[:, [1, 0, 3, 2]], b[:, [1, 0, 3, 2]])
    torch.testing.assert_close(swapped, values, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-15)
    if kind != "iou":
        assert (values <= fast.box_iou(a, b) + (1e-6 if dtype == torch.float32 else 1e-15)).all()
    assert torch.equal(fast.paired_iou(a[:50], b, kind=kind), values[:50].diagonal())


@pytest.mark.parametrize("kind", MEASURES)
def test_measures_of_boxes_without_area(kind):
    point, line, flat, square = [1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 3.0], [0.0, 1.0, 3.0, 1.0], [0.0, 0.0, 3.0, 3.0]
    boxes = tensor([point, line, flat, square])
    for result in both(MEASURES[kind], boxes, boxes):
        assert result.isfinite().all() and torch.equal(result.diagonal(), tensor([0.0, 0.0, 0.0, 1.0]))
        assert (result[~torch.eye(4, dtype=torch.bool)] <= 0).all()
    leaf = boxes.requires_grad_()
    getattr(fast, MEASURES[kind])(leaf, leaf.detach()).sum().backward()
    assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("kind", MEASURES)
@pytest.mark.parametrize("dtype, far", [(torch.float32, 1e18), (torch.float64, 1e150)])
def test_measures_of_huge_boxes_stay_finite(kind, dtype, far):
    boxes = tensor([[-far, -far, far, far], [-far, -far, 0, 0], [0, 0, far, far], [far / 2, -far, far, far]], dtype)
    small = tensor([[-1, -1, 1, 1], [-1, -1, 0, 0], [0, 0, 1, 1], [0.5, -1, 1, 1]], dtype)
    expected = getattr(fast, MEASURES[kind])(small, small)
    check(both(MEASURES[kind], boxes, boxes), expected)


def test_box_iou_works_in_pieces(monkeypatch):
    a, b = random_boxes(100), random_boxes(7, 1)
    whole = fast.box_iou(a, b)
    for pairs in (1, 7, 20, 10**6):
        monkeypatch.setattr(fast, "PAIRS", pairs)
        assert torch.equal(fast.box_iou(a, b), whole)
    assert torch.equal(fast.box_iou(a.clone().requires_grad_(), b).detach(), whole)


@pytest.mark.parametrize("count, more", [(0, 0), (0, 3), (3, 0)])
def test_no_boxes_are_a_set_of_boxes(count, more):
    a, b = random_boxes(count), random_boxes(more)
    for name in MEASURES.values():
        check(both(name, a, b), torch.zeros(count, more, dtype=torch.float64))
    if count == more:
        for kind in MEASURES:
            check(both("paired_iou", a, b, kind=kind), a[:, 0])
        check(both("box_area", a), a[:, 0])
        check(both("box_convert", a, "xyxy", "cxcywh"), a)
        check(both("encode", a, b), a)
        check(both("decode", a, b), a)
        none = torch.zeros(0, dtype=torch.int64)
        check(both("nms", a, a[:, 0], 0.5), none)
        check(both("batched_nms", a, a[:, 0], none, 0.5), none)
        for index, score in (reference.soft_nms(a.numpy(), a[:, 0].numpy()), fast.soft_nms(a, a[:, 0])):
            assert len(index) == len(score) == 0 and str(index.dtype)[-5:] == "int64" and str(score.dtype)[-7:] == "float64"


# --- gradients -------------------------------------------------------------------------


def slopes(kind, a, b):
    leaf = tensor(a)[None].requires_grad_()
    fast.paired_iou(leaf, tensor(b)[None], kind=kind).sum().backward()
    return leaf.grad[0].tolist()


@pytest.mark.parametrize("kind", MEASURES)
@pytest.mark.parametrize("steps", [3, 5, 10**6])
def test_gradient_equals_autograd_also_where_edges_meet(kind, steps):
    random = np.random.default_rng(0)
    pairs = np.sort(random.integers(0, steps, (300, 2, 2, 2)), 2).reshape(300, 2, 4) * (4.0 / steps)
    for a, b in pairs.tolist():
        np.testing.assert_allclose(formulas.gradient(kind, a, b), slopes(kind, a, b), rtol=1e-9, atol=1e-12)


def test_gradient_with_alpha_held_constant():
    # Zheng et al. (2020): the gradient that their text gives is that of v alone.
    a, b = [0.0, 0.0, 4.0, 3.0], [1.5, 1.0, 3.0, 6.0]
    leaf = tensor(a).requires_grad_()
    w, h = leaf[2] - leaf[0], leaf[3] - leaf[1]
    v = 4 / np.pi**2 * (torch.atan(w / h) - np.arctan(1.5 / 5)) ** 2
    iou = exact("iou", a, b)
    alpha = v.item() / (1 - float(iou) + v.item())
    distance = fast.paired_iou(leaf[None], tensor(b)[None], kind="distance").sum()
    (distance - alpha * v).backward()
    held = formulas.gradient("complete", a, b, constant_alpha=True)
    np.testing.assert_allclose(held, leaf.grad.tolist(), rtol=1e-9)
    assert abs(np.array(held) - formulas.gradient("complete", a, b)).max() > 1e-3


def test_only_the_relatives_of_iou_pull_boxes_together_that_lie_apart():
    a, b = [0.0, 0.0, 2.0, 1.0], [5.0, 4.0, 6.0, 6.0]
    assert formulas.gradient("iou", a, b) == [0, 0, 0, 0]
    for kind in ("distance", "complete"):
        x1, y1, x2, y2 = formulas.gradient(kind, a, b)
        assert x1 + x2 > 0 and y1 + y2 > 0  # moved as a whole, to the right and down
    x1, y1, x2, y2 = formulas.gradient("generalized", a, b)
    assert x2 > 0 and y2 > 0 and x1 < 0 and y1 < 0  # and GIoU makes it larger first


# --- codes -----------------------------------------------------------------------------


def test_encode_equals_the_equations_of_ssd():
    boxes, anchors = random_boxes(20) + 1, random_boxes(20, 1) + 1
    d, g = fast.box_convert(anchors, "xyxy", "cxcywh"), fast.box_convert(boxes, "xyxy", "cxcywh")
    centres = (g[:, :2] - d[:, :2]) / (0.1 * d[:, 2:])  # with its variances
    sizes = torch.log(g[:, 2:] / d[:, 2:]) / 0.2
    check(both("encode", boxes, anchors, weights=(10, 10, 5, 5)), torch.cat([centres, sizes], 1))


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0), [1, 2, 3, 4]])
def test_decode_undoes_encode(weights):
    boxes, anchors = random_boxes(50), random_boxes(50, 1)
    for codes in both("encode", boxes, anchors, weights=weights):
        check(both("decode", codes, anchors, weights=weights), boxes)


def test_decode_of_zero_is_the_anchor():
    anchors = random_boxes(9)
    check(both("decode", torch.zeros(9, 4, dtype=torch.float64), anchors), anchors)


def test_decode_limits_the_size():
    offsets, anchors = tensor([[0.0, 0.0, 100.0, -100.0]]), tensor([[0.0, 0.0, 16.0, 16.0]])
    most = np.log(1000 / 16)
    for box in both("decode", offsets, anchors, max_log_scale=most):
        torch.testing.assert_close(box, tensor([[-492.0, 8.0, 508.0, 8.0]]))
    for box in both("decode", offsets, anchors, weights=(1, 1, 200, 200), max_log_scale=most):
        torch.testing.assert_close(box[0, 2] - box[0, 0], tensor(16 * np.exp(0.5)))
    for most, dtype in ((40, torch.float32), (340, torch.float64)):
        offsets, anchors = tensor([[0, 0, 2 * most, -1]], dtype), tensor([[0, 0, 16, 1]], dtype)
        for box in both("decode", offsets, anchors, weights=(1, 1, 2, 2)):
            assert box.isfinite().all()


# --- greedy suppression ----------------------------------------------------------------


def greedy(boxes, scores, threshold, classes=None):
    """An oracle of its own: one box after the other against all that are left, in NumPy."""
    x1, y1, x2, y2 = boxes.numpy().T
    area = (x2 - x1) * (y2 - y1)
    left = np.argsort(-scores.numpy(), kind="stable")
    classes = np.zeros(len(boxes)) if classes is None else classes.numpy()
    kept = []
    while len(left):
        i, left = left[0], left[1:]
        kept.append(i)
        w = np.minimum(x2[i], x2[left]) - np.maximum(x1[i], x1[left])
        h = np.minimum(y2[i], y2[left]) - np.maximum(y1[i], y1[left])
        shared = np.where((w > 0) & (h > 0), w * h, 0).astype(x1.dtype)
        with np.errstate(invalid="ignore"):
            over = shared / (area[i] + area[left] - shared) > x1.dtype.type(threshold)
        left = left[~(over & (classes[left] == classes[i]))]
    return torch.tensor(np.array(kept, np.int64))


def clusters(count, seed=0, dtype=torch.float32):
    """Return boxes in clusters of about ten."""
    generator = torch.Generator().manual_seed(seed)
    centres = random_boxes(max(1, count // 10), seed, 0.05, dtype=torch.float64)
    which = torch.randint(len(centres), (count,), generator=generator)
    noise = 0.0015 * torch.randn(count, 4, generator=generator, dtype=torch.float64)
    boxes = centres[which] + noise
    return torch.cat([torch.minimum(boxes[:, :2], boxes[:, 2:]), torch.maximum(boxes[:, :2], boxes[:, 2:])], 1).to(dtype)


N = 600
SCENES = {
    "clusters": lambda: clusters(N),
    "uniform": lambda: random_boxes(N, size=0.1, dtype=torch.float32),
    "crowded": lambda: random_boxes(N, size=1.0),
    "all the same": lambda: torch.ones(N, 1) * tensor([1.0, 2.0, 3.0, 5.0]),
    "a chain": lambda: torch.arange(float(N))[:, None] + tensor([0.0, 0.0, 2.0, 1.0]),
    "sizes of all powers": lambda: random_boxes(N) * 2.0 ** torch.arange(N).remainder(60)[:, None],
    "one far away": lambda: torch.cat([random_boxes(N - 1), tensor([[-1e140, -1e140, 1e140, 1e140]])]),
    "no area": lambda: random_boxes(N)[:, [0, 1, 2, 1]],
    "half without area": lambda: torch.cat([random_boxes(N // 2), random_boxes(N - N // 2)[:, [0, 1, 0, 3]]]),
    "a grid of whole numbers": lambda: torch.cat([x := torch.randint(12, (N, 2)), x + torch.randint(5, (N, 2))], 1).float(),
    "so small that areas vanish": lambda: random_boxes(N, dtype=torch.float32) * 1e-22,
}


@pytest.fixture
def small_blocks(monkeypatch):
    """Make the blocks, tiles and chunks of the fast version so small that a few hundred boxes need many."""
    for name, size in (("BLOCK", 32), ("TILE", 8), ("TESTS", 256)):
        monkeypatch.setattr(fast, name, size)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("scene", SCENES)
def test_nms_keeps_what_a_plain_search_keeps(scene, threshold, small_blocks):
    torch.manual_seed(0)
    boxes = SCENES[scene]()
    tied = random_scores(N, seed=2, dtype=boxes.dtype).mul(9).floor()
    for scores in (random_scores(N, dtype=boxes.dtype), tied):
        assert torch.equal(fast.nms(boxes, scores, threshold), greedy(boxes, scores, threshold))


@pytest.mark.parametrize("threshold", [0.0, 0.5])
@pytest.mark.parametrize("many", [1, 3, 80, N])
def test_batched_nms_keeps_what_nms_keeps_of_each_class(many, threshold, small_blocks):
    boxes, scores = clusters(N), random_scores(N, dtype=torch.float32)
    classes = torch.randint(-many, many, (N,), generator=torch.Generator().manual_seed(many))
    kept = fast.batched_nms(boxes, scores, classes, threshold)
    assert torch.equal(kept, greedy(boxes, scores, threshold, classes))
    groups = [(classes == c).nonzero()[:, 0] for c in classes.unique()]
    alone = torch.cat([own[fast.nms(boxes[own], scores[own], threshold)] for own in groups])
    assert torch.equal(kept.sort().values, alone.sort().values)


def test_nms_of_many_boxes():
    boxes, scores = clusters(5000), random_scores(5000, dtype=torch.float32)
    kept = fast.nms(boxes, scores, 0.5)
    assert torch.equal(kept, greedy(boxes, scores, 0.5))
    assert 450 < len(kept) < 2500


TENSORFLOW = tensor([[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, -0.1, 1, 0.9], [0, 10, 1, 11], [0, 10.1, 1, 11.1], [0, 100, 1, 101]])
TENSORFLOW_SCORES = tensor([0.9, 0.75, 0.6, 0.95, 0.5, 0.3])


def test_nms_keeps_what_is_published():
    # TensorFlow, image_ops_test.py: testSelectFromThreeClusters, testZeroIOUThreshold, testSelectFromContinuousOverLap
    check(both("nms", TENSORFLOW, TENSORFLOW_SCORES, 0.5), torch.tensor([3, 0, 5]))
    check(both("nms", TENSORFLOW, torch.ones(6, dtype=torch.float64), 0.0), torch.tensor([0, 3, 5]))
    chain = tensor([[0, 0, 1, 1], [0, 0.2, 1, 1.2], [0, 0.4, 1, 1.4], [0, 0.6, 1, 1.6], [0, 0.8, 1, 1.8]])
    check(both("nms", chain, tensor([0.9, 0.75, 0.6, 0.5, 0.4]), 0.5), torch.tensor([0, 2, 4]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_nms_keeps_a_box_that_hits_the_threshold(dtype):
    # IoUs of 1/2, 3/10, 1/3 and 7/10; in float32 and float64 these round to both sides of themselves
    for shared, sides, threshold in ((1, (1, 2), 0.5), (3, (3, 10), 0.3), (1, (2, 2), 1 / 3), (7, (7, 10), 0.7)):
        a, b = sides
        boxes = tensor([[0, 0, a, 1], [a - shared, 0, a - shared + b, 1]], dtype)
        scores = tensor([0.9, 0.8], dtype)
        assert fast.box_iou(boxes, boxes)[0, 1] == torch.tensor(threshold, dtype=dtype)
        check(both("nms", boxes, scores, threshold), torch.tensor([0, 1]))
        lower = np.nextafter(boxes.numpy().dtype.type(threshold), boxes.numpy().dtype.type(0))
        check(both("nms", boxes, scores, float(lower)), torch.tensor([0]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_nms_decides_as_the_reference_in_each_dtype(dtype):
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        corner = torch.randint(6, (60, 2), generator=generator)
        boxes = torch.cat([corner, corner + torch.randint(7, (60, 2), generator=generator)], 1).to(dtype) / 10
        scores = torch.randint(20, (60,), generator=generator).to(dtype)
        for threshold in (0.1, 0.2, 0.3, 1 / 3, 0.4, 0.6, 2 / 3, 0.7):
            ours, fasts = both("nms", boxes, scores, threshold)
            assert torch.equal(ours, fasts)
            classes = torch.randint(3, (60,), generator=generator)
            ours, fasts = both("batched_nms", boxes, scores, classes, threshold)
            assert torch.equal(ours, fasts)


def test_nms_takes_the_lower_index_of_equal_scores():
    boxes = tensor([[0, 0, 1, 1]] * 40 + [[5, 5, 6, 6]] * 40)
    scores = torch.zeros(80, dtype=torch.float64)
    scores[1::2] = -0.0  # equal to 0
    check(both("nms", boxes, scores, 0.5), torch.tensor([0, 40]))
    check(both("nms", boxes, scores, 1.0), torch.arange(80))


def test_batched_nms_is_exact_where_moved_boxes_would_be_rounded():
    boxes = tensor([[0, 0, 10, 10], [0, 0, 10, 4], [1e7, 1e7, 1e7 + 2, 1e7 + 2]], torch.float32)
    scores, classes = tensor([0.9, 0.8, 0.7], torch.float32), torch.tensor([7, 7, 0])
    moved = boxes + (classes * (boxes.max() + 1)).to(boxes)[:, None]  # the usual trick
    assert fast.nms(moved, scores, 0.5).tolist() == [0, 2]
    check(both("batched_nms", boxes, scores, classes, 0.5), torch.tensor([0, 1, 2]))


@pytest.mark.parametrize("boxes", [random_boxes(2000, size=0.1), torch.ones(20000, 1) * tensor([1, 2, 3, 5])])
def test_nms_needs_little_memory(boxes):
    scores = random_scores(len(boxes))
    assert bench.peak_memory(lambda: fast.nms(boxes, scores, 0.5)) < 20e6


# --- soft suppression ------------------------------------------------------------------


def test_soft_nms_gives_the_published_scores():
    # TensorFlow, image_ops_test.py, testSelectFromThreeClustersWithSoftNMS. It divides by 2·sigma, with sigma 0.5.
    ours = reference.soft_nms(TENSORFLOW.numpy(), TENSORFLOW_SCORES.numpy(), sigma=1.0, method="gaussian", min_score=0)
    fasts = fast.soft_nms(TENSORFLOW, TENSORFLOW_SCORES, sigma=1.0, method="gaussian", min_score=0)
    for indices, scores in (ours, fasts):
        assert indices.tolist() == [3, 0, 1, 5, 4, 2]
        np.testing.assert_allclose(scores, [0.95, 0.9, 0.384, 0.3, 0.256, 0.197], rtol=0, atol=6e-4)


def soft(boxes, scores, factor, min_score):
    """An oracle of its own, on the whole matrix of IoUs."""
    overlaps, s = reference.box_iou(boxes.numpy(), boxes.numpy()), scores.numpy().copy()
    taken, final, left = [], [], np.ones(len(s), bool)
    while left.any():
        best = np.flatnonzero(left)[s[left].argmax()]
        if s[best] < min_score:
            break
        left[best] = False
        taken.append(best)
        final.append(s[best])
        s[left] *= factor(overlaps[best, left])
    return taken, final


@pytest.mark.parametrize("method, factor", [
    ("linear", lambda iou: np.where(iou > 0.3, 1 - iou, 1)), ("gaussian", lambda iou: np.exp(-iou**2 / 0.5)),
])
@pytest.mark.parametrize("min_score", [0.0, 0.001, 0.3])
def test_soft_nms_equals_a_plain_search(method, factor, min_score):
    boxes, scores = random_boxes(80, size=0.6), random_scores(80)
    taken, final = soft(boxes, scores, factor, min_score)
    for indices, s in (
        reference.soft_nms(boxes.numpy(), scores.numpy(), method=method, min_score=min_score),
        fast.soft_nms(boxes, scores, method=method, min_score=min_score),
    ):
        assert indices.tolist() == taken and (list(s) == sorted(s, reverse=True))
        np.testing.assert_allclose(s, final, rtol=1e-12)


def test_soft_nms_drops_what_falls_below_the_least_score():
    boxes = tensor([[0, 0, 4, 4]] * 3)
    for method, scores in (("linear", [0.9]), ("gaussian", [0.9, 0.8 * np.exp(-2), 0.7 * np.exp(-4)])):
        for indices, s in (
            reference.soft_nms(boxes.numpy(), np.array([0.9, 0.8, 0.7]), method=method),
            fast.soft_nms(boxes, tensor([0.9, 0.8, 0.7]), method=method),
        ):
            assert indices.tolist() == list(range(len(scores)))
            np.testing.assert_allclose(s, scores, rtol=1e-12)
    # a score that is just the least is still taken; one that fell to 0 is taken where the least is 0
    for module, change in ((reference, torch.Tensor.numpy), (fast, lambda x: x)):
        assert module.soft_nms(change(boxes[:1]), change(tensor([0.001])))[0].tolist() == [0]
        assert module.soft_nms(change(boxes), change(tensor([0.9, 0.8, 0.7])), min_score=0)[1].tolist() == [0.9, 0, 0]


def test_soft_nms_leaves_a_score_whose_iou_is_just_the_threshold():
    boxes, scores = tensor([[0, 0, 3, 1], [0, 0, 10, 1]], torch.float32), tensor([0.9, 0.8], torch.float32)
    assert fast.soft_nms(boxes, scores, iou_threshold=0.3)[1].tolist() == scores.tolist()
    assert reference.soft_nms(boxes.numpy(), scores.numpy(), iou_threshold=0.3)[1].tolist() == scores.tolist()


@pytest.mark.parametrize("method", formulas.METHODS)
def test_soft_nms_passes_gradcheck(method):
    boxes = tensor([[1.0, 1.1, 5.0, 4.2], [0.5, 0.4, 4.0, 4.0], [1.4, 0.0, 6.0, 3.3], [9.0, 9.0, 10.0, 10.0]]).requires_grad_()
    scores = tensor([0.9, 0.8, 0.7, 0.6]).requires_grad_()
    torch.autograd.gradcheck(lambda b, s: fast.soft_nms(b, s, method=method)[1], (boxes, scores))


# --- bad input -------------------------------------------------------------------------


GOOD = [[0.0, 0.0, 2.0, 3.0], [1.0, 1.0, 4.0, 4.0], [0.0, 2.0, 2.0, 5.0]]
LARGE = "numbers from -1e+150 to 1e+150 are needed"


def changed(index, box):
    boxes = tensor(GOOD)
    boxes[index] = tensor(box)
    return boxes


@pytest.mark.parametrize("name, args, sentence", [
    ("box_area", (changed(1, [5, 0, 4, 2]),), "`boxes` holds [5.0, 0.0, 4.0, 2.0] at index 1: x2 must not be less than x1"),
    ("box_area", (changed(2, [0, 3, 4, 2]),), "`boxes` holds [0.0, 3.0, 4.0, 2.0] at index 2: y2 must not be less than y1"),
    ("box_area", (changed(0, [0, np.nan, 4, 2]),), f"`boxes` holds [0.0, nan, 4.0, 2.0] at index 0: {LARGE}"),
    ("box_area", (changed(2, [0, 0, np.inf, 2]),), f"`boxes` holds [0.0, 0.0, inf, 2.0] at index 2: {LARGE}"),
    ("box_area", (changed(1, [0, 0, 1, 2e150]),), f"`boxes` holds [0.0, 0.0, 1.0, 2e+150] at index 1: {LARGE}"),
    ("box_area", (tensor(GOOD)[:, :3],), "`boxes` has the shape (3, 3); (N, 4) is needed"),
    ("box_area", (tensor(GOOD)[0],), "`boxes` has the shape (4,); 2 axes (N, 4) are needed"),
    ("box_area", (torch.tensor(GOOD).long(),),
     "`boxes` (int64) must be of a floating-point dtype: float16, bfloat16, float32, float64"),
    ("box_area", (GOOD,), "`boxes` (a list) must be an array"),
    ("box_convert", (tensor(GOOD), "xyxy", "yxyx"), "`out_fmt` (='yxyx') must be one of xyxy, xywh, cxcywh"),
    ("box_convert", (tensor(GOOD), None, "xywh"), "`in_fmt` (=None) must be one of xyxy, xywh, cxcywh"),
    ("box_convert", (changed(1, [5, 0, -1, 2]), "xywh", "xyxy"),
     "`boxes` holds [5.0, 0.0, -1.0, 2.0] at index 1: w must not be less than 0"),
    ("box_convert", (changed(1, [5, 0, 1, -2]), "cxcywh", "xyxy"),
     "`boxes` holds [5.0, 0.0, 1.0, -2.0] at index 1: h must not be less than 0"),
    ("box_iou", (tensor(GOOD), changed(1, [5, 0, 4, 2])),
     "`boxes2` holds [5.0, 0.0, 4.0, 2.0] at index 1: x2 must not be less than x1"),
    ("box_iou", (tensor(GOOD), tensor(GOOD, torch.float32)), "`boxes2` (dtype float32) must match `boxes1` (dtype float64)"),
    ("paired_iou", (tensor(GOOD), tensor(GOOD)[:2]), "`boxes2` holds 2 boxes; 3 are needed, as many as `boxes1` holds"),
    ("encode", (tensor(GOOD), tensor(GOOD)[:2]), "`anchors` holds 2 boxes; 3 are needed, as many as `boxes` holds"),
    ("encode", (tensor(GOOD), changed(2, [1, 1, 1, 2])), "`anchors` holds [1.0, 1.0, 1.0, 2.0] at index 2: x2 must be more than x1"),
    ("encode", (changed(2, [1, 1, 2, 1]), tensor(GOOD)), "`boxes` holds [1.0, 1.0, 2.0, 1.0] at index 2: y2 must be more than y1"),
    ("decode", (tensor(GOOD)[:2], tensor(GOOD)), "`anchors` holds 3 boxes; 2 are needed, as many as `offsets` has rows"),
    ("decode", (changed(1, [0, 0, np.nan, 0]), tensor(GOOD)), f"`offsets` holds [0.0, 0.0, nan, 0.0] at index 1: {LARGE}"),
    ("decode", (changed(1, [0, 0, 0, 341]), tensor(GOOD)),
     "`offsets` holds [0.0, 0.0, 0.0, 341.0] at index 1: logs of ratios up to 340.0 times their weight are needed, or `max_log_scale`"),
    ("nms", (tensor(GOOD), tensor([0.5, 0.6]), 0.5), "`scores` holds 2 scores for 3 boxes"),
    ("nms", (tensor(GOOD), tensor([[0.5], [0.6], [0.7]]), 0.5), "`scores` has the shape (3, 1); 1 axes (N,) are needed"),
    ("nms", (tensor(GOOD), tensor([0.5, np.nan, 0.7]), 0.5), f"`scores` holds nan at index 1: {LARGE}"),
    ("nms", (tensor(GOOD), tensor([1, 2, 3], torch.float32), 0.5), "`scores` (dtype float32) must match `boxes` (dtype float64)"),
    ("nms", (tensor(GOOD), tensor([1, 2, 3]), 1.5), "`iou_threshold` (=1.5) must be from 0 to 1"),
    ("nms", (tensor(GOOD), tensor([1, 2, 3]), np.nan), "`iou_threshold` (=nan) must be a finite number"),
    ("nms", (tensor(GOOD), tensor([1, 2, 3]), "0.5"), "`iou_threshold` (='0.5') must be a number"),
    ("batched_nms", (tensor(GOOD), tensor([1, 2, 3]), tensor([1, 2, 3]), 0.5), "`classes` (float64) must be of an integer dtype"),
    ("batched_nms", (tensor(GOOD), tensor([1, 2, 3]), torch.tensor([1, 2]), 0.5),
     "`classes` has the shape (2,); one label for each of 3 boxes is needed"),
    ("soft_nms", (tensor(GOOD), tensor([1, 2, -3])), "`scores` holds -3.0 at index 2; at least 0 is needed"),
])
def test_bad_input_is_refused_with_one_sentence(name, args, sentence):
    for module, change in ((reference, torch.Tensor.numpy), (fast, lambda x: x)):
        with pytest.raises(ValueError) as raised:
            getattr(module, name)(*[change(a) if isinstance(a, torch.Tensor) else a for a in args])
        assert str(raised.value) == sentence


@pytest.mark.parametrize("name, options, sentence", [
    ("encode", {"weights": (1, 2, 3)}, "`weights` (=(1, 2, 3)) must be four numbers, for tx, ty, tw and th"),
    ("encode", {"weights": (1, 1, 0, 1)}, "`weights` (=0.0) must be from 1e-06 to 1000000"),
    ("decode", {"max_log_scale": np.inf}, "`max_log_scale` (=inf) must be a finite number"),
    ("paired_iou", {"kind": "giou"}, "`kind` (='giou') must be one of iou, generalized, distance, complete"),
    ("soft_nms", {"method": "hard"}, "`method` (='hard') must be one of linear, gaussian"),
    ("soft_nms", {"sigma": 0}, "`sigma` (=0.0) must be from 1e-06 to 1000000"),
    ("soft_nms", {"min_score": -0.1}, "`min_score` (=-0.1) must be at least 0"),
    ("soft_nms", {"iou_threshold": True}, "`iou_threshold` (=True) must be a number"),
    ("soft_nms", {"iou_threshold": np.bool_(True)}, "`iou_threshold` (=np.True_) must be a number"),
    ("soft_nms", {"iou_threshold": np.array(None)}, "`iou_threshold` (=array(None, dtype=object)) must be a number"),
    ("soft_nms", {"iou_threshold": torch.tensor(0.5j)}, "`iou_threshold` (=tensor(0.+0.5000j)) must be a number"),
    ("soft_nms", {"iou_threshold": 10**400}, "`iou_threshold` must be a finite number"),
])
def test_bad_options_are_refused_with_one_sentence(name, options, sentence):
    second = tensor([0.1, 0.2, 0.3]) if name == "soft_nms" else tensor(GOOD)
    for module, change in ((reference, torch.Tensor.numpy), (fast, lambda x: x)):
        with pytest.raises(ValueError) as raised:
            getattr(module, name)(change(tensor(GOOD)), change(second), **options)
        assert str(raised.value) == sentence


@pytest.mark.parametrize("dtype", DTYPES)
def test_codes_that_no_float_holds_are_refused_with_one_sentence(dtype):
    tiny, huge = 10.0 ** (-30 if dtype == torch.float32 else -160), 10.0 ** (17 if dtype == torch.float32 else 149)
    small, large, far = [[0, 0, tiny, tiny]], [[0, 0, huge, huge]], [[huge, 0, huge * 1.5, huge]]
    for name, first, second, said in (
        ("encode", small, large, "too far from its anchor, or from its size"),
        ("encode", large, small, "too far from its anchor, or from its size"),
        ("encode", far, small, "too far from its anchor, or from its size"),
        ("decode", [[huge, 0, 0, 0]], [[0, 0, 1, 1]], "too far from its anchor"),
    ):
        first, second = (torch.tensor(x, dtype=dtype) for x in (first, second))
        sentences = []
        for module, change in ((reference, torch.Tensor.numpy), (fast, lambda x: x)):
            with pytest.raises(ValueError, match=said) as raised:
                getattr(module, name)(change(first), change(second), weights=(1e-6, 1, 1, 1))
            sentences.append(str(raised.value))
        assert sentences[0] == sentences[1]


def test_class_wise_suppression_needs_classes():
    for module, change in ((reference, torch.Tensor.numpy), (fast, lambda x: x)):
        with pytest.raises(ValueError, match=r"`classes` \(a NoneType\) must be an array"):
            module.batched_nms(change(tensor(GOOD)), change(tensor([1, 2, 3])), None, 0.5)


def test_each_version_refuses_the_arrays_of_the_other():
    boxes, scores, classes = tensor(GOOD), tensor([1, 2, 3]), torch.tensor([0, 0, 1])
    for name, args in (("nms", (boxes, scores, 0.5)), ("batched_nms", (boxes, scores, classes, 0.5)), ("soft_nms", (boxes, scores))):
        with pytest.raises(ValueError, match=r"^`boxes` \(an array of torch\) must be an array of numpy$"):
            getattr(reference, name)(*args)
        with pytest.raises(ValueError, match=r"^`boxes` \(an array of numpy\) must be an array of torch$"):
            getattr(fast, name)(*[a.numpy() if isinstance(a, torch.Tensor) else a for a in args])


def test_labels_in_range():
    labels = torch.tensor([0, 3, 1])
    for values in (labels, labels.numpy()):
        formulas.labels("labels", values, 3, 4)
        with pytest.raises(ValueError) as raised:
            formulas.labels("labels", values, 3, 3)
        assert str(raised.value) == "`labels` holds 3 at index 1; 0 to 2 are needed"


# --- what the page says ----------------------------------------------------------------


def test_try_this_of_two_boxes_happens():
    apart = {"x2": 4, "y2": 3}
    assert "it doesn't tell the box where to go" in explorers.two_boxes(**apart)[1]
    assert min(formulas.gradient("generalized", (2, 2, 4, 3), (5, 4, 12, 10))) > 0
    for corners, diou in (((5, 4, 7, 6), "−0.025"), ((8, 6, 10, 8), "0.092")):
        words = explorers.two_boxes(**dict(zip(("x1", "y1", "x2", "y2"), corners)))[1]
        assert f"IoU 0.095, GIoU 0.095, DIoU {diou}, CIoU {diou}." in words


def test_try_this_of_nms_scene_happens():
    for settings, taken in (
        ({}, "6 boxes taken (1, 2, 3, 5, 6, 8)"), ({"threshold": 0.35}, "6 boxes taken (1, 2, 3, 5, 8, 12)"),
        ({"class_wise": True}, "7 boxes taken (1, 2, 3, 5, 6, 8, 11)"),
    ):
        assert explorers.nms_scene(**settings)[1].startswith(taken)
    assert (explorers.SCORES[5], explorers.SCORES[11], explorers.CLASSES[10]) == (0.77, 0.33, "cow")
    assert explorers.CLASSES[1] == "horse" and formulas.iou(explorers.BOXES[1], explorers.BOXES[10]) > 0.86
    assert len(explorers.suppress("greedy", 0.5, False)) == 6  # after step 6 nothing is left to do
    words = explorers.nms_scene("soft, linear", 0.3, False, 6)[1]
    assert "Step 6 takes box 6, 0.43" in words


def test_giou_pushes_the_left_edge_outwards_where_the_strip_is_larger_than_the_union():
    random = np.random.default_rng(0)
    outwards = []
    for _ in range(300):
        w, h, width, height, gap_x, gap_y = random.uniform(0.1, 4, 6)
        box = 0, 0, w, h
        target = w + gap_x, h + gap_y, w + gap_x + width, h + gap_y + height
        slope = formulas.gradient("generalized", box, target)[0]
        outwards.append(slope < 0)
        assert outwards[-1] == (h * (w + gap_x + width) > w * h + width * height)
    assert 50 < sum(outwards) < 250
    for kind in formulas.MEASURES[1:]:  # on the page both edges are pushed away, and the centre moves towards the target
        x1, y1, x2, y2 = formulas.gradient(kind, (0.3, 0.4, 1.7, 1.0), (3.0, 2.2, 4.0, 3.4))
        assert max(x1, y1) < 0 < min(x2, y2) and x1 + x2 > 0 and y1 + y2 > 0


def test_relatives_come_near_the_ends_that_the_page_names():
    far, thin = (0, 0, 1, 1), (0, 0, 1e6, 1)
    assert -1 < formulas.generalized_iou(far, (1e4, 1e4, 1e4 + 1, 1e4 + 1)) < -0.999
    assert -1 < formulas.distance_iou(far, (1e4, 1e4, 1e4 + 1, 1e4 + 1)) < -0.999
    assert -1.5 < formulas.complete_iou(thin, (1e9, 1e9, 1e9 + 1, 1e9 + 1e6)) < -1.49
    boxes = np.random.default_rng(0).exponential(1, (200, 2, 2)).cumsum(1).reshape(-1, 4)
    boxes *= 10.0 ** np.random.default_rng(1).integers(-3, 4, (200, 1))
    assert fast.complete_box_iou(torch.tensor(boxes), torch.tensor(boxes)).min() > -1.5


def test_distance_walk_jumps_to_and_fro_until_its_steps_are_shorter():
    walk = figures.descend("distance", (0.3, 0.4, 1.7, 1.0), (3.0, 2.2, 4.0, 3.4))
    overlaps = [formulas.iou(box, (3.0, 2.2, 4.0, 3.4)) for box in walk]
    moves = np.diff(overlaps)
    assert overlaps[120] > overlaps[160] and (moves[140:160] < 0).any() and (moves[140:160] > 0).any()
    assert overlaps[200] > 0.99 and abs(moves[180:]).max() < 0.01


def test_walk_of_the_page_arrives_unless_it_follows_iou():
    start, target = (0.3, 0.4, 1.7, 1.0), (3.0, 2.2, 4.0, 3.4)
    for kind in formulas.MEASURES:
        last = figures.descend(kind, start, target)[-1]
        assert formulas.iou(last, target) > 0.95 if kind != "iou" else last == pytest.approx(start)


def test_measured_walks_say_what_the_page_says():
    data = json.loads((ROOT / "chapters" / "data" / "boxes_regression.json").read_text())
    measures = data["measures"]
    assert data["cases"] == 100 * 49 * 7 and measures["iou"]["arrived_apart"] == 0
    assert all(result["arrived_touching"] > 0.99 for result in measures.values())
    assert all(measures[kind]["arrived_apart"] > 0.97 for kind in formulas.MEASURES[1:])
    errors = {kind: result["error"] for kind, result in measures.items()}
    assert all(errors["generalized"][5] < errors[kind][5] for kind in ("distance", "complete"))
    assert measures["distance"]["arrived"] < min(measures[kind]["arrived"] for kind in ("generalized", "complete"))


# --- the real scene --------------------------------------------------------------------


@pytest.fixture(scope="module")
def outputs(benchmark):
    """Return the script that writes down what a detector proposes."""
    return benchmark("boxes_outputs")


@pytest.fixture(scope="module")
def real():
    return figures.real_scene(ROOT / "chapters" / "data" / "boxes_outputs.safetensors")


def test_stored_candidates_are_those_of_the_weights(outputs, real):
    example = outputs.scene()
    np.testing.assert_array_equal(real["truth.boxes"], example.boxes)
    np.testing.assert_array_equal(real["truth.labels"], example.labels)
    assert abs(real["image"] - example.image.mean(2)).max() <= 0.5
    detector = train.load_weights(ROOT / "chapters" / "data" / "detectors_retinanet.safetensors")
    fresh = outputs.candidates(detector, example)
    assert abs(len(fresh["scores"]) - len(real["scores"])) <= 3 and (np.diff(real["scores"]) <= 0).all()
    # Outputs differ in their last digits from one processor to another: the last of the list may be others there.
    for box, label, score in zip(real["boxes"], real["labels"], real["scores"]):
        near = (abs(fresh["boxes"].astype(float) - box).max(1) < 0.2) & (fresh["labels"] == label)
        assert (near & (abs(fresh["scores"] - score) < 0.002)).any() or score < real["scores"][-10]


def seen(real, kept, scores):
    """Return how many boxes have a score of 0.3 or more after suppression, and how many objects they find."""
    final = np.zeros(len(real["scores"]))
    final[kept] = scores
    # the objects, counted once more: each that a box of its class overlaps by half
    sure = final >= 0.3
    overlaps = reference.box_iou(real["boxes"][sure], real["truth.boxes"])
    found = ((overlaps >= 0.5) & (real["labels"][sure][:, None] == real["truth.labels"])).any(0).sum()
    assert found == figures.objects_found(real, final, 0.3)
    return sure.sum(), found


def test_real_scene_is_as_the_page_says(real):
    boxes, scores, labels = real["boxes"], real["scores"], real["labels"]
    rings = real["truth.boxes"][real["truth.labels"] == 1]
    assert len(boxes) == 400 and len(real["truth.boxes"]) == 6 and len(rings) == 2
    assert 0.3 < reference.box_iou(rings, rings)[0, 1] < 0.5
    counts = {}
    for threshold in (0.3, 0.5, 0.7):
        for name, kept in (
            ("all", reference.nms(boxes, scores, threshold)),
            ("class by class", reference.batched_nms(boxes, scores, labels, threshold)),
        ):
            counts[name, threshold] = (len(kept), *seen(real, kept, scores[kept]))
        assert 2.5 < counts["class by class", threshold][0] / counts["all", threshold][0] < 3.6  # about three times
        assert counts["class by class", threshold][1] == counts["all", threshold][1] + 3
    assert [counts["all", threshold][1:] for threshold in (0.3, 0.5, 0.7)] == [(5, 5), (6, 6), (7, 6)]
    kept = reference.batched_nms(boxes, scores, labels, 0.5)
    second = kept[scores[kept] >= 0.3][5]
    overlaps = reference.box_iou(boxes[[second]], rings)[0]
    assert overlaps[1] > 0.7 > 0.5 > overlaps[0] and labels[second] == 1 and round(scores[second], 2) == 0.51
    for method, score in (("linear", 0.32), ("gaussian", 0.39)):
        taken, final = reference.soft_nms(boxes, scores, method=method, min_score=0.05)
        assert seen(real, taken, final) == (6, 6)
        assert final[taken == second].round(2).tolist() == [score]
