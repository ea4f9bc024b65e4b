"""ResNet-50 with a feature pyramid: the backbone of Faster R-CNN, RetinaNet and Mask R-CNN.

Lin et al., Feature pyramid networks for object detection (2017), section 3; P6 and P7 as in Lin et al., Focal
loss for dense object detection (2017).

Names, shapes and order are those that the published weights have under `backbone`. In them

- batch norms are frozen: their statistics and weights were those of the classifier, and did not change in training;
  so there is no count of batches;
- nothing is added to the variance (ε = 0), but the classifiers from which they started were trained with 10⁻⁵;
- P6 of RetinaNet is made of P5, and P7 of a ReLU of P6. The paper makes P6 of C5.
"""

import torch
import torch.nn.functional as F
from torch import nn

from cvnotes.models import resnet

CHANNELS = (256, 512, 1024, 2048)  # of C2 to C5
WIDTH = 256  # channels of each level of the pyramid


class FrozenBatchNorm2d(nn.Module):
    """A batch norm that only looks up: (N, C, H, W) → (N, C, H, W), each channel scaled and shifted. No parameters."""

    def __init__(self, channels, eps=0.0):
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + shift[:, None, None]


def frozen(module, eps=0.0):
    """Return a module in which each batch norm is a frozen one, as it starts."""
    if isinstance(module, nn.BatchNorm2d):
        return FrozenBatchNorm2d(module.num_features, eps)
    for name, child in module.named_children():
        setattr(module, name, frozen(child, eps))
    return module


class ResNetBody(nn.Module):
    """Images (N, 3, H, W) → [C2, C3, C4, C5], of 1/4 to 1/32 of the size, rounded up at each halving."""

    def __init__(self):
        super().__init__()
        network = frozen(resnet.resnet50())
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            setattr(self, name, getattr(network, name))
        for module in self.modules():
            if isinstance(module, resnet.Bottleneck):  # sizes double at each block, with no statistics to divide by
                module.bn3.weight.fill_(0.25)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps

    def start_from(self, state_dict):
        """Take over the weights of a ResNet-50 that was trained to classify; the ε of its batch norms goes into the variance."""
        ours = self.state_dict()
        self.load_state_dict({key: value for key, value in state_dict.items() if key in ours})
        for module in self.modules():
            if isinstance(module, FrozenBatchNorm2d):
                module.running_var += 1e-5


class P6P7(nn.Module):
    """Two levels more, each of half the size of the one before: (N, 256, H, W) → [P6, P7]."""

    def __init__(self, in_channels=WIDTH, out_channels=WIDTH):
        super().__init__()
        self.p6 = nn.Conv2d(in_channels, out_channels, 3, 2, 1)
        self.p7 = nn.Conv2d(out_channels, out_channels, 3, 2, 1)

    def forward(self, p5):
        p6 = self.p6(p5)
        return [p6, self.p7(F.relu(p6))]


class Subsampling(nn.Module):
    """One level more, every other pixel of the last: (N, 256, H, W) → [P6]. The paper's, for the largest anchors."""

    def forward(self, p5):
        return [p5[:, :, ::2, ::2]]


class FeaturePyramidNetwork(nn.Module):
    """Maps from fine to coarse → as many levels of 256 channels, and what `extra_blocks` makes of the last."""

    def __init__(self, in_channels, out_channels=WIDTH, extra_blocks=None):
        super().__init__()
        self.inner_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(C, out_channels, 1)) for C in in_channels)
        self.layer_blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(out_channels, out_channels, 3, padding=1)) for _ in in_channels
        )
        self.extra_blocks = extra_blocks
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # these are linear, without ReLU: variance 1 / inputs
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)

    def forward(self, maps):
        inner, levels = None, []
        for c, lateral, output in zip(maps[::-1], self.inner_blocks[::-1], self.layer_blocks[::-1]):
            above, inner = inner, lateral(c)
            if above is not None:
                inner = inner + F.interpolate(above, size=inner.shape[2:], mode="nearest")
            levels.insert(0, output(inner))
        return levels + (self.extra_blocks(levels[-1]) if self.extra_blocks is not None else [])


class BackboneWithFPN(nn.Module):
    """Images (N, 3, H, W) → the levels of a pyramid over ResNet-50.

    - finest: the first map that is taken: 2 gives P2 to P5, 3 gives P3 to P5
    - extra_blocks: what makes further levels of P5: `P6P7()`, `Subsampling()` or None
    """

    def __init__(self, finest=2, extra_blocks=None):
        super().__init__()
        self.first = finest - 2
        self.body = ResNetBody()
        self.fpn = FeaturePyramidNetwork(CHANNELS[self.first:], extra_blocks=extra_blocks)

    def forward(self, x):
        return self.fpn(self.body(x)[self.first:])
