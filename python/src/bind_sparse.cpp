#include <string>

#include "harmonium/dictionary.hpp"
#include "harmonium/lasso.hpp"
#include "harmonium/shrink.hpp"
#include "harmonium/sparse_coding.hpp"
#include "py_states.hpp"

namespace harmonium_python {

namespace {

LassoAlgorithm algorithm_of(const std::string& name) {
    if (name == "cd") return LassoAlgorithm::cd;
    if (name == "fista") return LassoAlgorithm::fista;
    require(name == "ista", "algorithm=\"", name, "\" is not known");
    return LassoAlgorithm::ista;
}

// A penalty of n or 1 rows and atoms or 1 columns.
LassoPenalty penalty(const Array<double>& alpha, std::int64_t rows, std::int64_t atoms) {
    const Matrix<const double> a = matrix(alpha);
    require((a.rows == 1 || a.rows == rows) && (a.cols == 1 || a.cols == atoms), "alpha is ", a.rows, " x ", a.cols, " for ",
            rows, " rows and ", atoms, " atoms");
    return {a.data, a.rows == 1 ? 0 : a.stride, a.cols == 1 ? 0 : 1};
}

// Where arrays are, x first; refuses those on another GPU than the one that computes.
Place place_of_rows(const char* who, std::initializer_list<std::pair<const char*, const Given*>> arrays, const std::string& device) {
    const Place place(who, arrays);
    const Device where = device_of(device), there = place.device();
    require(there.kind == Device::Kind::cpu || (where.kind == there.kind && where.index == there.index), who, ": x is on GPU ",
            there.index, ", device=\"", device, '"');
    return place;
}

// x, dictionary and codes are NumPy's or on one GPU, the others NumPy's. codes on entry: where to start. Returns how many rows max_iter left above tol.
template <class T>
std::int64_t py_lasso(const AnyArray<T>& x, const AnyArray<T>& dictionary, const Array<double>& alpha,
                      const std::optional<Array<std::uint8_t>>& observed, const std::string& algorithm, double tol,
                      std::int64_t max_iter, bool positive, const AnyArray<T>& codes, Array<double>& gaps,
                      Array<std::int32_t>& n_iter, int threads, const py::object& progress, const std::string& device) {
    const Device where = device_of(device);
    const Place place = place_of_rows("lasso", {{"x", &x}, {"dictionary", &dictionary}, {"codes", &codes}}, device);
    require(!codes.read_only, "lasso: codes must not be read-only");
    const Matrix<const T> rows = x.matrix(), d = dictionary.matrix();
    const LassoPenalty a = penalty(alpha, rows.rows, d.rows);
    const LassoOptions options{algorithm_of(algorithm), tol, max_iter, positive};
    const Matrix<const std::uint8_t> there = observed ? matrix(*observed) : Matrix<const std::uint8_t>();
    const Matrix<T> h = codes.matrix();
    double* gap = mutable_vector(gaps, rows.rows);
    std::int32_t* steps = mutable_vector(n_iter, rows.rows);
    py::gil_scoped_release release;
    place.wait();
    InterruptibleContext context(progress, threads, where);
    return lasso<T>(context, rows, d, a, there, options, h, gap, steps);
}

template <class T>
double py_lipschitz_bound(const Array<T>& dictionary) {
    const Matrix<const T> d = matrix(dictionary);
    py::gil_scoped_release release;
    Context context;
    return lipschitz_bound<T>(context, d);
}

template <class T>
AnyArray<T> py_shrink(const AnyArray<T>& x, const AnyArray<T>& a, bool positive) {
    const Place place("shrink", {{"X", &x}, {"a", &a}});
    const Matrix<const T> from = x.matrix();
    const T* thresholds = a.vector(from.cols);
    const AnyArray<T> out = place.empty<T>({from.rows, from.cols});
    place.compute([&](Context& context) { shrink<T>(context, from, thresholds, positive, out.matrix()); });
    return out;
}

template <class T>
void py_code_statistics(const PyStates& codes, const Array<T>& x, double keep, double share, Array<double>& a, Array<double>& b) {
    const States<T> h = codes.view<T>();
    const Matrix<const T> rows = matrix(x);
    const Matrix<double> covariance = mutable_matrix(a), projections = mutable_matrix(b);
    py::gil_scoped_release release;
    Context context;
    code_statistics<T>(context, h.sparse, rows, keep, share, covariance, projections);
}

void py_dictionary_update(const Array<double>& a, const Array<double>& b, bool positive, Array<double>& dictionary) {
    const Matrix<const double> covariance = matrix(a), projections = matrix(b);
    const Matrix<double> d = mutable_matrix(dictionary);
    std::vector<double> scratch(static_cast<std::size_t>(32 * d.cols));
    py::gil_scoped_release release;
    Context context;
    dictionary_update(context, covariance, projections, positive, Matrix<double>(scratch.data(), 32, d.cols), d);
}

// x is NumPy's or on the GPU, the others NumPy's. counters: updates, passes, updates without improvement. smoothed: the smoothed objective and the least of it.
// quantities: a row of objective, density and redrawn atoms for each pass, written with the pass, before Python runs.
// Returns whether max_no_improvement stopped it.
template <class T>
bool py_sparse_coding_train(const AnyArray<T>& x, Array<T>& dictionary, Array<double>& covariance, Array<double>& projections,
                            Array<double>& idle, Array<std::int64_t>& counters, Array<double>& smoothed,
                            Array<double>& quantities, double alpha, const std::string& algorithm, double code_tol,
                            std::int64_t max_iter, bool positive_code, bool positive_dict, std::int64_t batch_size,
                            double forgetting, bool shuffle, std::uint64_t seed, std::int64_t redraw_after,
                            std::int64_t max_no_improvement, std::int64_t smoothing, int threads, const py::function& on_epoch,
                            const std::string& device) {
    const Device where = device_of(device);
    const Place place = place_of_rows("sparse_coding_train", {{"x", &x}}, device);
    const Matrix<const T> rows = x.matrix();
    SparseCodingState<T> state;
    state.dictionary = mutable_matrix(dictionary);
    state.covariance = mutable_matrix(covariance);
    state.projections = mutable_matrix(projections);
    state.idle = mutable_vector(idle, state.dictionary.rows);
    std::int64_t* counted = mutable_vector(counters, 3);
    double* objective = mutable_vector(smoothed, 2);
    const Matrix<double> recorded = mutable_matrix(quantities);
    state.steps = static_cast<std::uint64_t>(counted[0]);
    state.epochs = static_cast<std::uint64_t>(counted[1]);
    state.no_improvement = counted[2];
    state.smoothed = objective[0];
    state.least = objective[1];
    SparseCodingOptions options;
    options.alpha = alpha;
    options.lasso = {algorithm_of(algorithm), code_tol, max_iter, positive_code};
    options.batch_size = batch_size;
    options.forgetting = forgetting;
    options.positive_dictionary = positive_dict;
    options.shuffle = shuffle;
    options.seed = seed;
    options.redraw_after = redraw_after;
    options.max_no_improvement = max_no_improvement;
    options.smoothing = smoothing;
    bool converged = false;
    std::int64_t row = 0;
    py::gil_scoped_release release;
    place.wait();
    InterruptibleContext context(py::none(), threads, where);
    sparse_coding_train<T>(context, rows, options, recorded.rows, state, [&](const SparseCodingEpoch& epoch) {
        counted[0] = static_cast<std::int64_t>(state.steps);
        counted[1] = static_cast<std::int64_t>(state.epochs);
        counted[2] = state.no_improvement;
        objective[0] = state.smoothed;
        objective[1] = state.least;
        const double values[] = {epoch.objective, epoch.density, epoch.redrawn};
        std::copy(values, values + 3, recorded.row(row++));
        converged = epoch.converged;
        py::gil_scoped_acquire gil;
        return on_epoch().cast<bool>();
    });
    return converged;
}

template <class T>
void bind(py::module_& m) {
    m.def("lasso", &py_lasso<T>, py::arg("x").noconvert(), py::arg("dictionary").noconvert(), py::arg("alpha"),
          py::arg("observed"), py::arg("algorithm"), py::arg("tol"), py::arg("max_iter"), py::arg("positive"),
          py::arg("codes").noconvert(), py::arg("gaps").noconvert(), py::arg("n_iter").noconvert(), py::arg("threads"),
          py::arg("progress"), py::arg("device") = "cpu");
    m.def("lipschitz_bound", &py_lipschitz_bound<T>, py::arg("dictionary").noconvert());
    m.def("code_statistics", &py_code_statistics<T>, py::arg("codes"), py::arg("x").noconvert(), py::arg("keep"), py::arg("share"),
          py::arg("a").noconvert(), py::arg("b").noconvert());
    m.def("sparse_coding_train", &py_sparse_coding_train<T>, py::arg("x").noconvert(), py::arg("dictionary").noconvert(),
          py::arg("covariance").noconvert(), py::arg("projections").noconvert(), py::arg("idle").noconvert(),
          py::arg("counters").noconvert(), py::arg("smoothed").noconvert(), py::arg("quantities").noconvert(), py::arg("alpha"),
          py::arg("algorithm"), py::arg("code_tol"), py::arg("max_iter"), py::arg("positive_code"), py::arg("positive_dict"),
          py::arg("batch_size"), py::arg("forgetting"), py::arg("shuffle"), py::arg("seed"), py::arg("redraw_after"),
          py::arg("max_no_improvement"), py::arg("smoothing"), py::arg("threads"), py::arg("on_epoch"), py::arg("device") = "cpu");
    m.def("shrink", &py_shrink<T>, py::arg("x").noconvert(), py::arg("a").noconvert(), py::arg("positive"));
}

}  // namespace

void bind_sparse(py::module_& m) {
    bind<float>(m);
    bind<double>(m);
    m.def("dictionary_update", &py_dictionary_update, py::arg("a"), py::arg("b"), py::arg("positive"),
          py::arg("dictionary").noconvert());
}

}  // namespace harmonium_python
