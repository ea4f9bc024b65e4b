"""The explorers of the types of convolution: plain Python on the chapter's formulas.

IN WORK (a second pair of hands writes this file and image_data.py now, so that the chapter's author can go on with
exercises.py, benchmarks/, the training and the notebook). Names: all_types, kernels_on_photograph(data), rank(data),
groups, sampling_points(data), involution_kernels(data); their data come from cvnotes.conv_types.image_data.
"""
