"""The small detectors: what they are made of, what counts in their losses, and what they find."""

import itertools

import pytest
import torch

from cvnotes.boxes import fast as boxes_fast
from cvnotes.models import small_detectors

pytestmark = pytest.mark.usefixtures("one_thread")


OPTIONS = {
    "ssd": [{"maps": maps} for maps in small_detectors.SmallSSD.MAPS],
    "retinanet": [
        {"pyramid": pyramid, "loss": loss} for pyramid, loss in itertools.product(
            small_detectors.SmallRetinaNet.PYRAMIDS, small_detectors.SmallRetinaNet.LOSSES
        )
    ],
}
ALL = [
    pytest.param(name, options, id="-".join([name, *options.values()])) for name in OPTIONS for options in OPTIONS[name]
]
BOTH = pytest.mark.parametrize("name", OPTIONS)
K = 3


def build(name, **options):
    torch.manual_seed(0)
    return small_detectors.build(name, K, **{"image_size": 64, **options})


def target(boxes, labels, crowds=()):
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).view(-1, 4), "labels": torch.tensor(labels, dtype=torch.long),
        "crowds": torch.tensor(crowds, dtype=torch.float32).view(-1, 4),
    }


TARGETS = [
    target([[4, 4, 20, 18], [26, 26, 54, 50]], [2, 0]), target([], []),
    target([[8, 40, 18, 52]], [1], [[30, 30, 64, 64]]),
]


def images(N=3, size=64):
    return torch.randn(N, 3, size, size, generator=torch.Generator().manual_seed(1))


# --- structure -----------------------------------------------------------------------------


@pytest.mark.parametrize("name, options", ALL)
@pytest.mark.parametrize("size", [64, 128])
def test_detector_gives_scores_and_offsets_for_each_of_its_boxes(name, options, size):
    detector = build(name, image_size=size, **options)
    assert sum(weight.numel() for weight in detector.parameters()) < 500_000
    scores, offsets = detector(images(2, size))
    D = len(detector.boxes)
    assert scores.shape == (2, D, K + (name == "ssd")) and offsets.shape == (2, D, 4)
    found = boxes_fast.box_area(detector.boxes)
    assert (found > 0).all() and torch.isfinite(found).all()


@BOTH
def test_boxes_belong_to_the_places_that_predict_them(name):
    # A square that is lit changes, most of all, what is said of boxes near it.
    detector = build(name, image_size=128)
    x = torch.zeros(1, 3, 128, 128)
    lit = x.clone()
    lit[..., 88:104, 24:40] = 2.0
    with torch.no_grad():
        change = (detector(lit)[0] - detector(x)[0]).abs().sum(2)[0]
    boxes = detector.boxes * detector.scale
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    small = (boxes[:, 2:] - boxes[:, :2]).amax(1) < 24
    strongest = centres[small][change[small].topk(12).indices]
    assert (strongest - torch.tensor([32.0, 96.0])).abs().max() < 24


def test_default_boxes_are_as_many_on_one_map_as_the_map_has_places_for():
    count = {maps: len(build("ssd", image_size=128, maps=maps).boxes) for maps in ("all", "middle", "fine")}
    assert count == {"all": 4 * (16**2 + 8**2 + 4**2 + 2**2), "middle": 16 * 8**2, "fine": 16 * 16**2}


def test_finest_level_has_all_sizes_of_the_pyramid_in_each_place():
    full, finest = build("retinanet"), build("retinanet", pyramid="finest")
    sizes = {tuple(size) for size in (full.boxes[:, 2:] - full.boxes[:, :2]).round(decimals=3).tolist()}
    assert len(sizes) == 12 and len(finest.boxes) == 12 * 16**2
    first = finest.boxes[:12]
    assert {tuple(size) for size in (first[:, 2:] - first[:, :2]).round(decimals=3).tolist()} == sizes
    assert torch.allclose((first[:, :2] + first[:, 2:]) / 2, torch.tensor(2.0))


@pytest.mark.parametrize("pyramid, reached", [
    # Which of C2 to C5 each level P2 to P5 depends on.
    ("full", {0: {0, 1, 2, 3}, 1: {1, 2, 3}, 2: {2, 3}, 3: {3}}),
    ("no-top-down", {0: {0}, 1: {1}, 2: {2}, 3: {3}}),
    ("no-lateral", {0: {3}, 1: {3}, 2: {3}, 3: {3}}),
    ("finest", {0: {0, 1, 2, 3}}),
])
def test_levels_of_a_pyramid_depend_on_the_maps_that_it_leaves(pyramid, reached):
    detector = build("retinanet", pyramid=pyramid)
    features = [c.detach().requires_grad_() for c in detector.backbone(images(1))]
    levels = detector.pyramid_of(features)
    assert len(levels) == len(reached)
    for k, level in enumerate(levels):
        slopes = torch.autograd.grad(level.sum(), features, retain_graph=True, allow_unused=True)
        assert {c for c, slope in enumerate(slopes) if slope is not None and slope.abs().sum() > 0} == reached[k]


def test_prior_is_the_probability_that_each_class_starts_with():
    for prior in (0.01, 0.5):
        logits, _ = build("retinanet", prior=prior)(images())
        assert logits.sigmoid().mean().item() == pytest.approx(prior, rel=0.1)


@BOTH
def test_images_of_a_batch_do_not_meet(name):
    detector, x = build(name), images()
    with torch.no_grad():
        together, alone = detector(x), detector(x[1:2])
    for a, b in zip(together, alone):
        assert torch.allclose(a[1:2], b, atol=1e-5)


# --- losses --------------------------------------------------------------------------------


@pytest.mark.parametrize("name, options", ALL)
def test_each_weight_gets_a_gradient_also_without_objects(name, options):
    detector = build(name, **options)
    for targets in (TARGETS, [target([], [])] * 3):
        detector.zero_grad()
        outputs = detector(images())
        losses = detector.losses(outputs, targets)
        (sum(losses.values()) + sum(output.sum() * 0 for output in outputs)).backward()
        for key, weight in detector.named_parameters():
            assert (weight.grad is not None) == weight.requires_grad, key
            assert weight.grad is None or torch.isfinite(weight.grad).all(), key


@BOTH
def test_assign_gives_each_box_its_object(name):
    detector = build(name)
    labels, codes = detector.assign(TARGETS)
    assert labels.shape == (3, len(detector.boxes)) and codes.shape == (*labels.shape, 4)
    assert (labels[1] <= 0).all()
    for i in (0, 2):
        hit = labels[i] > 0
        decoded = boxes_fast.decode(codes[i, hit], detector.boxes[hit], weights=detector.CODE) * detector.scale
        for box, label in zip(decoded, labels[i, hit]):
            own = TARGETS[i]["boxes"][TARGETS[i]["labels"] == label - 1]
            assert (own - box).abs().amax(1).min() < 1e-3
    assert (labels[0] > 0).any() and (labels[2] > 0).any()


@pytest.mark.parametrize("name, options", ALL)
def test_losses_of_a_batch_are_the_sums_over_its_images(name, options):
    detector = build(name, **options)
    labels, _ = detector.assign(TARGETS)
    matched = (labels > 0).sum(1).tolist()
    with torch.no_grad():
        outputs = detector(images())
        whole = detector.losses(outputs, TARGETS)
        parts = [detector.losses([output[i:i + 1] for output in outputs], TARGETS[i:i + 1]) for i in range(3)]
    for key in whole:
        total = sum(losses[key].item() * max(1, count) for losses, count in zip(parts, matched))
        assert whole[key].item() == pytest.approx(total / sum(matched), rel=1e-3)  # sums of 27,000 float32


@BOTH
def test_boxes_in_a_crowd_count_for_nothing(name):
    detector = build(name)
    outputs = [output.detach().requires_grad_() for output in detector(images(1))]
    with_crowd = [target([[4, 4, 20, 18]], [1], [[28, 28, 64, 64]])]
    slope = torch.autograd.grad(sum(detector.losses(outputs, with_crowd).values()), outputs[0])[0][0].abs().sum(1)
    boxes = detector.boxes * detector.scale
    inside = torch.cat([boxes[:, :2] >= 28, boxes[:, 2:] <= 64], 1).all(1)
    assert inside.sum() > 5 and slope[inside].max() == 0
    labels, _ = detector.assign(with_crowd)
    assert (labels[0, inside] == -1).all()
    across = (boxes_fast.box_iou(boxes, torch.tensor([[28.0, 28.0, 64.0, 64.0]]))[:, 0] > 0) & ~inside
    assert (labels[0, across] == 0).any()  # who only reaches into it is background


@BOTH
def test_object_in_a_crowd_is_still_an_object(name):
    detector = build(name)
    labels, _ = detector.assign([target([[26, 26, 54, 50]], [1], [[20, 20, 64, 64]])])
    assert (labels == 2).any()


@BOTH
def test_losses_are_least_where_the_answer_is_right(name):
    detector = build(name)
    best = sum(value.item() for value in detector.losses(right_outputs(detector, TARGETS), TARGETS).values())
    with torch.no_grad():
        first = sum(value.item() for value in detector.losses(detector(images()), TARGETS).values())
    assert 0 <= best < 0.001 * first


def right_outputs(detector, targets):
    """Return what a detector would have to give: sure scores, and the codes of the objects."""
    labels, codes = detector.assign(targets)
    scores = 40.0 * torch.nn.functional.one_hot(labels.clamp(min=0), K + 1) - 20
    return scores if isinstance(detector, small_detectors.SmallSSD) else scores[..., 1:], codes


@pytest.mark.parametrize("loss, share", [("focal", 0.25), ("cross-entropy", 1.0)])
def test_class_loss_is_that_of_its_name(loss, share):
    # One logit of one matched anchor is wrong by far, all else is right: −log p is about 20, p about 0.
    detector = build("retinanet", loss=loss)
    logits, codes = right_outputs(detector, TARGETS[:1])
    labels, _ = detector.assign(TARGETS[:1])
    anchor = (labels[0] > 0).nonzero()[0, 0]
    logits[0, anchor] = -20.0
    count = (labels > 0).sum().item()
    found = detector.losses((logits, codes), TARGETS[:1])["classes"].item()
    assert found == pytest.approx(20 * share / count, rel=1e-3)


def test_hard_negatives_are_three_for_each_match():
    detector = build("retinanet", loss="hard-negatives")
    logits, codes = (output.detach() for output in detector(images(1)))
    logits.requires_grad_()
    labels, _ = detector.assign(TARGETS[:1])
    slope = torch.autograd.grad(detector.losses((logits, codes), TARGETS[:1])["classes"], logits)[0][0].abs().sum(1)
    matched = int((labels > 0).sum())
    assert (slope[labels[0] > 0] > 0).all() and int((slope > 0).sum()) == 4 * matched


# --- detections ----------------------------------------------------------------------------


@BOTH
def test_right_outputs_are_found_as_the_objects(name):
    detector, truth = build(name), TARGETS[0]
    found, = detector.detect(right_outputs(detector, [truth]))
    order = found["labels"].argsort()
    assert found["labels"][order].tolist() == sorted(truth["labels"].tolist())
    wanted = truth["boxes"][truth["labels"].argsort()]
    assert torch.allclose(found["boxes"][order], wanted, atol=1e-3)
    assert (found["scores"] > 0.99).all()


@BOTH
def test_detections_are_few_sorted_and_within_the_image(name):
    detector = build(name)
    scores, offsets = (output.detach() for output in detector(images()))
    found = detector.detect((scores + torch.randn_like(scores) * 3, offsets + torch.randn_like(offsets)), most=17)
    assert len(found) == 3
    for own in found:
        assert len(own["boxes"]) == len(own["scores"]) == len(own["labels"]) == 17
        assert (own["scores"].diff() <= 0).all() and (own["scores"] > 0.05).all()
        assert (own["boxes"] >= 0).all() and (own["boxes"] <= 64).all()
        assert own["labels"].min() >= 0 and own["labels"].max() < K
    assert all(own["boxes"].shape == (0, 4) for own in detector.detect((scores, offsets), min_score=0.99))


# --- bad input -----------------------------------------------------------------------------


@pytest.mark.parametrize("arguments, said", [
    (("yolo", 3), "`name` (='yolo') must be one of the detectors: ssd, retinanet"),
    (("ssd", 0), "`num_classes` (=0) must be at least 1"),
    (("ssd", 3, {"pyramid": "full"}), "`pyramid` is no option of ssd, which has image_size, maps"),
    (("ssd", 3, {"maps": "coarse"}), "`maps` (='coarse') must be one of 'all', 'middle', 'fine'"),
    (("ssd", 3, {"image_size": 100}), "`image_size` (=100) must be a multiple of 64"),
    (("retinanet", 3, {"pyramid": "half"}), "`pyramid` (='half') must be one of 'full'"),
    (("retinanet", 3, {"loss": "dice"}), "`loss` (='dice') must be one of 'focal'"),
    (("retinanet", 3, {"prior": 1.0}), "`prior` (=1.0) must be below 1"),
    (("retinanet", 3, {"prior": 0}), "`prior` (=0) must be a finite number above 0"),
])
def test_detector_refuses_what_makes_none(arguments, said):
    name, count, options = (*arguments, {})[:3]
    with pytest.raises(ValueError) as refused:
        small_detectors.build(name, count, **options)
    assert said in str(refused.value)


@BOTH
def test_detector_refuses_images_of_another_size(name):
    with pytest.raises(ValueError, match=r"`x` has the shape \(1, 3, 32, 64\); \(N, 3, 64, 64\) is needed"):
        build(name)(torch.zeros(1, 3, 32, 64))
    with pytest.raises(ValueError, match="`x`"):
        build(name)(torch.zeros(1, 1, 64, 64))


@BOTH
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_may_be_of_any_integer_type(name, dtype):
    detector = build(name)
    with torch.no_grad():
        outputs = detector(images())
        plain = detector.losses(outputs, TARGETS)
        assert detector.losses(outputs, [{**own, "labels": own["labels"].to(dtype)} for own in TARGETS]) == plain


@BOTH
@pytest.mark.parametrize("change, said", [
    (dict(labels=torch.tensor([0, 3])), "`targets[0]['labels']` holds 3 at index 1; 0 to 2 are needed"),
    (dict(labels=torch.tensor([-1, 0])), "`targets[0]['labels']` holds -1 at index 0; 0 to 2 are needed"),
    (dict(labels=torch.tensor([1])), "`targets[0]['labels']` has the shape (1,); one label for each of 2 boxes is needed"),
    (dict(crowds=torch.tensor([[5.0, 5, 1, 9]])), "`targets[0]['crowds']` holds [5.0, 5.0, 1.0, 9.0] at index 0: x2 must"),
    (dict(boxes=torch.full((2, 4), torch.nan)), "`targets[0]['boxes']` holds [nan, nan, nan, nan] at index 0"),
])
def test_targets_that_are_none_are_refused(name, change, said):
    detector = build(name)
    with torch.no_grad():
        outputs = detector(images())
    with pytest.raises(ValueError) as refused:
        detector.losses(outputs, [{**TARGETS[0], **change}, *TARGETS[1:]])
    assert str(refused.value).startswith(said)
    with pytest.raises(ValueError, match="`targets` has 2 entries; 3 are needed, one for each image"):
        detector.losses(outputs, TARGETS[:2])


@BOTH
def test_numbers_that_are_none_are_not_detected(name):
    detector = build(name)
    with torch.no_grad():
        outputs = [output.clone() for output in detector(images())]
    outputs[0][0, 3, 1] = torch.nan
    with pytest.raises(ValueError, match="holds a number that is not finite"):
        detector.detect(outputs)
