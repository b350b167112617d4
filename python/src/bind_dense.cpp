// The ops of dense networks on plain arrays: what tests and benches call.
#include <string>
#include <utility>

#include "autoencoder_words.hpp"
#include "harmonium/compress.hpp"
#include "harmonium/contraction.hpp"
#include "harmonium/corrupt.hpp"
#include "harmonium/dense.hpp"
#include "harmonium/update.hpp"
#include "harmonium/weight_step.hpp"
#include "py_states.hpp"

namespace harmonium_python {

namespace {

template <class T>
Array<T> forward(const PyStates& x, const Array<T>& w, bool transpose_w, const Array<T>& bias, const std::string& activation) {
    const Matrix<const T> weights = matrix(w);
    Array<T> out = new_matrix<T>(x.rows, transpose_w ? weights.rows : weights.cols);
    const Matrix<T> view = mutable_matrix(out);
    const T* b = vector(bias, view.cols);
    const Activation f = activation_of(activation);
    const States<T> rows = x.view<T>();
    py::gil_scoped_release release;
    Context context;
    dense_forward<T>(context, rows, weights, transpose_w, b, f, view);
    return out;
}

template <class T>
Array<T> backward(const Array<T>& delta, const Array<T>& w, bool transpose_w, const std::string& activation, const Array<T>& a,
                  double a_scale) {
    const Matrix<const T> upper = matrix(delta), weights = matrix(w), lower = matrix(a);
    Array<T> out = new_matrix<T>(upper.rows, transpose_w ? weights.cols : weights.rows);
    const Matrix<T> view = mutable_matrix(out);
    const Activation f = activation_of(activation);
    py::gil_scoped_release release;
    Context context;
    dense_backward<T>(context, upper, weights, transpose_w, f, lower, static_cast<T>(a_scale), view);
    return out;
}

// The sum of A^T B over terms (A, B, whether A goes through its sparse columns); without weights it is all, with them they
// and what the rule keeps change in place.
template <class T>
Array<T> stepped(const std::vector<std::tuple<Array<T>, Array<T>, bool>>& given, const std::string& rule, const py::object& kept,
                 const py::object& weights, double rate, double decay) {
    struct Columns {
        std::vector<std::int64_t> starts, column_starts;
        std::vector<std::int32_t> indices, rows;
        std::vector<T> values, column_values;
    };
    require(!given.empty(), "weight_step: no terms");
    std::vector<Columns> columns(given.size());
    std::vector<GradientTerm<T>> terms(given.size());
    for (std::size_t t = 0; t < given.size(); ++t) {
        const auto& [a, b, sparse] = given[t];
        terms[t].b = matrix(b);
        if (!sparse) {
            terms[t].a = matrix(a);
            continue;
        }
        const Matrix<const T> dense = matrix(a);
        const std::int64_t most = dense.rows * dense.cols, room = compress_places(most, dense.cols);
        Columns& c = columns[t];
        c.starts.resize(dense.rows + 1), c.column_starts.resize(dense.cols + 1);
        c.indices.resize(room), c.rows.resize(room), c.values.resize(room), c.column_values.resize(room);
        const SparseRows<T> by_rows = compress(dense, nullptr, dense.rows, most, c.starts.data(), c.indices.data(), c.values.data());
        terms[t].a_columns = sparse_columns(by_rows, c.column_starts.data(), c.rows.data(), c.column_values.data());
    }
    Array<T> out = new_matrix<T>(std::get<0>(given[0]).shape(1), std::get<1>(given[0]).shape(1));
    WeightStep<T> step;
    step.terms = terms.data();
    step.n_terms = static_cast<int>(terms.size());
    step.update.rule = rule_of(rule);
    step.update.rate = rate;
    step.update = prepared(step.update);
    step.decay = static_cast<T>(decay);
    Array<T> theta, memory;
    if (weights.is_none()) {
        step.gradient = mutable_matrix(out);
    } else {
        theta = py::reinterpret_borrow<Array<T>>(weights);
        memory = py::reinterpret_borrow<Array<T>>(kept);
        step.weights = mutable_matrix(theta);
        T* place = mutable_vector(memory, kept_by(step.update.rule) * theta.size());
        if (step.update.rule != UpdateRule::sgd) step.first = step.second = place;
        if (step.update.rule == UpdateRule::adam) step.second = place + theta.size();
    }
    Context context;
    weight_step<T>(context, step);
    return out;
}

// The loss of each row, and the derivatives by z.
template <class T>
py::tuple loss(const Groups& groups, const PyStates& x, const Array<T>& z, double scale) {
    const std::vector<OutputGroup> outputs = outputs_of(groups);
    Array<T> derivatives = new_matrix<T>(z.shape(0), z.shape(1));
    std::copy(z.data(), z.data() + z.size(), derivatives.mutable_data());
    Array<double> values(static_cast<py::ssize_t>(x.rows));
    const Matrix<T> view = mutable_matrix(derivatives);
    double* out = values.mutable_data();
    const States<T> rows = x.view<T>();
    {
        py::gil_scoped_release release;
        Context context;
        likelihood_loss<T>(context, outputs.data(), static_cast<std::int64_t>(outputs.size()), rows, true, static_cast<T>(scale), view, out);
    }
    return py::make_tuple(values, derivatives);
}

template <class T>
Array<T> mean(const Groups& groups, Array<T> z) {
    const std::vector<OutputGroup> outputs = outputs_of(groups);
    Array<T> out = new_matrix<T>(z.shape(0), z.shape(1));
    std::copy(z.data(), z.data() + z.size(), out.mutable_data());
    Context context;
    likelihood_mean<T>(context, outputs.data(), static_cast<std::int64_t>(outputs.size()), mutable_matrix(out));
    return out;
}

template <class T>
Array<T> corrupted(const Array<T>& x, const std::string& kind, double level, std::uint64_t seed, std::uint64_t step, std::uint32_t first_row,
                   const Array<T>& low, const Array<T>& high, const Groups& groups) {
    const std::vector<OutputGroup> outputs = outputs_of(groups);
    Array<T> out = new_matrix<T>(x.shape(0), x.shape(1));
    std::copy(x.data(), x.data() + x.size(), out.mutable_data());
    const Matrix<T> view = mutable_matrix(out);
    Context context;
    corrupt<T>(context, corruption_of(kind), static_cast<T>(level), {seed, Stream::corruption, step}, first_row, vector(low, view.cols),
               vector(high, view.cols), outputs.data(), static_cast<std::int64_t>(outputs.size()), view);
    return out;
}

template <class T>
Array<T> dropped(const Array<T>& x, double rate, std::uint64_t seed, std::uint64_t step, std::uint32_t first_row) {
    Array<T> out = new_matrix<T>(x.shape(0), x.shape(1));
    std::copy(x.data(), x.data() + x.size(), out.mutable_data());
    Context context;
    dropout<T>(context, static_cast<T>(rate), {seed, Stream::dropout, step}, first_row, mutable_matrix(out));
    return out;
}

// Layers: (weights, activation, output). Returns the penalty of each row, and of each layer the gradients by W and by z.
template <class T>
py::tuple contracted(const std::vector<std::tuple<Array<T>, std::string, Array<T>>>& given, double scale) {
    std::vector<ContractionLayer<T>> layers;
    std::vector<Array<T>> gradients, deltas;
    for (const auto& [w, activation, output] : given) {
        ContractionLayer<T> layer;
        layer.weights = matrix(w);
        layer.activation = activation_of(activation);
        layer.output = matrix(output);
        gradients.push_back(new_matrix<T>(layer.weights.rows, layer.weights.cols));
        deltas.push_back(new_matrix<T>(layer.output.rows, layer.output.cols));
        layer.gradient = mutable_matrix(gradients.back());
        layer.delta = mutable_matrix(deltas.back());
        std::fill_n(layer.gradient.data, layer.gradient.rows * layer.gradient.cols, T(0));
        layers.push_back(layer);
    }
    require(!layers.empty(), "contraction: no layers");
    Array<double> penalty(static_cast<py::ssize_t>(layers[0].output.rows));
    std::vector<T> scratch(contraction_scratch(layers));
    Context context;
    contraction<T>(context, layers, static_cast<T>(scale), penalty.mutable_data(), scratch.data());
    return py::make_tuple(penalty, gradients, deltas);
}

// theta and kept change in place.
template <class T>
void updated(const std::string& rule, const Array<T>& gradient, Array<T> kept, Array<T> theta, double rate, double momentum, double beta_1,
             double beta_2, double epsilon, std::uint64_t step) {
    Update options;
    options.rule = rule_of(rule);
    options.rate = rate;
    options.momentum = momentum;
    options.beta_1 = beta_1;
    options.beta_2 = beta_2;
    options.epsilon = epsilon;
    options.step = step;
    const std::int64_t n = theta.size();
    Context context;
    update<T>(context, options, n, vector(gradient, n), mutable_vector(kept, n * kept_by(options.rule)), mutable_vector(theta, n));
}

template <class T>
void bind_typed(py::module_& m) {
    const auto exactly = [](const char* name) { return py::arg(name).noconvert(); };
    m.def("dense_forward", &forward<T>, py::arg("x"), exactly("w"), py::arg("transpose_w"), exactly("bias"), py::arg("activation"));
    m.def("dense_backward", &backward<T>, exactly("delta"), exactly("w"), py::arg("transpose_w"), py::arg("activation"), exactly("a"),
          py::arg("a_scale") = 1.0);
    m.def(sizeof(T) == 4 ? "weight_step_float32" : "weight_step_float64", &stepped<T>, py::arg("terms"), py::arg("rule") = "sgd",
          py::arg("kept") = py::none(), py::arg("weights") = py::none(), py::arg("rate") = 0.001, py::arg("decay") = 0.0);
    m.def("column_sums", [](const Array<T>& given) {
        Array<T> out(given.shape(1));
        Context context;
        column_sums<T>(context, matrix(given), false, out.mutable_data());
        return out;
    }, exactly("m"));
    m.def("likelihood_loss", &loss<T>, py::arg("groups"), py::arg("x"), exactly("z"), py::arg("scale") = 1.0);
    m.def("likelihood_mean", &mean<T>, py::arg("groups"), exactly("z"));
    m.def("corrupt", &corrupted<T>, exactly("x"), py::arg("kind"), py::arg("level"), py::arg("seed"), py::arg("step"), py::arg("first_row"),
          exactly("low"), exactly("high"), py::arg("groups"));
    m.def("dropout", &dropped<T>, exactly("x"), py::arg("rate"), py::arg("seed"), py::arg("step"), py::arg("first_row") = 0);
    m.def(sizeof(T) == 4 ? "contraction_float32" : "contraction_float64", &contracted<T>, py::arg("layers"), py::arg("scale") = 1.0);
    m.def("update", &updated<T>, py::arg("rule"), exactly("gradient"), exactly("kept"), exactly("theta"), py::arg("rate") = 0.001,
          py::arg("momentum") = 0.9, py::arg("beta_1") = 0.9, py::arg("beta_2") = 0.999, py::arg("epsilon") = 1e-8, py::arg("step") = 1);
}

}  // namespace

void bind_dense(py::module_& m) {
    bind_typed<float>(m);
    bind_typed<double>(m);
}

}  // namespace harmonium_python
