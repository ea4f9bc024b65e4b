"""Run the small SSD, trained and untrained, on the chapter's scene and on some others, and keep what it says.

Outputs of a network differ in their last digits from one processor to another. The chapter shows those that are
kept here, in half precision, so that its numbers are the same everywhere.

    python benchmarks/ssd_outputs.py        # writes chapters/data/ssd_outputs.safetensors, in a second

The weights are those that `benchmarks/detectors_training.py` keeps; untrained is the same network from the same
seed, before its first step.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save

from cvnotes import data, train
from cvnotes.models import small_detectors
from cvnotes.ssd import explorer_data

DATA = Path(__file__).resolve().parent.parent / "chapters" / "data"
SEED = 0  # of the training whose weights are kept


def untrained():
    """Return the network that the training began with."""
    torch.manual_seed(SEED)
    return small_detectors.build("ssd", len(data.CLASSES), image_size=128).eval()


@torch.no_grad()
def outputs(weights):
    """Return arrays by name: scores (N, D, C + 1) and offsets (N, D, 4), `first` of the chapter's scene, `later` of all."""
    images, _ = train.batch_of(explorer_data.examples(), 128)
    found = {}
    for name, detector, seen in (("first", untrained(), images[:1]), ("later", train.load_weights(weights), images)):
        for kind, values in zip(("scores", "offsets"), detector(seen)):
            found[f"{name}.{kind}"] = values.numpy().astype(np.float16)
    return found


def main():
    parser = argparse.ArgumentParser(description="Keep what the small trained SSD says of some scenes.")
    parser.add_argument("--weights", default=DATA / "detectors_ssd.safetensors")
    parser.add_argument("--out", default=DATA / "ssd_outputs.safetensors")
    options = parser.parse_args()
    with data.replacing(options.out) as file:
        file.write(save(outputs(options.weights)))
    print(options.out)


if __name__ == "__main__":
    main()
