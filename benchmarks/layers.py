"""Each network of the book as a whole, and its layers one by one: where the time goes, and why.

A layer's time stands beside its multiply-adds and the bytes that it moves at least. The layers of a
network are run in their own order, each on its own input, and each is timed by itself; in turn with
the network as a whole, and with the same network prepared for inference (batch norms folded,
channels last). Evaluation mode, no gradients, float32, random images.

    python benchmarks/layers.py                  # all networks: many minutes on an idle machine
"""

import statistics
import time

import torch

from cvnotes import bench, cost, models, tracing

SIDE = {"xception": 299}  # 224 for all others
DETAILED = ("resnet18", "mobilenet_v2", "googlenet")  # layer by layer
BATCHES = (1, 8)


class OneByOne:
    """Runs the layers of a network one by one, and remembers the time of each."""

    def __init__(self, rows):
        self.rows, self.times = rows, [[] for _ in rows]

    def __call__(self):
        for row, times in zip(self.rows, self.times):
            started = time.perf_counter()
            row.call()
            times.append(time.perf_counter() - started)


def whole(network, x):
    def call():
        with torch.no_grad():
            return network(x)

    return call


def measure_network(name, batch):
    torch.manual_seed(0)
    side = SIDE.get(name, 224)
    x = torch.randn(batch, 3, side, side)
    network = models.build(name).eval()
    ready = models.for_inference(network)
    table = tracing.trace(network, x, keep_calls=True)
    layers = OneByOne(table.rows)
    with torch.no_grad():
        times = bench.compare({
            "whole": whole(network, x), "layers one by one": layers,
            "for inference": whole(ready, x.contiguous(memory_format=torch.channels_last)),
        }, rounds=7, warmup=1)
    found = {"times": times, "macs": table.total.macs, "params": table.total.params, "kinds": by_kind(layers)}
    if name in DETAILED:
        found["layers"] = [
            {"name": row.name, "kind": kind(row), "macs": row.cost.macs, "bytes": row.bytes_moved(),
             "seconds": statistics.median(seconds)}
            for row, seconds in zip(layers.rows, layers.times) if row.cost.macs
        ]
    return found


def kind(row):
    """Return what sort of layer a row is, as the chapters tell them apart."""
    if row.kind != "Conv2d":
        return {"Linear": "fully connected", "BatchNorm2d": "batch norm"}.get(row.kind, "other")
    layer = row.module
    if layer.groups == layer.in_channels > 1:
        return "depthwise"
    if layer.groups > 1:
        return "grouped 1×1" if max(layer.kernel_size) == 1 else "grouped"
    return "1×1" if max(layer.kernel_size) == 1 else "standard"


def by_kind(layers):
    """Return the multiply-adds, bytes and seconds of all layers of each kind."""
    kinds = {}
    for row, seconds in zip(layers.rows, layers.times):
        one = kinds.setdefault(kind(row), {"layers": 0, "macs": 0, "bytes": 0, "seconds": 0.0})
        one["layers"] += 1
        one["macs"] += row.cost.macs
        one["bytes"] += row.bytes_moved()
        one["seconds"] += statistics.median(seconds)
    return kinds


def balance():
    """Return what the machine does in a second at best: operations of a matrix product, bytes of a copy."""
    a, b, c = torch.randn(1024, 1024), torch.randn(1024, 1024), torch.empty(1024, 1024)
    long, copy = torch.randn(2**25), torch.empty(2**25)
    times = bench.compare({"product": lambda: torch.mm(a, b, out=c), "copy": lambda: copy.copy_(long)})
    operations = 2 * 1024**3 / times["product"]["seconds"]
    moved = 2 * 4 * 2**25 / times["copy"]["seconds"]  # read once, written once
    return {"operations": operations, "bytes": moved, "operations a byte": operations / moved}


def measure():
    results = {"balance": balance(), "networks": {}}
    for name in models.NETWORKS:
        for batch in BATCHES:
            results["networks"].setdefault(name, {})[str(batch)] = measure_network(name, batch)
    small, large = models.build("mobilenet_v2").eval(), models.build("resnet18").eval()
    x = torch.randn(8, 3, 224, 224)
    results["against"] = bench.compare({"resnet18": whole(large, x), "mobilenet_v2": whole(small, x)}, rounds=9)
    results["against macs"] = {
        "resnet18": cost.trace(large, x).total.macs, "mobilenet_v2": cost.trace(small, x).total.macs
    }
    return results


if __name__ == "__main__":
    bench.main(measure, "chapters/data/layers_speed.json")
