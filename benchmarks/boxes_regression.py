"""Which measure pulls a box onto its target? The simulation of the paper on DIoU, at a fiftieth of its size.

    python benchmarks/boxes_regression.py        # writes chapters/data/boxes_regression.json, under a minute on an idle machine

Zheng et al. (2020), algorithm 1: anchors of 7 areas × 7 aspect ratios at points spread evenly over a circle of
radius 3; targets of area 1 in 7 aspect ratios at its centre. Each case walks up the gradient of its measure,
with respect to centre and size, by η·(2 − IoU), η being 0.1, then 0.01 and 0.001 for the last two tenths.
"""

import math

import torch

from cvnotes import bench
from cvnotes.boxes import fast, formulas

POINTS, STEPS, EVERY, SMALLEST = 100, 200, 4, 0.01
AREAS = (0.5, 0.67, 0.75, 1, 1.33, 1.5, 2)
RATIOS = (1 / 4, 1 / 3, 1 / 2, 1, 2, 3, 4)
NEAR = 0.1  # a box has arrived where no edge is further off than this


def sides(area, ratio):
    return math.sqrt(area * ratio), math.sqrt(area / ratio)


def cases():
    """Return (cases, 4) boxes to start from and their targets, as centre and size."""
    random = torch.rand(POINTS, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    radius, angle = 3 * random[:, 0].sqrt(), 2 * math.pi * random[:, 1]
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
    anchors = torch.tensor([sides(area, ratio) for area in AREAS for ratio in RATIOS], dtype=torch.float64)
    targets = torch.tensor([(0.0, 0.0, *sides(1, ratio)) for ratio in RATIOS], dtype=torch.float64)
    shape = POINTS, len(anchors), len(targets)
    boxes = torch.cat([points[:, None, None].expand(*shape, 2), anchors[:, None].expand(*shape, 2)], 3)
    return boxes.reshape(-1, 4), targets.expand(*shape, 4).reshape(-1, 4)


def walk(kind, boxes, targets):
    """Return the boxes after all steps, and the mean error, the sum over x, y, w and h, after some of them."""
    boxes, corners, errors = boxes.clone(), fast.box_convert(targets, "cxcywh", "xyxy"), []
    for step in range(STEPS + 1):
        if step % EVERY == 0:
            errors.append((boxes - targets).abs().sum(1).mean().item())
        rate = 0.1 if step < 0.8 * STEPS else 0.01 if step < 0.9 * STEPS else 0.001
        leaf = boxes.requires_grad_()
        placed = fast.box_convert(leaf, "cxcywh", "xyxy")
        (slopes,) = torch.autograd.grad(fast.paired_iou(placed, corners, kind=kind).sum(), leaf)
        overlap = fast.paired_iou(placed.detach(), corners)
        boxes = boxes.detach() + (rate * (2 - overlap))[:, None] * slopes * (step < STEPS)
        boxes[:, 2:] = boxes[:, 2:].clamp(min=SMALLEST)
    return boxes, errors


def main():
    torch.set_num_threads(2)
    boxes, targets = cases()
    corners = fast.box_convert(targets, "cxcywh", "xyxy")
    apart = fast.paired_iou(fast.box_convert(boxes, "cxcywh", "xyxy"), corners) == 0
    results = {"cases": len(boxes), "apart": apart.double().mean().item(), "steps": STEPS, "every": EVERY, "near": NEAR}
    results["measures"] = {}
    for kind in formulas.MEASURES:
        final, errors = walk(kind, boxes, targets)
        arrived = (fast.box_convert(final, "cxcywh", "xyxy") - corners).abs().amax(1) < NEAR
        results["measures"][kind] = {
            "error": errors,
            "arrived": arrived.double().mean().item(),
            "arrived_apart": arrived[apart].double().mean().item(),
            "arrived_touching": arrived[~apart].double().mean().item(),
        }
    bench.save(results, "chapters/data/boxes_regression.json")


if __name__ == "__main__":
    main()
