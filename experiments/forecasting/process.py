"""A process whose best possible forecast is known exactly, at every horizon."""

import dataclasses
import math

import numpy as np

START_UP = 300  # steps until the autoregression has forgotten its start, to the last digit


@dataclasses.dataclass(frozen=True)
class Process:
    """A seasonal pattern and announced events, around an autoregression of order 2::

        y[t] = amplitude * sin(2 * pi * (t + phase) / season) + effect * event[t] + u[t]
        u[t] = a * u[t - 1] + b * u[t - 2] + normal(0, 1)

    The phase differs from series to series. ``[sin, cos, event]`` are the covariates, which are
    known ahead. So a forecast is wrong by the future noise alone. With the weights of the moving
    average, ``psi[0] = 1``, ``psi[1] = a`` and ``psi[j] = a * psi[j - 1] + b * psi[j - 2]``, the
    root mean squared error of the best forecast of ``h`` steps is::

        error[h] = sqrt(psi[0] ** 2 + ... + psi[h - 1] ** 2)

    and the value is normally distributed around the best forecast with this deviation. The
    autoregression has cycles of about 8 steps, beside the season of 12.

    Reference: Box and Jenkins, "Time series analysis: forecasting and control", 1970, chapter 5.

    >>> print(Process().errors(3).round(3))
    [1.    1.619 1.81 ]
    """

    a: float = 2 * 0.9 * math.cos(2 * math.pi / 8)
    b: float = -(0.9**2)
    season: int = 12
    amplitude: float = 2.0
    effect: float = 3.0
    event_rate: float = 0.1

    def sample(
        self, rng: np.random.Generator, count: int, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw series.

        Returns:
          ``(values, covariates)``, float64 ``[count, steps]`` and ``[count, steps, 3]``.
        """
        u = rng.normal(size=(count, START_UP + steps))
        for t in range(2, START_UP + steps):
            u[:, t] += self.a * u[:, t - 1] + self.b * u[:, t - 2]
        times = np.arange(steps) + rng.integers(self.season, size=(count, 1))
        angle = 2 * np.pi * times / self.season
        events = rng.random((count, steps)) < self.event_rate
        covariates = np.stack([np.sin(angle), np.cos(angle), events], -1)
        return self.known_part(covariates) + u[:, START_UP:], covariates

    def known_part(self, covariates: np.ndarray) -> np.ndarray:
        """The part of the values that the covariates ``[..., 3]`` determine."""
        part: np.ndarray = self.amplitude * covariates[..., 0] + self.effect * covariates[..., 2]
        return part

    def errors(self, horizon: int) -> np.ndarray:
        """The root mean squared error of the best forecast of 1, 2, ... steps, ``[horizon]``."""
        psi = [1.0, self.a]
        while len(psi) < horizon:
            psi.append(self.a * psi[-1] + self.b * psi[-2])
        return np.sqrt(np.cumsum(np.square(psi[:horizon])))

    def best_forecast(self, values: np.ndarray, covariates: np.ndarray) -> np.ndarray:
        """The mean of the next steps given all before.

        Args:
          values: ``[N, T]``, with T of at least 2.
          covariates: ``[N, T + horizon, 3]``.

        Returns:
          ``[N, horizon]``.
        """
        steps = values.shape[1]
        known = self.known_part(covariates)
        u = [*(values - known[:, :steps]).T[-2:]]
        for _ in range(known.shape[1] - steps):
            u.append(self.a * u[-1] + self.b * u[-2])
        return known[:, steps:] + np.stack(u[2:], 1)
