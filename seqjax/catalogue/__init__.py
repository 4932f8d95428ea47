"""The catalogue: one table of all cells, for the tests, the benchmark and ``--cell``."""

from typing import Any

import seqjax  # loads its modules on first use, so that importing the catalogue is fast
from seqjax.catalogue.entry import Entry, timed, with_starts

__all__ = ["CATALOGUE", "FREQUENCIES", "Entry"]

FREQUENCIES = 64
_SPECTRUM: dict[str, Any] = {"frequencies": FREQUENCIES, "window": 16, "stride": 16}

# The core cells of TensorFlow 1, its contributed cells, later cells, and wrappers.
CATALOGUE = (
    Entry(
        "BasicRNN",
        lambda units: seqjax.BasicRNN(units),
        "Elman 1990",
        "`core_basic_rnn*`, `torch_rnn*`, `keras_simplernn*`",
        short="rnn",
    ),
    Entry(
        "GRU",
        lambda units: seqjax.GRU(units),
        "Cho et al. 2014",
        "`core_gru*`, `contrib_grublockcellv2`, `torch_gru*`, `keras_gru*`",
        short="gru",
    ),
    Entry(
        "LSTM",
        lambda units: seqjax.LSTM(units),
        "Hochreiter and Schmidhuber 1997",
        "`core_lstm*`, `core_basic_lstm*`, `core_*lstmblock*`, `contrib_layernormlstm*`, "
        "`contrib_lnbasiclstm`, `torch_lstm*`, `keras_lstm*`",
        short="lstm",
    ),
    Entry(
        "LSTM",
        lambda units: seqjax.LSTM(units, layer_norm=seqjax.cells.LayerNorm()),
        "Ba et al. 2016",
        "`contrib_layernormlstm_ln`, `contrib_lnbasiclstm`",
        short="layer_norm_lstm",
        variant=True,
    ),
    Entry(
        "LSTM",
        lambda units: seqjax.LSTM(units, peepholes=True),
        "Gers et al. 2002",
        "`core_lstm_peep*`, `core_blocklstm*_peep_clip`",
        short="peephole_lstm",
        variant=True,
    ),
    Entry(
        "Stack",
        lambda units: seqjax.Stack([seqjax.LSTM(units)] * 2),
        "",
        "`core_multi*`, `torch_*_2l_*`",
    ),
    Entry(
        "Ensemble",
        lambda units: seqjax.Ensemble([seqjax.LSTM(units)] * 2),
        "Hansen and Salamon 1990",
        "the average of its members",
    ),
    Entry(
        "Bidirectional",
        lambda units: seqjax.Bidirectional(seqjax.LSTM(units), seqjax.LSTM(units)),
        "Schuster and Paliwal 1997",
        "`core_bidir*`, `torch_*_bidir*`, `keras_bidir*`",
    ),
    Entry(
        "CoupledInputForgetGateLSTM",
        lambda units: seqjax.CoupledInputForgetGateLSTM(units),
        "Greff et al. 2017",
        "`contrib_cifg*`",
        short="coupled_lstm",
    ),
    Entry(
        "TimeFreqLSTM",
        lambda units: seqjax.TimeFreqLSTM(seqjax.LSTM(units), **_SPECTRUM),
        "Li et al. 2015",
        "`contrib_timefreq*`",
        input_size=FREQUENCIES,
    ),
    Entry(
        "GridLSTM",
        lambda units: seqjax.GridLSTM(units, **_SPECTRUM),
        "Kalchbrenner et al. 2016",
        "`contrib_gridlstm*`",
        input_size=FREQUENCIES,
    ),
    Entry(
        "BidirectionalGridLSTM",
        lambda units: seqjax.BidirectionalGridLSTM(seqjax.GridLSTM(units, **_SPECTRUM)),
        "Sainath and Li 2016",
        "`contrib_bigridlstm*`",
        input_size=FREQUENCIES,
    ),
    Entry(
        "AttentionCell",
        lambda units: seqjax.AttentionCell(seqjax.LSTM(units), length=10),
        "Cheng et al. 2016",
        "`contrib_attn*`",
    ),
    Entry(
        "ContextAttention",
        lambda units: seqjax.ContextAttention(
            seqjax.LSTM(units), seqjax.attention.Additive(units), memory_size=units, size=units
        ),
        "Bahdanau et al. 2015",
        "a NumPy loop",
    ),
    Entry(
        "UGRNN",
        lambda units: seqjax.UGRNN(units),
        "Collins et al. 2017",
        "`contrib_ugrnn`",
        short="ugrnn",
    ),
    Entry(
        "IntersectionRNN",
        lambda units: seqjax.IntersectionRNN(units),
        "Collins et al. 2017",
        "`contrib_intersection`",
        input_size="units",
    ),
    Entry("NAS", lambda units: seqjax.NAS(units), "Zoph and Le 2017", "`contrib_nas`", short="nas"),
    Entry(
        "PhasedLSTM",
        lambda units: seqjax.PhasedLSTM(units),
        "Neil et al. 2016",
        "`contrib_phased`",
        wrap=timed,
    ),
    Entry(
        "ConvLSTM",
        lambda units: seqjax.ConvLSTM((8, 8, 1), max(1, units // 16), (3, 3)),
        "Shi et al. 2015",
        "`contrib_conv2dlstm`",
        input_size=(8, 8, 1),
    ),
    Entry(
        "GLSTM",
        lambda units: seqjax.GLSTM(units, groups=4),
        "Kuchaiev and Ginsburg 2017",
        "`contrib_glstm`",
        input_size=64,  # divisible by the groups
    ),
    Entry("SRU", lambda units: seqjax.SRU(units), "Lei et al. 2017", "`contrib_sru`", short="sru"),
    Entry(
        "IndRNN",
        lambda units: seqjax.IndRNN(units),
        "Li et al. 2018",
        "`contrib_indrnn`",
        short="indrnn",
    ),
    Entry(
        "IndyGRU",
        lambda units: seqjax.IndyGRU(units),
        "Li et al. 2018",
        "NumPy loop",
        short="indygru",
    ),
    Entry(
        "IndyLSTM",
        lambda units: seqjax.IndyLSTM(units),
        "Gonnet and Deselaers 2019",
        "`contrib_indylstm`",
        short="indylstm",
    ),
    Entry(
        "MinimalRNN",
        lambda units: seqjax.MinimalRNN(units),
        "Chen et al. 2018",
        "`contrib_minimalrnn`",
        short="minimal",
    ),
    Entry(
        "CFN",
        lambda units: seqjax.CFN(units),
        "Laurent and von Brecht 2017",
        "NumPy loop",
        short="cfn",
    ),
    Entry(
        "WeightNorm",
        lambda units: seqjax.WeightNorm(seqjax.LSTM(units)),
        "Salimans and Kingma 2016",
        "`contrib_weightnormlstm*`",
    ),
    Entry(
        "GridRNN",
        lambda units: seqjax.GridRNN(seqjax.LSTM(units)),
        "Kalchbrenner et al. 2016",
        "`contrib_grid1*`, `contrib_grid2*`",
    ),
    Entry("MGU", lambda units: seqjax.MGU(units), "Zhou et al. 2016", "NumPy loop", short="mgu"),
    Entry(
        "Mogrifier",
        lambda units: seqjax.Mogrifier(seqjax.LSTM(units)),
        "Melis et al. 2020",
        "NumPy loop",
        short="mogrifier_lstm",
    ),
    Entry(
        "LRU",
        lambda units: seqjax.LRU(units, units),
        "Orvieto et al. 2023",
        "NumPy loop",
        short="lru",
    ),
    Entry(
        "RGLRU",
        lambda units: seqjax.RGLRU(units),
        "De et al. 2024",
        "NumPy loop",
        input_size="units",
    ),
    Entry(
        "RGLRU",
        lambda units: seqjax.InputProjection(seqjax.RGLRU(units), units),
        "De et al. 2024",
        "NumPy loop",
        short="rglru",
        variant=True,
    ),
    Entry(
        "MinGRU",
        lambda units: seqjax.MinGRU(units),
        "Feng et al. 2024",
        "NumPy loop",
        short="mingru",
    ),
    Entry(
        "MinLSTM",
        lambda units: seqjax.MinLSTM(units),
        "Feng et al. 2024",
        "NumPy loop",
        short="minlstm",
    ),
    Entry(
        "SLSTM", lambda units: seqjax.SLSTM(units), "Beck et al. 2024", "NumPy loop", short="slstm"
    ),
    Entry(
        "MLSTM", lambda units: seqjax.MLSTM(units), "Beck et al. 2024", "NumPy loop", short="mlstm"
    ),
    Entry(
        "Dropout",
        lambda units: seqjax.Dropout(seqjax.LSTM(units), 0.1, 0.1, 0.1),
        "Gal and Ghahramani 2016",
        "`core_dropout*`",
    ),
    Entry(
        "Zoneout",
        lambda units: seqjax.Zoneout(seqjax.LSTM(units), 0.1),
        "Krueger et al. 2017",
        "NumPy loop",
    ),
    Entry(
        "LearnedState",
        lambda units: seqjax.LearnedState(seqjax.LSTM(units)),
        "Forcada and Carrasco 1995",
        "the same `initial_state`",
    ),
    Entry(
        "Reset",
        lambda units: seqjax.Reset(seqjax.LSTM(units)),
        "Krell et al. 2021",
        "one sequence per row",
        wrap=with_starts,
    ),
    Entry(
        "WithState",
        lambda units: seqjax.WithState(seqjax.LSTM(units)),
        "",
        "the state of each prefix",
    ),
    Entry(
        "KeepFeatures",
        lambda units: seqjax.wrappers.KeepFeatures(seqjax.LSTM(units - 1), size=1),
        "Wu et al. 2016",
        "a NumPy loop",
    ),
    Entry(
        "Residual",
        lambda units: seqjax.Residual(seqjax.LSTM(units)),
        "Wu et al. 2016",
        "`core_residual*`",
        input_size="units",
    ),
    Entry(
        "ResidualBlock",
        lambda units: seqjax.ResidualBlock(seqjax.LSTM(units)),
        "De et al. 2024",
        "NumPy loop",
        input_size="units",
    ),
    Entry(
        "Highway",
        lambda units: seqjax.Highway(seqjax.LSTM(units)),
        "Srivastava et al. 2015",
        "`contrib_highway*`",
        input_size="units",
    ),
    Entry(
        "InputProjection",
        lambda units: seqjax.InputProjection(seqjax.LSTM(units), 32),
        "",
        "`contrib_inputprojection`",
    ),
    Entry(
        "OutputProjection",
        lambda units: seqjax.OutputProjection(seqjax.LSTM(units), 32),
        "",
        "`contrib_outputprojection`",
    ),
    Entry(
        "LanguageModel",
        lambda units: seqjax.LanguageModel(seqjax.LSTM(units), 64),
        "Mikolov et al. 2010",
        "NumPy loop",
        input_size=64,  # the vocabulary size
    ),
)
