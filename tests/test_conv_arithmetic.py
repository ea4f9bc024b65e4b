import itertools

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import torch
import torch.nn.functional as F

from cvnotes import shapes
from cvnotes.conv_arithmetic import explorers, fast, figures, formulas, reference

BOTH = [pytest.param(reference, np.asarray, id="reference"), pytest.param(fast, torch.as_tensor, id="fast")]


def normal(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# --- conv_matrix -------------------------------------------------------------------------

CONVOLUTIONS = [
    dict(), dict(stride=2), dict(padding=1), dict(dilation=2), dict(stride=(1, 3), padding=(2, 0), dilation=(1, 2)),
    dict(stride=2, padding=3, dilation=3),
]


@pytest.mark.parametrize("options", CONVOLUTIONS)
@pytest.mark.parametrize("version, of", BOTH)
def test_conv_matrix_times_image_is_the_convolution(version, of, options):
    x, w = normal(1, 3, 7, 8), normal(4, 3, 3, 2, seed=1)
    y = F.conv2d(torch.from_numpy(x), torch.from_numpy(w), **options).numpy()
    matrix = np.asarray(version.conv_matrix(of(w), (7, 8), **options))
    np.testing.assert_allclose((matrix @ x.reshape(-1)).reshape(y.shape), y, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("options", CONVOLUTIONS)
def test_conv_matrix_transposed_is_the_transposed_convolution(options):
    w = torch.from_numpy(normal(4, 3, 3, 2))
    *_, (OH, OW) = shapes.window2d((7, 8), (3, 2), **options)
    y = torch.from_numpy(normal(1, 4, OH, OW, seed=1))
    pairs = {name: shapes.pair(name, value) for name, value in options.items()}
    extra = tuple(
        formulas.remainder(size, kernel, **{name: value[axis] for name, value in pairs.items()})
        for axis, size, kernel in ((0, 7, 3), (1, 8, 2))
    )
    back = F.conv_transpose2d(y, w, output_padding=extra, **options)
    ours = fast.conv_matrix(w, (7, 8), **options).T @ y.reshape(-1)
    torch.testing.assert_close(ours.view(back.shape), back, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("version, of", BOTH)
def test_conv_matrix_of_one_row_is_toeplitz(version, of):
    kernel = normal(4)
    matrix = np.asarray(version.conv_matrix(of(kernel.reshape(1, 1, 1, 4)), (1, 9)))
    first_column, first_row = np.eye(6)[0] * kernel[0], np.append(kernel, np.zeros(5))
    np.testing.assert_array_equal(matrix, scipy.linalg.toeplitz(first_column, first_row))


@pytest.mark.parametrize("version, of", BOTH)
def test_conv_matrix_of_an_image_is_doubly_blocked_toeplitz(version, of):
    blocks = np.asarray(version.conv_matrix(of(normal(1, 1, 3, 2)), (6, 5))).reshape(4, 4, 6, 5)  # OH, OW, H, W
    np.testing.assert_array_equal(blocks[1:, :, 1:], blocks[:-1, :, :-1])  # from block to block
    np.testing.assert_array_equal(blocks[:, 1:, :, 1:], blocks[:, :-1, :, :-1])  # and inside each


@pytest.mark.parametrize("version, of", BOTH)
def test_conv_matrix_of_the_two_extremes(version, of):
    x = normal(36)
    np.testing.assert_array_equal(version.conv_matrix(of(np.ones((1, 1, 1, 1))), 6), np.eye(36))
    mean = np.asarray(version.conv_matrix(of(np.full((1, 1, 6, 6), 1 / 36)), 6))
    assert mean.shape == (1, 36)
    np.testing.assert_allclose(mean @ x, [x.mean()], rtol=1e-12)


@pytest.mark.parametrize("version, of", BOTH)
def test_conv_matrix_keeps_the_dtype(version, of):
    for dtype in (np.float16, np.float32):
        matrix = version.conv_matrix(of(normal(2, 1, 2, 2, dtype=dtype)), 3)
        assert shapes.dtype_name(matrix) == np.dtype(dtype).name


@pytest.mark.parametrize("version, of", BOTH)
def test_conv_matrix_of_a_view_is_that_of_its_copy(version, of):
    w = normal(4, 6, 3, 5)[::2, 1::2, :, ::2]
    np.testing.assert_array_equal(version.conv_matrix(of(w), 5), version.conv_matrix(of(w.copy()), 5))


@pytest.mark.parametrize("version, of", BOTH)
def test_conv_matrix_puts_a_nan_where_its_tap_stands(version, of):
    w = np.ones((1, 1, 2, 2))
    where = np.asarray(version.conv_matrix(of(np.array([[[[1, 2], [3, 4.0]]]])), 3)) == 4
    w[0, 0, 1, 1] = np.nan
    np.testing.assert_array_equal(np.isnan(np.asarray(version.conv_matrix(of(w), 3))), where)


@pytest.mark.parametrize("version, of", BOTH)
@pytest.mark.parametrize("w, input_size, options, sentence", [
    ((2, 2), 5, {}, "`w` has the shape (2, 2); 4 axes (O, C, KH, KW) are needed"),
    ((1, 0, 2, 2), 5, {}, "`w` has the shape (1, 0, 2, 2): its axis C must not be empty"),
    ((1, 1, 2, 2), 0, {}, "`input_size` (=0) must be at least 1"),
    ((1, 1, 2, 2), (5, 5, 5), {}, "`input_size` (=(5, 5, 5)) must be one integer or two, not 3"),
    ((1, 1, 2, 2), 5.0, {}, "`input_size` (=5.0) must be an integer"),
    ((1, 1, 2, 2), 5, {"stride": 0}, "`stride` (=0) must be at least 1"),
    ((1, 1, 2, 2), 5, {"padding": -1}, "`padding` (=-1) must be at least 0"),
    ((1, 1, 2, 2), 5, {"dilation": (1, -2)}, "`dilation` (=-2) must be at least 1"),
    ((1, 1, 2, 4), (5, 3), {}, "`kernel_size` (=4) with `dilation` (=1) spans 4 pixels; the padded input has 3"),
])
def test_conv_matrix_refuses_bad_input(version, of, w, input_size, options, sentence):
    with pytest.raises(ValueError) as error:
        version.conv_matrix(of(np.zeros(w)), input_size, **options)
    assert str(error.value) == sentence


@pytest.mark.parametrize("version, of", BOTH)
def test_conv_matrix_refuses_whole_numbers(version, of):
    with pytest.raises(ValueError, match=r"^`w` \(int64\) must be of a floating-point dtype: "):
        version.conv_matrix(of(np.ones((1, 1, 2, 2), np.int64)), 3)
    with pytest.raises(ValueError, match=r"^`w` \(a list\) must be an array$"):
        version.conv_matrix([[[[1.0]]]], 3)


# --- effective_receptive_field -----------------------------------------------------------


@pytest.mark.parametrize("version, of", BOTH)
def test_effective_receptive_field_of_one_channel_is_the_kernels_convolved(version, of):
    weights = [normal(1, 1, 3, 2, seed=i) for i in range(3)]
    whole = np.ones((1, 1))  # what the one output sees of an image that is just large enough
    for w in weights:
        whole = scipy.signal.convolve2d(whole, w[0, 0])
    field = version.effective_receptive_field(of(np.zeros((1, 1, 7, 4))), [of(w) for w in weights])
    np.testing.assert_allclose(field, abs(whole), rtol=1e-9)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("version, of", BOTH)
def test_effective_receptive_field_is_what_autograd_measures(version, of, relu):
    torch.manual_seed(0)
    convolutions = [
        torch.nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False),
        torch.nn.Conv2d(3, 4, (3, 2), padding=(0, 1), bias=False),
        torch.nn.Conv2d(4, 2, 2, bias=False),
    ]
    act = torch.nn.ReLU if relu else torch.nn.Identity
    net = torch.nn.Sequential(convolutions[0], act(), convolutions[1], act(), convolutions[2]).double()
    x = torch.randn(3, 2, 12, 13, dtype=torch.float64, requires_grad=True)
    y = net(x)
    y[:, :, y.shape[2] // 2, y.shape[3] // 2].sum().backward()
    weights = [of(convolution.weight.detach().numpy()) for convolution in convolutions]
    field = version.effective_receptive_field(
        of(x.detach().numpy()), weights, strides=[2, 1, 1], paddings=[1, (0, 1), 0], relu=relu
    )
    np.testing.assert_allclose(field, x.grad.abs().sum((0, 1)).numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("version, of", BOTH)
def test_effective_receptive_field_of_equal_weights_spreads_with_the_root_of_the_depth(version, of):
    # Luo et al. 2016, section 2.2: the variance of n layers is n times that of one, (k² − 1)/12.
    for kernel, depth in ((3, 1), (3, 6), (5, 4)):
        size = depth * (kernel - 1) + 1
        box = of(np.full((1, 1, kernel, kernel), 0.5))
        field = version.effective_receptive_field(of(np.zeros((1, 1, size, size))), [box] * depth)
        assert figures.spread(np.asarray(field)) == pytest.approx((depth * (kernel**2 - 1) / 12) ** 0.5)


@pytest.mark.parametrize("version, of", BOTH)
def test_effective_receptive_field_reaches_as_far_as_the_theoretical(version, of):
    layers = [(3, 2, 1, 1), (2, 1, 0, 1), (3, 2, 1, 1)]
    weights = [of(np.ones((1, 1, kernel, kernel))) for kernel, *_ in layers]
    for size in range(8, 30):
        field = np.asarray(version.effective_receptive_field(
            of(np.zeros((1, 1, size, size))), weights, strides=[2, 1, 2], paddings=[1, 0, 1]
        ))
        place = formulas.stack_sizes(size, layers)[-1] // 2
        first, last = formulas.theoretical_field(size, layers, place)
        seen = field.sum(0).nonzero()[0]
        assert (seen[0], seen[-1]) == (first, last)


@pytest.mark.parametrize("version, of", BOTH)
def test_effective_receptive_field_of_two_middles_takes_the_later(version, of):
    field = version.effective_receptive_field(of(np.zeros((1, 1, 4, 1))), [of(np.ones((1, 1, 1, 1)))])
    np.testing.assert_array_equal(field, [[0], [0], [1], [0]])


@pytest.mark.parametrize("version, of", BOTH)
def test_effective_receptive_field_adds_up_images_and_of_none_is_zero(version, of):
    weights = [of(normal(2, 3, 2, 2))]
    fields = [
        np.asarray(version.effective_receptive_field(of(np.ones((count, 3, 4, 5))), weights)) for count in (0, 1, 3)
    ]
    assert fields[0].shape == (4, 5) and not fields[0].any()
    np.testing.assert_allclose(fields[2], 3 * fields[1])


@pytest.mark.parametrize("version, of", BOTH)
def test_effective_receptive_field_of_a_linear_stack_does_not_depend_on_the_image(version, of):
    weights = [of(normal(2, 1, 3, 3)), of(normal(1, 2, 3, 3, seed=1))]
    plain, other = (
        np.asarray(version.effective_receptive_field(of(image), weights))
        for image in (normal(1, 1, 6, 6), np.full((1, 1, 6, 6), np.nan))
    )
    np.testing.assert_array_equal(plain, other)


@pytest.mark.parametrize("version, of", BOTH)
def test_effective_receptive_field_shows_a_nan_among_the_weights(version, of):
    w = np.ones((1, 1, 3, 3))
    w[0, 0, 0, 0] = np.nan
    assert np.isnan(np.asarray(version.effective_receptive_field(of(np.ones((1, 1, 3, 3))), [of(w)]))[0, 0])


@pytest.mark.parametrize("version, of", BOTH)
def test_effective_receptive_field_keeps_the_dtype_and_takes_views(version, of):
    x, w = normal(1, 2, 9, 8, dtype=np.float32)[:, :, ::2], normal(2, 2, 3, 6, dtype=np.float32)[..., ::2]
    field = version.effective_receptive_field(of(x), [of(w)], relu=True)
    assert shapes.dtype_name(field) == "float32" and tuple(field.shape) == (5, 8)
    np.testing.assert_array_equal(field, version.effective_receptive_field(of(x.copy()), [of(w.copy())]))


def test_effective_receptive_field_of_fast_works_without_and_with_gradients():
    x, w = torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2, requires_grad=True)
    with torch.no_grad():
        assert not fast.effective_receptive_field(x, [w]).requires_grad
    assert not fast.effective_receptive_field(x, [w.detach()]).requires_grad and not x.requires_grad
    fast.effective_receptive_field(x, [w]).sum().backward()
    torch.testing.assert_close(w.grad, torch.ones(1, 1, 2, 2))


@pytest.mark.parametrize("version, of", BOTH)
@pytest.mark.parametrize("x, weights, options, sentence", [
    ((5, 5), [(1, 1, 2, 2)], {}, "`x` has the shape (5, 5); 4 axes (N, C, H, W) are needed"),
    ((1, 1, 5, 5), [], {}, "`weights` (a list) must be a list of at least one array"),
    ((1, 1, 5, 5), [(1, 2, 2, 2)], {}, "`weights[0]` has 2 channels a filter; 1 are needed"),
    ((1, 1, 5, 5), [(3, 1, 2, 2), (1, 2, 2, 2)], {}, "`weights[1]` has 2 channels a filter; 3 are needed"),
    ((1, 1, 5, 5), [(1, 1, 2)], {}, "`weights[0]` has the shape (1, 1, 2); 4 axes (O, C, KH, KW) are needed"),
    ((1, 1, 5, 5), [(1, 1, 4, 4)] * 2, {},
     "`kernel_size` (=4) with `dilation` (=1) spans 4 pixels; the padded input has 2"),
    ((1, 1, 5, 5), [(1, 1, 2, 2)], {"strides": [1, 1]}, "`strides` has 2 entries; one for each of the 1 layers is needed"),
    ((1, 1, 5, 5), [(1, 1, 2, 2)] * 2, {"paddings": [0, -1]}, "`paddings[1]` (=-1) must be at least 0"),
    ((1, 1, 5, 5), [(1, 1, 2, 2)], {"strides": 1.5}, "`strides[0]` (=1.5) must be an integer"),
])
def test_effective_receptive_field_refuses_bad_input(version, of, x, weights, options, sentence):
    with pytest.raises(ValueError) as error:
        version.effective_receptive_field(of(np.zeros(x)), [of(np.zeros(w)) for w in weights], **options)
    assert str(error.value) == sentence


@pytest.mark.parametrize("version, of", BOTH)
def test_effective_receptive_field_refuses_mixed_dtypes(version, of):
    with pytest.raises(ValueError, match=r"^`weights\[0\]` \(dtype float32\) must match `x` \(dtype float64\)$"):
        version.effective_receptive_field(of(np.zeros((1, 1, 3, 3))), [of(np.zeros((1, 1, 2, 2), np.float32))])


# --- formulas ----------------------------------------------------------------------------

WALKS = [
    walk for walk in itertools.product(range(1, 10), range(1, 5), range(1, 5), range(0, 3), range(1, 3))
    if walk[1] + (walk[1] - 1) * (walk[4] - 1) <= walk[0] + 2 * walk[3]
]


def test_touches_is_the_gradient_of_a_kernel_of_ones():
    for size, kernel, stride, padding, dilation in WALKS:
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        x = torch.zeros(1, 1, size, requires_grad=True)
        F.conv1d(x, torch.ones(1, 1, kernel), **options).sum().backward()
        assert formulas.touches(size, kernel, **options) == x.grad[0, 0].tolist()


def test_sizes_with_output_are_all_that_there_are():
    for output, kernel, stride, padding in itertools.product(range(1, 6), range(1, 5), range(1, 5), range(0, 2)):
        options = {"stride": stride, "padding": padding}
        found = [
            size for size in range(1, 40)
            if kernel <= size + 2 * padding and shapes.output_size(size, kernel, **options) == output
        ]
        assert formulas.sizes_with_output(output, kernel, **options) == found


def test_remainder_is_the_output_padding_that_turns_back():
    for size, kernel, stride, padding, dilation in WALKS:
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        x = torch.zeros(1, 1, size, size)
        y = F.conv2d(x, torch.ones(1, 1, kernel, kernel), **options)
        extra = formulas.remainder(size, kernel, **options)
        back = F.conv_transpose2d(y, torch.ones(1, 1, kernel, kernel), output_padding=extra, **options)
        assert back.shape == x.shape


def test_weights_in_matrix_counts_the_matrix():
    for size, kernel, stride, padding in ((6, 3, 1, 0), (6, 3, 2, 1), (5, 5, 1, 0), (4, 1, 2, 0)):
        w = np.arange(1, 2 * 3 * kernel**2 + 1.0).reshape(2, 3, kernel, kernel)
        matrix = reference.conv_matrix(w, size, stride=stride, padding=padding)
        counted = (matrix.size, np.count_nonzero(matrix), len(np.unique(matrix[matrix != 0])))
        assert formulas.weights_in_matrix(3, 2, size, kernel, stride=stride, padding=padding) == counted


def test_matrix_row_names_the_columns_of_the_matrix():
    for kernel, stride in ((1, 1), (3, 1), (2, 2), (6, 1)):
        matrix = reference.conv_matrix(np.ones((1, 1, kernel, kernel)), 6, stride=stride)
        for row in range(len(matrix)):
            assert formulas.matrix_row(6, kernel, row, stride=stride) == matrix[row].nonzero()[0].tolist()


# Araujo et al. 2019, table "receptive fields of modern networks", and the table of their library:
# (field, effective stride, effective padding). ResNet-50 is that of TF-Slim, with the stride in
# the last block of each stage.
PUBLISHED = {"AlexNet": (195, 32, 64), "VGG-16": (212, 32, 90)}


@pytest.mark.parametrize("network", PUBLISHED)
def test_receptive_field_of_a_network_is_the_published_one(network):
    field, jump, start = shapes.receptive_field(formulas.layers_of(network))[-1]
    assert (field, jump, field / 2 - start) == PUBLISHED[network]


def test_receptive_field_of_resnet50_of_tf_slim_is_the_published_one():
    layers = [(7, 2, 3, 1), (3, 2, 1, 1)]
    for blocks, stride in ((3, 2), (4, 2), (6, 2), (3, 1)):
        layers += [(3, 1, 1, 1)] * (blocks - 1) + [(3, stride, 1, 1)]
    assert shapes.receptive_field(layers)[-1][:2] == (483, 32)


# Sizes of the planes: AlexNet, figure 2 of Krizhevsky et al. 2012; VGG, Simonyan and Zisserman
# 2015; ResNet-18, table 1 of He et al. 2016.
@pytest.mark.parametrize("network, planes", [
    ("AlexNet", [55, 27, 13, 6]), ("VGG-16", [224, 112, 56, 28, 14, 7]), ("ResNet-18", [112, 56, 28, 14, 7]),
])
def test_stack_sizes_of_a_network_are_the_published_ones(network, planes):
    sizes = formulas.stack_sizes(formulas.INPUT_SIZES[network], formulas.layers_of(network))
    assert list(dict.fromkeys(sizes)) == planes


def test_receptive_field_of_resnet18_is_where_its_gradient_is_not_zero():
    layers = formulas.layers_of("ResNet-18")
    x = torch.zeros(1, 1, 1001, dtype=torch.float64, requires_grad=True)
    y = x
    for kernel, stride, padding, dilation in layers:
        y = F.conv1d(y, torch.ones(1, 1, kernel, dtype=torch.float64), stride=stride, padding=padding)
    place = y.shape[-1] // 2
    y[0, 0, place].backward()
    seen = x.grad[0, 0].nonzero()[:, 0]
    assert (seen[0], seen[-1]) == formulas.theoretical_field(1001, layers, place)
    assert seen[-1] - seen[0] + 1 == 435


def test_layers_of_an_unknown_network_are_refused():
    with pytest.raises(ValueError, match="^`network` .*'LeNet'.* must be one of AlexNet, VGG-16, ResNet-18$"):
        formulas.layers_of("LeNet")


# --- explorers ---------------------------------------------------------------------------


def states(explorer):
    names = list(explorer.controls)
    for values in itertools.product(*explorer.controls.values()):
        yield dict(zip(names, values))


def test_output_size_explorer_says_what_torch_gives():
    for state in list(states(explorers.output_size))[::3]:
        options = {name: state[name] for name in ("stride", "padding", "dilation")}
        picture, sentence, failed = explorers.output_size.render(state)
        x, w = torch.empty(1, 1, state["size"], device="meta"), torch.empty(1, 1, state["kernel"], device="meta")
        try:
            places = F.conv1d(x, w, **options).shape[-1]
        except RuntimeError:
            assert failed
        else:
            assert f"+ 1 = {places} output" in sentence
            assert ("never seen" in sentence) == (0 in formulas.touches(state["size"], state["kernel"], **options))


def test_transposed_size_explorer_says_what_torch_gives():
    for state in list(states(explorers.transposed_size))[::2]:
        options = {name: state[name] for name in ("stride", "padding", "output_padding")}
        picture, sentence, failed = explorers.transposed_size.render(state)
        x, w = torch.ones(1, 1, state["size"]), torch.ones(1, 1, state["kernel"])
        try:
            y = F.conv_transpose1d(x, w, **options)
            assert y.shape[-1]
        except (RuntimeError, AssertionError):
            assert failed
        else:
            assert f" = {y.shape[-1]}. " in sentence
            assert ("only the bias" in sentence) == bool((y == 0).any())


def test_receptive_field_explorer_shows_every_layer():
    for state in states(explorers.receptive_field):
        layers = formulas.layers_of(state["network"])
        field = shapes.receptive_field(layers[: state["layer"]])[-1][0]
        picture, sentence = explorers.receptive_field(**state)
        assert f"field {field} × {field}" in picture and f"sees {field} × {field}" in sentence


def test_toeplitz_explorer_agrees_with_the_matrix():
    image = np.array(explorers.IMAGE, float)
    for kernel in explorers.toeplitz.controls["kernel"]:
        output = reference.conv_matrix(np.full((1, 1, kernel, kernel), kernel**-2.0), 6) @ image
        for row, value in enumerate(output):
            assert f" = {value:.2f}" in explorers.toeplitz(kernel=kernel, row=row)[1]


def test_explorers_are_small_enough_for_the_page():
    data = figures.profiles(figures.effective_fields(range(1, 21), channels=4, runs=2))
    bound = explorers.effective_field.with_data(data)
    plain = explorers.output_size, explorers.transposed_size, explorers.receptive_field, explorers.toeplitz
    for explorer in (*plain, bound):
        for state in list(states(explorer))[::7]:
            picture = explorer.render(state)[0]
            assert picture.count("<") / 2 < 250 and len(picture) < 40_000, (explorer.name, state)


def test_effective_fields_grow_with_the_root_of_the_depth():
    fields = figures.effective_fields([4, 16], channels=4, runs=8)
    for kind in figures.KINDS:
        growth = figures.spread(fields[kind][1]) / figures.spread(fields[kind][0])
        assert growth == pytest.approx(2, rel=1e-9 if kind == "equal" else 0.2)
