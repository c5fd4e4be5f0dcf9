"""The `onnx` package's own node tests over HTTP and gRPC: a model of one operator each.

Every model is served as its file says, by auto-configuration alone.
"""

from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from itertools import chain

import pytest

from tests.conformance.cases import ALL, agree, array_of, operator, refusal, write
from tests.conformance.doors import DOORS, Doors, open_doors

pytestmark = pytest.mark.integration

OPERATORS = {
    "Add": ("add", "add_bcast", "add_int8", "add_int16", "add_uint*"),
    "Sub": ("sub", "sub_example", "sub_bcast", "sub_int8", "sub_int16", "sub_uint*"),
    "Mul": ("mul", "mul_example", "mul_bcast", "mul_int8", "mul_int16", "mul_uint*"),
    "Div": ("div", "div_example", "div_bcast", "div_int8", "div_int16", "div_int32*", "div_uint*"),
    "MatMul": ("matmul_?d", "matmul_1d_?d", "matmul_4d_1d", "matmul_bcast"),
    "Relu": ("relu",),
    "Sigmoid": ("sigmoid", "sigmoid_example"),
    "Tanh": ("tanh", "tanh_example"),
    "Softmax": ("softmax_example", "softmax_large_number", "softmax_*axis*"),
    "MaxPool": ("maxpool_1d_*", "maxpool_2d_*", "maxpool_3d_*", "maxpool_with_argmax_*"),
    "AveragePool": ("averagepool_1d_*", "averagepool_2d_*", "averagepool_3d_*"),
    "BatchNormalization": ("batchnorm_example*", "batchnorm_epsilon*"),
    "LayerNormalization": ("layer_normalization_?d_*", "layer_normalization_default_axis"),
    "Reshape": ("reshape_*",),
    "Transpose": ("transpose_default", "transpose_all_permutations_?"),
    "Squeeze": ("squeeze", "squeeze_negative_axes"),
    "Conv": ("basic_conv_*", "conv_with_*"),
}
"""The operators that Manta promises to serve, and the package's tests of each, all of them."""

FORMS = {
    "booleans": ("and2d", "not_3d", "xor_bcast3v1d", "where_example", "reduce_max_bool_inputs"),
    "whole numbers": ("bitwise_and_*", "m[ai][xn]_int[836]*", "m[ai][xn]_uint[836]*"),
    "fractions": ("max_float*", "min_float*", "castlike_FLOAT16_to_FLOAT"),
    "double precision": ("castlike_FLOAT_to_DOUBLE", "castlike_DOUBLE_to_FLOAT*"),
    "text": ("string_concat*", "string_split_*", "regex_full_match_*", "equal_string*"),
    "single values": ("reduce_sum_empty_axes_input_noop", "size*", "clip", "clip_splitbounds"),
    "nothing": ("reduce_[ms]??_empty_set", "split_zero_size_splits_*", "tril_zero", "triu_zero"),
    "inputs that may be left out": ("clip_default_*", "slice_default_*", "dropout_default*"),
    "several outputs": ("split_*equal_parts_*", "top_k", "top_k_*_axis", "lstm_defaults", "loop11"),
    "values that are sizes": ("expand_dim_*", "tile*", "constantofshape_*", "resize_*_nearest"),
}
"""Whatever else can be hard to carry: more tests of the package."""


def matching(patterns: Collection[str]) -> list[str]:
    """The tests with such names, without those that are made of other operators."""
    return [
        name
        for name in ALL
        if "_expanded" not in name and any(fnmatchcase(name, pattern) for pattern in patterns)
    ]


CASES = sorted(
    {name for each in (OPERATORS, FORMS) for name in matching(tuple(chain(*each.values())))}
)


@pytest.mark.parametrize("name", OPERATORS)
def test_every_case_of_an_operator_is_in_the_table(name: str) -> None:
    cases = {case for case in ALL if operator(ALL[case]) == name}
    assert cases
    assert set(matching(OPERATORS[name])) == cases


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_cases(form: str) -> None:
    assert all(matching([pattern]) for pattern in FORMS[form])


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    repository = tmp_path_factory.mktemp("repository")
    for name in CASES:
        write(ALL[name], repository, name)
    with open_doors(repository) as opened:
        yield opened


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", CASES)
def test_a_node_answers_as_expected(doors: Doors, door: str, name: str) -> None:
    if reason := refusal(name):
        pytest.skip(f"the test is newer than this ONNX Runtime: {reason}")
    case = ALL[name]
    assert case.model is not None
    names = [value.name for value in case.model.graph.input]
    for inputs, expected in case.data_sets or ():
        sent = dict(zip(names, map(array_of, inputs), strict=True))
        answers = doors.infer(door, name, sent)
        for answer, wanted in zip(answers.values(), expected, strict=True):
            agree(answer, array_of(wanted), case.rtol, case.atol)
