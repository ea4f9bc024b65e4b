"""The chapter's functions in Torch: any float dtype, any device, differentiable where there is a slope."""

import torch
import torch.nn.functional as F

from cvnotes import shapes
from cvnotes.boxes import fast as box_fast
from cvnotes.focal_loss import formulas

BLOCK = 2**16  # numbers that are worked on at once: what stays in a core's own cache
FAR_BLOCK = 2**24  # the same on a GPU, which is slow to start and quick to read


def _computed(x):
    """Return x in the dtype in which its numbers are computed: half precision in float32."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _reduced(values, reduction, like):
    """Return all values, their sum, or their mean (0 where there are none), in the dtype of a tensor."""
    if reduction == "none":
        return values.to(like.dtype)
    total = values.sum() / max(1, values.numel()) if reduction == "mean" else values.sum()
    return total.to(like.dtype)


# --- the focal loss ----------------------------------------------------------------------


def sigmoid_focal_loss(logits, targets, *, alpha=0.25, gamma=2.0, reduction="none"):
    """Same contract as `reference.sigmoid_focal_loss`.

    It works through the numbers in blocks that stay in the processor's cache, and computes the slope of each
    loss beside it, from the same sigmoid and logarithm. Only the slopes are kept, and become the gradient
    in place: forward and backward need as much memory as the logits, and as much again for losses that are
    not reduced. In half precision the slopes are computed a second time instead, so that a scaled gradient is
    rounded once. Second derivatives, and targets between 0 and 1 or with a gradient, take the plain
    formula and its ten arrays.
    """
    formulas.fitting(logits=logits, targets=targets)
    alpha, gamma = formulas.focusing(alpha, gamma, reduction)
    if targets.requires_grad or not _hard(targets):
        formulas.probabilities("targets", targets)
        return _reduced(_plain(_computed(logits), _computed(targets), alpha, gamma), reduction, logits)
    return _Focal.apply(logits, targets, alpha, gamma, reduction, logits.requires_grad and torch.is_grad_enabled())


def _block_size(x):
    return BLOCK if x.device.type == "cpu" else FAR_BLOCK


def _blocks(x):
    """Return slices of the flat x, each as long as what is worked on at once."""
    return [slice(first, first + _block_size(x)) for first in range(0, len(x), _block_size(x))]


def _hard(targets):
    """Tell whether all targets are 0 or 1."""
    if not targets.numel():
        return True
    least, most = targets.aminmax()
    if not (least >= 0 and most <= 1):
        return False
    t = targets.reshape(-1)
    return not any(torch.dot(_computed(t[block]), 1 - _computed(t[block])) for block in _blocks(t))  # no t·(1 − t) > 0


def _plain(x, t, alpha, gamma):
    """Return the losses by the plain formula, which torch can differentiate as often as one likes."""
    wrong = t * torch.sigmoid(-x) + (1 - t) * torch.sigmoid(x)
    entropy = t * F.softplus(-x, threshold=40) + (1 - t) * F.softplus(x, threshold=40)
    # At 0 the power of a γ below 1 has no finite slope; 0·x is NaN where x is not finite.
    losses = wrong.clamp(min=torch.finfo(x.dtype).tiny) ** gamma * entropy + 0 * x
    return losses if alpha is None else losses * (alpha * t + (1 - alpha) * (1 - t))


class _Focal(torch.autograd.Function):
    """The losses of hard targets, with their slopes computed beside them where `keep` says so."""

    @staticmethod
    def forward(ctx, logits, targets, alpha, gamma, reduction, keep):
        ctx.settings, ctx.slopes = (alpha, gamma, reduction), None
        ctx.save_for_backward(logits, targets)
        if keep and logits.dtype == _computed(logits.new_empty(0)).dtype:
            ctx.slopes = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
        losses = None
        if reduction == "none":
            losses = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
        total = _focal(logits, targets, alpha, gamma, losses, ctx.slopes)
        if losses is not None:
            return losses
        return (total / max(1, logits.numel()) if reduction == "mean" else total).to(logits.dtype)

    @staticmethod
    def backward(ctx, given):
        logits, targets = ctx.saved_tensors
        alpha, gamma, reduction = ctx.settings
        if torch.is_grad_enabled():  # a second derivative may follow
            losses = _reduced(_plain(_computed(logits), _computed(targets), alpha, gamma), reduction, logits)
            return *torch.autograd.grad(losses, logits, given, create_graph=True), None, None, None, None, None
        count = max(1, logits.numel()) if reduction == "mean" else 1
        slopes, ctx.slopes = ctx.slopes, None  # a second pass through the same graph computes them again
        if slopes is None:
            slopes = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
            _focal(logits, targets, alpha, gamma, None, slopes, given, count)
        else:
            slopes.mul_(given if count == 1 else given / count)
        return slopes, None, None, None, None, None


def _focal(logits, targets, alpha, gamma, losses, slopes, given=None, count=1):
    """Write losses, and slopes times given / count, into tensors (None: not wanted); return the sum of the losses.

    With z = x for a negative and −x for a positive, 1 − p_t is sigmoid(z) and −ln p_t is softplus(z):
    loss = α_t·(1 − p_t)^γ·softplus(z),  d loss / dz = α_t·(1 − p_t)^γ·(γ·p_t·softplus(z) + 1 − p_t).
    """
    x, t = logits.reshape(-1), targets.reshape(-1)
    losses, slopes, given = (None if y is None else y.reshape(-1) for y in (losses, slopes, given))
    kind, sums = _computed(x[:0]).dtype, []
    buffers = torch.empty(6, min(len(x), _block_size(x)), dtype=kind, device=x.device)
    one, half = (torch.tensor(value, dtype=kind, device=x.device) for value in (1.0, 0.5))
    for block in _blocks(x):
        xs, ts = _computed(x[block]), _computed(t[block])
        sign, z, wrong, right, weight, alphas = buffers[:, :len(xs)].unbind(0)
        torch.sub(one, ts, alpha=2, out=sign)  # 1 for a negative, −1 for a positive
        torch.mul(xs, sign, out=z)
        torch.sigmoid(z, out=wrong)  # 1 − p_t
        torch.sub(one, wrong, out=right)  # p_t
        torch.minimum(wrong, right, out=weight).neg_().log1p_()  # −ln(1 + e^−|z|)
        entropy = z.clamp_(min=0).sub_(weight).add_(xs, alpha=0)  # −ln p_t, and NaN where x is not finite
        torch.pow(wrong, gamma, out=weight)
        if alpha is not None:
            weight.mul_(torch.add(half, sign, alpha=0.5 - alpha, out=alphas))
        if losses is None:
            sums.append(torch.dot(weight, entropy))
        else:
            torch.mul(weight, entropy, out=losses[block])
        if slopes is not None:
            torch.add(wrong, right.mul_(entropy), alpha=gamma, out=right).mul_(weight)
            if given is not None:
                right.mul_(_computed(given[block] if len(given) > 1 else given) / count)
            torch.mul(right, sign, out=slopes[block])
    return torch.stack(sums).sum() if sums else torch.zeros((), dtype=kind, device=x.device)


def softmax_focal_loss(logits, targets, *, alpha=None, gamma=2.0, reduction="none"):
    """Same contract as `reference.softmax_focal_loss`.

    1 − p is computed as a sum over the other classes, in logarithms: no digits are lost where p is close to 1,
    and no slope is infinite where a γ below 1 meets a p of 1. About six arrays of N·K numbers.
    """
    alpha, gamma = formulas.classes(logits, targets, alpha, gamma, reduction)
    x, k = _computed(logits), targets.long()[:, None]  # (N, K), (N, 1)
    whole = x.logsumexp(1)
    others = x.scatter(1, k, -torch.inf).logsumexp(1)
    losses = (gamma * (others - whole)).exp() * (whole - x.gather(1, k)[:, 0]) + (0 * x).sum(1)  # (N,)
    if alpha is not None:
        losses = losses * x.new_tensor(alpha)[k[:, 0]]
    return _reduced(losses, reduction, logits)


# --- anchors -----------------------------------------------------------------------------


def retinanet_anchors(
    image_size, *, strides=(8, 16, 32, 64, 128), sizes=(32, 64, 128, 256, 512), ratios=(0.5, 1.0, 2.0),
    scales=(1.0, 2 ** (1 / 3), 2 ** (2 / 3)), offset=0.0, rounded=False, dtype="float32",
):
    """Same contract as `reference.retinanet_anchors`.

    The boxes of one place are added to all centres of a level at once, in double precision.
    """
    image_size, strides, sizes, ratios, scales, offset = formulas.layout(
        image_size, strides, sizes, ratios, scales, offset, dtype, rounded
    )
    levels = []
    for stride, size in zip(strides, sizes):
        cell = torch.tensor(formulas.anchor_cell(size, ratios, scales, rounded), dtype=torch.float64)
        y, x = (
            (torch.arange(count, dtype=torch.float64) + offset) * formulas.step(side, stride, rounded)
            for side, count in zip(image_size, formulas.places(image_size, stride))
        )
        y, x = torch.meshgrid(y, x, indexing="ij")  # (rows, columns)
        centres = torch.stack([x, y, x, y], 2)[:, :, None]  # (rows, columns, 1, 4)
        levels.append((centres + cell).view(-1, 4))
    return torch.cat(levels).to(getattr(torch, dtype))  # (A, 4)


@torch.no_grad()
def match_anchors(boxes, anchors, *, positive_iou=0.5, negative_iou=0.4):
    """Same contract as `reference.match_anchors`.

    It goes through the objects, and keeps for each anchor the best IoU so far and whose it was, for as many
    anchors at a time as stay in the processor's cache: no array of M·A numbers, some 2 MB beside the result.
    """
    positive, negative = formulas.matching(boxes, anchors, positive_iou, negative_iou)
    index = torch.full((len(anchors),), -1, device=anchors.device)
    if not len(boxes):
        return index
    objects, areas = _computed(boxes).tolist(), box_fast.box_area(_computed(boxes)).tolist()
    columns = _computed(anchors).t()  # (4, A)
    buffers = columns.new_empty(5, min(len(anchors), _block_size(anchors)))
    for block in _blocks(index):
        x1, y1, x2, y2 = columns[:, block].contiguous().unbind(0)
        area, best, shared, union, edge = buffers[:, :len(x1)].unbind(0)
        torch.mul(torch.sub(x2, x1, out=edge), torch.sub(y2, y1, out=union), out=area)
        best.zero_()
        better, whose = torch.empty_like(x1, dtype=torch.bool), torch.zeros_like(x1, dtype=torch.int32)
        for m, ((left, top, right, bottom), own) in enumerate(zip(objects, areas)):
            if not own:  # an IoU of 0 with all
                continue
            torch.clamp(x2, left, right, out=shared).sub_(torch.clamp(x1, left, right, out=edge))
            torch.clamp(y2, top, bottom, out=union).sub_(torch.clamp(y1, top, bottom, out=edge))
            shared.mul_(union)
            torch.add(area, own, out=union).sub_(shared)
            torch.gt(shared.div_(union), best, out=better)
            torch.maximum(best, shared, out=best)
            whose.masked_fill_(better, m)
        index[block] = whose.masked_fill_(best < positive, -2).masked_fill_(best < negative, -1)
    return index


# --- other losses ------------------------------------------------------------------------


def smooth_l1(predictions, targets, *, beta=1.0, reduction="none"):
    """Same contract as `reference.smooth_l1`.

    Torch has the operation, so this calls it; half precision is computed in float32.
    """
    beta = formulas.regression(predictions, targets, beta, reduction)
    if reduction == "mean" and not predictions.numel():
        reduction = "sum"
    predictions, targets, dtype = _computed(predictions), _computed(targets), predictions.dtype
    return F.smooth_l1_loss(predictions, targets, reduction=reduction, beta=beta).to(dtype)


def dice_loss(logits, targets, *, smooth=1.0, reduction="none"):
    """Same contract as `reference.dice_loss`.

    As the Tversky loss with a half of everything; a few arrays of the size of the logits.
    """
    smooth = formulas.masks(logits, targets, smooth, reduction)
    return _tversky(logits, targets, 0.5, 0.5, smooth / 2, reduction)


def tversky_loss(logits, targets, *, alpha=0.5, beta=0.5, smooth=1.0, reduction="none"):
    """Same contract as `reference.tversky_loss`.

    Three sums; a few arrays of the size of the logits.
    """
    smooth = formulas.masks(logits, targets, smooth, reduction)
    alpha, beta = (formulas.real(name, value, 0, 10**6) for name, value in (("alpha", alpha), ("beta", beta)))
    return _tversky(logits, targets, alpha, beta, smooth, reduction)


def _tversky(logits, targets, alpha, beta, smooth, reduction):
    x, t = _computed(logits).flatten(1), _computed(targets).flatten(1)  # (N, P)
    p, miss = x.sigmoid(), (-x).sigmoid()
    hits, false = (p * t).sum(1), alpha * (p * (1 - t)).sum(1) + beta * (miss * t).sum(1)  # (N,)
    whole = hits + false + smooth
    return _reduced(false / whole.masked_fill(whole == 0, 1), reduction, logits)


def iou_loss(boxes, targets, *, kind="iou", reduction="none"):
    """Same contract as `reference.iou_loss`.

    A few arrays of N numbers.
    """
    kind = formulas.overlap(boxes, targets, kind, reduction)
    return _reduced(1 - box_fast.paired_iou(_computed(boxes), _computed(targets), kind=kind), reduction, boxes)


shapes.only("torch", globals())
