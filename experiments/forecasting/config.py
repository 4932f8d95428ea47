"""The options of the experiment."""

import dataclasses
from pathlib import Path
from typing import Literal, NamedTuple

from experiments.cells import CellName, make_cell
from experiments.command_line import check_learning_rate, check_seed, check_sizes
from seqjax.checks import check_count, check_rate

DatasetName = Literal["simulated", "airline", "lynx", "solar"]


class Training(NamedTuple):
    """Defaults of the training, chosen on the validation data."""

    steps: int
    learning_rate: float
    dropout: float


TRAINING: dict[DatasetName, Training] = {
    "simulated": Training(2000, 5e-3, 0.0),
    "airline": Training(600, 5e-3, 0.0),
    "lynx": Training(400, 2e-3, 0.5),
    "solar": Training(400, 2e-3, 0.5),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Forecast series with a recurrent network, beside seasonal naive, ETS and ARIMA.

    All models forecast from the same origins. The network is trained once, on the data before the
    first origin. ETS and ARIMA are fitted again at each origin.
    """

    dataset: DatasetName = "simulated"
    """simulated (500 series whose least possible error is known), airline (passengers by month),
    lynx (trapped animals by year) or solar (output every half hour)."""
    cell: CellName = "gru"
    """Recurrent cell: a name, or an import path."""
    units: int = 32
    """Units of the cell."""
    dropout: float | None = None
    """Dropout rate of the outputs of the cell, in training. None: 0.5 for lynx and solar, otherwise
    0."""
    steps: int | None = None
    """Training steps. None: 2000 for simulated, 600 for airline, otherwise 400. The parameters with
    the lowest validation loss are used. Validation data are the last two horizons before the first
    origin."""
    batch_size: int = 64
    """Windows per training step."""
    learning_rate: float | None = None
    """Initial learning rate of Adam; it decays to 0 along a cosine. None: 0.002 for lynx and solar,
    otherwise 0.005."""
    seeds: int = 4
    """Number of seeds, trained in one batch on the same data."""
    paths: int = 100
    """Sampled paths of each forecast and seed."""
    seed: int = 0
    """Random seed from which all seeds are derived."""
    out: Path | None = None
    """New folder for the results. None: runs/forecasting/<time>."""

    def __post_init__(self) -> None:
        check_sizes("forecasting", self, "units", "batch_size", "seeds")
        if self.steps is not None:
            check_sizes("forecasting", self, "steps")
        check_count("forecasting", "--paths", self.paths, low=2)  # two for a CRPS
        check_rate("forecasting", "--dropout", self.training.dropout)
        make_cell(self.cell, self.units)
        check_learning_rate(self.training.learning_rate)
        check_seed(self.seed)

    @property
    def training(self) -> Training:
        """The options of the training, with the defaults of the data set."""
        given = {name: getattr(self, name) for name in Training._fields}
        chosen = {name: value for name, value in given.items() if value is not None}
        return TRAINING[self.dataset]._replace(**chosen)
