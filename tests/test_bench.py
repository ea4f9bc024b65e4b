import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from cvnotes import bench


def test_compare_finds_the_ratio_of_two_sleeps():
    result = bench.compare({"long": lambda: time.sleep(0.02), "short": lambda: time.sleep(0.01)}, rounds=7)
    assert 1.3 < result["long"]["ratio"]["short"] < 3
    assert result["long"]["fastest"] <= result["long"]["seconds"] <= result["long"]["slowest"]


def test_compare_counts_the_calm_rounds(monkeypatch):
    # Others work in every second round, for ten processor seconds; then our call is slow.
    worked, count = [0.0], [0]
    monkeypatch.setattr(bench, "_work_of_others", lambda: worked[0])

    def call():
        count[0] += 1
        if count[0] > 2 and count[0] % 2:
            worked[0] += 10
            time.sleep(0.04)
        time.sleep(0.01)

    monkeypatch.setattr(bench, "SHORTEST", 0.001)
    result = bench.compare({"call": call}, rounds=7)
    assert result["call"]["slowest"] < 0.04 and count[0] >= 15


def test_compare_refuses_few_rounds():
    with pytest.raises(ValueError, match="`rounds`"):
        bench.compare({"a": lambda: None}, rounds=6)


def test_peak_memory_counts_what_lives_together():
    def call():
        a = torch.ones(1_000_000)  # 4 MB
        b = a + 1  # 8 MB together
        del a
        return b + 1  # 8 MB together again, not 12

    assert bench.peak_memory(call) == pytest.approx(8_000_000, rel=0.01)


def test_peak_memory_counts_numpy():
    def call():
        a = np.ones(1_000_000)
        b = a + 1  # named, or NumPy would add into the memory of `a`
        return b

    assert bench.peak_memory(call) == pytest.approx(16_000_000, rel=0.01)


def test_peak_memory_passes_over_the_arguments():
    x = torch.ones(1_000_000)
    assert bench.peak_memory(lambda: x.view(1000, 1000).t()) == 0


def test_hardware_names_threads_and_allocator():
    facts = bench.hardware()
    assert facts["threads"] == torch.get_num_threads()
    assert "MALLOC_MMAP_THRESHOLD_" in facts


def test_main_measures_with_both_allocators(tmp_path):
    script = tmp_path / "benchmarks" / "small.py"
    script.parent.mkdir()
    script.write_text(
        "from cvnotes import bench\n"
        "def measure():\n"
        "    return {'third': 1 / 3}\n"
        "if __name__ == '__main__':\n"
        "    bench.main(measure, 'chapters/data/small.json')\n"
    )
    subprocess.run([sys.executable, str(script)], check=True, stdout=subprocess.DEVNULL)
    written = json.loads((tmp_path / "chapters/data/small.json").read_text())
    assert written["default"]["results"] == {"third": 0.3333}
    assert written["default"]["hardware"]["MALLOC_MMAP_THRESHOLD_"] == "default"
    assert written["keep_pages"]["hardware"]["MALLOC_MMAP_THRESHOLD_"] != "default"
