"""``config.pbtxt``: a `ModelSpec` as Triton's ModelConfig protobuf in text format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge_triton.triton.model_spec import Backend, ModelSpec, QueuePolicy, TensorRt
from mvstylizer.bundle import TensorSpec

WARM_UP_FILE = "one"
"""Contains the upscaling factor 1, float32: Triton's only other choice, zero, is rejected by the model."""

_TYPES = {"uint8": "TYPE_UINT8", "int32": "TYPE_INT32", "float32": "TYPE_FP32"}
_FILES: dict[Backend, str] = {"python": "model.py", "onnxruntime": "model.onnx"}
# The native backend uses a GPU if the container has one; our python backend is CPU only.
_KINDS: dict[Backend, str] = {"python": "KIND_CPU", "onnxruntime": "KIND_AUTO"}


def config_text(spec: ModelSpec) -> str:
    """Return the text of ``config.pbtxt``, complete and with pinned versions.

    ``max_batch_size`` is 0 because the tensors have their own leading 1: frames of different sizes cannot be
    batched, and on a CPU batching costs more than it saves.
    """
    parameters = {"intra_op_thread_count": spec.threads}
    if spec.backend == "python":
        parameters["max_pixels"] = spec.max_pixels
    blocks = [
        f'name: "{spec.name}"',
        f'backend: "{spec.backend}"',
        f'default_model_filename: "{_FILES[spec.backend]}"',
        "max_batch_size: 0",
        # Not `latest`: a broken newest version would keep a restarted server from serving the good one.
        f"version_policy {{ specific {{ versions: [{', '.join(map(str, spec.served))}] }} }}",
        *(_tensor_block("input", tensor) for tensor in spec.inputs),
        *(_tensor_block("output", tensor) for tensor in spec.outputs),
        f"instance_group {{ count: {spec.instances} kind: {_KINDS[spec.backend]} }}",
        # The only scheduler with a bounded queue; with max_batch_size 0 it does not batch.
        f"dynamic_batching {{ default_queue_policy {{ {_queue_policy(spec.queue)} }} }}",
        *(_warm_up_block(spec, height, width) for height, width in spec.warm_up),
        *([] if spec.tensorrt is None else [_tensorrt_block(spec, spec.tensorrt)]),
        *(f'parameters {{ key: "{k}" value {{ string_value: "{v}" }} }}' for k, v in parameters.items()),
    ]
    return "\n".join(blocks) + "\n"


def _tensor_block(side: str, tensor: TensorSpec) -> str:
    dims = ", ".join(str(d) for d in tensor.shape)
    return f'{side} {{ name: "{tensor.name}" data_type: {_TYPES[tensor.dtype]} dims: [{dims}] }}'


def _queue_policy(queue: QueuePolicy) -> str:
    return (
        f"timeout_action: REJECT default_timeout_microseconds: {round(1e6 * queue.timeout_s)}"
        f" max_queue_size: {queue.max_requests}"
    )


def _warm_up_block(spec: ModelSpec, height: int, width: int) -> str:
    inputs = " ".join(
        f'inputs {{ key: "{name}" value {{ {value} }} }}' for name, value in _samples(spec, height, width)
    )
    # Triton silently skips a sample of batch_size 0, even if max_batch_size is 0.
    return f'model_warmup {{ name: "{height}x{width}" batch_size: 1 count: 1 {inputs} }}'


def _samples(spec: ModelSpec, height: int, width: int) -> Iterator[tuple[str, str]]:
    for tensor in spec.inputs:
        is_factor = tensor.dtype == "float32" and tensor.shape == (1,)
        data = f'input_data_file: "{WARM_UP_FILE}"' if is_factor else "zero_data: true"
        dims = ", ".join(map(str, _sized(tensor, height, width)))
        yield tensor.name, f"data_type: {_TYPES[tensor.dtype]} dims: [{dims}] {data}"


def _tensorrt_block(spec: ModelSpec, tensorrt: TensorRt) -> str:
    profile = {"min": (tensorrt.min_side,) * 2, "opt": tensorrt.optimal_size, "max": (tensorrt.max_side,) * 2}
    parameters: dict[str, object] = {"precision_mode": tensorrt.precision}
    for bound, size in profile.items():
        shapes = [f"{tensor.name}:{'x'.join(map(str, _sized(tensor, *size)))}" for tensor in spec.inputs]
        parameters[f"trt_profile_{bound}_shapes"] = ",".join(shapes)
    if tensorrt.cache is not None:
        parameters |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": _quotable(tensorrt.cache),
        }
    rows = " ".join(f'parameters {{ key: "{k}" value: "{v}" }}' for k, v in parameters.items())
    accelerator = f'gpu_execution_accelerator {{ name: "tensorrt" {rows} }}'
    return f"optimization {{ execution_accelerators {{ {accelerator} }} }}"


def _sized(tensor: TensorSpec, height: int, width: int) -> tuple[int, ...]:
    """Return a tensor's shape with height and width of an image filled in.

    Raises:
        ValueError: A dimension other than those of an NHWC image is free.
    """
    shape = tensor.shape
    if len(shape) == 4 and shape[1:3] == (-1, -1):
        shape = (shape[0], height, width, shape[3])
    if min(shape) < 1:
        raise ValueError(f"the size of {tensor.name} {tensor.shape} is not known in advance")
    return shape


def _quotable(path: Path) -> Path:
    if set('"\\\n') & set(str(path)):
        raise ValueError(f"{path} cannot be quoted in a config")
    return path
