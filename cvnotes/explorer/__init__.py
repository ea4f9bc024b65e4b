"""The explorer: one declaration, alive in a running kernel and in the built page alike.

- `declaration`: what an explorer is, and the checks that it is declared well;
- `drawing`: numbers as text, pictures as SVG;
- `markup`: the HTML that stands in a notebook's output and in the page;
- `widget`: the same explorer as ipywidgets, in a kernel;
- `book`: the Sphinx extension that brings the functions themselves into the page;
- `page.js`, `page.py`, `style.css`: what wakes them there.
"""

from cvnotes.explorer.declaration import Explorer, explorer
from cvnotes.explorer.drawing import COLOURS, Picture, image_uri, number
