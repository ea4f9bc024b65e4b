"""EffNet.

Freeman, Roese-Koerner and Kummert, EffNet: an efficient structure for convolutional neural networks
(2018), the network that its tables compare on CIFAR-10.

How the table is read here: a row "1×1×32, dw 1×3 + 1d mp, dw 3×1, 2×1×64 + 1d stride" is one block.
Its pooling takes the larger of two pixels in a row, which halves the width; its last convolution
looks at two pixels in a column and steps by two, which halves the height. The paper names the axes of
kernels only. After each convolution come batch norm and a leaky ReLU of slope 0.01 (that of the paper
that proposed it), whose order and slope the paper leaves open.

At 32 × 32 with 10 classes: 151,146 parameters and 5,640,192 multiply-adds, which are 11.28 million
operations; the paper reports 11.4 million, with 80.2% of CIFAR-10's test images right. It doesn't say
what it counts beside convolutions and the linear layer.

The paper's images are 32 × 32; larger ones are averaged to 4 × 4 before the linear layer, which
changes nothing at 32 × 32. No weights are published.
"""

import torch
from torch import nn

from cvnotes import shapes
from cvnotes.models.network import Network


class EffNetBlock(nn.Sequential):
    """1×1, depthwise 1×3, pooling, depthwise 3×1, 2×1: (N, C, H, W) → (N, O, ⌊H / 2⌋, ⌊W / 2⌋).

    O / 2 channels in the middle.
    """

    def __init__(self, in_channels, out_channels):
        shapes.integer("in_channels", in_channels, 1)
        if shapes.integer("out_channels", out_channels, 1) % 2:
            raise ValueError(f"`out_channels` (={out_channels}) must be even, as the middle is half as wide")
        middle = out_channels // 2
        super().__init__(
            *_layer(in_channels, middle, 1),
            *_layer(middle, middle, (1, 3), padding=(0, 1), groups=middle),
            nn.MaxPool2d((1, 2)),
            *_layer(middle, middle, (3, 1), padding=(1, 0), groups=middle),
            *_layer(middle, out_channels, (2, 1), stride=(2, 1)),
        )


def _layer(in_channels, out_channels, kernel_size, **how):
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, bias=False, **how)
    return conv, nn.BatchNorm2d(out_channels), nn.LeakyReLU(0.01, inplace=True)


class EffNet(Network):
    """Three blocks and a linear layer."""

    def __init__(self, num_classes=1000):
        super().__init__()
        self.features = nn.Sequential(  # at 32 × 32:
            EffNetBlock(3, 64),  # 16 × 16
            EffNetBlock(64, 128),  # 8 × 8
            EffNetBlock(128, 256),  # 4 × 4
        )
        self.avgpool = nn.AdaptiveAvgPool2d(4)
        self.fc = nn.Linear(256 * 4 * 4, num_classes)
        self.initialise()

    def forward(self, x):
        x = self.avgpool(self.features(x))  # (N, 256, 4, 4)
        return self.fc(torch.flatten(x, 1))
