"""How good is a detector: matches, precision and recall, and why three papers' average precisions differ.

The tools of PASCAL VOC, with 11 points and with all points, and COCO's twelve figures, with crowds,
objects that are left out, sizes, and limits on the number of detections.
"""
