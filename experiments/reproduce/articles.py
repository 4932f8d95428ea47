"""Every number, table and figure of the five articles, and the commands that measure them.

To add an experiment, add a row to `RUNS`, and a row to `CLAIMS` for each statement of an article
that it measures.
"""

from experiments.article_examples.experiment import EXAMPLE_OF_TENSORFLOW
from experiments.reproduce.claims import (
    Claim,
    Criterion,
    Run,
    at_least,
    at_most,
    between,
    equal,
    near,
    not_compared,
    shown,
)
from experiments.reproduce.readers import (
    FIRST_CURVE,
    accuracies,
    beside_first_curve,
    expected_losses,
    final_loss,
    first_losses,
    growth,
    lookahead_losses,
    losses_apart,
    of_example,
    of_way,
    scan_to_dynamic,
    static_to_dynamic,
    three_epochs,
    truecasing_scores,
    with_error,
    worst_adding,
)
from experiments.unroll_comparison.report import ARTICLE as UNROLLED

ARTICLES = {
    "guide": "RNNs in TensorFlow, a Practical Guide and Undocumented Features (Britz, 2016)",
    "digest": "A Chinese digest of that guide, with its code (2016)",
    "intro": "Introduction to Recurrent Networks in TensorFlow (Hafner, 2016)",
    "rnn1": "Recurrent Neural Networks in TensorFlow I (Pitis, 2016)",
    "rnn2": "Recurrent Neural Networks in TensorFlow II (Pitis, 2016)",
}

RUNS = (
    Run("article_examples", "article_examples"),
    Run("binary_dependency", "binary_dependency", quick="--seeds 4"),
    Run(
        "unroll_comparison",
        "unroll_comparison",
        quick="--ways static dynamic scan --epochs 1 --sweep 25 --cap 30",
        full="--cap 400",
    ),
    Run(
        "basic_rnn",
        "unroll_comparison --cell rnn --layers 1 --embedding-size None --ways static dynamic "
        "--epochs 0",
        quick="--num-steps 100 --sweep 25",
        full="--sweep 25 50 100",
    ),
    Run(
        "text",
        "char_model train --cell gru --layers 2 --units 200 --embedding-size 100 --layer-norm "
        "--layer-dropout 0.1 --evaluations 1 --max-seconds None",
        quick="--epochs 0.5",
        full="--epochs 5",
    ),
    Run("sequence_classification", "sequence_classification", quick="--seeds 2"),
    Run("lookahead", "sequence_labelling lookahead", quick="--seeds 2"),
    Run("truecasing", "sequence_labelling truecasing", quick=None),
    Run("adding", "memory_tasks --tasks adding --cells gru", quick=None),
)

ROUNDED = Criterion("no error is larger than 1e-05", lambda measured: measured["off by"] <= 1e-5)
LUCK = 0.05  # nats; random initialisation makes the article's three runs differ by up to 0.065
BELOW = f"the article's loss plus {LUCK} for another random initialisation"
TIME = not_compared("times of other machines and compilers are not compared")


def example(article: str, says: str, name: str, criterion: Criterion | None = None) -> Claim:
    """A worked example; by default, all its numbers must agree up to rounding."""
    if criterion:
        return Claim(article, says, "article_examples", of_example(name), criterion)
    return Claim(article, says, "article_examples", with_error(name), ROUNDED)


CLAIMS = (
    example(
        "guide",
        "A SequenceExample holds the length as context, and lists of tokens and of labels",
        "sequence_example",
        equal(EXAMPLE_OF_TENSORFLOW, "the bytes that TensorFlow writes"),
    ),
    example(
        "guide",
        "The format is verbose: it made a data set 10 times larger",
        "record_size",
        between(5, 20, "times the bytes of a text, with one character per step"),
    ),
    example(
        "guide",
        "One sequence of 1,000 steps among many of 20 wastes most of a batch if all are padded to "
        "it, and less if each batch is padded to its own longest (both fractions of padding)",
        "padding_share",
    ),
    example(
        "guide",
        "A really long example will only affect a single batch (of 32), not all of the data",
        "long_sequence",
        equal(1, "1 batch of 200"),
    ),
    example(
        "guide",
        "Rows of 13 and 20 steps: outputs past step 13 are 0 and the state is that of step 13; "
        "without sequence_length it is not",
        "lengths_freeze",
    ),
    example(
        "guide",
        "A bidirectional network has separate outputs and states for both directions, and each "
        "respects the lengths",
        "bidirectional",
    ),
    Claim(
        "guide",
        "A bidirectional network also takes the future into account (no number; here Y depends on "
        "X 3 steps back and 4 steps ahead; the exact loss is 0.5192 for a model that knows only "
        "the first dependency and 0.4545 for a model that knows both)",
        "lookahead",
        lookahead_losses,
        near([0.519167, 0.454454], 0.005),
        unit="nats, forward and bidirectional",
    ),
    Claim(
        "guide",
        "Bidirectional networks are commonly used for tagging tasks (no number; the task here is "
        "to predict which letters of a text in lower case were upper case)",
        "truecasing",
        truecasing_scores,
        Criterion(
            "the worst bidirectional seed is better than the best forward seed",
            lambda scores: scores[0] > scores[1],
        ),
        unit="F1, worst bidirectional and best forward seed",
    ),
    example(
        "guide",
        "Six basic cells and wrappers, and five contributed ones",
        "listed_cells",
        equal(11, "all 11 exist here"),
    ),
    example(
        "guide",
        "If 0 is a class, a mask from the sign of the targets omits it, and a mask from lengths "
        "does not (both losses of one model)",
        "class_zero",
    ),
    example(
        "digest",
        "tf.train.batch with dynamic_pad, and PaddingFIFOQueue: batch shape (5, 4), "
        "[[0 0 0 0] [1 0 0 0] [1 2 0 0] [1 2 3 0] [1 2 3 4]]",
        "padded_batch",
    ),
    example(
        "digest",
        "dynamic_rnn of 64 LSTM units on X (2, 10, 8) of lengths 10 and 6: outputs (2, 10, 64), "
        "which are 0 at [1, 7]",
        "dynamic_rnn",
    ),
    example(
        "digest",
        "The mean of each example's masked loss, B = 4, T = 8, 10 classes, lengths 1, 2, 3, 8",
        "masked_loss",
    ),
    example(
        "intro",
        "Three layers of 200 GRU units with dropout on (batch, 100, 28): the last output, "
        "outputs[-1], is one row of 200",
        "last_output",
    ),
    example(
        "intro",
        "rnn and dynamic_rnn have the same interface; dynamic_rnn does not unroll the graph",
        "static_and_dynamic",
    ),
    example(
        "intro",
        "Sequence labelling: a softmax layer shared by all steps equals the same layer on the "
        "outputs flattened to a batch",
        "shared_readout",
    ),
    Claim(
        "intro",
        "Sequence classification: a softmax on the last output of the three layers (no number; the "
        "data here are the rows of handwritten digits, with a fifth held out)",
        "sequence_classification",
        accuracies,
        Criterion("a mean of at least 0.97", lambda measured: measured[0] >= 0.97),
        unit="accuracy, mean, worst and best seed",
    ),
    Claim(
        "rnn1",
        "Expected loss of a model that learns neither dependency, the first, or both: "
        "0.661563238158, 0.519166699707, 0.454454367449",
        "binary_dependency",
        expected_losses,
        equal(["0.661563238158", "0.519166699707", "0.454454367449"], "equal to the last digit"),
        unit="nats",
    ),
    Claim(
        "rnn1",
        "num_steps = 5, 4 units, 1 epoch: the loss converges to 0.52 (last printed: 0.51997)",
        "binary_dependency",
        final_loss(5, "mean"),
        near([0.51997], 0.005),
        unit="nats, mean of the seeds",
    ),
    Claim(
        "rnn1",
        f"Its learning curve, after 100, 200, ..., 900 steps: {shown([*FIRST_CURVE.values()])}",
        "binary_dependency",
        beside_first_curve,
        at_most(0.02, "its largest distance from the range of the seeds"),
        unit="nats",
    ),
    Claim(
        "rnn1",
        "num_steps = 1, 4 units, 2 epochs: hovers around something slightly better than 0.66",
        "binary_dependency",
        final_loss(1, "min", "mean", "max"),
        between(0.5192, 0.6616, "between the floors of the first and of neither"),
        unit="nats, best, mean and worst seed",
    ),
    Claim(
        "rnn1",
        "num_steps = 10, 16 units, 10 epochs: comes close to 0.454",
        "binary_dependency",
        final_loss(10, "mean"),
        near([0.454454], 0.005),
        unit="nats, mean of the seeds",
    ),
    example(
        "rnn1",
        "A sequence of 49 steps and n = 7: with chunks, only 7 errors flow back the full 7 steps; "
        "with true truncation, 42 do",
        "full_errors",
        equal([7, 43], "7, and 43 = 49 - 6, since the seventh error also flows back 7 steps"),
    ),
    Claim(
        "rnn2",
        "Data length: 1115394",
        "unroll_comparison",
        lambda files: files.result["characters"],
        equal(1_115_394),
        unit="characters",
    ),
    Claim(
        "rnn2",
        "5.6 seconds to build the static graph of a basic RNN of 200 steps",
        "basic_rnn",
        of_way("static", "build_seconds"),
        TIME,
        unit="s",
        full_only=True,
    ),
    Claim(
        "rnn2",
        "Even with the most basic RNN a static graph is slow to build",
        "basic_rnn",
        static_to_dynamic,
        at_least(3, "times as long as dynamic"),
        unit="times",
    ),
    Claim(
        "rnn2",
        "25.6 s to build three layers of LSTM as a static graph",
        "unroll_comparison",
        of_way("static", "build_seconds"),
        TIME,
        unit="s",
        full_only=True,
    ),
    Claim(
        "rnn2",
        "0.53 s to build them with dynamic_rnn",
        "unroll_comparison",
        of_way("dynamic", "build_seconds"),
        TIME,
        unit="s",
    ),
    Claim(
        "rnn2",
        "0.65 s to build them with scan",
        "unroll_comparison",
        of_way("scan", "build_seconds"),
        TIME,
        unit="s",
    ),
    Claim(
        "rnn2",
        "A static graph takes 48 times as long to build as a dynamic one",
        "unroll_comparison",
        static_to_dynamic,
        at_least(3, "times, at the largest num_steps of both"),
        unit="times",
    ),
    Claim(
        "rnn2",
        "A dynamic graph is built at run time, however many steps",
        "unroll_comparison",
        growth("dynamic"),
        at_most(2, "build time at the largest num_steps, relative to the smallest"),
        unit="times",
    ),
    *(
        Claim(
            "rnn2",
            f"{way}: average training loss of epochs 0, 1, 2: {shown(UNROLLED[way].epoch_losses)}",
            "unroll_comparison",
            of_way(way, "epoch_losses"),
            at_most([loss + LUCK for loss in UNROLLED[way].epoch_losses], BELOW),
            unit="nats",
            full_only=True,
        )
        for way in UNROLLED
    ),
    *(
        Claim(
            "rnn2",
            f"{way}: average training loss of epoch 0: {UNROLLED[way].epoch_losses[0]}",
            "unroll_comparison",
            first_losses(way),
            at_most([UNROLLED[way].epoch_losses[0] + LUCK], BELOW),
            unit="nats",
        )
        for way in ("dynamic", "scan")
    ),
    *(
        Claim(
            "rnn2",
            f"{way}: {UNROLLED[way].train_seconds} s to train for 3 epochs",
            "unroll_comparison",
            three_epochs(way),
            TIME,
            unit="s at the measured pace",
            full_only=way == "static",
        )
        for way in UNROLLED
    ),
    Claim(
        "rnn2",
        "Using scan was only marginally slower than using dynamic_rnn",
        "unroll_comparison",
        scan_to_dynamic,
        at_most(1.5, "its training time relative to dynamic"),
        unit="times",
    ),
    Claim(
        "rnn2",
        "All ways train the same model (random initialisation makes their losses differ)",
        "unroll_comparison",
        losses_apart,
        at_most(0.01, "with the same initial parameters"),
        unit="nats",
    ),
    Claim(
        "rnn2",
        "200 steps should capture much longer dependencies (no number; the task here is the adding "
        "problem of 200 steps, with a chance loss of 0.1667)",
        "adding",
        worst_adding,
        at_most(0.01, "solved by every seed of a GRU"),
        unit="squared error, worst seed",
    ),
    Claim(
        "rnn2",
        "GRU, more layers, dropout and layer normalisation improve the model, and it generates "
        "text (the output of the run has a sample)",
        "text",
        lambda files: files.result["val"]["streaming_nats"],
        at_most(3.2176, "the lowest loss of the article; the measured loss is on held-out text"),
        unit="nats",
    ),
)
