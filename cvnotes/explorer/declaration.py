"""What an explorer is: a function from the values of its controls to a picture and a sentence."""

LARGEST_DATA = 150_000  # bytes of Python source that one explorer may carry into the page


def explorer(*, play=None, **controls):
    """Make an explorer of a function of keyword arguments with defaults.

    Each keyword names a parameter and gives the values that it may take: a `range` or numbers
    make a slider, strings a select, ``(False, True)`` a toggle. `play` names the one slider that
    a reader may step through with a button. The function returns `(picture, sentence)`: SVG text
    and one line with its numbers in it; a `ValueError` it raises is shown as its sentence.

    A first parameter called `data` has no control and no default: it takes what
    `Explorer.with_data` binds.

    Raises `ValueError`, naming the function and the control, where a control has no values or
    mixed ones, is no parameter, or does not hold the parameter's default.

    >>> @explorer(size=range(1, 4))
    ... def square(size=2):
    ...     return f"<svg>{size}</svg>", f"{size} × {size} = {size * size}"
    >>> square(size=3)
    ('<svg>3</svg>', '3 × 3 = 9')
    >>> square.controls
    {'size': (1, 2, 3)}
    """

    def declare(function):
        return Explorer(function, controls, play)

    return declare


class Explorer:
    """An explorer: call it for `(picture, sentence)`; display it for controls that move it."""

    def __init__(self, function, controls, play=None, data=None):
        self.function = function
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self.__wrapped__ = function
        self.name = function.__name__
        self.controls = {name: self._values(name, controls[name]) for name in controls}
        self.play = play
        self.data = data
        self.kinds = {name: self._kind(name) for name in self.controls}
        self.defaults = self._check_parameters()

    def __call__(self, *args, **state):
        """Return `(picture, sentence)` for a state; what is not given stands at its default."""
        if self.takes_data and "data" not in state and not args and self.data is None:
            raise ValueError(f"explorer `{self.name}` needs `data`: bind it by `with_data`")
        if self.takes_data and "data" not in state and self.data is not None:
            return self.function(self.data, *args, **state)
        return self.function(*args, **state)

    def with_data(self, data):
        """Return this explorer with `data` bound to its first parameter.

        `data` is made of dicts with string keys, lists, strings, finite numbers, booleans and
        None. Raises `ValueError` where it is not, or where it is over 150,000 bytes as text.
        """
        if not self.takes_data:
            raise ValueError(f"explorer `{self.name}` takes no `data`")
        if data is None:
            raise ValueError(f"`data` of explorer `{self.name}` is None")
        data = _checked_data(self.name, "data", data)
        size = len(repr(data).encode())
        if size > LARGEST_DATA:
            raise ValueError(
                f"`data` of explorer `{self.name}` is {size} bytes long; {LARGEST_DATA} are allowed"
            )
        return Explorer(self.function, self.controls, self.play, data)

    @property
    def path(self):
        """The dotted name by which the page finds the function: ``module:name``."""
        return self.__module__ + ":" + self.name

    def state(self, indices):
        """Return the keyword arguments for a list of one index a control."""
        return {name: values[i] for (name, values), i in zip(self.controls.items(), indices)}

    def render(self, state):
        """Return `(picture, sentence, failed)`; a `ValueError` becomes the sentence."""
        try:
            result = self(**state)
        except ValueError as error:
            return "", str(error), True
        if not (isinstance(result, tuple) and len(result) == 2 and all(isinstance(x, str) for x in result)):
            raise TypeError(f"explorer `{self.name}` returned {result!r}; (picture, sentence) is needed")
        return result[0], result[1], False

    def _values(self, name, values):
        """Return the values of a control as a tuple."""
        if not isinstance(values, (range, tuple, list)):
            raise ValueError(f"control `{name}` of explorer `{self.name}` is {values!r}; a range or a tuple is needed")
        return tuple(values)

    def _kind(self, name):
        """Return `slider`, `select` or `toggle`, by the type of the values of a control."""
        values = self.controls[name]
        if not values:
            raise ValueError(f"control `{name}` of explorer `{self.name}` has no values")
        if len(set(values)) < len(values):
            raise ValueError(f"control `{name}` of explorer `{self.name}` has a value twice")
        if all(isinstance(value, bool) for value in values):
            if values != (False, True):
                raise ValueError(
                    f"control `{name}` of explorer `{self.name}` is {values!r}; (False, True) is a toggle"
                )
            return "toggle"
        if all(isinstance(value, str) for value in values):
            if any("|" in value for value in values):  # the page's list of values is split there
                raise ValueError(f"control `{name}` of explorer `{self.name}` has a value with a `|`")
            return "select"
        if all(type(value) in (int, float) and abs(value) < float("inf") for value in values):
            return "slider"
        raise ValueError(
            f"control `{name}` of explorer `{self.name}` has values of the wrong type: plain finite numbers "
            f"alone, strings alone or (False, True) are needed"
        )

    def _check_parameters(self):
        """Check that controls and parameters are the same, and return the defaults."""
        code = self.function.__code__
        names = list(code.co_varnames[: code.co_argcount])
        values = self.function.__defaults__ or ()
        self.takes_data = bool(names) and names[0] == "data"
        if self.takes_data:
            names = names[1:]
        if len(values) != len(names) or code.co_kwonlyargcount or code.co_posonlyargcount or code.co_flags & 12:
            raise ValueError(f"explorer `{self.name}` needs plain parameters, each with a default")
        defaults = dict(zip(names, values))
        for name in self.controls:
            if name not in defaults:
                raise ValueError(f"control `{name}` is no parameter of explorer `{self.name}`")
        for name in names:
            if name not in self.controls:
                raise ValueError(f"parameter `{name}` of explorer `{self.name}` has no control")
            choices = self.controls[name]
            if not any(value == defaults[name] and type(value) is type(defaults[name]) for value in choices):
                raise ValueError(
                    f"the default {defaults[name]!r} of `{name}` is none of its values in explorer `{self.name}`"
                )
        if self.play is not None and self.kinds.get(self.play) != "slider":
            raise ValueError(f"`play` of explorer `{self.name}` names {self.play!r}; a slider is needed")
        return {name: defaults[name] for name in self.controls}

    def __repr__(self):
        return "Explorer " + self.path

    def _repr_mimebundle_(self, include=None, exclude=None):
        from cvnotes.explorer import markup

        bundle = {"text/plain": repr(self), "text/html": markup.explorer(self)}
        try:
            from cvnotes.explorer import widget
        except ImportError:  # a kernel without ipywidgets shows the picture as it stands
            return bundle
        return {**widget.show(self)._repr_mimebundle_(), **bundle}


def _checked_data(name, path, data):
    """Return a copy of data that the page can take."""
    if type(data) is dict:
        for key in data:
            if not isinstance(key, str):
                raise ValueError(f"`{path}` of explorer `{name}` has the key {key!r}; strings are needed")
        return {key: _checked_data(name, path + "." + key, data[key]) for key in data}
    if type(data) is list:
        return [_checked_data(name, path + "[" + str(i) + "]", item) for i, item in enumerate(data)]
    if data is not None and type(data) not in (str, int, float, bool):
        raise ValueError(
            f"`{path}` of explorer `{name}` is of type {type(data).__name__}; dict, list, str, int, "
            f"float, bool or None is needed"
        )
    if type(data) is float and not abs(data) < float("inf"):
        raise ValueError(f"`{path}` of explorer `{name}` is {data}; a finite number is needed")
    return data
