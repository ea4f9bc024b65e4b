"""A convolution as one matrix product: im2col, its adjoint col2im, and how to do without either."""
