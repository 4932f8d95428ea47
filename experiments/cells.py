"""The cells that an experiment can choose from, by name."""

from collections.abc import Callable
from typing import Literal

from seqjax import (
    CFN,
    GRU,
    LRU,
    LSTM,
    MGU,
    MLSTM,
    NAS,
    RGLRU,
    SLSTM,
    SRU,
    UGRNN,
    BasicRNN,
    Cell,
    CoupledInputForgetGateLSTM,
    IndRNN,
    IndyGRU,
    IndyLSTM,
    InputProjection,
    LayerNorm,
    MinGRU,
    MinimalRNN,
    MinLSTM,
    Mogrifier,
)

# units -> a layer; each of them takes inputs of any size
CELLS: dict[str, Callable[[int], Cell]] = {
    "rnn": BasicRNN,
    "gru": GRU,
    "lstm": LSTM,
    "layer_norm_lstm": lambda units: LSTM(units, layer_norm=LayerNorm()),
    "peephole_lstm": lambda units: LSTM(units, peepholes=True),
    "coupled_lstm": CoupledInputForgetGateLSTM,
    "ugrnn": UGRNN,
    "nas": NAS,
    "sru": SRU,
    "indrnn": IndRNN,
    "indygru": IndyGRU,
    "indylstm": IndyLSTM,
    "minimal": MinimalRNN,
    "cfn": CFN,
    "mgu": MGU,
    "mingru": MinGRU,
    "minlstm": MinLSTM,
    "lru": lambda units: LRU(units, units),
    "rglru": lambda units: InputProjection(RGLRU(units), units),
    "slstm": SLSTM,
    "mlstm": MLSTM,
    "mogrifier_lstm": lambda units: Mogrifier(LSTM(units)),
}
CellName = Literal[
    "rnn", "gru", "lstm", "layer_norm_lstm", "peephole_lstm", "coupled_lstm", "ugrnn", "nas", "sru",
    "indrnn", "indygru", "indylstm", "minimal", "cfn", "mgu", "mingru", "minlstm", "lru", "rglru",
    "slstm", "mlstm", "mogrifier_lstm",
]  # fmt: skip
