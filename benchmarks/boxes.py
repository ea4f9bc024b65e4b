"""Suppression and overlaps of many boxes, beside one matrix product and what a reader would write.

    python benchmarks/boxes.py        # writes chapters/data/boxes_speed.json, some four minutes

The yardstick is `torch.mm` of two 1,024 × 1,024 matrices into a given output: it allocates nothing.
"""

import torch

from cvnotes import bench
from cvnotes.boxes import fast, reference

THRESHOLD = 0.5


def uniform(count, generator, side=1000.0, longest=50.0):
    """Return boxes of 5 to 55 pixels, spread evenly."""
    corner, size = torch.rand(2, count, 2, generator=generator)
    return torch.cat([side * corner, side * corner + 5 + longest * size], 1)


def clusters(count, generator):
    """Return boxes in clusters of about ten, whose edges differ by some pixels, as a detector makes them."""
    centres = uniform(count // 10, generator)
    chosen = centres[torch.randint(len(centres), (count,), generator=generator)]
    moved = chosen + 2 * torch.randn(count, 4, generator=generator)
    return torch.cat([torch.minimum(moved[:, :2], moved[:, 2:]), torch.maximum(moved[:, :2], moved[:, 2:])], 1)


def one_by_one(boxes, scores, iou_threshold):
    """What a reader would write: the best box against all that are left, in Torch, until none is left."""
    left, kept = scores.argsort(descending=True, stable=True), []
    while len(left):
        kept.append(left[:1])
        overlaps = fast.box_iou(boxes[left[:1]], boxes[left[1:]])[0]
        left = left[1:][overlaps <= iou_threshold]
    return torch.cat(kept)


def broadcast(boxes1, boxes2):
    """IoU as it is usually written, by broadcasting corners."""
    low = torch.maximum(boxes1[:, None, :2], boxes2[:, :2])
    high = torch.minimum(boxes1[:, None, 2:], boxes2[:, 2:])
    shared = (high - low).clamp(min=0).prod(2)
    areas1, areas2 = ((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (boxes1, boxes2))
    return shared / (areas1[:, None] + areas2 - shared)


def suppression(boxes, scores, yardstick, plain=True):
    calls = {bench.YARDSTICK: yardstick, "fast.nms": lambda: fast.nms(boxes, scores, THRESHOLD)}
    if plain:
        calls["one box after the other"] = lambda: one_by_one(boxes, scores, THRESHOLD)
    times = bench.compare(calls, rounds=7)
    kept = fast.nms(boxes, scores, THRESHOLD)
    assert not plain or torch.equal(kept, one_by_one(boxes, scores, THRESHOLD))
    memory = bench.peak_memory(calls["fast.nms"])
    return {"boxes": len(boxes), "kept": len(kept), "times": times, "memory": memory}


def seconds_of_the_reference(count, generator):
    """Return what the loops of the reference take for so many boxes in clusters."""
    boxes, scores = clusters(count, generator).numpy(), torch.rand(count, generator=generator).numpy()
    call = {"reference.nms": lambda: reference.nms(boxes, scores, THRESHOLD)}
    return {"boxes": count, "seconds": bench.compare(call, rounds=7)["reference.nms"]["seconds"]}


def measure():
    generator = torch.Generator().manual_seed(0)
    yardstick = bench.yardstick()
    cases = {
        "5,000 in clusters": clusters(5000, generator),
        "20,000 in clusters": clusters(20000, generator),
        "20,000 uniform": uniform(20000, generator),
        "20,000 times the same": torch.tensor([[1.0, 2.0, 3.0, 5.0]]).repeat(20000, 1),
    }
    results = {
        name: suppression(boxes, torch.rand(len(boxes), generator=generator), yardstick, name == "5,000 in clusters")
        for name, boxes in cases.items()
    }
    many, few = uniform(10000, generator), uniform(100, generator)
    calls = {
        bench.YARDSTICK: yardstick,
        "fast.box_iou": lambda: fast.box_iou(many, few),
        "broadcast corners": lambda: broadcast(many, few),
    }
    return {
        "nms": results,
        "reference": seconds_of_the_reference(500, generator),
        "box_iou": {
            "times": bench.compare(calls),
            "memory": {name: bench.peak_memory(call) for name, call in calls.items() if name != bench.YARDSTICK},
        },
    }


if __name__ == "__main__":
    bench.main(measure, "chapters/data/boxes_speed.json")
