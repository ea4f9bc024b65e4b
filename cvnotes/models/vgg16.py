"""VGG16.

Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition (2015),
column D of table 1.

138,357,544 parameters; the paper says 138 million. 15,470,264,320 multiply-adds at 224 × 224, of
which the paper gives none. It reports a top-5 error of 8.1% at one scale (256 to 512 in training).

The published weights pool to 7 × 7 before the first linear layer, which changes nothing at 224 × 224
and lets other sizes pass. The paper begins from a shallower trained network, or draws weights after
Glorot and Bengio; here they are drawn after He et al., as in all networks of the book.
"""

import torch
from torch import nn

from cvnotes.models.network import Network

# The paper's column, one line a stage: filters of its 3×3 convolutions. A 2×2 max pooling ends each.
STAGES = (
    # at 224 × 224:
    (64, 64),  # 224 × 224
    (128, 128),  # 112 × 112
    (256, 256, 256),  # 56 × 56
    (512, 512, 512),  # 28 × 28
    (512, 512, 512),  # 14 × 14, and 7 × 7 after its pooling
)


class VGG16(Network):
    """Thirteen 3×3 convolutions in five stages, then three linear layers."""

    def __init__(self, num_classes=1000):
        super().__init__()
        layers, channels = [], 3
        for stage in STAGES:
            for filters in stage:
                layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(inplace=True)]
                channels = filters
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, num_classes),
        )
        self.initialise()

    def forward(self, x):
        x = self.avgpool(self.features(x))  # (N, 512, 7, 7)
        return self.classifier(torch.flatten(x, 1))
