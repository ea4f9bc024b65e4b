"""The chapter on boxes against other oracles, published examples, and bad input."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from cvnotes.boxes import fast, formulas, reference

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
    for name, size in (("BLOCK", 32), ("TILE", 8), ("PAIRS", 256)):
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
