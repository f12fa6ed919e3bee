"""Writes the test cases of the Python package `onnx` to one safetensors file.

    python export.py all FILE      every case of onnx.backend.test: operators, models and the light classic networks
    python export.py small FILE    the smallest case of each operator

For each CASE: `CASE//model` (bytes), `CASE//op`, `CASE//in/NAME`, `CASE//out/NUMBER`, `CASE//tolerance` (relative, absolute), or
`CASE//skipped` with a reason. Integers are int64, floats f32 or f64. Needs onnx, numpy and safetensors.
"""

import pathlib
import sys
import warnings

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner
from safetensors.numpy import save_file

warnings.filterwarnings("ignore")
LIGHT = pathlib.Path(onnx.__file__).parent / "backend/test/data/light"


def plain(value):
    """The array as f32, f64 or int64; None if it is no such array."""
    if not isinstance(value, (np.ndarray, np.generic)):
        return None
    value = np.asarray(value)
    if value.dtype == np.float64:
        return value
    if value.dtype.kind == "f" and value.dtype.itemsize > 1 or value.dtype.name == "bfloat16":
        return value.astype(np.float32)
    if value.dtype.kind in "bi" or value.dtype.kind == "u" and value.dtype.itemsize < 8:
        return value.astype(np.int64) if value.dtype.name in ("bool",) or value.dtype.isbuiltin else None
    return value.view(np.int64) if value.dtype == np.uint64 else None


def text(value):
    return np.frombuffer(value.encode(), dtype=np.uint8)


def operator(model, name):
    """The operator of a case; expanded functions count for their own operator."""
    by_name = {}
    for node in model.graph.node:
        by_name[node.op_type] = by_name.get(node.op_type, 0) + 1
    if len(model.graph.node) == 1:
        node = model.graph.node[0]
        return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
    return None


def entries():
    operators = {}
    cases = list(collect_testcases(None))
    for case in cases:
        operators[case.name] = operator(case.model, case.name)
    for case in cases:
        own = operators[case.name]
        if own is None:
            base = case.name.split("_expanded")[0]
            own = operators.get(base) or next(iter(n.op_type for n in case.model.graph.node))
        yield case.name, own, case.model, case.data_sets, case.rtol, case.atol
    for kind in ("simple", "pytorch-converted", "pytorch-operator"):
        for case in load_model_tests(kind=kind):
            folder = pathlib.Path(case.model_dir)
            model = onnx.load(folder / "model.onnx")
            sets = []
            for data in sorted(folder.glob("test_data_set_*")):
                arrays = []
                for side in ("input", "output"):
                    count = len(list(data.glob(f"{side}_*.pb")))
                    arrays.append([load(data / f"{side}_{at}.pb") for at in range(count)])
                sets.append(tuple(arrays))
            yield f"{kind}/{case.name}", f"models of {kind}", model, sets, case.rtol, case.atol
    for path in sorted(LIGHT.glob("light_*.onnx")):
        model = onnx.load(path)
        held = {tensor.name for tensor in model.graph.initializer}
        name = path.stem.removeprefix("light_")
        make = Runner.generate_dummy_data
        inputs = [make(value, seed=0, name=name, random=False) for value in model.graph.input if value.name not in held]
        outputs = [load(LIGHT / f"{path.stem}_output_0.pb")]
        yield f"light/{name}", "classic networks", model, [(inputs, outputs)], 2e-3, 1e-7


def load(path):
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    try:
        return numpy_helper.to_array(tensor)
    except Exception:  # A sequence or an optional value.
        return None


def main():
    mode, path = sys.argv[1], sys.argv[2]
    tensors, smallest = {}, {}
    for name, own, model, sets, rtol, atol in entries():
        case = {"op": text(own)}
        held = {tensor.name for tensor in model.graph.initializer}
        names = [value.name for value in model.graph.input if value.name not in held]
        elements = [value.type.tensor_type.elem_type for value in [*model.graph.input, *model.graph.output]]
        for inputs, outputs in sets[:1]:
            arrays = [plain(value) for value in [*inputs, *outputs]]
            if any(array is None for array in arrays) or not set(elements) <= {1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 16}:
                case["skipped"] = text("strings, sequences, optional values, or numbers of 8 bits and less")
                continue
            case["model"] = np.frombuffer(model.SerializeToString(), dtype=np.uint8)
            # Results are compared in the precision of the output: operators compute in f32 here.
            kinds = {value.type.tensor_type.elem_type for value in model.graph.output}
            half = 8e-3 if 16 in kinds else 1e-3 if 10 in kinds else 0
            case["tolerance"] = np.array([max(rtol, 2 * half), max(atol, half)])
            for key, array in zip(names, arrays):
                case[f"in/{key}"] = array
            for at, array in enumerate(arrays[len(inputs):]):
                case[f"out/{at}"] = array
        size = sum(array.nbytes for array in case.values())
        if mode == "all":
            tensors.update(prefixed(name, case))
        elif "skipped" not in case and size < 3000 and size < smallest.get(own, (3000,))[0] and "expanded" not in name:
            smallest[own] = (size, name, case)
    for _, name, case in smallest.values():
        tensors.update(prefixed(name, case))
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, path)
    print(len({key.rsplit("//", 1)[0] for key in tensors}), "cases")


def prefixed(name, case):
    # Names of cases and tensors have single slashes.
    return {f"{name}//{key}": value for key, value in case.items()}


main()
