#include <string>

#include "harmonium/rbm.hpp"
#include "harmonium/rbm_likelihood.hpp"
#include "py_states.hpp"

namespace harmonium_python {

namespace {

template <class T>
Rbm<T> model_of(const Array<T>& weights, const Array<T>& visible_bias, const Array<T>& hidden_bias) {
    const Matrix<const T> w = matrix(weights);
    // The loops that only read take the same struct as training; none of them writes through it.
    return {{const_cast<T*>(w.data), w.rows, w.cols}, const_cast<T*>(vector(visible_bias, w.rows)),
            const_cast<T*>(vector(hidden_bias, w.cols))};
}

template <class T>
void train(const PyStates& x, Array<T> weights, Array<T> visible_bias, Array<T> hidden_bias, Array<T> last_weights,
           Array<T> last_visible_bias, Array<T> last_hidden_bias, Array<T> visible_offset,
           Array<T> hidden_offset, Words mirrored, Array<T> weight_velocity, Array<T> visible_velocity, Array<T> hidden_velocity,
           Words chains, Array<std::int64_t> counters, Array<double> travelled, Array<double> quantities, const std::string& method,
           std::int64_t n_gibbs_steps, std::int64_t batch_size, double learning_rate, const std::string& schedule, double annealing, std::int64_t schedule_passes,
           double averaging, double momentum, double weight_decay, bool centering, bool shuffle, bool draw_data, double divergence_limit, std::uint64_t seed,
           const py::function& on_epoch, const std::string& device) {
    RbmState<T> state;
    const Matrix<T> w = mutable_matrix(weights);
    state.model = {w, mutable_vector(visible_bias, w.rows), mutable_vector(hidden_bias, w.cols)};
    if (averaging > 0) {
        state.last = {mutable_matrix(last_weights), mutable_vector(last_visible_bias, w.rows), mutable_vector(last_hidden_bias, w.cols)};
    }
    state.visible_offset = mutable_vector(visible_offset, w.rows);
    state.hidden_offset = mutable_vector(hidden_offset, w.cols);
    state.mirrored = mutable_bits(mirrored, w.rows).row(0);
    if (momentum != 0) {
        state.weight_velocity = mutable_matrix(weight_velocity);
        state.visible_velocity = mutable_vector(visible_velocity, w.rows);
        state.hidden_velocity = mutable_vector(hidden_velocity, w.cols);
    }
    state.chains = mutable_bits(chains, w.cols);
    TrainingProgress<RbmState<T>> done(state, counters, travelled, quantities);
    RbmOptions options;
    require(method == "cd" || method == "pcd", "method=\"", method, "\" is not known");
    options.method = method == "cd" ? Method::cd : Method::pcd;
    options.n_gibbs_steps = n_gibbs_steps;
    options.batch_size = batch_size;
    options.learning_rate = learning_rate;
    options.schedule = schedule_of(schedule);
    options.annealing = annealing;
    options.schedule_passes = schedule_passes;
    options.averaging = averaging;
    options.momentum = momentum;
    options.weight_decay = weight_decay;
    options.centering = centering;
    options.shuffle = shuffle;
    options.draw_data = draw_data;
    options.divergence_limit = divergence_limit;
    options.seed = seed;
    const Device where = device_of(device);
    const States<T> view = x.view<T>(where);
    py::gil_scoped_release release;
    InterruptibleContext context(py::none(), 0, where);
    rbm_train<T>(context, view, options, done.epochs(), state, [&](const RbmEpoch& epoch) {
        return done.epoch_end(epoch.pseudo_log_likelihood, epoch, on_epoch);
    });
}

template <class T>
Words gibbs(const Array<T>& weights, const Array<T>& visible_bias, const Array<T>& hidden_bias, const PyStates& start,
            bool from_hidden, std::int64_t n_steps, std::uint64_t seed, const py::object& mask, const py::object& values,
            const py::object& progress, const std::string& device) {
    const Rbm<T> model = model_of(weights, visible_bias, hidden_bias);
    Words out = new_bits(start.rows, model.visible());
    const BitMatrix v = mutable_bits(out, model.visible());
    ConstBitMatrix mask_bits, value_bits;
    if (!mask.is_none()) {
        mask_bits = bits(mask.cast<Words>(), model.visible());
        value_bits = bits(values.cast<Words>(), model.visible());
    }
    const Device where = device_of(device);
    const States<T> view = start.view<T>(where);
    py::gil_scoped_release release;
    InterruptibleContext context(progress, 0, where);
    rbm_gibbs<T>(context, model, view, from_hidden, n_steps, seed, mask_bits, value_bits, v);
    return out;
}

template <class T>
Array<T> probability(const Array<T>& weights, const Array<T>& visible_bias, const Array<T>& hidden_bias,
                     const PyStates& given, bool of_visible, const std::string& device) {
    const Rbm<T> model = model_of(weights, visible_bias, hidden_bias);
    Array<T> out = new_matrix<T>(given.rows, of_visible ? model.visible() : model.hidden());
    const Matrix<T> view = mutable_matrix(out);
    const Device where = device_of(device);
    const States<T> states = given.view<T>(where);
    py::gil_scoped_release release;
    InterruptibleContext context(py::none(), 0, where);
    of_visible ? rbm_visible_probability<T>(context, model, states, view)
               : rbm_hidden_probability<T>(context, model, states, view);
    return out;
}

template <class T, void (*Score)(Context&, const Rbm<T>&, const States<T>&, double*)>
Array<double> score(const Array<T>& weights, const Array<T>& visible_bias, const Array<T>& hidden_bias, const PyStates& v,
                    const std::string& device) {
    const Rbm<T> model = model_of(weights, visible_bias, hidden_bias);
    Array<double> out(static_cast<py::ssize_t>(v.rows));
    double* values = out.mutable_data();
    const Device where = device_of(device);
    const States<T> states = v.view<T>(where);
    py::gil_scoped_release release;
    InterruptibleContext context(py::none(), 0, where);
    Score(context, model, states, values);
    return out;
}

template <class T>
void pseudo_log_likelihood(Context& context, const Rbm<T>& model, const States<T>& v, double* out) {
    rbm_pseudo_log_likelihood(context, model, v, out);
}

template <class T>
double log_partition(const Array<T>& weights, const Array<T>& visible_bias, const Array<T>& hidden_bias,
                     const py::object& progress, const std::string& device) {
    const Rbm<T> model = model_of(weights, visible_bias, hidden_bias);
    const Device where = device_of(device);
    py::gil_scoped_release release;
    InterruptibleContext context(progress, 0, where);
    return rbm_log_partition(context, model);
}

template <class T>
Array<double> anneal(const Array<T>& weights, const Array<T>& visible_bias, const Array<T>& hidden_bias,
                     const Array<double>& base, const Array<double>& betas, const py::object& start, std::uint64_t seed,
                     std::int64_t n_runs, const py::object& progress, const std::string& device) {
    const Rbm<T> model = model_of(weights, visible_bias, hidden_bias);
    require(n_runs >= 1, "log_partition: n_runs=", n_runs, ", at least 1 is needed");
    Array<double> out(static_cast<py::ssize_t>(n_runs));
    double* values = out.mutable_data();
    const double* base_view = vector(base, model.visible());
    const double* beta_view = betas.data();
    const std::int64_t n_betas = betas.size();
    ConstBitMatrix from;
    if (!start.is_none()) from = bits(start.cast<Words>(), model.visible());
    const Device where = device_of(device);
    py::gil_scoped_release release;
    InterruptibleContext context(progress, 0, where);
    rbm_anneal<T>(context, model, base_view, beta_view, n_betas, from, seed, n_runs, values);
    return out;
}

template <class T>
void bind_typed(py::module_& m) {
    const auto exactly = [](const char* name) { return py::arg(name).noconvert(); };
    const auto device = py::arg("device") = "cpu";
    const auto weights = exactly("weights"), visible_bias = exactly("visible_bias"), hidden_bias = exactly("hidden_bias");
    m.def("rbm_train", &train<T>, py::arg("x"), weights, visible_bias, hidden_bias, exactly("last_weights"),
          exactly("last_visible_bias"), exactly("last_hidden_bias"), exactly("visible_offset"), exactly("hidden_offset"), exactly("mirrored"), exactly("weight_velocity"), exactly("visible_velocity"), exactly("hidden_velocity"),
          exactly("chains"), exactly("counters"), exactly("travelled"), exactly("quantities"), py::arg("method"), py::arg("n_gibbs_steps"),
          py::arg("batch_size"), py::arg("learning_rate"), py::arg("schedule"), py::arg("annealing"), py::arg("schedule_passes"), py::arg("averaging"), py::arg("momentum"), py::arg("weight_decay"),
          py::arg("centering"), py::arg("shuffle"), py::arg("draw_data"), py::arg("divergence_limit"), py::arg("seed"), py::arg("on_epoch"),
          py::arg("device"));
    m.def("rbm_gibbs", &gibbs<T>, weights, visible_bias, hidden_bias, py::arg("start"), py::arg("from_hidden"),
          py::arg("n_steps"), py::arg("seed"), py::arg("mask"), py::arg("values"), py::arg("progress"), device);
    m.def("rbm_probability", &probability<T>, weights, visible_bias, hidden_bias, py::arg("given"), py::arg("of_visible"), device);
    m.def("rbm_free_energy", &score<T, &rbm_free_energy<T>>, weights, visible_bias, hidden_bias, py::arg("v"), device);
    m.def("rbm_pseudo_log_likelihood", &score<T, &pseudo_log_likelihood<T>>, weights, visible_bias, hidden_bias,
          py::arg("v"), device);
    m.def("rbm_log_partition", &log_partition<T>, weights, visible_bias, hidden_bias, py::arg("progress"), device);
    m.def("rbm_anneal", &anneal<T>, weights, visible_bias, hidden_bias, exactly("base"), exactly("betas"), py::arg("start"),
          py::arg("seed"), py::arg("n_runs"), py::arg("progress"), device);
}

}  // namespace

void bind_rbm(py::module_& m) {
    bind_typed<float>(m);
    bind_typed<double>(m);
    m.def("rbm_base_log_partition", [](const Array<double>& base, std::int64_t hidden) {
        return rbm_base_log_partition(base.data(), base.size(), hidden);
    }, py::arg("base").noconvert(), py::arg("hidden"));
}

}  // namespace harmonium_python
