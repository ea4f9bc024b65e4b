"""An explorer as ordinary ipywidgets, for a running kernel."""

from pathlib import Path

import ipywidgets as widgets

from cvnotes.explorer import markup
from cvnotes.explorer.drawing import escape

_WORDS = {"description_width": "8em"}
# The page's own colours, so that JupyterLab's dark theme is followed too.
_STYLE = "<style>" + (Path(__file__).parent / "style.css").read_text("utf-8") + "</style>"


def show(this):
    """Return a widget with the controls of an explorer, its picture and its sentence."""
    controls = {name: _control(this, name) for name in this.controls}
    picture, sentence, style = widgets.HTML(), widgets.HTML(), widgets.HTML(_STYLE)

    def draw(change=None):
        drawing, words, failed = this.render({name: controls[name].value for name in controls})
        picture.value = f'<div class="cv-picture">{drawing}</div>'
        sentence.value = f'<p role="status">{"⚠ " if failed else ""}{escape(words)}</p>'

    for control in controls.values():
        control.observe(draw, "value")
    draw()
    rows = list(controls.values())
    if this.play:
        rows.append(_player(controls[this.play]))
    return widgets.VBox([*rows, picture, sentence, style])


def _control(this, name):
    default, description = this.defaults[name], markup.title(name)
    if this.kinds[name] == "toggle":
        return widgets.Checkbox(default, description=description, indent=False)
    choices = [(markup.label(value), value) for value in this.controls[name]]
    if this.kinds[name] == "select":
        return widgets.Dropdown(options=choices, value=default, description=description, style=_WORDS)
    return widgets.SelectionSlider(options=choices, value=default, description=description, style=_WORDS)


def _player(slider):
    """Return a player that steps a slider through its values."""
    play = widgets.Play(min=0, max=len(slider.options) - 1, value=slider.index, interval=600)
    widgets.link((play, "value"), (slider, "index"))
    return play
