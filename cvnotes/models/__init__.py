"""The networks of the book, one file each, in plain `torch.nn`: `build("mobilenet_v2")`.

Where published weights exist for a network, ours has their names, shapes and order, so that
`network.load_state_dict(weights)` takes them and the network then gives the published results.
All of `NETWORKS` take a batch of images (N, 3, H, W) and return logits (N, num_classes). What those of
`DETECTORS` take and return is said in their files.

This module imports neither torch nor a network before one is asked for.
"""

import importlib
import inspect

from cvnotes import shapes

# Where each network is made: a class or function `module.name` in this package.
NETWORKS = {
    "vgg16": "vgg16.VGG16",
    "nin": "nin.NIN",
    "googlenet": "googlenet.GoogLeNet",
    "squeezenet1_0": "squeezenet1_0.SqueezeNet",
    "xception": "xception.Xception",
    "resnet18": "resnet.resnet18",
    "resnet50": "resnet.resnet50",
    "mobilenet_v1": "mobilenet_v1.MobileNetV1",
    "mobilenet_v2": "mobilenet_v2.MobileNetV2",
    "mobilenet_v3_large": "mobilenet_v3.mobilenet_v3_large",
    "mobilenet_v3_small": "mobilenet_v3.mobilenet_v3_small",
    "shufflenet_v1": "shufflenet_v1.ShuffleNetV1",
    "effnet": "effnet.EffNet",
}
DETECTORS = {
    "ssd300_vgg16": "ssd300_vgg16.SSD300",
    "retinanet_resnet50_fpn": "retinanet_resnet50_fpn.RetinaNet",
}


def build(name, num_classes=None, **options):
    """Return the network `name`, initialised, in training mode.

    - name: one of `NETWORKS` or `DETECTORS`
    - num_classes: how many logits it returns; None for as many as the published weights have, 1000 for `NETWORKS`
    - options: `width_mult` for `mobilenet_v1` and `mobilenet_v2`; `groups` for `shufflenet_v1`

    Random numbers come from torch's generator: `torch.manual_seed` makes the weights repeatable.
    Under `with torch.device("meta")` the network has shapes and no numbers, which is quick.

    Raises `ValueError` where the name or an option is unknown or a value makes no network.
    """
    networks = {**NETWORKS, **DETECTORS}
    if not isinstance(name, str) or name not in networks:
        raise ValueError(f"`name` (={name!r}) must be one of the known networks: {', '.join(networks)}")
    module, attribute = networks[name].split(".")
    make = getattr(importlib.import_module(f"cvnotes.models.{module}"), attribute)
    known = [option for option in inspect.signature(make).parameters if option != "num_classes"]
    for option in options:
        if option not in known:
            raise ValueError(
                f"`{option}` is no option of {name}, which has {' and '.join(f'`{o}`' for o in known) or 'none'}"
            )
    if num_classes is not None:
        options["num_classes"] = shapes.integer("num_classes", num_classes, 1)
    return make(**options)


def for_inference(network, input_size=(1, 3, 224, 224)):
    """Return a copy of `network` that computes the same in evaluation mode, faster.

    Each batch norm that follows a convolution is folded into it, and weights lie in memory as
    `channels_last`. See `cvnotes.models.inference`.
    """
    from cvnotes.models import inference

    return inference.for_inference(network, input_size)
