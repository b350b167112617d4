#include <string>

#include "harmonium/bernoulli.hpp"
#include "harmonium/binary_gemm.hpp"
#include "harmonium/device_memory.hpp"
#include "harmonium/device_rows.hpp"
#include "harmonium/gemm.hpp"
#include "harmonium/elementwise.hpp"
#include "harmonium/pack.hpp"
#include "harmonium/random.hpp"
#include "harmonium/rbm_step.hpp"
#include "py_states.hpp"

namespace harmonium_python {

namespace {

// Packs rows of any strides into out; false where a value lies strictly between 0 and 1, out is then not whole.
// Refuses what is not in [0, 1] if check is set, naming its row counted from first_row.
template <class T>
bool pack(const py::array_t<T>& x, Words& out, const std::string& who, bool check, std::int64_t first_row) {
    require(x.ndim() == 2, "pack: ", x.ndim(), " dimensions");
    const auto size = static_cast<py::ssize_t>(sizeof(T));
    require(x.strides(0) % size == 0 && x.strides(1) % size == 0, "pack: strides that are no multiple of an element");
    const BitMatrix to = mutable_bits(out, x.shape(1));
    const std::int64_t row_stride = x.strides(0) / size, col_stride = x.strides(1) / size;
    const T* data = x.data();
    py::gil_scoped_release release;
    return pack_states(who.c_str(), data, row_stride, col_stride, check, first_row, to) == Content::binary;
}

template <class T>
AnyArray<T> py_gemm(const AnyArray<T>& a, bool transpose_a, const AnyArray<T>& b, bool transpose_b) {
    const Place place("gemm", {{"A", &a}, {"B", &b}});
    const Matrix<const T> a_view = a.matrix(), b_view = b.matrix();
    const AnyArray<T> c = place.empty<T>({transpose_a ? a_view.cols : a_view.rows, transpose_b ? b_view.rows : b_view.cols});
    place.compute([&](Context& context) { gemm<T>(context, T(1), a_view, transpose_a, b_view, transpose_b, T(0), c.matrix()); });
    return c;
}

// Sparse rows, which are the host's in Python, on a GPU.
template <class T>
class SparseOnGpu {
public:
    SparseOnGpu(int gpu, const SparseRows<T>& from)
        : indptr_(gpu, static_cast<std::size_t>(from.rows + 1) * sizeof(std::int64_t)), indices_(gpu, entries(from) * sizeof(std::int32_t)),
          values_(gpu, from.values ? entries(from) * sizeof(T) : 0) {
        indptr_.copy_from_host(from.indptr);
        indices_.copy_from_host(from.indices);
        values_.copy_from_host(from.values);
        view = {static_cast<const std::int64_t*>(indptr_.data()), static_cast<const std::int32_t*>(indices_.data()),
                static_cast<const T*>(values_.data()), from.rows, from.cols};
    }
    SparseRows<T> view;

private:
    static std::size_t entries(const SparseRows<T>& from) { return static_cast<std::size_t>(from.indptr[from.rows]); }
    DeviceMemory indptr_, indices_, values_;
};

template <class T>
AnyArray<T> py_binary_gemm(const PyStates& a, const AnyArray<T>& b, bool transpose_b) {
    const Given given = a.array();
    const Place place = a.kind == PyStates::sparse ? Place("binary_gemm", {{"B", &b}}) : Place("binary_gemm", {{"B", &b}, {"A", &given}});
    const Matrix<const T> b_view = b.matrix();
    const States<T> a_view = a.view<T>(place.device());
    const AnyArray<T> out = place.empty<T>({a.rows, transpose_b ? b_view.rows : b_view.cols});
    place.compute([&](Context& context) {
        if (a.kind != PyStates::sparse || !context.cuda()) return binary_gemm<T>(context, a_view, b_view, transpose_b, false, out.matrix());
        const SparseOnGpu<T> there(place.device().index, a_view.sparse);
        binary_gemm<T>(context, there.view, b_view, transpose_b, false, out.matrix());
        context.synchronize();
    });
    return out;
}

template <class T>
AnyArray<T> py_binary_gemm_tn(const PyStates& a, const AnyArray<T>& b) {
    require(a.kind == PyStates::packed, "binary_gemm_tn: A must be bits");
    const Place place("binary_gemm_tn", {{"B", &b}, {"A", &a.words}});
    const Matrix<const T> b_view = b.matrix();
    const AnyArray<T> out = place.empty<T>({a.cols, b_view.cols});
    const bool here = place.device().kind == Device::Kind::cpu;
    std::vector<std::uint64_t> transposed(here ? a.cols * BitMatrix::words_for(a.rows) : 0);
    place.compute([&](Context& context) {
        binary_gemm_tn<T>(context, a.words.bits(a.cols), b_view, false, out.matrix(), BitMatrix(transposed.data(), a.cols, a.rows));
    });
    return out;
}

template <class T>
py::tuple py_bernoulli(const AnyArray<T>& activation, const AnyArray<T>& bias, double scale, std::uint64_t seed,
                       std::uint32_t stream, std::uint64_t step, std::uint32_t first_row) {
    const Place place("bernoulli", {{"activation", &activation}, {"bias", &bias}});
    const Matrix<const T> a = activation.matrix();
    const T* bias_view = bias.vector(a.cols);
    const AnyArray<T> probability = place.empty<T>({a.rows, a.cols});
    const AnyArray<std::uint64_t> words = place.empty<std::uint64_t>({a.rows, BitMatrix::words_for(a.cols)});
    const Draw draw(seed, static_cast<Stream>(stream), step);
    place.compute([&](Context& context) {
        bernoulli<T>(context, a, bias_view, static_cast<T>(scale), draw, first_row, probability.matrix(), words.bits(a.cols));
    });
    return py::make_tuple(probability, words);
}

template <class T>
AnyArray<T> py_uniform(std::uint64_t seed, std::uint32_t stream, std::uint64_t step, std::int64_t rows, std::int64_t cols,
                       std::uint32_t first_row, const std::string& device) {
    const Place place(device_of(device));
    const AnyArray<T> out = place.empty<T>({rows, cols});
    place.compute([&](Context& context) { uniform<T>(context, Draw(seed, static_cast<Stream>(stream), step), first_row, out.matrix()); });
    return out;
}

template <class T>
Array<T> elementwise(const std::string& name, const Array<T>& x) {
    Array<T> out(std::vector<py::ssize_t>(x.shape(), x.shape() + x.ndim()));
    const T* from = x.data();
    T* to = out.mutable_data();
    const auto n = static_cast<std::int64_t>(x.size());
    if (name == "exp") exp_of(from, n, to);
    else if (name == "sigmoid") sigmoid_of(from, n, to);
    else if (name == "softplus") softplus_of(from, n, to);
    else require(false, "elementwise: no function named ", name);
    return out;
}

// rbm_step on plain arrays, all but the states changed in place. Returns the model's probabilities and draws.
template <class T>
py::tuple py_rbm_step(const PyStates& data, const Array<T>& data_probability, const Words& model,
                      const Array<T>& visible_difference, bool centred, const Array<T>& visible_offset,
                      Array<T> hidden_offset, double offset_rate, double learning_rate, double momentum,
                      double weight_decay, Array<T> weights, Array<T> visible_bias, Array<T> hidden_bias,
                      Array<T> weight_velocity, Array<T> visible_velocity, Array<T> hidden_velocity, std::uint64_t seed) {
    const Matrix<T> w = mutable_matrix(weights), velocity = mutable_matrix(weight_velocity);
    const std::int64_t visible = w.rows, hidden = w.cols, n = data.rows, m = model.shape(0);
    const Matrix<const T> given = matrix(data_probability);
    require(velocity.rows == visible && velocity.cols == hidden && given.rows == n && given.cols == hidden &&
                data.cols == visible && model.shape(1) == BitMatrix::words_for(visible),
            "rbm_step: weights ", visible, " x ", hidden, ", velocity ", velocity.rows, " x ", velocity.cols, ", ", n, " x ",
            data.cols, " data with probabilities ", given.rows, " x ", given.cols, ", ", model.shape(1), " words a row of the model");
    std::vector<T> w_memory(Panels<T>::size(visible, hidden)), v_memory(w_memory.size()), p_memory(Panels<T>::size(n + m, hidden));
    std::vector<T> all(static_cast<std::size_t>((n + m) * hidden));
    std::copy(given.data, given.data + n * hidden, all.begin());
    const States<T> x = data.view<T>();
    const std::int64_t bit_rows = x.is_bits() ? n + m : m, words = BitMatrix::words_for(visible);
    std::vector<std::uint64_t> stacked(static_cast<std::size_t>(bit_rows * words));
    if (x.is_bits()) std::copy(x.bits.data, x.bits.data + n * words, stacked.begin());
    std::copy(model.data(), model.data() + m * words, stacked.end() - m * words);
    std::vector<std::uint64_t> transposed(static_cast<std::size_t>(visible * BitMatrix::words_for(bit_rows)));
    std::vector<double> sums(static_cast<std::size_t>(rbm_step_sums(visible, hidden)));
    Words drawn = new_bits(m, hidden);
    Array<T> model_probability = new_matrix<T>(m, hidden);
    Context context;
    transpose_bits(context, BitMatrix(stacked.data(), bit_rows, visible), BitMatrix(transposed.data(), visible, bit_rows));
    RbmStep<T> s;
    s.weights = {w_memory.data(), visible, hidden};
    s.weight_velocity = {v_memory.data(), visible, hidden};
    s.probability = {p_memory.data(), n + m, hidden};
    to_panels<T>(w, s.weights);
    to_panels<T>(velocity, s.weight_velocity);
    to_panels<T>(Matrix<const T>(all.data(), n + m, hidden), s.probability);
    s.visible_bias = mutable_vector(visible_bias, visible);
    s.hidden_bias = mutable_vector(hidden_bias, hidden);
    s.visible_velocity = mutable_vector(visible_velocity, visible);
    s.hidden_velocity = mutable_vector(hidden_velocity, hidden);
    s.learning_rate = static_cast<T>(learning_rate);
    s.momentum = static_cast<T>(momentum);
    s.weight_decay = static_cast<T>(weight_decay);
    s.data_probability = s.probability.rows_from(0, n);
    s.model_probability = s.probability.rows_from(n, m);
    s.model = bits(model, visible);
    s.model_hidden = mutable_bits(drawn, hidden);
    s.draw = Draw(seed, Stream::hidden, 0);
    s.transposed = BitMatrix(transposed.data(), visible, bit_rows);
    s.dense = x.dense;
    s.visible_difference = vector(visible_difference, visible);
    s.centred = centred;
    s.visible_offset = vector(visible_offset, visible);
    s.hidden_offset = mutable_vector(hidden_offset, hidden);
    s.offset_rate = static_cast<T>(offset_rate);
    s.sums = sums.data();
    rbm_step(context, s);
    from_panels<T>(s.weights, w);
    from_panels<T>(s.weight_velocity, velocity);
    from_panels<T>(s.probability.rows_from(n, m), mutable_matrix(model_probability));
    return py::make_tuple(model_probability, drawn);
}

template <class T>
void bind_typed(py::module_& m) {
    const auto exactly = [](const char* name) { return py::arg(name).noconvert(); };
    m.def("gemm", &py_gemm<T>, py::arg("a"), py::arg("transpose_a"), py::arg("b"), py::arg("transpose_b"));
    m.def("binary_gemm", &py_binary_gemm<T>, py::arg("a"), exactly("b"), py::arg("transpose_b"));
    m.def("binary_gemm_tn", &py_binary_gemm_tn<T>, py::arg("a"), exactly("b"));
    m.def("bernoulli", &py_bernoulli<T>, py::arg("activation"), py::arg("bias"), py::arg("scale"), py::arg("seed"),
          py::arg("stream"), py::arg("step"), py::arg("first_row"));
    m.def("elementwise", &elementwise<T>, py::arg("name"), exactly("x"));
    m.def("rbm_step", &py_rbm_step<T>, py::arg("data"), exactly("data_probability"), exactly("model"),
          exactly("visible_difference"), py::arg("centred"), exactly("visible_offset"), exactly("hidden_offset"),
          py::arg("offset_rate"), py::arg("learning_rate"), py::arg("momentum"), py::arg("weight_decay"),
          exactly("weights"), exactly("visible_bias"), exactly("hidden_bias"), exactly("weight_velocity"),
          exactly("visible_velocity"), exactly("hidden_velocity"), py::arg("seed"));
}

template <class T>
void bind_pack(py::module_& m) {
    m.def("pack", &pack<T>, py::arg("x").noconvert(), py::arg("out").noconvert(), py::arg("who"), py::arg("check"),
          py::arg("first_row"));
}

// What an array on a GPU holds: (least, greatest, mean) of every column, and whether all is 0 or 1.
template <class T>
py::tuple py_summarise_columns(const AnyArray<T>& x) {
    const Place place("summarise_columns", {{"x", &x}});
    const Matrix<const T> rows = x.matrix();
    ColumnSummary found;
    place.compute([&](Context& context) { found = summarise_columns<T>(context, rows); });
    const auto array = [](const std::vector<double>& values) { return Array<double>(static_cast<py::ssize_t>(values.size()), values.data()); };
    return py::make_tuple(array(found.least), array(found.greatest), array(found.mean), found.binary);
}

template <class T>
AnyArray<std::uint64_t> py_pack_rows(const AnyArray<T>& x) {
    const Place place("pack_rows", {{"x", &x}});
    const Matrix<const T> rows = x.matrix();
    const AnyArray<std::uint64_t> words = place.empty<std::uint64_t>({rows.rows, BitMatrix::words_for(rows.cols)});
    place.compute([&](Context& context) { pack_rows<T>(context, rows, words.bits(rows.cols)); });
    return words;
}

AnyArray<float> py_unpack_rows(const AnyArray<std::uint64_t>& words, std::int64_t cols) {
    const Place place("unpack_rows", {{"words", &words}});
    const ConstBitMatrix rows = words.bits(cols);
    const AnyArray<float> out = place.empty<float>({rows.rows, cols});
    place.compute([&](Context& context) { unpack_rows<float>(context, rows, out.matrix()); });
    return out;
}

template <class T>
AnyArray<T> py_take_rows(const AnyArray<T>& x, const Array<std::int64_t>& order) {
    const Place place("take_rows", {{"x", &x}});
    const Matrix<const T> rows = x.matrix();
    const std::int64_t* first = order.data();
    for (py::ssize_t i = 0; i < order.size(); ++i) {
        require(first[i] >= 0 && first[i] < rows.rows, "take_rows: row ", first[i], " of ", rows.rows);
    }
    const AnyArray<T> out = place.empty<T>({order.size(), rows.cols});
    place.compute([&](Context& context) { take_rows<T>(context, rows, first, out.matrix()); });
    return out;
}

// As numbers, whatever the form.
Array<double> dense_states(const PyStates& s) {
    Array<double> out = new_matrix<double>(s.rows, s.cols);
    const Matrix<double> to = mutable_matrix(out);
    if (s.kind == PyStates::packed) {
        unpack_bits<double>(s.view<double>().bits, to);
        return out;
    }
    const auto fill = [&](auto zero) {
        using T = decltype(zero);
        const States<T> x = s.view<T>();
        for (std::int64_t i = 0; i < s.rows; ++i) {
            std::fill(to.row(i), to.row(i) + s.cols, 0.0);
            for (std::int64_t j = 0; x.dense && j < s.cols; ++j) to.row(i)[j] = static_cast<double>(x.dense.row(i)[j]);
            for (std::int64_t k = x.is_sparse() ? x.sparse.indptr[i] : 0; x.is_sparse() && k < x.sparse.indptr[i + 1]; ++k) {
                to.row(i)[x.sparse.indices[k]] = x.sparse.values ? static_cast<double>(x.sparse.values[k]) : 1.0;
            }
        }
    };
    if (py::isinstance<Array<float>>(s.values)) fill(0.0f);
    else fill(0.0);
    return out;
}

}  // namespace

void bind_ops(py::module_& m) {
    py::class_<PyStates>(m, "States", "States of a layer: bits, sparse rows or numbers.")
        .def_static("from_bits",
                    [](AnyArray<std::uint64_t> words, std::int64_t cols) {
                        PyStates s;
                        s.kind = PyStates::packed, s.rows = words.bits(cols).rows, s.cols = cols, s.words = std::move(words);
                        return s;
                    },
                    py::arg("words").noconvert(), py::arg("cols"))
        .def_static("from_sparse",
                    [](Array<std::int64_t> indptr, Array<std::int32_t> indices, py::object values, std::int64_t cols) {
                        PyStates s;
                        s.kind = PyStates::sparse, s.rows = indptr.size() - 1, s.cols = cols;
                        s.indptr = std::move(indptr), s.indices = std::move(indices), s.values = std::move(values);
                        return s;
                    },
                    py::arg("indptr").noconvert(), py::arg("indices").noconvert(), py::arg("values"), py::arg("cols"))
        .def_static("from_dense",
                    [](py::object x) {
                        const auto shape = x.attr("shape").cast<std::vector<std::int64_t>>();
                        require(shape.size() == 2, "an array of ", shape.size(), " dimensions where 2 are needed");
                        PyStates s;
                        s.kind = PyStates::dense, s.rows = shape[0], s.cols = shape[1], s.values = std::move(x);
                        return s;
                    },
                    py::arg("x"))
        .def("is_dense", [](const PyStates& s) { return s.kind == PyStates::dense || !s.values.is_none(); })
        .def("is_bits", [](const PyStates& s) { return s.kind == PyStates::packed; })
        .def("words", [](const PyStates& s) { return s.words.object; })
        .def("dense", &dense_states)
        .def_property_readonly("gpu", [](const PyStates& s) {
            const Given array = s.array();
            return array.on_gpu ? std::max(array.gpu, 0) : -1;
        }, "In whose memory they are; -1: the host's.")
        .def_readonly("rows", &PyStates::rows)
        .def_readonly("cols", &PyStates::cols);
    m.def("summarise_columns", &py_summarise_columns<std::uint8_t>, py::arg("x"));
    m.def("summarise_columns", &py_summarise_columns<float>, py::arg("x"));
    m.def("summarise_columns", &py_summarise_columns<double>, py::arg("x"));
    m.def("pack_rows", &py_pack_rows<std::uint8_t>, py::arg("x"));
    m.def("pack_rows", &py_pack_rows<float>, py::arg("x"));
    m.def("pack_rows", &py_pack_rows<double>, py::arg("x"));
    m.def("unpack_rows", &py_unpack_rows, py::arg("words"), py::arg("cols"));
    m.def("take_rows", &py_take_rows<float>, py::arg("x"), py::arg("order").noconvert());
    m.def("take_rows", &py_take_rows<double>, py::arg("x"), py::arg("order").noconvert());
    bind_pack<std::uint8_t>(m);
    bind_pack<float>(m);
    bind_pack<double>(m);
    m.def("unpack", [](const Words& words, std::int64_t cols) {
        Array<float> out = new_matrix<float>(words.shape(0), cols);
        unpack_bits<float>(bits(words, cols), mutable_matrix(out));
        return out;
    }, py::arg("words").noconvert(), py::arg("cols"));
    m.def("transpose_bits", [](const Words& words, std::int64_t cols) {
        Words out = new_bits(cols, words.shape(0));
        Context context;
        transpose_bits(context, bits(words, cols), mutable_bits(out, words.shape(0)));
        return out;
    }, py::arg("words").noconvert(), py::arg("cols"));
    m.def("philox", [](std::array<std::uint32_t, 4> c, std::array<std::uint32_t, 2> k) {
        const Philox4 r = philox4x32_10(c[0], c[1], c[2], c[3], k[0], k[1]);
        return py::make_tuple(r.word[0], r.word[1], r.word[2], r.word[3]);
    }, py::arg("counter"), py::arg("key"));
    m.def("uniform_float32", &py_uniform<float>, py::arg("seed"), py::arg("stream"), py::arg("step"), py::arg("rows"),
          py::arg("cols"), py::arg("first_row"), py::arg("device") = "cpu");
    m.def("uniform_float64", &py_uniform<double>, py::arg("seed"), py::arg("stream"), py::arg("step"), py::arg("rows"),
          py::arg("cols"), py::arg("first_row"), py::arg("device") = "cpu");
    bind_typed<float>(m);
    bind_typed<double>(m);
}

}  // namespace harmonium_python
