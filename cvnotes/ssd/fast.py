"""The chapter's functions in Torch: any float dtype, any device; losses are differentiable."""

import torch
import torch.nn.functional as F
from torch import distributed

from cvnotes import shapes
from cvnotes.boxes.fast import batched_nms, box_iou, decode, pairwise
from cvnotes.ssd import formulas


def _computed(dtype):
    """Return the dtype in which numbers of a dtype are computed: half precision in float32."""
    return torch.promote_types(dtype, torch.float32)


# --- default boxes -----------------------------------------------------------------------


def scales(m, s_min, s_max):
    """Same contract as `reference.scales`.

    There is nothing to speed up.
    """
    m, s_min, s_max = formulas.scales_arguments(m, s_min, s_max)
    return [formulas.scale(k, m, s_min, s_max) for k in range(1, m + 1)]


def default_boxes(map_sizes, scales, aspect_ratios, *, steps=None, image_size=None, clip=False):
    """Same contract as `reference.default_boxes`.

    All places of a map at once, in float64 on the processor; memory is twice the result's.
    """
    boxes = [torch.empty(0, 4, dtype=torch.float32, device="cpu")]
    for (H, W), (step_y, step_x), sizes, clip in formulas.layout(
        map_sizes, scales, aspect_ratios, steps, image_size, clip
    ):
        x = formulas.centre(torch.arange(W, dtype=torch.float64, device="cpu"), W, step_x)
        y = formulas.centre(torch.arange(H, dtype=torch.float64, device="cpu"), H, step_y)
        centres = torch.stack(torch.meshgrid(x, y, indexing="xy"), 2)[:, :, None]  # (H, W, 1, 2)
        halves = torch.tensor(sizes, dtype=torch.float64, device="cpu") / 2  # (k, 2)
        box = torch.cat([centres - halves, centres + halves], 3)  # (H, W, k, 4)
        boxes.append((box.clamp(0, 1) if clip else box).view(-1, 4).float())
    return torch.cat(boxes).to(torch.get_default_device())  # (D, 4)


@torch.no_grad()
def match(boxes, default_boxes, *, iou_threshold=0.5):
    """Same contract as `reference.match`.

    One array of M·D overlaps. Which object is a default box's best is asked only of the few with an overlap that
    reaches the threshold: the largest value is found much sooner than where it stands.
    """
    threshold = formulas.matching(boxes, default_boxes, iou_threshold)
    dtype = _computed(torch.promote_types(boxes.dtype, default_boxes.dtype))
    index = torch.full((len(default_boxes),), -1, device=boxes.device)
    if len(boxes) and len(default_boxes):
        iou = pairwise("iou", boxes.to(dtype), default_boxes.to(dtype))  # (M, D)
        taken = (iou.amax(0) >= threshold).nonzero()[:, 0]
        index[taken] = iou[:, taken].argmax(0)
        objects = torch.arange(len(boxes), device=boxes.device)
        index.scatter_reduce_(0, iou.argmax(1), objects, "amax", include_self=False)  # the later object stays
    return index


# --- what is learned from ----------------------------------------------------------------


@torch.no_grad()
def hard_negative_mining(loss, positive, *, ratio=3):
    """Same contract as `reference.hard_negative_mining`.

    Sorts no more of an image than the most that any image keeps. A few arrays of N·D.
    """
    return _mined(loss, positive, formulas.mining(loss, positive, ratio))


def _mined(loss, positive, ratio):
    D = loss.shape[1]
    wanted = [min(formulas.negatives_wanted(P, ratio), D - P) for P in positive.sum(1).tolist()]
    wanted = torch.tensor(wanted, dtype=torch.long, device=loss.device)  # (N,)
    return positive | _largest(loss.masked_fill(positive, -torch.inf), wanted, ~positive)


def _largest(values, counts, among):
    """Return where the `counts` (N,) largest of each row of values (N, D) stand; of equal ones, the first in `among`."""
    most = max(counts.tolist(), default=0)
    if most == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    least = values.topk(most, 1).values.gather(1, (counts - 1).clamp(min=0)[:, None])  # (N, 1), the last that is in
    above = values > least
    equal = (values == least) & among
    room = counts[:, None] - above.sum(1, keepdim=True)
    return (above | (equal & (equal.cumsum(1) <= room))) & (counts > 0)[:, None]


def multibox_loss(scores, offsets, labels, targets, *, ratio=3, alpha=1.0):
    """Same contract as `reference.multibox_loss`.

    The losses by which boxes are chosen are computed without gradient; with gradient only those of the chosen
    ones, some hundred of 8,732. Memory: one array of N·D·C, and with gradients another.

    In each of several processes of `torch.distributed` the sums are those of its own images, while P counts the
    matched boxes of all, for which it talks with the others: the losses of all processes add up to the loss of
    the whole batch. Where gradients are then averaged, as DistributedDataParallel does, multiply the loss by
    the number of processes.
    """
    ratio, alpha = formulas.multibox(scores, offsets, labels, targets, ratio, alpha)
    labels, dtype = labels.long(), scores.dtype
    positive = labels > 0
    with torch.no_grad():
        s = scores.detach().to(_computed(dtype))
        loss = s.logsumexp(2) - s.gather(2, labels[..., None])[..., 0]  # (N, D)
        kept = _mined(loss.nan_to_num(nan=torch.inf, posinf=torch.inf), positive, ratio)
        P = matched_boxes(labels).clamp(min=1)
    confidence = F.cross_entropy(scores[kept].to(_computed(dtype)), labels[kept], reduction="sum")
    away = offsets[positive].to(_computed(dtype))
    localisation = F.smooth_l1_loss(away, targets[positive].to(away.dtype), reduction="sum")
    return (confidence / P).to(dtype), (alpha * localisation / P).to(dtype)


def matched_boxes(labels):
    """Return how many labels (N, D) are not background, in the batches of all processes together; a tensor."""
    count = (labels > 0).sum()
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(count)
    return count


def sample_patch(boxes, labels, *, min_iou, uniforms):
    """Same contract as `reference.sample_patch`.

    All tries at once. An array of T·M overlaps.
    """
    min_iou = formulas.patch_arguments(boxes, labels, min_iou, uniforms)
    dtype = _computed(boxes.dtype)
    patch, rows = boxes.new_tensor((0.0, 0.0, 1.0, 1.0), dtype=dtype), boxes.to(dtype)
    if min_iou is not None and len(uniforms):
        tried = _patches(uniforms.to(dtype))  # (T, 4)
        fits = torch.ones(len(tried), dtype=torch.bool, device=boxes.device)
        if min_iou > 0:
            fits = (box_iou(tried, rows.detach()) >= min_iou).any(1)
        if fits.any():
            patch = tried[int(fits.int().argmax())]
    centres = (rows[:, :2] + rows[:, 2:]) / 2
    kept = ((centres >= patch[:2]) & (centres <= patch[2:])).all(1)
    corner, size = patch[:2].repeat(2), (patch[2:] - patch[:2]).repeat(2)
    cut = ((rows[kept] - corner) / size).clamp(0, 1)
    return patch.to(boxes.dtype), cut.to(boxes.dtype), labels[kept]


def _patches(uniforms):
    """Return what `formulas.patch` gives of each row, (T, 4)."""
    size, shape, left, top = uniforms.unbind(1)
    s = formulas.SMALLEST_PATCH + (1 - formulas.SMALLEST_PATCH) * size
    low, high = (s * s).clamp(min=formulas.TALLEST), (1 / (s * s)).clamp(max=formulas.ROUNDEST)
    r = low + (high - low) * shape
    w, h = (s * r.sqrt()).clamp(max=1), (s / r.sqrt()).clamp(max=1)
    x, y = (1 - w) * left, (1 - h) * top
    return torch.stack([x, y, x + w, y + h], 1)


def photometric_distortion(image, *, brightness=0.0, contrast=1.0, saturation=1.0, hue=0.0):
    """Same contract as `reference.photometric_distortion`.

    All pixels at once: the choice of the sixth of the circle becomes a piecewise linear function. Some ten arrays of
    the image's size.
    """
    brightness, contrast, saturation, hue = formulas.distortion(image, brightness, contrast, saturation, hue)
    c = (contrast * (image.to(_computed(image.dtype)) + brightness).clamp(0, 1)).clamp(0, 1)
    (r, g, b), V = c, c.amax(0)
    d = V - c.amin(0)
    grey = d == 0
    wide, top = d.masked_fill(grey, 1), V.masked_fill(grey, 1)  # no division by 0
    sixth = torch.where(V == r, (g - b) / wide, torch.where(V == g, 2 + (b - r) / wide, 4 + (r - g) / wide))
    S = (saturation * d / top).clamp(max=1)
    k = sixth + torch.tensor([5.0, 3.0, 1.0], dtype=c.dtype, device=c.device)[:, None, None] + hue / 60  # (3, H, W)
    k = k - 6 * torch.floor(k / 6)
    return (V * (1 - S * torch.minimum(k, 4 - k).clamp(0, 1))).to(image.dtype)


def decimate_fc(weight, kernel_size, *, steps=(4, 1, 3, 3)):
    """Same contract as `reference.decimate_fc`.

    A view of the weight with strides, copied once.
    """
    shape, (so, sc, si, sj) = formulas.decimation(weight, kernel_size, steps)
    return weight.reshape(shape)[::so, ::sc, ::si, ::sj].clone(memory_format=torch.contiguous_format)


# --- what is found -----------------------------------------------------------------------


@torch.no_grad()
def detect(
    scores, offsets, default_boxes, *, weights=formulas.CODE, min_score=0.01, iou_threshold=0.45, candidates=400,
    most=200, max_log_scale=formulas.MAX_LOG_SCALE,
):
    """Same contract as `reference.detect`.

    All classes of an image at once; a box is left out of all sorting unless its score is over `min_score`.
    Two arrays of D·C, image by image.
    """
    weights, min_score, iou_threshold, candidates, most, max_log_scale = formulas.detection(
        scores, offsets, default_boxes, weights, min_score, iou_threshold, candidates, most, max_log_scale
    )
    found, default_boxes = [], default_boxes.to(offsets.dtype)
    for s, t in zip(scores, offsets):
        boxes = decode(t, default_boxes, weights=weights, max_log_scale=max_log_scale).clamp(0, 1)  # (D, 4)
        p = s.softmax(1).t()[1:].contiguous()  # (C − 1, D)
        likely = p > min_score
        counts = likely.sum(1).clamp(max=candidates)
        c, d = _largest(p, counts, likely).nonzero(as_tuple=True)
        kept = batched_nms(boxes[d], p[c, d], c, iou_threshold)[:most]
        found.append({"boxes": boxes[d[kept]], "labels": c[kept] + 1, "scores": p[c[kept], d[kept]]})
    return found


shapes.only("torch", globals())
