"""SSD: boxes of many scales laid over an image, and everything learned about each of them in one pass.

Default boxes, matching, hard negative mining, the multibox loss, patch sampling, and the way to final boxes.
"""
