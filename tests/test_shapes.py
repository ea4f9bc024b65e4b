import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cvnotes import shapes

# --- sizes -------------------------------------------------------------------------------


def outcome(function, *args, **kwargs):
    """Return the result, or None where the arguments are refused."""
    try:
        return function(*args, **kwargs)
    except (ValueError, RuntimeError):
        return None


def test_output_size_is_that_of_torch():
    ranges = range(1, 10), range(1, 6), range(1, 5), range(0, 4), range(1, 4)
    for size, kernel, stride, padding, dilation in itertools.product(*ranges):
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        x, w = torch.empty(1, 1, size, size, device="meta"), torch.empty(1, 1, kernel, kernel, device="meta")
        theirs = outcome(F.conv2d, x, w, **options)
        ours = outcome(shapes.output_size, size, kernel, **options)
        assert ours == (None if theirs is None else theirs.shape[-1]), (size, kernel, options)


def test_output_size_is_that_of_pooling():
    for size, kernel, stride, dilation in itertools.product(range(1, 12), range(1, 5), range(1, 4), range(1, 3)):
        for padding in range(kernel // 2 + 1):
            options = {"stride": stride, "padding": padding, "dilation": dilation}
            theirs = outcome(F.max_pool2d, torch.zeros(1, 1, size, size), kernel, **options)
            ours = outcome(shapes.output_size, size, kernel, **options)
            assert ours == (None if theirs is None else theirs.shape[-1]), (size, kernel, options)


def test_transposed_output_size_is_that_of_torch():
    ranges = range(1, 6), range(1, 5), range(1, 4), range(0, 4), range(0, 4), range(1, 4)
    for size, kernel, stride, padding, extra, dilation in itertools.product(*ranges):
        options = {"stride": stride, "padding": padding, "output_padding": extra, "dilation": dilation}
        x, w = torch.zeros(1, 1, size, size), torch.zeros(1, 1, kernel, kernel)
        theirs = outcome(F.conv_transpose2d, x, w, **options)
        ours = outcome(shapes.transposed_output_size, size, kernel, **options)
        if theirs is None or theirs.shape[-1] == 0:  # ours refuses an output without a pixel
            assert ours is None, (size, kernel, options)
        else:
            assert ours == theirs.shape[-1], (size, kernel, options)


def test_transposed_output_size_turns_output_size_back():
    ranges = range(1, 14), range(1, 6), range(1, 5), range(0, 3), range(1, 3)
    for size, kernel, stride, padding, dilation in itertools.product(*ranges):
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        output = outcome(shapes.output_size, size, kernel, **options)
        if output is not None:
            dropped = (size + 2 * padding - shapes.window_size(kernel, dilation)) % stride
            back = shapes.transposed_output_size(output, kernel, output_padding=dropped, **options)
            assert back == size, (size, kernel, options)


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch copies x to pad it unevenly, and says so
def test_same_padding_is_that_of_torch():
    random = torch.Generator().manual_seed(0)
    for size, kernel, dilation in itertools.product(range(1, 8), range(1, 6), range(1, 4)):
        x, w = torch.randn(1, 1, size, generator=random), torch.randn(1, 1, kernel, generator=random)
        padded = F.pad(x, shapes.same_padding(size, kernel, dilation=dilation))
        with_zeros = F.conv1d(padded, w, dilation=dilation)
        same = F.conv1d(x, w, padding="same", dilation=dilation)
        torch.testing.assert_close(with_zeros, same)


def test_same_padding_makes_the_size_over_the_stride_rounded_up():
    for size, kernel, stride, dilation in itertools.product(range(1, 15), range(1, 6), range(1, 5), range(1, 4)):
        before, after = shapes.same_padding(size, kernel, stride=stride, dilation=dilation)
        padded = size + before + after
        assert after - before in (0, 1)
        assert (padded - shapes.window_size(kernel, dilation)) // stride + 1 == -(-size // stride)


def test_same_padding_puts_the_odd_zero_last():
    # tensorflow.org, tf.nn: "SAME" pads (0, 1) for an input of 4, a filter of 3 and strides of 2.
    assert shapes.same_padding(4, 3, stride=2) == (0, 1)


def measured_field(layers, size=400):
    """Return (size, jump, start) of the last of `layers` from where the gradient is not zero."""
    x = torch.zeros(1, 1, size, dtype=torch.float64, requires_grad=True)
    y = x
    for kernel, stride, padding, dilation in layers:
        ones = torch.ones(1, 1, kernel, dtype=torch.float64)
        y = F.conv1d(y, ones, stride=stride, padding=padding, dilation=dilation)
    middle = y.shape[-1] // 2
    ends = []
    for place in (middle, middle + 1):
        (gradient,) = torch.autograd.grad(y[0, 0, place], x, retain_graph=True)
        seen = gradient[0, 0].nonzero()
        ends.append((seen[0].item(), seen[-1].item() + 1))
    (first, last), (next_first, _) = ends
    jump = next_first - first
    return last - first, jump, (first + last) / 2 - middle * jump


def test_receptive_field_is_where_the_gradient_is_not_zero():
    random = np.random.default_rng(0)
    for _ in range(150):
        layers = [
            tuple(int(random.integers(low, high)) for low, high in ((1, 6), (1, 3), (0, 4), (1, 4)))
            for _ in range(random.integers(1, 5))
        ]
        assert shapes.receptive_field(layers)[-1] == measured_field(layers), layers


def test_receptive_field_of_no_layers_is_empty():
    assert shapes.receptive_field([]) == []


# --- argument checks ---------------------------------------------------------------------


@pytest.mark.parametrize("call, sentence", [
    (lambda: shapes.integer("stride", 2.0), "`stride` (=2.0) must be an integer"),
    (lambda: shapes.integer("stride", True), "`stride` (=True) must be an integer"),
    (lambda: shapes.integer("stride", "2"), "`stride` (='2') must be an integer"),
    (lambda: shapes.integer("stride", 0, 1), "`stride` (=0) must be at least 1"),
    (lambda: shapes.pair("padding", (1, 2, 3)), "`padding` (=(1, 2, 3)) must be one integer or two, not 3"),
    (lambda: shapes.pair("padding", (1, -2), 0), "`padding` (=-2) must be at least 0"),
    (lambda: shapes.library("x", [1.0]), "`x` (a list) must be an array"),
    (lambda: shapes.array("x", np.zeros((2, 3)), "N C H W"), "`x` has the shape (2, 3); 4 axes (N, C, H, W) are needed"),
    (lambda: shapes.array("b", np.zeros((2, 3)), "O"), "`b` has the shape (2, 3); 1 axes (O,) are needed"),
    (lambda: shapes.array("x", np.zeros((2, 3)), "N 4"), "`x` has the shape (2, 3); (N, 4) is needed"),
    (lambda: shapes.array("x", np.zeros((2, 0)), "N C"), "`x` has the shape (2, 0): its axis C must not be empty"),
    (lambda: shapes.array("x", np.zeros((2, 3), int), "N C"), "`x` (int64) must be of a floating-point dtype: float16, bfloat16, float32, float64"),
    (lambda: shapes.array("x", torch.zeros(2, 3, dtype=torch.int64), "N C"), "`x` (int64) must be of a floating-point dtype: float16, bfloat16, float32, float64"),
    (lambda: shapes.array("x", np.zeros((2, 3), bool), "N C"), "`x` (bool) must be of a floating-point dtype: float16, bfloat16, float32, float64"),
    (lambda: shapes.array("x", np.zeros((2, 3), complex), "N C"), "`x` (complex128) must be of a floating-point dtype: float16, bfloat16, float32, float64"),
    (lambda: shapes.has_shape("b", np.zeros(3), (4,)), "`b` has the shape (3,); (4,) is needed"),
    (lambda: shapes.divides("groups", 4, 6, "input channels"), "`groups` (=4) must divide the 6 input channels"),
    (lambda: shapes.same_kind(x=np.zeros(1), w=torch.zeros(1)), "`w` (array of torch) must match `x` (array of numpy)"),
    (lambda: shapes.same_kind(x=np.zeros(1), b=None, w=np.zeros(1, "f")), "`w` (dtype float32) must match `x` (dtype float64)"),
    (lambda: shapes.same_kind(x=torch.zeros(1), w=torch.zeros(1, device="meta")), "`w` (device meta) must match `x` (device cpu)"),
    (lambda: shapes.output_size(5, 3, stride=0), "`stride` (=0) must be at least 1"),
    (lambda: shapes.output_size(0, 1), "`size` (=0) must be at least 1"),
    (lambda: shapes.output_size(4, 3, dilation=2),
     "`kernel_size` (=3) with `dilation` (=2) spans 5 pixels; the padded input has 4"),
    (lambda: shapes.transposed_output_size(3, 3, stride=2, output_padding=2),
     "`output_padding` (=2) must be smaller than `stride` (=2) or `dilation` (=1)"),
    (lambda: shapes.transposed_output_size(1, 2, padding=1), "`padding` (=1) leaves an output of 0 pixels; at least 1 is needed"),
    (lambda: shapes.same_padding(5, 0), "`kernel_size` (=0) must be at least 1"),
    (lambda: shapes.receptive_field([(3, 1)]), "`layers` holds (3, 1); (kernel, stride, padding, dilation) is needed"),
    (lambda: shapes.receptive_field([(3, 0, 0, 1)]), "`stride` (=0) must be at least 1"),
])
def test_checks_name_the_argument_the_given_and_the_needed(call, sentence):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == sentence


def test_integer_and_pair_take_integers_of_numpy():
    assert shapes.integer("size", np.int64(3)) == 3 and type(shapes.integer("size", np.int64(3))) is int
    assert shapes.pair("size", [np.int32(1), 2]) == (1, 2) and shapes.pair("size", 4) == (4, 4)


def test_array_takes_every_float_and_an_empty_batch():
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert shapes.array("x", torch.zeros(0, 3, dtype=dtype), "N C") == (0, 3)
    assert shapes.array("x", torch.nn.Parameter(torch.zeros(2, 3)), "N C") == (2, 3)


GOOD = {"x": (2, 6, 8, 9), "w": (4, 3, 3, 3), "b": (4,), "groups": 2}


@pytest.mark.parametrize("change, sentence", [
    ({"x": (6, 8, 9)}, "`x` has the shape (6, 8, 9); 4 axes (N, C, H, W) are needed"),
    ({"w": (4, 6, 3)}, "`w` has the shape (4, 6, 3); 4 axes (O, C, KH, KW) are needed"),
    ({"groups": 4}, "`groups` (=4) must divide the 6 input channels"),
    ({"w": (3, 3, 3, 3)}, "`groups` (=2) must divide the 3 filters"),
    ({"groups": 1}, "`w` has 3 channels a filter; 6 are needed (6 input channels, `groups` = 1)"),
    ({"b": (3,)}, "`b` has the shape (3,); (4,) is needed"),
    ({"w": (4, 3, 9, 3)}, "`kernel_size` (=9) with `dilation` (=1) spans 9 pixels; the padded input has 8"),
])
def test_conv2d_refuses_what_does_not_fit(change, sentence):
    sizes = {**GOOD, **change}
    for zeros in (np.zeros, torch.zeros):
        arrays = {name: zeros(sizes[name]) for name in ("x", "w", "b")}
        with pytest.raises(ValueError) as error:
            shapes.conv2d(**arrays, groups=sizes["groups"])
        assert str(error.value) == sentence


def test_conv2d_gives_what_the_loops_need():
    arrays = {name: np.zeros(GOOD[name]) for name in ("x", "w", "b")}
    assert shapes.conv2d(**arrays, groups=2, stride=(2, 1), padding=1) == ((2, 1), (1, 1), (1, 1), (4, 9))


@pytest.mark.parametrize(
    "value", [True, 2.0, "2", None, np.array([2]), np.array(2.0), np.zeros(0), np.bool_(True), torch.tensor(True),
              torch.tensor([2]), 2**31],
)
def test_integer_refuses_what_is_no_size(value):
    with pytest.raises(ValueError, match=r"^`stride` \(="):
        shapes.output_size(7, 3, stride=value)


@pytest.mark.parametrize("value", [2, np.int64(2), np.uint8(2), torch.tensor(2)])
def test_integer_takes_the_integers_of_array_libraries(value):
    assert shapes.output_size(7, 3, stride=value) == 3


def test_receptive_field_wants_a_list():
    for layers in (5, None, {(3, 1, 0, 1)}):
        with pytest.raises(ValueError, match="^`layers` "):
            shapes.receptive_field(layers)


def test_array_refuses_dtypes_that_are_not_in_both_libraries():
    for x in (np.zeros((1, 1), np.longdouble), np.zeros((1, 1), ">f8"), torch.zeros(1, 1).to(torch.float8_e4m3fn)):
        with pytest.raises(ValueError, match="must be of a floating-point dtype: float16, bfloat16"):
            shapes.array("x", x, "N C")


@torch.no_grad()
def choose(first, second, third):
    return first, second, third


def test_only_names_the_parameters_of_a_decorated_function():
    namespace = {"__name__": __name__, "choose": choose}
    shapes.only("torch", namespace)
    mine, other = torch.zeros(1), np.zeros(1)
    for name, args in (("second", (mine, other, mine)), ("third", (mine, mine, other))):
        with pytest.raises(ValueError, match=rf"^`{name}` \(an array of numpy\) must be an array of torch$"):
            namespace["choose"](*args)
    assert namespace["choose"](mine, mine, mine) == (mine, mine, mine)
