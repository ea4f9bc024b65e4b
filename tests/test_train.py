"""Training: it learns, is killed and goes on to the same bits, is shared by processes, and says what is wrong."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from cvnotes import data, train

EASY = dict(size=64, objects=(1, 3), sizes=(16, 40), noise=4, texture=16, crowds=0.2)  # as options: `EASY_OPTIONS`
EASY_OPTIONS = "--objects 1 3 --sizes 16 40 --noise 4 --texture 16 --crowds 0.2".split()
PLAIN = "--image-size 64 --batch 4 --warmup 3 --threads 1 --evaluate 4 --quiet".split()
SHORT = [*EASY_OPTIONS, *PLAIN]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
DETECTORS = ("ssd", "retinanet")
BOTH = pytest.mark.parametrize("name", DETECTORS)


pytestmark = pytest.mark.usefixtures("one_thread")


def settings(name="ssd", **changes):
    options = {"image_size": 64, **changes.pop("options", {})}
    return train.Settings(name, options, **{"batch": 4, "steps": 6, "warmup": 2, **changes})


def trainer(name="ssd", seed=3, **changes):
    return train.Trainer(data.Scenes(seed, **EASY), settings(name, **changes))


def bits(detector):
    return {key: value.numpy().tobytes() for key, value in detector.state_dict().items()}


# --- batches -------------------------------------------------------------------------------


class Plain:
    """A set of images of which the i-th is grey of the level i, with one box."""

    classes = ("a", "b")

    def __init__(self, count, size=64):
        self.count, self.size = count, size

    def __getitem__(self, i):
        image = np.full((self.size, self.size, 3), i, np.uint8)
        box, label = np.array([[1.0, 2.0, 30.0, 40.0]]), np.array([i % 2])
        return data.Example(image, box, label, np.array([False]), np.array([1102.0]))


def drawn(batches, step):
    images, _ = batches[step]
    return [round(float(image[0, 0, 0]) * 64 + 127.5) for image in images]


def test_each_image_comes_once_in_each_round_in_another_order():
    batches = train.Batches(Plain(10), 64, settings(batch=4))
    rounds = np.array([drawn(batches, step) for step in range(5)]).reshape(2, 10).tolist()
    assert sorted(rounds[0]) == sorted(rounds[1]) == list(range(10)) and rounds[0] != rounds[1] != list(range(10))
    other = train.Batches(Plain(10), 64, settings(batch=4, seed=1))
    assert [drawn(other, step) for step in range(5)] != [drawn(batches, step) for step in range(5)]


def test_batch_depends_on_its_step_alone():
    batches = train.Batches(Plain(10), 64, settings(batch=4))
    threads = train.Batches(Plain(10), 64, settings(batch=4), workers=2)
    assert drawn(batches, 7) == drawn(threads, 7) == drawn(batches, 7)


def test_processes_share_a_batch():
    whole = train.Batches(Plain(10), 64, settings(batch=4))
    parts = [train.Batches(Plain(10), 64, settings(batch=4), rank=rank, world=2) for rank in range(2)]
    for step in range(3):
        assert drawn(parts[0], step) + drawn(parts[1], step) == drawn(whole, step)
    with pytest.raises(train.Refused, match=r"`batch` \(=4\) must be a multiple of the 3 processes"):
        train.Batches(Plain(10), 64, settings(batch=4), rank=0, world=3)


def test_half_of_the_images_are_mirrored_with_their_boxes():
    scenes = data.Scenes(0, **EASY)
    seen = [train.Batches(scenes, 64, settings(batch=40, flip=flip))[0] for flip in (True, False)]
    mirrored = [not torch.equal(a, b) for a, b in zip(seen[0][0], seen[1][0])]
    assert 8 < sum(mirrored) < 32
    for flipped, image, plain, own, target in zip(mirrored, seen[0][0], seen[1][0], seen[0][1], seen[1][1]):
        assert torch.equal(image, plain.flip(2) if flipped else plain)
        x1, y1, x2, y2 = target["boxes"].unbind(1)
        assert torch.equal(own["boxes"], torch.stack([64 - x2, y1, 64 - x1, y2], 1) if flipped else target["boxes"])


def test_image_of_another_size_is_scaled_with_its_boxes():
    example = Plain(9, 128)[5]
    image, target = train.prepared(example._replace(image=example.image[:, :96]), 64)
    assert image.shape == (3, 64, 64) and (image == 5).all()
    assert torch.allclose(target["boxes"], torch.tensor([[1 * 64 / 96, 1, 30 * 64 / 96, 20]]))


def test_crowds_are_no_objects():
    example = data.scene(0, 0, crowds=1, objects=(2, 2))
    _, target = train.prepared(example, 128)
    assert len(target["crowds"]) == 1 and len(target["boxes"]) == len(target["labels"]) == len(example.labels) - 1


# --- learning ------------------------------------------------------------------------------


@BOTH
def test_loss_falls(name):
    one = trainer(name, steps=30, batch=8, warmup=5)
    train.fit(one)
    totals = [sum(losses.values()) for losses in one.history]
    assert len(totals) == 30 and np.mean(totals[-5:]) < 0.8 * np.mean(totals[:5])


@BOTH
def test_training_is_the_same_each_time(name):
    assert bits(train.fit(trainer(name, steps=3))) == bits(train.fit(trainer(name, steps=3)))


def test_rate_rises_then_falls():
    one = trainer(steps=20, warmup=5)
    rates = [one._rate(step) for step in range(21)]
    assert rates[:5] == [0.2, 0.4, 0.6, 0.8, 1.0] and rates[5] == 1 and rates[20] == 0
    assert all(a > b for a, b in zip(rates[5:], rates[6:]))


def test_half_precision_learns_in_float32_weights():
    one = trainer(precision="bfloat16", steps=3)
    train.fit(one)
    assert all(weight.dtype == torch.float32 for weight in one.weights)
    exact = trainer(steps=3)
    train.fit(exact)
    assert one.history != exact.history
    assert one.history[0]["confidence"] == pytest.approx(exact.history[0]["confidence"], rel=0.02)


def test_loss_that_is_no_number_stops_the_training():
    one = trainer(steps=3)
    one.advance()
    torch.nn.init.constant_(one.detector.scores[0].bias, float("nan"))
    with pytest.raises(train.Refused, match="the loss of step 1 is no number; a lower learning rate may help"):
        one.advance()


def test_long_gradients_are_clipped():
    one = trainer(clip=1e-3)
    one.advance()
    length = torch.stack([weight.grad.norm() for weight in one.weights if weight.grad is not None]).norm()
    assert length.item() == pytest.approx(1e-3, rel=1e-3)


# --- going on ------------------------------------------------------------------------------


@BOTH
def test_training_goes_on_to_the_same_bits(name, tmp_path):
    whole = trainer(name)
    train.fit(whole)
    first = trainer(name)
    for _ in range(2):
        first.advance()
    train.save_checkpoint(first, tmp_path)
    second = trainer(name)
    torch.manual_seed(99)  # what a new process draws before it goes on doesn't matter
    assert train.resume(second, tmp_path) and second.step == 2
    train.fit(second)
    assert bits(second.detector) == bits(whole.detector) and second.history == whole.history
    assert str(second.optimiser.state_dict()) == str(whole.optimiser.state_dict())


def test_checkpoint_is_written_each_few_steps_and_at_the_end(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(train, "save_checkpoint", lambda one, folder: written.append(one.step))
    train.fit(trainer(steps=5), tmp_path, every=2)
    assert written == [2, 4, 5]


def test_checkpoint_of_another_training_is_refused(tmp_path):
    train.save_checkpoint(trainer(), tmp_path)
    for other, said in (
        (trainer(learning_rate=1e-3), "learning_rate 0.004 there, 0.001 now"),
        (trainer(options={"maps": "fine"}), "maps"), (trainer("retinanet"), "detector 'ssd' there, 'retinanet' now"),
        (trainer(seed=4), "data scenes of seed 3"),
    ):
        with pytest.raises(train.Refused) as refused:
            train.resume(other, tmp_path)
        assert said in str(refused.value) and "use the same settings, or another --out" in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04"])
def test_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(train.Refused, match="is no checkpoint that can be read"):
        train.resume(trainer(), tmp_path)


@pytest.mark.parametrize("change", [
    lambda state: state.pop("data"), lambda state: state.update(settings=[1, 2]), lambda state: state.pop("model"),
    lambda state: state["model"].popitem(), lambda state: state.update(optimiser={}),
])
def test_checkpoint_of_another_version_is_refused(tmp_path, change):
    state = trainer().state()
    change(state)
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(train.Refused, match="use another --out"):
        train.resume(trainer(), tmp_path)


def command(*arguments, processes=None):
    """Return the command line of a training."""
    start = [sys.executable, "-m"]
    if processes:
        start += ["torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", str(free_port()), "-m"]
    return [*start, "cvnotes.train", *map(str, arguments)]


def free_port():
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def run(*arguments, **options):
    done = subprocess.run(command(*arguments, **options), capture_output=True, text=True, env=ONE_THREAD)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_killed_training_goes_on_to_the_same_bits(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    arguments = ["ssd", "--steps", "30", "--checkpoint-every", "1", *SHORT, "--out"]
    run(*arguments, whole)
    # Killed twice, wherever it is: with a checkpoint after each step, often while one is written.
    for kill in range(2):
        checkpoint = broken / "checkpoint.pt"
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
        child = subprocess.Popen(command(*arguments, broken), env=ONE_THREAD)
        while child.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.1))
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL, "it ended before it was killed"
        assert 0 < torch.load(checkpoint, weights_only=True)["step"] < 30
    assert not (broken / "weights.safetensors").exists()
    run(*arguments, broken)
    for name in ("weights.safetensors", "result.json"):
        assert (whole / name).read_bytes() == (broken / name).read_bytes()
    left = sorted(path.name for path in broken.iterdir())
    assert left == [".lock", "checkpoint.pt", "result.json", "weights.safetensors"]


# --- several processes -----------------------------------------------------------------------

GRADIENTS = """
import sys, torch
from torch import distributed
sys.path.insert(0, {tests!r})
from test_train import gradients
torch.set_num_threads(1)
distributed.init_process_group("gloo")
found = gradients()
if distributed.get_rank() == 0:
    torch.save(found, {out!r})
distributed.destroy_process_group()
"""


class HalfEmpty:
    """Scenes of which two in four are without objects: all that falls to the second of two processes."""

    classes, count = data.CLASSES, None

    def __getitem__(self, i):
        return data.scene(5, i, **{**EASY, "objects": (0, 0), "crowds": 0} if i % 4 > 1 else EASY)


def gradients():
    """Return losses and gradients of two batches for each detector, of scenes and of such as are half empty."""
    found = {}
    for name, options in (
        ("ssd", {}), ("ssd", {"maps": "fine"}),
        ("retinanet", {}), ("retinanet", {"pyramid": "finest", "loss": "hard-negatives"}),
    ):
        for kind, scenes in (("scenes", data.Scenes(3, **EASY)), ("half empty", HalfEmpty())):
            one = train.Trainer(scenes, settings(name, options=options, clip=0))
            for step in range(2):
                one.step, key = step, f"{name} {options} {kind} {step}"
                found[key] = {"losses": one.gradients()}
                for name_of, weight in one.detector.named_parameters():
                    if weight.requires_grad:
                        found[key][name_of] = weight.grad.clone()
    return found


def test_two_processes_have_the_gradients_of_one(tmp_path):
    script, out = tmp_path / "script.py", tmp_path / "gradients.pt"
    script.write_text(GRADIENTS.format(tests=str(Path(__file__).parent), out=str(out)))
    start = command(processes=2)[:-2]
    done = subprocess.run([*start, str(script)], capture_output=True, text=True, env=ONE_THREAD)
    assert done.returncode == 0, done.stderr
    theirs, ours = torch.load(out), gradients()
    assert theirs.keys() == ours.keys()
    for key in ours:
        assert theirs[key].pop("losses") == pytest.approx(ours[key].pop("losses"), rel=1e-4), key
        assert theirs[key].keys() == ours[key].keys()
        for weight, own in ours[key].items():
            scale = own.abs().max().item()
            assert torch.allclose(theirs[key][weight], own, rtol=1e-3, atol=1e-4 * scale + 1e-7), (key, weight)


def test_two_processes_train_to_the_result_of_one(tmp_path):
    arguments = ["retinanet", "--steps", 3, "--checkpoint-every", 2, *SHORT, "--out"]
    run(*arguments, tmp_path / "two", processes=2)
    assert train.main([*map(str, arguments), str(tmp_path / "one")]) == 0
    one, two = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two"))
    assert one["settings"] == two["settings"]
    for name in one["losses"]:
        assert two["losses"][name] == pytest.approx(one["losses"][name], rel=1e-3)
    # One process goes on where two stopped.
    assert train.main([*map(str, arguments), str(tmp_path / "two")]) == 0


# --- weights and results -------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("half", [False, True])
def test_weights_come_back_as_the_detector(name, half, tmp_path):
    one = trainer(name).detector
    about = dict(name=name, options={"image_size": 64}, classes=data.CLASSES, half=half)
    train.save_weights(one, tmp_path / "w.safetensors", **about)
    read = train.load_weights(tmp_path / "w.safetensors")
    assert read.classes == data.CLASSES and not read.training
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(one(x), read(x)):
            assert torch.equal(a, b) if not half else torch.allclose(a, b, atol=0.03)
    again = tmp_path / "again.safetensors"
    train.save_weights(one, again, **about)
    assert again.read_bytes() == (tmp_path / "w.safetensors").read_bytes()


def test_file_that_holds_no_weights_is_refused(tmp_path):
    from safetensors.torch import save_file

    (tmp_path / "a").write_bytes(b"none")
    with pytest.raises(ValueError, match="is no file of weights"):
        train.load_weights(tmp_path / "a")
    save_file({"a": torch.zeros(1)}, tmp_path / "b")
    with pytest.raises(ValueError, match="does not say of which detector"):
        train.load_weights(tmp_path / "b")
    for about in ("{", "[]", '{"detector": "ssd"}', '{"detector": "ssd", "num_classes": 2, "options": {}, "classes": []}'):
        save_file({"a": torch.zeros(1)}, tmp_path / "c", {"cvnotes": about})
        with pytest.raises(ValueError, match="c holds the weights of no detector"):
            train.load_weights(tmp_path / "c")


class Knowing(torch.nn.Module):
    """A detector that finds exactly what is there, in the order of the images; `share` shrinks the boxes."""

    image_size = 64

    def __init__(self, examples, share=1.0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.rest, self.share = iter(examples), share

    def forward(self, x):
        return x

    def detect(self, outputs):
        found = []
        for example in [next(self.rest) for _ in outputs]:
            size = torch.tensor(example.image.shape[:2]).flip(0).repeat(2)
            boxes = torch.from_numpy(example.boxes[~example.iscrowd]).float() * 64 / size
            boxes[:, 2:] = boxes[:, :2] + (boxes[:, 2:] - boxes[:, :2]) * self.share
            labels = torch.from_numpy(example.labels[~example.iscrowd])
            found.append({"boxes": boxes, "labels": labels, "scores": torch.ones(len(boxes))})
        return found


def test_detector_that_knows_has_an_average_precision_of_one():
    scenes = data.Scenes(1, size=96, sizes=(8, 90), crowds=0.3)
    examples = [scenes[i] for i in range(40)]
    found = train.evaluate(Knowing(examples), scenes, 40, batch=7)
    assert found["AP"] == pytest.approx(1) and found["APs"] == pytest.approx(1)
    less = train.evaluate(Knowing(examples, 0.8), scenes, 40)  # an overlap of 0.64
    assert less["AP50"] == pytest.approx(1) and less["AP75"] == 0


def test_zoom_moves_the_sizes_that_count_as_small():
    scenes = data.Scenes(1, size=64, sizes=(20, 28), objects=(1, 1), crowds=0, overlap=0)
    examples = [scenes[i] for i in range(8)]
    assert train.evaluate(Knowing(examples), scenes, 8)["APm"] == -1  # there is none
    assert train.evaluate(Knowing(examples), scenes, 8, zoom=3.0)["APm"] == pytest.approx(1)


# --- the command -----------------------------------------------------------------------------


def test_command_trains_on_a_folder_of_any_sizes(tmp_path, capsys):
    from PIL import Image

    folder = tmp_path / "folder"
    data.write_folder(folder, data.Scenes(0, count=12, size=96, sizes=(20, 60)))
    content = json.loads((folder / "annotations.json").read_text())
    content["annotations"][0]["bbox"][2] = 0
    Image.new("RGB", (70, 50)).save(folder / "images" / "more.png")
    content["images"].append({"id": 99, "file_name": "more.png", "width": 70, "height": 50})  # without objects
    (folder / "annotations.json").write_text(json.dumps(content))
    arguments = ["retinanet", "--data", str(folder), "--out", str(tmp_path / "out"), *PLAIN]
    arguments += ["--steps", "2", "--workers", "1"]
    assert train.main(arguments) == 1
    said = capsys.readouterr().err
    assert f"{folder / 'annotations.json'}: annotations[0]: `bbox`" in said and "has no area" in said
    assert not (tmp_path / "out").exists()  # nothing was started
    assert train.main([*arguments, "--skip-bad"]) == 0
    printed = capsys.readouterr()
    assert "left out: " in printed.err and "on 1 images: " in printed.out  # of 13 images, the tenth is kept
    detector = train.load_weights(tmp_path / "out" / "weights.safetensors")
    assert detector.classes == data.CLASSES and detector.image_size == 64


def test_command_refuses_a_folder_without_images(tmp_path, capsys):
    folder = tmp_path / "folder"
    data.write_folder(folder, data.Scenes(0, count=1, size=64, sizes=(20, 40)))
    content = json.loads((folder / "annotations.json").read_text())
    (folder / "none.json").write_text(json.dumps({**content, "images": [], "annotations": []}))
    arguments = ["ssd", "--data", str(folder), "--out", str(tmp_path / "out"), *"--steps 2 --image-size 64".split()]
    assert train.main([*arguments, "--annotations", "none.json", "--validation", "annotations.json"]) == 1
    assert "none.json has no images" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, said", [
    (["--steps", "0"], "`--steps` (=0) must be at least 1"),
    (["--batch", "-3"], "`--batch` (=-3) must be at least 1"),
    (["--learning-rate", "nan"], "`--learning-rate` (=nan) must be a number above 0, at most 1,000,000"),
    (["--learning-rate", "0"], "`--learning-rate` (=0.0) must be a number above 0, at most 1,000,000"),
    (["--seed", "-1"], "`--seed` (=-1) must be at least 0"),
    (["--image-size", "100"], "`image_size` (=100) must be a multiple of 64"),
    (["--precision", "float16", "--device", "cpu"], "`--precision` (=float16) needs a GPU"),
    (["--data", "nowhere"], "`folder` (='nowhere') must be a folder"),
    (["--learning-rate", "1e300"], "`--learning-rate` (=1e+300) must be a number above 0, at most 1,000,000"),
    (["--data", ".", "--overlap", "nan"], "--overlap is of scenes"),
    (["--annotations", "a.json"], "--annotations is of a folder; name it with --data"),
    (["--objects", "5", "2"], "`objects` (=(5, 2)) must give the least first"),
    (["--threads", "0"], "`--threads` (=0) must be at least 1"),
])
def test_command_refuses_with_a_reason(tmp_path, capsys, arguments, said):
    assert train.main(["ssd", "--out", str(tmp_path / "out"), *arguments]) == 1
    printed = capsys.readouterr()
    assert said in printed.err and printed.out == ""
    assert not (tmp_path / "out" / "checkpoint.pt").exists()


@pytest.mark.parametrize("arguments, said", [
    ([], "DETECTOR"), (["yolo"], "invalid choice: 'yolo'"), (["ssd"], "--out"),
    (["ssd", "--out", "a", "--pyramid", "full"], "unrecognized arguments: --pyramid full"),
    (["retinanet", "--out", "a", "--loss", "dice"], "invalid choice: 'dice'"),
])
def test_command_says_what_is_unknown(capsys, arguments, said):
    with pytest.raises(SystemExit) as stopped:
        train.main(arguments)
    assert stopped.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["ssd", "--help"], ["retinanet", "--help"]])
def test_help_says_what_is_written_and_how_to_go_on(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        train.main(arguments)
    said = capsys.readouterr().out
    assert stopped.value.code == 0 and "weights.safetensors" in said and "checkpoint.pt" in said
    if len(arguments) == 1:
        assert "torchrun" in said and "goes on from the last checkpoint" in said


def test_second_training_in_a_folder_is_refused(tmp_path, capsys):
    with train.alone_in(tmp_path):
        assert train.main(["ssd", "--out", str(tmp_path), "--steps", "1", *SHORT]) == 1
    assert "another training works in" in capsys.readouterr().err


def test_interrupted_training_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "fit", interrupted)
    assert train.main(["ssd", "--out", str(tmp_path), "--steps", "1", *SHORT]) == 130
    said = capsys.readouterr().err
    assert "the same command goes on" in said and "Traceback" not in said
