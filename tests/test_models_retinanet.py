"""RetinaNet on ResNet-50: the published weights' names, what a plain reading of them computes, and bad input."""

import copy
import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from cvnotes import models
from cvnotes.boxes import fast as boxes_fast
from cvnotes.focal_loss import fast
from cvnotes.models.fpn import BackboneWithFPN, FrozenBatchNorm2d, Subsampling
from cvnotes.models.retinanet_resnet50_fpn import RetinaNet

PUBLISHED = json.loads((Path(__file__).parent / "data" / "state_dict_retinanet_resnet50_fpn.json").read_text())
SIZE = (70, 101)  # of the image: no multiple of anything


@pytest.fixture(scope="module")
def network():
    """RetinaNet with three classes, with weights that make all its parts count."""
    torch.manual_seed(0)
    network = RetinaNet(3).eval()
    state = network.state_dict()
    for key, value in state.items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif key.endswith("running_mean") or ("bn" in key and key.endswith("bias")):
            value.normal_(0, 0.1)
        elif key.endswith("bn3.weight"):
            value.fill_(0.2)
        elif key.startswith("head") and "conv" in key and key.endswith("weight"):
            value.normal_(0, math.sqrt(2 / (9 * 256)))
        elif key == "head.classification_head.cls_logits.bias":
            value.normal_(-3, 0.3)
        elif key.endswith("bias"):
            value.normal_(0, 0.1)
    network.load_state_dict(state)
    return network


@pytest.fixture(scope="module")
def image():
    return torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def as_published(w, x):
    """Read the weights by their names, with nothing but functions of torch: logits and offsets of images x.

    What the code does with which these weights were published, line by line.
    """
    def conv(x, name, stride=1):
        weight = w[f"{name}.weight"]
        return F.conv2d(x, weight, w.get(f"{name}.bias"), stride, (weight.shape[-1] - 1) // 2)

    def norm(x, name):
        name = f"backbone.body.{name}"
        numbers = (w[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *numbers, training=False, eps=0.0)

    def block(x, name, stride):
        def step(x, i, stride=1):
            return norm(conv(x, f"backbone.body.{name}.conv{i}", stride), f"{name}.bn{i}")

        y = step(F.relu(step(F.relu(step(x, 1)), 2, stride)), 3)
        if f"backbone.body.{name}.downsample.0.weight" in w:
            x = norm(conv(x, f"backbone.body.{name}.downsample.0", stride), f"{name}.downsample.1")
        return F.relu(x + y)

    mean, deviation = torch.tensor([0.485, 0.456, 0.406]).to(x), torch.tensor([0.229, 0.224, 0.225]).to(x)
    x = (x - mean[:, None, None]) / deviation[:, None, None]
    padded = x.new_zeros(len(x), 3, *(-(-side // 32) * 32 for side in x.shape[2:]))
    padded[:, :, :x.shape[2], :x.shape[3]] = x
    x = F.max_pool2d(F.relu(norm(conv(padded, "backbone.body.conv1", 2), "bn1")), 3, 2, 1)
    maps = []
    for stage, count in enumerate((3, 4, 6, 3), 1):
        for i in range(count):
            x = block(x, f"layer{stage}.{i}", 2 if i == 0 and stage > 1 else 1)
        maps.append(x)
    inner = [conv(c, f"backbone.fpn.inner_blocks.{i}.0") for i, c in enumerate(maps[1:])]
    for i in (1, 0):
        inner[i] = inner[i] + F.interpolate(inner[i + 1], size=inner[i].shape[2:])
    levels = [conv(y, f"backbone.fpn.layer_blocks.{i}.0") for i, y in enumerate(inner)]
    levels.append(conv(levels[-1], "backbone.fpn.extra_blocks.p6", 2))
    levels.append(conv(F.relu(levels[-1]), "backbone.fpn.extra_blocks.p7", 2))
    outputs = []
    for head, last in (("classification", "cls_logits"), ("regression", "bbox_reg")):
        rows = []
        for y in levels:
            for i in range(4):
                y = F.relu(conv(y, f"head.{head}_head.conv.{i}.0"))
            y = conv(y, f"head.{head}_head.{last}")
            N, C, H, W = y.shape
            rows.append(y.view(N, 9, C // 9, H, W).permute(0, 3, 4, 1, 2).reshape(N, -1, C // 9))
        outputs.append(torch.cat(rows, 1))
    return outputs


def outputs_of(network, image):
    network.train()
    try:
        with torch.no_grad():
            return network(image)
    finally:
        network.eval()


# --- the published weights ---------------------------------------------------------------


def test_state_dict_is_that_of_the_published_weights():
    with torch.device("meta"):
        network = models.build("retinanet_resnet50_fpn")
    ours = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert list(ours.items()) == list(PUBLISHED["state_dict"].items())  # names, shapes and order
    assert sum(p.numel() for p in network.parameters()) == PUBLISHED["parameters"] == 34_014_999


def test_forward_is_what_the_published_weights_ask_for(network, image):
    network, image = copy.deepcopy(network).double(), image.double()  # what reaches P7 is small, and must count
    outputs = outputs_of(network, image)
    logits, offsets = as_published(network.state_dict(), image)
    torch.testing.assert_close(outputs.logits, logits, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(outputs.offsets, offsets, rtol=1e-9, atol=1e-11)
    assert outputs.logits.std() > 0.05 and outputs.offsets.std() > 0.05  # nothing died on the way
    # 96 × 128 pixels: 12·16 + 6·8 + 3·4 + 2·2 + 1·1 places
    assert outputs.levels == tuple(9 * places for places in (192, 48, 12, 4, 1))
    assert torch.equal(outputs.anchors, fast.retinanet_anchors((96, 128), rounded=True, dtype="float64"))


def test_anchors_where_a_side_does_not_fit_the_coarsest_levels():
    """1088 / 128 is 8.5: on P7 the published weights have 9 places, 120 pixels apart."""
    with torch.device("meta"):
        network = RetinaNet(1)
    anchors, levels = network.anchors(torch.empty(1, 3, 800, 1088))
    assert levels == tuple(9 * rows * columns for rows, columns in ((100, 136), (50, 68), (25, 34), (13, 17), (7, 9)))
    last = anchors[-9 * 7 * 9:]
    centres = (last[:, :2] + last[:, 2:]) / 2
    assert centres[-1].tolist() == [8 * 120, 6 * 114]  # 800 // 7 = 114


# --- detections --------------------------------------------------------------------------


def plain_detections(outputs, size, num_classes):
    """Return (box, label, score) of one image by loops over levels, anchors and classes."""
    found, first = [], 0
    for count in outputs.levels:
        rows = range(first, first + count)
        own = [(outputs.logits[0, a, k].sigmoid().item(), a, k) for a in rows for k in range(num_classes)]
        own = sorted((one for one in own if one[0] > 0.05), reverse=True)[:1000]
        for score, a, k in own:
            code = outputs.offsets[:1, a]
            box = boxes_fast.decode(code, outputs.anchors[a:a + 1], max_log_scale=math.log(1000 / 16))[0].tolist()
            limits = (size[1], size[0]) * 2
            found.append((score, k, [min(max(side, 0), limit) for side, limit in zip(box, limits)]))
        first += count
    found.sort(key=lambda one: -one[0])
    kept = []
    for score, k, box in found:
        rivals = torch.tensor([other for _, label, other in kept if label == k], dtype=torch.float32).view(-1, 4)
        if not (boxes_fast.box_iou(torch.tensor([box], dtype=torch.float32), rivals) > 0.5).any():
            kept.append((score, k, box))
    return kept[:300]


def test_detections_are_those_of_a_plain_search(network, image):
    with torch.no_grad():
        found, = network(image)
    kept = plain_detections(outputs_of(network, image), SIZE, 3)
    assert 20 < len(kept) == len(found["scores"])
    torch.testing.assert_close(found["scores"], torch.tensor([score for score, _, _ in kept]))
    torch.testing.assert_close(found["boxes"], torch.tensor([box for _, _, box in kept]), rtol=1e-4, atol=1e-3)
    assert found["labels"].tolist() == [k for _, k, _ in kept]


def test_detections_keep_to_their_limits(network, image):
    outputs = outputs_of(network, image)
    few, = network.detect(outputs, SIZE, candidates=5, most=7)
    assert len(few["scores"]) == 7
    none, = network.detect(outputs, SIZE, min_score=1.0)
    assert {key: tuple(value.shape) for key, value in none.items()} == {"boxes": (0, 4), "labels": (0,), "scores": (0,)}
    with torch.no_grad():
        assert network(torch.empty(0, 3, 32, 32)) == []


# --- training ----------------------------------------------------------------------------

TARGETS = [
    {"boxes": torch.tensor([[10.0, 12.0, 50.0, 51.0], [40.0, 5.0, 95.0, 60.0]]), "labels": torch.tensor([2, 0])},
    {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)},
]


def test_losses_are_sums_over_anchors_by_how_many_match(network, image):
    outputs = outputs_of(network, torch.cat([image, image.flip(3)]))
    losses = network.losses(outputs, TARGETS)
    classes = boxes = 0
    for n, target in enumerate(TARGETS):
        index = fast.match_anchors(target["boxes"], outputs.anchors)
        matched = (index >= 0).sum()
        assert matched > 10 or n == 1
        for a in (index > -2).nonzero()[:, 0]:
            wanted = torch.zeros(3)
            if index[a] >= 0:
                wanted[target["labels"][index[a]]] = 1
            p = outputs.logits[n, a].sigmoid()
            p_t = torch.where(wanted > 0, p, 1 - p)
            alpha_t = torch.where(wanted > 0, 0.25, 0.75)
            classes += (-alpha_t * (1 - p_t) ** 2 * p_t.log()).sum() / max(1, matched) / 2
        for a in (index >= 0).nonzero()[:, 0]:
            goal = boxes_fast.encode(target["boxes"][index[a]][None], outputs.anchors[a][None])
            boxes += (outputs.offsets[n, a] - goal[0]).abs().sum() / matched / 2
    torch.testing.assert_close(losses["classes"], classes, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses["boxes"], boxes, rtol=1e-4, atol=1e-5)


def test_training_starts_from_the_prior():
    """Lin et al. (2017), section 4.1: at the start each class has a probability of about 0.01 at each anchor."""
    torch.manual_seed(0)
    network = RetinaNet(5)
    logits = outputs_of(network, torch.rand(1, 3, 64, 64)).logits
    assert logits.sigmoid().mean().item() == pytest.approx(0.01, rel=0.2)


def test_a_step_moves_all_but_the_frozen_norms(image):
    torch.manual_seed(0)
    network = RetinaNet(3)
    norms = [module for module in network.modules() if isinstance(module, FrozenBatchNorm2d)]
    assert len(norms) == 53 and not any(list(norm.parameters()) for norm in norms)
    sum(network.losses(network(image), TARGETS[:1]).values()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


def test_training_may_start_from_a_classifier():
    torch.manual_seed(0)
    classifier, network, x = models.build("resnet50").eval(), RetinaNet(3), torch.rand(1, 3, 64, 64)
    for module in classifier.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.uniform_(1e-5, 2e-5)  # so that its ε counts
            module.weight.data.fill_(4e-3)
    network.start_from_resnet50(classifier.state_dict())
    with torch.no_grad():
        c5 = network.backbone.body(x)[-1]
        torch.testing.assert_close(classifier.fc(c5.mean((2, 3))), classifier(x), rtol=1e-3, atol=1e-5)


# --- the backbone of others --------------------------------------------------------------


def test_pyramid_of_all_four_maps():
    """Lin et al., Feature pyramid networks (2017): P2 to P5, and P6 by taking every other pixel of P5."""
    with torch.device("meta"):
        backbone = BackboneWithFPN(extra_blocks=Subsampling())
        levels = backbone(torch.empty(1, 3, 100, 64))
    sizes = (25, 16), (13, 8), (7, 4), (4, 2), (2, 1)
    assert [tuple(level.shape[1:]) for level in levels] == [(256, *size) for size in sizes]
    keys = [key for key in backbone.state_dict() if key.startswith("fpn")]
    assert len(keys) == 16 and keys[0] == "fpn.inner_blocks.0.0.weight" and keys[-1] == "fpn.layer_blocks.3.0.bias"


# --- bad input ---------------------------------------------------------------------------


@pytest.mark.parametrize("target, sentence", [
    ({"boxes": torch.tensor([[5.0, 5.0, 4.0, 9.0]]), "labels": torch.tensor([0])},
     "`targets[0]['boxes']` holds [5.0, 5.0, 4.0, 9.0] at index 0: x2 must be more than x1"),
    ({"boxes": torch.tensor([[5.0, 5.0, 40.0, 40.0]]), "labels": torch.tensor([3])},
     "`targets[0]['labels']` holds 3 at index 0; 0 to 2 are needed"),
    ({"boxes": torch.tensor([[5.0, 5.0, 40.0, 40.0]]), "labels": torch.tensor([0, 1])},
     "`targets[0]['labels']` has the shape (2,); one label for each of 1 boxes is needed"),
])
def test_targets_that_are_none_are_refused(network, image, target, sentence):
    with pytest.raises(ValueError) as error:
        network.losses(outputs_of(network, image), [target])
    assert str(error.value) == sentence


def test_images_that_are_none_are_refused(network, image):
    for x, sentence in (
        (image[0], "`x` has the shape (3, 70, 101); 4 axes (N, 3, H, W) are needed"),
        (image.double(), "`x` (dtype float64) must match the network's weights (dtype float32)"),
        (image[:, :, :0], "`x` has the shape (1, 3, 0, 101): its axis H must not be empty"),
    ):
        with pytest.raises(ValueError) as error:
            network(x)
        assert str(error.value) == sentence
    with pytest.raises(ValueError, match="`targets` has 2 entries; 1 are needed, one for each image"):
        network.losses(outputs_of(network, image), TARGETS)
