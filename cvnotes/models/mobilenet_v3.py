"""MobileNetV3, large and small.

Howard et al., Searching for MobileNetV3 (2019), tables 1 and 2.

At 224 × 224, large: 5,483,032 parameters and 216,589,760 multiply-adds, where the paper has 5.4 M
and 219 M, with 75.2% of ImageNet's validation images right at top 1. Small: 2,542,856 and 56,510,400,
where it has 2.5 M and 56 M, with 67.4%.

What the published weights do otherwise than the paper, and so this file:

- the squeeze keeps a quarter of the channels, rounded to a multiple of 8;
- the last layers are linear ones after the pooling, in place of 1×1 convolutions without batch norm,
  which is the same arithmetic;
- dropout is 0.2 before the last layer; the paper says 0.8.

Batch norm has eps 0.001, and momentum 0.01 as torch counts it, which is the paper's average decay of 0.99.
"""

import torch
from torch import nn

from cvnotes import shapes
from cvnotes.models.network import Network, conv_bn, make_divisible

NORM = {"eps": 0.001, "momentum": 0.01}
RE, HS = nn.ReLU, nn.Hardswish

# The paper's tables: kernel, expanded width, output width, squeeze-and-excite, activation, stride.
LARGE = (
    # k, exp, out, SE, NL, s        at 224 × 224:
    (3, 16, 16, False, RE, 1),  # 112 × 112
    (3, 64, 24, False, RE, 2),  # 56 × 56
    (3, 72, 24, False, RE, 1),
    (5, 72, 40, True, RE, 2),  # 28 × 28
    (5, 120, 40, True, RE, 1),
    (5, 120, 40, True, RE, 1),
    (3, 240, 80, False, HS, 2),  # 14 × 14
    (3, 200, 80, False, HS, 1),
    (3, 184, 80, False, HS, 1),
    (3, 184, 80, False, HS, 1),
    (3, 480, 112, True, HS, 1),
    (3, 672, 112, True, HS, 1),
    (5, 672, 160, True, HS, 2),  # 7 × 7
    (5, 960, 160, True, HS, 1),
    (5, 960, 160, True, HS, 1),
)
SMALL = (
    # k, exp, out, SE, NL, s        at 224 × 224:
    (3, 16, 16, True, RE, 2),  # 56 × 56
    (3, 72, 24, False, RE, 2),  # 28 × 28
    (3, 88, 24, False, RE, 1),
    (5, 96, 40, True, HS, 2),  # 14 × 14
    (5, 240, 40, True, HS, 1),
    (5, 240, 40, True, HS, 1),
    (5, 120, 48, True, HS, 1),
    (5, 144, 48, True, HS, 1),
    (5, 288, 96, True, HS, 2),  # 7 × 7
    (5, 576, 96, True, HS, 1),
    (5, 576, 96, True, HS, 1),
)


class SqueezeExcite(nn.Module):
    """Scale each channel by a factor in 0 … 1 that a small network finds from the means of all channels."""

    def __init__(self, channels, squeezed):
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation = nn.ReLU()
        self.scale_activation = nn.Hardsigmoid()

    def forward(self, x):
        scale = self.activation(self.fc1(self.avgpool(x)))  # (N, squeezed, 1, 1)
        return self.scale_activation(self.fc2(scale)) * x  # (N, C, H, W)


class InvertedResidual(nn.Module):
    """A row of the paper's tables: 1×1 to `expanded` channels, K × K depthwise, squeeze-and-excite, 1×1.

    (N, C, H, W) → (N, O, ⌈H / stride⌉, ⌈W / stride⌉). The last convolution has no activation. The input
    is added where stride is 1 and C = O; the first convolution is left out where it would not widen.
    """

    def __init__(self, in_channels, expanded, out_channels, *, kernel_size=3, stride=1, excite=False, activation=RE):
        super().__init__()
        widths = {"in_channels": in_channels, "expanded": expanded, "out_channels": out_channels}
        for name, value in {**widths, "kernel_size": kernel_size}.items():
            shapes.integer(name, value, 1)
        if kernel_size % 2 == 0:
            raise ValueError(f"`kernel_size` (={kernel_size}) must be odd")
        self.adds_input = shapes.integer("stride", stride, 1) == 1 and in_channels == out_channels
        layers = []
        if expanded != in_channels:
            layers.append(conv_bn(in_channels, expanded, 1, activation=activation, **NORM))
        depthwise = {"stride": stride, "groups": expanded, "activation": activation}
        layers.append(conv_bn(expanded, expanded, kernel_size, **depthwise, **NORM))
        if excite:
            layers.append(SqueezeExcite(expanded, make_divisible(expanded // 4)))
        layers.append(conv_bn(expanded, out_channels, 1, activation=None, **NORM))
        self.block = nn.Sequential(*layers)

    def forward(self, x):
        y = self.block(x)  # (N, O, OH, OW)
        return x + y if self.adds_input else y


class MobileNetV3(Network):
    """The rows of one of the tables, between a strided convolution and a classifier `last` wide."""

    def __init__(self, rows, last, num_classes):
        super().__init__()
        channels = 16
        layers = [conv_bn(3, channels, stride=2, activation=HS, **NORM)]  # 112 × 112
        for kernel_size, expanded, width, excite, activation, stride in rows:
            how = {"kernel_size": kernel_size, "stride": stride, "excite": excite, "activation": activation}
            layers.append(InvertedResidual(channels, expanded, width, **how))
            channels = width
        layers.append(conv_bn(channels, 6 * channels, 1, activation=HS, **NORM))  # 7 × 7
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * channels, last),
            nn.Hardswish(inplace=True),
            nn.Dropout(0.2, inplace=True),
            nn.Linear(last, num_classes),
        )
        self.initialise()

    def forward(self, x):
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))


def mobilenet_v3_large(num_classes=1000):
    return MobileNetV3(LARGE, 1280, num_classes)


def mobilenet_v3_small(num_classes=1000):
    return MobileNetV3(SMALL, 1024, num_classes)
