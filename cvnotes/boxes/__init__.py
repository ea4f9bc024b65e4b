"""Boxes: their formats, how much two of them agree, how a network encodes them, and how doubles are removed.

IoU and its relatives, encoding against an anchor, and non-maximum suppression: greedy, class-wise and soft.
"""
