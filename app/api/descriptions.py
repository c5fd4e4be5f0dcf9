"""What callers are told of a model: metadata, configuration, statistics.

The formats: KServe "Open Inference Protocol" (v2), Model Metadata, and its Model Configuration
and Statistics extensions.
"""

from collections.abc import Iterable

from app.types import Duration, JsonValue, ModelMetadata, ModelStatistics, TensorSpec

MAX_LABELS = 1000


def encode_metadata(metadata: ModelMetadata) -> dict[str, JsonValue]:
    """The protocol's metadata object; `parameters` adds the batching rule and short label lists."""
    parameters: dict[str, JsonValue] = {"max_batch_size": metadata.max_batch_size}
    labels: dict[str, JsonValue] = {
        output: list(names) for output, names in metadata.labels.items() if len(names) <= MAX_LABELS
    }
    if labels:
        parameters["labels"] = labels
    return {
        "name": metadata.name,
        "versions": list(metadata.versions),
        "platform": metadata.platform,
        "inputs": [_encode_spec(spec) for spec in metadata.inputs],
        "outputs": [_encode_spec(spec) for spec in metadata.outputs],
        "parameters": parameters,
    }


def encode_config(metadata: ModelMetadata) -> dict[str, JsonValue]:
    """The model configuration; its `dims` leave the batch dimension out where there is one."""
    is_batched = metadata.max_batch_size > 0
    versions: list[JsonValue] = [int(version) for version in metadata.versions]
    config: dict[str, JsonValue] = {
        "name": metadata.name,
        "platform": metadata.platform,
        "backend": metadata.platform.partition("_")[0],
        "version_policy": {"specific": {"versions": versions}},
        "max_batch_size": metadata.max_batch_size,
        "input": [_tensor_config(spec, is_batched) for spec in metadata.inputs],
        "output": [_tensor_config(spec, is_batched) for spec in metadata.outputs],
    }
    if is_batched:
        config["dynamic_batching"] = {}
    return config


def encode_statistics(statistics: Iterable[ModelStatistics]) -> dict[str, JsonValue]:
    """Durations are sums in nanoseconds. Copying in and out of a run is part of `compute_infer`.

    The three parts of computing have the same counts: perf_analyzer ends where they have not.
    """
    return {"model_stats": [_one_statistics(each) for each in statistics]}


def _encode_spec(spec: TensorSpec) -> dict[str, JsonValue]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _tensor_config(spec: TensorSpec, is_batched: bool) -> dict[str, JsonValue]:
    kind = "STRING" if spec.datatype == "BYTES" else spec.datatype
    dims = spec.shape[1:] if is_batched else spec.shape
    tensor: dict[str, JsonValue] = {"name": spec.name, "data_type": f"TYPE_{kind}"}
    if dims:
        return tensor | {"dims": list(dims)}
    return tensor | {"dims": [1], "reshape": {"shape": []}}  # a configuration has no empty dims


def _one_statistics(each: ModelStatistics) -> dict[str, JsonValue]:
    none = _duration(Duration())
    no_time = _duration(Duration(each.compute.count, 0))
    return {
        "name": each.name,
        "version": each.version,
        "last_inference": each.last_inference,
        "inference_count": each.inferences,
        "execution_count": each.executions,
        "inference_stats": {
            "success": _duration(each.success),
            "fail": _duration(each.fail),
            "queue": _duration(each.queue),
            "compute_input": no_time,
            "compute_infer": _duration(each.compute),
            "compute_output": no_time,
            "cache_hit": none,
            "cache_miss": none,
        },
        "batch_stats": [
            {
                "batch_size": rows,
                "compute_input": _duration(Duration(duration.count, 0)),
                "compute_infer": _duration(duration),
                "compute_output": _duration(Duration(duration.count, 0)),
            }
            for rows, duration in each.batches.items()
        ],
    }


def _duration(duration: Duration) -> dict[str, JsonValue]:
    return {"count": duration.count, "ns": duration.nanoseconds}
