"""The chapter on SSD against other oracles, published figures, and bad input."""

import colorsys
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.multiprocessing
import torch.nn.functional as F

from cvnotes.boxes.fast import encode
from cvnotes.boxes.reference import box_iou
from cvnotes.ssd import exercises, fast, formulas, reference

BOTH = [pytest.param(reference, np.asarray, id="reference"), pytest.param(fast, torch.as_tensor, id="fast")]

# Liu et al., SSD (2016), section 3.1 and figure 2: the six maps of SSD300 and their aspect ratios.
MAPS = (38, 19, 10, 5, 3, 1)
RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
STEPS = (8, 16, 32, 64, 100, 300)
SCALES = (0.1, *reference.scales(5, 0.2, 0.9), 1.075)


def ssd300(version=fast, **options):
    return version.default_boxes(MAPS, SCALES, RATIOS, **options)


def random_boxes(count, seed=0, size=0.4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    corner, side = torch.rand(2, count, 2, generator=generator, dtype=torch.float64)
    return torch.cat([corner, corner + 0.01 + size * side], 1).to(dtype)


# --- default boxes ---------------------------------------------------------------------


def test_default_boxes_of_ssd300_are_8732():
    # Liu et al. (2016), figure 2: "Detections: 8732 per Class"; 98 for YOLO (Redmon et al., 2016: 7·7·2).
    assert len(ssd300()) == 8732 == sum(n * n * (2 + 2 * len(r)) for n, r in zip(MAPS, RATIOS))
    assert 7 * 7 * 2 == 98


def test_outputs_of_the_first_map():
    assert formulas.outputs(21, 4, 38, 38) == 38 * 38 * 4 * (21 + 4) == 144_400
    with pytest.raises(ValueError, match="`classes`"):
        formulas.outputs(0, 4, 38, 38)


def test_scales_are_those_of_the_paper():
    # Liu et al. (2016), section 2.2: s_min = 0.2, s_max = 0.9.
    found = reference.scales(6, 0.2, 0.9)
    assert found[0] == 0.2 and found[-1] == pytest.approx(0.9, rel=1e-15) and len(found) == 6
    exact = [Fraction(2, 10) + Fraction(7, 10) * k / 5 for k in range(6)]
    assert found == pytest.approx([float(s) for s in exact], rel=1e-15)


@pytest.mark.parametrize("version, of", BOTH)
def test_default_boxes_stand_in_the_order_of_the_contract(version, of):
    boxes = np.asarray(version.default_boxes([(2, 3), 1], [0.2, 0.4, 0.8], [[2, 3], []], steps=[10, 20], image_size=(24, 36)))
    expected = []
    for i in range(2):
        for j in range(3):
            x, y = (j + 0.5) * 10 / 36, (i + 0.5) * 10 / 24
            for w, h in [(0.2, 0.2), (0.08**0.5, 0.08**0.5)] + [
                (0.2 * r**0.5, 0.2 / r**0.5) for r in (2, 1 / 2, 3, 1 / 3)
            ]:
                expected.append((x - w / 2, y - h / 2, x + w / 2, y + h / 2))
    for s in (0.4, 0.32**0.5):
        expected.append((10 / 36 - s / 2, 10 / 24 - s / 2, 10 / 36 + s / 2, 10 / 24 + s / 2))
    np.testing.assert_allclose(boxes, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("version, of", BOTH)
def test_default_boxes_without_steps_are_centred_in_their_cells(version, of):
    boxes = np.asarray(version.default_boxes([4], [0.1, 0.1], [[]]))[::2]
    np.testing.assert_allclose((boxes[:, :2] + boxes[:, 2:]) / 2, [
        ((j + 0.5) / 4, (i + 0.5) / 4) for i in range(4) for j in range(4)
    ], rtol=1e-6)


def test_default_boxes_clip_keeps_what_lies_in_the_image():
    boxes, whole = ssd300(clip=True), ssd300()
    assert boxes.min() == 0 and boxes.max() == 1 and whole.min() < 0 and whole.max() > 1
    assert torch.equal(boxes, whole.clamp(0, 1))


def test_default_boxes_have_the_area_of_their_scale_whatever_their_shape():
    boxes = fast.default_boxes([1], [0.3, 0.5], [[2, 3, 5]])
    w, h = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
    area = torch.tensor([0.09, 0.15] + [0.09] * 6)
    torch.testing.assert_close(w * h, area)
    torch.testing.assert_close(w / h, torch.tensor([1, 1, 2, 1 / 2, 3, 1 / 3, 5, 1 / 5]))


@pytest.mark.parametrize("version, of", BOTH)
def test_default_boxes_of_no_map_are_none(version, of):
    boxes = version.default_boxes([], [0.5], [])
    assert tuple(boxes.shape) == (0, 4)


def test_default_boxes_go_where_tensors_are_made():
    with torch.device("meta"):
        assert fast.default_boxes([2], [0.1, 0.2], [[2]]).device.type == "meta"


# --- matching --------------------------------------------------------------------------


def plain_match(boxes, defaults, threshold):
    """An oracle of its own: exact fractions and plain loops."""
    boxes, defaults = ([[Fraction(x) for x in row] for row in rows.tolist()] for rows in (boxes, defaults))

    def iou(a, b):
        w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        shared = w * h if w > 0 and h > 0 else Fraction(0)
        union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
        return shared / union if union else Fraction(0)

    result = []
    for default in defaults:
        overlaps = [iou(box, default) for box in boxes]
        best = max(range(len(boxes)), key=lambda j: (overlaps[j], -j), default=None)
        result.append(-1 if best is None or overlaps[best] < threshold else best)
    for j, box in enumerate(boxes):
        if defaults:
            overlaps = [iou(box, default) for default in defaults]
            result[overlaps.index(max(overlaps))] = j
    return result


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("version, of", BOTH)
def test_match_is_what_plain_loops_find(version, of, seed):
    random = np.random.default_rng(seed)
    M, D = random.integers(0, 6), random.integers(0, 40)

    def some(count):  # on a coarse grid, so that overlaps are equal and hit the threshold
        corner = random.integers(0, 4, (count, 2))
        return np.concatenate([corner, corner + random.integers(0, 5, (count, 2))], 1).astype(float)

    boxes, defaults = some(M), some(D)
    for threshold in (0.0, 0.25, 0.5, 1.0):
        found = version.match(of(boxes), of(defaults), iou_threshold=threshold)
        assert found.tolist() == plain_match(boxes, defaults, Fraction(threshold))


@pytest.mark.parametrize("version, of", BOTH)
def test_match_forces_each_object_and_the_later_keeps_a_shared_box(version, of):
    defaults = of(np.array([[0.0, 0.0, 0.2, 0.2], [0.5, 0.5, 1.0, 1.0]]))
    same = of(np.array([[0.0, 0.0, 0.1, 0.1], [0.1, 0.1, 0.2, 0.2], [0.0, 0.1, 0.1, 0.2]]))
    assert version.match(same, defaults).tolist() == [2, -1]  # IoU of ¼ with the first box, three times
    nowhere = of(np.array([[5.0, 5.0, 6.0, 6.0]]))
    assert version.match(nowhere, defaults).tolist() == [0, -1]  # all overlaps are equal: 0


@pytest.mark.parametrize("version, of", BOTH)
def test_match_takes_the_threshold_itself_and_the_lower_of_equal_objects(version, of):
    defaults = of(np.array([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.5]]))
    twice = of(np.array([[0.0, 0.0, 1.0, 0.5], [0.0, 0.0, 1.0, 0.5]]))
    assert version.match(twice, defaults).tolist() == [0, 1]  # IoU of ½ with the first, 1 with the second


def test_match_compares_different_dtypes_in_the_wider():
    boxes = random_boxes(7)
    found = fast.match(boxes, ssd300())
    assert torch.equal(found, fast.match(boxes, ssd300().double()))
    np.testing.assert_array_equal(reference.match(boxes.numpy()[:2], ssd300(reference)), fast.match(boxes[:2], ssd300()))


def test_match_of_ssd300_gives_each_object_a_box():
    boxes = random_boxes(20, dtype=torch.float32)
    index = fast.match(boxes, ssd300())
    assert set(index.tolist()) == {-1, *range(20)}
    assert (index >= 0).sum() < 600


# --- hard negative mining --------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0, 1, 2.5, 3, 1000])
@pytest.mark.parametrize("version, of", BOTH)
def test_hard_negative_mining_keeps_what_a_stable_sort_keeps(version, of, ratio):
    random = np.random.default_rng(0)
    loss, positive = random.integers(0, 5, (6, 50)) / 4, random.random((6, 50)) < np.arange(6)[:, None] / 10
    expected = positive.copy()
    for n in range(6):
        order = sorted((d for d in range(50) if not positive[n, d]), key=lambda d: (-loss[n, d], d))
        expected[n, order[:math.floor(ratio * positive[n].sum())]] = True
    np.testing.assert_array_equal(version.hard_negative_mining(of(loss), of(positive), ratio=ratio), expected)
    assert not expected[0].any()  # an image without objects teaches nothing


def test_hard_negative_mining_is_per_image_not_per_batch():
    loss = torch.tensor([[0.0, 9.0, 8.0, 7.0], [0.0, 3.0, 2.0, 1.0]])
    positive = torch.tensor([[True, False, False, False]] * 2)
    assert fast.hard_negative_mining(loss, positive, ratio=1).tolist() == [[True, True, False, False]] * 2


# --- the loss --------------------------------------------------------------------------


def batch(N=3, D=40, C=5, seed=0, dtype=torch.float64, share=0.1):
    generator = torch.Generator().manual_seed(seed)
    scores, offsets, targets = (2 * torch.randn(N, D, k, generator=generator, dtype=dtype) for k in (C, 4, 4))
    labels = torch.randint(1, C, (N, D), generator=generator) * (torch.rand(N, D, generator=generator) < share)
    return scores, offsets, labels, targets


def plain_loss(scores, offsets, labels, targets, ratio, alpha):
    """Equations 1 to 3 of the paper with torch's own losses, image by image."""
    confidence = localisation = 0
    for s, o, l, t in zip(scores, offsets, labels, targets):
        own = F.cross_entropy(s, l, reduction="none")
        hard = own[l == 0].sort(descending=True).values[:ratio * int((l > 0).sum())]
        confidence = confidence + own[l > 0].sum() + hard.sum()
        localisation = localisation + F.smooth_l1_loss(o[l > 0], t[l > 0], reduction="sum")
    return confidence / (labels > 0).sum(), alpha * localisation / (labels > 0).sum()


@pytest.mark.parametrize("ratio, alpha", [(3, 1.0), (1, 0.5)])
def test_multibox_loss_is_that_of_torchs_own_losses(ratio, alpha):
    arguments = batch()
    found, plain = fast.multibox_loss(*arguments, ratio=ratio, alpha=alpha), plain_loss(*arguments, ratio, alpha)
    own = reference.multibox_loss(*(x.numpy() for x in arguments), ratio=ratio, alpha=alpha)
    for a, b, c in zip(found, plain, own):
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(torch.from_numpy(c), b)


@pytest.mark.parametrize("version, of", BOTH)
def test_multibox_loss_is_zero_where_nothing_matches(version, of):
    scores, offsets, labels, targets = batch()
    for arguments in [(scores, offsets, 0 * labels, targets), (scores[:0], offsets[:0], labels[:0], targets[:0])]:
        losses = version.multibox_loss(*(of(x.numpy()) for x in arguments))
        assert [float(loss) for loss in losses] == [0, 0]


def test_multibox_loss_is_zero_with_gradients_of_zero_where_nothing_matches():
    scores, offsets, labels, targets = batch()
    sum(fast.multibox_loss(scores.requires_grad_(), offsets.requires_grad_(), 0 * labels, targets)).backward()
    assert not scores.grad.any() and not offsets.grad.any()


@pytest.mark.parametrize("version, of", BOTH)
def test_multibox_loss_asks_for_no_target_where_nothing_matched(version, of):
    scores, offsets, labels, targets = batch()
    targets = torch.where((labels > 0)[..., None], targets, torch.nan)
    assert all(math.isfinite(loss) for loss in version.multibox_loss(*(of(x.numpy()) for x in (scores, offsets, labels, targets))))


def test_multibox_loss_far_out_stays_finite():
    scores, offsets, labels, targets = batch(dtype=torch.float32)
    scores, offsets = (1e4 * scores).requires_grad_(), (1e4 * offsets).requires_grad_()
    losses = fast.multibox_loss(scores, offsets, labels, targets)
    sum(losses).backward()
    assert all(torch.isfinite(x).all() for x in (*losses, scores.grad, offsets.grad))


def _share(rank, folder, world):
    """What each of several processes does: its part of the batch, and what comes of it."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=world)
    scores, offsets, labels, targets = (x[rank::world].contiguous() for x in batch(N=5, share=0.1))
    labels[0] = 0
    scores.requires_grad_()
    losses = fast.multibox_loss(scores, offsets, labels, targets)
    sum(losses).backward()
    torch.save([*(loss.detach() for loss in losses), scores.grad], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_multibox_loss_of_two_processes_adds_up_to_that_of_one(tmp_path):
    torch.multiprocessing.spawn(_share, (str(tmp_path), 2), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    scores, offsets, labels, targets = batch(N=5, share=0.1)
    labels[:2] = 0
    losses = fast.multibox_loss(scores.requires_grad_(), offsets, labels, targets)
    sum(losses).backward()
    for i, loss in enumerate(losses):
        torch.testing.assert_close(parts[0][i] + parts[1][i], loss.detach())
    for rank, part in enumerate(parts):
        torch.testing.assert_close(part[2], scores.grad[rank::2])


# --- patches ---------------------------------------------------------------------------


def test_patches_have_the_sizes_and_ratios_of_the_paper():
    # Liu et al. (2016), section 2.2: "[0.1, 1] of the original image size", "aspect ratio … between 1/2 and 2".
    uniforms = torch.rand(2000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    patches = torch.tensor([formulas.patch(u) for u in uniforms.tolist()], dtype=torch.float64)
    w, h = (patches[:, 2:] - patches[:, :2]).unbind(1)
    assert patches.min() >= 0 and patches.max() <= 1 + 1e-12
    size, ratio = (w * h).sqrt(), w / h
    assert 0.1 <= size.min() < 0.11 and 0.98 < size.max() <= 1
    assert 0.5 - 1e-9 <= ratio.min() < 0.51 and 1.98 < ratio.max() <= 2 + 1e-9


@pytest.mark.parametrize("min_iou", formulas.OVERLAPS)
@pytest.mark.parametrize("version, of", BOTH)
def test_sample_patch_takes_the_first_try_that_overlaps_enough(version, of, min_iou):
    random = np.random.default_rng(1)
    boxes, labels = random_boxes(3, size=0.8).numpy(), np.array([5, 6, 7])
    for _ in range(10):
        uniforms = random.random((30, 4))
        patch, cut, left = (np.asarray(x) for x in version.sample_patch(of(boxes), of(labels), min_iou=min_iou, uniforms=of(uniforms)))
        tries = np.array([formulas.patch(u) for u in uniforms])
        fits = (box_iou(tries, boxes) >= min_iou).any(1)
        expected = tries[fits.argmax()] if fits.any() else np.array([0.0, 0.0, 1.0, 1.0])
        np.testing.assert_allclose(patch, expected, rtol=1e-12)
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        stays = ((middles >= patch[:2]) & (middles <= patch[2:])).all(1)
        np.testing.assert_array_equal(left, labels[stays])
        back = cut * np.tile(patch[2:] - patch[:2], 2) + np.tile(patch[:2], 2)
        np.testing.assert_allclose(back, boxes[stays].clip(np.tile(patch[:2], 2), np.tile(patch[2:], 2)), atol=1e-12)


@pytest.mark.parametrize("version, of", BOTH)
def test_sample_patch_without_objects_or_tries(version, of):
    none, labels, u = np.zeros((0, 4)), np.zeros(0, np.int64), np.full((2, 4), 0.5)
    for min_iou, whole in ((None, True), (0.1, True), (0, False)):
        patch, boxes, left = version.sample_patch(of(none), of(labels), min_iou=min_iou, uniforms=of(u))
        assert (patch.tolist() == [0, 0, 1, 1]) == whole and tuple(boxes.shape) == (0, 4) and len(left) == 0
    patch, *_ = version.sample_patch(of(none), of(labels), min_iou=0, uniforms=of(u[:0]))
    assert patch.tolist() == [0, 0, 1, 1]


def test_sample_patch_lets_gradients_through():
    u = torch.tensor([[0.5, 0.3, 0.2, 0.6]], dtype=torch.float64)
    labels = torch.tensor([1, 2])
    boxes = torch.tensor([[0.2, 0.3, 0.5, 0.8], [0.3, 0.4, 0.6, 0.7]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda b: fast.sample_patch(b, labels, min_iou=0, uniforms=u)[1], boxes)


# --- fully connected layers as convolutions --------------------------------------------


@pytest.mark.parametrize("version, of", BOTH)
def test_decimate_fc_of_ssd(version, of):
    random = np.random.default_rng(0)
    fc6, fc7 = random.random((16, 5 * 49)).astype(np.float32), random.random((16, 16)).astype(np.float32)
    six, seven = np.asarray(version.decimate_fc(of(fc6), 7)), np.asarray(version.decimate_fc(of(fc7), 1, steps=(4, 4, 1, 1)))
    np.testing.assert_array_equal(six, fc6.reshape(16, 5, 7, 7)[[0, 4, 8, 12]][:, :, [0, 3, 6]][..., [0, 3, 6]])
    np.testing.assert_array_equal(seven[:, :, 0, 0], fc7[::4, ::4])
    assert six.dtype == np.float32


def test_decimate_fc_with_steps_of_one_is_the_same_layer():
    x, weight = torch.randn(2, 3, 7, 7, dtype=torch.float64), torch.randn(8, 3 * 49, dtype=torch.float64)
    kernel = fast.decimate_fc(weight, 7, steps=(1, 1, 1, 1))
    torch.testing.assert_close(F.conv2d(x, kernel)[:, :, 0, 0], x.flatten(1) @ weight.T)


# --- detection -------------------------------------------------------------------------


def test_detect_finds_what_plain_loops_find():
    generator = torch.Generator().manual_seed(3)
    D, C = 60, 4
    defaults = random_boxes(D, seed=4)
    scores, offsets = torch.randn(2, D, C, generator=generator).double() * 2, torch.randn(2, D, 4, generator=generator).double()
    for n, found in enumerate(fast.detect(scores, offsets, defaults, min_score=0.2, candidates=30, most=25)):
        p = scores[n].softmax(1)
        centre, size = (defaults[:, :2] + defaults[:, 2:]) / 2, defaults[:, 2:] - defaults[:, :2]
        centre, size = centre + offsets[n, :, :2] * 0.1 * size, size * (offsets[n, :, 2:] * 0.2).exp()
        boxes = torch.cat([centre - size / 2, centre + size / 2], 1).clamp(0, 1)
        kept = []
        for c in range(1, C):
            order = [d for d in p[:, c].argsort(descending=True).tolist() if p[d, c] > 0.2][:30]
            mine = []
            for d in order:
                if all(_iou(boxes[d], boxes[e]) <= 0.45 for e in mine):
                    mine.append(d)
            kept += [(float(p[d, c]), c, d) for d in mine]
        kept = sorted(kept, reverse=True)[:25]
        assert len(kept) > 5
        torch.testing.assert_close(found["scores"], torch.tensor([k[0] for k in kept], dtype=torch.float64))
        assert found["labels"].tolist() == [k[1] for k in kept]
        torch.testing.assert_close(found["boxes"], boxes[[k[2] for k in kept]])


def _iou(a, b):
    shared = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0).prod()
    return shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared)


@pytest.mark.parametrize("version, of", BOTH)
def test_detect_of_nothing(version, of):
    empty = version.detect(of(np.zeros((2, 0, 3))), of(np.zeros((2, 0, 4))), of(np.zeros((0, 4))))
    assert [tuple(x["boxes"].shape) for x in empty] == [(0, 4)] * 2
    assert version.detect(of(np.zeros((0, 5, 3))), of(np.zeros((0, 5, 4))), of(random_boxes(5).numpy())) == []
    background = of(np.zeros((1, 5, 3)) + np.array([50.0, 0.0, 0.0]))
    (found,) = version.detect(background, of(np.zeros((1, 5, 4))), of(random_boxes(5).numpy()))
    assert {key: tuple(value.shape) for key, value in found.items()} == {"boxes": (0, 4), "labels": (0,), "scores": (0,)}


def test_detect_finds_again_what_match_and_encode_asked_for():
    boxes, labels, defaults = random_boxes(6, seed=5, dtype=torch.float32).clamp(0, 1), torch.arange(1, 7), ssd300()
    index = fast.match(boxes, defaults)
    hit = index >= 0
    scores, offsets = torch.zeros(1, 8732, 7), torch.zeros(1, 8732, 4)
    scores[0, :, 0] = 9
    scores[0, hit, labels[index[hit]]] = 20
    offsets[0, hit] = encode(boxes[index[hit]], defaults[hit], weights=formulas.CODE)
    (found,) = fast.detect(scores, offsets, defaults, iou_threshold=0.9, min_score=0.5)
    order = found["labels"].argsort()
    assert found["labels"][order].tolist() == labels.tolist()
    torch.testing.assert_close(found["boxes"][order], boxes)


# --- colours ---------------------------------------------------------------------------


def turned(colour, brightness, contrast, saturation, hue):
    """An oracle of its own, with Python's colorsys."""
    clip = lambda x: min(1.0, max(0.0, x))  # noqa: E731
    h, s, v = colorsys.rgb_to_hsv(*(clip(contrast * clip(c + brightness)) for c in colour))
    return colorsys.hsv_to_rgb((h + hue / 360) % 1, clip(saturation * s), v)


@pytest.mark.parametrize("numbers", [
    (0.0, 1.0, 1.0, 0.0), (0.125, 1.0, 1.0, 0.0), (-0.125, 1.5, 1.0, 0.0), (0.0, 0.5, 1.5, 0.0), (0.0, 1.0, 0.0, 0.0),
    (0.0, 1.0, 1.0, 36.0), (0.0, 1.0, 1.0, -150.0), (0.1, 1.2, 3.0, 345.0), (1.0, 1.0, 1.0, 0.0), (0.0, 0.0, 1.0, 90.0),
])
@pytest.mark.parametrize("version, of", BOTH)
def test_photometric_distortion_is_that_of_colorsys(version, of, numbers):
    image = np.random.default_rng(0).random((3, 7, 9))
    image[:, :2] = np.round(2 * image[:, :2]) / 2  # greys, black, white, and pure colours
    names = ("brightness", "contrast", "saturation", "hue")
    found = np.asarray(version.photometric_distortion(of(image), **dict(zip(names, numbers))))
    expected = [[turned(image[:, i, j], *numbers) for j in range(9)] for i in range(7)]
    np.testing.assert_allclose(found, np.transpose(expected, (2, 0, 1)), atol=1e-12)


@pytest.mark.parametrize("version, of", BOTH)
def test_photometric_distortion_leaves_what_it_should(version, of):
    image = np.random.default_rng(1).random((3, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(version.photometric_distortion(of(image)), image, atol=1e-6)
    for numbers in ({"hue": 77}, {"saturation": 0.3}):
        made = np.asarray(version.photometric_distortion(of(image), **numbers))
        np.testing.assert_allclose(made.max(0), image.max(0), atol=1e-6)  # V stays
        assert abs(made - image).max() > 0.1 and made.dtype == np.float32
    grey = np.asarray(version.photometric_distortion(of(image), saturation=0))
    np.testing.assert_allclose(grey, np.broadcast_to(image.max(0), image.shape), atol=1e-6)


# --- bad input -------------------------------------------------------------------------

_B, _D = np.array([[0.1, 0.1, 0.5, 0.5]]), np.array([[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]])
_S, _O, _L = np.zeros((1, 2, 3)), np.zeros((1, 2, 4)), np.array([[0, 1]])
_U = np.full((1, 4), 0.5)

REFUSED = [
    ("scales", (0, 0.2, 0.9), {}, "`m` (=0) must be at least 1"),
    ("scales", (6, 0.9, 0.2), {}, "`s_max` (=0.2) must not be less than `s_min` (=0.9)"),
    ("default_boxes", ([4], [0.1], [[2]]), {}, "`scales` has 1 entries; 2 are needed, one for each map and one beyond the last"),
    ("default_boxes", ([4], [0.1, 0.2], []), {}, "`aspect_ratios` has 0 entries; 1 are needed, one list for each map"),
    ("default_boxes", ([4], [0.1, 0.2], [[0]]), {}, "`aspect_ratios` (=0.0) must be more than 0"),
    ("default_boxes", ([0], [0.1, 0.2], [[2]]), {}, "`map_sizes` (=0) must be at least 1"),
    ("default_boxes", ([4], [0.1, 0.2], [[2]]), {"steps": [8]}, "`image_size` is needed, as `steps` are in its pixels"),
    ("default_boxes", ([4], [0.1, 0.2], [[2]]), {"clip": 1}, "`clip` (=1) must be True or False"),
    ("match", (_B[:, [2, 1, 0, 3]], _D), {}, "`boxes` holds [0.5, 0.1, 0.1, 0.5] at index 0: x2 must not be less than x1"),
    ("match", (_B, _D * np.nan), {}, "`default_boxes` holds [nan, nan, nan, nan] at index 0"),
    ("match", (_B, _D), {"iou_threshold": 1.5}, "`iou_threshold` (=1.5) must be from 0 to 1"),
    ("match", (_B[0], _D), {}, "`boxes` has the shape (4,)"),
    ("hard_negative_mining", (_S[..., 0], _L), {}, "`positive` (int64) must be of the dtype bool"),
    ("hard_negative_mining", (_S[..., 0], _L[:, :1] > 0), {}, "`positive` has the shape (1, 1); (1, 2) is needed"),
    ("hard_negative_mining", (_S[..., 0] * np.nan, _L > 0), {}, "`loss` holds nan"),
    ("hard_negative_mining", (_S[..., 0], _L > 0), {"ratio": -1}, "`ratio` (=-1.0) must be at least 0"),
    ("multibox_loss", (_S, _O, _L + 2, _O), {}, "`labels` holds 3 at index (0, 1); 0 to 2 are needed"),
    ("multibox_loss", (_S, _O, _L - 1, _O), {}, "`labels` holds -1 at index (0, 0); 0 to 2 are needed"),
    ("multibox_loss", (_S, _O, _L * 1.0, _O), {}, "`labels` (float64) must be of an integer dtype"),
    ("multibox_loss", (_S, _O[:, :1], _L, _O), {}, "`offsets` has the shape (1, 1, 4); (1, 2, 4) is needed"),
    ("multibox_loss", (_S, _O, _L, _O.astype(np.float32)), {}, "`targets` (dtype float32) must match `scores` (dtype float64)"),
    ("multibox_loss", (_S[..., :1], _O, _L, _O), {}, "`scores` has the shape (1, 2, 1); two classes are needed"),
    ("sample_patch", (_B, np.array([1, 2])), {"min_iou": 0.1, "uniforms": _U}, "`labels` has the shape (2,)"),
    ("sample_patch", (_B, np.array([1])), {"min_iou": 0.1, "uniforms": _U + 1}, "`uniforms` holds 1.5 at index (0, 0)"),
    ("sample_patch", (_B, np.array([1])), {"min_iou": 2, "uniforms": _U}, "`min_iou` (=2.0) must be from 0 to 1"),
    ("photometric_distortion", (np.ones((1, 2, 2)),), {}, "`image` has the shape (1, 2, 2); (3, H, W) is needed"),
    ("photometric_distortion", (np.full((3, 1, 1), 1.5),), {}, "`image` holds a number that is not from 0 to 1"),
    ("photometric_distortion", (np.full((3, 1, 1), np.nan),), {}, "`image` holds a number that is not from 0 to 1"),
    ("photometric_distortion", (np.ones((3, 1, 1)),), {"contrast": -1}, "`contrast` (=-1.0) must be at least 0"),
    ("photometric_distortion", (np.ones((3, 1, 1)),), {"hue": np.inf}, "`hue` (=inf) must be a finite number"),
    ("decimate_fc", (np.ones((4, 10)), 3), {}, "`kernel_size` (=3): its 9 places must divide the 10 inputs of `weight`"),
    ("decimate_fc", (np.ones((4, 9)), 3), {"steps": (1, 1, 0, 1)}, "`steps` (=0) must be at least 1"),
    ("detect", (_S, _O, _D[:1]), {}, "`default_boxes` holds 1 boxes; 2 are needed, as many as `scores` has rows"),
    ("detect", (_S * np.nan, _O, _D), {}, "`scores` holds a number that is not finite"),
    ("detect", (_S, _O + np.inf, _D), {}, "`offsets` holds [inf, inf, inf, inf] at index 0"),
    ("detect", (_S, _O, _D), {"min_score": -0.1}, "`min_score` (=-0.1) must be from 0 to 1"),
]


@pytest.mark.parametrize("version, of", BOTH)
@pytest.mark.parametrize("name, args, kwargs, words", REFUSED)
def test_bad_input_is_refused_in_words(version, of, name, args, kwargs, words):
    args = [of(x.copy()) if isinstance(x, np.ndarray) else x for x in args]
    kwargs = {key: of(x) if isinstance(x, np.ndarray) else x for key, x in kwargs.items()}
    with pytest.raises(ValueError) as caught:
        getattr(version, name)(*args, **kwargs)
    assert str(caught.value).startswith(words)


# --- exercises -------------------------------------------------------------------------


def test_exercises_have_the_oracles_of_the_chapter():
    random = np.random.default_rng(0)
    for _ in range(30):
        overlaps = random.integers(0, 9, (random.integers(1, 4), random.integers(1, 8))) / 8
        boxes, defaults = np.zeros((len(overlaps), 4)), np.zeros((overlaps.shape[1], 4))
        with pytest.MonkeyPatch.context() as patch:  # the reference, with these overlaps
            patch.setattr(reference, "box_iou", lambda *_: overlaps)
            assert exercises.match.expected(overlaps.tolist(), 0.5) == reference.match(boxes, defaults).tolist()
        losses, positive = random.integers(0, 5, (1, 9)) / 4, random.random((1, 9)) < 0.2
        kept = reference.hard_negative_mining(losses, positive, ratio=2) & ~positive
        assert exercises.mine.expected(losses[0].tolist(), positive[0].tolist(), 2) == np.flatnonzero(kept[0]).tolist()


def test_ratio_beyond_counting_keeps_all_negatives():
    loss, positive = torch.rand(1, 30), torch.arange(30)[None] < 20
    for version, of in ((reference, torch.Tensor.numpy), (fast, lambda x: x)):
        assert version.hard_negative_mining(of(loss), of(positive), ratio=9e307).all()
