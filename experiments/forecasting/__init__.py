"""Probabilistic forecasts of series, beside seasonal naive, ETS and ARIMA.

A recurrent network reads the last values of a series and feeds samples back to itself. It is
trained once, on the data before the first origin. The peers, of statsmodels, are fitted again at
each origin. Simulated series have a best possible forecast that is known exactly; the real ones are
those that the package aeon holds.

A full run::

    python -m experiments.forecasting

    root mean squared error, 500 series, 3 origins, 4 seeds
    steps ahead              1       2       3       6       9      12
    best possible        1.000   1.619   1.810   2.099   2.207   2.301
    ratio, mean         1.0012  1.0011  1.0009  1.0007  1.0006  1.0005
    ratio, worst seed   1.0015  1.0014  1.0012  1.0010  1.0008  1.0009
    80% interval         80.9%   80.0%   79.6%   79.6%   80.1%   80.8%

On a single short series the network loses: its scaled CRPS is 0.854 on ``--dataset airline``, that
of ETS 0.559 and that of ARIMA 0.432. The page has all tables.
"""
