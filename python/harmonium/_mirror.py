"""Columns that training reads as 1 - x, because they are mostly 1: the machine on one side of the mirror and the other.

A centred gradient is the same on either side (Melchior, Fischer, Wiskott 2016, sec. 3.2). Training of X and of 1 - X on
the side of few ones is the same computation, bit for bit, and few ones are fast.
"""

from __future__ import annotations

import numpy as np

from . import _core

Model = tuple[np.ndarray, np.ndarray, np.ndarray]  # W (D, H), b, c


def flat(weights: np.ndarray, visible_bias: np.ndarray, hidden_bias: np.ndarray) -> np.ndarray:
    """All parameters in one vector: a copy."""
    return np.concatenate([weights.ravel(), visible_bias, hidden_bias])


def parts(vector: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weights and biases in such a vector: views. Three empty ones of an empty vector."""
    n_visible, n_hidden = shape if vector.size else (0, 0)
    n_weights = n_visible * n_hidden
    weights, visible_bias, hidden_bias = np.split(vector, [n_weights, n_weights + n_visible])
    return weights.reshape(n_visible, n_hidden), visible_bias, hidden_bias


def exchange(model: Model, columns: np.ndarray) -> None:
    """In place, the same machine over 1 - v in these columns: v W = (1 - v)(-W) + W. Also for velocities."""
    weights, visible_bias, hidden_bias = model
    hidden_bias += weights[columns].sum(axis=0, dtype=np.float64).astype(hidden_bias.dtype)
    weights[columns] *= -1
    visible_bias[columns] *= -1


class TrainingSide:
    """The arrays that the core trains: the user's own, or copies behind the mirror.

    `words` are the mirrored columns' bits, which the core fills in where training begins. `kept` is what `keep`
    returned when training last stopped: hidden biases and offsets lose bits on the way to the user's side, and training
    goes on from those that it had unless the user's have been changed since.
    """

    def __init__(
        self, model: Model, visible_offset: np.ndarray, words: np.ndarray, begins: bool, kept: np.ndarray
    ) -> None:
        self._users = (*model, visible_offset)
        self.words, self._copied = words, begins or bool(words.any())
        weights, visible_bias, hidden_bias, visible_offset = (
            part.copy() if self._copied else part for part in self._users
        )
        self.model, self.visible_offset = (weights, visible_bias, hidden_bias), visible_offset
        columns = self.columns()
        if not columns.any():
            return
        exchange(self.model, columns)
        visible_offset[columns] = 1 - visible_offset[columns]
        if kept.size:
            before = hidden_bias.copy(), visible_offset.copy()
            hidden_bias[:], visible_offset[:] = np.split(kept, [len(hidden_bias)])
            users = self._on_the_users_side()
            if not all(map(np.array_equal, users[2:], self._users[2:])):
                hidden_bias[:], visible_offset[:] = before

    def columns(self) -> np.ndarray:
        """Which are mirrored: (D,) of bool."""
        return _core.unpack(self.words, len(self.visible_offset))[0].astype(bool)

    def _on_the_users_side(self) -> tuple[np.ndarray, ...]:
        columns = self.columns()
        model = tuple(part.copy() for part in self.model)
        exchange(model, columns)
        return *model, np.where(columns, 1 - self.visible_offset, self.visible_offset)

    def give_back(self) -> None:
        """Bring the user's arrays to what the core's are."""
        if self._copied:
            for users, new in zip(self._users, self._on_the_users_side(), strict=True):
                users[:] = new

    def keep(self) -> np.ndarray:
        return np.concatenate([self.model[2], self.visible_offset]) if self._copied else np.zeros(0)
