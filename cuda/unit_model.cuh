// Chains of a fitted RBM with units of any type on a GPU: the states of both layers, one given the other.
#pragma once

#include "rbm_chains.cuh"
#include "unit_layer.cuh"
#include "unit_rbm.cuh"
#include "unit_rows.cuh"

namespace harmonium::cuda {

template <class T>
class UnitModel {
public:
    UnitModel(Context& context, const UnitRbm<T>& model)
        : product_(context, Rbm<T>{model.weights, model.visible_bias, model.hidden_bias}), visible_(product_.state, model.visible),
          hidden_(product_.state, model.hidden) {}

    State& state() const { return product_.state; }
    std::int64_t units(bool of_visible) const { return product_.units(of_visible); }
    const T* bias(bool of_visible) const { return product_.bias(of_visible); }
    Matrix<T> weights() const { return product_.weights(); }
    const LayerView& layer(bool of_visible) const { return (of_visible ? visible_ : hidden_).view(); }

    // A layer's activations without its biases.
    void activate(const LayerRows<T>& given, bool of_visible, Matrix<T> out) const { product_.activate(given, of_visible, out); }

private:
    DeviceModel<T> product_;
    DeviceLayer visible_, hidden_;
};

template <class T>
class UnitChains {
public:
    using Number = T;
    using Draw = UnitDraw<T>;

    UnitChains(const UnitModel<T>& model, std::int64_t n)
        : model_(model), n_(n), activation_(count(n * std::max(model.units(true), model.units(false)))), visible_(count(n * model.units(true))),
          hidden_(count(n * model.units(false))) {}
    // On the device, of one chain.
    static std::int64_t bytes(const UnitModel<T>& model) {
        const std::int64_t visible = model.units(true), hidden = model.units(false);
        return static_cast<std::int64_t>(sizeof(T)) * (visible + hidden + std::max(visible, hidden));
    }

    const UnitModel<T>& model() const { return model_; }
    std::int64_t size() const { return n_; }
    Matrix<T> states(bool of_visible) const { return {(of_visible ? visible_ : hidden_).data(), n_, model_.units(of_visible)}; }
    // Of whichever layer was the last.
    Matrix<T> activation(bool of_visible) const { return {activation_.data(), n_, model_.units(of_visible)}; }
    State& state() const { return model_.state(); }

    // From the other layer's states.
    void activate(bool of_visible) const { model_.activate({{}, states(!of_visible)}, of_visible, activation(of_visible)); }
    void draw(bool of_visible, Draw draw) const {
        draw.states = states(of_visible);
        if (of_visible) draw.mask = mask_, draw.values = values_;
        units(of_visible, draw);
    }
    // As activations of nothing.
    void forget(bool of_visible) const {
        CUDA_CHECK(cudaMemsetAsync(activation_.data(), 0, count(n_ * model_.units(of_visible)) * sizeof(T), state().stream));
    }

    // See UnitDraw; of the host.
    void expose(const T* exposure) { exposure_ = on_the_device(state(), exposure, n_); }
    // Visible units where mask is set are never anything but values. Of the host.
    void clamp(ConstBitMatrix mask, Matrix<const T> values) {
        words_ = DeviceBuffer<std::uint64_t>(count(n_ * mask.words()));
        clamped_ = DeviceBuffer<T>(count(n_ * mask.cols));
        const BitMatrix masks(words_.data(), n_, mask.cols);
        const Matrix<T> there(clamped_.data(), n_, mask.cols);
        copy_bits(state(), mask, masks);
        copy_rows(state(), values, there);
        mask_ = masks, values_ = there;
    }
    void start_at(Context& context, const States<T>& from) const {
        const std::int64_t piece = rows_at_a_time(n_, static_cast<std::int64_t>(sizeof(T)) * 2 * model_.units(true));
        over_rows(context, from, piece, [&](const LayerRows<T>& given, std::int64_t at) {
            numbers_of(state(), given, states(true).rows_from(at, std::min(piece, n_ - at)));
        });
    }

    // As Chains have it.
    void weigh(const Anneal<T>& anneal, Draw hidden) const {
        double *log_now = anneal.logs + n_, *log_before = log_now + n_;
        Draw before;
        before.bias = anneal.hidden_before;
        before.scale_now = &anneal.now->scale_before;
        before.log_normaliser = log_before;
        units(false, before);
        hidden.log_normaliser = log_now;
        draw(false, hidden);
        RowTerms<T> terms;
        terms.x.numbers = states(true);
        terms.rows = n_, terms.units = model_.units(true);
        terms.slope = anneal.slope;
        terms.share = &anneal.now->difference;
        terms.plus = log_now, terms.minus = log_before;
        terms.add = true;
        terms.out = anneal.logs;
        row_terms(state(), terms);
    }

private:
    // What draw asks for given this layer's activations.
    void units(bool of_visible, Draw draw) const {
        draw.activation = activation(of_visible);
        draw.exposure = exposure_.data();
        draw_units(state(), model_.layer(of_visible), draw);
    }
    static std::size_t count(std::int64_t n) { return static_cast<std::size_t>(n); }

    const UnitModel<T>& model_;
    std::int64_t n_;
    DeviceBuffer<T> activation_, visible_, hidden_, exposure_, clamped_;
    DeviceBuffer<std::uint64_t> words_;
    ConstBitMatrix mask_;
    Matrix<const T> values_;
};

}  // namespace harmonium::cuda
