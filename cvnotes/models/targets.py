"""What a detector is to find in a batch, checked before a loss is made of it."""

from cvnotes.boxes import formulas


def checked(targets, images, least, most, extra=()):
    """Return targets as they are, with labels of int64, or say what is wrong with them.

    - targets: for each image a dict of `boxes` (M, 4) in pixels, each with an area, and `labels` (M,), integers
    - images: how many there are in the batch
    - least, most: of the labels
    - extra: names of further sets of boxes that each dict has

    Raises `ValueError` where there is not one dict for each image, boxes are none, or a label is out of range.
    """
    if len(targets) != images:
        raise ValueError(f"`targets` has {len(targets)} entries; {images} are needed, one for each image")
    found = []
    for i, target in enumerate(targets):
        for name in ("boxes", "labels", *extra):
            if name not in target:
                raise ValueError(f"`targets[{i}]` has no `{name}`")
        for name in ("boxes", *extra):
            formulas.box_set(f"targets[{i}]['{name}']", target[name], sides=True)
        name, labels = f"targets[{i}]['labels']", target["labels"]
        formulas.labels(name, labels, len(target["boxes"]))
        labels = labels.long()
        bad = (labels < least) | (labels > most)
        if bad.any():
            index = int(bad.nonzero()[0])
            raise ValueError(f"`{name}` holds {int(labels[index])} at index {index}; {least} to {most} are needed")
        found.append({**target, "labels": labels})
    return found
