"""The focal loss, RetinaNet's anchors, and the other loss functions of vision.

Why cross entropy drowns in easy negatives, what the factor (1 − p_t)^γ does about it, and how losses of
masks, offsets and boxes differ in what they ask for and where they fail.
"""
