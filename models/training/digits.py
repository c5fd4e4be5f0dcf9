"""Trains the bundled `digits` model on a CPU, in half a minute.

python -m models.training.digits
"""

from pathlib import Path

import torch
from torch import nn

from models.training.digits_data import SEED, split

EPOCHS = 60
BATCH = 64
ARTEFACT = Path(__file__).parents[1] / "zoo" / "digits" / "1" / "model.onnx"


def network() -> nn.Sequential:
    """Two convolutions, one pooling, one hidden layer: 57 thousand weights, giving logits."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(32 * 4 * 4, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def train(images: torch.Tensor, digits: torch.Tensor) -> nn.Sequential:
    """Fits a `network`, half of the batches being moved by up to a pixel."""
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    model.train()
    for _ in range(EPOCHS):
        order = torch.randperm(len(images))
        for begin in range(0, len(images), BATCH):
            chosen = order[begin : begin + BATCH]
            loss = nn.functional.cross_entropy(model(_shifted(images[chosen])), digits[chosen])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        schedule.step()
    return model.eval()


def _shifted(images: torch.Tensor) -> torch.Tensor:
    """About half of the batches moved by -1, 0 or 1 pixel along each axis."""
    if torch.rand(()) < 0.5:
        return images
    rows, columns = (int(torch.randint(-1, 2, ())) for _ in range(2))
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    return padded[:, :, 1 + rows : 9 + rows, 1 + columns : 9 + columns]


def main() -> None:
    torch.manual_seed(SEED)
    images, held_out_images, digits, held_out_digits = split()
    model = train(torch.from_numpy(images), torch.from_numpy(digits))
    served = nn.Sequential(model, nn.Softmax(dim=1)).eval()
    with torch.no_grad():
        answers = served(torch.from_numpy(held_out_images)).argmax(dim=1).numpy()
    ARTEFACT.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        served,
        (torch.zeros(1, 1, 8, 8),),
        str(ARTEFACT),
        input_names=["image"],
        output_names=["probabilities"],
        dynamic_axes={"image": {0: "batch"}, "probabilities": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    right = int((answers == held_out_digits).sum())
    print(f"{right} of {len(answers)} held-out digits right: {right / len(answers):.4f}")
    print(f"{ARTEFACT}: {ARTEFACT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
