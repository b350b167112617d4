// Training by enumeration: the model's side of the gradient from all states of a layer, see ModelPhase of unit_model_phase.hpp.
#pragma once

#include "enumerate.cuh"
#include "gemm.cuh"
#include "unit_rows.cuh"
#include "unit_step.cuh"

namespace harmonium::cuda {

// What the model's rows count: each its state's probability times what the data do; of bags of words, summed over theirs.
// logs: of what every state weighs, of a bag for one word. totals: scratch, batch_size + 1.
template <class T>
void weigh_states(State& state, const UnitStep<T>& s, const double* logs, double* totals);

// A state for each of m rows by its inverse distribution function, of a bag with sizes[i] words; null: 1.
template <class T>
void choose_states(State& state, const double* logs, std::int64_t states, const T* sizes, const Draw& draw, std::int64_t m,
                   std::int64_t* which);

template <class T>
class ExactPhase {
public:
    ExactPhase(Context& context, bool by_hidden, std::int64_t n_states, const LayerView& visible, const LayerView& hidden,
               std::int64_t batch_size, std::int64_t chains)
        : states(n_states), context_(context), state_(use(context)), by_hidden_(by_hidden), visible_(visible), hidden_(hidden),
          logs_(size(states)), totals_(size(batch_size + 1)), which_(size(chains)), chosen_(size(by_hidden_ ? 0 : chains * visible.units)),
          activation_(size(by_hidden_ ? 0 : chains * hidden.units)) {}

    const std::int64_t states;

    // The model's rows of a step.
    void run(const UnitStep<T>& s) const {
        const StepView<T>& p = s.step;
        weigh(s, p.weights, p.visible_bias, p.hidden_bias);
        weigh_states(state_, s, logs_.data(), totals_.data());
    }

    // Hidden states from the model that the caller gets; the rows of s are as good as scratch.
    void draw_chains(const UnitStep<T>& s, const Draw& draw, const T* sizes, Matrix<T> chains) const {
        const StepView<T>& p = s.step;
        const bool mean = static_cast<bool>(p.mean_weights);
        const Matrix<T> weights = mean ? p.mean_weights : p.weights;
        const T* hidden_bias = mean ? p.mean_hidden_bias : p.hidden_bias;
        weigh(s, weights, mean ? p.mean_visible_bias : p.visible_bias, hidden_bias);
        choose_states(state_, logs_.data(), states, sizes, draw, chains.rows, which_.data());
        const Matrix<T> chosen = by_hidden_ ? chains : Matrix<T>(chosen_.data(), chains.rows, visible_.units);
        chosen_states(state_, by_hidden_ ? hidden_ : visible_, which_.data(), chosen);
        if (by_hidden_) return;
        const Matrix<T> activation(activation_.data(), chains.rows, hidden_.units);
        gemm<T>(context_, T(1), chosen, false, weights, false, T(0), activation);
        UnitDraw<T> up;
        up.activation = activation;
        up.bias = hidden_bias;
        up.draw = draw;
        up.first_row = static_cast<std::uint32_t>(chains.rows);
        up.states = chains;
        draw_units(state_, hidden_, up);
    }

private:
    static std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

    // States of both layers, the other's being means, and the logs.
    void weigh(const UnitStep<T>& s, Matrix<T> weights, const T* visible_bias, const T* hidden_bias) const {
        const Matrix<T> v = s.states.rows_from(s.step.n, states), h = s.probability.rows_from(s.step.n, states);
        const Matrix<T> all = by_hidden_ ? h : v, others = by_hidden_ ? v : h;
        enumerate_states(state_, by_hidden_ ? hidden_ : visible_, 0, all);
        gemm<T>(context_, T(1), all, false, weights, by_hidden_, T(0), others);
        UnitDraw<T> other;
        other.activation = other.mean = others;
        other.bias = by_hidden_ ? visible_bias : hidden_bias;
        other.log_normaliser = logs_.data();
        draw_units(state_, by_hidden_ ? visible_ : hidden_, other);
        RowTerms<T> own;
        own.x.numbers = all;
        own.rows = states, own.units = all.cols;
        own.bias = by_hidden_ ? hidden_bias : visible_bias;
        own.add = true;
        own.out = logs_.data();
        row_terms(state_, own);
    }

    Context& context_;
    State& state_;
    bool by_hidden_;
    LayerView visible_, hidden_;
    DeviceBuffer<double> logs_, totals_;
    DeviceBuffer<std::int64_t> which_;
    DeviceBuffer<T> chosen_, activation_;  // where visible states are enumerated
};

}  // namespace harmonium::cuda
