"""Numbers as text and pictures as SVG, in plain Python, the same in the kernel and in the page."""

# Colours carry roles, the same in every chapter. The page's style sheet gives each role a light
# and a dark value; these are the light ones, for a notebook that has no style sheet.
COLOURS = {
    "input": "#0072b2",
    "kernel": "#d55e00",
    "output": "#00805f",
    "padding": "#8a94a3",
    "match": "#2c7fb8",
    "ignore": "#a68a00",
    "negative": "#aa3377",
    "ink": "#1f2937",
    "muted": "#57606e",
    "faint": "#c9d0d9",
    "paper": "#ffffff",
    "none": "none",
}


SCALE = 1.25  # pixels of a wide screen for a unit of a picture; a narrow screen gives it less


def number(x, digits=0):
    """Return `x` with `digits` decimals, thousands apart: ``number(12443648)`` is 12,443,648.

    The value is rounded half to even on its exact binary fraction, by integer arithmetic, so
    that Brython and CPython write the same digits; their float formats do not agree.

    >>> number(0.05, 1), number(2.5), number(-1234.5678, 2), number(1e400)
    ('0.1', '2', '−1,234.57', '∞')
    """
    if x != x:
        return "NaN"
    if x in (float("inf"), float("-inf")):
        return "∞" if x > 0 else "−∞"
    whole, fraction, negative = _rounded(x, digits)
    plain = str(whole)
    first = len(plain) % 3 or 3
    text = plain[:first]
    for i in range(first, len(plain), 3):
        text += "," + plain[i:i + 3]
    if digits:
        text += "." + fraction
    return "−" + text if negative else text


def _rounded(x, digits):
    """Return the whole part, the `digits` decimals as text, and whether a minus belongs before."""
    if isinstance(x, int):
        return abs(x), "0" * digits, x < 0
    numerator, denominator = x.as_integer_ratio()
    scaled, rest = divmod(abs(numerator) * 10**digits, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and scaled % 2):
        scaled += 1
    whole, fraction = divmod(scaled, 10**digits)
    return whole, str(fraction).rjust(digits, "0"), numerator < 0 and scaled > 0


def coordinate(x):
    """Return `x` as an SVG coordinate: at most two decimals, no zeros at the end.

    A drawing has hundreds of them, so this is quicker than `number`; each step is exact in
    binary or the same rounding everywhere, and so is the text.
    """
    if isinstance(x, int):
        return str(x)
    if x == int(x):
        return str(int(x))
    hundredths = int(abs(x) * 100 + 0.5)
    text = str(hundredths // 100)
    if hundredths % 100:
        text += "." + (str(hundredths % 100).rjust(2, "0").rstrip("0"))
    return "-" + text if x < 0 and hundredths else text


_CSS = {role: "var(--cv-" + role + ", " + COLOURS[role] + ")" for role in COLOURS}
_CSS["none"] = "none"


def colour(role):
    """Return the CSS value of a role of `COLOURS`; any other text is taken as a CSS colour."""
    return _CSS.get(role, role)


def escape(text):
    """Return `text` fit for the inside of an element or an attribute."""
    if "&" in text or "<" in text or ">" in text or '"' in text:  # seldom, and quicker to ask in the page
        text = text.replace("&", "&amp;").replace("<", "&lt;")
        return text.replace(">", "&gt;").replace('"', "&quot;")
    return text


class Picture:
    """An SVG picture of `width` × `height` units; `label` is its name for a screen reader.

    Every method takes `fill` and `stroke` as roles of `COLOURS`, `opacity` from 0 to 1 (of the
    fill), and puts its element on top of those before. Three more keywords make an element alive
    in the page; each stands for controls, which remain the way for the keyboard:

    - ``set={"column": 5}``: a click gives the control `column` the value 5;
    - ``drag={"x": ("left", 20, 8)}``: dragging moves the control `left` by one value for each 8
      units, its first value being at x = 20; likewise ``"y"``;
    - ``title="text"``: shown when the pointer rests on it.

    >>> Picture(10, 10, "dot").circle(5, 5, 2, fill="input").svg()[-13:]
    '"/></g></svg>'
    """

    def __init__(self, width, height, label):
        self.width, self.height, self.label = width, height, label
        self.parts = []

    def _add(self, head, fill=None, stroke=None, line=None, opacity=None, dash=None, set=None,
             drag=None, title=None, content=""):
        """Add an element: `head` is its tag with its own attributes, the rest is for all."""
        out = "<" + head
        if fill is not None:
            out += ' fill="' + colour(fill) + '"'
        if opacity is not None:
            out += ' fill-opacity="' + coordinate(opacity) + '"'
        if stroke is not None:
            out += ' stroke="' + colour(stroke) + '"'
        if line is not None:
            out += ' stroke-width="' + coordinate(line) + '"'
        if dash is not None:
            out += ' stroke-dasharray="' + dash + '"'
        if set is not None:
            pairs = [name + "=" + str(set[name]) for name in set]
            out += ' data-set="' + escape("&".join(pairs)) + '"'
        if drag is not None:
            for axis in drag:
                name, origin, step = drag[axis]
                where = coordinate(origin) + " " + coordinate(step)
                out += " data-drag-" + axis + '="' + name + " " + where + '"'
        if title is not None:
            content += "<title>" + escape(title) + "</title>"
        self.parts.append(out + ">" + content + "</" + head.split(" ")[0] + ">" if content else out + "/>")
        return self

    def rect(self, x, y, width, height, fill="none", stroke=None, line=None, radius=None, **more):
        """Draw a rectangle; `line` is the width of its stroke, `radius` rounds the corners."""
        head = 'rect x="' + coordinate(x) + '" y="' + coordinate(y) + '" width="' + coordinate(width)
        head += '" height="' + coordinate(height) + '"'
        if radius is not None:
            head += ' rx="' + coordinate(radius) + '"'
        return self._add(head, fill, stroke, line, **more)

    def circle(self, x, y, radius, fill="none", stroke=None, line=None, **more):
        """Draw a circle round (x, y)."""
        head = 'circle cx="' + coordinate(x) + '" cy="' + coordinate(y) + '" r="' + coordinate(radius) + '"'
        return self._add(head, fill, stroke, line, **more)

    def line(self, x1, y1, x2, y2, stroke="ink", line=1, **more):
        """Draw a straight line."""
        head = 'line x1="' + coordinate(x1) + '" y1="' + coordinate(y1)
        head += '" x2="' + coordinate(x2) + '" y2="' + coordinate(y2) + '"'
        return self._add(head, None, stroke, line, **more)

    def path(self, d, fill="none", stroke=None, line=None, **more):
        """Draw a path from SVG's own letters, as in ``"M0 0L5 5"``."""
        return self._add('path d="' + d + '"', fill, stroke, line, **more)

    def curve(self, points, stroke="ink", line=2, **more):
        """Draw straight lines from point to point of a list of (x, y)."""
        d = "M" + "L".join(coordinate(x) + " " + coordinate(y) for x, y in points)
        return self.path(d, "none", stroke, line, **more)

    def arrow(self, x1, y1, x2, y2, stroke="ink", line=1.5, head=6, **more):
        """Draw a line with a head at (x2, y2)."""
        length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5 or 1
        ux, uy = (x2 - x1) / length * head, (y2 - y1) / length * head
        points = ((x2 - ux - uy / 2, y2 - uy + ux / 2), (x2, y2), (x2 - ux + uy / 2, y2 - uy - ux / 2))
        self.line(x1, y1, x2, y2, stroke, line, **more)
        return self.curve(points, stroke, line)

    def cells(self, x, y, rows, columns, size, fill="none", stroke="faint", line=1, **more):
        """Draw a grid of square cells of `size` units as two elements, whatever their number."""
        self.rect(x, y, columns * size, rows * size, fill, **more)
        d = "".join(
            "M" + coordinate(x + i * size) + " " + coordinate(y) + "v" + coordinate(rows * size)
            for i in range(columns + 1)
        ) + "".join(
            "M" + coordinate(x) + " " + coordinate(y + i * size) + "h" + coordinate(columns * size)
            for i in range(rows + 1)
        )
        return self.path(d, "none", stroke, line)

    def text(self, x, y, content, size=15, anchor="middle", fill="ink", weight=None, **more):
        """Write `content` with its base line at y; `anchor` is start, middle or end."""
        head = 'text x="' + coordinate(x) + '" y="' + coordinate(y) + '" font-size="' + coordinate(size)
        head += '" text-anchor="' + anchor + '"'
        if weight is not None:
            head += ' font-weight="' + weight + '"'
        return self._add(head, fill, content=escape(content), **more)

    def image(self, x, y, width, height, href, **more):
        """Show an image (see `image_uri`), each pixel a sharp square."""
        head = 'image x="' + coordinate(x) + '" y="' + coordinate(y) + '" width="' + coordinate(width)
        head += '" height="' + coordinate(height) + '" href="' + escape(href)
        head += '" preserveAspectRatio="none" style="image-rendering:pixelated"'
        return self._add(head, **more)

    def svg(self):
        """Return the picture as text."""
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ' + coordinate(self.width) + " "
            + coordinate(self.height) + '" width="' + coordinate(self.width * SCALE)
            + '" role="img" aria-label="' + escape(self.label)
            + '"><g font-family="system-ui, sans-serif">' + "".join(self.parts) + "</g></svg>"
        )


_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def image_uri(rows):
    """Return a grey image as a `data:` URI; `rows` holds integers from 0 (black) to 255 (white).

    Plain Python, for `Picture.image`; an image larger than some 40 × 40 is better made in the
    notebook and handed to the explorer as data.

    Raises `ValueError` where there is no pixel, rows differ in length, or a value is no byte.

    >>> image_uri([[0, 255]])[:22]
    'data:image/bmp;base64,'
    """
    height, width = len(rows), len(rows[0]) if rows else 0
    if not width or any(len(row) != width for row in rows):
        raise ValueError("`rows` must be a list of lists of one length, with at least one pixel")
    # A Windows bitmap of 8 bits: two headers, a palette of greys, the rows from the bottom up.
    data = []
    for row in reversed(rows):
        for value in row:
            if not 0 <= value <= 255:
                raise ValueError(f"`rows` holds {value!r}; 0 to 255 is needed")
            data.append(value)
        data.extend([0] * (-width % 4))
    header = [66, 77]
    for value in (1078 + len(data), 0, 1078, 40, width, height, 1 + 8 * 65536, 0, len(data), 0, 0, 0, 0):
        header.extend([value % 256, value // 256 % 256, value // 65536 % 256, value // 16777216])
    for grey in range(256):
        header.extend([grey, grey, grey, 0])
    data = header + data
    padding = -len(data) % 3
    data.extend([0] * padding)
    letters = []
    for i in range(0, len(data), 3):
        bits = data[i] * 65536 + data[i + 1] * 256 + data[i + 2]
        letters.append(
            _BASE64[bits // 262144] + _BASE64[bits // 4096 % 64] + _BASE64[bits // 64 % 64] + _BASE64[bits % 64]
        )
    text = "".join(letters)
    return "data:image/bmp;base64," + (text[:-padding] + "=" * padding if padding else text)
