"""The focal loss and the matching of anchors, beside what a reader would write, one matrix product, and a training step.

    python benchmarks/focal_loss.py        # writes chapters/data/focal_loss_speed.json, some minutes

The yardstick is `torch.mm` of two 1,024 × 1,024 matrices into a given output: it allocates nothing.
"""

import torch
import torch.nn.functional as F

from cvnotes import bench, models
from cvnotes.boxes import fast as boxes_fast
from cvnotes.focal_loss import fast

SHAPE = (8, 100_000, 20)  # images, anchors, classes
IMAGES, OBJECTS, SIDE = 8, 20, 640
STEP_SIDE, CLASSES = 512, 91  # of the image that RetinaNet learns from, in pixels, and its classes


def plain(x, t, alpha=0.25, gamma=2.0):
    """The formula as it is written everywhere, each step an array of its own."""
    p = torch.sigmoid(x)
    entropy = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    p_t = p * t + (1 - p) * (1 - t)
    return (alpha * t + (1 - alpha) * (1 - t)) * (1 - p_t) ** gamma * entropy


def step(loss, x):
    """Return a function that computes a loss and its gradient."""
    return lambda: torch.autograd.grad(loss().sum(), x)


def broadcast(boxes, anchors):
    """Matching by one array of all IoUs."""
    best, index = boxes_fast.box_iou(boxes, anchors).max(0)
    return torch.where(best < 0.4, -1, torch.where(best < 0.5, -2, index))


def training_step(generator):
    """Return the seconds of a training step of RetinaNet with one image, of its loss and matching, and of detection.

    A network that has learned nothing finds nothing. So detection gets random numbers, of which half exceed the
    score from which it looks at them: on each level it has as many boxes to decode and compare as it allows.
    """
    network = models.build("retinanet_resnet50_fpn", CLASSES)
    size = (STEP_SIDE, STEP_SIDE)
    images = torch.rand(1, 3, *size, generator=generator)
    corner, side = torch.rand(2, OBJECTS, 2, generator=generator)
    boxes = STEP_SIDE * torch.cat([0.7 * corner, 0.7 * corner + 0.02 + 0.28 * side], 1)
    targets = [{"boxes": boxes, "labels": torch.randint(1, CLASSES, (OBJECTS,), generator=generator)}]
    with torch.no_grad():
        outputs = network(images)
    found = outputs._replace(
        logits=2 * torch.randn(outputs.logits.shape, generator=generator) - 3,
        offsets=torch.randn(outputs.offsets.shape, generator=generator) / 5,
    )

    def step():
        network.zero_grad()
        sum(network.losses(network(images), targets).values()).backward()

    def losses():
        own = outputs._replace(
            logits=outputs.logits.detach().requires_grad_(), offsets=outputs.offsets.detach().requires_grad_()
        )
        sum(network.losses(own, targets).values()).backward()

    calls = {
        "a step": step, "its loss and matching": losses, "detection, with NMS": lambda: network.detect(found, size)
    }
    return bench.compare(calls, rounds=7, warmup=1, patience=60)


def measured(calls):
    return {
        "times": bench.compare(calls, rounds=7),
        "memory": {name: bench.peak_memory(call) for name, call in calls.items()},
    }


def measure():
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(SHAPE, generator=generator) - 3).requires_grad_()
    t = (torch.rand(SHAPE, generator=generator) < 1e-4).float()
    corner, size = torch.rand(2, IMAGES, OBJECTS, 2, generator=generator)
    boxes = torch.cat([500 * corner, 500 * corner + 10 + 130 * size], 2)
    anchors = fast.retinanet_anchors(SIDE)
    losses = {
        "the plain formula": step(lambda: plain(x, t), x),
        "fast, none": step(lambda: fast.sigmoid_focal_loss(x, t), x),
        "fast, sum": step(lambda: fast.sigmoid_focal_loss(x, t, reduction="sum"), x),
    }
    matching = {
        bench.YARDSTICK: bench.yardstick(),
        "all IoUs at once": lambda: [broadcast(own, anchors) for own in boxes],
        "fast.match_anchors": lambda: [fast.match_anchors(own, anchors) for own in boxes],
    }
    for a, b in zip(matching["all IoUs at once"](), matching["fast.match_anchors"]()):
        assert torch.equal(a, b)
    return {
        "logits": x.numel(), "logit_bytes": x.nbytes, "anchors": len(anchors), "images": IMAGES, "objects": OBJECTS,
        **{name: measured(calls) for name, calls in (("losses", losses), ("matching", matching))},
        "step": {"times": training_step(generator)},
    }


if __name__ == "__main__":
    bench.main(measure, "chapters/data/focal_loss_speed.json")
