"""What matching, the loss and detection of SSD cost, beside one matrix product, and beside a training step.

    python benchmarks/ssd.py        # writes chapters/data/ssd_speed.json, some two minutes

The yardstick is `torch.mm` of two 1,024 × 1,024 matrices into a given output: it allocates nothing.
"""

import torch

from cvnotes import bench, models
from cvnotes.models import ssd300_vgg16
from cvnotes.ssd import fast

IMAGES, OBJECTS, CLASSES = 8, 20, 21


def random_boxes(count, generator):
    """Return boxes with sides up to 0.3 in fractions of an image."""
    corner, side = torch.rand(2, count, 2, generator=generator)
    return torch.cat([0.7 * corner, 0.7 * corner + 0.01 + 0.29 * side], 1)


def as_usual(boxes, defaults):
    """Matching as a reader would write it: corners by broadcasting, then a loop over the objects."""
    low = torch.maximum(boxes[:, None, :2], defaults[:, :2])
    high = torch.minimum(boxes[:, None, 2:], defaults[:, 2:])
    shared = (high - low).clamp(min=0).prod(2)
    areas, others = ((b[:, 2:] - b[:, :2]).prod(1) for b in (boxes, defaults))
    iou = shared / (areas[:, None] + others - shared)  # (M, D)
    best, index = iou.max(0)
    index[best < 0.5] = -1
    for j, d in enumerate(iou.argmax(1)):
        index[d] = j
    return index


def loss_as_usual(scores, offsets, labels, targets):
    """The loss with the losses of all boxes, sorted twice for the hardest."""
    positive = labels > 0
    own = torch.nn.functional.cross_entropy(scores.transpose(1, 2), labels, reduction="none")  # (N, D)
    order = own.detach().masked_fill(positive, -1).sort(1, descending=True).indices
    kept = positive | (order.sort(1).indices < 3 * positive.sum(1, keepdim=True))
    places = torch.nn.functional.smooth_l1_loss(offsets[positive], targets[positive], reduction="sum")
    return (own[kept].sum() + places) / positive.sum()


def backward(function, *arguments):
    def call():
        scores, offsets = (x.detach().requires_grad_() for x in arguments[:2])
        total = function(scores, offsets, *arguments[2:])
        (sum(total) if isinstance(total, tuple) else total).backward()

    return call


def training_step(generator):
    """Return the seconds of a training step of SSD300 with four images, and of its loss and matching in it."""
    network = models.build("ssd300_vgg16", CLASSES)
    images = torch.rand(4, 3, 300, 300, generator=generator)
    targets = [
        {"boxes": 300 * random_boxes(OBJECTS, generator), "labels": torch.randint(1, CLASSES, (OBJECTS,), generator=generator)}
        for _ in range(4)
    ]
    with torch.no_grad():
        outputs = network(images)

    def step():
        network.zero_grad()
        sum(network.losses(network(images), targets).values()).backward()

    def losses():
        own = [x.detach().requires_grad_() for x in outputs]
        sum(network.losses(own, targets).values()).backward()

    return bench.compare({"a step": step, "its loss and matching": losses}, rounds=7, warmup=1, patience=60)


def measure():
    generator = torch.Generator().manual_seed(0)
    yardstick = bench.yardstick()
    defaults = ssd300_vgg16.default_boxes()
    batch = [random_boxes(OBJECTS, generator) for _ in range(IMAGES)]
    index = torch.stack([fast.match(boxes, defaults) for boxes in batch])
    assert all(torch.equal(own, as_usual(boxes, defaults)) for own, boxes in zip(index, batch))
    matching = {
        bench.YARDSTICK: yardstick,
        "fast.match": lambda: [fast.match(boxes, defaults) for boxes in batch],
        "broadcast corners": lambda: [as_usual(boxes, defaults) for boxes in batch],
    }
    scores, offsets, targets = (torch.randn(IMAGES, len(defaults), n, generator=generator) for n in (CLASSES, 4, 4))
    labels = (index >= 0) * torch.randint(1, CLASSES, index.shape, generator=generator)
    given = scores, offsets, labels, targets
    losses = {
        bench.YARDSTICK: yardstick,
        "fast.multibox_loss": backward(fast.multibox_loss, *given),
        "losses of all boxes": backward(loss_as_usual, *given),
    }
    found = {bench.YARDSTICK: yardstick, "fast.detect": lambda: fast.detect(3 * scores, offsets, defaults)}
    return {
        name: {"times": bench.compare(calls), "memory": {key: bench.peak_memory(calls[key]) for key in calls if key != bench.YARDSTICK}}
        for name, calls in (("match", matching), ("loss", losses), ("detect", found))
    } | {"step": {"times": training_step(generator)}}


if __name__ == "__main__":
    bench.main(measure, "chapters/data/ssd_speed.json")
