"""Four blocks at one price: trained on handwritten digits, at equal multiply-adds, five seeds each.

Each network is a 3×3 convolution, two blocks at 8 × 8, two at 4 × 4 about twice as wide, an average
and a linear layer. Its two widths are those whose multiply-adds come closest to the budget. The data are the 1,797 digits
of scikit-learn, 8 × 8 pixels; a seed decides the split (600 to learn from, 1,197 to test on), the
weights at the start and the order of the batches. The settings are the same for all and were not
tuned for any.

    python benchmarks/blocks_training.py         # about ten minutes on two cores
"""

import statistics
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from cvnotes import bench, cost
from cvnotes.models.googlenet import Inception
from cvnotes.models.mobilenet_v2 import InvertedResidual
from cvnotes.models.network import conv_bn
from cvnotes.models.resnet import BasicBlock
from cvnotes.models.shufflenet_v1 import ShuffleUnit

BUDGET = 2_000_000  # multiply-adds of one image
SEEDS, EPOCHS, BATCH, LEARN = 5, 30, 50, 600
SIZE, CLASSES = 8, 10


def residual(C, O, stride):
    return BasicBlock(C, O, stride)


def inverted(C, O, stride):
    return InvertedResidual(C, O, stride, expansion=6)


def shuffle(C, O, stride):
    return ShuffleUnit(C, O, groups=2, stride=stride)


def inception(C, O, stride):
    """Four branches in the proportions of GoogLeNet's module 3a, after a pooling where it strides."""
    eighth = O // 8
    module = Inception(C, 2 * eighth, 3 * eighth, O - 4 * eighth, max(1, eighth // 2), eighth, eighth)
    return nn.Sequential(nn.MaxPool2d(2), module) if stride == 2 else module


# Each with the number that its widths are multiples of.
BLOCKS = {"residual": (residual, 1), "inverted residual": (inverted, 1), "shuffle": (shuffle, 8), "inception": (inception, 2)}


def network(name, narrow, wide):
    block, _ = BLOCKS[name]
    return nn.Sequential(
        conv_bn(1, narrow), block(narrow, narrow, 1), block(narrow, narrow, 1),
        block(narrow, wide, 2), block(wide, wide, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, CLASSES),
    )


def price(name, *widths):
    with torch.device("meta"):
        return cost.trace(network(name, *widths), (1, 1, SIZE, SIZE)).total


@cache
def fitting_widths(name):
    """Return the two widths, the second 1.8 to 2.2 times the first, with the multiply-adds nearest to the budget."""
    _, step = BLOCKS[name]
    pairs, narrow = [], 8
    while not pairs or price(name, narrow, 2 * narrow).macs < 1.1 * BUDGET:
        pairs += [(narrow, wide) for wide in range(step, 3 * narrow, step) if 1.8 * narrow <= wide <= 2.2 * narrow]
        narrow += step
    return min(pairs, key=lambda widths: abs(price(name, *widths).macs - BUDGET))


def digits(seed):
    """Return images (M, 1, 8, 8) and labels to learn from, and others to test on."""
    data = load_digits()
    images = torch.from_numpy(data.images).float()[:, None] / 16
    labels = torch.from_numpy(data.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    learn, test = order[:LEARN], order[LEARN:]
    return images[learn], labels[learn], images[test], labels[test]


def train(name, widths, seed):
    """Return the loss while learning and the error on the test images, in percent, after each epoch."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    net = network(name, *widths)
    x, y, test_x, test_y = digits(seed)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    losses, errors = [], []
    for _ in range(EPOCHS):
        net.train()
        total = 0.0
        for batch in torch.randperm(LEARN).split(BATCH):
            loss = F.cross_entropy(net(x[batch]), y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(batch)
        schedule.step()
        net.eval()
        with torch.no_grad():
            errors.append(100 * (net(test_x).argmax(1) != test_y).float().mean().item())
        losses.append(total / LEARN)
    return {"loss": losses, "error": errors}


def times():
    """Return how long a training step of each network takes, beside the residual one."""

    def step(name):
        net = network(name, *fitting_widths(name))
        x, y = torch.randn(BATCH, 1, SIZE, SIZE), torch.randint(CLASSES, (BATCH,))

        def call():
            net.zero_grad()
            F.cross_entropy(net(x), y).backward()

        return call

    torch.set_num_threads(1)
    return bench.compare({name: step(name) for name in BLOCKS})


def measure():
    jobs = [(name, fitting_widths(name), seed) for name in BLOCKS for seed in range(SEEDS)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        runs = list(pool.map(train, *zip(*jobs)))
    results = {}
    for name in BLOCKS:
        own = [run for (other, _, _), run in zip(jobs, runs) if other == name]
        last = [run["error"][-1] for run in own]
        total = price(name, *fitting_widths(name))
        results[name] = {
            "widths": fitting_widths(name), "params": total.params, "macs": total.macs, "activations": total.activations,
            "error": [run["error"] for run in own], "loss": [run["loss"] for run in own],
            "last": {"mean": statistics.mean(last), "deviation": statistics.stdev(last)},
        }
    settings = {
        "budget": BUDGET, "seeds": SEEDS, "epochs": EPOCHS, "batch": BATCH, "learn": LEARN,
        "test": len(load_digits().target) - LEARN,
    }
    return {"hardware": bench.hardware(), "settings": settings, "blocks": results, "times": times()}


if __name__ == "__main__":
    target = Path(__file__).resolve().parent.parent / "chapters/data/blocks_training.json"
    bench.save(measure(), target)
    print(target)
