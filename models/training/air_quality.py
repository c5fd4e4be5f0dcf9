"""Trains the bundled `air-quality` model on a CPU, in a minute.

    python -m models.training.air_quality

It classifies one reading of five sensors by what `models.training.environment` says was going on.
Training and held-out readings come from simulated rooms with different seeds, since neighbouring
readings of one trace are nearly the same. The model takes raw units: normalising them is its first
operation.
"""

import math
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from app.types import Array
from models.training.environment import CHANNELS, LABELS, readings

TRAINING_ROOMS = (11, 12, 13, 14)
HELD_OUT_ROOMS = (101, 102)
READINGS_PER_ROOM = 30 * 24 * 60
EPOCHS = 12
BATCH = 1024
ARTEFACT = Path(__file__).parents[1] / "zoo" / "air-quality" / "1" / "model.onnx"


def network(usual: torch.Tensor) -> nn.Sequential:
    """Two hidden layers over values in standard deviations of `usual`; gives float32 (n, 5) logits.

    A sensor at its rail is hundreds of deviations away; beyond 15 more of them tell nothing.
    """
    normal = nn.BatchNorm1d(len(CHANNELS), affine=False)
    normal.running_mean = usual.mean(dim=0)
    normal.running_var = usual.var(dim=0)
    return nn.Sequential(
        normal.eval(),
        nn.Hardtanh(-15.0, 15.0),
        nn.Linear(len(CHANNELS), 48),
        nn.ReLU(),
        nn.Linear(48, 48),
        nn.ReLU(),
        nn.Linear(48, len(LABELS)),
    )


def rooms(seeds: tuple[int, ...]) -> tuple[Array, Array]:
    """Readings as float32 (n, 5), and the indices of their labels as int64 (n,)."""
    trace = [reading for seed in seeds for reading in islice(readings(seed), READINGS_PER_ROOM)]
    values = np.array([reading.values for reading in trace], dtype=np.float32)
    labels = np.array([LABELS.index(reading.label) for reading in trace], dtype=np.int64)
    return values, labels


def train(values: torch.Tensor, labels: torch.Tensor) -> nn.Sequential:
    model = network(values[labels != LABELS.index("sensor_fault")])
    steps = EPOCHS * math.ceil(len(values) / BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(values))
        for begin in range(0, len(values), BATCH):
            chosen = order[begin : begin + BATCH]
            loss = nn.functional.cross_entropy(model(values[chosen]), labels[chosen])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return model.eval()


def report(answers: Array, labels: Array) -> str:
    """Precision and recall of each class."""
    lines = [f"{'class':14} {'readings':>8} {'precision':>9} {'recall':>7}"]
    for index, label in enumerate(LABELS):
        right = int(((answers == index) & (labels == index)).sum())
        found, actual = int((answers == index).sum()), int((labels == index).sum())
        precision, recall = right / max(found, 1), right / max(actual, 1)
        lines.append(f"{label:14} {actual:8} {precision:9.3f} {recall:7.3f}")
    return "\n".join(lines)


def main() -> None:
    torch.manual_seed(1)
    values, labels = rooms(TRAINING_ROOMS)
    model = train(torch.from_numpy(values), torch.from_numpy(labels))
    served = nn.Sequential(model, nn.Softmax(dim=1)).eval()
    held_out_values, held_out_labels = rooms(HELD_OUT_ROOMS)
    with torch.no_grad():
        answers = served(torch.from_numpy(held_out_values)).argmax(dim=1).numpy()
    ARTEFACT.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        served,
        (torch.zeros(1, len(CHANNELS)),),
        str(ARTEFACT),
        input_names=["vector"],
        output_names=["probabilities"],
        dynamic_axes={"vector": {0: "batch"}, "probabilities": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    print(report(answers, held_out_labels))
    print(f"{ARTEFACT}: {ARTEFACT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
