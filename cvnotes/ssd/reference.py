"""The chapter's functions in NumPy: loops over places, boxes and images, to be read beside the equations.

Boxes are (x1, y1, x2, y2) in fractions of the image. Label 0 is the background.
"""

import numpy as np

from cvnotes import shapes
from cvnotes.boxes.formulas import iou
from cvnotes.boxes.reference import batched_nms, box_iou, decode
from cvnotes.ssd import formulas


def scales(m, s_min, s_max):
    """Spread the scales of m maps evenly, from the finest map to the coarsest.

    s_k = s_min + (s_max − s_min)·(k − 1)/(m − 1),  k = 1 … m

    - m: how many maps there are, at least 1
    - s_min, s_max: the first and the last scale, sides of a square in fractions of the image, above 0

    Returns a list of m floats; with m = 1, s_min alone.

    Raises ValueError where m is no integer or below 1, a scale is no number above 0, or s_max < s_min.

    Source: Liu et al., SSD: single shot multibox detector (2016), equation 4. Its code counts in whole percent.

    >>> scales(3, 0.25, 0.75)
    [0.25, 0.5, 0.75]
    """
    m, s_min, s_max = formulas.scales_arguments(m, s_min, s_max)
    return [formulas.scale(k, m, s_min, s_max) for k in range(1, m + 1)]


def default_boxes(map_sizes, scales, aspect_ratios, *, steps=None, image_size=None, clip=False):
    """Lay boxes of fixed shapes around every place of every map.

    place (i, j) of an m × n map: centre ((j + ½)/n, (i + ½)/m), with steps ((j + ½)·step/W, (i + ½)·step/H)
    boxes: squares of s_k and of √(s_k·s_{k+1}), then for each ratio r  w = s_k·√r, h = s_k/√r, and those turned

    - map_sizes: of each map, pixels; an integer or a pair (vertical, horizontal)
    - scales: one for each map and one beyond the last; fractions of the image
    - aspect_ratios: for each map a list of ratios, without 1
    - steps: of each map, pixels of the image from centre to centre; image_size: an integer or a pair (H, W)
    - clip: whether what lies outside the image is cut off

    Returns (D, 4) of float32, (x1, y1, x2, y2) in fractions of the image: map by map, row by row, place by
    place, and in a place in the order above.

    Raises ValueError where lengths don't fit, a number is not above 0, or steps are without image_size.

    Source: Liu et al. (2016), section 2.2; steps and the order: its code.

    >>> default_boxes([1], [0.25, 1.0], [[4]])
    array([[0.375 , 0.375 , 0.625 , 0.625 ],
           [0.25  , 0.25  , 0.75  , 0.75  ],
           [0.25  , 0.4375, 0.75  , 0.5625],
           [0.4375, 0.25  , 0.5625, 0.75  ]], dtype=float32)
    """
    boxes = []
    for boxes_map in formulas.layout(map_sizes, scales, aspect_ratios, steps, image_size, clip):
        for i, j in np.ndindex(boxes_map[0]):
            boxes += formulas.place_boxes(boxes_map, i, j)
    return np.array(boxes, np.float32).reshape(-1, 4)  # (D, 4)


def match(boxes, default_boxes, *, iou_threshold=0.5):
    """Decide which default box is to find which object.

    1. each default box d takes j* = argmax_j IoU(object j, d), the lower of equal ones, if that IoU ≥ iou_threshold
    2. then object j takes d* = argmax_d IoU(object j, d), the lower of equal ones, whatever the IoU; j = 0, 1, …

    - boxes: the objects, (M, 4), (x1, y1, x2, y2) in the unit of the default boxes
    - default_boxes: (D, 4); of another dtype of floats, both are compared in the wider one
    - iou_threshold: from 0 to 1, rounded as IoUs are: to the boxes' dtype, for half precision to float32

    Returns (D,) of int64: the index of the object, or −1 for background. Where two objects have the same best
    default box, the later one keeps it. An object that overlaps none has an IoU of 0 with all of them, and so
    takes the first.

    Raises ValueError where boxes are none or the threshold lies outside [0, 1].

    Source: Liu et al. (2016), section 2.2, "Matching strategy".

    >>> defaults = np.array([[0.0, 0.0, 0.5, 0.5], [0.5, 0.0, 1.0, 0.5], [0.0, 0.0, 0.5, 0.75]])
    >>> match(np.array([[0.0, 0.0, 0.5, 0.5], [0.75, 0.25, 1.0, 1.0]]), defaults)  # IoU of 1 and 2/3; 1/6
    array([0, 1, 0])
    """
    threshold = formulas.matching(boxes, default_boxes, iou_threshold)
    dtype = np.result_type(boxes, default_boxes, np.float32)
    index = np.full(len(default_boxes), -1)
    if len(boxes) and len(default_boxes):
        iou = box_iou(boxes.astype(dtype), default_boxes.astype(dtype))  # (M, D)
        taken = iou.max(0) >= dtype.type(threshold)
        index[taken] = iou.argmax(0)[taken]
        for j, d in enumerate(iou.argmax(1)):
            index[d] = j
    return index


def hard_negative_mining(loss, positive, *, ratio=3):
    """Choose which default boxes count: all positives, and of the negatives those with the largest loss.

    kept[n] = positives of image n, and its ⌊ratio·P_n⌋ negatives of the largest loss, P_n the number of its positives

    - loss: of each default box, (N, D); no gradient goes through the choice
    - positive: (N, D) of bool
    - ratio: at most how many negatives for each positive, at least 0

    Returns (N, D) of bool. Of equal losses the lower index is kept. An image without positives keeps nothing,
    one with few negatives all of them.

    Raises ValueError where shapes don't fit, a loss is NaN, or ratio is no number from 0 on.

    Source: Liu et al. (2016), section 2.2, "Hard negative mining".

    >>> loss = np.array([[0.1, 3.0, 0.5, 2.0, 9.0]])
    >>> hard_negative_mining(loss, np.array([[True, False, False, False, False]]), ratio=2)
    array([[ True,  True, False, False,  True]])
    """
    ratio = formulas.mining(loss, positive, ratio)
    kept = positive.copy()
    for n in range(len(loss)):
        negatives = np.flatnonzero(~positive[n])
        hardest = negatives[np.argsort(-loss[n, negatives], kind="stable")]
        kept[n, hardest[:formulas.negatives_wanted(int(positive[n].sum()), ratio)]] = True
    return kept  # (N, D)


def multibox_loss(scores, offsets, labels, targets, *, ratio=3, alpha=1.0):
    """Say how wrong the classes are, and how wrong the places of what matched.

    L_conf = 1/P · Σ over kept boxes of −log softmax(scores)[label]
    L_loc = α/P · Σ over matched boxes of Σ over (tx, ty, tw, th) of smooth_l1(offset − target)
    smooth_l1(x) = x²/2 where |x| < 1, else |x| − ½

    A box is matched where its label is not 0; P is the number of matched boxes in the whole batch. Kept is
    what `hard_negative_mining` keeps of each image, by the loss of its classes.

    - scores: logits, (N, D, C), class 0 the background
    - offsets: predicted, targets: wanted, (N, D, 4), as `encode` gives them; targets count where matched
    - labels: (N, D) of integers from 0 to C − 1
    - ratio: of negatives to positives; alpha: α, the weight of the places

    Returns (L_conf, L_loc), two arrays without axes; 0 and 0 where nothing matched. A NaN reaches the
    result where it stands in an image with a matched box.

    Raises ValueError where shapes or dtypes don't fit, a label is out of range, or ratio or alpha is below 0.

    Source: Liu et al. (2016), equations 1 to 3.

    >>> scores, labels = np.zeros((1, 5, 2)), np.array([[1, 0, 0, 0, 0]])         # ln 2 for each, one and three count
    >>> confidence, localisation = multibox_loss(scores, np.full((1, 5, 4), 3.0), labels, np.zeros((1, 5, 4)))
    >>> confidence.item() / 4, localisation.item()                                  # 4·ln 2; 4·(3 − ½)
    (0.6931471805599453, 10.0)
    """
    ratio, alpha = formulas.multibox(scores, offsets, labels, targets, ratio, alpha)
    positive, P = labels > 0, max(1, (labels > 0).sum())
    loss = np.zeros(labels.shape, np.result_type(scores, np.float32))  # (N, D)
    for n, d in np.ndindex(labels.shape):
        loss[n, d] = formulas.cross_entropy(scores[n, d].tolist(), int(labels[n, d]))
    kept = hard_negative_mining(np.where(np.isnan(loss), np.inf, loss), positive, ratio=ratio)
    away = (offsets - targets)[positive]  # (P, 4)
    places = sum(formulas.smooth_l1(x) for x in away.reshape(-1).tolist())
    return np.array(loss[kept].sum() / P, scores.dtype), np.array(alpha * places / P, scores.dtype)


def sample_patch(boxes, labels, *, min_iou, uniforms):
    """Cut a random patch out of an image, one that has enough in common with some object.

    The first patch(u) of the rows u of uniforms with max_j IoU(patch, object j) ≥ min_iou; see `formulas.patch`.
    Objects whose centre lies in it stay, cut at its border.

    - boxes: the objects, (M, 4), (x1, y1, x2, y2) in fractions of the image; labels: (M,) of integers
    - min_iou: from 0 to 1; 0 takes any patch; None takes the whole image
    - uniforms: random numbers from 0 to 1, (T, 4): for each of T tries the size, the aspect ratio, left and top

    Returns (patch, boxes, labels): (4,) in fractions of the image, (K, 4) in fractions of the patch, (K,), in
    the order given. Where no try will do, the patch is the whole image. K may be 0.

    Raises ValueError where boxes are none, labels don't fit, or a number lies outside [0, 1].

    Source: Liu et al. (2016), section 2.2, "Data augmentation"; bounds of the ratio: its code.

    >>> boxes, labels = np.array([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]]), np.array([7, 8])
    >>> u = np.array([[0.44, 0.5, 0.0, 0.0], [0.9, 0.0, 0.0, 0.0]])
    >>> patch, boxes, labels = sample_patch(boxes, labels, min_iou=0.5, uniforms=u)
    >>> patch.round(4), boxes.round(3), labels                                    # the second try
    (array([0.    , 0.    , 0.8281, 1.    ]), array([[0.   , 0.   , 0.604, 1.   ],
           [0.604, 0.   , 1.   , 1.   ]]), array([7, 8]))
    """
    min_iou = formulas.patch_arguments(boxes, labels, min_iou, uniforms)
    rows, patch = boxes.astype(float).tolist(), (0.0, 0.0, 1.0, 1.0)
    for u in [] if min_iou is None else uniforms.tolist():
        tried = formulas.patch(u)
        if min_iou == 0 or any(iou(tried, box) >= min_iou for box in rows):
            patch = tried
            break
    kept = [j for j, box in enumerate(rows) if formulas.has_centre(patch, box)]
    cut = [formulas.within(patch, rows[j]) for j in kept]
    return np.array(patch, boxes.dtype), np.array(cut, boxes.dtype).reshape(-1, 4), labels[kept]


def photometric_distortion(image, *, brightness=0.0, contrast=1.0, saturation=1.0, hue=0.0):
    """Change the light in which an image seems to be taken; its boxes stay what they are.

    out[:, i, j] = distorted(image[:, i, j]):  c ← contrast·(c + brightness), clipped to 0 … 1 after each step;
    then with V = max(c): (V − c)/V is multiplied by saturation, 1 at most, and the hue is turned; V stays

    - image: (3, H, W), red, green and blue from 0 to 1
    - brightness: from −1 to 1; contrast, saturation: at least 0; hue: degrees, from −360 to 360

    SSD's code draws them from ±32/255, ½ to 1½, ½ to 1½ and ±36, and leaves each out half of the time.

    Returns an image, (3, H, W). The default changes nothing, but for rounding.

    Raises ValueError where the shape or dtype doesn't fit, or a number is out of its bounds.

    Source: Liu et al. (2016), section 2.2, after Howard (2013); order and numbers: its code, which does the contrast
    last half of the time.

    >>> photometric_distortion(np.array([0.5, 0.25, 0.0]).reshape(3, 1, 1), contrast=2).ravel()
    array([1. , 0.5, 0. ])
    """
    numbers = formulas.distortion(image, brightness, contrast, saturation, hue)
    out = np.empty_like(image)
    for i, j in np.ndindex(image.shape[1:]):
        out[:, i, j] = formulas.distorted(image[:, i, j].tolist(), *numbers)
    return out  # (3, H, W)


def decimate_fc(weight, kernel_size, *, steps=(4, 1, 3, 3)):
    """Turn a fully connected layer into a convolution, and keep only every so many of its filters and taps.

    w[o, c, i, j] = weight[4·o, (c·KH + 3·i)·KW + 3·j]        with the default steps

    - weight: (O, C·KH·KW): each row reads a map (C, KH, KW) laid out as one vector
    - kernel_size: KH and KW of that map; an integer or a pair (vertical, horizontal)
    - steps: of filters, channels, rows and columns; 1 keeps all, s keeps 0, s, 2s, …

    Returns a copy, (⌈O/s₀⌉, ⌈C/s₁⌉, ⌈KH/s₂⌉, ⌈KW/s₃⌉). With steps of 1 it is the same layer, as a convolution.
    The default makes 1,024 filters of 3×3 of VGG's fc6, whose taps belong 3 places apart. fc7 reads what is
    left: `decimate_fc(fc7, 1, steps=(4, 4, 1, 1))`. Biases are `bias[::4]`.

    Raises ValueError where weight is no matrix, its columns are not C·KH·KW, or a step is below 1.

    Source: Liu et al. (2016), section 3, "Base network"; Chen et al. (2015).

    >>> decimate_fc(np.arange(18.0).reshape(2, 9), 3, steps=(2, 1, 2, 2))
    array([[[[0., 2.],
             [6., 8.]]]])
    """
    shape, (so, sc, si, sj) = formulas.decimation(weight, kernel_size, steps)
    return weight.reshape(shape)[::so, ::sc, ::si, ::sj].copy()


def detect(
    scores, offsets, default_boxes, *, weights=formulas.CODE, min_score=0.01, iou_threshold=0.45, candidates=400,
    most=200, max_log_scale=formulas.MAX_LOG_SCALE,
):
    """Turn what the network says of each default box into boxes, classes and scores.

    p = softmax(scores);  box d = decode(offset d, default box d), clipped to the image
    of each class but 0: the `candidates` boxes with the largest p, if p > min_score;  NMS in each class;
    of all that is left the `most` boxes with the largest p

    - scores: logits, (N, D, C), class 0 the background; offsets: (N, D, 4)
    - default_boxes: (D, 4), (x1, y1, x2, y2) in fractions of the image; of any dtype of floats
    - weights, max_log_scale: as `decode` takes them; there is always a limit
    - min_score, iou_threshold: from 0 to 1; candidates, most: at least 1

    Returns for each image a dict of `boxes` (K, 4) in fractions of the image, `labels` (K,) of int64 from 1 to
    C − 1, and `scores` (K,), by falling score; of equal scores the lower class comes first, then the lower
    default box. A default box may be there several times, with several classes.

    Raises ValueError where shapes or dtypes don't fit, a number is not finite or out of its bounds.

    Source: Liu et al. (2016), section 2.2 and 3 (0.01, 0.45 and 200); candidates: its code.

    >>> defaults = np.array([[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 0.4], [0.5, 0.5, 1.0, 1.0]])
    >>> scores = np.array([[[0.0, 2.0], [0.0, 1.0], [9.0, 0.0]]])               # the third is background
    >>> found = detect(scores, np.zeros((1, 3, 4)), defaults)[0]                # the second is suppressed: IoU 0.8
    >>> found["boxes"], found["labels"], found["scores"].round(2)
    (array([[0. , 0. , 0.5, 0.5]]), array([1]), array([0.88]))
    """
    weights, min_score, iou_threshold, candidates, most, max_log_scale = formulas.detection(
        scores, offsets, default_boxes, weights, min_score, iou_threshold, candidates, most, max_log_scale
    )
    found, default_boxes = [], default_boxes.astype(offsets.dtype)
    for s, t in zip(scores, offsets):
        boxes = decode(t, default_boxes, weights=weights, max_log_scale=max_log_scale).clip(0, 1)  # (D, 4)
        p = np.array([formulas.softmax(row) for row in s.tolist()], s.dtype).reshape(s.shape)  # (D, C)
        best = np.argsort(-p, axis=0, kind="stable")[:candidates]  # (B, C)
        chosen = [(d, c) for c in range(1, p.shape[1]) for d in best[:, c] if p[d, c] > s.dtype.type(min_score)]
        d, c = np.array(chosen, np.int64).reshape(-1, 2).T
        kept = batched_nms(boxes[d], p[d, c], c, iou_threshold)[:most]
        found.append({"boxes": boxes[d][kept], "labels": c[kept], "scores": p[d, c][kept]})
    return found


shapes.only("numpy", globals())
