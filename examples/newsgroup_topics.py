"""Topics of newsgroup posts, found by an RBM whose visible layer is a bag of words (replicated softmax).

The picture shows hidden units with the words that each makes more probable, its largest weights, and above them the
newsgroup whose words speak for the unit most, and in what share of its posts it is on; newsgroups are not used in
training. Shown are the units whose words most often occur in one post (normalised pointwise mutual information, in
training posts; the median over all units is printed). The table has that share for all groups: most units stand for
more than one topic, and it takes several to tell a topic.

Two figures are printed. Perplexity: exp of minus the mean log-likelihood of a word in held-out posts, 50 words drawn
from each that has as many, since log Z depends on the size of the bag; between the bounds that annealing up and down
gives, beside that of the training words' frequencies. Retrieval: how many of the 10 training posts nearest to a
held-out one (by cosine, of hidden units or of words) come from its newsgroup.

What it takes to see topics: (1) counts replaced by the rounded logarithm of 1 + count, as in the paper below: words
come in bursts; (2) no post of more than 100 words, longer ones are thinned at random: the input of the hidden units
grows with the size, and a few long posts would rule the gradient; (3) no words of few posts, such as those of encoded
binaries; (4) many steps, with momentum: at first all hidden units learn the same contrast, short questions against long
arguments, and they part late; (5) hidden units that are drawn, gently, towards being on in a tenth of the posts:
otherwise they are on in half of them, and several together make a topic.

Data: DIR/newsgroups20_2000.npz with bags of words as CSR matrices (`train_data`, `train_indices`, `train_indptr`,
`train_shape`, the same for `test`), `train_labels`, `test_labels`, `vocabulary`, `label_names`.

Salakhutdinov, Hinton, "Replicated softmax: an undirected topic model", NIPS 2009. Newman, Lau, Grieser, Baldwin,
"Automatic evaluation of topic coherence", NAACL 2010. Bouma, "Normalized (pointwise) mutual information in collocation
extraction", GSCL 2009. Lang, "NewsWeeder: learning to filter netnews", ICML 1995 (the posts).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse as sp

from harmonium import RBM

MOST_WORDS, SCORED_WORDS, NEIGHBOURS, TOP = 100, 50, 10, 8


def thin(X: sp.csr_matrix, most: int, generator: np.random.Generator) -> sp.csr_matrix:
    """Bags of more than `most` words replaced by so many of their words, drawn without replacement."""
    X = X.copy()
    for row in np.flatnonzero(np.asarray(X.sum(axis=1)).ravel() > most):
        part = slice(X.indptr[row], X.indptr[row + 1])
        X.data[part] = generator.multivariate_hypergeometric(X.data[part], most, method="marginals")
    X.eliminate_zeros()
    return X


def precision(train: np.ndarray, test: np.ndarray, train_labels: np.ndarray, test_labels: np.ndarray) -> np.ndarray:
    """Share of the nearest training rows that have a test row's label, for every test row."""
    train, test = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9) for x in (train, test))
    found = []
    for start in range(0, len(test), 1000):
        likeness = test[start : start + 1000] @ train.T
        found.append(np.argpartition(-likeness, NEIGHBOURS, axis=1)[:, :NEIGHBOURS])
    return (train_labels[np.concatenate(found)] == test_labels[:, None]).mean(axis=1)


def coherence(X: sp.csr_matrix, words: np.ndarray) -> np.ndarray:
    """Mean normalised pointwise mutual information, over pairs of each row's words, of being in one post."""
    inside = (X > 0).astype(np.float64)
    together = (inside.T @ inside).toarray() / X.shape[0]
    alone = np.diag(together)
    together = np.maximum(together, 0.1 / X.shape[0])  # never seen together: log 0
    first, second = np.triu_indices(words.shape[1], 1)
    p = together[words[:, first], words[:, second]]
    return (np.log(p / (alone[words[:, first]] * alone[words[:, second]])) / -np.log(p)).mean(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with newsgroups20_2000.npz")
    parser.add_argument("--output", type=Path, default=Path("newsgroup_topics.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="seconds: the picture is drawn, little is learned")
    arguments = parser.parse_args()
    n_rows, n_hidden, n_epochs, n_betas, least_posts = 12_000, 50, 250, 5000, 40
    if arguments.quick:
        n_rows, n_hidden, n_epochs, n_betas, least_posts = 1000, 20, 3, 100, 1

    with np.load(arguments.data / "newsgroups20_2000.npz", allow_pickle=False) as file:
        parts = [
            sp.csr_matrix(
                (file[f"{part}_data"].astype(np.int64), file[f"{part}_indices"], file[f"{part}_indptr"]),
                shape=tuple(file[f"{part}_shape"]),
            )[:n_rows]
            for part in ("train", "test")
        ]
        train_labels, test_labels = file["train_labels"][:n_rows], file["test_labels"][:n_rows]
        vocabulary, groups = file["vocabulary"], file["label_names"]
    frequent = np.asarray((parts[0] > 0).sum(axis=0)).ravel() >= least_posts
    vocabulary, parts = vocabulary[frequent], [part[:, frequent] for part in parts]
    raw = [part.toarray().astype(np.float32) for part in parts]  # for the comparison only
    generator = np.random.default_rng(arguments.seed)
    for part in parts:
        part.data = np.rint(np.log1p(part.data)).astype(np.int64)
    train, test = (thin(part, MOST_WORDS, generator) for part in parts)

    frequency = np.asarray(train.sum(axis=0)).ravel() + 1.0
    frequency /= frequency.sum()
    rbm = RBM(
        n_hidden,
        visible="count",
        method="cd",
        learning_rate=0.05,
        momentum=0.9,
        annealing=None,
        sparsity_cost=0.02,
        sparsity_target=0.1,
        batch_size=25,
        n_iter=n_epochs,
        random_state=arguments.seed,
        verbose=1,
    ).fit(train)
    rbm.verbose = 0
    print(f"{train.shape[0]} posts, {train.sum()} words, {n_hidden} hidden units, {n_epochs} epochs of CD-1")

    size = np.asarray(test.sum(axis=1)).ravel()
    bags = thin(test[size >= SCORED_WORDS], SCORED_WORDS, generator)
    log_z = rbm.log_partition("bracket", n_words=SCORED_WORDS, n_betas=n_betas, random_state=arguments.seed)
    minus_energy = -rbm.free_energy(bags)
    unigram = np.exp(-(bags @ np.log(frequency)).mean() / SCORED_WORDS)
    value, lower, upper = (
        np.exp((z - minus_energy.mean()) / SCORED_WORDS) for z in (log_z.value, log_z.lower, log_z.upper)
    )
    perplexity = f"perplexity {value:.0f} ({lower:.0f} to {upper:.0f}), of word frequencies {unigram:.0f}"
    print(f"{bags.shape[0]} held-out posts of {SCORED_WORDS} words: {perplexity}")

    codes, test_codes = rbm.transform(train), rbm.transform(test)
    by_code = precision(codes, test_codes, train_labels, test_labels)
    by_words = precision(raw[0], raw[1], train_labels, test_labels)
    retrieval = f"{100 * by_code.mean():.1f} %, by {train.shape[1]} counts {100 * by_words.mean():.1f} %"
    error = 100 * (by_code - by_words).std() / np.sqrt(len(by_code))
    print(f"of the {NEIGHBOURS} nearest posts by {n_hidden} hidden units from the same newsgroup: {retrieval}", end="")
    print(f" (standard error of the difference {error:.1f})")

    # A constant in a unit's weights changes nothing: the words' mean is taken away.
    W = rbm.components_ - (rbm.components_ @ frequency)[:, None]
    top = np.argsort(-W, axis=1)[:, :TOP]
    goes_together = coherence(train, top)
    units = np.argsort(-goes_together)[:16]
    print(f"coherence of a unit's {TOP} words: median {np.median(goes_together):.2f}, best {goes_together.max():.2f}")
    activity = np.array([test_codes[test_labels == k].mean(axis=0) for k in np.unique(test_labels)])
    names = groups[np.unique(test_labels)]
    evidence = np.asarray(test @ W.T) / np.maximum(size, 1)[:, None]  # a word
    homes = np.array([evidence[test_labels == k].mean(axis=0) for k in np.unique(test_labels)]).argmax(axis=0)
    figure = plt.figure(figsize=(17, 10), layout="constrained")
    grid = figure.add_gridspec(4, 5, width_ratios=(1, 1, 1, 1, 1.9))
    for place, unit in enumerate(units):
        words = top[unit]
        home = homes[unit]
        print(f"{names[home]:>24}: {' '.join(vocabulary[words])}")
        ax = figure.add_subplot(grid[place // 4, place % 4])
        ax.barh(np.arange(len(words)), W[unit, words], color="tab:blue", height=0.7)
        ax.set_yticks(np.arange(len(words)), vocabulary[words])
        ax.invert_yaxis()
        ax.spines[["top", "right"]].set_visible(False)
        title = f"{place + 1}: {names[home]} ({100 * activity[home, unit]:.0f} %)"
        ax.set_title(title, loc="left", fontsize="x-small")
    ax = figure.add_subplot(grid[:, 4])
    image = ax.imshow(activity[:, units], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(np.arange(len(units)), np.arange(1, len(units) + 1))
    ax.set_yticks(np.arange(len(names)), names)
    ax.yaxis.tick_right()
    ax.set_title("share of held-out posts that a unit is on in", loc="left", fontsize="medium")
    figure.colorbar(image, ax=ax, location="bottom", shrink=0.8)
    figure.suptitle(f"Replicated softmax, {n_hidden} hidden units, 20 Newsgroups: {perplexity}\nretrieval {retrieval}")
    figure.savefig(arguments.output, dpi=100)
    print(f"picture: {arguments.output}")


if __name__ == "__main__":
    main()
