import contextlib
import json
import math
import random
import struct
from collections import OrderedDict, defaultdict, deque, namedtuple
from enum import IntEnum

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import load, save

from hyperrl.errors import CheckpointCorruptError, HyperRLError, StateError
from hyperrl.run.packing import pack
from hyperrl.run.unpacking import unpack

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ARRAY_TYPES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "longdouble", "complex64", "complex128", ">i4", ">f8", ">c16"),
]
TENSOR_TYPES = [
    *("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2"),
]


def journey(value):
    """Pack, go through a file's bytes, and unpack."""
    structure, tensors = pack(value)
    return unpack(json.loads(json.dumps(structure, allow_nan=False)), load(save(tensors)))


def bits(tensor):
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).tolist()


def assert_same(a, b):
    """Compare exactly: types, order, shapes and every bit."""
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert bits(a) == bits(b)
    elif isinstance(a, np.ndarray):
        assert (a.dtype.str, a.shape) == (b.dtype.str, b.shape)
        assert a.tobytes() == b.tobytes()
    elif isinstance(a, np.generic):
        assert (a.dtype.str, a.tobytes()) == (b.dtype.str, b.tobytes())
    elif isinstance(a, float):
        assert struct.pack("<d", a) == struct.pack("<d", b)
    elif isinstance(a, dict):
        assert_same(list(a), list(b))
        assert_same(list(a.values()), list(b.values()))
    elif isinstance(a, (list, tuple, deque)):
        assert len(a) == len(b)
        assert getattr(a, "maxlen", None) == getattr(b, "maxlen", None)
        for left, right in zip(a, b, strict=True):
            assert_same(left, right)
    elif isinstance(a, (set, frozenset)):
        assert sorted(map(repr, a)) == sorted(map(repr, b))
    else:
        assert a == b


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**130), 2**130),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(),
    st.text(st.characters()),
    st.binary(),
)
keys = st.one_of(st.text(), st.integers(), st.tuples(st.integers(), st.text()), st.booleans(), st.binary())
arrays = hnp.arrays(
    st.sampled_from([np.dtype(name) for name in ARRAY_TYPES]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
trees = st.recursive(
    st.one_of(scalars, arrays),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(st.text(), inner, max_size=4).map(OrderedDict),
        st.builds(deque, st.lists(inner, max_size=3), st.sampled_from([None, 3, 5])),
    ),
    max_leaves=12,
)


@FEW
@given(trees)
def test_any_tree_comes_back_as_it_was(tree):
    assert_same(journey(tree), tree)


@FEW
@given(st.sets(scalars, max_size=6), st.frozensets(st.tuples(st.integers(), st.text()), max_size=6))
def test_sets_come_back(values, frozen):
    assert_same(journey([values, frozen]), [values, frozen])


def test_what_a_set_becomes_does_not_depend_on_its_order():
    # Both fall into the same place of the table, where the first to come stays.
    forwards, backwards = {0, 8}, {8, 0}
    assert list(forwards) != list(backwards)
    assert pack(forwards) == pack(backwards)


@pytest.mark.parametrize("name", ARRAY_TYPES)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (0, 3), (3, 0, 2), (2, 3, 4)])
def test_arrays_of_every_type_and_shape(name, shape):
    data = np.random.default_rng(0).integers(0, 2, math.prod(shape) * np.dtype(name).itemsize, np.uint8)
    array = np.frombuffer(data.tobytes(), name).reshape(shape)
    back = journey(array)
    assert_same(back, array)
    # It can be written to, and is aligned: the original need not be either.
    assert back.flags.writeable
    assert back.flags.aligned
    assert back.base is None or back.base.flags.owndata


@pytest.mark.parametrize("name", ["float32", "complex128", ">f8"])
def test_the_order_of_an_array_in_memory_is_kept(name):
    array = np.arange(24).astype(name).reshape(2, 3, 4)
    fortran = np.asfortranarray(array)
    back = journey([array, fortran, array[:, ::2], array[::-1], array.T])
    assert back[0].flags.c_contiguous
    assert back[1].flags.f_contiguous
    assert not back[1].flags.c_contiguous
    assert back[4].flags.f_contiguous
    for given_array, got in zip([array, fortran, array[:, ::2], array[::-1], array.T], back, strict=True):
        assert np.array_equal(given_array, got)
        assert got.dtype.str == array.dtype.str


@pytest.mark.parametrize("name", TENSOR_TYPES)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (3, 0, 2)])
def test_tensors_of_every_type_and_shape(name, shape):
    dtype = getattr(torch, name)
    size = math.prod(shape) * torch.empty(0, dtype=dtype).element_size()
    data = torch.from_numpy(np.random.default_rng(0).integers(0, 2, size).astype(np.uint8))
    tensor = torch.empty(shape, dtype=dtype)
    if size:
        tensor = data.view(dtype).reshape(shape)
    assert_same(journey(tensor), tensor)


def test_tensors_that_are_views_share_memory_or_have_gradients():
    base = torch.arange(12.0).reshape(3, 4).requires_grad_()
    parameter = torch.nn.Parameter(torch.ones(2))
    conjugate = torch.tensor([1 + 2j]).conj()
    values = [base, base.T, base[:, 1], base[1:], base.expand(2, 3, 4), parameter, conjugate, conjugate.imag]
    back = journey(values)
    for given_tensor, got in zip(values, back, strict=True):
        assert type(got) is torch.Tensor
        assert torch.equal(given_tensor, got)
        assert not got.requires_grad
        assert got.is_contiguous()
    back[0][0, 0] = 9
    assert back[1][0, 0] == 0


def test_what_was_packed_does_not_change_with_the_original():
    tensor, array = torch.ones(3), np.ones(3)
    packed = pack([tensor, array])
    tensor.zero_()
    array[:] = 0
    assert [value.tolist() for value in unpack(*packed)] == [[1.0] * 3] * 2


@pytest.mark.parametrize(
    "scalar",
    [
        *(np.float32(0.1), np.float64("nan"), np.int64(-3), np.bool_(True), np.uint8(255), np.complex64(1j)),
        *(np.longdouble(1) / 3, np.float16("-inf")),
    ],
)
def test_numpy_scalars(scalar):
    assert_same(journey(scalar), scalar)


def test_the_state_of_an_optimiser_and_of_generators():
    parameters = [torch.nn.Parameter(torch.randn(3, 2)) for _ in range(2)]
    optimiser = torch.optim.Adam(parameters, 1e-3, amsgrad=True)
    sum(parameter.square().sum() for parameter in parameters).backward()
    optimiser.step()
    generators = {
        "python": random.getstate(),
        "numpy": np.random.default_rng(3).bit_generator.state,
        "legacy": np.random.RandomState(3).get_state(),
        "torch": torch.get_rng_state(),
    }
    tree = {"optimiser": optimiser.state_dict(), "generators": generators}
    assert_same(journey(tree), tree)
    random.setstate(journey(generators)["python"])
    np.random.default_rng(0).bit_generator.state = journey(generators)["numpy"]


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e308, 0.1])
def test_floats_to_the_last_bit(value):
    assert_same(journey(value), value)


def test_the_payload_of_a_nan():
    value = struct.unpack(">d", bytes.fromhex("fff8000000000123"))[0]
    assert struct.pack(">d", journey(value)).hex() == "fff8000000000123"


class Colour(IntEnum):
    RED = 1


class Text(str):
    pass


Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (lambda: 1, "builtins.function"),
        (object(), "builtins.object"),
        (Colour.RED, "Colour"),
        (Text("a"), "Text"),
        (Pair(1, 2), "Pair"),
        (defaultdict(list), "collections.defaultdict"),
        (range(3), "builtins.range"),
        (bytearray(b"a"), "builtins.bytearray"),
        (1j, "builtins.complex"),
        (np.random.default_rng(0), "numpy.random"),
        (np.array([None]), "an array of object"),
        (np.array(["a"]), "an array of <U1"),
        (np.array([1], "M8[s]"), "an array of datetime64"),
        (np.zeros(2, [("a", int)]), "an array of"),
        (np.ma.masked_array([1]), "numpy.ma.*MaskedArray"),
        (np.datetime64("2020"), "numpy.datetime64"),
        (np.str_("a"), "numpy.str_"),
        (np.bytes_(b"a"), "numpy.bytes_"),
        (torch.zeros(2).to_sparse(), "a torch.sparse_coo tensor"),
        (torch.zeros(2, device="meta"), "on meta"),
        (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        (torch.Generator(), "torch._C.Generator"),
        (torch.Size([1]), "torch.Size"),
        (torch.float32, "torch.dtype"),
    ],
)
def test_what_only_code_could_bring_back_is_refused_with_its_place(value, kind):
    with pytest.raises(
        StateError, match=rf"saved: optimizer\.state\[0\]\['a b'\]\.foo is .*{kind}"
    ) as caught:
        pack({"optimizer": {"state": [{"a b": {"foo": value}}]}})
    assert isinstance(caught.value, HyperRLError)
    assert "\n" not in str(caught.value)


def test_the_root_a_key_and_a_member_of_a_set_have_places_too():
    with pytest.raises(StateError, match=r"saved: its root is a builtins\.object"):
        pack(object())
    with pytest.raises(StateError, match=r"saved: a\{range\(0, 1\)\} is a builtins.range"):
        pack({"a": {range(1): 2}})
    with pytest.raises(StateError, match=r"saved: \[1\]\[0\]\{.*\} is a builtins.complex"):
        pack([0, ({1j},)])


def test_a_tree_that_contains_itself_or_is_too_deep_is_refused():
    circle = {}
    circle["again"] = [circle]
    with pytest.raises(StateError, match=r"nests deeper than 50 levels at again\[0\]\.again.*contain itself"):
        pack(circle)
    for wrap in (lambda x: [x], lambda x: (x,), lambda x: {1: x}, lambda x: {"a": x}, lambda x: deque([x])):
        deep = 1.5
        for _ in range(50):
            deep = wrap(deep)
        assert_same(journey(deep), deep)
        with pytest.raises(StateError, match="nests deeper"):
            pack(wrap(deep))


ONE = {"0.": torch.zeros(2)}
MALFORMED = [
    ({"a": 1, "b": 2}, {}),
    ({}, {}),
    ({"pickle": "gA=="}, {}),
    ({"int": "12"}, {}),
    ({"int": 5}, {}),
    ({"float": "00"}, {}),
    ({"float": "xx"}, {}),
    ({"float": 1.5}, {}),
    ({"str": "zz"}, {}),
    ({"str": "ff"}, {}),
    ({"bytes": "a"}, {}),
    ({"bytes": 1}, {}),
    ({"scalar": ["<f4", "00"]}, {}),
    ({"scalar": ["<f4", "0000000000000000"]}, {}),
    ({"scalar": ["|O", "0000000000000000"]}, {}),
    ({"scalar": ["<f4"]}, {}),
    ({"scalar": 1}, {}),
    ({"tuple": 1}, {}),
    ({"tuple": {"a": 1}}, {}),
    ({"set": [[1]]}, {}),
    ({"dict": []}, {}),
    ({"items": [[1]]}, {}),
    ({"items": [[[1], 2]]}, {}),
    ({"items": 5}, {}),
    ({"ordered": "ab"}, {}),
    ({"deque": [1, [1, 2]]}, {}),
    ({"deque": [-1, []]}, {}),
    ({"deque": ["a", []]}, {}),
    ({"deque": []}, {}),
    ({"tensor": ["0.", "float32", [2]]}, {}),
    ({"tensor": ["0.", "float32", [3]]}, ONE),
    ({"tensor": ["0.", "float32", 2]}, ONE),
    ({"tensor": ["0.", "float64", [2]]}, ONE),
    ({"tensor": ["0.", "object", [2]]}, ONE),
    ({"tensor": ["0.", "complex128", [2]]}, ONE),
    ({"tensor": ["0.", [], [2]]}, ONE),
    ({"tensor": [[], "float32", [2]]}, ONE),
    ({"tensor": None}, ONE),
    ({"array": ["0.", "<f4", [3], "C"]}, ONE),
    ({"array": ["0.", "<f8", [2], "C"]}, ONE),
    ({"array": ["0.", "|O", [2], "C"]}, ONE),
    ({"array": ["0.", "<f3", [2], "C"]}, ONE),
    ({"array": ["0.", "<M8", [2], "C"]}, ONE),
    ({"array": ["0.", "f4,O", [2], "C"]}, ONE),
    ({"array": ["0.", "<f4", [2], "X"]}, ONE),
    ({"array": ["0.", "<f4", None, "C"]}, ONE),
    ({"array": ["0.", ">f4", [10**30, 0], "C"]}, ONE),
    ({"array": ["0.", "<f4", [2], "C"]}, {"0.": torch.zeros(2, dtype=torch.bfloat16)}),
    ([{"tensor": ["0.", "float32", [2]]}, {"tensor": ["0.", "float32", [2]]}], ONE),
    (None, ONE),
    (object(), ONE),
]


@pytest.mark.parametrize(("structure", "tensors"), MALFORMED)
def test_malformed_structures_are_refused(structure, tensors):
    with pytest.raises(CheckpointCorruptError, match="the saved state"):
        unpack(structure, tensors)


def test_a_structure_that_nests_too_deeply_is_refused():
    deep = None
    for _ in range(20_000):
        deep = [deep]
    with pytest.raises(CheckpointCorruptError, match="nests deeper than 50 levels"):
        unpack(deep, {})
    while deep:  # One level at a time: the interpreter would free it recursively.
        deep = deep[0]


@FEW
@given(trees, st.data())
def test_a_structure_with_anything_in_it_gives_a_tree_or_an_error_of_ours(tree, data):
    structure, tensors = pack(tree)
    text = json.dumps(structure)
    start = data.draw(st.integers(0, len(text)))
    changed = (
        text[:start]
        + data.draw(st.sampled_from(["", "1", "[", "]", '"', "{", "null", "-"]))
        + text[start + 1 :]
    )
    try:
        structure = json.loads(changed)
    except ValueError:
        return
    with contextlib.suppress(CheckpointCorruptError):
        unpack(structure, tensors)
