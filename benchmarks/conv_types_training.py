"""Train the offsets of one deformable kernel, and write what it learned to chapters/data/.

The teacher's 3×3 kernels stand turned and scaled at each place: by how much, two further channels
of the image tell. The student has the teacher's 16 filters; with a single one, quite other taps
would do nearly as well on smooth images, and nothing would lead to these. The student's offsets are a 1×1
convolution of those two channels, and start at zero, as in the paper.

    python benchmarks/conv_types_training.py
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F

from cvnotes import bench
from cvnotes.conv_types import fast, formulas

STEPS, BATCH, SIZE, FILTERS = 400, 4, 32, 16
KEPT = (0, 10, 25, 50, 100, 400)
STATES = {"as it is": (1.0, 0.0), "turned by 30°": (1.0, 30.0), "1.5 times as wide": (1.5, 0.0),
          "both": (1.5, -30.0)}


def bend(scale, degrees):
    return scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))


def teacher_offsets(maps):
    """Return the offsets (N, 18, H, W) of the taps bent as `maps` (N, 2, H, W) say."""
    a, b = maps[:, 0], maps[:, 1]
    regular = formulas.bent_taps(1, 0)
    bent = formulas.bent_taps(a, b)
    return torch.stack([moved - tap[i] for tap, taps in zip(regular, bent) for i, moved in enumerate(taps)], 1)


def batch(random):
    """Return smooth noise (N, 1, H, W), and smooth maps (N, 2, H, W) of scale·cos and scale·sin."""
    noise = torch.randn(BATCH, 1, SIZE + 8, SIZE + 8, generator=random)
    blur = torch.exp(-torch.arange(-4.0, 5) ** 2 / (2 * 1.5**2))
    texture = fast.spatially_separable_conv2d(noise, blur, blur)
    texture = texture / texture.std()
    angle, scale = torch.rand(2, BATCH, 1, 1, generator=random)
    waves = torch.linspace(0, 1, SIZE).view(1, 1, -1)
    angle = math.radians(60) * (2 * ((angle + waves) % 1) - 1).expand(BATCH, SIZE, SIZE)
    scale = (0.75 + ((scale + waves.mT) % 1)).expand(BATCH, SIZE, SIZE)
    return texture, torch.stack([scale * angle.cos(), scale * angle.sin()], 1)


def train():
    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(0)
    w = torch.randn(FILTERS, 1, 3, 3, generator=random)
    weight, bias = torch.zeros(18, 2, 1, 1, requires_grad=True), torch.zeros(18, requires_grad=True)
    optimiser = torch.optim.Adam([weight, bias], lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    losses, points = [], {}
    for step in range(STEPS + 1):
        if step in KEPT:
            points[str(step)] = {name: learned(weight, bias, *bend(*state)) for name, state in STATES.items()}
        texture, maps = batch(random)
        with torch.no_grad():
            wanted = fast.deform_conv2d(texture, teacher_offsets(maps), w, padding=1)
        given = fast.deform_conv2d(texture, F.conv2d(maps, weight, bias), w, padding=1)
        loss = (given - wanted).square().mean() / wanted.square().mean()
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    means = [sum(losses[i:i + 10]) / 10 for i in range(0, STEPS, 10)]
    return {
        "hardware": bench.hardware(), "parameters": weight.numel() + bias.numel(), "steps": STEPS,
        "every": 10, "loss": means, "points": points,
        "wanted": {name: [list(tap) for tap in formulas.bent_taps(*bend(*state))] for name, state in STATES.items()},
    }


def learned(weight, bias, a, b):
    """Return the student's nine taps (y, x) where the maps hold a and b."""
    offsets = (weight.detach()[:, :, 0, 0] @ torch.tensor([a, b]) + bias.detach()).view(9, 2)
    return (torch.tensor(formulas.bent_taps(1.0, 0.0)) + offsets).tolist()


if __name__ == "__main__":
    target = Path(__file__).resolve().parent.parent / "chapters/data/conv_types_training.json"
    bench.save(train(), target)
    print(target)
