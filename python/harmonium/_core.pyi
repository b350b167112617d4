from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None] | None

__version__: str

class OutOfDeviceMemory(MemoryError): ...
class DivergenceError(ArithmeticError): ...

class DeviceArray:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    gpu: int
    __cuda_array_interface__: dict[str, Any]
    def __init__(self, array: Array, gpu: int = 0) -> None: ...
    def numpy(self) -> Array: ...

class States:
    rows: int
    cols: int
    @staticmethod
    def from_bits(words: Any, cols: int) -> States: ...
    @staticmethod
    def from_sparse(indptr: Array, indices: Array, values: Array | None, cols: int) -> States: ...
    @staticmethod
    def from_dense(x: Any) -> States: ...
    def is_dense(self) -> bool: ...
    def is_bits(self) -> bool: ...
    def words(self) -> Array: ...
    def dense(self) -> Array: ...
    @property
    def gpu(self) -> int: ...

def cuda_available() -> bool: ...
def cuda_status() -> str: ...
def set_cublas_path(path: str) -> None: ...
def gpu_of(pointer: int) -> int: ...
def summarise_columns(x: Any) -> tuple[Array, Array, Array, bool]: ...
def pack_rows(x: Any) -> Any: ...
def unpack_rows(words: Any, cols: int) -> Any: ...
def take_rows(x: Any, order: Array) -> Any: ...
def isa() -> str: ...
def blas_core() -> str: ...
def get_num_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def pack(x: Array, out: Array, who: str, check: bool, first_row: int) -> bool: ...
def unpack(words: Array, cols: int) -> Array: ...
def transpose_bits(words: Array, cols: int) -> Array: ...
def philox(counter: Any, key: Any) -> tuple[int, int, int, int]: ...
def uniform_float32(
    seed: int, stream: int, step: int, rows: int, cols: int, first_row: int, device: str = "cpu"
) -> Any: ...
def elementwise(name: str, x: Array) -> Array: ...
def gemm(a: Any, transpose_a: bool, b: Any, transpose_b: bool) -> Any: ...
def binary_gemm(a: States, b: Any, transpose_b: bool) -> Any: ...
def binary_gemm_tn(a: States, b: Any) -> Any: ...
def bernoulli(
    activation: Any, bias: Any, scale: float, seed: int, stream: int, step: int, first_row: int
) -> tuple[Any, Any]: ...
def rbm_step(
    data: States,
    data_probability: Array,
    model: Array,
    visible_difference: Array,
    centred: bool,
    visible_offset: Array,
    hidden_offset: Array,
    offset_rate: float,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    weights: Array,
    visible_bias: Array,
    hidden_bias: Array,
    weight_velocity: Array,
    visible_velocity: Array,
    hidden_velocity: Array,
    seed: int,
) -> tuple[Array, Array]: ...
def rbm_train(
    x: States,
    weights: Array,
    visible_bias: Array,
    hidden_bias: Array,
    last_weights: Array,
    last_visible_bias: Array,
    last_hidden_bias: Array,
    visible_offset: Array,
    hidden_offset: Array,
    mirrored: Array,
    weight_velocity: Array,
    visible_velocity: Array,
    hidden_velocity: Array,
    chains: Array,
    counters: Array,
    travelled: Array,
    quantities: Array,
    method: str,
    n_gibbs_steps: int,
    batch_size: int,
    learning_rate: float,
    schedule: str,
    annealing: float,
    schedule_passes: int,
    averaging: float,
    momentum: float,
    weight_decay: float,
    centering: bool,
    shuffle: bool,
    draw_data: bool,
    divergence_limit: float,
    seed: int,
    on_epoch: Callable[[], bool],
    device: str,
) -> None: ...
def rbm_gibbs(
    weights: Array,
    visible_bias: Array,
    hidden_bias: Array,
    start: States,
    from_hidden: bool,
    n_steps: int,
    seed: int,
    mask: Array | None,
    values: Array | None,
    progress: Progress,
    device: str = "cpu",
) -> Array: ...
def rbm_probability(
    weights: Array, visible_bias: Array, hidden_bias: Array, given: States, of_visible: bool, device: str = "cpu"
) -> Array: ...
def rbm_free_energy(
    weights: Array, visible_bias: Array, hidden_bias: Array, v: States, device: str = "cpu"
) -> Array: ...
def rbm_pseudo_log_likelihood(
    weights: Array, visible_bias: Array, hidden_bias: Array, v: States, device: str = "cpu"
) -> Array: ...
def rbm_log_partition(
    weights: Array, visible_bias: Array, hidden_bias: Array, progress: Progress, device: str = "cpu"
) -> float: ...
def rbm_anneal(
    weights: Array,
    visible_bias: Array,
    hidden_bias: Array,
    base: Array,
    betas: Array,
    start: Array | None,
    seed: int,
    n_runs: int,
    progress: Progress,
    device: str = "cpu",
) -> Array: ...
def rbm_base_log_partition(base: Array, hidden: int) -> float: ...
def unit_train(
    x: States,
    sample_weight: Array | None,
    observed: Array | None,
    visible: Array,
    hidden: Array,
    arrays: dict[str, Array],
    settings: dict[str, Any],
    counters: Array,
    travelled: Array,
    quantities: Array,
    on_epoch: Callable[[], bool],
    device: str = "cpu",
) -> None: ...
def unit_probability(
    weights: Array,
    visible_bias: Array,
    hidden_bias: Array,
    visible: Array,
    hidden: Array,
    given: States,
    exposure: Array | None,
    of_visible: bool,
    device: str = "cpu",
) -> Array: ...
def unit_gibbs(
    weights: Array,
    visible_bias: Array,
    hidden_bias: Array,
    visible: Array,
    hidden: Array,
    start: States,
    exposure: Array | None,
    from_hidden: bool,
    n_steps: int,
    seed: int,
    mask: Array | None,
    values: Array | None,
    progress: Progress,
    device: str = "cpu",
) -> Array: ...
def unit_free_energy(
    weights: Array,
    visible_bias: Array,
    hidden_bias: Array,
    visible: Array,
    hidden: Array,
    v: States,
    exposure: Array | None,
    device: str = "cpu",
) -> Array: ...
def unit_pseudo_log_likelihood(
    weights: Array,
    visible_bias: Array,
    hidden_bias: Array,
    visible: Array,
    hidden: Array,
    v: States,
    exposure: Array | None,
    device: str = "cpu",
) -> Array: ...
def unit_count_states(groups: Array) -> int: ...
def unit_enumerate(
    weights: Array,
    visible_bias: Array,
    hidden_bias: Array,
    visible: Array,
    hidden: Array,
    of_hidden: bool,
    first: int,
    count: int,
    progress: Progress,
    device: str = "cpu",
) -> tuple[Array, Array]: ...
def unit_anneal(
    weights: Array,
    visible_bias: Array,
    hidden_bias: Array,
    visible: Array,
    hidden: Array,
    base: Array,
    betas: Array,
    start: States | None,
    exposure: Array | None,
    seed: int,
    n_runs: int,
    progress: Progress,
    device: str = "cpu",
) -> tuple[Array, Array]: ...
def unit_temper(
    weights: Array,
    visible_bias: Array,
    hidden_bias: Array,
    visible: Array,
    hidden: Array,
    base: Array,
    n_samples: int,
    n_temperatures: int,
    n_steps: int,
    seed: int,
    progress: Progress,
    device: str = "cpu",
) -> tuple[Array, Array]: ...
def shrink(x: Any, a: Any, positive: bool) -> Any: ...
def lipschitz_bound(dictionary: Array) -> float: ...
def lasso(
    x: Any,
    dictionary: Any,
    alpha: Array,
    observed: Array | None,
    algorithm: str,
    tol: float,
    max_iter: int,
    positive: bool,
    codes: Any,
    gaps: Array,
    n_iter: Array,
    threads: int,
    progress: Progress,
    device: str = "cpu",
) -> int: ...
def code_statistics(codes: States, x: Array, keep: float, share: float, a: Array, b: Array) -> None: ...
def dictionary_update(a: Array, b: Array, positive: bool, dictionary: Array) -> None: ...
def sparse_coding_train(
    x: Any,
    dictionary: Array,
    covariance: Array,
    projections: Array,
    idle: Array,
    counters: Array,
    smoothed: Array,
    quantities: Array,
    alpha: float,
    algorithm: str,
    code_tol: float,
    max_iter: int,
    positive_code: bool,
    positive_dict: bool,
    batch_size: int,
    forgetting: float,
    shuffle: bool,
    seed: int,
    redraw_after: int,
    max_no_improvement: int,
    smoothing: int,
    threads: int,
    on_epoch: Callable[[], bool],
    device: str = "cpu",
) -> bool: ...

class AutoencoderModel:
    n_parameters: int
    layers: list[tuple[int, int, int, int, bool]]
    def __init__(
        self,
        encoder: list[int],
        decoder: list[int],
        activation: str,
        code_activation: str,
        tied: bool,
        groups: list[tuple[str, int]],
    ) -> None: ...

def autoencoder_train(
    model: AutoencoderModel,
    x: States,
    validation: States | None,
    theta: Array,
    kept: Array,
    counters: Array,
    rate_factor: Array,
    quantities: Array,
    settings: dict[str, Any],
    on_epoch: Callable[[], bool],
    device: str = "cpu",
) -> None: ...
def autoencoder_loss(
    model: AutoencoderModel,
    x: States,
    theta: Array,
    gradient: Array | None,
    settings: dict[str, Any],
    device: str = "cpu",
) -> float: ...
def autoencoder_encode(model: AutoencoderModel, theta: Array, x: States, device: str = "cpu") -> Any: ...
def autoencoder_decode(model: AutoencoderModel, theta: Array, x: States, device: str = "cpu") -> Any: ...
def autoencoder_score(model: AutoencoderModel, theta: Array, x: States, device: str = "cpu") -> Array: ...
def autoencoder_jacobian(model: AutoencoderModel, theta: Array, x: States, device: str = "cpu") -> Array: ...
def dense_forward(x: States, w: Array, transpose_w: bool, bias: Array, activation: str) -> Array: ...
def dense_backward(
    delta: Array, w: Array, transpose_w: bool, activation: str, a: Array, a_scale: float = 1.0
) -> Array: ...
def weight_step_float32(
    terms: list[tuple[Array, Array, bool]],
    rule: str = "sgd",
    kept: Array | None = None,
    weights: Array | None = None,
    rate: float = 0.001,
    decay: float = 0.0,
) -> Array: ...
def weight_step_float64(
    terms: list[tuple[Array, Array, bool]],
    rule: str = "sgd",
    kept: Array | None = None,
    weights: Array | None = None,
    rate: float = 0.001,
    decay: float = 0.0,
) -> Array: ...
def column_sums(m: Array) -> Array: ...
def likelihood_loss(groups: list[tuple[str, int]], x: States, z: Array, scale: float = 1.0) -> tuple[Array, Array]: ...
def likelihood_mean(groups: list[tuple[str, int]], z: Array) -> Array: ...
def corrupt(
    x: Array,
    kind: str,
    level: float,
    seed: int,
    step: int,
    first_row: int,
    low: Array,
    high: Array,
    groups: list[tuple[str, int]],
) -> Array: ...
def dropout(x: Array, rate: float, seed: int, step: int, first_row: int = 0) -> Array: ...
def contraction_float32(
    layers: list[tuple[Array, str, Array]], scale: float = 1.0
) -> tuple[Array, list[Array], list[Array]]: ...
def contraction_float64(
    layers: list[tuple[Array, str, Array]], scale: float = 1.0
) -> tuple[Array, list[Array], list[Array]]: ...
def update(
    rule: str,
    gradient: Array,
    kept: Array,
    theta: Array,
    rate: float = 0.001,
    momentum: float = 0.9,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    step: int = 1,
) -> None: ...

uniform_float64 = uniform_float32
