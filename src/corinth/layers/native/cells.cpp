// LSTM cells over all steps of a batch of sequences: each thread takes some of the sequences from their first step to
// their last, so that threads need not wait for each other at every step and what a step needs stays in their caches.
//
// Everything is float. A matrix (steps, batch, width) lies as it is written; of the gates' rows come the input gates of
// all units first, then forget gates, candidates and output gates. What weights of single units gather over many steps
// is added up in double, by each thread of its own sequences, then in the threads' order.

namespace {

constexpr float NORM_EPS = 1e-5f;

inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }
inline float tanh_of(float x) { return 2.0f * sigmoid(2.0f * x) - 1.0f; }  // right to 1e-7 of the largest value, 1

// The mean of f of all values, in four sums side by side: one would wait for each addition.
template <class F>
float mean_of(const float* values, Size count, F f) {
  Vector sums[4] = {};
  Size n = 0;
  for (; n + 4 * FLOATS <= count; n += 4 * FLOATS)
#pragma GCC unroll 4
    for (int part = 0; part < 4; ++part) sums[part] += f(vector(values + n + part * FLOATS));
  const Vector all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  float sum = 0.0f;
  for (int lane = 0; lane < FLOATS; ++lane) sum += all[lane];
  for (; n < count; ++n) sum += f(values[n]);
  return sum / static_cast<float>(count);
}

struct Spread {  // of the values that a layer norm brings to mean 0 and variance 1
  float mean, by;
  float at(float value) const { return (value - mean) * by; }
};

Spread spread_of(const float* values, Size count) {
  const float mean = mean_of(values, count, [](auto value) { return value; });
  const float variance = mean_of(values, count, [mean](auto value) { return (value - mean) * (value - mean); });
  return {mean, 1.0f / std::sqrt(variance + NORM_EPS)};
}

struct Spreads {  // of the two products and the cell state
  Spread x, u, c;
};

struct GatesOfStep {  // of one sequence at one step
  const float *i, *f, *g, *o;
  GatesOfStep(const float* values, Size hidden)
      : i(values), f(values + hidden), g(values + 2 * hidden), o(values + 3 * hidden) {}
};

// The step of models/recurrent/lstm.py and peephole.py, of one sequence; the weights of single units in their order.
template <bool PEEPHOLES, bool NORMED>
struct Lstm {
  Size hidden;
  const float *gain_x = nullptr, *gain_u = nullptr, *bias = nullptr;  // of the layer-normalised form
  const float *peepholes = nullptr;
  const float *gain_c = nullptr, *shift_c = nullptr;

  Lstm(Size hidden, const float* const* weights) : hidden(hidden) {
    if (NORMED) gain_x = *weights++, gain_u = *weights++, bias = *weights++;
    if (PEEPHOLES) peepholes = *weights++;
    if (NORMED) gain_c = *weights++, shift_c = *weights++;
  }

  Size width() const { return (NORMED ? 14 * hidden : 0) + (PEEPHOLES ? 3 * hidden : 0); }  // of all these weights
  float seen(int gate, Size n, float c) const { return PEEPHOLES ? peepholes[gate * hidden + n] * c : 0.0f; }

  // What goes into the gates of the layer-normalised form, from the input product and the recurrent one.
  void normalise(const float* x, const float* u, Spread of_x, Spread of_u, float* into) const {
#pragma omp simd
    for (Size n = 0; n < 4 * hidden; ++n) into[n] = of_x.at(x[n]) * gain_x[n] + of_u.at(u[n]) * gain_u[n] + bias[n];
  }

  // `u` is the recurrent product, without a layer norm x is in it already, and the gates take its place.
  void forward(const float* x, float* u, const float* c_old, float* h, float* c, Spreads& spreads, float* space) const {
    float* values = NORMED ? space : u;
    if constexpr (NORMED) {
      spreads.x = spread_of(x, 4 * hidden);
      spreads.u = spread_of(u, 4 * hidden);
      normalise(x, u, spreads.x, spreads.u, values);
    }
    float *i = values, *f = i + hidden, *g = f + hidden, *o = g + hidden;
#pragma omp simd
    for (Size n = 0; n < hidden; ++n) {
      const float before = c_old[n];
      i[n] = sigmoid(i[n] + seen(0, n, before));
      f[n] = sigmoid(f[n] + seen(1, n, before));
      g[n] = tanh_of(g[n]);
      const float after = f[n] * before + i[n] * g[n];
      o[n] = sigmoid(o[n] + seen(2, n, after));
      c[n] = after;
      if (!NORMED) h[n] = o[n] * tanh_of(after);
    }
    if constexpr (NORMED) {
      const Spread states = spreads.c = spread_of(c, hidden);
#pragma omp simd
      for (Size n = 0; n < hidden; ++n) h[n] = o[n] * tanh_of(states.at(c[n]) * gain_c[n] + shift_c[n]);
    }
  }

  // From the gradients of h and c to those of x, of u if it is another one, and of the c before; those of the weights
  // are added to `of_weights`. `u` and `spreads` are as `forward` left them.
  void backward(const float* x, const float* u, const float* c_old, const float* c, const Spreads& spreads,
                const float* of_h, float* of_c, float* of_x, float* of_u, float* space, float* of_weights) const {
    if constexpr (NORMED) {
      const GatesOfStep gates(space, hidden);
      normalise(x, u, spreads.x, spreads.u, space);
      open(space, c_old, c);
      shown(gates, c, spreads.c, of_h, of_c, of_x + 3 * hidden, of_weights + width() - 2 * hidden);
      through(gates, c_old, c, of_c, of_x, of_weights + 12 * hidden);
      unnormalise(x, u, spreads.x, spreads.u, of_x, of_u, of_weights);
    } else {
      const GatesOfStep gates(u, hidden);
      float* of_o = of_x + 3 * hidden;
#pragma omp simd
      for (Size n = 0; n < hidden; ++n) {
        const float out = tanh_of(c[n]);
        of_o[n] = of_h[n] * out;
        of_c[n] += of_h[n] * gates.o[n] * (1.0f - out * out);
      }
      through(gates, c_old, c, of_c, of_x, of_weights);
    }
  }

 private:
  // From what goes into the gates to the gates.
  void open(float* values, const float* c_old, const float* c) const {
    float *i = values, *f = i + hidden, *g = f + hidden, *o = g + hidden;
#pragma omp simd
    for (Size n = 0; n < hidden; ++n) {
      i[n] = sigmoid(i[n] + seen(0, n, c_old[n]));
      f[n] = sigmoid(f[n] + seen(1, n, c_old[n]));
      g[n] = tanh_of(g[n]);
      o[n] = sigmoid(o[n] + seen(2, n, c[n]));
    }
  }

  // From h to the output gate, and through the layer norm of c to c, whose gradient is added.
  void shown(GatesOfStep gates, const float* c, Spread states, const float* of_h, float* of_c, float* of_o,
             float* of_norm) const {
    float *of_gain = of_norm, *of_shift = of_gain + hidden, sum = 0.0f, along = 0.0f;
#pragma omp simd reduction(+ : sum, along)
    for (Size n = 0; n < hidden; ++n) {
      const float value = states.at(c[n]), out = tanh_of(value * gain_c[n] + shift_c[n]);
      const float of_out = of_h[n] * gates.o[n] * (1.0f - out * out), back = of_out * gain_c[n];
      of_o[n] = of_h[n] * out;
      of_gain[n] += of_out * value;
      of_shift[n] += of_out;
      of_c[n] += back * states.by;
      sum += back;
      along += back * value;
    }
    const float count = static_cast<float>(hidden), mean = sum / count, slope = along / count;
#pragma omp simd
    for (Size n = 0; n < hidden; ++n) of_c[n] -= states.by * (mean + states.at(c[n]) * slope);
  }

  // From the output gate, which `of_x` has already, and c to what goes into all gates and to the c before.
  void through(GatesOfStep gates, const float* c_old, const float* c, float* of_c, float* of_x,
               float* of_peepholes) const {
    float *of_i = of_x, *of_f = of_i + hidden, *of_g = of_f + hidden, *of_o = of_g + hidden;
#pragma omp simd
    for (Size n = 0; n < hidden; ++n) {
      const float i = gates.i[n], f = gates.f[n], g = gates.g[n], o = gates.o[n];
      const float to_o = of_o[n] * o * (1.0f - o), of_state = of_c[n] + seen(2, n, to_o);
      const float to_i = of_state * g * i * (1.0f - i), to_f = of_state * c_old[n] * f * (1.0f - f);
      of_c[n] = of_state * f + seen(0, n, to_i) + seen(1, n, to_f);
      if (PEEPHOLES) {
        of_peepholes[n] += to_i * c_old[n];
        of_peepholes[hidden + n] += to_f * c_old[n];
        of_peepholes[2 * hidden + n] += to_o * c[n];
      }
      of_i[n] = to_i;
      of_f[n] = to_f;
      of_g[n] = of_state * i * (1.0f - g * g);
      of_o[n] = to_o;
    }
  }

  // Through the layer norms of both products. What goes back to the gates is in `of_x`.
  void unnormalise(const float* x, const float* u, Spread spread_x, Spread spread_u, float* of_x, float* of_u,
                   float* of_weights) const {
    float *of_gain_x = of_weights, *of_gain_u = of_gain_x + 4 * hidden, *of_bias = of_gain_u + 4 * hidden;
    float sum_x = 0.0f, sum_u = 0.0f, along_x = 0.0f, along_u = 0.0f;
#pragma omp simd reduction(+ : sum_x, sum_u, along_x, along_u)
    for (Size n = 0; n < 4 * hidden; ++n) {
      const float value_x = spread_x.at(x[n]), value_u = spread_u.at(u[n]), back = of_x[n];
      of_gain_x[n] += back * value_x;
      of_gain_u[n] += back * value_u;
      of_bias[n] += back;
      sum_x += back * gain_x[n];
      sum_u += back * gain_u[n];
      along_x += back * gain_x[n] * value_x;
      along_u += back * gain_u[n] * value_u;
    }
    const float each = 1.0f / static_cast<float>(4 * hidden);
#pragma omp simd
    for (Size n = 0; n < 4 * hidden; ++n) {
      const float back = of_x[n];
      of_x[n] = spread_x.by * (back * gain_x[n] - each * (sum_x + along_x * spread_x.at(x[n])));
      of_u[n] = spread_u.by * (back * gain_u[n] - each * (sum_u + along_u * spread_u.at(u[n])));
    }
  }
};

struct Sequences {
  Size steps, batch;
  const float *x, *weight, *mask;  // x (steps, batch, 4H), the recurrent weight (4H, H), null or (batch, H)
};

// `h` and `c` are (steps + 1, batch, H), their first entries given. For the gradient `kept`, null or like x, becomes
// what cells leave in `u`; of the layer-normalised form `spreads`, as null as that, (steps, batch) of them.
template <class Cell>
void run_forward(Cell cell, bool normed, Sequences all, float* kept, Spreads* spreads, float* h, float* c,
                 int threads) {
  const Size hidden = cell.hidden, gates = 4 * hidden;
  std::vector<float> panels(in_panels(gates) * hidden);
#pragma omp parallel num_threads(threads)
  {
#pragma omp for
    for (Size p = 0; p < gates; p += COLS)
      pack_panel(all.weight, 1, hidden, hidden, gates, p, panels.data() + p * hidden);
    const Part part(all.batch);
    const Size rows = part.last - part.first, states = rows * hidden;
    std::vector<float> space(gates), own(kept ? 0 : rows * gates), masked(all.mask ? states : 0);
    for (Size t = 0; t < all.steps; ++t) {
      const Size at = t * all.batch + part.first, next = at + all.batch;
      const float *x = all.x + at * gates, *from = h + at * hidden;
      float* u = kept ? kept + at * gates : own.data();
      if (all.mask) {
        for (Size n = 0; n < states; ++n) masked[n] = from[n] * all.mask[part.first * hidden + n];
        from = masked.data();
      }
      if (normed) std::fill_n(u, rows * gates, 0.0f);
      else std::copy_n(x, rows * gates, u);
      add_product(from, rows, hidden, panels.data(), gates, u);
      for (Size r = 0; r < rows; ++r) {
        Spreads own_spreads;
        cell.forward(x + r * gates, u + r * gates, c + (at + r) * hidden, h + (next + r) * hidden,
                     c + (next + r) * hidden, own_spreads, space.data());
        if (spreads) spreads[at + r] = own_spreads;
      }
    }
  }
}

struct Grads {
  const float *outer_h, *outer_c;  // null or (steps, batch, H)
  float *x, *weight, *h, *c, *weights;
};

// From the gradients of all h and c from outside to those of x, of the recurrent weight (null: not wanted), of the
// first h and c, and of the weights of single units. `seen` (steps, batch, H) is what the recurrent weight was
// multiplied with. The gradients of the recurrent product (`apart`: other ones than those of x) are kept for some steps
// only, until they are in the weight's.
template <class Cell>
void run_backward(Cell cell, bool apart, Sequences all, const float* kept, const Spreads* spreads, const float* seen,
                  const float* c, Grads grads, int threads) {
  const Size hidden = cell.hidden, gates = 4 * hidden, width = cell.width();
  const Size together = DEPTH / std::clamp<Size>(all.batch, 1, DEPTH);  // steps
  std::vector<float> panels(in_panels(hidden) * gates), recent(apart ? together * all.batch * gates : 0);
  std::vector<std::vector<double>> found(threads, std::vector<double>(width, 0.0));
#pragma omp parallel num_threads(threads)
  {
#pragma omp for
    for (Size p = 0; p < hidden; p += COLS)
      pack_panel(all.weight, hidden, 1, gates, hidden, p, panels.data() + p * gates);
    const Part part(all.batch);
    const Size rows = part.last - part.first, states = rows * hidden;
    std::vector<float> space(gates), of_output(states), sums(width);
    std::vector<double>& total = found[omp_get_thread_num()];
    Sums of_weight(grads.weight, grads.weight ? gates : 0, hidden);
    float *back_h = grads.h + part.first * hidden, *back_c = grads.c + part.first * hidden;
    std::fill_n(back_h, states, 0.0f);
    std::fill_n(back_c, states, 0.0f);
    for (Size t = all.steps - 1; t >= 0; --t) {
      const Size at = t * all.batch + part.first, next = at + all.batch, begun = t / together * together;
      float* of_products = apart ? recent.data() : grads.x + begun * all.batch * gates;
      float* of_u = of_products + (at - begun * all.batch) * gates;
      for (Size n = 0; n < states; ++n) {
        of_output[n] = back_h[n] + (grads.outer_h ? grads.outer_h[at * hidden + n] : 0.0f);
        back_c[n] += grads.outer_c ? grads.outer_c[at * hidden + n] : 0.0f;
        back_h[n] = 0.0f;
      }
      std::fill(sums.begin(), sums.end(), 0.0f);
      for (Size r = 0; r < rows; ++r) {
        const Size row = (at + r) * gates;
        cell.backward(all.x + row, kept + row, c + (at + r) * hidden, c + (next + r) * hidden,
                      spreads ? spreads[at + r] : Spreads{}, of_output.data() + r * hidden, back_c + r * hidden,
                      grads.x + row, of_u + r * gates, space.data(), sums.data());
      }
      for (Size n = 0; n < width; ++n) total[n] += sums[n];
      add_product(of_u, rows, gates, panels.data(), hidden, back_h);
      if (all.mask)
        for (Size n = 0; n < states; ++n) back_h[n] *= all.mask[part.first * hidden + n];
      if (t > begun || !grads.weight) continue;
#pragma omp barrier
      const Size count = std::min(begun + together, all.steps) - begun;
      of_weight.add(of_products, seen + begun * all.batch * hidden, count * all.batch);
#pragma omp barrier
    }
  }
  for (Size n = 0; n < width; ++n) {
    double sum = 0;
    for (const std::vector<double>& one : found) sum += one[n];
    grads.weights[n] = static_cast<float>(sum);
  }
}

template <class Run>
void with_lstm(int peepholes, int normed, Size hidden, const float* const* weights, Run run) {
  if (peepholes) normed ? run(Lstm<true, true>(hidden, weights)) : run(Lstm<true, false>(hidden, weights));
  else normed ? run(Lstm<false, true>(hidden, weights)) : run(Lstm<false, false>(hidden, weights));
}

}  // namespace

extern "C" void lstm_forward(int peepholes, int normed, const float* const* weights, const float* x,
                             const float* weight, const float* mask, float* kept, float* spreads, float* h, float* c,
                             Size steps, Size batch, Size hidden, int threads) {
  with_lstm(peepholes, normed, hidden, weights, [&](auto cell) {
    run_forward(cell, normed, {steps, batch, x, weight, mask}, kept, reinterpret_cast<Spreads*>(spreads), h, c,
                threads);
  });
}

extern "C" void lstm_backward(int peepholes, int normed, const float* const* weights, const float* x,
                              const float* weight, const float* mask, const float* kept, const float* spreads,
                              const float* seen, const float* c, const float* outer_h, const float* outer_c,
                              float* of_x, float* of_weight, float* of_h, float* of_c, float* of_weights, Size steps,
                              Size batch, Size hidden, int threads) {
  const Grads grads{outer_h, outer_c, of_x, of_weight, of_h, of_c, of_weights};
  with_lstm(peepholes, normed, hidden, weights, [&](auto cell) {
    run_backward(cell, normed, {steps, batch, x, weight, mask}, kept, reinterpret_cast<const Spreads*>(spreads), seen,
                 c, grads, threads);
  });
}
