"""The chapter on the focal loss against other oracles, published figures, and bad input."""

import copy
import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file
from torch.autograd import gradcheck, gradgradcheck

from cvnotes import bench
from cvnotes.focal_loss import fast, figures, formulas, reference
from cvnotes.models.small_detectors import SmallRetinaNet

GAMMAS = (0.0, 0.5, 1.0, 2.0, 3.5)


def logits(*shape, seed=0, scale=3.0, dtype=torch.float64):
    return (scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).to(dtype)


def hard(*shape, seed=1, dtype=torch.float64):
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.3).to(dtype)


def plain(x, t, alpha=0.25, gamma=2.0):
    """The formula as it is written everywhere."""
    p = x.sigmoid()
    p_t = p * t + (1 - p) * (1 - t)
    losses = F.binary_cross_entropy_with_logits(x, t, reduction="none") * (1 - p_t) ** gamma
    return losses if alpha is None else losses * (alpha * t + (1 - alpha) * (1 - t))


def both(name, *args, **options):
    """Return what the reference and the fast version give for tensors, both as tensors."""
    given = getattr(reference, name)(*[a.numpy() if isinstance(a, torch.Tensor) else a for a in args], **options)
    return torch.from_numpy(np.asarray(given)), getattr(fast, name)(*args, **options)


@pytest.fixture
def small_blocks(monkeypatch):
    """Make the blocks so small that a few numbers need many."""
    monkeypatch.setattr(fast, "BLOCK", 16)


# --- the focal loss --------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [None, 0.25, 0.9])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_sigmoid_focal_loss_is_the_plain_formula(alpha, gamma, small_blocks):
    x, t = logits(7, 11), hard(7, 11)
    for result in both("sigmoid_focal_loss", x, t, alpha=alpha, gamma=gamma):
        torch.testing.assert_close(result, plain(x, t, alpha, gamma))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_without_focus_it_is_cross_entropy(reduction, small_blocks):
    x, t = logits(7, 11, scale=30.0), hard(7, 11)
    wanted = F.binary_cross_entropy_with_logits(x, t, reduction=reduction)
    for result in both("sigmoid_focal_loss", x, t, alpha=None, gamma=0, reduction=reduction):
        torch.testing.assert_close(result, wanted)
    soft = torch.rand(7, 11, dtype=torch.float64)
    wanted = F.binary_cross_entropy_with_logits(x, soft, reduction=reduction)
    for result in both("sigmoid_focal_loss", x, soft, alpha=None, gamma=0, reduction=reduction):
        torch.testing.assert_close(result, wanted)
    k = torch.tensor([0, 3, 10, 2, 2, 1, 0])
    for result in both("softmax_focal_loss", x, k, gamma=0, reduction=reduction):
        torch.testing.assert_close(result, F.cross_entropy(x, k, reduction=reduction))


def test_two_classes_are_one_question():
    """The softmax of two logits is the sigmoid of their difference."""
    x, t = logits(9, 2), hard(9)
    for result in both("softmax_focal_loss", x, t.long(), alpha=[0.75, 0.25], gamma=1.5):
        torch.testing.assert_close(result, fast.sigmoid_focal_loss(x[:, 1] - x[:, 0], t, gamma=1.5))


def test_figures_of_the_notes():
    """Lin et al. (2017), section 3.2: with γ = 2, p_t = 0.9 costs 100 times less, and 0.968 about 1000 times less."""
    for p_t, less, tolerance in ((0.9, 100, 1e-9), (0.968, 1000, 0.03)):
        focal, entropy = formulas.focal_loss(p_t, 2), formulas.focal_loss(p_t, 0)
        assert focal > 0  # no minus sign is left over
        assert entropy / focal == pytest.approx(less, rel=tolerance)
        x = torch.tensor([formulas.logit(p_t)], dtype=torch.float64)
        for result in both("sigmoid_focal_loss", x, torch.ones_like(x), alpha=None):
            assert result.item() == pytest.approx(focal)
    # the same section: a hard example (p_t ≤ 0.5) costs at most 4 times less
    assert formulas.focal_loss(0.5, 0) / formulas.focal_loss(0.5, 2) == pytest.approx(4)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_slopes_are_the_derivative(gamma):
    for x in (-9.0, -1.3, 0.0, 0.4, 7.0):
        for target in (0.0, 1.0):
            for alpha in (None, 0.25):
                h = 1e-6
                ends = [formulas.sigmoid_focal_loss(x + d, target, alpha, gamma) for d in (-h, h)]
                slope = formulas.sigmoid_focal_slope(x, target, alpha, gamma)
                assert slope == pytest.approx((ends[1] - ends[0]) / (2 * h), rel=1e-5, abs=1e-9)
                p_t = formulas.sigmoid(x if target else -x)
                sign = 1 if target else -1
                alpha_t = formulas.balance(target, alpha)
                assert sign * slope == pytest.approx(formulas.focal_slope(p_t, gamma, alpha_t), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_hard_targets_pass_gradcheck_once_and_twice(gamma, reduction, small_blocks):
    x, t = logits(5, 4), hard(5, 4)
    x[0, 0], x[1, 0] = 45.0, -45.0
    for alpha in (None, 0.25):
        given = x.clone().requires_grad_()

        def loss(x):
            return fast.sigmoid_focal_loss(x, t, alpha=alpha, gamma=gamma, reduction=reduction)

        assert gradcheck(loss, given)
        assert gradgradcheck(loss, given)


def test_a_gradient_may_be_taken_again(small_blocks):
    for reduction in ("none", "mean"):
        x, t = logits(6, 7).requires_grad_(), hard(6, 7)
        loss = fast.sigmoid_focal_loss(x, t, reduction=reduction).sum()
        first, second = (torch.autograd.grad(loss, x, retain_graph=True)[0].clone() for _ in range(2))
        torch.testing.assert_close(first, second)
        wanted = plain(x, t).sum() / (42 if reduction == "mean" else 1)
        torch.testing.assert_close(first, torch.autograd.grad(wanted, x)[0])


def test_arguments_are_not_written_into_and_may_be_views(small_blocks):
    whole, t = logits(4, 6, 5).requires_grad_(), hard(5, 6, 4)
    before = copy.deepcopy(whole)
    x = whole.permute(2, 1, 0)
    loss = fast.sigmoid_focal_loss(x, t, reduction="sum")
    torch.testing.assert_close(loss, plain(x, t).sum())
    gradient, = torch.autograd.grad(loss, whole)
    torch.testing.assert_close(gradient, torch.autograd.grad(plain(x, t).sum(), whole)[0])
    assert torch.equal(whole, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_far_out_everything_is_finite(gamma, dtype):
    x = torch.tensor([1e4, -1e4, 1e4, -1e4, 0.0], dtype=dtype, requires_grad=True)
    t = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0], dtype=dtype)
    loss = fast.sigmoid_focal_loss(x, t, gamma=gamma)
    loss.sum().backward()
    far = float(torch.tensor(1e4, dtype=dtype))
    rough = dict(rtol=0.01, atol=0)
    wanted = torch.tensor([0.0, 0.0, 0.75 * far, 0.25 * far, formulas.sigmoid_focal_loss(0.0, 1.0, 0.25, gamma)])
    torch.testing.assert_close(loss.detach().float(), wanted, **rough)
    slope = formulas.sigmoid_focal_slope(0.0, 1.0, 0.25, gamma)
    torch.testing.assert_close(x.grad.float(), torch.tensor([0.0, 0.0, 0.75, -0.25, slope]), **rough)
    pair = torch.tensor([[1e4, -1e4, 0.0]] * 3, dtype=dtype, requires_grad=True)
    loss = fast.softmax_focal_loss(pair, torch.tensor([0, 1, 2]), gamma=gamma)
    loss.sum().backward()
    torch.testing.assert_close(loss.detach().float(), torch.tensor([0.0, 2 * far, far]), **rough)
    assert pair.grad.isfinite().all()


def test_the_slightest_losses_keep_their_digits():
    """Where p_t is so close to 1 that 1 − p_t would be rounded away."""
    x = torch.tensor([-40.0, -20.0, 20.0, 40.0])
    t = (x > 0).float()
    loss = fast.sigmoid_focal_loss(x, t, alpha=None, gamma=0)
    wanted = torch.tensor([4.248354e-18, 2.0611537e-09, 2.0611537e-09, 4.248354e-18])
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=0)
    rows = torch.tensor([[20.0, 0.0], [0.0, 40.0]])
    loss = fast.softmax_focal_loss(rows, torch.tensor([0, 1]), gamma=1)
    torch.testing.assert_close(loss[:1], torch.tensor([0.0]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_single_precision_rounded_at_the_end(dtype):
    x, t = logits(50, 9, dtype=dtype), hard(50, 9, dtype=dtype)
    for reduction in ("none", "sum", "mean"):
        given, single = x.clone().requires_grad_(), x.float().requires_grad_()
        loss = fast.sigmoid_focal_loss(given, t, reduction=reduction)
        wanted = fast.sigmoid_focal_loss(single, t.float(), reduction=reduction)
        assert loss.dtype == dtype
        torch.testing.assert_close(loss, wanted.to(dtype), rtol=1e-6, atol=0)
        # a gradient that is scaled, as mixed precision does, does not vanish before it is
        (1024 * loss.float().sum()).backward()
        (1024 * wanted.sum()).backward()
        torch.testing.assert_close(given.grad, single.grad.to(dtype), rtol=1e-2, atol=1e-7)
        assert ((given.grad == 0) <= (single.grad.abs() < 1e-7)).all()
    if dtype == torch.float16:
        for result in both("sigmoid_focal_loss", x, t, reduction="sum"):
            torch.testing.assert_close(result, wanted_sum(x, t).to(dtype))


def wanted_sum(x, t):
    return plain(x.double(), t.double()).sum()


def test_what_is_not_finite_gives_nan_in_its_own_place():
    x, t = torch.tensor([np.nan, np.inf, -np.inf, 0.0]), torch.tensor([0.0, 0.0, 0.0, 1.0])
    for targets in (t, 1 - t, torch.full((4,), 0.5)):
        for gamma in GAMMAS:
            given = x.clone().requires_grad_()
            loss = fast.sigmoid_focal_loss(given, targets, gamma=gamma)
            assert loss.isnan().tolist() == [True, True, True, False]
            loss[3].backward()
            assert given.grad[3].isfinite()
            loss = reference.sigmoid_focal_loss(x.numpy(), targets.numpy(), gamma=gamma)
            assert np.isnan(loss).tolist() == [True, True, True, False]
    rows = torch.tensor([[np.nan, 0.0], [0.0, np.inf], [-np.inf, 0.0], [0.0, 0.0]])
    for result in both("softmax_focal_loss", rows, torch.tensor([0, 0, 0, 0])):
        assert result.isnan().tolist() == [True, True, True, False]


@pytest.mark.parametrize("reduction, wanted", [
    ("none", torch.zeros(0)), ("mean", torch.zeros(())), ("sum", torch.zeros(())),
])
def test_nothing_costs_nothing(reduction, wanted):
    none, boxes, index = torch.zeros(0), torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
    for name, args in (
        ("sigmoid_focal_loss", (none, none)), ("softmax_focal_loss", (boxes, index)), ("smooth_l1", (none, none)),
        ("dice_loss", (boxes, boxes)), ("tversky_loss", (boxes, boxes)), ("iou_loss", (boxes, boxes)),
    ):
        for result in both(name, *args, reduction=reduction):
            assert torch.equal(result, wanted), name
        x = args[0].clone().requires_grad_()
        getattr(fast, name)(x, args[1], reduction=reduction).sum().backward()
        assert x.grad.shape == x.shape


@pytest.mark.parametrize("reduction, most", [("sum", 1.0), ("none", 2.0)])
def test_memory_is_that_of_the_logits_and_of_what_is_returned(reduction, most):
    x, t = logits(2**21, dtype=torch.float32).requires_grad_(), hard(2**21, dtype=torch.float32)

    def step():  # no gradient is left from the call before, which would be freed here and not counted
        torch.autograd.grad(fast.sigmoid_focal_loss(x, t, reduction=reduction).sum(), x)

    scratch = 8 * 4 * fast.BLOCK
    assert most * x.nbytes <= bench.peak_memory(step) <= most * x.nbytes + scratch
    assert bench.peak_memory(lambda: fast.match_anchors(torch.rand(20, 4).sort(1).values, anchors)) < 4e6
    assert bench.peak_memory(lambda: plain(x, t).sum().backward()) > 5 * x.nbytes


anchors = fast.retinanet_anchors(640)


# --- anchors ---------------------------------------------------------------------------


def test_anchors_of_the_paper():
    """Lin et al. (2017), section 4: areas 32² to 512² on P3 to P7, three ratios by three scales, A = 9."""
    anchors = fast.retinanet_anchors(640, dtype="float64")
    places = [80, 40, 20, 10, 5]
    assert anchors.shape == (9 * sum(n * n for n in places), 4) == (76725, 4)
    levels = anchors.split([9 * n * n for n in places])
    for level, size, stride in zip(levels, (32, 64, 128, 256, 512), (8, 16, 32, 64, 128)):
        w, h = (level[:, 2:] - level[:, :2]).view(-1, 9, 2).unbind(2)
        sides = size * torch.tensor([1, 2 ** (1 / 3), 2 ** (2 / 3)] * 3, dtype=torch.float64)
        torch.testing.assert_close((w * h)[0], sides ** 2)
        torch.testing.assert_close((h / w)[0], torch.tensor([0.5] * 3 + [1.0] * 3 + [2.0] * 3, dtype=torch.float64))
        assert torch.allclose(w, w[:1]) and torch.allclose(h, h[:1])
        centres = ((level[:, :2] + level[:, 2:]) / 2).view(-1, 9, 2)[:, 0]
        torch.testing.assert_close(centres[1], torch.tensor([stride, 0.0], dtype=torch.float64), atol=1e-9, rtol=0)


def test_anchors_of_the_published_weights():
    """The cells that torchvision's weights of RetinaNet were trained with, P3 and P7."""
    cells = {
        32: [[-23, -11, 23, 11], [-28, -14, 28, 14], [-35, -18, 35, 18],
             [-16, -16, 16, 16], [-20, -20, 20, 20], [-25, -25, 25, 25],
             [-11, -23, 11, 23], [-14, -28, 14, 28], [-18, -35, 18, 35]],
        512: [[-362, -181, 362, 181], [-456, -228, 456, 228], [-574, -287, 574, 287],
              [-256, -256, 256, 256], [-322, -322, 322, 322], [-406, -406, 406, 406],
              [-181, -362, 181, 362], [-228, -456, 228, 456], [-287, -574, 287, 574]],
    }  # fmt: skip
    for size, cell in cells.items():
        for result in both("retinanet_anchors", 8, strides=(8,), sizes=(size,), rounded=True):
            assert result.tolist() == cell


def test_anchors_of_sides_that_a_stride_does_not_divide():
    """1088 / 128 = 8.5: 9 places, which the published weights put 120 apart, and the strides 128."""
    one = dict(strides=(128,), sizes=(512,), ratios=(1.0,), scales=(1.0,))
    for rounded, last in ((True, 8 * 120), (False, 8 * 128)):
        for result in both("retinanet_anchors", (64, 1088), **one, rounded=rounded):
            assert len(result) == 9 and result[-1].tolist() == [last - 256, -256, last + 256, 256]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_match_anchors_is_the_best_of_all_ious(dtype, small_blocks):
    random = torch.Generator().manual_seed(0)
    corners = torch.randint(0, 12, (90, 2, 2), generator=random).sort(1).values.reshape(90, 4)
    boxes, anchors = corners[:12].to(dtype), corners[12:].to(dtype)
    overlaps = (fast.box_fast.box_iou(anchors, boxes)).double()
    best = overlaps.max(1).values
    first = (overlaps == best[:, None]).int().argmax(1)
    for positive, negative in ((0.5, 0.4), (0.25, 0.25), (1.0, 0.0), (0.0, 0.0)):
        wanted = torch.where(best >= positive, first, torch.where(best < negative, -1, -2))
        for result in both("match_anchors", boxes, anchors, positive_iou=positive, negative_iou=negative):
            assert torch.equal(result, wanted)


def test_match_anchors_meets_its_thresholds_from_above():
    """IoUs of exactly ½ and exactly 2/5."""
    box = torch.tensor([[0.0, 0.0, 10.0, 1.0]])
    anchors = torch.tensor([[0.0, 0.0, 5.0, 1.0], [0.0, 0.0, 4.999, 1.0], [0.0, 0.0, 4.0, 1.0], [0.0, 0.0, 3.999, 1.0]])
    for result in both("match_anchors", box, anchors):
        assert result.tolist() == [0, -2, -2, -1]


def test_match_anchors_forces_nothing():
    box, anchors = torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.tensor([[3.0, 3.0, 9.0, 9.0]])
    for result in both("match_anchors", box, anchors):
        assert result.tolist() == [-1]
    for boxes in (torch.zeros(0, 4), torch.tensor([[1.0, 1.0, 1.0, 9.0]])):  # no object, and one without area
        for result in both("match_anchors", boxes, anchors):
            assert result.tolist() == [-1]
    for result in both("match_anchors", box, torch.zeros(0, 4)):
        assert result.shape == (0,)


# --- other losses ----------------------------------------------------------------------


def test_dice_is_a_tversky_loss_and_so_is_iou():
    x, t = logits(4, 3, 5), hard(4, 3, 5)
    p = x.sigmoid()
    shared, sums = (p * t).sum((1, 2)), (p + t).sum((1, 2))
    for result in both("dice_loss", x, t):
        torch.testing.assert_close(result, 1 - (2 * shared + 1) / (sums + 1))
    for result in both("tversky_loss", x, t, smooth=0.5):
        torch.testing.assert_close(result, fast.dice_loss(x, t))
    for result in both("tversky_loss", x, t, alpha=1.0, beta=1.0, smooth=0):
        torch.testing.assert_close(result, 1 - shared / (sums - shared))


def test_an_empty_mask_found_empty_costs_nothing():
    x, t = torch.full((1, 6), -1e4), torch.zeros(1, 6)
    for smooth in (0.0, 1.0):
        for result in both("dice_loss", x, t, smooth=smooth):
            assert result.tolist() == [0.0]


@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
def test_iou_loss_is_one_minus_the_measure(kind):
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 1.0, 1.0]])
    others = torch.tensor([[2.0, 0.0, 6.0, 4.0], [3.0, 0.0, 4.0, 1.0]])
    # IoU 1/3 and 0; between the centres 2 of a diagonal √52 and 3 of √17; the second pair leaves half of its hull empty
    distance = (2 / 3 + 4 / 52, 1 + 9 / 17)
    wanted = {"iou": (2 / 3, 1.0), "giou": (2 / 3, 1.5), "diou": distance, "ciou": distance}
    for result in both("iou_loss", boxes, others, kind=kind):
        torch.testing.assert_close(result, torch.tensor(wanted[kind]))


# --- bad input -------------------------------------------------------------------------

_X, _T = np.zeros((2, 3)), np.ones((2, 3))
_BOXES = np.array([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0]])
_BAD_BOX = np.array([[0.0, 0.0, 2.0, 2.0], [3.0, 1.0, 1.0, 3.0]])

REFUSED = [
    ("sigmoid_focal_loss", (_X, _T[:1]), {}, "`targets` has the shape (1, 3); (2, 3) is needed, as `logits` has"),
    ("sigmoid_focal_loss", (_X, _T.astype("float32")), {},
     "`targets` (dtype float32) must match `logits` (dtype float64)"),
    ("sigmoid_focal_loss", (_X, _T > 0), {},
     "`targets` (bool) must be of a floating-point dtype: float16, bfloat16, float32, float64"),
    ("sigmoid_focal_loss", (_X, np.array([[1, 0, 1], [0, 2.0, 1]])), {},
     "`targets` holds 2.0 at index (1, 1): from 0 to 1 is needed"),
    ("sigmoid_focal_loss", (_X, _T * np.nan), {}, "`targets` holds nan at index (0, 0): from 0 to 1 is needed"),
    ("sigmoid_focal_loss", (_X, _T), {"alpha": 25}, "`alpha` (=25.0) must be from 0 to 1"),
    ("sigmoid_focal_loss", (_X, _T), {"gamma": -1}, "`gamma` (=-1.0) must be from 0 to 10000"),
    ("sigmoid_focal_loss", (_X, _T), {"reduction": "batchmean"},
     "`reduction` (='batchmean') must be one of none, mean, sum"),
    ("softmax_focal_loss", (_X, np.array([0, 3])), {}, "`targets` holds 3 at index 1; 0 to 2 are needed"),
    ("softmax_focal_loss", (_X, np.array([0.0, 1.0])), {}, "`targets` (float64) must be of an integer dtype"),
    ("softmax_focal_loss", (_X[:, :1], np.array([0, 0])), {},
     "`logits` has the shape (2, 1); at least 2 classes are needed"),
    ("softmax_focal_loss", (_X, np.array([0, 0])), {"alpha": 0.25},
     "`alpha` (=0.25) must be None or a list of 3 numbers, one a class"),
    ("retinanet_anchors", (0,), {}, "`image_size` (=0) must be at least 1"),
    ("retinanet_anchors", (64,), {"sizes": (32, 64)},
     "`sizes` holds 2 numbers; 5 are needed, as many as `strides` holds"),
    ("retinanet_anchors", (64,), {"ratios": (0.5, 0)}, "`ratios` (=0.0) must be more than 0"),
    ("retinanet_anchors", (64,), {"dtype": "int32"}, "`dtype` (='int32') must be one of float16, float32, float64"),
    ("match_anchors", (_BAD_BOX, _BOXES), {},
     "`boxes` holds [3.0, 1.0, 1.0, 3.0] at index 1: x2 must not be less than x1"),
    ("match_anchors", (_BOXES, _BOXES * np.nan), {},
     "`anchors` holds [nan, nan, nan, nan] at index 0: "),
    ("match_anchors", (_BOXES, _BOXES), {"positive_iou": 1.5}, "`positive_iou` (=1.5) must be from 0 to 1"),
    ("match_anchors", (_BOXES, _BOXES), {"negative_iou": 0.6},
     "`negative_iou` (=0.6) must not be more than `positive_iou` (=0.5)"),
    ("smooth_l1", (_X, _T), {"beta": -1}, "`beta` (=-1.0) must be at least 0"),
    ("dice_loss", (_X, 2 * _T), {}, "`targets` holds 2.0 at index (0, 0): from 0 to 1 is needed"),
    ("dice_loss", (_X[0], _T[0]), {}, "`logits` has the shape (3,); masks (N, …) are needed"),
    ("tversky_loss", (_X, _T), {"beta": -1}, "`beta` (=-1.0) must be from 0 to 1000000"),
    ("iou_loss", (_BOXES, _BOXES[:1]), {}, "`targets` holds 1 boxes; 2 are needed, as many as `boxes` holds"),
    ("iou_loss", (_BAD_BOX, _BOXES), {}, "`boxes` holds [3.0, 1.0, 1.0, 3.0] at index 1: x2 must not be less than x1"),
    ("iou_loss", (_BOXES, _BOXES), {"kind": "eiou"}, "`kind` (='eiou') must be one of iou, giou, diou, ciou"),
]


@pytest.mark.parametrize("name, args, options, sentence", REFUSED)
def test_bad_input_is_refused_with_the_same_sentence(name, args, options, sentence):
    tensors = [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in args]
    for module, given in ((reference, args), (fast, tensors)):
        with pytest.raises(ValueError) as error:
            getattr(module, name)(*given, **options)
        assert str(error.value).startswith(sentence)
        assert str(error.value) == sentence or sentence.endswith(": ")  # the rest is for the tests of boxes


# --- the paper's figure 4 --------------------------------------------------------------


def test_cumulative_shares_are_those_of_sorted_losses():
    assert figures.cumulative([6.0, 1.0, 3.0]).tolist() == pytest.approx([0, 0.1, 0.4, 1.0])
    assert figures.cumulative([0.0, 0.0]).tolist() == [0, 0, 0]


def test_more_focus_leaves_more_of_the_background_to_the_hardest():
    """Lin et al. (2017), figure 4: the larger γ, the larger the part of the loss that the hardest negatives have."""
    random = np.random.default_rng(0)
    p_t = np.concatenate([random.beta(2, 2, 40), 1 - random.beta(0.3, 6, 1960)])
    is_object = np.arange(2000) < 40
    both = formulas.focal_loss, lambda p, gamma: -formulas.focal_slope(p, gamma)
    weighed = {
        gamma: [np.array([function(p, gamma) for p in p_t.tolist()]) for function in both] for gamma in (0, 0.5, 1, 2)
    }
    drawn = figures.plot_cumulative(weighed, is_object)
    assert [axes.get_title() for axes in drawn.axes] == ["objects", "background", "", ""]
    assert [axes.get_ylabel() for axes in drawn.axes] == ["share of the loss", "", "share of the gradient", ""]
    for axes in drawn.axes:
        middle = [np.interp(0.9, *line.get_data()) for line in axes.lines]
        assert len(middle) == 4 and all(a > b for a, b in zip(middle, middle[1:]))
    p_t = np.sort(p_t[~is_object])[::-1]
    for axes, cost in ((drawn.axes[1], -np.log(p_t)), (drawn.axes[3], 1 - p_t)):  # 1,764 of 1,960 are nine tenths
        assert np.interp(0.9, *axes.lines[0].get_data()) == pytest.approx(cost[:1764].sum() / cost.sum(), abs=0.01)


# --- real scores -----------------------------------------------------------------------

DATA = Path(__file__).parent.parent / "chapters" / "data"


@pytest.fixture(scope="module")
def stored():
    return load_file(DATA / "focal_loss_outputs.safetensors")


def test_real_scores_are_those_of_the_trained_detector(stored, benchmark):
    """Two of the sixteen scenes, computed anew: equal but for half precision and the order of sums."""
    script = benchmark("focal_loss_outputs")
    anew = script.outputs(count=2)
    assert stored["logits"].dtype == np.float16 and stored["logits"].shape == (script.SCENES, *anew["logits"].shape[1:])
    np.testing.assert_allclose(stored["logits"][:2].astype(float), anew["logits"].astype(float), rtol=2e-3, atol=2e-3)
    assert (stored["labels"][:2] == anew["labels"]).all()


@pytest.fixture(scope="module")
def weighed(stored):
    """Return p_t, whether it is an object's, and by γ the losses and how steep they are, by torch's own functions."""
    labels, logits = torch.from_numpy(stored["labels"]).long(), torch.from_numpy(stored["logits"]).double()
    counted = labels >= 0
    t = torch.stack([labels == k for k in range(1, 7)], 2)[counted].double()
    found = {}
    for gamma in (0, 0.5, 1, 2):
        x = logits[counted].requires_grad_()
        losses = plain(x, t, None, gamma)
        found[gamma] = losses.detach(), torch.autograd.grad(losses.sum(), x)[0].abs()
    p_t = (logits[counted] * (2 * t - 1)).sigmoid()
    return p_t, t > 0, found


def hardest(values, share):
    values = values.sort(descending=True).values
    return (values[:round(share * len(values))].sum() / values.sum()).item()


def test_chapter_tells_of_real_scores_what_they_say(weighed):
    p_t, is_object, found = weighed
    assert 1000 < (~is_object).sum() / is_object.sum() and 100 < is_object.sum() < 1000
    assert (p_t[~is_object] > 0.9).double().mean() > 0.99 and (p_t[~is_object] > 0.99).double().mean() > 0.9
    easy = ~is_object & (p_t > 0.9)
    (loss, slope), (focal, focal_slope) = ([(v[easy].sum() / v.sum()).item() for v in found[gamma]] for gamma in (0, 2))
    assert 0.7 < loss < 0.8 and loss < slope  # "about three quarters of the loss, even more of the gradient"
    assert 0.59 < loss and 0.67 < slope  # "more than the explorer says"
    assert [focal, focal_slope] == pytest.approx([0.012, 0.029], abs=5e-4)  # "1.2% and 2.9%"
    entropy, background = found[0][0], ~is_object
    near, far = background & (p_t > 0.9) & (p_t <= 0.99), background & (p_t > 0.999)
    assert (near.sum() / background.sum()).item() == pytest.approx(0.044, abs=5e-4)
    assert (entropy[near].sum() / entropy.sum()).item() == pytest.approx(0.344, abs=5e-4)
    assert round((entropy[near].mean() / entropy[far].mean()).item()) == 62  # "each costs 62 times as much"
    objects, background = ([v[own] for v in found[0]] for own in (is_object, ~is_object))
    assert 0.45 < hardest(objects[0], 0.2) < 0.55  # Lin et al. (2017), section 5.1: about half
    assert 0.75 < hardest(background[0], 0.2) < 0.85  # "four fifths"
    assert 0.75 < hardest(found[2][0][is_object], 0.2) < 0.85  # "about four fifths"
    for kind in (is_object, ~is_object):  # "the gradient tells the same, a little less sharply"
        for losses, slopes in found.values():
            assert hardest(slopes[kind], 0.1) < hardest(losses[kind], 0.1)
    assert hardest(found[2][0][~is_object], 0.01) > 0.95  # "nearly all"


def test_mining_takes_what_the_focal_loss_charges_for(stored):
    labels, logits = torch.from_numpy(stored["labels"]).long(), torch.from_numpy(stored["logits"]).double()
    t = torch.stack([labels == k for k in range(1, 7)], 2).double()
    entropy, focal = plain(logits, t, None, 0).sum(2), plain(logits, t).sum(2)
    background = labels == 0
    share, all_of_them = [0.0, 0.0], [losses[background].sum().item() for losses in (entropy, focal)]
    for n in range(len(labels)):
        own = entropy[n].masked_fill(~background[n], -1)
        taken = own.topk(3 * int((labels[n] > 0).sum())).indices
        share = [s + losses[n, taken].sum().item() for s, losses in zip(share, (entropy, focal))]
    assert share[0] < all_of_them[0] / 4 and share[1] > 0.9 * all_of_them[1]  # "less than a quarter", "more than nine"


# --- trained detectors -----------------------------------------------------------------


def test_without_a_prior_momentum_throws_the_bias_too_far():
    """The linear classifier of the chapter: 20,000 points, 20 of them objects, cross entropy, 60 steps."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 16, generator=random, dtype=torch.float64)
    t = (torch.arange(20_000) < 20).double()
    x[:, 0] += 3.5 * t
    ends = []
    for momentum, prior in ((0.9, 0.5), (0.9, 0.01), (0.0, 0.5)):
        w, b = torch.zeros(16, dtype=torch.float64), torch.tensor(formulas.prior_bias(prior), dtype=torch.float64)
        speed, biases = [torch.zeros_like(w), torch.zeros_like(b)], []
        for step in range(59):
            slope = (torch.sigmoid(x @ w + b) - t) / 20
            speed = [momentum * v + g for v, g in zip(speed, (slope @ x, slope.sum()))]
            w, b = w - 0.01 * speed[0], b - 0.01 * speed[1]
            biases.append(b.item())
            if momentum and prior == 0.5 and step == 19:
                assert (x @ w + b)[:20].mean().item() == pytest.approx(-31.5, abs=0.05)
        ends.append((biases[0], min(biases), biases[-1], w[0].item()))
    assert ends[0] == pytest.approx((-5.0, -46.8, -46.0, 13.8), abs=0.06)
    assert ends[1][3] == pytest.approx(2.5, abs=0.06)
    assert ends[2][1] > -15  # it is momentum that carries the bias on


@pytest.fixture(scope="module")
def detectors():
    found = json.loads((DATA / "detectors_training.json").read_text())
    assert found["settings"]["seeds"] == 3 and found["settings"]["steps"] == 800
    return found


def reached(detectors, name, figure="AP"):
    seeds = np.array(detectors["variants"][name]["summary"][figure]["seeds"])
    assert len(seeds) == 3
    return seeds


def errors_apart(first, second):
    """Return by how many standard errors of their difference the mean of the first is above that of the second."""
    return (first.mean() - second.mean()) / np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 3)


PRIORS = ("full", "focal, prior 0.5", 195, 0.008), ("cross-entropy", "cross-entropy, prior 0.5", 52, 0.022)


def test_chapter_tells_of_both_priors_what_training_showed(detectors):
    for usual, bare, times, left in PRIORS:
        losses, boxes = ([detectors["variants"][name]["losses"][part] for name in (usual, bare)]
                         for part in ("classes", "boxes"))
        (first, other), (last, end) = ([np.mean(one[kind], 0) for one in losses] for kind in ("first", "mean"))
        assert np.isfinite(other).all() and np.isfinite(end).all()  # "nothing diverges"
        assert round(other[0] / first[0]) == times  # "52 times as high", "195 times"
        assert other[19] / other[0] == pytest.approx(left, abs=5e-4)  # "at the twentieth step"
        assert 0.9 < end[-1] / last[-1] < 1.1  # "at the end alike"
        usual, bare = (np.mean(one["first"], 0)[20:40].mean() for one in boxes)
        assert 1.8 < bare / usual < 2  # "nearly twice as high in steps 21 to 40"
    usual, bare = reached(detectors, "full"), reached(detectors, "focal, prior 0.5")
    assert errors_apart(usual, bare) > 2 and 0.025 < usual.mean() - bare.mean() < 0.035  # "about three points of AP"
    names = "cross-entropy", "cross-entropy, prior 0.5"
    assert abs(errors_apart(*(reached(detectors, name) for name in names))) < 2  # "the three seeds do not decide"
    usual, bare = (reached(detectors, name, "APl") for name in names)
    assert usual.min() > bare.max()  # "large objects better with the prior in each seed"


def test_chapter_tells_of_three_losses_what_training_showed(detectors):
    """Not the order of Lin et al. (2017), table 1d: there the focal loss is first."""
    focal, entropy, mined = ([reached(detectors, name, which) for which in ("AP", "AP50", "APs", "APm", "APl")]
                             for name in ("full", "cross-entropy", "hard-negatives"))
    for which in range(5):
        assert focal[which].mean() < entropy[which].mean() < mined[which].mean()  # "last, on average at every size"
        assert errors_apart(mined[which], focal[which]) > 3
        assert (errors_apart(entropy[which], focal[which]) > 2) == (which != 2)  # small ones "within the error bars"
    weights = []
    for name in ("full", "cross-entropy", "hard-negatives"):
        losses = detectors["variants"][name]["losses"]
        classes, boxes = (np.array(losses[part]["mean"])[:, -1].mean() for part in ("classes", "boxes"))
        weights.append(classes / boxes)
    assert 1.7 < weights[0] < 2.3 and 8 < weights[2] < 13 and 8 < weights[1] < 13  # "twice", "about ten times"
    kept = detectors["kept"]["retinanet"]
    assert kept["settings"]["steps"] == 3000 and kept["summary"]["AP"] > 0.6
    assert detectors["settings"]["scenes"] == 4000  # "drew from 4,000 scenes"
    assert inspect.signature(SmallRetinaNet.detect).parameters["min_score"].default == 0.05


# --- what is measured ------------------------------------------------------------------


def trained(start, AP):
    """Return one variant as `benchmarks/detectors_training.py` writes it: three seeds, two first steps, two means."""
    seeds = [AP - 0.01, AP, AP + 0.01]
    runs = [[start - 1, 3.0], [start, 2.0], [start + 1, 1.0]]
    return {
        "summary": {name: {"seeds": seeds, "mean": AP, "deviation": 0.01} for name in figures.RESULTS},
        "losses": {"classes": {"first": runs, "mean": runs}},
    }


@pytest.fixture
def training():
    variants = {name: trained(10.0 + 100 * i, 0.1 * (i + 1)) for i, name in enumerate(figures.TRAINED)}
    return {"settings": {"every": 20}, "variants": variants}


def test_priors_are_drawn_with_a_band_over_the_seeds(training):
    panels = figures.plot_priors(training).axes
    assert [axes.get_title() for axes in panels] == ["focal loss", "cross entropy", "", ""]
    for axes, starts in zip(panels, ((10, 110), (210, 310)) * 2):
        assert [line.get_ydata().tolist() for line in axes.lines] == [[start, 2.0] for start in starts]
        assert [line.get_label() for line in axes.lines] == ["π = 0.01", "π = 0.5"]
        bands = [band.get_paths()[0].vertices[:, 1] for band in axes.collections]
        assert [(band.min(), band.max()) for band in bands] == [(1.0, start + 1.0) for start in starts]
    assert panels[0].lines[0].get_xdata().tolist() == [0, 1]
    assert panels[2].lines[0].get_xdata().tolist() == [10, 30]  # the middle of steps 0 to 19 and 20 to 39


def test_results_are_told_with_the_deviation_between_seeds(training):
    lines = figures.results_table(training, ("full", "hard-negatives")).data.split("\n")
    assert lines[0] == "| trained with | AP | AP50 | APs | APm | APl |"
    assert lines[2:] == ["| focal loss, π = 0.01 " + "| 10.0 ± 1.0 " * 5 + "|",
                         "| hard negatives, π = 0.01 " + "| 50.0 ± 1.0 " * 5 + "|"]
    axes, = figures.plot_results(training, ("full", "hard-negatives")).axes
    assert [bar.get_label() for bar in axes.containers] == ["focal loss, π = 0.01", "hard negatives, π = 0.01"]
    for bar, mean in zip(axes.containers, (10.0, 50.0)):
        assert bar.lines[0].get_ydata() == pytest.approx([mean] * 5)
        ends = np.array(bar.lines[2][0].get_segments())[:, :, 1]
        assert ends == pytest.approx(np.tile([mean - 1, mean + 1], (5, 1)))


def test_speed_table_takes_a_training_step_where_it_was_measured():
    def timed(first, **others):
        return {name: {"seconds": 0.001 * time, "ratio": {first: time / others[first]}} for name, time in others.items()}

    losses, matching = ("the plain formula", "fast, sum"), ("torch.mm, 1,024²", "fast.match_anchors")
    results = {
        "logits": 1000, "images": 8, "objects": 20, "anchors": 9,
        **{
            name: {"times": timed(keys[0], **dict(zip(keys, (10.0, 2.5)))), "memory": dict.fromkeys(keys, 2e6)}
            for name, keys in (("losses", losses), ("matching", matching))
        },
    }
    hardware = {"processor": "P", "threads": 2, "torch": "T"}
    found = figures.speed_table({"default": {"hardware": hardware, "results": results}}).data
    assert "| the plain formula | 10.0 ms | 1.00 × | 2.0 MB |\n| `fast`, their sum | 2.5 ms | 0.25 × | 2.0 MB |" in found
    assert "| `fast.match_anchors` | 2.5 ms | 0.25 × | 2.0 MB |" in found and "RetinaNet" not in found
    results["step"] = {"times": timed("a step", **{"a step": 2000.0, "its loss and matching": 30.0})}
    found = figures.speed_table({"default": {"hardware": hardware, "results": results}}).data
    assert "| a step | 2,000.0 ms | 100.0% |\n| its loss and matching | 30.0 ms | 1.5% |\n" in found


# --- numbers of other kinds --------------------------------------------------------------


def test_one_number_without_axes_has_a_slope():
    x = torch.tensor(0.3, requires_grad=True, dtype=torch.float64)
    fast.sigmoid_focal_loss(x, torch.tensor(1.0, dtype=torch.float64)).backward()
    assert x.grad.item() == pytest.approx(0.25 * formulas.focal_slope(formulas.sigmoid(0.3)))


def test_half_precision_is_summed_in_float32():
    a, b = torch.zeros(10_000, dtype=torch.float16), torch.full((10_000,), 1e-4, dtype=torch.float16)
    given = fast.smooth_l1(a, b, reduction="sum"), reference.smooth_l1(a.numpy(), b.numpy(), reduction="sum")
    assert given[0].item() == pytest.approx(5e-5, rel=1e-2) == given[1].item()


def test_labels_without_sign_are_labels():
    x = logits(3, 4)
    plain = fast.softmax_focal_loss(x, torch.tensor([0, 3, 1]))
    for dtype in (torch.uint8, torch.uint16, torch.uint32, torch.uint64):
        assert torch.equal(fast.softmax_focal_loss(x, torch.tensor([0, 3, 1]).to(dtype)), plain)


def test_rounded_is_yes_or_no():
    for module in (reference, fast):
        with pytest.raises(ValueError, match=r"`rounded` \(='no'\) must be True or False"):
            module.retinanet_anchors(64, rounded="no")
