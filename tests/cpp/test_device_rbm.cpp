// Training of RBMs on a GPU, or on the emulated one, against the CPU's.
#include <algorithm>
#include <stdexcept>

#include "check.hpp"
#include "harmonium/error.hpp"
#include "harmonium/rbm_likelihood.hpp"
#include "inputs.hpp"
#include "on_device.hpp"
#if defined(HARMONIUM_EMULATE)
#include "cuda/emulate/control.hpp"
#include "cuda_runtime_api.h"
#endif

namespace harmonium_test {

namespace {

const Device gpu{Device::Kind::cuda, 0};
const auto go_on = [](const RbmEpoch&) { return false; };

template <class T>
struct Machine {
    Model<T> model, last;
    Numbers<T> offsets, velocity, velocities;
    Bits chains, mirrored;
    RbmState<T> state;
    RbmOptions options;
    RbmEpoch record;

    Machine(std::int64_t visible, std::int64_t hidden, std::int64_t n_chains)
        : model(visible, hidden), last(visible, hidden), offsets(1, visible + hidden), velocity(visible, hidden),
          velocities(1, visible + hidden), chains(n_chains, hidden), mirrored(1, visible) {
        options.batch_size = 10;
        options.seed = 5;
        options.learning_rate = 0.1;
    }
    void run(Context& context, const States<T>& x, std::int64_t n_epochs, const std::function<bool(const RbmEpoch&)>& on_epoch = go_on) {
        state.model = model.view();
        if (options.averaging > 0) state.last = last.view();
        state.visible_offset = offsets.data.data(), state.hidden_offset = state.visible_offset + model.w.rows;
        if (options.momentum != 0) {
            state.weight_velocity = velocity.view();
            state.visible_velocity = velocities.data.data(), state.hidden_velocity = state.visible_velocity + model.w.rows;
        }
        state.chains = chains.view();
        state.mirrored = mirrored.words.data();
        rbm_train<T>(context, x, options, n_epochs, state, [&](const RbmEpoch& epoch) {
            record = epoch;
            return on_epoch(epoch);
        });
    }
    std::vector<const std::vector<T>*> numbers() const {
        return {&model.w.data, &model.b.data, &model.c.data, &last.w.data, &last.b.data, &last.c.data, &offsets.data, &velocity.data, &velocities.data};
    }
    bool operator==(const Machine& other) const {
        const auto a = numbers(), b = other.numbers();
        for (std::size_t i = 0; i < a.size(); ++i) {
            if (*a[i] != *b[i]) return false;
        }
        return chains.words == other.chains.words && mirrored.words == other.mirrored.words && state.steps == other.state.steps &&
               state.epochs == other.state.epochs && state.initialised == other.state.initialised;
    }
    double mean_log_likelihood(const Bits& x) {
        Context cpu(1);
        std::vector<double> f(static_cast<std::size_t>(x.rows));
        Bits own = x;  // in the columns of the parameters
        for (std::int64_t i = 0; i < x.rows; ++i) {
            for (std::int64_t w = 0; w < own.view().words(); ++w) own.view().row(i)[w] ^= mirrored.words[static_cast<std::size_t>(w)];
        }
        rbm_free_energy<T>(cpu, model.view(), own.view(), f.data());
        double sum = 0;
        for (const double value : f) sum -= value;
        return sum / static_cast<double>(x.rows) - rbm_log_partition<T>(cpu, model.view());
    }
};

// Rows of two kinds, so that there is something to learn, and columns that are mostly on, which centring mirrors.
Bits two_kinds(std::int64_t rows, std::int64_t cols) {
    Bits out(rows, cols);
    for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < cols; ++j) {
            const double p = j % 5 == 0 ? 0.9 : (i % 2) == (j % 2) ? 0.8 : 0.1;
            if (uniform<double>(Draw(2, Stream::user, 0), static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(j)) < p) out.set(i, j);
        }
    }
    return out;
}

// The same draws, so that parameters differ by the rounding of sums alone: steps x (terms of a sum) roundings of numbers
// below 1, in momentum ten times over.
template <class T>
void same_training(const RbmOptions& options, std::int64_t n_chains, const States<T>& x, const Bits& bits) {
    Context on_gpu(gpu), cpu(1);
    Machine<T> expected(bits.cols, 20, n_chains);
    expected.options = options;
    Machine<T> actual = expected;
    expected.run(cpu, x, 2);
    actual.run(on_gpu, x, 1);
    actual.run(on_gpu, x, 1);
    const double bound = static_cast<double>(expected.state.steps) * static_cast<double>(bits.cols + 2 * options.batch_size) * 10 * eps<T>;
    const auto a = actual.numbers(), b = expected.numbers();
    for (std::size_t k = 0; k < a.size(); ++k) {
        for (std::size_t i = 0; i < a[k]->size(); ++i) CHECK_NEAR((*a[k])[i], (*b[k])[i], bound);
    }
    CHECK(actual.chains.words == expected.chains.words && actual.mirrored.words == expected.mirrored.words);
    CHECK(actual.state.steps == expected.state.steps && actual.state.travelled == expected.state.travelled && actual.state.averaged == expected.state.averaged);
    CHECK(actual.record.epoch == 2);
    CHECK_NEAR(actual.record.pseudo_log_likelihood, expected.record.pseudo_log_likelihood, 20 * static_cast<double>(bits.cols) * bound);
    CHECK_NEAR(actual.record.hidden_activity, expected.record.hidden_activity, bound);
    CHECK_NEAR(actual.record.weight_rms, expected.record.weight_rms, bound);
    CHECK_NEAR(actual.mean_log_likelihood(bits), expected.mean_log_likelihood(bits), 0.01);
    CHECK(actual.mean_log_likelihood(bits) > -static_cast<double>(bits.cols) * std::log(2.0));
}

template <class T>
void test_training() {
    const Bits x = two_kinds(67, 70);  // 6 whole batches and a short one
    const Numbers<T> dense = x.numbers<T>();
    Numbers<T> grey = dense;
    for (T& value : grey.data) value = T(0.1) + T(0.8) * value;
    const Sparse<T> ones(dense, false), values(grey, true);
    for (const Method method : {Method::cd, Method::pcd}) {
        RbmOptions options;
        options.method = method;
        options.seed = 5, options.batch_size = 10, options.learning_rate = 0.1;
        for (const std::int64_t n_chains : {10, 7}) same_training<T>(options, n_chains, x.view(), x);
        same_training<T>(options, 10, ones.view(), x);
        same_training<T>(options, 10, grey.view(), x);
        options.draw_data = true;
        same_training<T>(options, 10, values.view(), x);
        options = {};
        options.method = method;
        options.seed = 9, options.batch_size = 16, options.n_gibbs_steps = 3, options.momentum = 0.5, options.weight_decay = 0.01;
        options.averaging = 2, options.schedule = Schedule::exponential, options.schedule_passes = 2;
        same_training<T>(options, 3, x.view(), x);
        options.centering = false, options.shuffle = false;
        same_training<T>(options, 16, values.view(), x);
        options.batch_size = 1000;  // one batch holds all
        same_training<T>(options, 16, x.view(), x);
    }
}

// Rows in the GPU's memory are trained on where they are: the same bits as from the host's.
template <class T>
void test_rows_on_device() {
    const Bits x = two_kinds(67, 70);
    Numbers<T> grey = x.numbers<T>();
    for (T& value : grey.data) value = T(0.1) + T(0.8) * value;
    Context context(gpu);
    const OnDevice<std::uint64_t> words(context, x.words);
    const OnDevice<T> numbers(context, grey.data);
    const States<T> here[] = {x.view(), grey.view()};
    const States<T> there[] = {ConstBitMatrix(words.memory.data(), 67, 70), Matrix<const T>(numbers.view(67, 70))};
    for (int k = 0; k < 2; ++k) {
        Machine<T> a(70, 20, 7), b = a;
        a.run(context, here[k], 2);
        b.run(context, there[k], 2);
        CHECK(a == b && a.record.pseudo_log_likelihood == b.record.pseudo_log_likelihood);
    }
}

template <class T>
void test_interruption() {
    const Bits x = two_kinds(45, 20);
    Machine<T> a(20, 5, 7), b = a, wild = a;
    Context on_gpu(gpu), again(gpu);
    on_gpu.set_interrupt([](double) { return true; });
    CHECK_THROWS(Interrupted, "interrupted", a.run(on_gpu, x.view(), 1000000000));
    b.run(again, x.view(), static_cast<std::int64_t>(a.state.epochs));
    CHECK(a == b);  // the last whole epoch
    Machine<T> stopped(20, 5, 7), three = stopped;
    stopped.run(again, x.view(), 1000, [](const RbmEpoch& epoch) { return epoch.epoch == 3; });
    three.run(again, x.view(), 3);
    CHECK(stopped == three);
    wild.options.learning_rate = 1e9;
    Machine<T> before = wild;
    CHECK_THROWS(DivergenceError, "training diverged in epoch 1", wild.run(again, x.view(), 3));
    before.run(again, x.view(), 0);
    CHECK(wild == before);
}

#if defined(HARMONIUM_EMULATE)
// X does not fit into the device's memory: it is streamed, and the result is the same to the last bit. With less still, the
// batches do not fit either.
void test_streaming() {
    const Bits many = two_kinds(60000, 40);
    const Numbers<float> few = two_kinds(4000, 40).numbers<float>();
    const Sparse<float> ones(few, false);
    for (const States<float>& x : {States<float>(many.view()), States<float>(few.view()), States<float>(ones.view())}) {
        const std::size_t bytes = x.is_sparse() ? ones.indices.size() * 4 : static_cast<std::size_t>(x.rows()) * (x.is_bits() ? 8 : 160);
        Machine<float> resident(40, 6, 20);
        resident.options.batch_size = 200;
        Machine<float> streamed = resident;
        Context context(gpu);  // which keeps the workspace of its products
        resident.run(context, x, 1);
        std::size_t room = 64 << 10;
        for (bool fits = false; !fits; room += fits ? 0 : 32 << 10) {
            harmonium_emulate::set_memory_limit(harmonium_emulate::memory_in_use() + room);
            try {
                streamed.run(context, x, 1);
                fits = true;
            } catch (const OutOfDeviceMemory&) {
                CHECK(streamed.state.epochs == 0);
            }
            harmonium_emulate::set_memory_limit(std::size_t(2) << 30);
        }
        CHECK(room > 64 << 10 && room < bytes);
        CHECK(streamed == resident);
    }
}

// Whichever call fails, the state is that of the last whole epoch, and the device can be used again.
void test_faults() {
    const Bits x = two_kinds(30, 20);
    Machine<float> first(20, 5, 7);
    {
        Context context(gpu);
        first.run(context, x.view(), 1);
    }
    Machine<float> second = first;
    const std::uint64_t begin = harmonium_emulate::calls();
    {
        Context context(gpu);
        second.run(context, x.view(), 1);
    }
    const std::uint64_t calls = harmonium_emulate::calls() - begin;
    CHECK(calls > 50);
    for (std::uint64_t n = 1; n <= calls; ++n) {
        Machine<float> machine = first;
        harmonium_emulate::fail_call(n, n % 2 ? cudaErrorLaunchFailure : cudaErrorUnknown);
        try {
            Context context(gpu);
            machine.run(context, x.view(), 1);
            CHECK(machine == second);  // it failed where nobody looks: while memory is given back
        } catch (const std::exception&) {
            CHECK(machine == first || machine == second);
        }
        harmonium_emulate::reset();
    }
    Machine<float> machine = first;
    Context context(gpu);
    machine.run(context, x.view(), 1);
    CHECK(machine == second);
}
#endif

}  // namespace

void test_device_rbm() {
    test_training<float>();
    test_training<double>();
    test_rows_on_device<float>();
    test_rows_on_device<double>();
    test_interruption<float>();
#if defined(HARMONIUM_EMULATE)
    test_streaming();
    test_faults();
#endif
}

}  // namespace harmonium_test
