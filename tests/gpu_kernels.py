"""What TensorFlow's registry says of kernels: it knows those of GPUs without one."""

import tensorflow as tf
from tensorflow.python.framework import kernels

STRUCTURE = {
    "Placeholder",  # Arguments of the function.
    "NoOp",
    "Const",
    "Assert",
}


def operations_of(graph: tf.Graph) -> list[tf.Operation]:
    """Those of a graph and of the functions that it calls, each once."""
    found, graphs, seen = [], [graph], set()
    while graphs:
        graph = graphs.pop()
        found += graph.get_operations()
        for name, function in graph._functions.items():
            inner = getattr(function, "graph", function)
            if name not in seen and hasattr(inner, "get_operations"):
                graphs.append(inner)
            seen.add(name)
    return found


def has_kernel(operation: tf.Operation, *devices: str) -> bool:
    """Whether a kernel for one of the devices takes the types that the operation has."""

    def takes(constraint) -> bool:
        types = operation.get_attr(constraint.name)
        types = types if isinstance(types, list) else [types]
        return set(types) <= set(map(tf.as_dtype, constraint.allowed_values.list.type))

    return any(
        kernel.device_type in devices
        and all(takes(c) for c in kernel.constraint if c.allowed_values.list.type)
        for kernel in kernels.get_registered_kernels_for_op(operation.type).kernel
    )


def find_missing(operations: list[tf.Operation], *devices: str) -> set[tuple[str, ...]]:
    """Types of operations, with those of their inputs, that no device has a kernel for."""
    return {
        (operation.type, *(tensor.dtype.name for tensor in operation.inputs))
        for operation in operations
        if operation.type not in STRUCTURE and not has_kernel(operation, *devices)
    }
