"""Feature pyramids: maps of every size, each with the meaning that the coarsest has.

The top-down way with its lateral connections, nearest upsampling and what it does to a spectrum, and the level
from which a box is read.
"""
