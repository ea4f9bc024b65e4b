"""Train a detector, on generated scenes or on your own images in COCO's format.

    python -m cvnotes.train ssd --out runs/ssd
    python -m cvnotes.train retinanet --data my/folder --steps 5000 --out runs/mine
    torchrun --nproc-per-node 2 -m cvnotes.train ssd --out runs/ssd
    python -m cvnotes.train ssd --network large --start vgg16.pth --data my/folder --out runs/ssd300

The images of a step, their flips and the rate of learning follow from the seed and the number of the step
alone. So a training that was killed, started again by the same command, goes on from its last checkpoint to
the result that it would have had: on a processor with as many threads bit for bit, on a GPU to rounding. And
as many processes as you like share a batch without changing it: gradients are the same, to rounding.

`load_weights` gives back the detector of a file `weights.safetensors`.
"""

import json
import math
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from cvnotes import bench, data as scenes, shapes
from cvnotes.detection_metrics import fast as metrics
from cvnotes.models import large_detectors, small_detectors

VALIDATION = 2**40  # the first scene to validate on; no training gets as far
VALIDATION_SEED = 0  # they are the same whatever the seed of the training
NETWORKS = {"small": small_detectors.DETECTORS, "large": large_detectors.DETECTORS}
IMAGE_SIZES = {"small": {"ssd": 128, "retinanet": 128}, "large": {"ssd": 300, "retinanet": 512}}
LEARNING_RATES = {"small": 4e-3, "large": 1e-4}
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Settings(NamedTuple):
    """All that decides what comes out of a training, beside the data; see `--help` for what each is."""

    detector: str
    options: dict = {}
    steps: int = 1500
    batch: int = 16
    learning_rate: float = LEARNING_RATES["small"]
    weight_decay: float = 1e-4
    warmup: int = 100
    clip: float = 10.0
    seed: int = 0
    flip: bool = True
    precision: str = "float32"


def unseen(i, **difficulty):
    """Return the scene i of those to validate on, which no training sees."""
    return scenes.scene(VALIDATION_SEED, VALIDATION + i, **difficulty)


def build(name, num_classes, network="small", **options):
    """Return the detector `"ssd"` or `"retinanet"`: the small one, or with `network="large"` that of the paper."""
    if network not in NETWORKS:
        raise ValueError(f"`network` (={network!r}) must be one of {', '.join(NETWORKS)}")
    return small_detectors.build(name, num_classes, detectors=NETWORKS[network], **options)


class Refused(ValueError):
    """A training that can't start or go on, with what to do about it."""


# --- batches -----------------------------------------------------------------------------


class Batches:
    """The batches of a training: `batches[step]` is `(images, targets)`, of the part that falls to this process.

    - images: (B, 3, S, S), about −2 to 2
    - targets: for each image a dict of `boxes` (M, 4) in pixels of S × S, `labels` (M,) and `crowds` (M', 4)

    Scenes come one after another; a set with an end is gone through again and again, each time in another order.
    """

    def __init__(self, data, size, settings, *, rank=0, world=1, workers=0):
        if settings.batch % world:
            raise Refused(f"`batch` (={settings.batch}) must be a multiple of the {world} processes")
        self.data, self.size, self.settings = data, size, settings
        self.share, self.first = settings.batch // world, rank * (settings.batch // world)
        self.pool, self.coming = ThreadPoolExecutor(workers) if workers else None, {}

    def __getitem__(self, step):
        if self.pool is None:
            return _collate([self._example(position) for position in self._positions(step)])
        for soon in (step, step + 1):  # while one is learned from, the next is read
            if soon not in self.coming:
                self.coming[soon] = [self.pool.submit(self._example, position) for position in self._positions(soon)]
        return _collate([example.result() for example in self.coming.pop(step)])

    def _positions(self, step):
        start = step * self.settings.batch + self.first
        return range(start, start + self.share)

    def _example(self, position):
        count, seed = self.data.count, self.settings.seed
        i = position if count is None else int(_order(count, seed, position // count)[position % count])
        flipped = self.settings.flip and np.random.PCG64(np.random.SeedSequence((seed, position))).random_raw() & 1
        return prepared(self.data[i], self.size, flipped)


@lru_cache(2)
def _order(count, seed, epoch):
    return np.random.default_rng((seed, epoch)).permutation(count)


def prepared(example, size, flipped=False):
    """Return pixels (3, size, size) from 0 to 255 and a target: an example scaled to a square, mirrored or not."""
    H, W = example.image.shape[:2]
    image, boxes = example.image, example.boxes * (size / W, size / H, size / W, size / H)
    if (H, W) != (size, size):
        from PIL import Image

        image = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
    if flipped:
        image, boxes = image[:, ::-1], boxes[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (size, 0, size, 0)
    boxes, crowd = torch.from_numpy(boxes).float(), torch.from_numpy(example.iscrowd)
    target = {"boxes": boxes[~crowd], "labels": torch.from_numpy(example.labels)[~crowd], "crowds": boxes[crowd]}
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), target


def batch_of(examples, size):
    """Return examples as a detector takes them: images (B, 3, size, size), about −2 to 2, and a list of targets."""
    return _collate([prepared(example, size) for example in examples])


def _collate(examples):
    images, targets = zip(*examples)
    return (torch.stack(images).float() - 127.5) / 64, list(targets)


# --- training ----------------------------------------------------------------------------


class Trainer:
    """A detector, what it learns from, and how far it is.

    `advance()` makes a step; `state()` is all that is needed to go on.

    - data: `Scenes`, a `CocoFolder`, or anything with their `classes`, `count` and `[i]`
    - settings: `Settings`
    - device: of the numbers; workers: threads that read images ahead

    In each of several processes of a `torch.distributed` group, it works on its own part of each batch.
    """

    def __init__(self, data, settings, *, device="cpu", workers=0):
        self.settings, self.device = settings, torch.device(device)
        self.rank, self.world = _place()
        torch.manual_seed(settings.seed)
        self.detector = build(settings.detector, len(data.classes), **settings.options).to(self.device)
        self.batches = Batches(
            data, self.detector.image_size, settings, rank=self.rank, world=self.world, workers=workers
        )
        self.model = self.detector
        if self.world > 1:
            self.model = DistributedDataParallel(
                self.detector, device_ids=[self.device] if self.device.type == "cuda" else None
            )
        self.weights = [weight for weight in self.detector.parameters() if weight.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.weights, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, self._rate)
        self.dtype = PRECISIONS[settings.precision]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.step, self.history = 0, []

    def _rate(self, step):
        """Return the share of the learning rate in a step: up to 1 in a straight line, then down along a cosine."""
        warmup, steps = self.settings.warmup, self.settings.steps
        if step < warmup:
            return (step + 1) / warmup
        return (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))) / 2

    def gradients(self):
        """Leave the gradients of this step's batch in the weights; return its losses by name.

        Losses are sums divided by the matched boxes of the whole batch. Several processes have a part of the sum each,
        and what DistributedDataParallel makes of their gradients is the mean; so each multiplies by their number.
        """
        images, targets = self.batches[self.step]
        images = images.to(self.device)
        targets = [{key: value.to(self.device) for key, value in target.items()} for target in targets]
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            outputs = self.model(images)
        outputs = [output.float() for output in outputs]
        losses = self.detector.losses(outputs, targets)
        # Without objects a part may have no loss; its gradients are then zeros, not missing.
        loss = sum(losses.values()) * self.world + sum(output.sum() * 0 for output in outputs)
        values = torch.stack(list(losses.values())).detach().double()
        if self.world > 1:
            distributed.all_reduce(values)
        if not torch.isfinite(values).all():
            raise Refused(f"the loss of step {self.step} is no number; a lower learning rate may help")
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()
        return dict(zip(losses, values.tolist()))

    def advance(self):
        """Make a step; return its losses by name."""
        losses = self.gradients()
        if self.settings.clip:
            self.scaler.unscale_(self.optimiser)
            torch.nn.utils.clip_grad_norm_(self.weights, self.settings.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.schedule.step()
        self.step += 1
        self.history.append(losses)
        return losses

    def state(self):
        return {
            "settings": plain(self.settings), "data": identity(self.batches.data), "step": self.step,
            "history": self.history, "model": self.detector.state_dict(), "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(), "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }

    def load_state(self, state):
        self.detector.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.step, self.history = state["step"], state["history"]
        torch.set_rng_state(state["random"])
        if state["cuda_random"] and self.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["cuda_random"])


def identity(data):
    """Return a text that tells one set of images from another."""
    return f"{getattr(data, 'identity', 'unnamed')}; classes {', '.join(data.classes)}"


def plain(settings):
    return json.loads(json.dumps(settings._asdict()))


def _place():
    """Return the number of this process, and how many there are."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


# --- checkpoints -------------------------------------------------------------------------


def save_checkpoint(trainer, folder):
    """Write all that is needed to go on to `folder/checkpoint.pt`; the old one stays until the new one is whole."""
    with scenes.replacing(Path(folder) / "checkpoint.pt") as file:
        torch.save(trainer.state(), file)


def resume(trainer, folder):
    """Go on from the checkpoint of a folder, if there is one; return whether there was.

    Of several processes, the first reads it and tells the others.
    """
    state = [None]
    if trainer.rank == 0:
        state = [_read_checkpoint(trainer, Path(folder) / "checkpoint.pt")]
    if trainer.world > 1:
        distributed.broadcast_object_list(state, src=0)
    if isinstance(state[0], str):
        raise Refused(state[0])
    if state[0] is None:
        return False
    try:
        trainer.load_state(state[0])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # of another version: other weights or other keys
        said = str(error).partition("\n")[0]
        raise Refused(f"{folder}/checkpoint.pt doesn't fit: {type(error).__name__} {said}; use another --out") from error
    return True


def _read_checkpoint(trainer, path):
    """Return the state in a checkpoint, None where there is no file, or in a text why it doesn't fit."""
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        theirs, data, ours = dict(state["settings"]), state["data"], plain(trainer.settings)
    except Exception as error:  # whatever torch and pickle raise for what is no checkpoint
        return f"{path} is no checkpoint that can be read ({type(error).__name__}); use another --out, or remove it"
    differ = [
        f"{name} {theirs.get(name)!r} there, {ours.get(name)!r} now"
        for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)
    ]
    if data != identity(trainer.batches.data):
        differ.append(f"data {data} there, {identity(trainer.batches.data)} now")
    if differ:
        return f"{path} belongs to another training ({'; '.join(differ)}); use the same settings, or another --out"
    return state


def save_weights(detector, path, *, name, options=None, classes=None, half=False):
    """Write the weights of a detector alone, as safetensors, with what `load_weights` needs to build it.

    - name, options: as `build` takes them; classes: the names of its classes
    - half: in half precision, which takes half the room
    """
    from safetensors.torch import save

    tensors = {key: value.cpu().contiguous() for key, value in detector.state_dict().items()}
    if half:
        tensors = {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}
    about = {
        "detector": name, "num_classes": detector.num_classes, "options": options or {},
        "classes": list(classes) if classes else [str(k) for k in range(detector.num_classes)],
    }
    with scenes.replacing(path) as file:
        file.write(save(tensors, {"cvnotes": json.dumps(about)}))


def load_weights(path):
    """Return the detector of a file of weights, in evaluation mode; its `classes` are the names of its classes."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            about = (file.metadata() or {}).get("cvnotes")
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path} is no file of weights: {error}") from error
    if about is None:
        raise ValueError(f"{path} does not say of which detector its weights are")
    try:
        about = json.loads(about)
        detector = build(about["detector"], about["num_classes"], **about["options"])
        detector.load_state_dict(tensors)
        detector.classes = tuple(about["classes"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        said = str(error).partition("\n")[0]
        raise ValueError(f"{path} holds the weights of no detector: {type(error).__name__} {said}") from error
    return detector.eval()


def start_from(detector, path):
    """Take over the weights of a classifier, from a file of safetensors or of `torch.save`, into a large detector."""
    try:
        if str(path).endswith(".safetensors"):
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        detector.start_from(state)
    except FileNotFoundError:
        raise Refused(f"`--start` (={path}) must be a file") from None
    except Exception as error:  # whatever torch, pickle and safetensors raise for what is none, or not this network's
        said = str(error).strip().partition("\n")[0]
        raise Refused(f"{path} holds no weights to start from: {type(error).__name__} {said}") from error


# --- what it learned ---------------------------------------------------------------------


@torch.no_grad()
def detections_of(detector, examples):
    """Return what a detector finds in each of some examples: a dict of `boxes` in its pixels, `labels` and `scores`."""
    device, size = next(detector.parameters()).device, detector.image_size
    found = detector.detect(detector(batch_of(examples, size)[0].to(device)))
    for example, own in zip(examples, found):
        H, W = example.image.shape[:2]
        own["boxes"] = own["boxes"] * own["boxes"].new_tensor((W, H, W, H)) / size
    return [{key: value.cpu() for key, value in own.items()} for own in found]


def evaluate(detector, data, count, *, batch=32, zoom=1.0):
    """Return COCO's twelve figures of a detector on the first `count` images of `data`.

    - zoom: all coordinates are multiplied by it before. Overlaps stay what they are, but with 2, what COCO
      calls small, below 32 pixels, is what is below 16 here: scenes are smaller than COCO's images
    """
    training = detector.training
    detector.eval()
    truth, found = [], []
    for first in range(0, count, batch):
        examples = [data[i] for i in range(first, min(first + batch, count))]
        found += detections_of(detector, examples)
        truth += [{
            "boxes": torch.from_numpy(example.boxes * zoom), "labels": torch.from_numpy(example.labels),
            "iscrowd": torch.from_numpy(example.iscrowd), "area": torch.from_numpy(example.area * zoom**2),
        } for example in examples]
    detector.train(training)
    found = [{**own, "boxes": own["boxes"].double() * zoom, "scores": own["scores"].double()} for own in found]
    return metrics.coco_summary(truth, found)


def fit(trainer, folder=None, *, every=100, progress=None):
    """Train to the last step, and write a checkpoint after each `every` steps and at the end; return the detector.

    - folder: None keeps nothing
    - progress: called with the number of steps done and the losses of the last, after each
    """
    while trainer.step < trainer.settings.steps:
        losses = trainer.advance()
        last = trainer.step == trainer.settings.steps
        if folder is not None and trainer.rank == 0 and (last or trainer.step % every == 0):
            save_checkpoint(trainer, folder)
        if progress:
            progress(trainer.step, losses)
    return trainer.detector


# --- the command --------------------------------------------------------------------------

DESCRIPTION = """\
Train a detector on generated scenes, or on your own images: a small one, below half a million weights, or with
--network large the SSD300 or RetinaNet of the papers.

  python -m cvnotes.train ssd --out runs/ssd
      on generated scenes, a few minutes on two cores
  python -m cvnotes.train retinanet --data my/folder --image-size 256 --steps 5000 --out runs/mine
      on a folder in COCO's format: annotations.json and images/; it is checked before anything starts
      (python -m cvnotes.data my/folder checks it alone, and says what it holds)
  torchrun --nproc-per-node 2 -m cvnotes.train ssd --out runs/ssd
      in two processes, which share each batch; on several machines, as torchrun --help says
  python -m cvnotes.train ssd --network large --start vgg16.pth --data my/folder --batch 32 --out runs/ssd300
      SSD300, from the weights of a VGG16 that can classify; it wants a GPU

Stop it when you like, also by force: the same command goes on from the last checkpoint."""

RESULTS = """\
In the folder --out:
  checkpoint.pt        all that is needed to go on
  weights.safetensors  at the end, the weights alone: cvnotes.train.load_weights(path) gives the detector
  result.json          at the end, settings, the losses of each step, and COCO's twelve figures
"""


SAID = {
    "ssd": "reads each size of object from a map of its own, and takes the hardest of the background",
    "retinanet": "reads all sizes from a feature pyramid by one head, and weighs by the focal loss",
}


def parser():
    from argparse import ArgumentParser, RawDescriptionHelpFormatter

    same = dict(epilog=RESULTS, formatter_class=RawDescriptionHelpFormatter)
    whole = ArgumentParser(prog="python -m cvnotes.train", description=DESCRIPTION, **same)
    kinds = whole.add_subparsers(dest="detector", required=True, metavar="DETECTOR")
    for name, said in SAID.items():
        one = kinds.add_parser(name, help=said, description=f"Train the detector after {name}: it {said}.", **same)
        one.add_argument("--out", required=True, metavar="DIR", help="the folder of this training; one that is there goes on")
        _add_data(one)
        _add_training(one)
        _add_detector(one, name)
        _add_machine(one)
        scenes.add_difficulty(one, leave_out=("size",))
    return whole


def _adding(parser, title):
    """Return a function that adds an option to a new group of a parser, with its default in the help."""
    group = parser.add_argument_group(title)

    def add(name, said, **options):
        default = options.get("default")
        group.add_argument(name, help=said if default is None else f"{said} ({default})", **options)

    return add


def _add_data(parser):
    from argparse import BooleanOptionalAction

    add = _adding(parser, "data")
    add("--data", "scenes, or a folder in COCO's format", default="scenes", metavar="DIR")
    add("--annotations", "its file of annotations, from DIR (annotations.json)", metavar="FILE")
    add("--images", "where the images' names begin, from DIR (images)", metavar="DIR")
    add("--validation", "annotations to validate on, from DIR (else every tenth image is for that)", metavar="FILE")
    add("--validation-images", "where the names of their images begin, from DIR (as --images)", metavar="DIR")
    add("--skip-bad", "leave out bad annotations and name them, instead of refusing the file", action="store_true")
    add("--flip", "mirror half of the images, left to right", action=BooleanOptionalAction, default=True)


def _add_training(parser):
    add, usual = _adding(parser, "training"), Settings._field_defaults
    for name, kind, said in (
        ("steps", int, "batches to learn from"),
        ("batch", int, "images of a step, over all processes"),
        ("weight_decay", float, "of AdamW"),
        ("warmup", int, "steps in which the rate grows; after them it falls along a cosine"),
        ("clip", float, "the longest gradient; 0 is any"),
        ("seed", int, "of weights, order and flips"),
    ):
        add(f"--{name.replace('_', '-')}", said, type=kind, default=usual[name])
    rates = ", ".join(f"{rate:g} for the {network} network" for network, rate in LEARNING_RATES.items())
    add("--learning-rate", f"of AdamW at its highest ({rates})", type=float)
    add("--start", "weights of a VGG16 (for ssd) or ResNet-50 that can classify, for the large network", metavar="FILE")


def _add_detector(parser, name):
    add, small = _adding(parser, "the detector"), small_detectors.DETECTORS[name]
    add("--network", "small, or large: that of the paper", choices=NETWORKS, default="small")
    usual = {"ssd": "128; the large one is made for 300", "retinanet": "128; 512 for the large one"}[name]
    add("--image-size", f"to so many pixels a side images are scaled; a multiple of 64 ({usual})", type=int)
    if name == "ssd":
        said = "all: boxes of each size are predicted from a map of their own; middle, fine: all from one map"
        add("--maps", f"{said} (all)", choices=small.MAPS)
    else:
        add("--pyramid", "what is left of it (full)", choices=small.PYRAMIDS)
        add("--loss", "of the classes (focal)", choices=small.LOSSES)
        add("--prior", "the probability that each class starts with (0.01)", type=float)


def _add_machine(parser):
    add = _adding(parser, "the machine")
    add("--device", "auto: a GPU where there is one", choices=("auto", "cpu", "cuda"), default="auto")
    said = "auto: on a GPU bfloat16 where it has that, else float16; on a processor float32"
    add("--precision", said, choices=("auto", *PRECISIONS), default="auto")
    add("--threads", "of each process, on a processor (as many as torch takes)", type=int)
    add("--workers", "threads that read images ahead", type=int, default=0)
    add("--checkpoint-every", "how often all is written down", type=int, default=100, metavar="STEPS")
    add("--evaluate", "images to validate on at the end", type=int, default=200, metavar="IMAGES")
    add("--quiet", "no progress bar", action="store_true")


class Subset:
    """Some of the images of a set."""

    def __init__(self, data, indices):
        self.data, self.indices, self.classes, self.count = data, indices, data.classes, len(indices)
        self.identity = f"{self.count} images of {data.identity}"

    def __getitem__(self, i):
        return self.data[self.indices[i]]


def read_data(options):
    """Return what to learn from and what to validate on; raise `ValueError` where anything is wrong with them."""
    if options.data == "scenes":
        for name in ("annotations", "images", "validation", "validation_images", "skip_bad"):
            if getattr(options, name):
                raise Refused(f"--{name.replace('_', '-')} is of a folder; name it with --data")
        difficulty = {**scenes.difficulty_of(options, leave_out=("size",)), "size": options.image_size}
        return scenes.Scenes(options.seed, **difficulty), scenes.Scenes(VALIDATION_SEED, first=VALIDATION, **difficulty)
    for name, default in scenes.scene.__kwdefaults__.items():
        if name != "size" and getattr(options, name) != default:
            raise Refused(f"--{name} is of scenes; the images in {options.data} are as they are")
    same = dict(skip_bad=options.skip_bad)
    learn = scenes.CocoFolder(options.data, annotations=options.annotations, images=options.images, **same)
    if options.validation:
        images = options.validation_images or options.images
        check = scenes.CocoFolder(options.data, annotations=options.validation, images=images, **same)
        if check.classes != learn.classes:
            raise Refused(f"{check.path} has other classes than {learn.path}")
        for folder in (learn, check):
            if not len(folder):
                raise Refused(f"{folder.path} has no images")
        return learn, check
    if len(learn) < 2:
        raise Refused(f"{learn.path} has {len(learn)} images; at least 2 are needed, one of them to validate on")
    kept = set(range(9, len(learn), 10)) or {len(learn) - 1}
    return Subset(learn, [i for i in range(len(learn)) if i not in kept]), Subset(learn, sorted(kept))


LEAST = {
    "image_size": 64, "steps": 1, "batch": 1, "warmup": 0, "seed": 0, "checkpoint_every": 1, "evaluate": 1,
    "workers": 0, "threads": 1,
}


def settings_of(options, device):
    """Return the `Settings` of a command, checked."""
    for name, least in LEAST.items():
        if getattr(options, name) is not None:
            shapes.integer(f"--{name.replace('_', '-')}", getattr(options, name), least)
    for name in ("learning_rate", "weight_decay", "clip"):
        value, positive = getattr(options, name), name == "learning_rate"
        if not 0 <= value <= 1e6 or (positive and value == 0):
            needed = "a number above 0, at most 1,000,000" if positive else "a number from 0 to 1,000,000"
            raise Refused(f"`--{name.replace('_', '-')}` (={value}) must be {needed}")
    precision = options.precision
    if precision == "auto":
        precision = "float32" if device == "cpu" else "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    if precision == "float16" and device == "cpu":
        raise Refused("`--precision` (=float16) needs a GPU; a processor has bfloat16")
    given = {name: getattr(options, name) for name in small_detectors.DETECTORS[options.detector].OPTIONS}
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in NETWORKS[options.network][options.detector].OPTIONS:
            raise Refused(f"--{name} is of the small network")
    if options.start and options.network == "small":
        raise Refused("--start is of the large network; the small one has a backbone of its own")
    given = {"network": options.network, "image_size": options.image_size, **given}
    same = ("steps", "batch", "learning_rate", "weight_decay", "warmup", "clip", "seed", "flip")
    return Settings(
        options.detector, given,
        precision=precision, **{name: getattr(options, name) for name in same},
    )


@contextmanager
def processes(device):
    """Join the group of processes that torchrun started, if it did; yield this one's device."""
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    if device == "cuda" and several:
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
        torch.cuda.set_device(device)
    if several:
        distributed.init_process_group("nccl" if device != "cpu" else "gloo")
    try:
        yield device
    finally:
        if several:
            distributed.destroy_process_group()


@contextmanager
def alone_in(folder):
    """Hold a folder, so that no second training works in it; the system lets go when this process ends, however."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # where the system has no such locks
        yield
        return
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(f"another training works in {folder}; wait for it, or use another --out") from None
        yield


def main(arguments=None):
    """Train as the command says; return 1 where it can't."""
    options = parser().parse_args(arguments)
    first = os.environ.get("RANK", "0") == "0"
    try:
        device = options.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        elif device == "cuda" and not torch.cuda.is_available():
            raise Refused("`--device` (=cuda) needs a GPU that torch can use, and there is none")
        if options.learning_rate is None:
            options.learning_rate = LEARNING_RATES[options.network]
        if options.image_size is None:
            options.image_size = IMAGE_SIZES[options.network][options.detector]
        settings = settings_of(options, device)
        learn, check = read_data(options)
        if options.threads:
            torch.set_num_threads(options.threads)
        with processes(device) as device:
            if not first:
                _work(Trainer(learn, settings, device=device, workers=options.workers), options)
                return 0
            with alone_in(Path(options.out)):
                trainer = Trainer(learn, settings, device=device, workers=options.workers)
                _say_skipped(learn, check)
                _work(trainer, options)
                _finish(trainer, check, options)
    except (ValueError, OSError) as problem:
        if first:
            print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if first:
            print(f"\nstopped; the same command goes on from the last checkpoint in {options.out}", file=sys.stderr)
        return 130
    return 0


def _work(trainer, options):
    """Train to the end, with a progress bar in the first process."""
    resumed = resume(trainer, options.out)
    if options.start and not resumed:
        start_from(trainer.detector, options.start)
    if trainer.rank or options.quiet:
        fit(trainer, options.out, every=options.checkpoint_every)
        return
    from tqdm import tqdm

    if resumed:
        print(f"goes on from step {trainer.step} of {trainer.settings.steps}")
    with tqdm(total=trainer.settings.steps, initial=trainer.step, unit="step") as bar:
        def show(step, losses):
            bar.update()
            if step % 10 == 0:
                bar.set_postfix({name: f"{value:.3f}" for name, value in losses.items()})

        fit(trainer, options.out, every=options.checkpoint_every, progress=show)


def _say_skipped(*sets):
    folders = {id(folder): folder for folder in (getattr(one, "data", one) for one in sets)}
    for folder in folders.values():
        skipped = getattr(folder, "skipped", ())
        for problem in skipped[:scenes.SHOWN]:
            print(f"left out: {folder.path}: {problem}", file=sys.stderr)
        if len(skipped) > scenes.SHOWN:
            print(f"left out: {len(skipped)} annotations of {folder.path} in all", file=sys.stderr)


def _finish(trainer, check, options):
    """Validate, and write weights and results."""
    count = options.evaluate if check.count is None else min(options.evaluate, check.count)
    out, settings = Path(options.out), trainer.settings
    save_weights(
        trainer.detector, out / "weights.safetensors",
        name=settings.detector, options=settings.options, classes=trainer.batches.data.classes,
    )
    summary = evaluate(trainer.detector, check, count)
    names = list(trainer.history[0])
    result = {
        "settings": plain(settings), "images": count, "summary": summary,
        "losses": {name: [losses[name] for losses in trainer.history] for name in names}, "hardware": bench.hardware(),
    }
    with scenes.replacing(out / "result.json") as file:
        file.write((json.dumps(result, indent=1) + "\n").encode())
    shown = [name for name in ("AP", "AP50", "APs", "APm", "APl") if summary[name] >= 0]  # −1: there is no such object
    figures = ", ".join(f"{name} {summary[name]:.3f}" for name in shown)
    print(f"on {count} images: {figures}\n{out / 'weights.safetensors'}\n{out / 'result.json'}")


if __name__ == "__main__":
    sys.exit(main())
