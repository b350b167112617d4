// Kernels of chains at several temperatures, and of missing entries in the data.
#pragma once

#include "row_feed.cuh"
#include "unit_layer.cuh"

namespace harmonium::cuda {

// See tempered_chains.hpp. Chains of all temperatures stand below each other, the coldest first.
template <class T>
struct Tempering {
    std::int64_t temperatures = 1, chains = 0, hidden = 0;
    std::uint32_t first_row = 0;  // of the first chain, in the draws of swaps
    LayerView visible;
    const T *visible_offset = nullptr, *visible_bias = nullptr, *hidden_bias = nullptr;
    T* base = nullptr;            // D: at the last temperature units are independent, with these biases
    Matrix<T> visible_biases;     // temperatures x D
    Matrix<T> hidden_biases;      // temperatures x H
    double* likes = nullptr;      // of every chain: L(v, h)
    double* accepted = nullptr;   // temperatures - 1: how many swaps were, in the epoch

    HARMONIUM_HOST_DEVICE T beta(std::int64_t t) const {
        return temperatures == 1 ? T(1) : static_cast<T>(1 - static_cast<double>(t) / static_cast<double>(temperatures - 1));
    }
};
// First of all in a step: the base's biases from the offsets, then those of every temperature.
template <class T>
void temper_biases(State& state, const Tempering<T>& tempering);
// Swaps of hidden states between neighbours, activation being v W.
template <class T>
void swap_chains(State& state, const Tempering<T>& tempering, const StepDraw& draw, Matrix<const T> v, Matrix<const T> activation, Matrix<T> h);

// Units of the batch's rows that are not known take what was drawn for them, in the data too, which are the device's. Bits of all rows.
template <class T>
void fill_missing(State& state, const Place<T>* place, std::int64_t batch_size, const std::uint64_t* mirrored, ConstBitMatrix observed,
                  Matrix<const T> drawn, Matrix<T> states, BitMatrix filled);

}  // namespace harmonium::cuda
