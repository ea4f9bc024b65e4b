"""Xception.

Chollet, Xception: deep learning with depthwise separable convolutions (2017), figure 5.

22,855,952 parameters, the number of the paper's table; 8,357,403,496 multiply-adds at 299 × 299, of
which it gives none. It reports 79.0% of ImageNet's validation images right at top 1, 94.5% at top 5.

What the paper leaves open: padding is one pixel on each side where the paper's code (Keras) adds it
as needed, so that with stride 2 windows may stand one pixel elsewhere, with the same sizes at
299 × 299; batch norm has torch's eps and momentum. No weights with names of their own are published
for torch.
"""

import torch
from torch import nn

from cvnotes import shapes
from cvnotes.models.network import Network


class SeparableConv(nn.Module):
    """Depthwise 3×3, then 1×1, nothing between them; batch norm after both."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x):
        return self.bn(self.pointwise(self.depthwise(x)))


class XceptionBlock(nn.Module):
    """Separable convolutions of the given widths, a ReLU before each, and a shortcut around them.

    With `halve`, a max pooling ends them and the shortcut is a 1×1 convolution with stride 2:
    (N, C, H, W) → (N, widths[-1], ⌈H / 2⌉, ⌈W / 2⌉). Else the input itself is added.
    """

    def __init__(self, in_channels, widths, *, halve=False, relu_first=True):
        super().__init__()
        if not isinstance(widths, (tuple, list)) or not widths:
            raise ValueError(f"`widths` (={widths!r}) must hold at least one width")
        layers, channels = [], shapes.integer("in_channels", in_channels, 1)
        for i, width in enumerate(widths):
            if i > 0 or relu_first:
                layers.append(nn.ReLU(inplace=i > 0))  # the first must leave the shortcut's input alone
            layers.append(SeparableConv(channels, shapes.integer("widths", width, 1)))
            channels = width
        self.shortcut = None
        if halve:
            layers.append(nn.MaxPool2d(3, 2, 1))
            conv = nn.Conv2d(in_channels, channels, 1, stride=2, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(channels))
        elif channels != in_channels:
            raise ValueError(f"`widths` end at {channels}; {in_channels} are needed, as the input is added")
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x) + (x if self.shortcut is None else self.shortcut(x))


class Xception(Network):
    """Entry, middle (one block, eight times) and exit flow."""

    def __init__(self, num_classes=1000):
        super().__init__()
        self.entry = nn.Sequential(  # at 299 × 299:
            nn.Conv2d(3, 32, 3, stride=2, bias=False),  # 149 × 149
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 3, bias=False),  # 147 × 147
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            XceptionBlock(64, (128, 128), halve=True, relu_first=False),  # 74 × 74
            XceptionBlock(128, (256, 256), halve=True),  # 37 × 37
            XceptionBlock(256, (728, 728), halve=True),  # 19 × 19
        )
        self.middle = nn.Sequential(*[XceptionBlock(728, (728, 728, 728)) for _ in range(8)])
        self.exit = nn.Sequential(
            XceptionBlock(728, (728, 1024), halve=True),  # 10 × 10
            SeparableConv(1024, 1536),
            nn.ReLU(inplace=True),
            SeparableConv(1536, 2048),
            nn.ReLU(inplace=True),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(2048, num_classes)
        self.initialise()

    def forward(self, x):
        x = self.exit(self.middle(self.entry(x)))  # (N, 2048, 10, 10)
        return self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))
