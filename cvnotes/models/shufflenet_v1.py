"""ShuffleNet, the first.

Zhang, Zhou, Lin and Sun, ShuffleNet: an extremely efficient convolutional neural network for mobile
devices (2018), table 1 and figure 2.

With 3 groups at 224 × 224: 1,865,728 parameters and 137,460,672 multiply-adds. The paper's table has
143, 140, 137, 133 and 137 million for 1, 2, 3, 4 and 8 groups, and calls them all about 140; they are
the counts of this file without the linear layer (0.6 to 1.5 million), rounded. It reports 32.6% of
ImageNet's validation images wrong at top 1 with 3 groups.

The shuffle stands after the first 1×1 convolution, as in the paper's figure; code that shuffles after
the depthwise one computes the same with its filters in another order. No weights with names of their
own are published for torch.
"""

import torch
from torch import nn

from cvnotes import shapes
from cvnotes.models.network import Network, conv_bn

# The paper's table: output channels of stages 2, 3 and 4 for each number of groups.
WIDTHS = {
    1: (144, 288, 576),
    2: (200, 400, 800),
    3: (240, 480, 960),
    4: (272, 544, 1088),
    8: (384, 768, 1536),
}
REPEATS = (3, 7, 3)  # units with stride 1 after the first of each stage


class ShuffleUnit(nn.Module):
    """Grouped 1×1, shuffle, 3×3 depthwise, grouped 1×1 without an activation; a quarter as wide in the middle.

    Stride 1 adds the input, and O = C. Stride 2 sets the input, averaged over 3×3 windows, beside the
    O − C channels that it makes: (N, C, H, W) → (N, O, ⌈H / 2⌉, ⌈W / 2⌉).

    `first_groups`: groups of the first convolution, where they are not `groups`.
    """

    def __init__(self, in_channels, out_channels, groups=3, stride=1, first_groups=None):
        super().__init__()
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)):
            shapes.integer(name, value, 1)
        first = groups if first_groups is None else shapes.integer("first_groups", first_groups, 1)
        made, middle = _widths(in_channels, out_channels, stride), out_channels // 4
        shapes.divides("groups" if first_groups is None else "first_groups", first, in_channels, "input channels")
        for name, value in (("groups", groups), ("first_groups", first)):
            shapes.divides(name, value, middle, "channels in the middle of the block")
        shapes.divides("groups", groups, made, "channels that the block makes")
        self.reduce = conv_bn(in_channels, middle, 1, groups=first)
        self.shuffle = nn.ChannelShuffle(groups)
        self.depthwise = conv_bn(middle, middle, 3, stride=stride, groups=middle, activation=None)
        self.expand = conv_bn(middle, made, 1, groups=groups, activation=None)
        self.shortcut = nn.AvgPool2d(3, 2, 1) if stride == 2 else None
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.shuffle(self.reduce(x))  # (N, O / 4, H, W)
        y = self.expand(self.depthwise(y))  # (N, O or O − C, OH, OW)
        return self.relu(x + y if self.shortcut is None else torch.cat([self.shortcut(x), y], 1))


def _widths(in_channels, out_channels, stride):
    """Return how many channels the convolutions make, or say why there is no such unit."""
    if shapes.integer("stride", stride, 1) > 2:
        raise ValueError(f"`stride` (={stride}) must be 1 or 2")
    if out_channels % 4:
        raise ValueError(f"`out_channels` (={out_channels}) must be a multiple of 4: the middle is a quarter as wide")
    if stride == 1 and in_channels != out_channels:
        raise ValueError(f"`out_channels` (={out_channels}) must equal the {in_channels} input channels at stride 1")
    if stride == 2 and out_channels <= in_channels:
        raise ValueError(
            f"`out_channels` (={out_channels}) must be more than the {in_channels} input channels at stride 2"
        )
    return out_channels if stride == 1 else out_channels - in_channels


class ShuffleNetV1(Network):
    """`groups` chooses a column of the paper's table: wider with more groups, at about the same cost."""

    def __init__(self, num_classes=1000, groups=3):
        super().__init__()
        if shapes.integer("groups", groups, 1) not in WIDTHS:
            known = ", ".join(str(g) for g in WIDTHS)
            raise ValueError(f"`groups` (={groups}) must be one of {known}, as in the paper")
        channels = 24
        self.conv1 = conv_bn(3, channels, stride=2)  # 112 × 112
        self.maxpool = nn.MaxPool2d(3, 2, 1)  # 56 × 56
        stages = []
        for width, repeats in zip(WIDTHS[groups], REPEATS):  # 28 × 28, 14 × 14, 7 × 7
            first_groups = 1 if not stages else None  # only 24 channels reach the first unit
            units = [ShuffleUnit(channels, width, groups, stride=2, first_groups=first_groups)]
            units += [ShuffleUnit(width, width, groups) for _ in range(repeats)]
            stages.append(nn.Sequential(*units))
            channels = width
        self.stage2, self.stage3, self.stage4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        self.initialise()

    def forward(self, x):
        x = self.maxpool(self.conv1(x))
        x = self.stage4(self.stage3(self.stage2(x)))  # (N, 960, 7, 7) with 3 groups
        return self.fc(torch.flatten(self.avgpool(x), 1))
