"""Leading eigenpairs by Krylov subspaces: those of the whole matrix, or LAPACK's."""

from __future__ import annotations

import numpy as np
import pytest

import tolerance
from harmonium._eigenpairs import LeadingEigenpairs, Operator, orthonormal, small_residuals


@pytest.mark.parametrize("share", [1e-7, 1e-13])
@pytest.mark.parametrize("shape", [(400, 400), (250, 900)], ids=str)
def test_leading_eigenpairs_of_one_matrix_after_another(shape, share):
    """From the last eigenvectors or from nothing, of a spectrum with a gap or without: those of the whole matrix."""
    X = np.random.default_rng(0).standard_normal(shape)
    X[:, :3] *= 10
    leading, k = LeadingEigenpairs(), 5
    wholes = []
    for scale in (np.ones(shape[1]), np.linspace(1, 1.1, shape[1]), np.linspace(3, 0.1, shape[1])):
        A = (X * scale) @ (X * scale).T

        def whole(A=A):
            wholes.append(A)
            return A

        values, vectors = leading(Operator(len(A), lambda Q, A=A: A @ Q, whole), k, A, small_residuals(k, share))
        expected = np.linalg.eigvalsh(A)[::-1][:k]
        # A value is off by the residual's square, over the distance to the next, a hundredth of the largest and more.
        size = np.full(k, expected[0] * (1 + 100 * share**2 / np.finfo(np.float64).eps))
        tolerance.near_sum(values, expected, size, shape[0])
        tolerance.near_sum(vectors.T @ vectors, np.eye(k), np.ones((k, k)), shape[0])
        # With rounding of products of as many terms as there are rows.
        most = share + shape[0] * np.finfo(np.float64).eps
        assert np.linalg.norm(A @ vectors - vectors * values, axis=0).max() <= most * expected[0]
    if share > 1e-10:
        assert len(wholes) < 3  # near the last ones, small subspaces are enough


def test_dependent_columns_have_an_orthonormal_basis():
    B = np.random.default_rng(0).standard_normal((50, 4))
    B[:, 3] = B[:, 0] + 1e-9 * B[:, 1]
    Q = orthonormal(B)
    tolerance.near_sum(Q.T @ Q, np.eye(4), np.ones((4, 4)), 50)
