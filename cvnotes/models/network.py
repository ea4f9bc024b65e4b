"""What all networks of the book share: checks of their input, and how they start.

Beside it the two pieces that several of them are made of: a convolution with its batch norm and
activation, and the rounding of a width.
"""

import copy
import math

import torch
from torch import nn

from cvnotes import shapes

LARGEST_MULTIPLIER = 1000  # of all widths
LARGEST_SIDE = 4096  # in pixels, where the search for a side that works ends


class Network(nn.Module):
    """A network that takes images (N, 3, H, W) and says what is wrong with others.

    Rank, channels and kind of number are checked before the forward pass. Dtype, device and size
    are looked at only when it fails, so that they cost nothing when it does not. An empty batch
    is a valid batch: it gives logits (0, num_classes).
    """

    def __call__(self, x):
        if not isinstance(x, torch.Tensor):
            raise ValueError(f"`x` (a {type(x).__name__}) must be a tensor")
        shapes.array("x", x, "N 3 H W")
        try:
            return super().__call__(x)
        except (RuntimeError, ValueError) as error:
            reason = _reason(self, x)
            if reason is None:
                raise
            raise ValueError(reason) from error

    def initialise(self):
        """Draw weights to train from.

        Convolutions: normal with variance 2 / (inputs of an output), which keeps the size of the
        activations through ReLUs (He et al. 2015, equation 10). Linear layers: normal with standard
        deviation 0.01, so that the first logits are small. Biases 0; batch norms start as identity.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                nn.init.zeros_(module.bias)


def initialise_logits(conv):
    """Start a last convolution, which has a ReLU after it: small weights, and biases of 1.

    All logits begin near 1, where the ReLU lets every gradient pass. With biases of 0 half of them
    would begin dead, and a network that turns the rest down stands still.
    """
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.ones_(conv.bias)


def conv_bn(in_channels, out_channels, kernel_size=3, *, stride=1, groups=1, activation=nn.ReLU, **norm):
    """Return convolution, batch norm and activation (None for none) in a row, sizes kept at stride 1.

    The convolution has no bias, as batch norm has one. `norm` may set `eps` and `momentum`.
    """
    conv = nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, (kernel_size - 1) // 2, groups=groups, bias=False
    )
    layers = [conv, nn.BatchNorm2d(out_channels, **norm)]
    return nn.Sequential(*layers, *([] if activation is None else [activation(inplace=True)]))


def make_divisible(width, divisor=8):
    """Return the multiple of `divisor` nearest to `width`, at least one `divisor`.

    Where that would take away more than a tenth of the width, the next multiple.

    >>> make_divisible(32 * 0.75), make_divisible(32 * 0.35), make_divisible(3)
    (24, 16, 8)
    """
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded


def positive(name, value):
    """Check that the argument `name` is a finite number above 0, and return it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ValueError(f"`{name}` (={value!r}) must be a finite number above 0")
    return value


def width_multiplier(value):
    """Check that `width_mult` is a number above 0 that makes widths which can be counted, and return it."""
    if positive("width_mult", value) > LARGEST_MULTIPLIER:
        raise ValueError(f"`width_mult` (={value}) must be at most {LARGEST_MULTIPLIER}")
    return value


# --- why a forward pass failed ---------------------------------------------------------


def on_meta(module):
    """Return a copy of `module` on the meta device, without its hooks; no number is copied."""
    tensors = [*module.parameters(), *module.buffers()]
    twin = copy.deepcopy(module, {id(t): t.detach().to("meta") for t in tensors})
    for part in twin.modules():
        for hooks in (part._forward_hooks, part._forward_pre_hooks):
            hooks.clear()
    return twin


def _reason(network, x):
    """Return in a sentence what is wrong with `x`, or None where it isn't to blame."""
    weights = next(network.parameters())
    for noun, given, needed in (("dtype", x.dtype, weights.dtype), ("device", x.device, weights.device)):
        if given != needed:
            given, needed = (str(what).replace("torch.", "") for what in (given, needed))
            return f"`x` ({noun} {given}) must match the network's weights ({noun} {needed})"
    twin = on_meta(network)
    N, _, H, W = x.shape
    failed = _failing_layer(twin, x.dtype, N, H, W)
    if failed is None:
        return None
    side = _smallest_side(twin, x.dtype, N, max(H, W))
    if side is None:
        return None
    return (
        f"`x` has the shape {tuple(x.shape)}, too small for the layer {failed}; "
        f"the smallest square image that works has {side} × {side} pixels"
    )


def _failing_layer(twin, dtype, N, H, W):
    """Run the network on shapes alone; return the layer that fails and what reached it, or None."""
    inside = []  # the modules that have been entered and not left, each with its input
    hooks = []
    for name, module in twin.named_modules():
        label = f"`{name}` ({type(module).__name__})"
        hooks.append(module.register_forward_pre_hook(lambda _, args, label=label: inside.append((label, args[0]))))
        hooks.append(module.register_forward_hook(lambda *_: inside.pop() and None))
    try:
        with torch.no_grad():
            nn.Module.__call__(twin, torch.empty(N, 3, H, W, dtype=dtype, device="meta"))
        return None
    except (RuntimeError, ValueError):
        label, reached = inside[-1]
        return f"{label}, which gets {reached.shape[-2]} × {reached.shape[-1]}"
    finally:
        for hook in hooks:
            hook.remove()


def _smallest_side(twin, dtype, N, failing):
    """Return the smallest side of a square image that passes, or None; a larger one then passes too."""
    def passes(side):
        return _failing_layer(twin, dtype, N, side, side) is None

    low, high = 0, 1  # no side up to `low` passes; `high` doubles until it does
    while not passes(high):
        low, high = high, 2 * high
        if high > LARGEST_SIDE:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high
