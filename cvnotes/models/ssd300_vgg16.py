"""SSD300 on VGG16.

Liu et al., SSD: single shot multibox detector (2016), section 2.1, figure 2 and section 3.

What the published weights do otherwise than the paper's text, and so this file:

- the scales are 0.07, then 0.15 to 0.87 evenly, and 1.05 beyond: those of the authors' code for COCO, in
  whole percents. The text has 0.2 to 0.9 evenly and 0.1 for the first map, and 0.07 for COCO's first map;
- default boxes stand 8, 16, 32, 64, 100 and 300 pixels apart, not at (i + ½)/n: 38·8, 19·16 and 10·32 are
  more than 300, so those of the last row and column lie a little further out;
- no side of a default box is longer than the image: on the last map both boxes of the ratios 2 and ½ are cut;
- the scale of conv4_3's norm is one number for each channel, and starts at 20;
- fc6 and fc7 started from random numbers; `start_from_vgg16` here decimates VGG's, as the paper does.

Images are RGB with values from 0 to 1, 300 × 300 pixels. `forward` takes the mean colour off and multiplies
by 255, as the weights ask; resizing is left to the caller.

In training mode the network returns `SSDOutputs(scores, offsets)`, for which `losses` says how wrong they
are. In evaluation mode it returns for each image a dict of `boxes` (K, 4) in pixels of 300 × 300, `labels`
and `scores` (K,), by falling score, as `ssd.reference.detect` says.

35,641,826 parameters with 91 classes, background and 90 as the numbers of COCO's go. 34,858,153,472
multiply-adds. On COCO's validation set the weights reach an AP of 0.251, as published with them.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from cvnotes import shapes
from cvnotes.boxes import fast as boxes_fast
from cvnotes.models.network import Network
from cvnotes.models.targets import checked
from cvnotes.models.vgg16 import STAGES
from cvnotes.ssd import fast, formulas

SIZE = 300  # pixels of a side
MEAN = (0.48235, 0.45882, 0.40784)  # of red, green and blue

# The paper's figure 2, one line a map: its side, its channels, aspect ratios beside 1, and the step and scale of
# its default boxes, which are the code's.
MAPS = (
    (38, 512, (2,), 8, 0.07),  # conv4_3
    (19, 1024, (2, 3), 16, 0.15),  # fc7
    (10, 512, (2, 3), 32, 0.33),  # conv8_2
    (5, 256, (2, 3), 64, 0.51),  # conv9_2
    (3, 256, (2,), 100, 0.69),  # conv10_2
    (1, 256, (2,), 300, 0.87),  # conv11_2
)
BEYOND = 1.05  # the scale of a seventh map

# The maps after fc7: filters of a 1×1 and of a 3×3 convolution, stride and padding of the latter.
EXTRA = ((256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 1, 0), (128, 256, 1, 0))


class SSDOutputs(NamedTuple):
    """Logits (N, 8732, num_classes), class 0 the background, and offsets (N, 8732, 4)."""

    scores: torch.Tensor
    offsets: torch.Tensor


def default_boxes():
    """Return the default boxes of the published weights, (8732, 4), in fractions of the image."""
    sides, _, ratios, steps, scales = zip(*MAPS)
    with torch.device("cpu"):  # numbers, also where a network without any is built
        boxes = fast.default_boxes(sides, [*scales, BEYOND], ratios, steps=steps, image_size=SIZE)
    x, y, w, h = boxes_fast.box_convert(boxes, "xyxy", "cxcywh").unbind(1)
    cut = torch.stack([x, y, w.clamp(max=1), h.clamp(max=1)], 1)
    return boxes_fast.box_convert(cut, "cxcywh", "xyxy").to(torch.get_default_device())


def _convolutions(channels, stage):
    layers = []
    for filters in stage:
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(inplace=True)]
        channels = filters
    return layers


class Backbone(nn.Module):
    """Images (N, 3, 300, 300) → the six maps of `MAPS`."""

    def __init__(self):
        super().__init__()
        self.scale_weight = nn.Parameter(torch.full((512,), 20.0))
        layers, channels = [], 3
        for stage in STAGES[:4]:
            layers += _convolutions(channels, stage) + [nn.MaxPool2d(2)]
            channels = stage[-1]
        layers[16] = nn.MaxPool2d(2, ceil_mode=True)  # pool3: 75 → 38, not 37
        self.features = nn.Sequential(*layers[:-1])  # up to conv4_3
        fc = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),  # pool5
            nn.Conv2d(512, 1024, 3, padding=6, dilation=6),  # fc6
            nn.ReLU(inplace=True),
            nn.Conv2d(1024, 1024, 1),  # fc7
            nn.ReLU(inplace=True),
        )
        self.extra = nn.ModuleList([nn.Sequential(layers[-1], *_convolutions(512, STAGES[4]), fc)])
        channels = 1024
        for narrow, filters, stride, padding in EXTRA:
            self.extra.append(nn.Sequential(
                nn.Conv2d(channels, narrow, 1), nn.ReLU(inplace=True),
                nn.Conv2d(narrow, filters, 3, stride, padding), nn.ReLU(inplace=True),
            ))
            channels = filters

    def forward(self, x):
        x = self.features(x)  # (N, 512, 38, 38)
        # conv4_3 has larger numbers than the maps after it: each place is scaled to a length of 1, then by channel.
        maps = [self.scale_weight[:, None, None] * F.normalize(x)]
        for layers in self.extra:
            x = layers(x)
            maps.append(x)
        return maps


class MapHead(nn.Module):
    """A 3×3 convolution for each map, `numbers` for each of its default boxes: six maps → (N, 8732, numbers)."""

    def __init__(self, numbers):
        super().__init__()
        self.numbers = numbers
        self.module_list = nn.ModuleList(
            nn.Conv2d(channels, (2 + 2 * len(ratios)) * numbers, 3, padding=1) for _, channels, ratios, *_ in MAPS
        )

    def forward(self, maps):
        rows = [conv(x).permute(0, 2, 3, 1) for conv, x in zip(self.module_list, maps)]  # (N, H, W, k·numbers)
        return torch.cat([y.unflatten(3, (-1, self.numbers)).flatten(1, 3) for y in rows], 1)


class Head(nn.Module):
    """Six maps → `SSDOutputs`."""

    def __init__(self, num_classes):
        super().__init__()
        self.classification_head = MapHead(num_classes)
        self.regression_head = MapHead(4)

    def forward(self, maps):
        return SSDOutputs(self.classification_head(maps), self.regression_head(maps))


class SSD300(Network):
    """- num_classes: with the background, which is class 0"""

    def __init__(self, num_classes=91):
        super().__init__()
        self.num_classes = shapes.integer("num_classes", num_classes, 2)
        self.backbone = Backbone()
        self.head = Head(num_classes)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("default_boxes", default_boxes(), persistent=False)  # not part of the weights
        self.initialise()
        for module in (self.backbone.extra[0][-1], *self.backbone.extra[1:], self.head):
            for layer in module.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.xavier_uniform_(layer.weight)  # as the paper does with all layers that VGG does not have

    def forward(self, x):
        if x.shape[2:] != (SIZE, SIZE):
            raise ValueError(f"`x` has the shape {tuple(x.shape)}; (N, 3, {SIZE}, {SIZE}) is needed: resize images before")
        outputs = self.outputs(x)
        return outputs if self.training else self.detect(outputs)

    def outputs(self, x):
        """Return `SSDOutputs` of images (N, 3, 300, 300)."""
        return self.head(self.backbone((x - self.mean) * 255))

    def detect(self, outputs, **options):
        """Return for each image a dict of `boxes` in pixels, `labels` and `scores`; options are those of `ssd`'s `detect`."""
        found = fast.detect(*outputs, self.default_boxes, **options)
        return [{**own, "boxes": own["boxes"] * SIZE} for own in found]

    def losses(self, outputs, targets, *, ratio=3, alpha=1.0):
        """Return a dict of the losses `confidence` and `localisation`, as `ssd`'s `multibox_loss` has them.

        - outputs: what the network returns in training mode
        - targets: for each image a dict of `boxes` (M, 4) in pixels of 300 × 300 and `labels` (M,) from 1 on
        """
        scores, offsets = outputs
        labels = torch.zeros(scores.shape[:2], dtype=torch.long, device=scores.device)
        codes = torch.zeros_like(offsets)
        for n, target in enumerate(checked(targets, len(scores), 1, self.num_classes - 1)):
            boxes = target["boxes"].to(self.default_boxes) / SIZE
            index = fast.match(boxes, self.default_boxes)
            hit = index >= 0
            labels[n, hit] = target["labels"][index[hit]]
            codes[n, hit] = boxes_fast.encode(boxes[index[hit]], self.default_boxes[hit], weights=formulas.CODE).to(codes)
        confidence, localisation = fast.multibox_loss(scores, offsets, labels, codes, ratio=ratio, alpha=alpha)
        return {"confidence": confidence, "localisation": localisation}

    @torch.no_grad()
    def start_from_vgg16(self, state_dict):
        """Take over the weights of a VGG16 that was trained to classify: `models.build("vgg16").state_dict()` or published.

        Its 13 convolutions as they are; fc6 and fc7 as convolutions, a quarter of their filters, fc6 with 9 taps of 49.
        """
        convolutions = [m for m in (*self.backbone.features, *self.backbone.extra[0][:-1]) if isinstance(m, nn.Conv2d)]
        keys = [key for key in state_dict if key.startswith("features.") and key.endswith(".weight")]
        for conv, key in zip(convolutions, keys, strict=True):
            conv.weight.copy_(state_dict[key])
            conv.bias.copy_(state_dict[key.replace("weight", "bias")])
        fc6, fc7 = (m for m in self.backbone.extra[0][-1] if isinstance(m, nn.Conv2d))
        fc6.weight.copy_(fast.decimate_fc(state_dict["classifier.0.weight"], 7))
        fc6.bias.copy_(state_dict["classifier.0.bias"][::4])
        fc7.weight.copy_(fast.decimate_fc(state_dict["classifier.3.weight"], 1, steps=(4, 4, 1, 1)))
        fc7.bias.copy_(state_dict["classifier.3.bias"][::4])
