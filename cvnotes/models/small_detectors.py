"""Two detectors that a laptop trains in two minutes: one after SSD, one after RetinaNet.

Both look at square images of 128 pixels (or another multiple of 64) through the same small backbone, and
differ in what the papers differ in: SSD reads each size of object from a map of its own, as it comes out of
the backbone, and takes the hardest of the background; RetinaNet reads all sizes from the maps of a feature
pyramid, with one head, and weighs the background down by the focal loss. Their parts are the functions of
the chapters `boxes`, `ssd`, `fpn` and `focal_loss`.

Liu et al., SSD: single shot multibox detector (2016); Lin et al., Feature pyramid networks for object
detection (2017); Lin et al., Focal loss for dense object detection (2017).

A detector gives numbers (`forward`), tells what they should be (`assign`) and how wrong they are (`losses`), and
what they mean (`detect`). All but `forward` is that of `AfterSSD` and `AfterRetinaNet`, which the networks of the papers
share: see `large_detectors`.
Normalisation is by groups of channels within an image (Wu and He, 2018): a batch norm would see other
images, and training would depend on how a batch is spread over processes.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from cvnotes import shapes
from cvnotes.boxes import fast as boxes_fast
from cvnotes.focal_loss import fast as focal_fast
from cvnotes.fpn import fast as fpn_fast
from cvnotes.models.network import positive
from cvnotes.models.retinanet_resnet50_fpn import found_in
from cvnotes.models.targets import checked
from cvnotes.ssd import fast as ssd_fast

WIDTHS = (32, 48, 64, 96)  # channels of C2 to C5, which are the image's size over 4, 8, 16 and 32
COVERED = 0.5  # share of a box that lies in a crowd from which on the box is neither object nor background


def build(name, num_classes, *, detectors=None, **options):
    """Return the detector `"ssd"` or `"retinanet"`, initialised; options are those of its class.

    - detectors: the classes by name, `DETECTORS` if None; or `large_detectors.DETECTORS`

    Raises `ValueError` where the name or an option is unknown or a value makes no detector.
    """
    detectors = DETECTORS if detectors is None else detectors
    if not isinstance(name, str) or name not in detectors:
        raise ValueError(f"`name` (={name!r}) must be one of the detectors: {', '.join(detectors)}")
    kind = detectors[name]
    for option in options:
        if option not in kind.OPTIONS and option != "image_size":
            raise ValueError(f"`{option}` is no option of {name}, which has {', '.join(('image_size', *kind.OPTIONS))}")
    return kind(shapes.integer("num_classes", num_classes, 1), **options)


# --- what both are made of ---------------------------------------------------------------


def _conv(in_channels, out_channels, stride=1):
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
        nn.GroupNorm(8, out_channels), nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """A 3×3 convolution of which the input is a summand: (N, C, H, W) → (N, C, H, W)."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(8, channels)

    def forward(self, x):
        return F.relu(x + self.norm(self.conv(x)))


class Backbone(nn.Module):
    """(N, 3, H, W) → C2, C3, C4, C5: four maps, of 1/4 to 1/32 of the size."""

    def __init__(self):
        super().__init__()
        C2, C3, C4, C5 = WIDTHS
        # 6×6 with a stride of 4: a place sees one pixel more on each side than it stands for.
        self.stem = nn.Sequential(
            nn.Conv2d(3, C2, 6, 4, 1, bias=False), nn.GroupNorm(8, C2), nn.ReLU(inplace=True)
        )
        self.stage2 = _conv(C2, C2)
        self.stage3 = nn.Sequential(_conv(C2, C3, 2), Residual(C3))
        self.stage4 = nn.Sequential(_conv(C3, C4, 2), Residual(C4))
        self.stage5 = nn.Sequential(_conv(C4, C5, 2), Residual(C5))

    def forward(self, x):
        C2 = self.stage2(self.stem(x))
        C3 = self.stage3(C2)
        C4 = self.stage4(C3)
        return [C2, C3, C4, self.stage5(C4)]


class Detector(nn.Module):
    """What both detectors have in common: boxes laid out over the image, scores and offsets for each.

    - num_classes: K, without background
    - image_size: pixels of a side, from 64 to 2,048
    - scale: how many pixels are 1 in the coordinates of the boxes that are laid out
    """

    def __init__(self, num_classes, image_size, scale):
        super().__init__()
        self.num_classes, self.image_size = num_classes, shapes.integer("image_size", image_size, 64, 2048)
        self.scale = float(scale)

    def check(self, x):
        size = self.image_size
        shapes.array("x", x, "N 3 H W")
        if tuple(x.shape[2:]) != (size, size):
            raise ValueError(f"`x` has the shape {tuple(x.shape)}; (N, 3, {size}, {size}) is needed")

    def lay_out(self, boxes):
        """Keep the boxes (D, 4) to which scores and offsets belong: made anew, never stored with the weights."""
        self.register_buffer("boxes", boxes, persistent=False)

    def start(self):
        """Draw the weights to train from: He's for what ends in a ReLU, small ones for what gives results."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def assign(self, targets, images=None):
        """Return labels (N, D), and codes (N, D, 4) of the objects as the offsets should be.

        - targets: for each image a dict of `boxes` (M, 4) in pixels, `labels` (M,) from 0 to K − 1, and `crowds`
          (M', 4) in pixels; images: how many there must be

        A label is 0 for background, the class plus one for what is matched, and −1 for what counts for nothing: boxes
        that overlap an object a little, if the rule of the paper passes over them, and what lies mostly in a crowd.
        """
        D, device = len(self.boxes), self.boxes.device
        labels = torch.zeros(len(targets), D, dtype=torch.long, device=device)
        codes = torch.zeros(len(targets), D, 4, device=device)
        for i, target in enumerate(checked(targets, len(targets) if images is None else images, 0, self.num_classes - 1, ("crowds",))):
            boxes = target["boxes"] / self.scale
            index = self.match(boxes)
            hit, own = index >= 0, index[index >= 0]
            labels[i, index == -2] = -1
            if len(target["crowds"]):
                labels[i, _share_within(self.boxes, target["crowds"] / self.scale).amax(1) >= COVERED] = -1
            labels[i, hit] = target["labels"][own] + 1
            codes[i, hit] = boxes_fast.encode(boxes[own], self.boxes[hit], weights=self.CODE)
        return labels, codes


def _share_within(boxes, areas):
    """Return the share of each box that lies in each of some areas, (D, M)."""
    low, high = torch.maximum(boxes[:, None, :2], areas[:, :2]), torch.minimum(boxes[:, None, 2:], areas[:, 2:])
    return (high - low).clamp(min=0).prod(2) / boxes_fast.box_area(boxes)[:, None]


def _rows(maps, numbers):
    """Return maps (N, A·numbers, H, W) as rows (N, boxes, numbers): map by map, place by place, box by box."""
    return torch.cat([
        y.permute(0, 2, 3, 1).reshape(len(y), y.shape[1] // numbers * y.shape[2] * y.shape[3], numbers) for y in maps
    ], 1)


def _halved(image_size):
    """Check that a side can be halved six times, and return it."""
    if shapes.integer("image_size", image_size, 64) % 64:
        raise ValueError(f"`image_size` (={image_size}) must be a multiple of 64")
    return image_size


def _one_of(name, value, known):
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"`{name}` (={value!r}) must be one of {', '.join(map(repr, known))}")
    return value


# --- after SSD ---------------------------------------------------------------------------


class AfterSSD(Detector):
    """Scores (N, D, K + 1), background first, and offsets (N, D, 4) for D default boxes in fractions of the image."""

    CODE = (10.0, 10.0, 5.0, 5.0)  # SSD's variances 0.1, 0.1, 0.2, 0.2

    def match(self, boxes):
        return ssd_fast.match(boxes, self.boxes)

    def losses(self, outputs, targets):
        """Return a dict of the losses of a batch: sums over it, divided by the matched boxes of all processes.

        - outputs: of `forward`; targets: as in `assign`
        """
        scores, offsets = outputs
        labels, codes = self.assign(targets, len(scores))
        # Sure background has no loss and no gradient, and is never among the hardest.
        sure = F.one_hot(labels.new_zeros(()), self.num_classes + 1) * 100.0
        scores = torch.where((labels < 0)[..., None], sure.to(scores.dtype), scores)
        confidence, localisation = ssd_fast.multibox_loss(scores, offsets, labels.clamp(min=0), codes)
        return {"confidence": confidence, "localisation": localisation}

    @torch.no_grad()
    def detect(self, outputs, *, min_score=0.05, iou_threshold=0.5, candidates=400, most=100):
        """Return what is found in each image: a list of dicts of `boxes` (M, 4) in pixels, `scores` and `labels` (M,).

        - min_score: below it, nothing is found
        - iou_threshold: over this overlap with a better one of its class, a box is left out
        - candidates: boxes of each class that are looked at, the best; most: that are kept of an image
        """
        found = ssd_fast.detect(
            *outputs, self.boxes, weights=self.CODE, min_score=min_score, iou_threshold=iou_threshold,
            candidates=candidates, most=most,
        )
        return [{**own, "boxes": own["boxes"] * self.scale, "labels": own["labels"] - 1} for own in found]

class SmallSSD(AfterSSD):
    """SSD on the small backbone.

    - maps: from which maps boxes of the four sizes are predicted. `"all"`: each size from its own, C3 to C6, the
      small from the fine; `"middle"` or `"fine"`: all sizes from C4 or from C3
    """

    OPTIONS = ("maps",)
    SIZES = (0.08, 0.16, 0.32, 0.64, 1.0)  # of the default boxes as shares of the image: each map's, and one beyond
    RATIOS = (2,)
    MAPS = {"all": (0, 1, 2, 3), "middle": (1, 1, 1, 1), "fine": (0, 0, 0, 0)}  # of C3, C4, C5, C6

    def __init__(self, num_classes, image_size=128, maps="all"):
        super().__init__(num_classes, _halved(image_size), image_size)
        self.maps = self.MAPS[_one_of("maps", maps, self.MAPS)]
        self.backbone = Backbone()
        widths = WIDTHS[1:] + WIDTHS[-1:]
        self.extra = _conv(widths[-1], widths[-1], 2)
        in_place = 2 + 2 * len(self.RATIOS)
        self.scores, self.offsets = (
            nn.ModuleList(nn.Conv2d(widths[m], in_place * numbers, 3, padding=1) for m in self.maps)
            for numbers in (num_classes + 1, 4)
        )
        if 3 not in self.maps:
            self.extra.requires_grad_(False)  # nothing is read from C6
        for stage, below in ((self.backbone.stage4, 1), (self.backbone.stage5, 2)):
            if max(self.maps) < below:
                stage.requires_grad_(False)
        self.start()
        for conv in [*self.scores, *self.offsets]:
            nn.init.normal_(conv.weight, std=0.01)
        self.lay_out(self.layout(image_size, maps)[1])

    @classmethod
    def layout(cls, image_size=128, maps="all"):
        """Return how many places a side has on the map of each size, and the default boxes, (D, 4)."""
        sides = [image_size // (8, 16, 32, 64)[m] for m in cls.MAPS[maps]]
        return sides, ssd_fast.default_boxes(sides, cls.SIZES, [cls.RATIOS] * len(sides))

    def forward(self, x):
        self.check(x)
        features = self.backbone(x)[1:]
        features.append(self.extra(features[-1]))  # C3, C4, C5, C6
        scores = [conv(features[m]) for m, conv in zip(self.maps, self.scores)]
        offsets = [conv(features[m]) for m, conv in zip(self.maps, self.offsets)]
        return _rows(scores, self.num_classes + 1), _rows(offsets, 4)


# --- after RetinaNet ---------------------------------------------------------------------


class AfterRetinaNet(Detector):
    """Logits (N, A, K) and offsets (N, A, 4) for A anchors in pixels.

    - loss: of the classes: `"focal"`, `"cross-entropy"`, or cross entropy with `"hard-negatives"` mined at 3:1
    - prior: the probability that each class starts with at each anchor; 0.5 is a bias of zero
    """

    LOSSES = ("focal", "cross-entropy", "hard-negatives")
    CODE = (1.0, 1.0, 1.0, 1.0)

    def __init__(self, num_classes, image_size, loss, prior):
        super().__init__(num_classes, image_size, 1)
        self.loss = _one_of("loss", loss, self.LOSSES)
        if positive("prior", prior) >= 1:
            raise ValueError(f"`prior` (={prior!r}) must be below 1")
        self.bias = -math.log((1 - prior) / prior)

    def match(self, boxes):
        return focal_fast.match_anchors(boxes, self.boxes)

    def losses(self, outputs, targets):
        """Return a dict of the losses of a batch: sums over it, divided by the matched anchors of all processes.

        - outputs: of `forward`; targets: as in `assign`
        """
        logits, offsets = outputs
        labels, codes = self.assign(targets, len(logits))
        hit = labels > 0
        count = ssd_fast.matched_boxes(labels).clamp(min=1)
        boxes = focal_fast.smooth_l1(offsets[hit], codes[hit].to(offsets.dtype), beta=1 / 9, reduction="sum")
        return {"classes": self._class_loss(logits, labels) / count, "boxes": boxes / count}

    def _class_loss(self, logits, labels):
        counted = labels >= 0  # (N, A)
        wanted = F.one_hot(labels.clamp(min=0), self.num_classes + 1)[..., 1:].to(logits.dtype)  # (N, A, K)
        if self.loss == "focal":
            return focal_fast.sigmoid_focal_loss(logits[counted], wanted[counted], reduction="sum")
        losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(2) * counted
        if self.loss == "hard-negatives":
            losses = losses * ssd_fast.hard_negative_mining(losses.detach(), labels > 0)
        return losses.sum()

    @torch.no_grad()
    def detect(self, outputs, *, min_score=0.05, iou_threshold=0.5, candidates=400, most=100):
        """Return what is found in each image: a list of dicts of `boxes` (M, 4) in pixels, `scores` and `labels` (M,).

        - min_score: below it, nothing is found
        - iou_threshold: over this overlap with a better one of its class, a box is left out
        - candidates: pairs of anchor and class that are looked at, the best; most: boxes that are kept of an image
        """
        image = (self.image_size, self.image_size)
        options = dict(min_score=min_score, iou_threshold=iou_threshold, candidates=candidates, most=most)
        return found_in(*outputs, self.boxes, (len(self.boxes),), image, **options)


class SmallRetinaNet(AfterRetinaNet):
    """RetinaNet on the small backbone.

    - pyramid: `"full"`; `"no-top-down"`: each level is made of its own map alone; `"no-lateral"`: of the map above it
      alone; `"finest"`: all anchors stand on P2, the finest level of a full pyramid
    - loss, prior: of `AfterRetinaNet`
    """

    OPTIONS = ("pyramid", "loss", "prior")
    PYRAMIDS = ("full", "no-top-down", "no-lateral", "finest")
    SIDES = (12, 24, 48, 96)  # of the anchors of P2 to P5, in pixels of an image of 128: three times the stride
    RATIOS = (0.5, 1.0, 2.0)  # their heights over their widths
    CHANNELS, HEAD = 32, 48  # of the pyramid, and between the two layers of the head

    def __init__(self, num_classes, image_size=128, pyramid="full", loss="focal", prior=0.01):
        super().__init__(num_classes, _halved(image_size), loss, prior)
        self.pyramid = _one_of("pyramid", pyramid, self.PYRAMIDS)
        self.backbone = Backbone()
        C = self.CHANNELS
        self.lateral = nn.ModuleList(nn.Conv2d(width, C, 1) for width in WIDTHS)
        self.output = nn.ModuleList(nn.Conv2d(C, C, 3, padding=1) for _ in WIDTHS)
        boxes = self._anchors()
        self.tower = nn.Conv2d(C, self.HEAD, 3, padding=1)  # a head as in the FPN paper's RPN: one 3×3, then two 1×1
        places = [(image_size // stride) ** 2 for stride in ((4,) if pyramid == "finest" else (4, 8, 16, 32))]
        in_place = len(boxes) // sum(places)
        self.logits = nn.Conv2d(self.HEAD, in_place * num_classes, 1)
        self.offsets = nn.Conv2d(self.HEAD, in_place * 4, 1)
        if pyramid == "finest":
            self.output[1:].requires_grad_(False)  # nothing is read from P3 to P5
        self.start()
        for conv in (self.logits, self.offsets):
            nn.init.normal_(conv.weight, std=0.01)
        nn.init.constant_(self.logits.bias, self.bias)
        self.lay_out(boxes)

    def _anchors(self):
        """Return the anchors (A, 4) in pixels, three in a place; for the finest level alone, three of each size."""
        strides, sides = (4, 8, 16, 32), [side * self.image_size / 128 for side in self.SIDES]
        same = dict(ratios=self.RATIOS, scales=(1.0,), offset=0.5)
        if self.pyramid != "finest":
            return focal_fast.retinanet_anchors(self.image_size, strides=strides, sizes=sides, **same)
        return focal_fast.retinanet_anchors(
            self.image_size, strides=strides[:1], sizes=(1.0,), **{**same, "scales": sides}
        )

    def pyramid_of(self, features):
        """Return the maps (N, 32, ·, ·) from which boxes are predicted, the finest first."""
        lateral, output = ([(conv.weight, conv.bias) for conv in convs] for convs in (self.lateral, self.output))
        if self.pyramid == "no-top-down":
            levels = zip(features, lateral, output)
            return [fpn_fast.feature_pyramid([c], [one], [other])[0] for c, one, other in levels]
        if self.pyramid == "no-lateral":
            features = [torch.zeros_like(c) for c in features[:-1]] + features[-1:]
        levels = fpn_fast.feature_pyramid(features, lateral, output)
        return levels[:1] if self.pyramid == "finest" else levels

    def forward(self, x):
        self.check(x)
        levels = self.pyramid_of(self.backbone(x))
        levels = [F.relu(self.tower(level)) for level in levels]  # the same head reads all levels
        return _rows(map(self.logits, levels), self.num_classes), _rows(map(self.offsets, levels), 4)


DETECTORS = {"ssd": SmallSSD, "retinanet": SmallRetinaNet}
