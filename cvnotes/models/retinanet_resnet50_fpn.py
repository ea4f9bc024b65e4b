"""RetinaNet on ResNet-50 with a feature pyramid.

Lin et al., Focal loss for dense object detection (2017), section 4, figure 3.

What the published weights do otherwise than the paper's text, and so this file:

- P6 is made of P5; the paper makes it of C5;
- anchors are integers, 32·2^(1/3) is 40, and they stand on the corner of their cell, not in its middle. Where an
  image's side is no multiple of 128, the places of P6 or P7 are less than 64 or 128 pixels apart;
- 91 classes, numbered as COCO's categories go, from 1 to 90 with gaps; number 0 stands for nothing. The paper has 80;
- the loss of boxes is |d|, not smooth-L1; an anchor that is the best for an object is forced on it, which `losses`
  does not do, as the paper does not;
- up to 300 detections; COCO counts 100.

Images are RGB with values from 0 to 1; the weights expect a shorter side of 800 pixels, or a longer one of 1333.
Resizing is left to the caller; training starts from a classifier, by `start_from_resnet50`. `forward` takes the
mean colour off, divides by the deviation, and fills up to a multiple of 32.

In training mode the network returns `RetinaNetOutputs`, for which `losses` says how wrong they are. In
evaluation mode it returns for each image a dict of `boxes` (M, 4) in its pixels, `labels` and `scores` (M,), by
falling score.

34,014,999 parameters with 91 classes. On COCO's validation set the weights reach an AP of 0.364, as
published with them.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from cvnotes import shapes
from cvnotes.boxes import fast as boxes_fast, formulas as boxes_formulas
from cvnotes.focal_loss import fast, formulas
from cvnotes.models.fpn import WIDTH, BackboneWithFPN, P6P7
from cvnotes.models.network import Network
from cvnotes.models.targets import checked

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of red, green and blue
STRIDES = (8, 16, 32, 64, 128)  # of P3 to P7
ANCHORS = 9  # in a place
PRIOR = 0.01  # the probability that each class starts with at each anchor
LARGEST = math.log(1000 / 16)  # of a predicted logarithm of a side


class RetinaNetOutputs(NamedTuple):
    """Logits (N, A, K), offsets (N, A, 4), the anchors (A, 4) in pixels, and how many of them each level has."""

    logits: torch.Tensor
    offsets: torch.Tensor
    anchors: torch.Tensor
    levels: tuple


class ClassificationHead(nn.Module):
    """Levels (N, 256, H, W) → logits (N, A, K): four 3×3 convolutions and one more, the same on all levels."""

    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.conv = _tower()
        self.cls_logits = nn.Conv2d(WIDTH, ANCHORS * num_classes, 3, padding=1)
        _start(self)
        nn.init.constant_(self.cls_logits.bias, formulas.prior_bias(PRIOR))

    def forward(self, levels):
        return _rows((self.cls_logits(self.conv(level)) for level in levels), self.num_classes)


class RegressionHead(nn.Module):
    """Levels (N, 256, H, W) → offsets (N, A, 4), the same four for all classes; it shares nothing with the other."""

    def __init__(self):
        super().__init__()
        self.conv = _tower()
        self.bbox_reg = nn.Conv2d(WIDTH, ANCHORS * 4, 3, padding=1)
        _start(self)

    def forward(self, levels):
        return _rows((self.bbox_reg(self.conv(level)) for level in levels), 4)


def _tower():
    layers = (nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(inplace=True)) for _ in range(4))
    return nn.Sequential(*layers)


def _start(head):
    for module in head.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)


def _rows(maps, numbers):
    """Return maps (N, 9·numbers, H, W) as rows (N, A, numbers): level by level, place by place, anchor by anchor."""
    return torch.cat([y.permute(0, 2, 3, 1).unflatten(3, (ANCHORS, numbers)).flatten(1, 3) for y in maps], 1)


class Head(nn.Module):
    """Levels → logits and offsets."""

    def __init__(self, num_classes):
        super().__init__()
        self.classification_head = ClassificationHead(num_classes)
        self.regression_head = RegressionHead()

    def forward(self, levels):
        return self.classification_head(levels), self.regression_head(levels)


class RetinaNet(Network):
    """- num_classes: K; each has a yes or no of its own at each anchor, so that background needs none"""

    def __init__(self, num_classes=91):
        super().__init__()
        self.num_classes = shapes.integer("num_classes", num_classes, 1)
        self.backbone = BackboneWithFPN(finest=3, extra_blocks=P6P7())
        self.head = Head(num_classes)
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, x):
        outputs = self.outputs(x)
        return outputs if self.training else self.detect(outputs, x.shape[2:])

    def outputs(self, x):
        """Return `RetinaNetOutputs` of images (N, 3, H, W)."""
        H, W = x.shape[2:]
        x = F.pad((x - self.mean) / self.deviation, (0, -W % 32, 0, -H % 32))
        return RetinaNetOutputs(*self.head(self.backbone(x)), *self.anchors(x))

    def anchors(self, x):
        """Return the anchors of images x, (A, 4) in pixels, and how many are of each level."""
        size = tuple(x.shape[2:])
        levels = [formulas.places(size, stride) for stride in STRIDES]
        counts = tuple(ANCHORS * rows * columns for rows, columns in levels)
        return fast.retinanet_anchors(size, rounded=True).to(x), counts

    @torch.no_grad()
    def detect(self, outputs, image_size, *, min_score=0.05, iou_threshold=0.5, candidates=1000, most=300):
        """Return for each image a dict of `boxes` (M, 4) in pixels, `labels` and `scores` (M,), by falling score.

        - outputs: what the network returns in training mode
        - image_size: (H, W), to which boxes are cut
        - min_score: what does not exceed it is dropped
        - iou_threshold: a box that overlaps a better one of its class by more is dropped
        - candidates: of a level that are looked at, the best; most: that are kept of an image
        """
        options = dict(min_score=min_score, iou_threshold=iou_threshold, candidates=candidates, most=most)
        return found_in(*outputs, image_size, **options)

    def start_from_resnet50(self, state_dict):
        """Take over the weights of a ResNet-50 that was trained to classify: ours, or published ones."""
        self.backbone.body.start_from(state_dict)

    def losses(self, outputs, targets):
        """Return a dict of the losses `classes` and `boxes`: an image's over its matched anchors, the mean over images.

        - outputs: what the network returns in training mode
        - targets: for each image a dict of `boxes` (M, 4) in pixels, with area, and `labels` (M,) from 0 to K − 1
        """
        logits, offsets, anchors, _ = outputs
        targets = checked(targets, len(logits), 0, self.num_classes - 1)
        classes, boxes = logits.sum() * 0, offsets.sum() * 0
        for own, codes, target in zip(logits, offsets, targets):
            own_boxes = target["boxes"].to(anchors)
            index = fast.match_anchors(own_boxes, anchors)
            hit = index >= 0
            wanted, counted = torch.zeros_like(own), index > -2
            wanted[hit, target["labels"][index[hit]]] = 1
            matched = max(1, int(hit.sum()))
            classes = classes + fast.sigmoid_focal_loss(own[counted], wanted[counted], reduction="sum") / matched
            goal = boxes_fast.encode(own_boxes[index[hit]], anchors[hit]).to(codes)
            boxes = boxes + fast.smooth_l1(codes[hit], goal, beta=0, reduction="sum") / matched
        count = max(1, len(targets))
        return {"classes": classes / count, "boxes": boxes / count}


def found_in(logits, offsets, anchors, levels, image_size, *, min_score, iou_threshold, candidates, most):
    """Return what logits and offsets say of images; see `RetinaNet.detect`, whose arguments these are."""
    options = {"min_score": min_score, "iou_threshold": iou_threshold}
    options = {name: boxes_formulas.threshold(name, value) for name, value in options.items()}
    candidates, most = shapes.integer("candidates", candidates, 1), shapes.integer("most", most, 1)
    for name, numbers in (("logits", logits), ("offsets", offsets)):
        if not torch.isfinite(numbers).all():
            raise ValueError(f"`{name}` holds a number that is not finite")
    H, W = image_size
    edges, classes, found = anchors.new_tensor([W, H, W, H]), logits.shape[2], []
    for image in zip(logits, offsets):
        boxes, scores, labels = [], [], []
        for own, codes, around in zip(*(t.split(levels) for t in (*image, anchors))):
            best, place = own.sigmoid().flatten().topk(min(candidates, own.numel()))
            place = place[best > options["min_score"]]
            row = place // classes
            box = boxes_fast.decode(codes[row], around[row], max_log_scale=LARGEST)
            boxes.append(box.clamp(min=0).minimum(edges))
            scores.append(best[best > options["min_score"]])
            labels.append(place % classes)
        boxes, scores, labels = torch.cat(boxes), torch.cat(scores), torch.cat(labels)
        kept = boxes_fast.batched_nms(boxes, scores, labels, options["iou_threshold"])[:most]
        found.append({"boxes": boxes[kept], "labels": labels[kept], "scores": scores[kept]})
    return found
