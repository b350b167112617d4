// What a user's program looks like: log Z of two visible and two hidden units, all parameters 1 but for one weight.
#include <cstdio>

#include <harmonium/rbm_likelihood.hpp>

int main() {
    double weights[] = {1, 1, 1, -2}, visible_bias[] = {1, 1}, hidden_bias[] = {1, 1};
    harmonium::Context context;
    const harmonium::Rbm<double> model{{weights, 2, 2}, visible_bias, hidden_bias};
    std::printf("%.12f\n", harmonium::rbm_log_partition(context, model));
}
