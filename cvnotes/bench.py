"""Time and memory of a function beside what a reader would use instead.

All candidates run in one process, in turn, round after round, so that whatever else the machine
does slows all of them alike. What is compared are ratios within a round; a ratio travels to
another machine better than a time does. Two threads that wait for each other suffer more from a
busy machine than one, so the rounds in which other processes worked least are the ones that count.

A script in ``benchmarks/`` looks like this, and writes one file of ``chapters/data/``::

    def measure():
        x, w = torch.randn(8, 64, 56, 56), torch.randn(64, 64, 3, 3)
        return bench.compare({"F.conv2d": lambda: F.conv2d(x, w), "ours": lambda: fast.conv2d(x, w)})

    if __name__ == "__main__":
        bench.main(measure, "chapters/data/conv_speed.json")
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

SHORTEST = 0.01  # seconds that one sample lasts at least: a shorter call is repeated within it
CALM = 0.05  # processors that other processes may keep busy during a round that counts as calm
THREADS = 2

# By default, glibc gives every large block back to the system as it is freed, and the next one
# comes as fresh pages that the kernel fills with zeros when they are touched: for a large result
# that costs more than the arithmetic. With these two a process keeps its pages.
KEEP_PAGES = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296"}


def compare(calls, *, rounds=9, warmup=2, patience=20):
    """Time each of `calls`, a dict of functions without arguments, in turn; at least 7 rounds.

    Where other processes disturb them, rounds are added for at most `patience` seconds, and the
    `rounds` least disturbed count. They are chosen by what the others did, not by their times.

    Returns a dict with, for each name, `seconds` (the median), `fastest`, `slowest`, and
    `ratio`: a dict with the median, over the rounds, of its time divided by that of each other.
    """
    if rounds < 7:
        raise ValueError(f"`rounds` (={rounds}) must be at least 7")
    repeats = {}
    for name, call in calls.items():
        took = min(_seconds(call, 1) for _ in range(warmup))
        repeats[name] = max(1, int(SHORTEST / max(took, 1e-7)))
    found, calm, began = [], 0, time.perf_counter()
    while len(found) < rounds or (calm < rounds and time.perf_counter() - began < patience):
        others, start = _work_of_others(), time.perf_counter()
        times = {name: _seconds(call, repeats[name]) for name, call in calls.items()}
        elapsed = time.perf_counter() - start
        disturbance = max(0.0, _work_of_others() - others - 0.02) / elapsed  # it is told in hundredths
        calm += disturbance <= CALM
        found.append((disturbance, times))
    found.sort(key=lambda each: each[0])
    times = {name: [row[name] for _, row in found[:rounds]] for name in calls}
    return {
        name: {
            "seconds": statistics.median(own),
            "fastest": min(own),
            "slowest": max(own),
            "ratio": {
                other: statistics.median(a / b for a, b in zip(own, times[other]))
                for other in calls
                if other != name
            },
        }
        for name, own in times.items()
    }


YARDSTICK = "torch.mm, 1,024²"


def yardstick():
    """Return a function whose time is a unit: the product of two 1,024 × 1,024 matrices, into a given output."""
    import torch

    a, b = torch.randn(2, 1024, 1024, generator=torch.Generator().manual_seed(0))
    out = torch.empty(1024, 1024)
    return lambda: torch.mm(a, b, out=out)


def _seconds(call, repeats):
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - started) / repeats


def _work_of_others():
    """Return the seconds that processors have worked so far for other processes; 0 if unknown."""
    try:
        words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, softirq, steal = (int(word) for word in words)
    ticks = user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK") - time.process_time()


def peak_memory(call):
    """Return how many bytes of arrays `call()` holds at its worst, its result included.

    For Torch this is the highest live sum of the profiler's memory events during the call; for
    NumPy the peak that `tracemalloc` sees. The larger of the two is returned. What existed
    before the call, its arguments say, does not count.
    """
    call()  # what is allocated once and kept, as a cached buffer, is not the call's own
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        call()
        numpy_peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    if "torch" not in sys.modules:
        return numpy_peak
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        result = call()
    del result
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    # Python's own small objects are not what is asked for, where Torch holds the arrays.
    return max(peak, numpy_peak if numpy_peak > 1_000_000 else 0)


def hardware():
    """Return what a time depends on: processor, cores, threads, allocator, versions."""
    import numpy

    facts = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver()) or 'libc unknown'}",
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "MALLOC_MMAP_THRESHOLD_": os.environ.get("MALLOC_MMAP_THRESHOLD_", "default"),
    }
    if "torch" in sys.modules:
        import torch

        facts["torch"] = torch.__version__
        facts["threads"] = torch.get_num_threads()
    return facts


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main(measure, path):
    """Run `measure()` in two fresh processes and write what both return to `path`, as JSON.

    The first has the default allocator, the second keeps its pages (`KEEP_PAGES`). The file
    holds ``{"default": {"hardware": ..., "results": ...}, "keep_pages": {...}}``.
    Call it from a script's ``if __name__ == "__main__"``; `path` starts at the repository.
    """
    if "--child" in sys.argv:
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(THREADS)
        results = measure()
        print(json.dumps({"hardware": hardware(), "results": results}))
        return
    script = Path(sys.argv[0]).resolve()
    written = {}
    for name, more in (("default", {}), ("keep_pages", KEEP_PAGES)):
        environment = {key: os.environ[key] for key in os.environ if not key.startswith("MALLOC_")}
        child = subprocess.run(
            [sys.executable, str(script), "--child"],
            env={**environment, **more}, stdout=subprocess.PIPE, text=True, check=True,
        )
        written[name] = json.loads(child.stdout.splitlines()[-1])
    target = script.parent.parent / path
    target.parent.mkdir(parents=True, exist_ok=True)
    save(written, target)
    print(target)


def save(results, path):
    """Write `results` as JSON with four significant digits: more would be noise."""
    Path(path).write_text(json.dumps(_rounded(results), indent=1) + "\n")


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
