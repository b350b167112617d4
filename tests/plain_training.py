"""CD and PCD once more, in NumPy: the loop around `reference.rbm_step`, on the numbers that the core draws."""

from __future__ import annotations

import numpy as np

import reference

STREAMS = reference.STREAMS
NAMES = {  # of the estimator, and of rbm_step
    "components_": "weights",
    "intercept_hidden_": "hidden_bias",
    "intercept_visible_": "visible_bias",
    "visible_offset_": "visible_offset",
    "hidden_offset_": "hidden_offset",
}
MODEL = ("weights", "visible_bias", "hidden_bias")


class PlainTraining:
    """What a fitted estimator must have become, in float64; `dtype` is the type it draws in.

    `magnitude` is what its rounding errors are in proportion to: the sums of all steps over absolute values, each
    taken from the parameters as they then were. The errors' own effect on later steps is of second order.
    """

    def __init__(self, rbm, X, dtype):
        self.o, self.X, self.dtype, self.seed = rbm, X.astype(np.float64), dtype, rbm._seed
        self.steps, self.epochs = 0, 0
        n, D = X.shape
        H, B = rbm.n_components, min(rbm.batch_size, n)
        W = (reference.uniform(self.seed, STREAMS["weights"], 0, D, H, dtype=np.float64) - 0.5) * 0.01 * np.sqrt(12)
        self.mirror(self.order()[:B])
        first = self.drawn(self.X[self.order()[:B]])
        on = (first.mean(axis=0) * B + 0.5) / (B + 1)
        self.s = {
            "weights": W,
            "visible_bias": np.log(on / (1 - on)),
            "hidden_bias": np.zeros(H),
            "visible_offset": first.mean(axis=0),
            "hidden_offset": np.full(H, 0.5),
            "weight_velocity": np.zeros((D, H)),
            "visible_velocity": np.zeros(D),
            "hidden_velocity": np.zeros(H),
            "learning_rate": rbm.learning_rate,  # of the first step
            "momentum": rbm.momentum,
            "weight_decay": rbm.weight_decay,
            "centred": rbm.centering,
            "offset_rate": 0.01,
        }
        self.magnitude = {name: np.abs(self.s[name]) for name in NAMES.values()}
        n_chains = rbm.n_chains or rbm.batch_size
        self.chains = reference.uniform(self.seed, STREAMS["start"], 0, n_chains, H, dtype=dtype) < 0.5
        self.averaged, self.mean = 0, {name: self.s[name] for name in MODEL}
        for _ in range(rbm.n_iter):
            order = self.order()
            for start in range(0, n, B):
                self.step(self.drawn(self.X[order[start : start + B]]))
            self.epochs += 1
        self.learned = {**self.s, **(self.mean if rbm.averaging else {})}
        self.look_back()

    def mirror(self, first):
        """Columns that are mostly 1 are read as 1 - x; where the mean does not tell, the first row does."""
        data = self.X[first]
        mean = data.mean(axis=0)
        mostly_on = np.where(np.abs(mean - 0.5) < 1e-5, data[0] > 0.5, mean > 0.5)
        self.mirrored = np.flatnonzero(mostly_on & self.o.centering)
        self.X[:, self.mirrored] = 1 - self.X[:, self.mirrored]

    def look_back(self):
        """What was learned, of the columns as they are."""
        m = self.mirrored
        s = self.learned = {name: np.array(value) for name, value in self.learned.items()}
        s["hidden_bias"] += s["weights"][m].sum(axis=0)
        self.magnitude["hidden_bias"] = self.magnitude["hidden_bias"] + self.magnitude["weights"][m].sum(axis=0)
        s["weights"][m] *= -1
        s["visible_bias"][m] *= -1
        s["visible_offset"][m] = 1 - s["visible_offset"][m]
        self.magnitude["visible_offset"] = 1 + self.magnitude["visible_offset"]

    def order(self):
        """Fisher and Yates, where rows are shuffled."""
        n = len(self.X)
        order = np.arange(n)
        if self.o.shuffle and n > self.o.batch_size:
            u = reference.uniform(self.seed, STREAMS["shuffle"], self.epochs, n, 1, dtype=np.float64)[:, 0]
            for i in range(n - 1, 0, -1):
                j = int(u[i] * (i + 1))
                order[[i, j]] = order[[j, i]]
        return order

    def drawn(self, data):
        return self.draw("data", 0, data).astype(np.float64) if self.o.draw_data else data

    def draw(self, stream, k, p):
        step = self.steps * (self.o.n_gibbs_steps + 1) + k
        return reference.uniform(self.seed, STREAMS[stream], step, *p.shape, dtype=self.dtype) < p

    def step(self, data):
        s = self.s
        p = reference.sigmoid(s["hidden_bias"] + data @ s["weights"])
        h = self.chains if self.o.method == "pcd" else self.draw("hidden", 0, p)
        for k in range(1, self.o.n_gibbs_steps + 1):
            v = self.draw("visible", k, reference.sigmoid(s["visible_bias"] + h @ s["weights"].T))
            h = self.draw("hidden", k, reference.sigmoid(s["hidden_bias"] + v @ s["weights"]))
        v = v.astype(np.float64)
        if self.o.method == "pcd" or len(h) == len(self.chains):  # cd keeps its last whole batch's
            self.chains = h
        s["visible_difference"] = data.mean(0) - v.mean(0)
        s["visible_offset"] = s["visible_offset"] + s["offset_rate"] * (data.mean(0) - s["visible_offset"])
        s["learning_rate"] = self.o.learning_rate
        done = min(1, self.steps / (-(-len(self.X) // self.o.batch_size) * self.o.n_iter))
        if self.o.annealing == "linear":
            s["learning_rate"] *= 1 - 0.99 * done
        elif self.o.annealing == "exponential":
            s["learning_rate"] *= 0.01**done
        elif self.o.annealing:
            s["learning_rate"] /= 1 + self.o.learning_rate * self.steps / self.o.annealing
        _, after = reference.rbm_step(data, p / len(data), v, s)

        s["visible_difference"] = data.mean(0) + v.mean(0)
        p_magnitude = 1 + (np.abs(s["hidden_bias"]) + data @ np.abs(s["weights"])) / 4
        _, magnitude = reference.rbm_step_magnitude(data, p_magnitude / len(data), v, s)
        for name in self.magnitude:
            self.magnitude[name] = self.magnitude[name] + magnitude[name]
        self.s = after
        self.steps += 1
        self.average()

    def average(self):
        """Every step in the beginning, then every second, fourth, ...; what was goes as t^-(averaging + 1)."""
        before, self.averaged = self.averaged, self.averaged + 1
        stride = min(64, 2 ** max(0, (before // 16).bit_length() - 1))
        if not self.o.averaging or self.averaged % stride:
            return
        share = ((self.averaged - stride) / self.averaged) ** (self.o.averaging + 1)
        for name in MODEL:
            self.mean[name] = share * self.mean[name] + (1 - share) * self.s[name]
