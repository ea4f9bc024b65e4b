"""Convolution arithmetic: sizes, receptive fields, and a convolution as a matrix."""
