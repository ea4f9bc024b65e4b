"""GoogLeNet, with its two auxiliary heads.

Szegedy et al., Going deeper with convolutions (2015), table 1.

What the published weights do otherwise than the paper, and so this file:

- the "5×5" branch is a 3×3 convolution (a mistake that the weights have kept);
- batch norm (eps 0.001) after each convolution, in place of the two local response normalisations;
- the last max pooling has a 2×2 window, not 3×3; all poolings round sizes up;
- dropout is 0.2 before the classifier, not 0.4;
- a head pools to 4 × 4 whatever comes; the paper averages 5×5 windows with stride 3.

The published weights were trained on pixels in −1 … 1. A caller who normalises images with
ImageNet's means and deviations, as for the other networks, must rescale them; `forward` does not.

In training mode the network returns a named tuple `(logits, aux_logits2, aux_logits1)`: the paper
adds each head's loss times 0.3. In evaluation mode the heads are not run and it returns logits.

13,004,888 parameters with the heads, 6,624,904 without. At 224 × 224, without heads, 1,498,376,192
multiply-adds; the paper says 1.5 billion. It reports a top-5 error of 10.07% for one network and
one crop.
"""

from typing import NamedTuple

import torch
from torch import nn

from cvnotes import shapes
from cvnotes.models.network import Network


class GoogLeNetOutputs(NamedTuple):
    """Logits (N, num_classes) of the network, of the head after 4d and of the head after 4a."""

    logits: torch.Tensor
    aux_logits2: torch.Tensor
    aux_logits1: torch.Tensor


class ConvBN(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """Four branches side by side, their channels joined: (N, C, H, W) → (N, c1 + c3 + c5 + pool, H, W).

    The arguments are a row of the paper's table: #1×1, #3×3 reduce, #3×3, #5×5 reduce, #5×5, pool proj.
    """

    def __init__(self, in_channels, c1, c3_reduce, c3, c5_reduce, c5, pool):
        super().__init__()
        widths = {"in_channels": in_channels, "c1": c1, "c3_reduce": c3_reduce, "c3": c3}
        for name, value in {**widths, "c5_reduce": c5_reduce, "c5": c5, "pool": pool}.items():
            shapes.integer(name, value, 1)
        self.branch1 = ConvBN(in_channels, c1, 1)
        self.branch2 = nn.Sequential(ConvBN(in_channels, c3_reduce, 1), ConvBN(c3_reduce, c3, 3, padding=1))
        # The published weights have 3×3 kernels here.
        self.branch3 = nn.Sequential(ConvBN(in_channels, c5_reduce, 1), ConvBN(c5_reduce, c5, 3, padding=1))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), ConvBN(in_channels, pool, 1))

    def forward(self, x):
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class AuxiliaryHead(nn.Module):
    """A classifier in the middle of the network, for the gradient that it sends down."""

    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.conv = ConvBN(in_channels, 128, 1)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x):
        x = self.conv(self.pool(x))  # (N, 128, 4, 4)
        x = self.dropout(self.relu(self.fc1(torch.flatten(x, 1))))
        return self.fc2(x)


class GoogLeNet(Network):
    """Three convolutions, nine Inception modules, and a head after the third and the sixth of these."""

    def __init__(self, num_classes=1000):
        super().__init__()
        #                                        at 224 × 224:
        self.conv1 = ConvBN(3, 64, 7, 2, 3)  # 112 × 112
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)  # 56 × 56
        self.conv2 = ConvBN(64, 64, 1)
        self.conv3 = ConvBN(64, 192, 3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, 2, ceil_mode=True)  # 28 × 28
        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = nn.MaxPool2d(3, 2, ceil_mode=True)  # 14 × 14
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = nn.MaxPool2d(2, 2, ceil_mode=True)  # 7 × 7
        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.aux1 = AuxiliaryHead(512, num_classes)
        self.aux2 = AuxiliaryHead(528, num_classes)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(1024, num_classes)
        self.initialise()

    def forward(self, x):
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4a(x)
        aux1 = self.aux1(x) if self.training else None
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        aux2 = self.aux2(x) if self.training else None
        x = self.maxpool4(self.inception4e(x))
        x = self.inception5b(self.inception5a(x))  # (N, 1024, 7, 7)
        x = self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))
        return GoogLeNetOutputs(x, aux2, aux1) if self.training else x
