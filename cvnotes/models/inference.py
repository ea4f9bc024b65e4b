"""A copy of a network for inference alone: batch norm folded into convolutions, channels last in memory.

In evaluation mode a batch norm is one factor and one summand a channel, and so is part of the weights
and the bias of a convolution before it. Which batch norm follows which convolution is found by running
the network on tensors without numbers and watching what feeds what; names don't matter.
"""

import copy
from collections import Counter

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode

from cvnotes import shapes
from cvnotes.models.network import on_meta


def for_inference(network, input_size=(1, 3, 224, 224)):
    """Return a copy of `network` that computes the same in evaluation mode, faster.

    A batch norm is folded into the convolution that feeds it, if nothing else takes what the
    convolution gives, if both run exactly once, and if the batch norm has running statistics. Where
    one of the two has hooks, a second name, or weights that are used elsewhere, it is left alone.
    An `nn.Identity` stands where it was. What does not run in evaluation mode stays as it is.

    - network: any module that takes one batch of images; it is not changed
    - input_size: a shape (N, C, H, W) that the network accepts

    Returns the copy, in evaluation mode, its weights in memory as `channels_last`. Outputs are the same
    to rounding. It can be trained no further: in training mode its batch norms would be missed.

    Raises `ValueError` where `network` is no module or `input_size` is no shape.
    """
    if not isinstance(network, nn.Module):
        raise ValueError(f"`network` (a {type(network).__name__}) must be a torch.nn.Module")
    if not isinstance(input_size, (tuple, list)) or len(input_size) != 4:
        raise ValueError(f"`input_size` (={input_size!r}) must be a shape (N, C, H, W)")
    size = [shapes.integer("input_size", n, 1) for n in input_size]
    network = copy.deepcopy(network).eval()
    for conv, norm in foldable(network, size):
        fused = fuse_conv_bn_eval(network.get_submodule(conv), network.get_submodule(norm))
        network.set_submodule(conv, fused)
        network.set_submodule(norm, nn.Identity())
    return network.to(memory_format=torch.channels_last)


def foldable(network, input_size):
    """Return the names of (convolution, batch norm) where the second can be folded into the first."""
    twin = on_meta(network).eval()
    names = {}
    for name, module in twin.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    made = {}  # id of a tensor → the convolution that gave it, and the tensor, kept so that its id stays its own
    pairs, runs, uses = [], Counter(), _Uses()

    def gives(conv, _, output):
        made[id(output)] = conv, output
        uses.of[id(output)] = 0  # an earlier tensor, gone since, may have had this id
        runs[conv] += 1

    def takes(norm, args):
        runs[norm] += 1
        if norm.running_var is not None and args and id(args[0]) in made:
            pairs.append((id(args[0]), norm))

    for module, (name, *others) in names.items():
        original = network.get_submodule(name)
        if others or original._forward_hooks or original._forward_pre_hooks:
            continue
        if type(module) is nn.Conv2d:  # and none of a class that computes its weights
            module.register_forward_hook(gives)
        elif type(module) is nn.BatchNorm2d:
            module.register_forward_pre_hook(takes)
    dtype = next((parameter.dtype for parameter in twin.parameters()), torch.float32)
    with torch.no_grad(), uses:
        output = twin(torch.empty(input_size, dtype=dtype, device="meta"))
    uses.count(output)  # what is returned is used
    return [
        (names[made[key][0]][0], names[norm][0])
        for key, norm in pairs
        if uses.of[key] == 1 and runs[made[key][0]] == runs[norm] == 1
        and uses.of[id(made[key][0].weight)] == uses.of[id(norm.running_var)] == 1
    ]


class _Uses(TorchFunctionMode):
    """Counts how often each tensor is given to an operation that makes a tensor of it."""

    def __init__(self):
        super().__init__()
        self.of = Counter()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if any(True for _ in _tensors(result)):  # asking for a shape or a dtype is no use
            self.count(args, kwargs)
        return result

    def count(self, *values):
        self.of.update({id(tensor) for tensor in _tensors(values)})


def _tensors(value):
    """Yield the tensors in a value, also in lists, tuples and dicts of it."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
