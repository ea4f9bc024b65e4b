"""ResNet-18 and ResNet-50.

He, Zhang, Ren and Sun, Deep residual learning for image recognition (2016), table 1.

In the published weights a bottleneck that halves the image does so in its 3×3 convolution, in the
paper in the 1×1 before it, which never looks at three of four pixels. That is why ResNet-50 takes
4,089,184,256 multiply-adds at 224 × 224 here; with the stride where the paper has it, 3,857,973,248,
and the paper says 3.8 · 10⁹. ResNet-18 is as in the paper: 1,814,073,344 here, 1.8 · 10⁹ there.
11,689,512 and 25,557,032 parameters; the paper counts none for these two.

On ImageNet's validation images, mean of ten crops, the paper reports a top-1 error of 27.88% (18
layers) and 22.85% (50 layers).
"""

import torch
from torch import nn

from cvnotes import shapes
from cvnotes.models.network import Network


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and the input added to what they make.

    (N, C, H, W) → (N, `channels`, ⌈H / stride⌉, ⌈W / stride⌉). Where the shapes differ, the input
    passes a 1×1 convolution (the paper's option B).
    """

    expansion = 1  # output channels over `channels`

    def __init__(self, in_channels, channels, stride=1):
        super().__init__()
        _check(in_channels, channels, stride)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _shortcut(in_channels, channels, stride)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))  # (N, O, OH, OW)
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class Bottleneck(nn.Module):
    """1×1 down to `channels`, 3×3, 1×1 up to four times as many, and the input added.

    (N, C, H, W) → (N, 4 · `channels`, ⌈H / stride⌉, ⌈W / stride⌉).
    """

    expansion = 4

    def __init__(self, in_channels, channels, stride=1):
        super().__init__()
        _check(in_channels, channels, stride)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)  # the paper strides here
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, 4 * channels, stride)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))  # (N, channels, H, W)
        y = self.relu(self.bn2(self.conv2(y)))  # (N, channels, OH, OW)
        y = self.bn3(self.conv3(y))  # (N, 4 · channels, OH, OW)
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


def _check(in_channels, channels, stride):
    for name, value in (("in_channels", in_channels), ("channels", channels), ("stride", stride)):
        shapes.integer(name, value, 1)


def _shortcut(in_channels, out_channels, stride):
    """Return what brings the input to the output's shape, or None where it has it."""
    if stride == 1 and in_channels == out_channels:
        return None
    conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


class ResNet(Network):
    """The columns of the paper's table; `layers` says how many blocks each stage has."""

    def __init__(self, block, layers, num_classes):
        super().__init__()
        #                                                     at 224 × 224:
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)  # 112 × 112
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)  # 56 × 56
        wide = block.expansion
        self.layer1 = _stage(block, 64, 64, layers[0], stride=1)  # 56 × 56
        self.layer2 = _stage(block, 64 * wide, 128, layers[1], stride=2)  # 28 × 28
        self.layer3 = _stage(block, 128 * wide, 256, layers[2], stride=2)  # 14 × 14
        self.layer4 = _stage(block, 256 * wide, 512, layers[3], stride=2)  # 7 × 7
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * wide, num_classes)
        self.initialise()

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def _stage(block, in_channels, channels, count, stride):
    rest = [block(channels * block.expansion, channels) for _ in range(count - 1)]
    return nn.Sequential(block(in_channels, channels, stride), *rest)


def resnet18(num_classes=1000):
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes)


def resnet50(num_classes=1000):
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes)
