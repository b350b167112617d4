"""Restricted Boltzmann machines."""

from __future__ import annotations

from typing import Any

from ._rbm_base import BaseRBM
from ._unit_training import UnitsRBM


class RBM(UnitsRBM):
    """Restricted Boltzmann machine, trained by (persistent) contrastive divergence.

    p(v, h) = exp(b.v + c.h + v W h) / Z over v in {0,1}^D and h in {0,1}^H (Smolensky 1986). The gradient of
    the log-likelihood is a difference of two means, one over the data and one over the model, whose states come
    from Gibbs sampling. Binary data are packed to bits once, and their products need no multiplications.
    Other units: an exponential family harmonium (Welling, Rosen-Zvi, Hinton 2005); energies in `energy`.

    Parameters
    ----------
    n_components : int, default=256
        Hidden units, H.
    visible : {"bernoulli", "gaussian", "categorical", "count"} or list of (type, columns), default="bernoulli"
        Types of the columns of X. gaussian: real numbers, with variance 1 around their mean given h. categorical:
        integer codes, or one-hot columns with `n_categories` given; a choice of K is K units. count: a bag of words,
        its size given (replicated softmax, Salakhutdinov and Hinton 2009). A list such as ``[("bernoulli", 10),
        ("gaussian", 3)]`` gives the types of neighbouring columns (count cannot be mixed).
    hidden : {"bernoulli", "gaussian", "relu"}, default="bernoulli"
        Type of the hidden units. relu: p(h | v) is a normal of variance 1 cut off below 0, its mean a smooth rectifier.
    n_categories : int, array-like of int or None, default=None
        Of all categorical sites, or of each in the columns' order, over all blocks. None: X holds codes, and one more
        than the largest of each column. With an array X holds codes if it has as many categorical columns as the array
        entries, and is one-hot if it has as many as their sum. With a single number K values decide: X is one-hot if
        K > 2 and all of it is 0 or 1 with a single 1 among every K columns, and refused if that is so in more than half
        of the rows but not in all; else it holds codes. After a fit both forms are taken, by their number of columns;
        what is drawn has the form of the fit.
    learn_variance : bool, default=False
        Learn the standard deviations of gaussian columns given h, `visible_scale_`, from those in X. False, and of
        constant columns: 1.
    method : {"pcd", "cd", "fpcd", "pt", "exact"}, default="pcd"
        pcd: the model's states are persistent chains (Tieleman 2008). cd: they start from the data (Hinton 2002).
        fpcd: chains that see fast weights added, which make them move on (Tieleman and Hinton 2009). pt: chains at
        `n_temperatures` that swap states (Desjardins et al. 2010); bernoulli hidden units. exact: no sampling, the
        model's means by enumeration of a layer of at most 2^14 states.
    n_gibbs_steps : int, default=1
        Gibbs steps for each gradient step: the k of CD-k.
    n_chains : int or None, default=None
        Persistent chains, any number. None: as many as `batch_size`.
    learning_rate : float or None, default=None
        Of the gradient per sample: a mean over the batch, whatever its size; of bags of words divided by their mean
        size. None: 0.1, and 0.01 where units take real values.
    annealing : float, "linear", "exponential" or None, default=1000
        A gradient step's rate is learning_rate / (1 + s / annealing), s the sum of learning_rate over all steps before
        it, in any call: from about s = annealing on, that falls as annealing / steps. Persistent chains at a constant
        rate keep the parameters moving, at a falling one they settle (Younes 1999). "linear", "exponential": to a
        hundredth within `n_iter` passes, by equal differences or ratios, and there it stays. None: it stays constant.
    averaging : float or None, default=3
        The model is the mean of the parameters after every gradient step, step t with a weight proportional to
        t ** averaging: of the last quarter, roughly (Polyak, Juditsky 1992; Shamir, Zhang 2013). Persistent chains
        drive the parameters around the optimum, their mean is much closer to it. Training goes on from the last
        step's, and from the model where it has been assigned. None: the model is the last step's.
    momentum : float in [0, 1), default=0
    weight_decay, l1 : float, default=0
        Times W and its sign, subtracted from its gradient.
    sparsity_cost, sparsity_target : float, default=0 and 0.1
        Times (target - mean activity), added to each hidden unit's activity in the gradient (Lee, Ekanadham, Ng 2008).
    fast_learning_rate : float, default=0.05
        Of the fast weights of method="fpcd", which decay by a twentieth in each step.
    n_temperatures : int, default=10
        Of method="pt": from the model to independent units with the data's means, in equal steps.
    centering : bool, default=True
        Subtract running means from the states in the gradient (Melchior, Fischer, Wiskott 2016): learning then
        does not care whether a unit is mostly on or mostly off. Bernoulli columns that are mostly 1 are trained as
        1 - x: the same gradient, so X and 1 - X give the same model, mirrored, and in the same time.
    batch_size : int, default=100
    n_iter : int, default=20
        Passes over the data.
    shuffle : bool, default=True
        Draw a new order of the rows for every pass.
    draw_data : bool, default=False
        Values of X between 0 and 1 are probabilities: draw bits from them, anew in every pass (Salakhutdinov and Murray
        2008), rather than use them as they are. The model is then one of binary data, and as fast. Columns
        of other types stay as they are.
    allow_missing : bool, default=False
        NaN in X are entries that are not known, of bernoulli columns and of categorical columns of codes: they are
        drawn given the others in every step, which maximises the likelihood of those that are known. They begin anew in
        every call of `fit` and `partial_fit`. `log_likelihood` and `free_energy` sum over them; other methods refuse
        NaN: fill them in by ``sample(len(X), clamp=(~np.isnan(X), X))``.
    check_range : bool, default=True
        Refuse values outside [0, 1] in bernoulli columns. False: use them as they are, as scikit-learn does.
    verbose : int, default=0
        1: a progress bar.
    random_state : int, RandomState or None, default=None
        Seed of everything drawn. The same seed gives the same bits on any number of threads.
    device : {"cpu", "cuda", "cuda:1", ...} or None, default=None
        Where things are computed; None: where X is. On a GPU: `fit`, `partial_fit`, `transform`, `inverse_transform`,
        `gibbs`, `sample`, `free_energy`, `score_samples`, `log_likelihood`, and `log_partition` by annealing. The draws
        are the CPU's, sums come in another order. All else runs on the CPU whatever the device: `energy`, log Z by
        enumeration, sums over missing entries.
        For an array on a GPU (CuPy's, PyTorch's) in `fit` and `partial_fit` weights, biases, offsets and h_samples_
        are of its library, and these methods take and give arrays of it. Training of bernoulli units by cd or pcd
        leaves it where it is; all other training checks it, and puts it into units, on the CPU first.

    Attributes
    ----------
    components_ : array of shape (n_components, n_features)
        Weights W, transposed. This and the other arrays may be assigned to and are used from then on.
    intercept_hidden_, intercept_visible_ : arrays of shape (n_components,) and (n_features,)
        Biases c and b.
    h_samples_ : array of shape (n_chains, n_components)
        Hidden states of the persistent chains; with cd, drawn from the model's side of the pass's last whole batch;
        with exact, drawn from the model after every pass.
    visible_offset_, hidden_offset_ : arrays of shape (n_features,) and (n_components,)
        Running means of the data and of p(h = 1 | data).
    visible_scale_ : array of shape (n_units,)
        Standard deviations; components_ and intercept_visible_ are of columns divided by them. With learn_variance only
        others than 1.
    n_categories_ : array of int
        Of each categorical column.
    swap_rates_ : array of shape (n_temperatures - 1,)
        With method="pt", the share of swaps between neighbouring temperatures that the last pass accepted.
    n_iter_ : int
        Whole passes done.
    history_ : dict of lists, one entry a pass
        pseudo_log_likelihood: nats a row, from at most 128 rows and 64 units, always the same; of units and ways of
        training other than plain Bernoulli (P)CD, reconstruction_error instead: the mean squared error of
        mean(v | mean(h | v)) a unit, of a bag divided by its size. hidden_activity: mean of p(h = 1 | data).
        weight_rms: root mean square weight.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    References
    ----------
    Smolensky, "Information processing in dynamical systems: foundations of harmony theory", 1986.
    Hinton, "Training products of experts by minimizing contrastive divergence", Neural Computation 14, 2002.
    Tieleman, "Training restricted Boltzmann machines using approximations to the likelihood gradient", ICML 2008.
    Tieleman, Hinton, "Using fast weights to improve persistent contrastive divergence", ICML 2009.
    Desjardins, Courville, Bengio, Vincent, Delalleau, "Parallel tempering for training of restricted Boltzmann
    machines", AISTATS 2010.
    Welling, Rosen-Zvi, Hinton, "Exponential family harmoniums with an application to information retrieval", NIPS 2005.
    Salakhutdinov, Hinton, "Replicated softmax: an undirected topic model", NIPS 2009.
    Lee, Ekanadham, Ng, "Sparse deep belief net model for visual area V2", NIPS 2008.
    Salakhutdinov, Murray, "On the quantitative analysis of deep belief networks", ICML 2008.
    Younes, "On the convergence of Markovian stochastic algorithms with rapidly decreasing ergodicity rates",
    Stochastics 65, 1999.
    Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 30, 1992.
    Shamir, Zhang, "Stochastic gradient descent for non-smooth optimization", ICML 2013, section 4.
    Melchior, Fischer, Wiskott, "How to center deep Boltzmann machines", JMLR 17, 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from harmonium import RBM
    >>> X = load_digits().data > 7
    >>> rbm = RBM(n_components=20, n_iter=5, random_state=0).fit(X)
    >>> rbm.transform(X).shape
    (1797, 20)
    >>> rbm.log_partition().method
    'exact'
    """

    def __init__(
        self,
        n_components: int = 256,
        *,
        visible: Any = "bernoulli",
        hidden: str = "bernoulli",
        n_categories: Any = None,
        learn_variance: bool = False,
        method: str = "pcd",
        n_gibbs_steps: int = 1,
        n_chains: int | None = None,
        learning_rate: float | None = None,
        annealing: float | str | None = 1000,
        averaging: float | None = 3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        l1: float = 0.0,
        sparsity_cost: float = 0.0,
        sparsity_target: float = 0.1,
        fast_learning_rate: float = 0.05,
        n_temperatures: int = 10,
        centering: bool = True,
        batch_size: int = 100,
        n_iter: int = 20,
        shuffle: bool = True,
        draw_data: bool = False,
        allow_missing: bool = False,
        check_range: bool = True,
        verbose: int = 0,
        random_state: Any = None,
        device: str | None = None,
    ) -> None:
        self.device = device
        self.n_components = n_components
        self.visible = visible
        self.hidden = hidden
        self.n_categories = n_categories
        self.learn_variance = learn_variance
        self.method = method
        self.n_gibbs_steps = n_gibbs_steps
        self.n_chains = n_chains
        self.learning_rate = learning_rate
        self.annealing = annealing
        self.averaging = averaging
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.l1 = l1
        self.sparsity_cost = sparsity_cost
        self.sparsity_target = sparsity_target
        self.fast_learning_rate = fast_learning_rate
        self.n_temperatures = n_temperatures
        self.centering = centering
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.shuffle = shuffle
        self.draw_data = draw_data
        self.allow_missing = allow_missing
        self.check_range = check_range
        self.verbose = verbose
        self.random_state = random_state


class BernoulliRBM(BaseRBM):
    """Bernoulli restricted Boltzmann machine: scikit-learn's class of that name, faster and without its defects.

    Change the import and nothing else. What differs: rows are shuffled, visible biases start from the data,
    gradients are centred, the model is a mean over steps; `partial_fit` is unbiased whatever the sizes of batch and
    chains, takes X in batches and returns self; `score_samples` is exact; values outside [0, 1] are refused;
    integers become float32; `n_iter_`, `history_`, `sample`, `log_likelihood` and the rest of `RBM` are there.

    Parameters
    ----------
    n_components : int, default=256
    learning_rate : float, default=0.1
    batch_size : int, default=10
    n_iter : int, default=10
    verbose : int, default=0
    random_state : int, RandomState or None, default=None
    method, n_gibbs_steps, n_chains, annealing, averaging, momentum, weight_decay, centering, shuffle, draw_data,
    check_range, device
        As in `RBM`, but the rate stays constant by default (annealing=None).

    Attributes
    ----------
    components_, intercept_hidden_, intercept_visible_, h_samples_, n_features_in_, feature_names_in_
        As in scikit-learn.
    n_iter_, history_, visible_offset_, hidden_offset_
        As in `RBM`.

    Examples
    --------
    >>> import numpy as np
    >>> from harmonium import BernoulliRBM
    >>> X = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    >>> BernoulliRBM(n_components=2, random_state=0).fit(X)
    BernoulliRBM(n_components=2, random_state=0)
    """

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: float = 0.1,
        batch_size: int = 10,
        n_iter: int = 10,
        verbose: int = 0,
        random_state: Any = None,
        method: str = "pcd",
        n_gibbs_steps: int = 1,
        n_chains: int | None = None,
        annealing: float | str | None = None,
        averaging: float | None = 3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        centering: bool = True,
        shuffle: bool = True,
        draw_data: bool = False,
        check_range: bool = True,
        device: str | None = None,
    ) -> None:
        self.device = device
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.annealing = annealing
        self.averaging = averaging
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state
        self.method = method
        self.n_gibbs_steps = n_gibbs_steps
        self.n_chains = n_chains
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.centering = centering
        self.shuffle = shuffle
        self.draw_data = draw_data
        self.check_range = check_range
