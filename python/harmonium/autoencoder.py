"""Autoencoders."""

from __future__ import annotations

from typing import Any

from ._autoencoder_training import AutoencoderTraining


class Autoencoder(AutoencoderTraining):
    """Autoencoder: an encoder x -> h and a decoder h -> p(x | h), trained to maximise the mean of log p(x | h(x)).

    Layers a = f(a' W + c) of any number (Rumelhart, Hinton, Williams 1986; Hinton, Salakhutdinov 2006). With corrupted
    input it is a denoising autoencoder (Vincent et al. 2010), with a penalty on dh / dx a contractive one (Rifai et al.
    2011). What is minimised is the mean over rows of ``-log p(x | h) + contraction norm(dh / dx)^2``, plus
    ``alpha / 2`` times the squared weights.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(256,)
        Units of the encoder's layers; the last one is the code. The decoder mirrors them.
    activation : {"identity", "sigmoid", "tanh", "relu", "softplus"}, default="sigmoid"
        Of all hidden layers but the code. The output layer has none: `likelihood` says what its values mean.
    code_activation : {"auto", "identity", "sigmoid", "tanh", "relu", "softplus"}, default="auto"
        auto: `activation` if there is one hidden layer, and identity if there are several or with pretraining="rbm".
    likelihood : {"bernoulli", "gaussian", "laplace", "categorical", "poisson"} or list of (likelihood, columns), \
default="bernoulli"
        p(x | z) of the columns of X given the output z. bernoulli: values in [0, 1], p = sigmoid(z); gaussian: mean z,
        variance 1; laplace: median z, scale 1; categorical: integer codes, or one-hot, softmax(z); poisson: counts,
        rate exp(z). Real columns are best standardised, or all divided by one number: where they go into the hundreds,
        units saturate. Counts unlike those trained on may score very low, as rates are exponentials: early_stopping or
        dropout hold against it. A list such as ``[("bernoulli", 10), ("gaussian", 3)]`` gives those of neighbouring
        columns.
    n_categories : int, array-like of int or None, default=None
        Of all categorical columns, or of each. None: X holds codes, and one more than the largest of each column; see
        `RBM` for one-hot columns.
    tied : bool, default=True
        The decoder's weights are the encoder's, transposed; the gradient is then the sum of both roles.
    decoder_layer_sizes : sequence of int or None, default=None
        Units of the layers between code and output. None: those of the encoder in reverse. Others need tied=False.
    corruption : {"masking", "gaussian", "salt_and_pepper"} or None, default=None
        What the encoder sees in place of x, drawn anew in every step. masking: 0 in place of a share of the entries;
        gaussian: noise is added; salt_and_pepper: a share is set to the column's least or greatest value. A categorical
        choice is masked, or replaced by another, as a whole.
    corruption_level : float, default=0.3
        The share, or the standard deviation of the noise.
    dropout : float in [0, 1), default=0
        Share of the units of all hidden layers that are left out in each step.
    contraction : float, default=0
        Weight of the squared Frobenius norm of dh / dx, h the code. Exact for any number of layers; cheap for one. Not
        together with `dropout`.
    alpha : float, default=0
        Weight decay: alpha times W is added to its gradient.
    initialization : {"auto", "glorot", "he", "sparse"}, default="auto"
        auto: he for relu and softplus, glorot for others (of sigmoid units with its factor of 4). sparse: 15 weights
        into each unit (Martens 2010). The output layer is then shrunk, if need be, and its bias set, so that training
        begins near the columns' means.
    pretraining : {"rbm", "layerwise"} or None, default=None
        rbm: a stack of RBMs by contrastive divergence, unrolled (Hinton, Salakhutdinov 2006). layerwise: a stack of
        autoencoders of one layer, with this one's corruption and contraction.
    pretraining_iter : int, default=10
        Passes over the data for each layer of the stack.
    solver : {"sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "lbfgs", "cg"}, default="adam"
        lbfgs and cg are SciPy's, on all rows at once; corruption is then drawn once.
    learning_rate : {"constant", "invscaling", "adaptive", "linear", "exponential"}, default="constant"
        invscaling: divided by t ** power_t at step t. adaptive: divided by 5 whenever training would stop by `tol`,
        which it does at 1e-6. linear, exponential: to a hundredth within `max_iter` epochs, by equal differences or
        ratios.
    learning_rate_init : float or None, default=None
        Of the gradient of the mean over a batch. None: 0.001, of momentum, nesterov and adagrad 0.01, of sgd 0.05.
    power_t : float, default=0.5
    momentum : float in [0, 1), default=0.9
        Of momentum and nesterov.
    beta_1, beta_2 : float in [0, 1), default=0.9 and 0.999
        Of adam; beta_2 also of rmsprop.
    epsilon : float, default=1e-8
        Of adagrad, rmsprop and adam.
    batch_size : int, default=100
    max_iter : int, default=50
        Passes over the data; iterations of lbfgs and cg.
    shuffle : bool, default=True
        Draw a new order of the rows for every pass.
    tol : float, default=1e-4
        Training stops when the loss (with `early_stopping` the validation score) has not improved by more than tol
        in `n_iter_no_change` epochs.
    early_stopping : bool, default=False
        Hold out `validation_fraction` of the rows, stop by their score, and keep the best epoch's parameters (with
        `warm_start`, those there were, if none is better). Not by lbfgs and cg, nor by `partial_fit`.
    validation_fraction : float in (0, 1), default=0.1
    n_iter_no_change : int, default=10
    warm_start : bool, default=False
        `fit` goes on from the model there is.
    check_range : bool, default=True
        Refuse values outside [0, 1] in bernoulli columns and negative ones in poisson columns.
    verbose : int, default=0
        1: a progress bar.
    device : {"cpu", "cuda", "cuda:1", ...} or None, default=None
        Where all of `fit` and the methods are computed; None: where X is. On a GPU the draws are the same, sums are
        added in another order; NumPy's rows that do not fit there are streamed. An array on a GPU (CuPy's, PyTorch's)
        stays there, and what is learned and returned is of its library; methods then take such arrays alone.
        RuntimeError says why there is no such GPU.
    random_state : int, RandomState or None, default=None
        Seed of everything drawn. The same seed gives the same bits on any number of threads.

    Attributes
    ----------
    coefs_ : list of arrays
        Weights W of each layer, (inputs, outputs), the decoder's behind the encoder's. They may be assigned to and are
        used from then on; tied ones have to stay each other's transposes.
    intercepts_ : list of arrays
        Biases c of each layer.
    components_ : array of shape (units of the first layer, n_features)
        Weights of the first layer, transposed.
    code_activation_ : str
        What `code_activation` came to.
    n_iter_ : int
        Epochs so far.
    history_ : dict of list
        Of every epoch "loss", "learning_rate", and with early_stopping "validation_score".
    loss_curve_, validation_scores_ : list of float
        The first and the last of these.
    loss_ : float
        The loss of the last epoch.
    best_validation_score_ : float
        With early_stopping.
    n_categories_ : array of int
        Of each categorical column.
    n_features_in_ : int
    feature_names_in_ : array of str
        Where X has column names.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from harmonium import Autoencoder
    >>> X = load_digits().data / 16
    >>> model = Autoencoder((32,), max_iter=20, random_state=0).fit(X)
    >>> model.transform(X).shape
    (1797, 32)
    >>> bool(((X - model.reconstruct(X)) ** 2).mean() < 0.5 * X.var(axis=0).mean())
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (256,),
        *,
        activation: str = "sigmoid",
        code_activation: str = "auto",
        likelihood: Any = "bernoulli",
        n_categories: Any = None,
        tied: bool = True,
        decoder_layer_sizes: Any = None,
        corruption: str | None = None,
        corruption_level: float = 0.3,
        dropout: float = 0.0,
        contraction: float = 0.0,
        alpha: float = 0.0,
        initialization: str = "auto",
        pretraining: str | None = None,
        pretraining_iter: int = 10,
        solver: str = "adam",
        learning_rate: str = "constant",
        learning_rate_init: float | None = None,
        power_t: float = 0.5,
        momentum: float = 0.9,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        batch_size: int = 100,
        max_iter: int = 50,
        shuffle: bool = True,
        tol: float = 1e-4,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        warm_start: bool = False,
        check_range: bool = True,
        verbose: int = 0,
        device: str | None = None,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.code_activation = code_activation
        self.likelihood = likelihood
        self.n_categories = n_categories
        self.tied = tied
        self.decoder_layer_sizes = decoder_layer_sizes
        self.corruption = corruption
        self.corruption_level = corruption_level
        self.dropout = dropout
        self.contraction = contraction
        self.alpha = alpha
        self.initialization = initialization
        self.pretraining = pretraining
        self.pretraining_iter = pretraining_iter
        self.solver = solver
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.momentum = momentum
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.check_range = check_range
        self.verbose = verbose
        self.device = device
        self.random_state = random_state
