r"""Compares cells as character models with equal parameters and equal training time.

Each cell gets the largest number of units that a parameter budget allows, and trains a character
model for the same time on the same machine. The table shows the best of a few learning rates,
because cells differ in the learning rates at which they are stable. A cell that is cheap to compute
reads more text in that time.

A full run with one seed takes about half an hour on 2 CPU cores. For this table each learning rate
was a separate run::

    python -m experiments.cell_comparison

    cell             units  learning rate  chars/s  streaming  windowed
    mgu                240          0.006   40,233     1.5962    1.6222
    gru                195          0.006   39,354     1.6066    1.6315
    rnn                342          0.006   49,057     1.6351    1.6494
    ugrnn              240          0.006   40,116     1.6713    1.7102
    coupled_lstm       195          0.006   35,370     1.6890    1.7082
    cfn                219          0.006   34,326     1.6913    1.7051
    minimal            268          0.006   37,358     1.6950    1.7253
    slstm              168          0.006   29,782     1.7123    1.7346
    sru                276          0.006   38,605     1.7405    1.7646
    indrnn             566          0.006   44,613     1.7483    1.7562
    indygru            321          0.006   34,421     1.7709    1.7988
    lstm               168          0.006   37,656     1.7801    1.7948
    mogrifier_lstm     134          0.006   23,602     1.7969    1.8101
    mingru             398          0.006   41,815     1.8093    1.8281
    indylstm           275          0.015   26,299     1.8145    1.8261
    minlstm            322          0.006   35,370     1.8431    1.8640
    nas                116          0.015   25,389     1.8481    1.8589
    peephole_lstm      168          0.006   34,344     1.8634    1.9152
    layer_norm_lstm    167          0.006   22,636     1.9353    1.9514
    lru                219          0.006   33,689     2.1642    2.1711

These are plain layers. With ``--blocks`` each layer is a normalised residual block around the cell,
with a gated feed-forward part, as in the papers of the linear recurrences. With ``--seeds`` the
table shows the mean of the losses and their range. Both together, for 30 and for 300 seconds::

    python -m experiments.cell_comparison --blocks --cells mingru lru rglru mlstm gru --seeds 3
    python -m experiments.cell_comparison --blocks --cells mingru lru rglru mlstm gru --seeds 3 \
        --seconds 300

In 30 s, about one pass over the text, cells with few gates and many units reach the lowest loss.
The table does not predict the loss after long training, and with one seed the order of neighbours
in the table is uncertain. A learning rate of 0.002 was worse for every cell except the mogrifier,
for which it was not tried.
"""
