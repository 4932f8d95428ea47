"""Weights of TensorFlow's recurrent cells, by the names of variables in the scope of the cell.

The names in a checkpoint start with scopes: ``rnn/gru_cell/gates/kernel`` is ``gates/kernel`` of
the ``GRUCell`` in the scope ``rnn/gru_cell``. `split_scope` extracts the variables of a scope.

TensorFlow adds ``forget_bias`` at run time, but in seqjax it is a part of the bias. So each
``from_...`` function adds it and each ``to_...`` function subtracts it. Its default is
TensorFlow's.
"""

from seqjax.interop.tensorflow.core import (
    from_basic_rnn,
    from_gru,
    from_lstm,
    to_basic_rnn,
    to_gru,
    to_lstm,
)
from seqjax.interop.tensorflow.gated import (
    from_cfn,
    from_intersection_rnn,
    from_minimal_rnn,
    from_nas,
    from_sru,
    from_ugrnn,
    to_cfn,
    to_intersection_rnn,
    to_minimal_rnn,
    to_nas,
    to_sru,
    to_ugrnn,
)
from seqjax.interop.tensorflow.grid import (
    from_bidirectional_grid_lstm,
    from_grid_lstm,
    from_time_freq_lstm,
    to_bidirectional_grid_lstm,
    to_grid_lstm,
    to_time_freq_lstm,
)
from seqjax.interop.tensorflow.grid_rnn import (
    from_grid_rnn,
    to_grid_rnn,
)
from seqjax.interop.tensorflow.independent import (
    from_ind_rnn,
    from_indy_gru,
    from_indy_lstm,
    to_ind_rnn,
    to_indy_gru,
    to_indy_lstm,
)
from seqjax.interop.tensorflow.lstm import (
    from_coupled_input_forget_gate_lstm,
    from_layer_norm_basic_lstm,
    from_layer_norm_lstm,
    from_weight_norm_lstm,
    to_coupled_input_forget_gate_lstm,
    to_layer_norm_basic_lstm,
    to_layer_norm_lstm,
    to_weight_norm_lstm,
)
from seqjax.interop.tensorflow.structured import (
    from_conv_lstm,
    from_glstm,
    from_phased_lstm,
    to_conv_lstm,
    to_glstm,
    to_phased_lstm,
)
from seqjax.interop.tensorflow.variables import join_scope, split_scope
from seqjax.interop.tensorflow.wrappers import (
    from_attention_cell,
    from_highway,
    from_multi_rnn,
    from_projection,
    to_attention_cell,
    to_highway,
    to_multi_rnn,
    to_projection,
)

__all__ = [
    "from_attention_cell",
    "from_basic_rnn",
    "from_bidirectional_grid_lstm",
    "from_cfn",
    "from_conv_lstm",
    "from_coupled_input_forget_gate_lstm",
    "from_glstm",
    "from_grid_lstm",
    "from_grid_rnn",
    "from_gru",
    "from_highway",
    "from_ind_rnn",
    "from_indy_gru",
    "from_indy_lstm",
    "from_intersection_rnn",
    "from_layer_norm_basic_lstm",
    "from_layer_norm_lstm",
    "from_lstm",
    "from_minimal_rnn",
    "from_multi_rnn",
    "from_nas",
    "from_phased_lstm",
    "from_projection",
    "from_sru",
    "from_time_freq_lstm",
    "from_ugrnn",
    "from_weight_norm_lstm",
    "join_scope",
    "split_scope",
    "to_attention_cell",
    "to_basic_rnn",
    "to_bidirectional_grid_lstm",
    "to_cfn",
    "to_conv_lstm",
    "to_coupled_input_forget_gate_lstm",
    "to_glstm",
    "to_grid_lstm",
    "to_grid_rnn",
    "to_gru",
    "to_highway",
    "to_ind_rnn",
    "to_indy_gru",
    "to_indy_lstm",
    "to_intersection_rnn",
    "to_layer_norm_basic_lstm",
    "to_layer_norm_lstm",
    "to_lstm",
    "to_minimal_rnn",
    "to_multi_rnn",
    "to_nas",
    "to_phased_lstm",
    "to_projection",
    "to_sru",
    "to_time_freq_lstm",
    "to_ugrnn",
    "to_weight_norm_lstm",
]
