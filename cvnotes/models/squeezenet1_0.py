"""SqueezeNet 1.0.

Iandola et al., SqueezeNet: AlexNet-level accuracy with 50× fewer parameters and < 0.5 MB model size
(2016), table 1.

1,248,424 parameters, as in the paper's table; 818,924,576 multiply-adds at 224 × 224, of which it
gives none. It reports 57.5% of ImageNet's validation images right at top 1 and 80.3% at top 5.

The published weights pad nothing in the first convolution, so that an image of 224 × 224 becomes
109 × 109; the table's 111 × 111 belongs to one of 227 × 227. As in the paper a ReLU stands before
the global mean: no logit is negative.
"""

import torch
from torch import nn

from cvnotes import shapes
from cvnotes.models.network import Network, initialise_logits


class Fire(nn.Module):
    """Squeeze to few channels by 1×1, expand by 1×1 and 3×3 side by side.

    (N, C, H, W) → (N, expand1x1 + expand3x3, H, W). The arguments are a row of the paper's table.
    """

    def __init__(self, in_channels, squeeze, expand1x1, expand3x3):
        super().__init__()
        widths = {"in_channels": in_channels, "squeeze": squeeze, "expand1x1": expand1x1, "expand3x3": expand3x3}
        for name, value in widths.items():
            shapes.integer(name, value, 1)
        self.squeeze = nn.Conv2d(in_channels, squeeze, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze, expand1x1, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze, expand3x3, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.squeeze_activation(self.squeeze(x))  # (N, squeeze, H, W)
        narrow = self.expand1x1_activation(self.expand1x1(x))
        wide = self.expand3x3_activation(self.expand3x3(x))
        return torch.cat([narrow, wide], 1)


class SqueezeNet(Network):
    """A convolution, eight fire modules, a 1×1 convolution, and the mean of each channel."""

    def __init__(self, num_classes=1000):
        super().__init__()
        self.features = nn.Sequential(  # at 224 × 224:
            nn.Conv2d(3, 96, 7, stride=2),  # 109 × 109
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, ceil_mode=True),  # 54 × 54
            Fire(96, 16, 64, 64),
            Fire(128, 16, 64, 64),
            Fire(128, 32, 128, 128),
            nn.MaxPool2d(3, 2, ceil_mode=True),  # 27 × 27
            Fire(256, 32, 128, 128),
            Fire(256, 48, 192, 192),
            Fire(384, 48, 192, 192),
            Fire(384, 64, 256, 256),
            nn.MaxPool2d(3, 2, ceil_mode=True),  # 13 × 13
            Fire(512, 64, 256, 256),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Conv2d(512, num_classes, 1),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
        )
        self.initialise()
        initialise_logits(self.classifier[1])

    def forward(self, x):
        return torch.flatten(self.classifier(self.features(x)), 1)
