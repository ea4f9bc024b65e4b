"""MobileNet, the first.

Howard et al., MobileNets: efficient convolutional neural networks for mobile vision applications
(2017), table 1.

At 224 × 224: 4,231,976 parameters and 568,740,352 multiply-adds, where the paper has 4.2 M and 569 M,
with 70.6% of ImageNet's validation images right at top 1. The paper's table gives the last depthwise
convolution a stride of 2 and yet an output of 7 × 7 from 7 × 7; as its sizes say, the stride here is 1.
No weights with names of their own are published for torch.
"""

import torch
from torch import nn

from cvnotes import shapes
from cvnotes.models.network import Network, conv_bn, make_divisible, width_multiplier

# The paper's table, one row for each depthwise and pointwise pair: filters, stride.
PAIRS = (
    # at 224 × 224:
    (64, 1),  # 112 × 112
    (128, 2), (128, 1),  # 56 × 56
    (256, 2), (256, 1),  # 28 × 28
    (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),  # 14 × 14
    (1024, 2), (1024, 1),  # 7 × 7
)


class DepthwiseSeparable(nn.Sequential):
    """3×3 depthwise, then 1×1, batch norm and ReLU after each: (N, C, H, W) → (N, O, ⌈H / stride⌉, ⌈W / stride⌉)."""

    def __init__(self, in_channels, out_channels, stride=1):
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels), ("stride", stride)):
            shapes.integer(name, value, 1)
        super().__init__(
            conv_bn(in_channels, in_channels, 3, stride=stride, groups=in_channels),
            conv_bn(in_channels, out_channels, 1),
        )


class MobileNetV1(Network):
    """`width_mult` scales all widths, rounded to multiples of 8; the paper's 1, 0.75, 0.5, 0.25 need no rounding."""

    def __init__(self, num_classes=1000, width_mult=1.0):
        super().__init__()
        width_multiplier(width_mult)
        channels = make_divisible(32 * width_mult)
        layers = [conv_bn(3, channels, stride=2)]  # 112 × 112
        for filters, stride in PAIRS:
            width = make_divisible(filters * width_mult)
            layers.append(DepthwiseSeparable(channels, width, stride))
            channels = width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        self.initialise()

    def forward(self, x):
        x = self.avgpool(self.features(x))  # (N, 1024, 1, 1)
        return self.fc(torch.flatten(x, 1))
