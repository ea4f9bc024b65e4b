"""An explorer as HTML: its controls, and the picture and the sentence of its default state."""

from cvnotes.explorer.drawing import escape, number


def label(value):
    """Return the text of a control's value: ``3``, ``0.25``, ``same``, ``yes``."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        digits = repr(value).partition(".")[2]
        if "e" not in digits:
            return number(value, 0 if digits == "0" else len(digits))
    return str(value)


def title(name):
    """Return the words beside a control."""
    return name.replace("_", " ")


def explorer(this):
    """Return the HTML of an explorer in its default state.

    The page's script reads all it needs from here: the function's name, the values of the
    controls (as text; Python is told their index), and the data as Python source.
    """
    picture, sentence, failed = this.render(this.defaults)
    controls = "".join(_control(this, name) for name in this.controls)
    return (
        f'<div class="cv-explorer" data-function="{this.path}">'
        f'<form class="cv-controls" autocomplete="off"><fieldset disabled>'
        f'<legend class="cv-unseen">Controls of {title(this.name)}</legend>{controls}</fieldset></form>'
        f'<div class="cv-picture" data-part="picture">{picture}</div>'
        f'<p class="cv-sentence{" cv-failed" if failed else ""}" data-part="sentence" '
        f'aria-live="polite">{escape(sentence)}</p>'
        f"{_data(this.data)}</div>"
    )


def _control(this, name):
    values = this.controls[name]
    default = values.index(this.defaults[name])
    words = escape(title(name))
    # What a link says of a value is its str, and what a reader sees is its label.
    texts = escape("|".join(str(value) for value in values))
    if this.kinds[name] == "toggle":
        checked = " checked" if default else ""
        field = f'<input type="checkbox" name="{name}" data-values="{texts}"{checked}>'
        return f'<label class="cv-control cv-toggle">{field}<span>{words}</span></label>'
    if this.kinds[name] == "select":
        options = "".join(
            f'<option value="{escape(value)}"{" selected" if i == default else ""}>{escape(value)}</option>'
            for i, value in enumerate(values)
        )
        field = f'<select name="{name}" data-values="{texts}">{options}</select>'
        return f'<label class="cv-control"><span>{words}</span>{field}</label>'
    labels = "|".join(label(value) for value in values)
    field = (
        f'<input type="range" name="{name}" min="0" max="{len(values) - 1}" step="1" value="{default}" '
        f'data-values="{texts}" data-labels="{escape(labels)}" aria-valuetext="{label(values[default])}">'
    )
    play = ' data-play=""' if this.play == name else ""
    return (
        f'<label class="cv-control"{play}><span>{words}</span>{field}'
        f"<output>{label(values[default])}</output></label>"
    )


def _data(data):
    if data is None:
        return ""
    # A "<" can stand in a string alone, and no "</script>" may stand in a script.
    source = repr(data).replace("<", "\\x3c")
    return f'<script type="application/x-python" data-part="data">{source}</script>'
