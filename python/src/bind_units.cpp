#include <string>

#include "harmonium/unit_rbm.hpp"
#include "py_states.hpp"

namespace harmonium_python {

namespace {

// Rows of (type, first unit, number of units).
Layer layer_of(const Array<std::int64_t>& groups) {
    require(groups.ndim() == 2 && groups.shape(1) == 3, "groups of units are rows of three numbers");
    Layer layer;
    for (py::ssize_t g = 0; g < groups.shape(0); ++g) {
        require(groups.at(g, 0) >= 0 && groups.at(g, 0) <= 4, "units of type ", groups.at(g, 0));
        layer.groups.push_back({static_cast<UnitType>(groups.at(g, 0)), groups.at(g, 1), groups.at(g, 2)});
    }
    return layer;
}

template <class T>
UnitRbm<T> model_of(const Array<T>& weights, const Array<T>& visible_bias, const Array<T>& hidden_bias,
                    const Array<std::int64_t>& visible, const Array<std::int64_t>& hidden) {
    const Matrix<const T> w = matrix(weights);
    // The loops that only read take the same struct as training; none of them writes through it.
    return {layer_of(visible), layer_of(hidden), {const_cast<T*>(w.data), w.rows, w.cols},
            const_cast<T*>(vector(visible_bias, w.rows)), const_cast<T*>(vector(hidden_bias, w.cols))};
}

template <class T>
const T* numbers_or_null(const py::object& object, std::int64_t size) {
    return object.is_none() ? nullptr : vector(object.cast<Array<T>>(), size);
}

template <class T>
void train(const PyStates& x, const py::object& sample_weight, const py::object& observed, const Array<std::int64_t>& visible,
           const Array<std::int64_t>& hidden, const py::dict& arrays, const py::dict& settings, Array<std::int64_t> counters,
           Array<double> travelled, Array<double> quantities, const py::function& on_epoch, const std::string& device) {
    const auto at = [&](const char* name) { return arrays[name].cast<Array<T>>(); };
    const auto real = [&](const char* name) { return settings[name].cast<double>(); };
    const auto whole = [&](const char* name) { return settings[name].cast<std::int64_t>(); };
    const auto flag = [&](const char* name) { return settings[name].cast<bool>(); };
    const auto model = [&](const std::string& prefix) {
        Array<T> weights = at((prefix + "weights").c_str());
        Array<T> of_visible = at((prefix + "visible").c_str()), of_hidden = at((prefix + "hidden").c_str());
        const Matrix<T> w = mutable_matrix(weights);
        return Rbm<T>{w, mutable_vector(of_visible, w.rows), mutable_vector(of_hidden, w.cols)};
    };
    UnitRbmState<T> state;
    state.visible = layer_of(visible);
    state.hidden = layer_of(hidden);
    state.model = model("");
    UnitRbmOptions options;
    const auto method = settings["method"].cast<std::string>();
    options.method = method == "cd" ? Method::cd : Method::pcd;
    options.exact = method == "exact";
    options.n_gibbs_steps = whole("n_gibbs_steps");
    options.batch_size = whole("batch_size");
    options.learning_rate = real("learning_rate");
    options.schedule = schedule_of(settings["schedule"].cast<std::string>());
    options.annealing = real("annealing");
    options.schedule_passes = whole("schedule_passes");
    options.averaging = real("averaging");
    options.momentum = real("momentum");
    options.weight_decay = real("weight_decay");
    options.l1 = real("l1");
    options.sparsity_cost = real("sparsity_cost");
    options.sparsity_target = real("sparsity_target");
    options.fast_rate = real("fast_rate");
    options.n_temperatures = whole("n_temperatures");
    options.learn_variance = flag("learn_variance");
    options.centering = flag("centering");
    options.shuffle = flag("shuffle");
    options.draw_data = flag("draw_data");
    options.divergence_limit = real("divergence_limit");
    options.seed = settings["seed"].cast<std::uint64_t>();
    if (options.averaging > 0) state.last = model("last_");
    if (options.momentum != 0) {
        const Rbm<T> velocity = model("velocity_");
        state.weight_velocity = velocity.weights;
        state.visible_velocity = velocity.visible_bias;
        state.hidden_velocity = velocity.hidden_bias;
    }
    Array<T> visible_offset = at("visible_offset"), hidden_offset = at("hidden_offset"), chains = at("chains"), scale = at("scale");
    state.visible_offset = mutable_vector(visible_offset, state.model.visible());
    state.hidden_offset = mutable_vector(hidden_offset, state.model.hidden());
    auto mirrored = arrays["mirrored"].cast<Words>();
    state.mirrored = mutable_bits(mirrored, state.model.visible()).row(0);
    state.unit_chains = mutable_matrix(chains);
    state.visible_scale = mutable_vector(scale, state.model.visible());
    auto swaps = arrays["swaps"].cast<Array<double>>();
    state.swaps = mutable_vector(swaps, options.n_temperatures - 1);

    TrainingProgress<UnitRbmState<T>> done(state, counters, travelled, quantities);
    UnitTrainingData<T> data{x.view<T>(), numbers_or_null<T>(sample_weight, x.rows), {}};
    Words known;
    if (!observed.is_none()) {
        known = observed.cast<Words>();
        data.observed = bits(known, x.cols);
    }
    const Device where = device_of(device);
    py::gil_scoped_release release;
    InterruptibleContext context(py::none(), 0, where);
    rbm_train<T>(context, data, options, done.epochs(), state, [&](const RbmEpoch& epoch) {
        return done.epoch_end(-epoch.pseudo_log_likelihood, epoch, on_epoch);
    });
}

template <class T>
Array<T> probability(const Array<T>& weights, const Array<T>& visible_bias, const Array<T>& hidden_bias,
                     const Array<std::int64_t>& visible, const Array<std::int64_t>& hidden, const PyStates& given,
                     const py::object& exposure, bool of_visible, const std::string& device) {
    const UnitRbm<T> model = model_of(weights, visible_bias, hidden_bias, visible, hidden);
    Array<T> out = new_matrix<T>(given.rows, of_visible ? model.weights.rows : model.weights.cols);
    const Matrix<T> view = mutable_matrix(out);
    const Device where = device_of(device);
    const UnitData<T> data{given.view<T>(where), numbers_or_null<T>(exposure, given.rows)};
    py::gil_scoped_release release;
    InterruptibleContext context(py::none(), 0, where);
    rbm_probability<T>(context, model, data, of_visible, view);
    return out;
}

template <class T>
Array<T> gibbs(const Array<T>& weights, const Array<T>& visible_bias, const Array<T>& hidden_bias,
               const Array<std::int64_t>& visible, const Array<std::int64_t>& hidden, const PyStates& start,
               const py::object& exposure, bool from_hidden, std::int64_t n_steps, std::uint64_t seed, const py::object& mask,
               const py::object& values, const py::object& progress, const std::string& device) {
    const UnitRbm<T> model = model_of(weights, visible_bias, hidden_bias, visible, hidden);
    Array<T> out = new_matrix<T>(start.rows, model.weights.rows);
    const Matrix<T> v = mutable_matrix(out);
    ConstBitMatrix mask_bits;
    Matrix<const T> kept;
    if (!mask.is_none()) {
        mask_bits = bits(mask.cast<Words>(), model.weights.rows);
        kept = matrix(values.cast<Array<T>>());
    }
    const Device where = device_of(device);
    const UnitData<T> data{start.view<T>(where), numbers_or_null<T>(exposure, start.rows)};
    py::gil_scoped_release release;
    InterruptibleContext context(progress, 0, where);
    rbm_gibbs<T>(context, model, data, from_hidden, n_steps, seed, mask_bits, kept, v);
    return out;
}

template <class T, void (*Score)(Context&, const UnitRbm<T>&, const UnitData<T>&, double*)>
Array<double> score(const Array<T>& weights, const Array<T>& visible_bias, const Array<T>& hidden_bias,
                    const Array<std::int64_t>& visible, const Array<std::int64_t>& hidden, const PyStates& v,
                    const py::object& exposure, const std::string& device) {
    const UnitRbm<T> model = model_of(weights, visible_bias, hidden_bias, visible, hidden);
    Array<double> out(static_cast<py::ssize_t>(v.rows));
    double* values = out.mutable_data();
    const Device where = device_of(device);
    const UnitData<T> data{v.view<T>(where), numbers_or_null<T>(exposure, v.rows)};
    py::gil_scoped_release release;
    InterruptibleContext context(py::none(), 0, where);
    Score(context, model, data, values);
    return out;
}

template <class T>
py::tuple enumerate(const Array<T>& weights, const Array<T>& visible_bias, const Array<T>& hidden_bias,
                    const Array<std::int64_t>& visible, const Array<std::int64_t>& hidden, bool of_hidden, std::int64_t first,
                    std::int64_t count, const py::object& progress, const std::string& device) {
    const UnitRbm<T> model = model_of(weights, visible_bias, hidden_bias, visible, hidden);
    Array<double> own(static_cast<py::ssize_t>(count)), others(static_cast<py::ssize_t>(count));
    double *of_own = own.mutable_data(), *of_others = others.mutable_data();
    const Device where = device_of(device);
    {
        py::gil_scoped_release release;
        InterruptibleContext context(progress, 0, where);
        rbm_enumerate<T>(context, model, of_hidden, first, count, of_own, of_others);
    }
    return py::make_tuple(own, others);
}

template <class T>
py::tuple anneal(const Array<T>& weights, const Array<T>& visible_bias, const Array<T>& hidden_bias,
                     const Array<std::int64_t>& visible, const Array<std::int64_t>& hidden, const Array<double>& base,
                     const Array<double>& betas, const py::object& start, const py::object& exposure, std::uint64_t seed,
                     std::int64_t n_runs, const py::object& progress, const std::string& device) {
    const UnitRbm<T> model = model_of(weights, visible_bias, hidden_bias, visible, hidden);
    require(n_runs >= 1, "log_partition: n_runs=", n_runs, ", at least 1 is needed");
    Array<double> out(static_cast<py::ssize_t>(n_runs));
    Array<T> drawn = new_matrix<T>(n_runs, model.weights.rows);
    const Matrix<T> v = mutable_matrix(drawn);
    double* values = out.mutable_data();
    const double* base_view = vector(base, model.weights.rows);
    UnitData<T> data;
    const Device where = device_of(device);
    if (!start.is_none()) data.states = start.cast<const PyStates&>().view<T>(where);
    data.exposure = numbers_or_null<T>(exposure, n_runs);
    {
        py::gil_scoped_release release;
        InterruptibleContext context(progress, 0, where);
        rbm_anneal<T>(context, model, base_view, betas.data(), betas.size(), data, seed, n_runs, values, v);
    }
    return py::make_tuple(out, drawn);
}

template <class T>
py::tuple temper(const Array<T>& weights, const Array<T>& visible_bias, const Array<T>& hidden_bias,
                 const Array<std::int64_t>& visible, const Array<std::int64_t>& hidden, const Array<T>& base,
                 std::int64_t n_samples, std::int64_t n_temperatures, std::int64_t n_steps, std::uint64_t seed,
                 const py::object& progress, const std::string& device) {
    const UnitRbm<T> model = model_of(weights, visible_bias, hidden_bias, visible, hidden);
    Array<T> drawn = new_matrix<T>(n_samples, model.weights.rows);
    Array<double> swaps(static_cast<py::ssize_t>(n_temperatures - 1));
    const Matrix<T> v = mutable_matrix(drawn);
    const T* base_view = vector(base, model.weights.rows);
    double* rates = swaps.mutable_data();
    const Device where = device_of(device);
    {
        py::gil_scoped_release release;
        InterruptibleContext context(progress, 0, where);
        rbm_temper<T>(context, model, base_view, n_temperatures, n_steps, seed, v, rates);
    }
    return py::make_tuple(drawn, swaps);
}

template <class T>
void bind_typed(py::module_& m) {
    const auto exactly = [](const char* name) { return py::arg(name).noconvert(); };
    const auto weights = exactly("weights"), visible_bias = exactly("visible_bias"), hidden_bias = exactly("hidden_bias");
    const auto visible = exactly("visible"), hidden = exactly("hidden");
    const auto exposure = py::arg("exposure");
    const auto device = py::arg("device") = "cpu";
    m.def("unit_probability", &probability<T>, weights, visible_bias, hidden_bias, visible, hidden, py::arg("given"), exposure,
          py::arg("of_visible"), device);
    m.def("unit_gibbs", &gibbs<T>, weights, visible_bias, hidden_bias, visible, hidden, py::arg("start"), exposure,
          py::arg("from_hidden"), py::arg("n_steps"), py::arg("seed"), py::arg("mask"), py::arg("values"), py::arg("progress"),
          device);
    m.def("unit_free_energy", &score<T, &rbm_free_energy<T>>, weights, visible_bias, hidden_bias, visible, hidden,
          py::arg("v"), exposure, device);
    m.def("unit_pseudo_log_likelihood", &score<T, &rbm_pseudo_log_likelihood<T>>, weights, visible_bias, hidden_bias, visible,
          hidden, py::arg("v"), exposure, device);
    m.def("unit_enumerate", &enumerate<T>, weights, visible_bias, hidden_bias, visible, hidden, py::arg("of_hidden"),
          py::arg("first"), py::arg("count"), py::arg("progress"), device);
    m.def("unit_anneal", &anneal<T>, weights, visible_bias, hidden_bias, visible, hidden, exactly("base"), exactly("betas"),
          py::arg("start"), exposure, py::arg("seed"), py::arg("n_runs"), py::arg("progress"), device);
    m.def("unit_temper", &temper<T>, weights, visible_bias, hidden_bias, visible, hidden, exactly("base"), py::arg("n_samples"),
          py::arg("n_temperatures"), py::arg("n_steps"), py::arg("seed"), py::arg("progress"), device);
}

}  // namespace

void bind_units(py::module_& m) {
    bind_typed<float>(m);
    bind_typed<double>(m);
    m.def("unit_train", [](const PyStates& x, const py::object& sample_weight, const py::object& observed,
                           const Array<std::int64_t>& visible, const Array<std::int64_t>& hidden, const py::dict& arrays,
                           const py::dict& settings, const Array<std::int64_t>& counters, const Array<double>& travelled,
                           const Array<double>& quantities, const py::function& on_epoch, const std::string& device) {
        const bool single = py::isinstance<Array<float>>(arrays["weights"]);
        (single ? train<float> : train<double>)(x, sample_weight, observed, visible, hidden, arrays, settings, counters, travelled,
                                                quantities, on_epoch, device);
    }, py::arg("x"), py::arg("sample_weight"), py::arg("observed"), py::arg("visible").noconvert(), py::arg("hidden").noconvert(),
          py::arg("arrays"), py::arg("settings"), py::arg("counters").noconvert(), py::arg("travelled").noconvert(),
          py::arg("quantities").noconvert(), py::arg("on_epoch"), py::arg("device") = "cpu");
    m.def("unit_count_states", [](const Array<std::int64_t>& groups) { return count_states(layer_of(groups)); }, py::arg("groups"));
}

}  // namespace harmonium_python
