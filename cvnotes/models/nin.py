"""Network in Network, in the form that its authors trained on ImageNet.

Lin, Chen and Yan, Network in network (2014). The paper's own networks are for smaller images; the
layers here are those of the Caffe model that its first author published for ImageNet, "NIN-Imagenet".

Each stage is a convolution and two 1×1 convolutions, a small network at each pixel. The last stage
has a channel for each class, and the mean of a channel is the logit: no linear layer. As in that
model a ReLU stands before the mean, so no logit is negative, and sizes of poolings are rounded up.

7,595,176 parameters and 1,100,188,800 multiply-adds at 224 × 224. The paper reports errors of 8.81%
on CIFAR-10 (10.41% without augmentation), 35.68% on CIFAR-100, 2.35% on SVHN and 0.47% on MNIST.
No weights with names of their own are published for torch.
"""

import torch
from torch import nn

from cvnotes.models.network import Network, initialise_logits


def mlpconv(in_channels, widths, kernel_size, stride=1, padding=0):
    """Return a K × K convolution and 1×1 convolutions after it, one for each further width, with ReLUs."""
    layers = []
    for i, width in enumerate(widths):
        shape = (kernel_size, stride, padding) if i == 0 else (1,)
        layers += [nn.Conv2d(in_channels, width, *shape), nn.ReLU(inplace=True)]
        in_channels = width
    return nn.Sequential(*layers)


class NIN(Network):
    """Four stages of a convolution and two 1×1 convolutions, then the mean of each channel."""

    def __init__(self, num_classes=1000):
        super().__init__()
        #                                                               at 224 × 224:
        self.mlpconv1 = mlpconv(3, (96, 96, 96), 11, stride=4)  # 54 × 54
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)  # 27 × 27
        self.mlpconv2 = mlpconv(96, (256, 256, 256), 5, padding=2)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)  # 13 × 13
        self.mlpconv3 = mlpconv(256, (384, 384, 384), 3, padding=1)
        self.pool3 = nn.MaxPool2d(3, 2, ceil_mode=True)  # 6 × 6
        self.dropout = nn.Dropout(0.5)
        self.mlpconv4 = mlpconv(384, (1024, 1024, num_classes), 3, padding=1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.initialise()
        initialise_logits(self.mlpconv4[4])

    def forward(self, x):
        x = self.pool1(self.mlpconv1(x))
        x = self.pool2(self.mlpconv2(x))
        x = self.pool3(self.mlpconv3(x))
        x = self.mlpconv4(self.dropout(x))  # (N, num_classes, 6, 6)
        return torch.flatten(self.avgpool(x), 1)
