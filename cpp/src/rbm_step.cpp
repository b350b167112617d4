#include "harmonium/rbm_step.hpp"

#include <algorithm>

#include "blas.hpp"
#include "cuda_state.hpp"
#include "dense_kernels.hpp"
#include "harmonium/error.hpp"
#include "layer_piece.hpp"
#include "rbm_step_kernels.hpp"

namespace harmonium {

namespace {

template <class T>
class PanelStep {
public:
    PanelStep(const RbmStep<T>& step, std::int64_t p, T* scratch, double* g_lambda)
        : s_(step), w_(Panels<const T>(step.weights), false), p_(p), scratch_(scratch), g_lambda_(g_lambda),
          valid_(step.weights.valid_cols(p)), m_(step.model.rows) {}

    // Returns the panel's sum of the data's mean probabilities.
    double run() {
        LayerOutput<T> of_model;
        of_model.probability = s_.model_probability;
        of_model.probability_scale = T(-1) / static_cast<T>(m_);
        of_model.bits = s_.model_hidden;
        of_model.draw = s_.draw;
        layer(s_.model, of_model);

        const double activity = hidden_means();
        update_weights();
        update_hidden_bias();

        if (s_.next.rows() > 0) {
            LayerOutput<T> of_next;
            of_next.probability = s_.next_probability;
            of_next.probability_scale = T(1) / static_cast<T>(s_.next.rows());
            of_next.bits = s_.next_hidden;
            of_next.draw = s_.next_draw;
            layer(s_.next, of_next);
        }
        return activity;
    }

private:
    void layer(const States<T>& v, const LayerOutput<T>& out) {
        for (std::int64_t first = 0; first < v.rows(); first += rows_per_task) {
            const std::int64_t count = std::min(rows_per_task, v.rows() - first);
            layer_piece(v, w_, static_cast<const T*>(s_.hidden_bias), T(1), out, p_, first, count, scratch_);
        }
    }

    double hidden_means() {
        T of_data[64];
        const auto& sums = dense_kernels<T>().column_sums;
        sums(s_.data_probability.panel(p_), false, of_data);
        sums(s_.probability.panel(p_), false, difference_);
        double activity = 0;
        for (std::int64_t j = 0; j < valid_; ++j) {
            T& offset = s_.hidden_offset[64 * p_ + j];
            offset += s_.offset_rate * (of_data[j] - offset);
            lambda_[j] = offset;
            activity += static_cast<double>(of_data[j]);
        }
        return activity;
    }

    void update_weights() {
        const std::int64_t visible = s_.weights.rows;
        const std::int64_t chunks = (visible + rows_per_task - 1) / rows_per_task;
        for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
            const std::int64_t first = visible * chunk / chunks, rows = visible * (chunk + 1) / chunks - first;
            UpdateBlock<T> b;
            b.gradient = {scratch_ + panel_product_scratch(w_), rows, s_.weights.panel_cols(p_)};
            accumulate(first, b.gradient);
            b.weights = s_.weights.panel(p_).rows_from(first, rows);
            if (s_.momentum != T(0)) b.velocity = s_.weight_velocity.panel(p_).rows_from(first, rows);
            b.learning_rate = s_.learning_rate;
            b.momentum = s_.momentum;
            b.weight_decay = s_.weight_decay;
            b.centred = s_.centred;
            b.visible_difference = s_.visible_difference + first;
            b.visible_offset = s_.visible_offset + first;
            b.hidden_difference = difference_;
            b.hidden_offset = lambda_;
            b.g_lambda = g_lambda_ + first;
            b.mu_g = mu_g_;
            rbm_step_kernels<T>().update(b);
        }
    }

    // Rows [first, first + block.rows) of the uncentred gradient.
    void accumulate(std::int64_t first, Matrix<T> block) {
        const bool all_bits = s_.transposed.cols == s_.probability.rows;
        const Panels<const T> of_bits = all_bits ? s_.probability : s_.model_probability;
        binary_gemm_kernels<T>().multiply(s_.transposed.rows_from(first, block.rows), of_bits.panel(p_), false, block,
                                          scratch_);
        if (!all_bits) {
            const Matrix<const T> x(s_.dense.data + first, s_.dense.rows, block.rows, s_.dense.stride);
            const Panels<const T> of_data = s_.data_probability;
            blas_gemm(T(1), x, true, of_data.panel(p_), false, T(1), block);
        }
    }

    void update_hidden_bias() {
        for (std::int64_t j = 0; j < valid_; ++j) {
            T move = difference_[j] - mu_g_[j];
            if (s_.momentum != T(0)) {
                T& velocity = s_.hidden_velocity[64 * p_ + j];
                move = velocity = s_.momentum * velocity + move;
            }
            s_.hidden_bias[64 * p_ + j] += s_.learning_rate * move;
        }
    }

    const RbmStep<T>& s_;
    const Factor<T> w_;
    std::int64_t p_;
    T* scratch_;
    double* g_lambda_;
    std::int64_t valid_, m_;
    alignas(64) T difference_[64] = {}, lambda_[64] = {}, mu_g_[64] = {};
};

}  // namespace

std::int64_t rbm_step_sums(std::int64_t visible, std::int64_t hidden) { return (hidden + 63) / 64 * (visible + 1); }

template <class T>
double rbm_step(Context& context, const RbmStep<T>& step) {
    const std::int64_t visible = step.weights.rows, hidden = step.weights.cols, panels = step.weights.count();
    const std::int64_t n = step.data_probability.rows, m = step.model.rows;
    require(n > 0 && m > 0 && step.model_probability.rows == m && step.probability.rows == n + m &&
                step.model.cols == visible && step.probability.cols == hidden && step.transposed.rows == visible &&
                step.transposed.cols + step.dense.rows == n + m,
            "rbm_step: weights ", visible, " x ", hidden, ", probabilities of ", n, " + ", step.model_probability.rows, " rows, ",
            step.model.rows, " x ", step.model.cols, " states of the model, ", step.transposed.rows, " x ",
            step.transposed.cols, " transposed, ", step.dense.rows, " rows of numbers");
    require_cpu(context, "rbm_step");
    double* g_lambda = step.sums;                       // panels x visible
    double* activities = step.sums + panels * visible;  // panels
    const Factor<T> w(Panels<const T>(step.weights), false);
    context.reserve_scratch(static_cast<std::size_t>(layer_piece_scratch(w)) * sizeof(T));
    context.parallel_for(panels, [&](std::int64_t p, int worker) {
        activities[p] = PanelStep<T>(step, p, context.scratch<T>(worker), g_lambda + p * visible).run();
    });
    for (std::int64_t i = 0; i < visible; ++i) {
        double correction = 0;
        for (std::int64_t p = 0; step.centred && p < panels; ++p) correction += g_lambda[p * visible + i];
        T move = step.visible_difference[i] - static_cast<T>(correction);
        if (step.momentum != T(0)) move = step.visible_velocity[i] = step.momentum * step.visible_velocity[i] + move;
        step.visible_bias[i] += step.learning_rate * move;
    }
    double activity = 0;
    for (std::int64_t p = 0; p < panels; ++p) activity += activities[p];
    return activity;
}
template double rbm_step(Context&, const RbmStep<float>&);
template double rbm_step(Context&, const RbmStep<double>&);

}  // namespace harmonium
