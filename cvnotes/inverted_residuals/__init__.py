"""Blocks for small budgets: separable, bottleneck, inverted residual, EffNet's and ShuffleNet's.

What each one costs, why a bottleneck is linear, what an activation does under fixed point, and where
the channels of grouped layers meet.
"""
