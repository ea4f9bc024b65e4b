"""cvnotes: the code behind an interactive book on convolutional networks.

Each chapter has a package of its own, with the same modules in each: `formulas` (plain Python),
`reference` (NumPy, to be read beside the equation), `fast` (Torch), `explorers` and `exercises`.
"""

__version__ = "0.1.0"
