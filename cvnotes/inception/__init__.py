"""Networks as budgets: what a 1×1 convolution can do, what it saves, and the networks built on that.

Network in Network, the Inception module and GoogLeNet, factorised convolutions, SqueezeNet, Xception.
"""
