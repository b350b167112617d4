// Training of RBMs with units of any type on a GPU: what it leaves behind when it is stopped, fails, or streams its rows. That it
// gives what the CPU gives is tested from Python.
#include <stdexcept>

#include "check.hpp"
#include "harmonium/error.hpp"
#include "harmonium/unit_rbm.hpp"
#include "inputs.hpp"
#if defined(HARMONIUM_EMULATE)
#include "cuda/emulate/control.hpp"
#include "cuda_runtime_api.h"
#endif

namespace harmonium_test {

namespace {

const Device gpu{Device::Kind::cuda, 0};

// Bernoulli, gaussian and categorical units above bernoulli ones.
template <class T>
struct UnitMachine {
    Model<T> model;
    Numbers<T> offsets, chains, scale;
    std::vector<std::uint64_t> mirrored;
    std::vector<double> swaps;
    UnitRbmState<T> state;
    UnitRbmOptions options;

    UnitMachine(std::int64_t bits, std::int64_t hidden, std::int64_t n_chains, std::int64_t n_temperatures)
        : model(bits + 5, hidden), offsets(1, bits + 5 + hidden), chains(n_temperatures * n_chains, hidden), scale(1, bits + 5),
          mirrored(static_cast<std::size_t>(BitMatrix::words_for(bits + 5))), swaps(static_cast<std::size_t>(n_temperatures - 1)) {
        state.visible.groups = {{UnitType::bernoulli, 0, bits}, {UnitType::gaussian, bits, 2}, {UnitType::categorical, bits + 2, 3}};
        state.hidden.groups = {{UnitType::bernoulli, 0, hidden}};
        for (T& value : scale.data) value = 1;
        options.batch_size = 10, options.seed = 5, options.learning_rate = 0.05;
        options.learn_variance = true;
        options.n_temperatures = n_temperatures;
    }
    void run(Context& context, const UnitTrainingData<T>& x, std::int64_t n_epochs) {
        state.model = model.view();
        state.visible_offset = offsets.data.data(), state.hidden_offset = state.visible_offset + model.w.rows;
        state.chains = {nullptr, 0, model.w.cols};
        state.unit_chains = chains.view();
        state.visible_scale = scale.data.data();
        state.mirrored = mirrored.data();
        state.swaps = swaps.data();
        rbm_train<T>(context, x, options, n_epochs, state, [](const RbmEpoch&) { return false; });
    }
    bool operator==(const UnitMachine& other) const {
        return model.w.data == other.model.w.data && model.b.data == other.model.b.data && model.c.data == other.model.c.data &&
               offsets.data == other.offsets.data && chains.data == other.chains.data && scale.data == other.scale.data &&
               mirrored == other.mirrored && swaps == other.swaps && state.steps == other.state.steps &&
               state.epochs == other.state.epochs && state.initialised == other.state.initialised;
    }
};

template <class T>
Numbers<T> mixed_rows(std::int64_t rows, std::int64_t bits) {
    Numbers<T> x(rows, bits + 5, 3);
    for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < bits; ++j) x.at(i, j) = T(x.at(i, j) < T(i % 2 ? 0.6 : -0.6));
        for (std::int64_t k = 0; k < 3; ++k) x.at(i, bits + 2 + k) = T(k == (i * i + i / 3) % 3);
    }
    return x;
}

template <class T>
void test_interruption() {
    const Numbers<T> x = mixed_rows<T>(35, 12);
    const UnitTrainingData<T> data{x.view(), nullptr, {}};
    UnitMachine<T> a(12, 5, 4, 2), b = a, wild = a;
    Context on_gpu(gpu), again(gpu);
    on_gpu.set_interrupt([](double) { return true; });
    CHECK_THROWS(Interrupted, "interrupted", a.run(on_gpu, data, 1000000000));
    b.run(again, data, static_cast<std::int64_t>(a.state.epochs));
    CHECK(a == b);  // the last whole epoch
    b.run(again, data, 2);
    UnitMachine<T> at_once(12, 5, 4, 2);
    at_once.run(again, data, static_cast<std::int64_t>(a.state.epochs) + 2);
    CHECK(at_once == b);
    wild.options.learning_rate = 1e9;
    UnitMachine<T> before = wild;
    CHECK_THROWS(DivergenceError, "training diverged in epoch 1", wild.run(again, data, 3));
    before.run(again, data, 0);
    CHECK(wild == before);
    UnitMachine<T> large(12, 15, 4, 1);  // no layer of few states
    large.options.exact = true;
    before = large;
    CHECK_THROWS(std::invalid_argument, "32768 states, at most 16384 are possible", large.run(again, data, 1));
    CHECK(large == before);
}

#if defined(HARMONIUM_EMULATE)
// X does not fit into the device's memory: it is streamed, and weights stay with their rows.
void test_streaming() {
    const Numbers<float> x = mixed_rows<float>(1500, 27);
    Numbers<float> weight(1, 1500, 7);
    for (float& w : weight.data) w = 1.5f + w;
    const Sparse<float> sparse(x, true);
    for (const States<float>& rows : {States<float>(x.view()), States<float>(sparse.view())}) {
        const UnitTrainingData<float> data{rows, weight.data.data(), {}};
        UnitMachine<float> resident(27, 4, 10, 1);
        resident.options.batch_size = 100;
        UnitMachine<float> streamed = resident;
        Context context(gpu);
        resident.run(context, data, 1);
        std::size_t room = 32 << 10;
        for (bool fits = false; !fits; room += fits ? 0 : 16 << 10) {
            harmonium_emulate::set_memory_limit(harmonium_emulate::memory_in_use() + room);
            try {
                streamed.run(context, data, 1);
                fits = true;
            } catch (const OutOfDeviceMemory&) {
                CHECK(streamed.state.epochs == 0);
            }
            harmonium_emulate::set_memory_limit(std::size_t(2) << 30);
        }
        CHECK(room > 32 << 10 && room < 160 << 10);  // rows of numbers take 187 KiB
        CHECK(streamed == resident);
    }
}

// Whichever call fails, the state is that of the last whole epoch, and the device can be used again.
void test_faults(bool exact) {
    const Numbers<float> x = mixed_rows<float>(25, 8);
    const UnitTrainingData<float> data{x.view(), nullptr, {}};
    UnitMachine<float> first(8, 3, 4, 2);
    first.options.exact = exact;
    {
        Context context(gpu);
        first.run(context, data, 1);
    }
    UnitMachine<float> second = first;
    const std::uint64_t begin = harmonium_emulate::calls();
    {
        Context context(gpu);
        second.run(context, data, 1);
    }
    const std::uint64_t calls = harmonium_emulate::calls() - begin;
    CHECK(calls > 50);
    for (std::uint64_t n = 1; n <= calls; n += 2) {
        UnitMachine<float> machine = first;
        harmonium_emulate::fail_call(n, n % 4 == 1 ? cudaErrorLaunchFailure : cudaErrorUnknown);
        try {
            Context context(gpu);
            machine.run(context, data, 1);
            CHECK(machine == second);  // it failed where nobody looks: while memory is given back
        } catch (const std::exception&) {
            CHECK(machine == first || machine == second);
        }
        harmonium_emulate::reset();
    }
    Context context(gpu);
    first.run(context, data, 1);
    CHECK(first == second);
}
#endif

}  // namespace

void test_device_unit_rbm() {
    test_interruption<float>();
    test_interruption<double>();
#if defined(HARMONIUM_EMULATE)
    test_streaming();
    test_faults(false);
    test_faults(true);
#endif
}

}  // namespace harmonium_test
