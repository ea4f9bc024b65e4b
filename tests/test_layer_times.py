"""Tables and figures of measured times, on made-up measurements; and the file that the chapters read."""

import json
import re
from pathlib import Path

import pytest
import torch

from cvnotes import cost, layer_times, models

DATA = Path(__file__).parents[1] / "chapters" / "data" / "layers_speed.json"


def found(whole, apart, ready, kinds, layers=()):
    times = {
        "whole": {"seconds": whole},
        "layers one by one": {"ratio": {"whole": apart}}, "for inference": {"ratio": {"whole": ready}},
    }
    parts = {kind: {"macs": macs, "seconds": seconds} for kind, (macs, seconds) in kinds.items()}
    return {"times": times, "macs": sum(macs for macs, _ in kinds.values()), "kinds": parts, "layers": list(layers)}


LAYERS = [
    {"name": "a", "kind": "standard", "macs": 1000, "bytes": 100, "seconds": 2e-9},
    {"name": "b", "kind": "fully connected", "macs": 1000, "bytes": 4000, "seconds": 4e-9},
]
KINDS = {"other": (0, 0.1), "standard": (3_000_000_000, 0.3), "1×1": (1_000_000_000, 0.1)}
SPEED = {"default": {
    "hardware": {"processor": "P", "threads": 2, "torch": "2"},
    "results": {
        "balance": {"operations": 1e12, "bytes": 1e11, "operations a byte": 10.0},
        "networks": {"net": {"1": found(0.5, 1.01, 0.8, KINDS, LAYERS), "8": found(4.0, 0.99, 0.7, KINDS)}},
    },
}}


def test_network_table_says_what_was_measured():
    table = layer_times.network_table(SPEED, {"net": "Net"}).data.replace("\u00a0", " ")
    assert "| Net | 1 | 4.00 | 500.0 | 8.0 | 1.01 × | 0.80 × |" in table
    assert "|  | 8 | 4.00 | 4,000.0 | 1.0 | 0.99 × | 0.70 × |" in table
    assert "P, 2 threads, torch 2, float32, evaluation mode." in table


def test_shares_are_those_of_the_multiply_adds_and_of_the_layers_time():
    shares = layer_times.shares(SPEED, "net", 1)
    assert list(shares) == ["standard", "1×1", "other"]
    assert shares["standard"] == pytest.approx((0.75, 0.6)) and shares["other"] == pytest.approx((0, 0.2))


def test_show_shares_draws_each_share_to_length_and_says_it():
    figure = layer_times.show_shares(SPEED, {"net": "Net"}, 1)
    widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="23"', figure.html)]
    assert widths == pytest.approx([270 * share for share in (0.75, 0.25, 0, 0.6, 0.2, 0.2)], abs=0.01)
    assert re.findall(">(multiply-adds|time)<", figure.html) == ["multiply-adds", "time"]
    assert "one image. Net: standard 75% of the multiply-adds, 60% of the time" in figure.label
    assert "one image" not in layer_times.show_shares(SPEED, {"net": "Net"}, 8).label


def test_intensities_and_limit_are_those_of_the_roofline_model():
    points = layer_times.intensities(SPEED, "net", 1)
    assert points["standard"] == [pytest.approx((20, 2))] and points["fully connected"] == [pytest.approx((0.5, 4))]
    balance = SPEED["default"]["results"]["balance"]
    assert layer_times.limit(balance, 20) == layer_times.limit(balance, 10) == pytest.approx(2)  # of 10¹² a second
    assert layer_times.limit(balance, 0.5) == pytest.approx(40)  # 4 bytes, of 10¹¹ a second


def test_show_roofline_is_the_same_each_time_and_says_the_balance():
    figure = layer_times.show_roofline(SPEED, "net", "Net", 1)
    assert figure.html == layer_times.show_roofline(SPEED, "net", "Net", 1).html
    assert "balance is 10.0 operations a byte" in figure.label
    for words in ("standard", "fully connected", "the machine&#x27;s limit", "operations for each byte moved"):
        assert words in figure.html or words.replace("&#x27;", "'") in figure.html


@pytest.mark.parametrize("name", ["googlenet", "vgg16", "mobilenet_v2"])
def test_measured_networks_are_those_of_the_book(name):
    measured = json.loads(DATA.read_text())
    with torch.device("meta"):
        network = models.build(name).eval()
    total = cost.trace(network, (1, 3, 224, 224)).total
    for run in measured.values():
        for batch, one in run["results"]["networks"][name].items():
            assert one["macs"] == int(batch) * total.macs and one["params"] == total.params
            assert sum(kind["macs"] for kind in one["kinds"].values()) == one["macs"]
            assert set(one["kinds"]) <= set(layer_times.KINDS)


def test_each_kind_of_layer_has_its_own_look():
    assert len(set(layer_times.KINDS.values())) == len(layer_times.KINDS)
