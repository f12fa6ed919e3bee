"""Every kind of array gives the same result as the contiguous one."""

import numpy as np
import pytest
from geometric_collapse import collapse
from geometric_collapse._arrays import as_labels, as_matrix


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_contiguous_arrays_are_not_copied(dtype):
    array = np.zeros((4, 3), dtype)
    assert np.shares_memory(as_matrix(array), array)
    labels = np.zeros(4, np.int64)
    assert np.shares_memory(as_labels(labels), labels)


def test_layouts(clusters):
    features, labels = clusters
    expected = collapse.report(features, labels)
    strided = np.repeat(features, 2, axis=0)[::2]
    reversed_rows = features[::-1].copy()[::-1]
    for other in (np.asfortranarray(features), strided, reversed_rows, features.astype(">f4"), features.tolist()):
        if isinstance(other, list):
            assert collapse.report(other, labels) == collapse.report(features.astype(np.float64), labels)
        else:
            assert collapse.report(other, labels) == expected
    read_only = features.copy()
    read_only.flags.writeable = False
    assert collapse.report(read_only, labels) == expected


def test_half_precision_is_widened_exactly(clusters):
    features, labels = clusters
    half = features.astype(np.float16)
    assert collapse.report(half, labels) == collapse.report(half.astype(np.float32), labels)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_integer_labels_of_any_width(clusters, dtype):
    features, labels = clusters
    assert collapse.report(features, labels.astype(dtype)) == collapse.report(features, labels)


def test_objects_with_array_or_dlpack(clusters):
    features, labels = clusters

    class WithArray:
        def __array__(self, dtype=None, copy=None):
            return features

    class WithDlpack:
        def __dlpack__(self, **settings):
            return features.__dlpack__(**settings)

        def __dlpack_device__(self):
            return features.__dlpack_device__()

    class OnDevice(WithDlpack):
        def __dlpack_device__(self):
            return (2, 0)

    expected = collapse.report(features, labels)
    assert collapse.report(WithArray(), labels) == expected
    assert collapse.report(WithDlpack(), labels) == expected
    with pytest.raises(TypeError, match="expected an array in CPU memory"):
        collapse.report(OnDevice(), labels)


def test_torch_tensors(clusters, torch):
    features, labels = clusters
    expected = collapse.report(features, labels)
    tensor = torch.from_numpy(features)
    assert np.shares_memory(as_matrix(tensor), features)
    assert collapse.report(tensor, torch.from_numpy(labels)) == expected
    assert collapse.report(tensor.t().contiguous().t(), labels) == expected
    assert collapse.report(tensor.clone().requires_grad_(), labels) == expected
    half = tensor.to(torch.bfloat16)
    assert collapse.report(half, labels) == collapse.report(half.float(), labels)
    with pytest.raises(TypeError, match=r"call \.cpu\(\)"):
        collapse.report(tensor.to("meta"), labels)
    with pytest.raises(TypeError, match=r"to_dense\(\)"):
        collapse.report(tensor.to_sparse(), labels)


def test_a_torch_head(clusters, torch):
    features, labels = clusters
    linear = torch.nn.Linear(6, 3)
    weight, bias = linear.weight.detach().numpy(), linear.bias.detach().numpy()
    assert collapse.report(features, labels, linear) == collapse.report(features, labels, (weight, bias))
