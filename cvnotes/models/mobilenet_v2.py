"""MobileNetV2.

Sandler, Howard, Zhu, Zhmoginov and Chen, MobileNetV2: inverted residuals and linear bottlenecks
(2018), table 2.

At 224 × 224: 3,504,872 parameters and 300,774,272 multiply-adds, where the paper has 3.4 M and
300 M, with 72.0% of ImageNet's validation images right at top 1.

The published weights add dropout (0.2) before the classifier and pool to 1 × 1 whatever the
image's size is; the paper's table pools 7 × 7 and classifies with a 1×1 convolution, which is the
same arithmetic.
"""

import torch
from torch import nn

from cvnotes import shapes
from cvnotes.models.network import Network, conv_bn, make_divisible, width_multiplier

# The paper's table: expansion t, channels c, repeats n, stride s of the first.
BOTTLENECKS = (
    # t, c, n, s    at 224 × 224:
    (1, 16, 1, 1),  # 112 × 112
    (6, 24, 2, 2),  # 56 × 56
    (6, 32, 3, 2),  # 28 × 28
    (6, 64, 4, 2),  # 14 × 14
    (6, 96, 3, 1),  # 14 × 14
    (6, 160, 3, 2),  # 7 × 7
    (6, 320, 1, 1),  # 7 × 7
)


class InvertedResidual(nn.Module):
    """Narrow → wide → narrow: 1×1 up, 3×3 depthwise, 1×1 down without an activation.

    (N, C, H, W) → (N, O, ⌈H / stride⌉, ⌈W / stride⌉), the middle `expansion` · C wide. The input is
    added where stride is 1 and C = O. An expansion of 1 leaves the first convolution out.
    """

    def __init__(self, in_channels, out_channels, stride=1, expansion=6):
        super().__init__()
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            shapes.integer(name, value, 1)
        middle = shapes.integer("expansion", expansion, 1) * in_channels
        self.adds_input = shapes.integer("stride", stride, 1) == 1 and in_channels == out_channels
        widen = [conv_bn(in_channels, middle, 1, activation=nn.ReLU6)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *widen,
            conv_bn(middle, middle, 3, stride=stride, groups=middle, activation=nn.ReLU6),
            nn.Conv2d(middle, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x):
        y = self.conv(x)  # (N, O, OH, OW)
        return x + y if self.adds_input else y


class MobileNetV2(Network):
    """`width_mult` scales all widths but the last 1280, which only grows; rounded to multiples of 8."""

    def __init__(self, num_classes=1000, width_mult=1.0):
        super().__init__()
        width_multiplier(width_mult)
        channels = make_divisible(32 * width_mult)
        last = make_divisible(1280 * max(1.0, width_mult))
        layers = [conv_bn(3, channels, stride=2, activation=nn.ReLU6)]  # 112 × 112
        for t, c, n, s in BOTTLENECKS:
            for i in range(n):
                width = make_divisible(c * width_mult)
                layers.append(InvertedResidual(channels, width, stride=s if i == 0 else 1, expansion=t))
                channels = width
        layers.append(conv_bn(channels, last, 1, activation=nn.ReLU6))  # 7 × 7
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, num_classes))
        self.initialise()

    def forward(self, x):
        x = self.avgpool(self.features(x))  # (N, last, 1, 1)
        return self.classifier(torch.flatten(x, 1))
