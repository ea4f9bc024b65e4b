"""The exercises on the focal loss: stubs, solutions, and the mistakes that their checks know."""

from cvnotes.checking import Exercise
from cvnotes.focal_loss import formulas

_FOCAL = "from math import log\n\n\ndef focal(p, is_object, gamma, alpha):\n    "


def _focal(p, is_object, gamma, alpha):
    p_t = p if is_object else 1 - p
    return formulas.focal_loss(p_t, gamma, formulas.balance(float(is_object), alpha))


focal = Exercise(
    name="focal",
    stub=_FOCAL + "# p is the probability of an object,\n    # is_object says whether there is one\n    ...\n",
    solution=_FOCAL + """\
p_t = p if is_object else 1 - p
    alpha_t = alpha if is_object else 1 - alpha
    return -alpha_t * (1 - p_t) ** gamma * log(p_t)
""",
    cases=[
        (0.5, True, 0, 1.0), (0.9, True, 2, 1.0), (0.9, True, 2, 0.25), (0.2, False, 2, 0.25), (0.7, False, 0.5, 0.5),
        (0.01, True, 5, 0.75),
    ],
    expected=_focal,
    wrong={
        "A loss is not negative: the logarithm of a probability is, so a minus belongs before it.": _FOCAL + """\
p_t = p if is_object else 1 - p
    alpha_t = alpha if is_object else 1 - alpha
    return alpha_t * (1 - p_t) ** gamma * log(p_t)
""",
        "Without an object the right answer has the probability 1 − p; yours takes p for both.": _FOCAL + """\
alpha_t = alpha if is_object else 1 - alpha
    return -alpha_t * (1 - p) ** gamma * log(p)
""",
        "α is the weight of an object; background weighs 1 − α.": _FOCAL + """\
p_t = p if is_object else 1 - p
    return -alpha * (1 - p_t) ** gamma * log(p_t)
""",
        "The weights are swapped: α belongs to an object, 1 − α to background.": _FOCAL + """\
p_t = p if is_object else 1 - p
    alpha_t = 1 - alpha if is_object else alpha
    return -alpha_t * (1 - p_t) ** gamma * log(p_t)
""",
        "The factor is the power of what is missing, 1 − p_t: what is right already counts little.": _FOCAL + """\
p_t = p if is_object else 1 - p
    alpha_t = alpha if is_object else 1 - alpha
    return -alpha_t * p_t ** gamma * log(p_t)
""",
    },
    hint="First p_t, the probability of what is true; then −α_t · (1 − p_t)^γ · ln p_t.",
    notice="With γ = 2, p_t = 0.9 costs a hundredth of its cross entropy, 0.5 a quarter. Only α knows the class.",
)

_BIAS = "from math import log\n\n\ndef bias(prior):\n    "

bias = Exercise(
    name="bias",
    stub=_BIAS + "# with this bias, and weights near 0,\n    # each anchor's probability starts at `prior`\n    ...\n",
    solution=_BIAS + "return -log((1 - prior) / prior)\n",
    cases=[(0.5,), (0.01,), (0.1,), (0.75,)],
    expected=formulas.prior_bias,
    wrong={
        "The sign is the other one: a small probability has a negative logit.":
            _BIAS + "return log((1 - prior) / prior)\n",
        "That is the logarithm of the probability. Its sigmoid is not the probability: put it in and see.":
            _BIAS + "return log(prior)\n",
        "The logarithm is the natural one: the sigmoid is made of e.":
            "from math import log10\n\n\ndef bias(prior):\n    return -log10((1 - prior) / prior)\n",
    },
    hint="Solve 1 / (1 + e^−b) = prior for b.",
    notice="It is −4.595 for 0.01. A bias of 0 says: every second anchor is an object.",
)

_COUNT = "def count_anchors(height, width):\n    "


def _count_anchors(height, width):
    return sum(9 * rows * columns for rows, columns in (
        formulas.places((height, width), stride) for stride in (8, 16, 32, 64, 128)
    ))


count_anchors = Exercise(
    name="count_anchors",
    stub=_COUNT + "# P3 to P7, three ratios by three scales;\n    # each halving of a side rounds up\n    ...\n",
    solution=_COUNT + """\
count = 0
    for stride in (8, 16, 32, 64, 128):
        count += 9 * -(-height // stride) * -(-width // stride)
    return count
""",
    cases=[(128, 128), (8, 8), (640, 640), (100, 130), (800, 1333)],
    expected=_count_anchors,
    wrong={
        "Each place has nine anchors, one for each ratio and scale.": _COUNT + """\
count = 0
    for stride in (8, 16, 32, 64, 128):
        count += -(-height // stride) * -(-width // stride)
    return count
""",
        "A side that the stride does not divide has one place more: round up.": _COUNT + """\
count = 0
    for stride in (8, 16, 32, 64, 128):
        count += 9 * (height // stride) * (width // stride)
    return count
""",
        "The finest level is P3, with a stride of 8; a P2 would have three quarters of all anchors.": _COUNT + """\
count = 0
    for stride in (4, 8, 16, 32, 64):
        count += 9 * -(-height // stride) * -(-width // stride)
    return count
""",
        "The levels end with P7, with a stride of 128.": _COUNT + """\
count = 0
    for stride in (8, 16, 32, 64):
        count += 9 * -(-height // stride) * -(-width // stride)
    return count
""",
    },
    hint="For each stride from 8 to 128: rows times columns times nine, both rounded up.",
    notice="An image of 800 × 1333 has about 200,000 anchors, of which some dozens match an object.",
)

_ROLE = "def role(ious, positive=0.5, negative=0.4):\n    "


def _role(ious, positive=0.5, negative=0.4):
    best = max(ious) if ious else -1.0
    if best < negative:
        return -1
    return ious.index(best) if best >= positive else -2


role = Exercise(
    name="role",
    stub=_ROLE + "# ious: of one anchor with each object ([]: no objects);\n"
         "    # return the index of its object, the first of equals,\n"
         "    # or -1 for background, -2 for ignored\n    ...\n",
    solution=_ROLE + """\
if not ious or max(ious) < negative:
        return -1
    best = max(ious)
    return ious.index(best) if best >= positive else -2
""",
    cases=[
        ([0.7],), ([0.45],), ([0.1],), ([],), ([0.6, 0.8],), ([0.5],), ([0.4],), ([0.1, 0.45],), ([0.45, 0.1],),
        ([0.45, 0.2, 0.55],), ([0.6, 0.6],), ([0.35], 0.5, 0.3), ([0.3, 0.35], 0.3, 0.3),
    ],
    expected=_role,
    wrong={
        "From 0.4 to 0.5 an anchor is neither: it is ignored, -2.": _ROLE + """\
if not ious or max(ious) < positive:
        return -1
    return ious.index(max(ious))
""",
        "An image without objects has anchors too: all of them are background.": _ROLE + """\
best = max(ious)
    if best < negative:
        return -1
    return ious.index(best) if best >= positive else -2
""",
        "The anchor belongs to the object with the largest IoU, not to the first that is large enough.": _ROLE + """\
for i, iou in enumerate(ious):
        if iou >= positive:
            return i
    return -2 if ious and max(ious) >= negative else -1
""",
        "An IoU that equals the threshold is enough.": _ROLE + """\
if not ious or max(ious) <= negative:
        return -1
    best = max(ious)
    return ious.index(best) if best > positive else -2
""",
        "Of two objects with the same IoU, the first has the anchor.": _ROLE + """\
best, index = -1, -1
    for i, iou in enumerate(ious):
        if iou >= best:
            best, index = iou, i
    return -1 if best < negative else index if best >= positive else -2
""",
        "The largest IoU decides alone: neither the first nor a small one beside it makes background.": _ROLE + """\
if not ious:
        return -1
    if max(ious) >= positive:
        return ious.index(max(ious))
    return -1 if any(iou < negative for iou in ious) else -2
""",
        "Each object overwrites what the one before it said. Find the largest IoU first.": _ROLE + """\
found, best = -1, 0.0
    for i, iou in enumerate(ious):
        if iou >= positive:
            found, best = (i, iou) if iou > best else (found, best)
        elif best < positive:
            found = -1 if iou < negative else -2
    return found
""",
        "The thresholds are arguments; 0.4 is only what `negative` is by default.": _ROLE + """\
if not ious or max(ious) < min(0.4, positive):
        return -1
    best = max(ious)
    return ious.index(best) if best >= positive else -2
""",
    },
    hint="Look at the largest IoU alone: below `negative`, at least `positive`, or between.",
    notice="Nothing is forced. An object that no anchor overlaps by a half is not learned; SSD gives each a box.",
)

_LOSS = "import numpy as np\n\n\ndef loss_and_slope(x, t, gamma):\n    "


def _arrays():
    import numpy as np

    random = np.random.default_rng(0)
    return [
        (np.array([0.0]), np.array([1.0]), 0.0),
        (np.array([1.0]), np.array([1.0]), 2.0), (np.array([1.0]), np.array([0.0]), 2.0),
        (random.standard_normal((3, 4)), 1.0 * (random.random((3, 4)) < 0.3), 2.0),
        (np.array([800.0, -800.0, 800.0, -800.0]), np.array([1.0, 0.0, 0.0, 1.0]), 1.0),
    ]


def _loss_and_slope(x, t, gamma):
    import numpy as np

    functions = formulas.sigmoid_focal_loss, formulas.sigmoid_focal_slope
    pairs = list(zip(x.ravel().tolist(), t.ravel().tolist()))
    return tuple(np.array([function(a, b, None, gamma) for a, b in pairs]).reshape(x.shape) for function in functions)


_SAFELY = _LOSS + """\
sign = 1 - 2 * t
    z = sign * x                                      # the logit of what is wrong
    e = np.exp(-np.abs(z))                            # never overflows
    wrong = np.where(z > 0, 1, e) / (1 + e)           # 1 - p_t
    entropy = np.maximum(z, 0) + np.log1p(e)          # -log(p_t)
"""

loss_and_slope = Exercise(
    name="loss_and_slope",
    stub=_LOSS + "# the focal losses, and their derivatives in each logit, without α: two arrays;\n"
         "    # x and t have one shape, t is 0 or 1; also at logits of ±800\n    ...\n",
    solution=_SAFELY + """\
    slope = sign * wrong**gamma * (gamma * (1 - wrong) * entropy + wrong)
    return wrong**gamma * entropy, slope
""",
    cases=_arrays,
    expected=_loss_and_slope,
    wrong={
        "The factor (1 − p_t)^γ moves with x too: the product rule gives a second term.": _SAFELY + """\
    return wrong**gamma * entropy, sign * wrong**gamma * wrong
""",
        "Where t is 0 a larger logit is worse, and the slope positive. Yours has one sign for both.": _SAFELY + """\
    return wrong**gamma * entropy, -(wrong**gamma) * (gamma * (1 - wrong) * entropy + wrong)
""",
        "That is the slope in z. For an object z is −x: multiply by dz/dx, which is −1 there.": _SAFELY + """\
    return wrong**gamma * entropy, wrong**gamma * (gamma * (1 - wrong) * entropy + wrong)
""",
        "At a logit of 800 the probability is rounded to 1, and the logarithm of the rest infinite: take softplus.":
            _LOSS + """\
with np.errstate(all="ignore"):
        p = 1 / (1 + np.exp(-x))
        p_t = t * p + (1 - t) * (1 - p)
        sign, entropy = 1 - 2 * t, -np.log(p_t)
        return (1 - p_t)**gamma * entropy, sign * (1 - p_t)**gamma * (gamma * p_t * entropy + 1 - p_t)
""",
        "Cutting the logits cuts the loss: at a wrong 800 it is 800, however safe 30 may be.":
            _SAFELY.replace("z = sign * x                 ", "z = sign * np.clip(x, -30, 30)") + """\
    return wrong**gamma * entropy, sign * wrong**gamma * (gamma * (1 - wrong) * entropy + wrong)
""",
        "A small number inside the logarithm bounds the loss: with 1e-12 it is never more than 27.6.": _LOSS + """\
with np.errstate(all="ignore"):
        sign = 1 - 2 * t
        p_t = 1 / (1 + np.exp(sign * x))
        entropy = -np.log(p_t + 1e-12)
        return (1 - p_t)**gamma * entropy, sign * (1 - p_t)**gamma * (gamma * p_t * entropy + 1 - p_t)
""",
        "That is the derivative in p_t. The logit is what the network moves: multiply by dp_t/dx.": _LOSS + """\
with np.errstate(all="ignore"):
        sign = 1 - 2 * t
        p_t = 1 / (1 + np.exp(sign * x))
        slope = (1 - p_t)**gamma / p_t - gamma * (1 - p_t)**(gamma - 1) * np.log(p_t)
        return -(1 - p_t)**gamma * np.log(p_t), sign * slope
""",
    },
    hint="With z the logit of the wrong answer and l = −ln p_t = softplus(z), the loss is (1 − p_t)^γ · l; "
         "its slope in z is (1 − p_t)^γ · (γ·p_t·l + 1 − p_t), and that in x has the sign of dz/dx.",
    notice="With γ = 0 the slope is p − t, cross entropy's. At a wrong answer far out it is ±1 for every γ.",
    plain=False,
)
