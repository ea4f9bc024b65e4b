"""SSD300 against the published weights' names, shapes and results, and bad input."""

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cvnotes import cost, models, shapes
from cvnotes.boxes.fast import encode
from cvnotes.models import ssd300_vgg16
from cvnotes.ssd import fast

PUBLISHED = json.loads((Path(__file__).parent / "data" / "state_dict_ssd300_vgg16.json").read_text())


def on_meta(num_classes=None):
    with torch.device("meta"):
        return models.build("ssd300_vgg16", num_classes)


def spread(n, seed):
    """Return n numbers in −½ … ½, the same on every machine."""
    return (torch.arange(n, dtype=torch.float64) * 0.6180339887498949 + seed * 0.7548776662466927).remainder(1) - 0.5


@pytest.fixture(scope="module")
def network():
    """SSD300 with four classes and the background, filled by a formula, in float64."""
    network = on_meta(5).to_empty(device="cpu").double()
    for seed, (key, value) in enumerate(network.state_dict().items()):
        u = spread(value.numel(), seed).reshape(value.shape)
        if value.dim() > 1:
            u = u * (24 / value[0].numel()) ** 0.5
        value.copy_(20 + u if key == "backbone.scale_weight" else u)
    network.mean.copy_(torch.tensor(ssd300_vgg16.MEAN)[:, None, None])
    network.default_boxes.copy_(ssd300_vgg16.default_boxes())
    return network


@pytest.fixture(scope="module")
def image():
    return spread(3 * 300 * 300, 999).reshape(1, 3, 300, 300) + 0.5


@pytest.fixture(scope="module")
def outputs(network, image):
    with torch.no_grad():
        return network.train()(image)


def test_state_dict_is_that_of_the_published_weights():
    ours = {key: list(value.shape) for key, value in on_meta().state_dict().items()}
    assert list(ours.items()) == list(PUBLISHED["state_dict"].items())  # names, shapes and order


def test_parameters_and_multiply_adds_are_the_published_ones():
    network = on_meta()
    count = sum(p.numel() for p in network.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, 300, 300, device="meta"))
    macs = counter.get_total_flops() // 2
    assert count == PUBLISHED["parameters"] == 35_641_826
    assert macs == 34_858_153_472 and int(macs / 1e6) == 34_858  # torchvision's documentation: 34.86 billion
    total = cost.trace(network, (1, 3, 300, 300)).total
    assert (total.params, total.macs) == (count, macs)
    for number in (count, macs):
        assert f"{number:,}" in ssd300_vgg16.__doc__


def test_forward_pass_gives_the_golden_values(outputs):
    # The network that the published weights belong to, filled in the same way, gave the same numbers.
    golden = {
        "scores": [-0.5822454757464907, 0.09798167014708146, 0.23194251175957936, -0.031930927520284, 0.5725359055448402],
        "offsets": [-0.07313867493052881, 0.15784896481608887, -0.497214578758488, -0.013008664822215861, 0.5265558531978818],
    }
    for name, numbers in golden.items():
        y = getattr(outputs, name)
        found = [v.item() for v in (y[0, 0, 0], y[0, 5776, 1], y[0, -1, -1], y.mean(), y.square().mean().sqrt())]
        assert found == pytest.approx(numbers, rel=1e-6, abs=2e-6), name


def test_maps_have_the_papers_sizes():
    with torch.no_grad():
        maps = on_meta().backbone(torch.empty(1, 3, 300, 300, device="meta"))
    assert [tuple(y.shape[1:]) for y in maps] == [(C, n, n) for n, C, *_ in ssd300_vgg16.MAPS]


def test_default_boxes_are_those_of_the_published_weights():
    boxes = 300 * ssd300_vgg16.default_boxes()
    assert boxes.shape == (8732, 4)
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    torch.testing.assert_close(centres[[0, 4, 5772, 5776]], torch.tensor([[4.0, 4], [12, 4], [300, 300], [8, 8]]))
    torch.testing.assert_close(sides[0], torch.tensor([21.0, 21]))
    assert sides.max() == pytest.approx(300)
    # The only ones that `default_boxes` alone would lay out otherwise: 0.87·√2 is more than 1.
    side, _, ratios, steps, scales = zip(*ssd300_vgg16.MAPS)
    plain = 300 * fast.default_boxes(side, [*scales, ssd300_vgg16.BEYOND], ratios, steps=steps, image_size=300)
    assert ((plain - boxes).abs().amax(1) > 0.01).nonzero()[:, 0].tolist() == [8730, 8731]
    torch.testing.assert_close(sides[-2:], 300 * torch.tensor([[1, 0.87 / 2**0.5], [0.87 / 2**0.5, 1]]))


def test_conv4_3_is_scaled_place_by_place(network, image):
    with torch.no_grad():
        first, features = network.backbone(image)[0], network.backbone.features(image)
    lengths = (first / network.backbone.scale_weight[:, None, None]).square().sum(1).sqrt()
    seen = features.square().sum(1) > 0
    torch.testing.assert_close(lengths[seen], torch.ones_like(lengths[seen]))


def test_fc6_sees_what_it_saw_in_vgg():
    backbone = on_meta().backbone
    layers = [m for m in backbone.features] + [m for m in backbone.extra[0][:-1]] + [m for m in backbone.extra[0][-1]]
    stack = [
        tuple(x if isinstance(x, int) else x[0] for x in (m.kernel_size, m.stride, m.padding, m.dilation))
        for m in layers if hasattr(m, "kernel_size")
    ]
    fields = shapes.receptive_field(stack)
    assert [fields[i][0] for i in (-3, -2, -1)] == [228, 420, 420]  # pool5, fc6, fc7
    assert fields[-3][1] == 16 and stack[-2] == (3, 1, 6, 6) and stack[-1] == (1, 1, 0, 1)


def test_evaluation_gives_detections_in_pixels(network, image, outputs):
    with torch.no_grad():
        (found,) = network.eval()(image)
    (again,) = fast.detect(*outputs, network.default_boxes)
    assert torch.equal(found["boxes"], 300 * again["boxes"]) and torch.equal(found["scores"], again["scores"])
    assert 0 < len(found["boxes"]) <= 200 and found["boxes"].min() >= 0 and found["boxes"].max() <= 300
    assert found["labels"].min() >= 1 and found["labels"].max() <= 4


def test_losses_are_small_where_the_outputs_are_right(network):
    targets = [
        {"boxes": torch.tensor([[30.0, 40.0, 120.0, 160.0], [200.0, 10.0, 290.0, 290.0]]).double(), "labels": torch.tensor([4, 1])},
        {"boxes": torch.zeros(0, 4).double(), "labels": torch.zeros(0, dtype=torch.long)},
    ]
    index = fast.match(targets[0]["boxes"] / 300, network.default_boxes)
    hit = index >= 0
    scores, offsets = torch.zeros(2, 8732, 5).double(), torch.zeros(2, 8732, 4).double()
    scores[..., 0] = 30
    scores[0, hit, targets[0]["labels"][index[hit]]] = 60
    boxes = targets[0]["boxes"][index[hit]] / 300
    offsets[0, hit] = encode(boxes, network.default_boxes[hit], weights=(10, 10, 5, 5))
    losses = network.losses((scores, offsets), targets)
    assert list(losses) == ["confidence", "localisation"] and sum(losses.values()) < 1e-9
    assert sum(network.losses((-scores, offsets + 1), targets).values()) > 10
    none = network.losses((scores, offsets), [targets[1]] * 2)
    assert [float(loss) for loss in none.values()] == [0, 0]


def test_training_moves_every_weight():
    network = models.build("ssd300_vgg16", 3)
    outputs = network(torch.rand(1, 3, 300, 300, generator=torch.Generator().manual_seed(0)))
    boxes = torch.tensor([[0.0, 0.0, 30.0, 25.0], [100.0, 90.0, 160.0, 200.0], [20.0, 30.0, 130.0, 140.0], [0.0, 0.0, 200.0, 220.0],
                          [10.0, 0.0, 300.0, 280.0], [30.0, 30.0, 200.0, 190.0]])
    targets = [{"boxes": boxes, "labels": torch.tensor([1, 2, 1, 2, 1, 2])}]
    sum(network.losses(outputs, targets).values()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_start_from_vgg16_takes_its_weights_over():
    with torch.device("meta"):
        names = models.build("vgg16").state_dict()
    vgg = {key: 0.01 * spread(value.numel(), i).float().reshape(value.shape) for i, (key, value) in enumerate(names.items())}
    network = models.build("ssd300_vgg16", 2)
    network.start_from_vgg16(vgg)
    own = network.state_dict()
    for key, other in [("features.0", "features.0"), ("features.21", "features.21"), ("extra.0.1", "features.24"), ("extra.0.5", "features.28")]:
        for end in ("weight", "bias"):
            assert torch.equal(own[f"backbone.{key}.{end}"], vgg[f"{other}.{end}"])
    fc6, fc7 = vgg["classifier.0.weight"].view(4096, 512, 7, 7), vgg["classifier.3.weight"]
    assert torch.equal(own["backbone.extra.0.7.1.weight"], fc6[::4, :, ::3, ::3])
    assert torch.equal(own["backbone.extra.0.7.3.weight"][:, :, 0, 0], fc7[::4, ::4])
    assert torch.equal(own["backbone.extra.0.7.3.bias"], vgg["classifier.3.bias"][::4])


def test_network_takes_an_empty_batch():
    outputs = models.build("ssd300_vgg16", 3)(torch.empty(0, 3, 300, 300))
    assert outputs.scores.shape == (0, 8732, 3) and outputs.offsets.shape == (0, 8732, 4)


@pytest.mark.parametrize("x, words", [
    (torch.zeros(1, 3, 300, 299).double(), "`x` has the shape (1, 3, 300, 299); (N, 3, 300, 300) is needed: resize images before"),
    (torch.zeros(3, 300, 300), "`x` has the shape (3, 300, 300)"),
    (torch.zeros(1, 3, 300, 300, dtype=torch.uint8), "`x` (uint8) must be of a floating-point dtype"),
])
def test_network_refuses(network, x, words):
    with pytest.raises(ValueError) as caught:
        network(x)
    assert str(caught.value).startswith(words)


def test_losses_refuse_what_does_not_fit(network, outputs):
    box = torch.tensor([[1.0, 2.0, 3.0, 4.0]]).double()
    for targets, words in [
        ([], "`targets` has 0 entries; 1 are needed, one for each image"),
        ([{"boxes": box, "labels": torch.tensor([5])}], "`targets[0]['labels']` holds 5"),
        ([{"boxes": box, "labels": torch.tensor([0])}], "`targets[0]['labels']` holds 0 at index 0; 1 to"),
        ([{"boxes": box[:, [2, 1, 0, 3]], "labels": torch.tensor([1])}], "`targets[0]['boxes']` holds"),
        ([{"boxes": box, "labels": torch.tensor([1, 2])}], "`targets[0]['labels']` has the shape (2,)"),
        ([{"boxes": box[:, [0, 1, 0, 3]], "labels": torch.tensor([1])}], "`targets[0]['boxes']` holds"),
    ]:
        with pytest.raises(ValueError) as caught:
            network.losses(outputs, targets)
        assert str(caught.value).startswith(words)


def test_num_classes_counts_the_background():
    with pytest.raises(ValueError, match=r"`num_classes` \(=1\) must be at least 2"):
        models.build("ssd300_vgg16", 1)
    assert on_meta().num_classes == 91
