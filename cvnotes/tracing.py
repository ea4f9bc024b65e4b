"""What each layer of a torch module costs, found by running it: see `cvnotes.cost.trace`."""

from html import escape
from math import prod

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cvnotes import cost, shapes
from cvnotes.cost import Cost

# --- the table -------------------------------------------------------------------------


class Row:
    """One layer of a `Trace`; see `cvnotes.cost.trace`."""

    def __init__(self, name, kind, inputs, output_shape, cost, module=None, call=None):
        self.name, self.kind, self.inputs, self.output_shape, self.cost = name, kind, inputs, output_shape, cost
        self.module = module  # the layer, or the larger module that has computed this by itself
        self.call = call  # runs it again on the same input, where the trace keeps it

    def bytes_moved(self, bytes_per_element=4):
        """Return how many bytes the layer moves at least; see `cvnotes.cost.bytes_moved`."""
        return cost.bytes_moved(self.cost, self.inputs, bytes_per_element=bytes_per_element)

    def intensity(self, bytes_per_element=4):
        """Return its operations for each byte moved; see `cvnotes.cost.intensity`."""
        return cost.intensity(self.cost, self.inputs, bytes_per_element=bytes_per_element)

    def __repr__(self):
        return f"Row({self.name!r}, {self.kind!r}, {self.output_shape}, {self.cost!r})"


class Trace:
    """A table of what each layer costs: a sequence of `Row`, with `.total`, the sum of their costs."""

    def __init__(self, rows):
        self.rows = list(rows)

    @property
    def total(self):
        return sum((row.cost for row in self.rows), Cost())

    def grouped(self, depth=1):
        """Return the table with one row for each module `depth` levels down, in order of execution.

        Rows that follow each other and share the first `depth` words of their names become one,
        with the sum of their costs, the inputs of the first and the shape of the last.
        """
        depth = shapes.integer("depth", depth, 1)
        groups = []
        for row in self.rows:
            name = ".".join(row.name.split(".")[:depth])
            if groups and groups[-1].name == name:
                last = groups[-1]
                last.kind = f"{int(last.kind.split()[0]) + 1} layers"
                last.cost, last.output_shape = last.cost + row.cost, row.output_shape
            else:
                groups.append(Row(name, "1 layer", row.inputs, row.output_shape, row.cost))
        return Trace(groups)

    def __len__(self):
        return len(self.rows)

    def __iter__(self):
        return iter(self.rows)

    def __getitem__(self, index):
        return self.rows[index]

    def _cells(self):
        for row in self.rows:
            counts = (f"{count:,}" for count in (row.cost.params, row.cost.macs, row.cost.activations))
            yield row.name, row.kind, " × ".join(str(size) for size in row.output_shape), *counts
        total = self.total
        yield "total", "", "", f"{total.params:,}", f"{total.macs:,}", f"{total.activations:,}"

    def __repr__(self):
        table = [HEAD, *self._cells()]
        widths = [max(len(line[i]) for line in table) for i in range(len(HEAD))]
        lines = [
            "  ".join(cell.ljust(width) if i < 3 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths)))
            for line in table
        ]
        rule = "-" * len(lines[0])
        return "\n".join(line.rstrip() for line in (lines[0], rule, *lines[1:-1], rule, lines[-1]))

    def _repr_html_(self):
        def line(cells, tag):
            style = ['style="text-align:left"'] * 3 + ['style="text-align:right"'] * 3
            return "<tr>" + "".join(f"<{tag} {how}>{escape(cell)}</{tag}>" for cell, how in zip(cells, style)) + "</tr>"

        *rows, total = self._cells()
        body = "".join(line(row, "td") for row in rows)
        return (  # a wide table scrolls by itself, in the book by its theme's own container
            f'<div class="pst-scrollable-table-container" style="overflow-x:auto">'
            f'<table class="table"><thead>{line(HEAD, "th")}</thead><tbody>{body}</tbody>'
            f'<tfoot>{line(total, "th")}</tfoot></table></div>'
        )


HEAD = ("name", "kind", "output", "parameters", "multiply-adds", "activations")

# --- running ---------------------------------------------------------------------------


def trace(module, input_size, *, keep_calls=False):
    """Same as `cvnotes.cost.trace`; with `keep_calls`, `row.call()` runs a layer again on its own input."""
    if not isinstance(module, torch.nn.Module):
        raise ValueError(f"`module` (a {type(module).__name__}) must be a torch.nn.Module")
    tensors = _tensors(module, input_size)
    # A batch norm in training mode writes into its buffers, and dropout draws random numbers.
    before = [
        (child, name, buffer, buffer.clone())
        for child in module.modules() for name, buffer in child._buffers.items() if buffer is not None
    ]
    recorder = _Recorder(module, keep_calls)
    quick = torch.backends.mha.get_fastpath_enabled()  # one operation for a whole encoder layer
    torch.backends.mha.set_fastpath_enabled(False)
    handles = []
    try:
        for name, child in module.named_modules():
            enter = child.register_forward_pre_hook(recorder.entering(name), with_kwargs=True)
            leave = child.register_forward_hook(recorder.leave, always_call=True)
            handles += [enter, leave]
        # Inference mode would hide from the recorder what a matrix product is made of.
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.no_grad(), recorder:
            module(*tensors)
    finally:
        for handle in handles:
            handle.remove()
        torch.backends.mha.set_fastpath_enabled(quick)
        with torch.no_grad():
            for child, name, buffer, value in before:
                child._buffers[name] = buffer.copy_(value)
    return Trace(recorder.rows)


def _tensors(module, input_size):
    """Return the tensors that the module is called with."""
    if isinstance(input_size, torch.Tensor):
        return [input_size]
    if not isinstance(input_size, (tuple, list)) or not input_size:  # torch.Size is a tuple
        raise ValueError(f"`input_size` (={input_size!r}) must be a shape, a list of shapes or a tensor")
    if input_size and all(isinstance(one, (torch.Tensor, tuple, list)) for one in input_size):
        return [tensor for one in input_size for tensor in _tensors(module, one)]
    shape = tuple(shapes.integer("input_size", size, 0) for size in input_size)
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.empty(0))
    return [torch.zeros(shape, dtype=like.dtype, device=like.device)]


class _Frame:
    """A module that is running: its name, and what its own operations have cost so far."""

    def __init__(self, name, module, args, kwargs):
        self.name, self.module, self.args, self.kwargs = name, module, args, kwargs
        self.leaf = not any(True for _ in module.children())
        self.params = self.macs = 0


class _Recorder(TorchDispatchMode):
    """Sees each operation of torch, below autograd, and puts it down to the module that is running."""

    def __init__(self, module, keep_calls):
        super().__init__()
        self.rows, self.frames, self.keep_calls = [], [], keep_calls
        self.unused = {id(parameter) for parameter in module.parameters()}

    def entering(self, name):
        def enter(module, args, kwargs):
            self.frames.append(_Frame(name, module, args, kwargs))

        return enter

    def leave(self, module, args, output):
        while self.frames[-1].module is not module:
            self.frames.pop()
        frame = self.frames.pop()
        if output is None:  # it has raised; whoever called it may have caught that
            return
        if frame.leaf:
            call = (lambda: module(*frame.args, **frame.kwargs)) if self.keep_calls else None
            given = (*frame.args, *frame.kwargs.values())
            self._add(frame, type(module).__name__, given, output, frame.macs, call)
        elif frame.params:  # used by views alone, in a module that computed nothing by itself
            self._add(frame, type(module).__name__, (), (), 0)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        output = function(*args, **kwargs)
        if not self.frames:
            return output
        frame = self.frames[-1]
        for tensor in _all_tensors((args, kwargs)):
            if id(tensor) in self.unused:
                self.unused.remove(id(tensor))
                frame.params += tensor.numel()
        macs = multiply_adds(function, args, output)
        if frame.leaf:
            frame.macs += macs
        elif not _only_looks(function) and any(True for _ in _all_tensors((args, kwargs))):
            call = (lambda: function(*args, **kwargs)) if self.keep_calls else None
            kind = function.overloadpacket.__name__.strip("_")
            self._add(frame, kind, (args, kwargs), output, macs, call)
        return output

    def _add(self, frame, kind, given, output, macs, call=None):
        outputs = list(_all_tensors(output))
        shape = tuple(outputs[0].shape) if outputs else ()
        read = sum(tensor.numel() for tensor in _all_tensors(given) if not isinstance(tensor, torch.nn.Parameter))
        price = Cost(frame.params, macs, sum(tensor.numel() for tensor in outputs))
        frame.params = 0
        self.rows.append(Row(frame.name, kind, read, shape, price, frame.module, call))


def _all_tensors(value):
    """Yield the tensors in a value, also in lists, tuples and dicts of it."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _all_tensors(item)
    elif isinstance(value, dict):
        yield from _all_tensors(list(value.values()))


def _only_looks(function):
    """Tell whether all that an operation returns are views of its arguments."""
    infos = [returned.alias_info for returned in function._schema.returns]
    return all(info is not None and not info.is_write for info in infos)


def multiply_adds(function, args, output):
    """Return the multiply-adds of one of torch's own operations, from the shapes of its arrays."""
    name = function.overloadpacket.__name__
    if name in ("convolution", "_convolution"):
        x, w, transposed = args[0], args[1], args[6]
        return (x if transposed else output).numel() * prod(w.shape[1:])
    if name in ("mm", "bmm", "mv", "dot", "vdot"):
        a, b = args[0], args[1]
    elif name in ("addmm", "baddbmm", "addbmm", "addmv"):
        a, b = args[1], args[2]
    elif name == "addr":
        return args[1].numel() * args[2].numel()
    elif name == "mkldnn_rnn_layer":  # each weight of a layer once a step of each sequence
        return args[0].shape[0] * args[0].shape[1] * (args[1].numel() + args[2].numel())
    elif name == "_trilinear":  # of `nn.Bilinear`: each weight once for each of the pairs
        return output.numel() * prod(args[1].shape[-2:])
    elif name.startswith("_scaled_dot_product"):
        (*batch, L, E), S, V = args[0].shape, args[1].shape[-2], args[2].shape[-1]
        return prod(batch) * L * S * (E + V)  # queries times keys, then weights times values
    else:
        return 0
    return a.numel() * (b.shape[-1] if b.dim() > 1 else 1)
