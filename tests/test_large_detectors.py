"""SSD300 and RetinaNet as the command trains them: the networks of the papers with the losses of the small ones."""

import pytest
import torch

from cvnotes import data, models, train
from cvnotes.models import large_detectors

SIZES = {"ssd": 300, "retinanet": 64}
EASY = dict(objects=(2, 4), noise=4, crowds=0)


@pytest.fixture(scope="module", params=SIZES)
def trained(request):
    """A large detector after a step on one image, and what the step said."""
    name = request.param
    settings = train.Settings(
        name, {"network": "large", "image_size": SIZES[name]}, steps=1, batch=1, warmup=1, learning_rate=1e-4, flip=False
    )
    trainer = train.Trainer(data.Scenes(0, size=SIZES[name], sizes=(20, 60), **EASY), settings)
    before = {key: value.clone() for key, value in trainer.detector.named_parameters()}
    return trainer.detector, trainer.advance(), before


def test_step_reaches_the_first_layer(trained):
    detector, losses, before = trained
    assert all(0 < value < 1e4 for value in losses.values())
    first = next(key for key, value in detector.named_parameters() if value.ndim == 4)
    moved = {key for key, value in detector.named_parameters() if not torch.equal(value, before[key])}
    assert first in moved and all(torch.isfinite(value).all() for value in detector.parameters())


def test_outputs_are_those_of_the_network(trained):
    detector, *_ = trained
    size = detector.image_size
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = detector((255 * image - 127.5) / 64), detector.network.train()(image)
    for a, b in zip(ours, theirs):
        assert (a - b).abs().max() <= 1e-4 * b.abs().max()  # float32, through some twenty layers
    assert len(detector.boxes) == ours[0].shape[1] == {300: 8732, 64: 774}[size]
    found = detector.detect(ours)[0]
    assert set(found) == {"boxes", "scores", "labels"} and found["boxes"].shape == (len(found["scores"]), 4)


def test_weights_come_back(tmp_path):  # of the one whose file is not 140 MB; the code is the same for both
    options = {"network": "large", "image_size": 64}
    detector = train.build("retinanet", 6, **options)
    train.save_weights(detector, tmp_path / "w.safetensors", name="retinanet", options=options)
    again = train.load_weights(tmp_path / "w.safetensors")
    assert isinstance(again, large_detectors.LargeRetinaNet)
    ours, theirs = detector.state_dict(), again.state_dict()
    assert list(ours) == list(theirs) and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_retinanet_starts_from_a_classifier(tmp_path):
    classifier, path = models.build("resnet50", 3).eval(), tmp_path / "resnet50.pth"
    torch.save(classifier.state_dict(), path)
    detector = train.build("retinanet", 2, network="large", image_size=64)
    train.start_from(detector, path)
    weight = classifier.layer3[1].conv2.weight
    assert torch.equal(detector.network.backbone.body.layer3[1].conv2.weight, weight)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        c5 = detector.network.backbone.body(x)[-1]
        torch.testing.assert_close(classifier.fc(c5.mean((2, 3))), classifier(x), rtol=1e-3, atol=1e-4)


def test_file_that_is_no_classifier_is_refused(tmp_path):
    (tmp_path / "text.pth").write_text("weights")
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pth")
    with torch.device("meta"):
        detector = train.build("retinanet", 2, network="large", image_size=64)
    for name in ("text.pth", "other.pth"):
        with pytest.raises(train.Refused, match="holds no weights to start from"):
            train.start_from(detector, tmp_path / name)
    with pytest.raises(train.Refused, match="must be a file"):
        train.start_from(detector, tmp_path / "none.pth")


@pytest.mark.parametrize("arguments, said", [
    ("ssd --network large --image-size 128", "`image_size` (=128) must be 300, for which SSD300 is made"),
    ("ssd --network large --maps fine", "--maps is of the small network"),
    ("retinanet --network large --pyramid finest", "--pyramid is of the small network"),
    ("retinanet --network large --image-size 72", "`image_size` (=72) must be a multiple of 32"),
    ("ssd --image-size 0", "`--image-size` (=0) must be at least 64"),
    ("ssd --start vgg16.pth", "--start is of the large network"),
])
def test_command_refuses_what_does_not_fit_the_network(tmp_path, capsys, arguments, said):
    assert train.main([*arguments.split(), "--out", str(tmp_path), "--sizes", "8", "32"]) == 1
    assert said in capsys.readouterr().err
