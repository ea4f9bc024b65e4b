"""Types of convolution: which inputs feed an output, with which weights, and what that costs.

Standard, dilated, transposed, grouped, 1×1, spatially separable, depthwise separable and
deformable convolution, and involution.
"""
