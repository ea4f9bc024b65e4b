"""Train small detectors in many variants, from several seeds each, and write what they reach to chapters/data/.

Three questions. What does a feature pyramid bring, by the size of the objects: the whole of it, without its
top-down way, without its lateral connections, with its finest level alone. What does the focal loss bring, beside
cross entropy and hard negative mining, each with and without the bias that starts with a probability of 0.01.
What do default boxes on four maps bring, beside all of them on one.

All learn from the same generated scenes, and are tested on the same others; the seed decides the weights to
start from, the order of the scenes, and which are mirrored. The settings are the same for all and were not tuned
for any. An object counts as small below 16² pixels, as large from 48² on, in scenes of 128 × 128: half of
COCO's limits, as these images are smaller than COCO's.

One detector of each kind is trained longer, without end of scenes, and its weights are kept. The pyramid with and
without its top-down way is trained longer from two seeds, as what is best after a short training need not stay so.

    python benchmarks/detectors_training.py                  # more than an hour on two idle cores
    python benchmarks/detectors_training.py --only full ssd --seeds 1 --steps 200    # a trial, which writes elsewhere

Each training has one thread, and two go on side by side. What is done is kept in _build/detectors_training, and
not done again: stop it when you like, and start it again.
"""

import argparse
import hashlib
import json
import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import torch
from tqdm import tqdm

from cvnotes import bench, data, train

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "_build" / "detectors_training"
TARGET = ROOT / "chapters" / "data" / "detectors_training.json"
SEEDS, STEPS, BATCH = 3, 800, 16
LONGER_SEEDS = 2  # of the longer trainings that are compared
SCENES, TESTED = 4000, 500  # to learn from, and to be tested on
ZOOM = 2.0  # of coordinates before COCO's limits of sizes are applied
FIRST = 50  # steps of which each loss is written down; after them, means of `EVERY`
EVERY = 20

# Of each variant the detector, and what is not as usual.
VARIANTS = {
    "full": ("retinanet", {}),
    "no-top-down": ("retinanet", {"pyramid": "no-top-down"}),
    "no-lateral": ("retinanet", {"pyramid": "no-lateral"}),
    "finest": ("retinanet", {"pyramid": "finest"}),
    "cross-entropy": ("retinanet", {"loss": "cross-entropy"}),
    "hard-negatives": ("retinanet", {"loss": "hard-negatives"}),
    "focal, prior 0.5": ("retinanet", {"prior": 0.5}),
    "cross-entropy, prior 0.5": ("retinanet", {"loss": "cross-entropy", "prior": 0.5}),
    "ssd": ("ssd", {}),
    "ssd, middle map": ("ssd", {"maps": "middle"}),
    "ssd, fine map": ("ssd", {"maps": "fine"}),
}
USUAL = ("learning_rate", "weight_decay", "warmup", "clip")  # settings that are as `train` has them
# Steps of a longer training, without end of scenes: less than five minutes on two cores. Of two of them the weights of
# the first seed are kept; the third tells whether what a pyramid brings depends on how long it learns.
LONGER = {"full": 3000, "no-top-down": 3000, "ssd": 4800}
KEPT = ("full", "ssd")


class Kept:
    """A number of scenes, each drawn once and then kept."""

    classes = data.CLASSES

    def __init__(self, count, first=0):
        self.count, self.first = count, first
        self.identity = data.Scenes(0, first=first).identity + f", {count} of them"
        self.image = cache(lambda i: data.scene(0, first + i)._replace(masks=None))

    def __getitem__(self, i):
        return self.image(i)


@cache
def scenes():
    return Kept(SCENES)


@cache
def tested():
    return Kept(TESTED, train.VALIDATION)


def job(variant, seed, steps, longer=False):
    """Train one variant from one seed, or go on with it, or read what came out of it; return that."""
    torch.set_num_threads(1)
    name, options = VARIANTS[variant]
    settings = train.Settings(
        name, {"image_size": 128, **options}, steps=LONGER[variant] if longer else steps, batch=BATCH, seed=seed
    )
    learn = data.Scenes(seed) if longer else scenes()
    told = json.dumps([train.plain(settings), train.identity(learn), tested().identity])
    folder = WORK / hashlib.sha256(told.encode()).hexdigest()[:16]
    if (folder / "result.json").exists():
        return json.loads((folder / "result.json").read_text())
    began = time.process_time()
    trainer = train.Trainer(learn, settings)
    train.resume(trainer, folder)
    start = trainer.step
    train.fit(trainer, folder, every=200)
    took = (time.process_time() - began) / max(1, settings.steps - start)
    detector = trainer.detector
    kept = None
    if longer:  # as it is kept: rounded
        kept = str(folder / "weights.safetensors")
        train.save_weights(detector, kept, name=name, options=settings.options, classes=data.CLASSES, half=True)
        detector = train.load_weights(kept)
    result = {
        "variant": variant, "seed": seed, "longer": longer, "settings": train.plain(settings), "weights": kept,
        "params": sum(weight.numel() for weight in detector.parameters() if weight.requires_grad),
        "boxes": len(detector.boxes), "seconds_per_step": took,
        "summary": train.evaluate(detector, tested(), TESTED, zoom=ZOOM), "losses": curves(trainer.history),
    }
    with data.replacing(folder / "result.json") as file:
        file.write(json.dumps(result).encode())
    return result


def curves(history):
    """Return of each loss its first values one by one, and means of some steps each over all of them."""
    found = {}
    for name in history[0]:
        values = [losses[name] for losses in history]
        means = [statistics.mean(values[i:i + EVERY]) for i in range(0, len(values), EVERY)]
        found[name] = {"first": values[:FIRST], "mean": means}
    return found


def over_seeds(values):
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"seeds": values, "mean": statistics.mean(values), "deviation": deviation}


def gathered(results, steps, seeds):
    """Return what is written down of all trainings."""
    variants = {}
    for variant, (name, options) in VARIANTS.items():
        own = sorted((r for r in results if r["variant"] == variant and not r["longer"]), key=lambda r: r["seed"])
        if not own:
            continue
        variants[variant] = {
            "detector": name, "options": options, "params": own[0]["params"], "boxes": own[0]["boxes"],
            "seconds_per_step": statistics.mean(r["seconds_per_step"] for r in own),
            "summary": {figure: over_seeds([r["summary"][figure] for r in own]) for figure in own[0]["summary"]},
            "losses": {
                loss: {kind: [r["losses"][loss][kind] for r in own] for kind in ("first", "mean")}
                for loss in own[0]["losses"]
            },
        }
    kept = {
        r["settings"]["detector"]: {
            "weights": f"detectors_{r['settings']['detector']}.safetensors", "settings": r["settings"],
            "summary": r["summary"], "losses": {loss: each["mean"] for loss, each in r["losses"].items()},
        }
        for r in results if r["longer"] and r["seed"] == 0 and r["variant"] in KEPT
    }
    longer = {}
    for variant, most in LONGER.items():
        own = sorted((r for r in results if r["variant"] == variant and r["longer"]), key=lambda r: r["seed"])
        if len(own) > 1:
            figures = {figure: over_seeds([r["summary"][figure] for r in own]) for figure in own[0]["summary"]}
            longer[variant] = {"steps": most, "summary": figures}
    return {
        "hardware": bench.hardware(),
        "settings": {
            "steps": steps, "batch": BATCH, "seeds": seeds, "scenes": SCENES, "tested": TESTED, "threads": 1,
            "difficulty": data.scene.__kwdefaults__, "small_below": 32 / ZOOM, "large_from": 96 / ZOOM, "every": EVERY,
            **{name: train.Settings._field_defaults[name] for name in USUAL},
        },
        "variants": variants, "longer": longer, "kept": kept,
    }


def said(one):
    figures = ", ".join(f"{name} {one['summary'][name]:.3f}" for name in ("AP", "AP50", "APs", "APm", "APl"))
    name = f"{one['variant']}, seed {one['seed']}{', longer' * one['longer']}"
    return f"{name}: {figures}; {one['seconds_per_step']:.3f} s a step"


def main():
    parser = argparse.ArgumentParser(description="Train the small detectors in all variants.")
    parser.add_argument(
        "--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT", help=", ".join(VARIANTS)
    )
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    trial = (options.only, options.seeds, options.steps) != (list(VARIANTS), SEEDS, STEPS)
    jobs = [("ssd", 0, options.steps, True)]  # the longest first
    jobs += [(variant, seed, options.steps, True) for seed in range(LONGER_SEEDS) for variant in ("full", "no-top-down")]
    jobs = [] if trial else jobs
    jobs += [(variant, seed, options.steps) for seed in range(options.seeds) for variant in options.only]
    results = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(job, *one) for one in jobs]
        for done in tqdm(as_completed(waiting), total=len(jobs), unit="training"):
            results.append(done.result())
            tqdm.write(said(results[-1]))
    target = WORK / "trial.json" if trial else TARGET
    bench.save(gathered(results, options.steps, options.seeds), target)
    for one in results:
        if one["longer"] and one["seed"] == 0 and one["variant"] in KEPT:
            with data.replacing(TARGET.parent / f"detectors_{one['settings']['detector']}.safetensors") as file:
                file.write(Path(one["weights"]).read_bytes())
    print(target)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
