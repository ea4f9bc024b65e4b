"""The networks against the published weights' names and shapes, published counts, and bad input."""

import json
from pathlib import Path

import pytest
import torch

from cvnotes import models

DATA = Path(__file__).parent / "data"
PUBLISHED = (
    "vgg16", "googlenet", "squeezenet1_0", "resnet18", "resnet50",
    "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small",
)


def on_meta(name, **options):
    """Return the network as shapes alone, in evaluation mode."""
    with torch.device("meta"):
        return models.build(name, **options).eval()


# --- the published weights --------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_state_dict_is_that_of_the_published_weights(name):
    published = json.loads((DATA / f"state_dict_{name}.json").read_text())["state_dict"]
    ours = {key: list(value.shape) for key, value in on_meta(name).state_dict().items()}
    assert list(ours.items()) == list(published.items())  # names, shapes and order
