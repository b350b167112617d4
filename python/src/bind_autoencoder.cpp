#include <string>
#include <utility>

#include "autoencoder_words.hpp"
#include "harmonium/autoencoder.hpp"
#include "py_states.hpp"

namespace harmonium_python {

namespace {

AutoencoderModel model_of(const std::vector<std::int64_t>& encoder, const std::vector<std::int64_t>& decoder,
                          const std::string& activation, const std::string& code_activation, bool tied, const Groups& groups) {
    return autoencoder_model(encoder, decoder, activation_of(activation), activation_of(code_activation), tied, outputs_of(groups));
}

struct Settings {
    AutoencoderOptions options;
    Array<double> low, high;  // kept alive

    explicit Settings(const py::dict& given) {
        const auto number = [&](const char* name) { return given[name].cast<double>(); };
        const auto whole = [&](const char* name) { return given[name].cast<std::int64_t>(); };
        options.corruption = corruption_of(given["corruption"].cast<std::string>());
        options.corruption_level = number("corruption_level");
        low = given["low"].cast<Array<double>>();
        high = given["high"].cast<Array<double>>();
        options.low = low.data();
        options.high = high.data();
        options.dropout = number("dropout");
        options.contraction = number("contraction");
        options.weight_decay = number("weight_decay");
        options.update.rule = rule_of(given["rule"].cast<std::string>());
        options.update.rate = number("learning_rate_init");
        options.update.momentum = number("momentum");
        options.update.beta_1 = number("beta_1");
        options.update.beta_2 = number("beta_2");
        options.update.epsilon = number("epsilon");
        options.schedule = named<RateSchedule>("learning_rate", given["learning_rate"].cast<std::string>(),
                                               {{"constant", RateSchedule::constant}, {"adaptive", RateSchedule::constant},
                                                {"invscaling", RateSchedule::inverse_scaling}, {"linear", RateSchedule::linear},
                                                {"exponential", RateSchedule::exponential}});
        options.power = number("power_t");
        options.schedule_epochs = whole("schedule_epochs");
        options.batch_size = whole("batch_size");
        options.shuffle = given["shuffle"].cast<bool>();
        options.seed = given["seed"].cast<std::uint64_t>();
    }

    void check_limits(std::int64_t columns) const {
        require(low.size() == columns && high.size() == columns, "limits of ", low.size(), " and ", high.size(), " columns, the model has ", columns);
    }
};

// counters: steps, epochs, kept_since. rate_factor: one value, which on_epoch may change. quantities: a row (loss, validation loss, rate)
// for each epoch. They are written with each epoch that training commits, before Python runs.
template <class T>
void train(const AutoencoderModel& model, const PyStates& x, const py::object& validation, Array<T> theta, Array<T> kept,
           Array<std::int64_t> counters, Array<double> rate_factor, Array<double> quantities, const py::dict& settings,
           const py::function& on_epoch, const std::string& device) {
    const Device where = device_of(device);
    const Settings own(settings);
    own.check_limits(model.visible());
    AutoencoderState<T> state;
    state.theta = mutable_vector(theta, model.n_parameters);
    state.kept = mutable_vector(kept, kept_by(own.options.update.rule) * model.n_parameters);
    std::int64_t* counted = mutable_vector(counters, 3);
    const double* factor = vector(rate_factor, 1);
    state.steps = static_cast<std::uint64_t>(counted[0]);
    state.epochs = static_cast<std::uint64_t>(counted[1]);
    state.kept_since = static_cast<std::uint64_t>(counted[2]);
    state.rate_factor = *factor;
    const Matrix<double> recorded = mutable_matrix(quantities);
    require(recorded.cols == 3, "quantities of ", recorded.cols, " columns where 3 are needed");
    const States<T> rows = x.view<T>(where);
    PyStates held;
    if (!validation.is_none()) held = validation.cast<PyStates>();
    const States<T> held_out = validation.is_none() ? States<T>(Matrix<const T>(nullptr, 0, model.visible())) : held.view<T>(where);
    std::int64_t row = 0;
    py::gil_scoped_release release;
    InterruptibleContext context(py::none(), 0, where);
    autoencoder_train<T>(context, model, rows, held_out, own.options, recorded.rows, state, [&](const AutoencoderEpoch& epoch) {
        counted[0] = static_cast<std::int64_t>(state.steps);
        counted[1] = static_cast<std::int64_t>(state.epochs);
        const double values[] = {epoch.loss, epoch.validation_loss, epoch.rate};
        std::copy(values, values + 3, recorded.row(row++));
        py::gil_scoped_acquire gil;
        const bool stop = on_epoch().template cast<bool>();
        state.rate_factor = *factor;
        return stop;
    });
}

template <class T>
double loss(const AutoencoderModel& model, const PyStates& x, const Array<T>& theta, const py::object& gradient, const py::dict& settings,
            const std::string& device) {
    const Device where = device_of(device);
    const Settings own(settings);
    own.check_limits(model.visible());
    const T* parameters = vector(theta, model.n_parameters);
    Array<T> into;
    if (!gradient.is_none()) into = py::reinterpret_borrow<Array<T>>(gradient);
    T* out = gradient.is_none() ? nullptr : mutable_vector(into, model.n_parameters);
    const States<T> rows = x.view<T>(where);
    py::gil_scoped_release release;
    InterruptibleContext context(py::none(), 0, where);
    return autoencoder_loss<T>(context, model, rows, own.options, parameters, out);
}

// Where x is: NumPy's, or x's library's on its GPU.
template <class T, void (*Function)(Context&, const AutoencoderModel&, const T*, const States<T>&, Matrix<T>)>
AnyArray<T> mapped(const AutoencoderModel& model, const Array<T>& theta, const PyStates& x, std::int64_t columns, const std::string& device) {
    const Device where = device_of(device);
    const T* parameters = vector(theta, model.n_parameters);
    const Given given = x.array();
    const AnyArray<T> out = (given.on_gpu ? Place("autoencoder", {{"x", &given}}) : Place(Device())).template empty<T>({x.rows, columns});
    const Matrix<T> view = out.matrix();
    const States<T> rows = x.view<T>(where);
    py::gil_scoped_release release;
    InterruptibleContext context(py::none(), 0, where);
    Function(context, model, parameters, rows, view);
    return out;
}

template <class T, void (*Function)(Context&, const AutoencoderModel&, const T*, const States<T>&, double*)>
Array<double> per_row(const AutoencoderModel& model, const Array<T>& theta, const PyStates& x, const std::string& device) {
    const Device where = device_of(device);
    const T* parameters = vector(theta, model.n_parameters);
    Array<double> out(static_cast<py::ssize_t>(x.rows));
    double* values = out.mutable_data();
    const States<T> rows = x.view<T>(where);
    py::gil_scoped_release release;
    InterruptibleContext context(py::none(), 0, where);
    Function(context, model, parameters, rows, values);
    return out;
}

template <class T>
void bind_typed(py::module_& m) {
    const auto exactly = [](const char* name) { return py::arg(name).noconvert(); };
    const auto model = py::arg("model"), x = py::arg("x");
    const auto device = py::arg("device") = "cpu";
    m.def("autoencoder_train", &train<T>, model, x, py::arg("validation").none(true), exactly("theta"), exactly("kept"), exactly("counters"),
          exactly("rate_factor"), exactly("quantities"), py::arg("settings"), py::arg("on_epoch"), device);
    m.def("autoencoder_loss", &loss<T>, model, x, exactly("theta"), py::arg("gradient").none(true), py::arg("settings"), device);
    m.def("autoencoder_encode", [](const AutoencoderModel& a, const Array<T>& theta, const PyStates& rows, const std::string& where) {
        return mapped<T, &autoencoder_encode<T>>(a, theta, rows, a.code(), where);
    }, model, exactly("theta"), x, device);
    m.def("autoencoder_decode", [](const AutoencoderModel& a, const Array<T>& theta, const PyStates& rows, const std::string& where) {
        return mapped<T, &autoencoder_decode<T>>(a, theta, rows, a.visible(), where);
    }, model, exactly("theta"), x, device);
    m.def("autoencoder_score", &per_row<T, &autoencoder_score<T>>, model, exactly("theta"), x, device);
    m.def("autoencoder_jacobian", &per_row<T, &autoencoder_jacobian<T>>, model, exactly("theta"), x, device);
}

}  // namespace

void bind_autoencoder(py::module_& m) {
    py::class_<AutoencoderModel>(m, "AutoencoderModel", "The layers of an autoencoder, and where their parameters stand.")
        .def(py::init(&model_of), py::arg("encoder"), py::arg("decoder"), py::arg("activation"), py::arg("code_activation"), py::arg("tied"), py::arg("groups"))
        .def_readonly("n_parameters", &AutoencoderModel::n_parameters)
        // Of each layer: inputs, outputs, where its weights and its bias begin, whether they are the encoder's transposed.
        .def_property_readonly("layers", [](const AutoencoderModel& a) {
            py::list rows;
            for (const auto& l : a.layers) rows.append(py::make_tuple(l.inputs, l.outputs, l.weights, l.bias, l.transposed));
            return rows;
        });
    bind_typed<float>(m);
    bind_typed<double>(m);
}

}  // namespace harmonium_python
