// Layers of networks on a CPU that pass over their maps as few times as results and gradients allow.
//
// A map is (rows, chans): its channels lie side by side (torch's channels_last), a row is one pixel of one image. Maps
// are float or bfloat16; what is worked out is float, sums over many rows are double but for the gradients of depthwise
// kernels. With the same number of threads the result is the same to the last bit: what threads add up, each of rows
// that lie together, is added in their order.

#include <type_traits>

namespace {

constexpr Size CACHED = 8192;  // values of a map that a thread passes over twice, or adds up in single precision
constexpr Size WIDE = 256;     // values of a row from which the rest that fills no vector register costs little

struct Bf16 {
  uint16_t bits;
};

inline float load(float value) { return value; }
inline float load(Bf16 value) { return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16); }
inline void store(float& into, float value) { into = value; }
inline void store(Bf16& into, float value) {  // to the nearest, to even in the middle
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  into.bits = static_cast<uint16_t>(value == value ? rounded : 0x7fc0u);
}

// Activations: the value at z, and the slope there as torch has it where it is not defined.
struct Linear {
  static float value(float z) { return z; }
  static float slope(float) { return 1.0f; }
};

struct Relu {
  static float value(float z) { return z < 0.0f ? 0.0f : z; }
  static float slope(float z) { return z <= 0.0f ? 0.0f : 1.0f; }
};

struct Relu6 {
  static float value(float z) { return z < 0.0f ? 0.0f : z > 6.0f ? 6.0f : z; }
  static float slope(float z) { return z <= 0.0f ? 0.0f : z >= 6.0f ? 0.0f : 1.0f; }
};

struct Swish {
  static float value(float z) { return z / (1.0f + exponential(-z)); }
  static float slope(float z) {
    const float gate = 1.0f / (1.0f + exponential(-z));
    return gate * std::fma(z, 1.0f - gate, 1.0f);
  }
};

struct HardSwish {
  static float value(float z) { return z * Relu6::value(z + 3.0f) * (1.0f / 6); }
  static float slope(float z) { return z < -3.0f ? 0.0f : z <= 3.0f ? std::fma(z, 1.0f / 3, 0.5f) : 1.0f; }
};

// So many rows in one that the row is wide: the map is the same, and what belongs to a channel stands there once a row.
Size rows_in_one(Size rows, Size chans) {
  Size together = 1;
  while (2 * together * chans <= WIDE && rows % (2 * together) == 0) together *= 2;
  return together;
}

std::vector<float> repeated(const float* values, Size chans, Size times) {
  std::vector<float> all(chans * times);
  for (Size n = 0; n < times; ++n) std::copy(values, values + chans, all.begin() + n * chans);
  return all;
}

// Mean and sum of squared deviations of each channel, by blocks (Chan, Golub & LeVeque 1979), each exact in two passes.
struct Moments {
  double count = 0;
  std::vector<double> mean, squares;
  explicit Moments(Size chans) : mean(chans, 0.0), squares(chans, 0.0) {}

  template <class Value>
  void add(double n, const Value* its_mean, const Value* its_squares) {
    if (n == 0) return;
    const double both = count + n, share = n / both, between = count * share;
    for (size_t c = 0; c < mean.size(); ++c) {
      const double d = its_mean[c] - mean[c];
      mean[c] += d * share;
      squares[c] += its_squares[c] + d * d * between;
    }
    count = both;
  }
};

template <class T>
Moments moments(const T* x, Size rows, Size chans, int threads) {
  const Size block = std::max<Size>(1, CACHED / chans);
  std::vector<Moments> found(threads, Moments(chans));
#pragma omp parallel num_threads(threads)
  {
    const Part part(rows);
    Moments& own = found[omp_get_thread_num()];
    std::vector<float> sums(chans), squares(chans);
    float *a = sums.data(), *b = squares.data();
    for (Size begin = part.first; begin < part.last; begin += block) {
      const Size end = std::min(part.last, begin + block);
      std::fill(a, a + chans, 0.0f);
      std::fill(b, b + chans, 0.0f);
      for (Size r = begin; r < end; ++r) {
        const T* row = x + r * chans;
#pragma omp simd
        for (Size c = 0; c < chans; ++c) a[c] += load(row[c]);
      }
      for (Size c = 0; c < chans; ++c) a[c] /= static_cast<float>(end - begin);
      for (Size r = begin; r < end; ++r) {
        const T* row = x + r * chans;
#pragma omp simd
        for (Size c = 0; c < chans; ++c) {
          const float d = load(row[c]) - a[c];
          b[c] = std::fma(d, d, b[c]);
        }
      }
      own.add(static_cast<double>(end - begin), a, b);
    }
  }
  for (int t = 1; t < threads; ++t) found[0].add(found[t].count, found[t].mean.data(), found[t].squares.data());
  return found[0];
}

template <class T, class Act>
void norm_act(const T* x, const float* scale, const float* shift, T* y, Size rows, Size chans, int threads) {
#pragma omp parallel num_threads(threads)
  {
    const Part part(rows);
    for (Size r = part.first; r < part.last; ++r) {
      const T* from = x + r * chans;
      T* into = y + r * chans;
#pragma omp simd
      for (Size c = 0; c < chans; ++c) store(into[c], Act::value(std::fma(load(from[c]), scale[c], shift[c])));
    }
  }
}

// The gradients of shift and of scale times deviation, summed over all rows: (2, chans). Here and in the next function
// a slope decides whether a value counts: only where nothing overlaps do compilers leave such loops without branches.
template <class T, class Act>
std::vector<double> norm_act_sums(const T* x, const T* grad, const float* __restrict scale,
                                  const float* __restrict shift, const float* __restrict mean, Size rows, Size chans,
                                  int threads) {
  const Size block = std::max<Size>(1, CACHED / chans);
  std::vector<std::vector<double>> found(threads, std::vector<double>(2 * chans, 0.0));
#pragma omp parallel num_threads(threads)
  {
    const Part part(rows);
    std::vector<double>& own = found[omp_get_thread_num()];
    std::vector<float> sums(2 * chans);
    for (Size begin = part.first; begin < part.last; begin += block) {
      std::fill(sums.begin(), sums.end(), 0.0f);
      for (Size r = begin; r < std::min(part.last, begin + block); ++r) {
        float *__restrict a = sums.data(), *__restrict b = sums.data() + chans;
        const T *__restrict from = x + r * chans, *__restrict behind = grad + r * chans;
#pragma omp simd
        for (Size c = 0; c < chans; ++c) {
          const float value = load(from[c]);
          const float g = load(behind[c]) * Act::slope(std::fma(value, scale[c], shift[c]));
          a[c] += g;
          b[c] = std::fma(g, value - mean[c], b[c]);
        }
      }
      for (Size c = 0; c < 2 * chans; ++c) own[c] += sums[c];
    }
  }
  for (int t = 1; t < threads; ++t)
    for (Size c = 0; c < 2 * chans; ++c) found[0][c] += found[t][c];
  return found[0];
}

template <class T, class Act>
void norm_act_gradient(const T* x, const T* grad, const float* __restrict scale, const float* __restrict shift,
                       const float* __restrict of_value, const float* __restrict offset, T* of_x, Size rows,
                       Size chans, int threads) {
#pragma omp parallel num_threads(threads)
  {
    const Part part(rows);
    for (Size r = part.first; r < part.last; ++r) {
      const T *__restrict from = x + r * chans, *__restrict behind = grad + r * chans;
      T* __restrict into = of_x + r * chans;
#pragma omp simd
      for (Size c = 0; c < chans; ++c) {
        const float value = load(from[c]);
        const float g = load(behind[c]) * Act::slope(std::fma(value, scale[c], shift[c]));
        store(into[c], std::fma(g, scale[c], std::fma(value, of_value[c], offset[c])));
      }
    }
  }
}

struct Norm {  // batch norm that is not in training
  const float *weight, *bias, *mean, *var;
  double eps;
};

void scale_and_shift(const Norm& norm, float* into, Size chans) {
  for (Size c = 0; c < chans; ++c) {
    const double by = norm.weight[c] / std::sqrt(static_cast<double>(norm.var[c]) + norm.eps);
    into[c] = static_cast<float>(by);
    into[chans + c] = static_cast<float>(norm.bias[c] - norm.mean[c] * by);
  }
}

template <class T, class Act>
void scale_act(const T* x, const float* scale, const float* shift, T* y, Size rows, Size chans, int threads) {
  const Size together = rows_in_one(rows, chans);
  const std::vector<float> scales = repeated(scale, chans, together), shifts = repeated(shift, chans, together);
  norm_act<T, Act>(x, scales.data(), shifts.data(), y, rows / together, chans * together, threads);
}

template <class T, class Act>
void forward(const T* x, const float* weight, const float* bias, double eps, T* y, float* kept, Size rows, Size chans,
             int threads) {
  const Size together = rows_in_one(rows, chans), width = chans * together;
  const Moments apart = moments(x, rows / together, width, threads);
  Moments found(chans);
  for (Size n = 0; n < width; n += chans) found.add(apart.count, apart.mean.data() + n, apart.squares.data() + n);
  float *mean = kept, *var = mean + chans, *rstd = var + chans, *scale = rstd + chans, *shift = scale + chans;
  for (Size c = 0; c < chans; ++c) {
    const double variance = found.squares[c] / static_cast<double>(rows), inverse = 1.0 / std::sqrt(variance + eps);
    mean[c] = static_cast<float>(found.mean[c]);
    var[c] = static_cast<float>(variance);
    rstd[c] = static_cast<float>(inverse);
    scale[c] = static_cast<float>(weight[c] * inverse);
    shift[c] = static_cast<float>(bias[c] - found.mean[c] * weight[c] * inverse);
  }
  scale_act<T, Act>(x, scale, shift, y, rows, chans, threads);
}

template <class T, class Act>
void backward(const T* x, const T* grad, const float* kept, T* of_x, float* of_weight, float* of_bias, Size rows,
              Size chans, int threads) {
  const float *mean = kept, *rstd = mean + 2 * chans, *scale = rstd + chans, *shift = scale + chans;
  const Size together = rows_in_one(rows, chans), width = chans * together;
  const std::vector<float> means = repeated(mean, chans, together);
  const std::vector<float> scales = repeated(scale, chans, together), shifts = repeated(shift, chans, together);
  const std::vector<double> sums = norm_act_sums<T, Act>(x, grad, scales.data(), shifts.data(), means.data(),
                                                         rows / together, width, threads);
  std::vector<float> of_value(chans), offset(chans);
  for (Size c = 0; c < chans; ++c) {
    double by_shift = 0, by_deviation = 0;
    for (Size n = c; n < width; n += chans) by_shift += sums[n], by_deviation += sums[width + n];
    const double by_scale = by_deviation * rstd[c], each = scale[c] / static_cast<double>(rows);
    of_weight[c] = static_cast<float>(by_scale);
    of_bias[c] = static_cast<float>(by_shift);
    of_value[c] = static_cast<float>(-each * by_scale * rstd[c]);
    offset[c] = static_cast<float>(each * (by_scale * rstd[c] * mean[c] - by_shift));
  }
  if (of_x == nullptr) return;
  const std::vector<float> of_values = repeated(of_value.data(), chans, together);
  const std::vector<float> offsets = repeated(offset.data(), chans, together);
  norm_act_gradient<T, Act>(x, grad, scales.data(), shifts.data(), of_values.data(), offsets.data(), of_x,
                            rows / together, width, threads);
}

// The sum of x, or of x times another map, over the pixels of each image: (images, chans).
template <class Value>
void image_sums(Value value, float* sums, Size images, Size pixels, Size chans, int threads) {
  const Size block = std::max<Size>(1, CACHED / chans);
#pragma omp parallel num_threads(threads)
  {
    const Part part(images);
    std::vector<double> total(chans);
    std::vector<float> own(chans);
    float* a = own.data();
    for (Size image = part.first; image < part.last; ++image) {
      std::fill(total.begin(), total.end(), 0.0);
      for (Size begin = 0; begin < pixels; begin += block) {
        std::fill(a, a + chans, 0.0f);
        for (Size r = begin; r < std::min(pixels, begin + block); ++r) {
          const Size at = (image * pixels + r) * chans;
#pragma omp simd
          for (Size c = 0; c < chans; ++c) a[c] += value(at + c);
        }
        for (Size c = 0; c < chans; ++c) total[c] += a[c];
      }
      for (Size c = 0; c < chans; ++c) sums[image * chans + c] = static_cast<float>(total[c]);
    }
  }
}

template <class T>
void image_scale(const T* x, const float* scale, const float* shift, T* y, Size images, Size pixels, Size chans,
                 int threads) {
#pragma omp parallel num_threads(threads)
  {
    const Part part(images);
    const std::vector<float> zeros(chans, 0.0f);
    for (Size image = part.first; image < part.last; ++image) {
      const float* by = scale + image * chans;
      const float* plus = shift == nullptr ? zeros.data() : shift + image * chans;
      for (Size r = image * pixels; r < (image + 1) * pixels; ++r) {
        const T* from = x + r * chans;
        T* into = y + r * chans;
#pragma omp simd
        for (Size c = 0; c < chans; ++c) store(into[c], std::fma(load(from[c]), by[c], plus[c]));
      }
    }
  }
}

// Layers that make gates (chans) of means (chans): reduce (width, chans), activation, expand (chans, width), gate.
struct Gates {
  const float *reduce, *reduce_bias, *expand, *expand_bias;
  Size width;
  bool hard;  // relu6(z + 3) / 6 for the logistic function

  float gate(float z) const {
    return hard ? Relu6::value(z + 3.0f) * (1.0f / 6) : 1.0f / (1.0f + exponential(-z));
  }
};

inline float dot(const float* a, const float* b, Size count) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (Size n = 0; n < count; ++n) sum = std::fma(a[n], b[n], sum);
  return sum;
}

// Squeeze-and-excitation. Each thread has images of its own, or all share the pixels of one after the other.
template <class T, class Act>
void excite(const T* x, const Gates& gates, T* y, Size images, Size pixels, Size chans, int threads) {
  const bool shared = images < threads;
  const Size teams = shared ? 1 : threads;
  const Size block = std::max<Size>(1, CACHED / chans);
  std::vector<std::vector<double>> sums(threads, std::vector<double>(chans));
  std::vector<std::vector<float>> hidden(teams, std::vector<float>(gates.width));
  std::vector<std::vector<float>> scale(teams, std::vector<float>(chans));
#pragma omp parallel num_threads(threads)
  {
    const Size thread = omp_get_thread_num(), running = omp_get_num_threads();
    const Size team = shared ? 0 : thread, member = shared ? thread : 0, members = shared ? running : 1;
    const Size first = shared ? 0 : images * thread / running, last = shared ? images : images * (thread + 1) / running;
    const Size begin = pixels * member / members, end = pixels * (member + 1) / members;
    std::vector<float> some(chans);
    float *a = some.data(), *units = hidden[team].data(), *by = scale[team].data();
    double* own = sums[thread].data();
    for (Size image = first; image < last; ++image) {
      const T* from = x + image * pixels * chans;
      std::fill(own, own + chans, 0.0);
      for (Size next = begin; next < end; next += block) {
        std::fill(a, a + chans, 0.0f);
        for (Size r = next; r < std::min(end, next + block); ++r) {
          const T* row = from + r * chans;
#pragma omp simd
          for (Size c = 0; c < chans; ++c) a[c] += load(row[c]);
        }
        for (Size c = 0; c < chans; ++c) own[c] += a[c];
      }
      if (shared) {
#pragma omp barrier
      }
      if (member == 0) {
        std::vector<float> means(chans);
        for (Size c = 0; c < chans; ++c) {
          double total = 0;
          for (Size m = 0; m < members; ++m) total += sums[shared ? m : thread][c];
          means[c] = static_cast<float>(total / static_cast<double>(pixels));
        }
        for (Size u = 0; u < gates.width; ++u)
          units[u] = Act::value(dot(gates.reduce + u * chans, means.data(), chans) + gates.reduce_bias[u]);
      }
      if (shared) {
#pragma omp barrier
      }
      for (Size c = chans * member / members; c < chans * (member + 1) / members; ++c)
        by[c] = gates.gate(dot(gates.expand + c * gates.width, units, gates.width) + gates.expand_bias[c]);
      if (shared) {
#pragma omp barrier
      }
      for (Size r = begin; r < end; ++r) {
        const T* row = from + r * chans;
        T* into = y + (image * pixels + r) * chans;
#pragma omp simd
        for (Size c = 0; c < chans; ++c) store(into[c], load(row[c]) * by[c]);
      }
    }
  }
}

// ---- depthwise convolutions ----

typedef float Lanes __attribute__((vector_size(4 * FLOATS)));  // the values of so many channels at one pixel
typedef uint32_t Words __attribute__((vector_size(4 * FLOATS)));
typedef uint16_t Halves __attribute__((vector_size(2 * FLOATS)));
constexpr Size LANES = FLOATS;
constexpr Size BAND = 1 << 16;  // values of a part of a map that stays in the cache
constexpr int PIXELS = 8;       // worked out side by side, in registers

struct Shape {
  Size images, height, width, chans, rows, columns, stride;  // rows and columns of the result
};

// Channels that are worked on together, all with the same size of kernel.
struct Block {
  Size first, lanes, kernel, top, left;  // where they begin; how many; zeros above and before the map
  std::vector<Lanes> weights;  // (kernel * kernel), by rows
};

// The blocks of groups of channels with kernels (width, kernel, kernel), times `scale` (null: none); `sizes` are width,
// kernel, top, left of each group. Without weights they are zeros.
std::vector<Block> blocks_of(Size groups, const int64_t* sizes, const float* const* weights, const float* scale,
                             int threads) {
  std::vector<Block> blocks;
  std::vector<const float*> origins;
  for (Size g = 0, first = 0; g < groups; first += sizes[4 * g++]) {
    const Size width = sizes[4 * g], kernel = sizes[4 * g + 1], taps = kernel * kernel;
    for (Size begin = 0; begin < width; begin += LANES) {
      blocks.push_back({first + begin, std::min(LANES, width - begin), kernel, sizes[4 * g + 2], sizes[4 * g + 3],
                        std::vector<Lanes>(taps, Lanes{})});
      origins.push_back(weights == nullptr ? nullptr : weights[g] + begin * taps);
    }
  }
  if (weights == nullptr) return blocks;
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (Size b = 0; b < static_cast<Size>(blocks.size()); ++b) {
    Block& block = blocks[b];
    const Size taps = block.kernel * block.kernel;
    for (Size lane = 0; lane < block.lanes; ++lane) {
      const float by = scale == nullptr ? 1.0f : scale[block.first + lane];
      for (Size t = 0; t < taps; ++t) block.weights[t][lane] = origins[b][lane * taps + t] * by;
    }
  }
  return blocks;
}

// The weights of the blocks, back where they came from.
void store_weights(const std::vector<Block>& blocks, Size groups, const int64_t* sizes, float* const* into) {
  auto block = blocks.begin();
  for (Size g = 0; g < groups; ++g)
    for (Size begin = 0; begin < sizes[4 * g]; begin += LANES, ++block)
      for (Size lane = 0; lane < block->lanes; ++lane)
        for (size_t t = 0; t < block->weights.size(); ++t)
          into[g][(begin + lane) * block->weights.size() + t] = block->weights[t][lane];
}

Shape shape_of(const int64_t* sizes) {
  return {sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6]};
}

Size largest_kernel(const std::vector<Block>& blocks) {
  Size largest = 0;
  for (const Block& block : blocks) largest = std::max(largest, block.kernel);
  return largest;
}

inline void load_lanes(const float* from, Size bytes, Lanes& values) { std::memcpy(&values, from, bytes); }
inline void load_lanes(const Bf16* from, Size bytes, Lanes& values) {
  Halves bits{};
  std::memcpy(&bits, from, bytes);
  values = std::bit_cast<Lanes>(__builtin_convertvector(bits, Words) << 16);
}
inline void store_lanes(float* into, Size bytes, Lanes values) { std::memcpy(into, &values, bytes); }
inline void store_lanes(Bf16* into, Size bytes, Lanes values) {
  const Words bits = std::bit_cast<Words>(values), rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const Halves halves = __builtin_convertvector(values == values ? rounded : Words{} + 0x7fc0u, Halves);
  std::memcpy(into, &halves, bytes);
}

template <class T>
inline Lanes load(const T* from, Size lanes) {
  Lanes values{};
  if (lanes == LANES)
    load_lanes(from, sizeof(T) * LANES, values);
  else
    load_lanes(from, sizeof(T) * lanes, values);
  return values;
}

template <class T, class Act>
inline void store(T* into, Lanes values, Size lanes) {
  if constexpr (!std::is_same_v<Act, Linear>) {
    float all[LANES];
    std::memcpy(all, &values, sizeof values);
#pragma omp simd
    for (Size n = 0; n < LANES; ++n) all[n] = Act::value(all[n]);
    std::memcpy(&values, all, sizeof values);
  }
  if (lanes == LANES)
    store_lanes(into, sizeof(T) * LANES, values);
  else
    store_lanes(into, sizeof(T) * lanes, values);
}

// Rows [first, last) and columns [left, right) of a map (height, width, chans), zeros outside of it, channels from
// `x` on.
template <class T>
void pack(const T* x, Size height, Size width, Size chans, Size lanes, Size first, Size last, Size left, Size right,
          Lanes* into) {
  for (Size r = first; r < last; ++r) {
    if (r < 0 || r >= height) {
      std::fill(into, into + (right - left), Lanes{});
      into += right - left;
      continue;
    }
    Size c = left;
    for (; c < std::min<Size>(0, right); ++c) *into++ = Lanes{};
    for (; c < std::min(width, right); ++c) *into++ = load(x + (r * width + c) * chans, lanes);
    for (; c < right; ++c) *into++ = Lanes{};
  }
}

// `count` sums over the taps: of what stands at `from`, `step` apart, each tap `offsets` further on, times its weight.
template <int N>
inline void sums_over_taps(const Lanes* from, Size step, const Size* offsets, const Lanes* weights, Size taps,
                           Lanes start, Lanes* sums) {
  Lanes own[N];
  for (int n = 0; n < N; ++n) own[n] = start;
  for (Size t = 0; t < taps; ++t) {
    const Lanes weight = weights[t];
    const Lanes* at = from + offsets[t];
    for (int n = 0; n < N; ++n) own[n] += at[n * step] * weight;
  }
  for (int n = 0; n < N; ++n) sums[n] = own[n];
}

template <int N = PIXELS, class... Arguments>
inline void sums_over_taps(int count, Arguments... arguments) {
  if constexpr (N > 0) {
    if (count == N) return sums_over_taps<N>(arguments...);
    sums_over_taps<N - 1>(count, arguments...);
  }
}

// Of `left` pixels so many at a time that the last are not few.
inline Size pixels_now(Size left) {
  const Size times = (left + PIXELS - 1) / PIXELS;
  return (left + times - 1) / times;
}

// Rows of a map that are worked on at a time: so few that all their channels stay in the cache, as the blocks of
// channels share its lines, and no more than leave work for every thread; but several for each row of a kernel, which
// are packed with them.
Size rows_at_a_time(Size rows, Size row, Size units, Size kernel, int threads) {
  const Size cached = std::max<Size>(2 * kernel, BAND / row);
  const Size parts = std::max<Size>(1, (2 * threads + units - 1) / std::max<Size>(1, units));
  return std::min(cached, (rows + parts - 1) / parts);
}

// Work of one thread at a time: rows [begin, end) of an image, for the channels of a block.
struct Unit {
  Size block, image, begin, end;
  Unit(Size number, Size blocks, Size rows, Size band)
      : block(number % blocks),
        image(number / blocks / ((rows + band - 1) / band)),
        begin(number / blocks % ((rows + band - 1) / band) * band),
        end(std::min(rows, begin + band)) {}
};

// What the kernels of a block see of x in the unit's rows of the result; `offsets` become those of their taps. Returns
// the values of a packed row.
template <class T>
Size pack_seen(const T* x, const Block& block, const Unit& unit, const Shape& s, Lanes* into, Size* offsets) {
  const Size k = block.kernel, wide = (s.columns - 1) * s.stride + k;
  pack(x + unit.image * s.height * s.width * s.chans + block.first, s.height, s.width, s.chans, block.lanes,
       unit.begin * s.stride - block.top, (unit.end - 1) * s.stride - block.top + k, -block.left, wide - block.left,
       into);
  for (Size t = 0; t < k * k; ++t) offsets[t] = t / k * wide + t % k;
  return wide;
}

template <class T, class Act>
void depthwise(const T* x, const std::vector<Block>& blocks, const float* shift, T* y, const Shape& s, int threads) {
  const Size largest = largest_kernel(blocks);
  const Size span = (s.columns - 1) * s.stride + largest, count = static_cast<Size>(blocks.size());
  const Size band = rows_at_a_time(s.rows, s.width * s.chans * s.stride, s.images * count, largest, threads);
  const Size bands = (s.rows + band - 1) / band;
#pragma omp parallel num_threads(threads)
  {
    std::vector<Lanes> packed(((band - 1) * s.stride + largest) * span);
    std::vector<Size> offsets(largest * largest);
    Lanes sums[PIXELS];
#pragma omp for schedule(dynamic, s.images * bands < 2 * threads ? 1 : count)
    for (Size number = 0; number < s.images * bands * count; ++number) {
      const Unit unit(number, count, s.rows, band);
      const Block& block = blocks[unit.block];
      const Size wide = pack_seen(x, block, unit, s, packed.data(), offsets.data()), taps = block.weights.size();
      const Lanes start = shift == nullptr ? Lanes{} : load(shift + block.first, block.lanes);
      for (Size r = unit.begin; r < unit.end; ++r) {
        const Lanes* from = packed.data() + (r - unit.begin) * s.stride * wide;
        T* into = y + ((unit.image * s.rows + r) * s.columns) * s.chans + block.first;
        for (Size c = 0, now = 0; c < s.columns; c += now) {
          now = pixels_now(s.columns - c);
          sums_over_taps(static_cast<int>(now), from + c * s.stride, s.stride, offsets.data(), block.weights.data(),
                         taps, start, sums);
          for (Size n = 0; n < now; ++n) store<T, Act>(into + (c + n) * s.chans, sums[n], block.lanes);
        }
      }
    }
  }
}

// The gradient of x: each of its pixels gets the gradient of the results that it is in, which at a stride are those of
// every other tap, beginning with another tap for every other row and column.
template <class T>
void depthwise_input_gradient(const T* grad, const std::vector<Block>& blocks, T* of_x, const Shape& s, int threads) {
  const Size largest = largest_kernel(blocks), count = static_cast<Size>(blocks.size());
  const Size reach = (largest - 1) / s.stride;
  const Size span = (s.width + largest) / s.stride + 2 + reach;
  const Size band = rows_at_a_time(s.height, s.width * s.chans, s.images * count, largest, threads);
  const Size bands = (s.height + band - 1) / band;
#pragma omp parallel num_threads(threads)
  {
    std::vector<Lanes> packed((band / s.stride + 2 + reach) * span);
    std::vector<Size> offsets(largest * largest);
    std::vector<Lanes> weights(largest * largest);
    Lanes sums[PIXELS];
#pragma omp for schedule(dynamic, s.images * bands < 2 * threads ? 1 : count)
    for (Size number = 0; number < s.images * bands * count; ++number) {
      const Unit unit(number, count, s.height, band);
      const Block& block = blocks[unit.block];
      const Size k = block.kernel, before = (k - 1) / s.stride;
      const Size first = (unit.begin + block.top) / s.stride - before, left = block.left / s.stride - before;
      const Size wide = (s.width - 1 + block.left) / s.stride + 1 - left;
      pack(grad + unit.image * s.rows * s.columns * s.chans + block.first, s.rows, s.columns, s.chans, block.lanes,
           first, (unit.end - 1 + block.top) / s.stride + 1, left, left + wide, packed.data());
      for (Size r = unit.begin; r < unit.end; ++r) {
        T* into = of_x + ((unit.image * s.height + r) * s.width) * s.chans + block.first;
        const Size row = (r + block.top) / s.stride - first;
        for (Size c = 0; c < std::min(s.stride, s.width); ++c) {
          Size taps = 0;
          const Size column = (c + block.left) / s.stride - left;
          for (Size a = (r + block.top) % s.stride, up = 0; a < k; a += s.stride, ++up)
            for (Size b = (c + block.left) % s.stride, back = 0; b < k; b += s.stride, ++back, ++taps)
              offsets[taps] = column - back - up * wide, weights[taps] = block.weights[a * k + b];
          const Size alike = (s.width - c + s.stride - 1) / s.stride;
          for (Size n = 0, now = 0; n < alike; n += now) {
            now = pixels_now(alike - n);
            const Lanes* from = packed.data() + row * wide + n;
            sums_over_taps(static_cast<int>(now), from, 1, offsets.data(), weights.data(), taps, Lanes{}, sums);
            for (Size m = 0; m < now; ++m)
              store<T, Linear>(into + (c + (n + m) * s.stride) * s.chans, sums[m], block.lanes);
          }
        }
      }
    }
  }
}

// For N taps the sum over pixels of the gradient times what the tap saw.
template <int N>
void add_products(const Lanes* x, const Lanes* grad, Size rows, Size columns, Size row_step, Size step,
                  const Size* offsets, Lanes* totals) {
  Lanes own[N]{};
  for (Size r = 0; r < rows; ++r)
    for (Size c = 0; c < columns; ++c) {
      const Lanes g = grad[r * columns + c];
      const Lanes* at = x + r * row_step + c * step;
      for (int n = 0; n < N; ++n) own[n] += at[offsets[n]] * g;
    }
  for (int n = 0; n < N; ++n) totals[n] += own[n];
}

constexpr int TAPS = 13;  // at a time, in registers; of 9, 25, 49, 81, 121 taps nearly as many each time

template <int N = TAPS, class... Arguments>
void add_products(int count, Arguments... arguments) {
  if constexpr (N > 0) {
    if (count == N) return add_products<N>(arguments...);
    add_products<N - 1>(count, arguments...);
  }
}

template <class T>
void depthwise_weight_gradient(const T* x, const T* grad, std::vector<Block>& blocks, const Shape& s, int threads) {
  const Size largest = largest_kernel(blocks), count = static_cast<Size>(blocks.size());
  const Size span = (s.columns - 1) * s.stride + largest;
  const Size band = rows_at_a_time(s.rows, s.width * s.chans * s.stride, s.images, largest, threads);
  const Size bands = (s.rows + band - 1) / band;
  std::vector<std::vector<Block>> found(threads, blocks);
#pragma omp parallel num_threads(threads)
  {
    std::vector<Lanes> packed(((band - 1) * s.stride + largest) * span), behind(band * s.columns);
    std::vector<Size> offsets(largest * largest);
    const Part part(s.images * bands * count);
    for (Size number = part.first; number < part.last; ++number) {
      const Unit unit(number, count, s.rows, band);
      Block& block = found[omp_get_thread_num()][unit.block];
      const Size wide = pack_seen(x, block, unit, s, packed.data(), offsets.data()), taps = block.weights.size();
      pack(grad + unit.image * s.rows * s.columns * s.chans + block.first, s.rows, s.columns, s.chans, block.lanes,
           unit.begin, unit.end, 0, s.columns, behind.data());
      for (Size t = 0, left = (taps + TAPS - 1) / TAPS; left > 0; --left) {
        const int now = static_cast<int>((taps - t + left - 1) / left);
        add_products(now, packed.data(), behind.data(), unit.end - unit.begin, s.columns, s.stride * wide, s.stride,
                     &offsets[t], &block.weights[t]);
        t += now;
      }
    }
  }
  for (Size b = 0; b < count; ++b)
    for (int thread = 0; thread < threads; ++thread)
      for (size_t t = 0; t < blocks[b].weights.size(); ++t) blocks[b].weights[t] += found[thread][b].weights[t];
}

// ---- by type and activation ----

template <class Call>
void with_activation(int act, Call call) {
  switch (act) {
    case 0: return call(Linear());
    case 1: return call(Relu());
    case 2: return call(Relu6());
    case 3: return call(Swish());
    case 4: return call(HardSwish());
  }
}

template <class Call>
void with_type(bool low, Call call) {
  low ? call(Bf16()) : call(float());
}

}  // namespace

// Batch norm over x, then the activation, into y. `kept` (5, chans) becomes mean, variance, its inverse root, and the
// scale and shift that the two and weight and bias make.
extern "C" void norm_act_forward(int low, int act, const void* x, const float* weight, const float* bias, double eps,
                                 void* y, float* kept, int64_t rows, int64_t chans, int threads) {
  with_type(low, [&]<class T>(T) {
    with_activation(act, [&]<class Act>(Act) {
      forward<T, Act>(static_cast<const T*>(x), weight, bias, eps, static_cast<T*>(y), kept, rows, chans, threads);
    });
  });
}

// Batch norm by mean and variance of before, then the activation, into y.
extern "C" void norm_act_evaluate(int low, int act, const void* x, const float* weight, const float* bias,
                                  const float* mean, const float* var, double eps, void* y, int64_t rows, int64_t chans,
                                  int threads) {
  std::vector<float> both(2 * chans);
  scale_and_shift({weight, bias, mean, var, eps}, both.data(), chans);
  with_type(low, [&]<class T>(T) {
    with_activation(act, [&]<class Act>(Act) {
      scale_act<T, Act>(static_cast<const T*>(x), both.data(), both.data() + chans, static_cast<T*>(y), rows, chans,
                        threads);
    });
  });
}

// The gradients of x (not wanted: null), weight and bias, of the gradient of y.
extern "C" void norm_act_backward(int low, int act, const void* x, const void* grad, const float* kept, void* of_x,
                                  float* of_weight, float* of_bias, int64_t rows, int64_t chans, int threads) {
  with_type(low, [&]<class T>(T) {
    with_activation(act, [&]<class Act>(Act) {
      backward<T, Act>(static_cast<const T*>(x), static_cast<const T*>(grad), kept, static_cast<T*>(of_x), of_weight,
                       of_bias, rows, chans, threads);
    });
  });
}

// The sums (images, chans) of x, or of x times `other` (if not null), over the pixels of each image.
extern "C" void image_sums(int low, const void* x, const void* other, float* sums, int64_t images, int64_t pixels,
                           int64_t chans, int threads) {
  with_type(low, [&]<class T>(T) {
    const T *a = static_cast<const T*>(x), *b = static_cast<const T*>(other);
    if (b == nullptr)
      image_sums([a](Size n) { return load(a[n]); }, sums, images, pixels, chans, threads);
    else
      image_sums([a, b](Size n) { return load(a[n]) * load(b[n]); }, sums, images, pixels, chans, threads);
  });
}

// x times `scale` plus `shift` (none: null), both (images, chans), into y.
extern "C" void image_scale(int low, const void* x, const float* scale, const float* shift, void* y, int64_t images,
                            int64_t pixels, int64_t chans, int threads) {
  with_type(low, [&]<class T>(T) {
    image_scale(static_cast<const T*>(x), scale, shift, static_cast<T*>(y), images, pixels, chans, threads);
  });
}

// Squeeze-and-excitation of x into y, by layers of `width` hidden units; the gates are hard or logistic.
extern "C" void excite(int low, int act, int hard, const void* x, const float* reduce, const float* reduce_bias,
                       const float* expand, const float* expand_bias, int64_t width, void* y, int64_t images,
                       int64_t pixels, int64_t chans, int threads) {
  const Gates gates{reduce, reduce_bias, expand, expand_bias, width, hard != 0};
  with_type(low, [&]<class T>(T) {
    with_activation(act, [&]<class Act>(Act) {
      excite<T, Act>(static_cast<const T*>(x), gates, static_cast<T*>(y), images, pixels, chans, threads);
    });
  });
}

// Depthwise convolutions of groups of channels of x (images, height, width, chans), each with its own size of kernel,
// into y (images, rows, columns, chans); then batch norm by mean and variance of before (none: `norm_weight` is null)
// and the activation. `sizes` are those of `Shape`, `groups` width, kernel, top and left of each group, `weights` their
// kernels (width, kernel, kernel).
extern "C" void depthwise_forward(int low, int act, const void* x, const int64_t* sizes, int64_t count,
                                  const int64_t* groups, const float* const* weights, const float* norm_weight,
                                  const float* bias, const float* mean, const float* var, double eps, void* y,
                                  int threads) {
  const Shape shape = shape_of(sizes);
  std::vector<float> both(norm_weight == nullptr ? 0 : 2 * shape.chans);
  if (!both.empty()) scale_and_shift({norm_weight, bias, mean, var, eps}, both.data(), shape.chans);
  const float* scale = both.empty() ? nullptr : both.data();
  const std::vector<Block> blocks = blocks_of(count, groups, weights, scale, threads);
  with_type(low, [&]<class T>(T) {
    with_activation(act, [&]<class Act>(Act) {
      depthwise<T, Act>(static_cast<const T*>(x), blocks, scale == nullptr ? nullptr : scale + shape.chans,
                        static_cast<T*>(y), shape, threads);
    });
  });
}

// The gradient of x, of the gradient of y.
extern "C" void depthwise_input_gradient(int low, const void* grad, const int64_t* sizes, int64_t count,
                                         const int64_t* groups, const float* const* weights, void* of_x, int threads) {
  const std::vector<Block> blocks = blocks_of(count, groups, weights, nullptr, threads);
  with_type(low, [&]<class T>(T) {
    depthwise_input_gradient(static_cast<const T*>(grad), blocks, static_cast<T*>(of_x), shape_of(sizes), threads);
  });
}

// The gradients of the weights, of the gradient of y.
extern "C" void depthwise_weight_gradient(int low, const void* x, const void* grad, const int64_t* sizes, int64_t count,
                                          const int64_t* groups, float* const* of_weights, int threads) {
  std::vector<Block> blocks = blocks_of(count, groups, nullptr, nullptr, threads);
  with_type(low, [&]<class T>(T) {
    depthwise_weight_gradient(static_cast<const T*>(x), static_cast<const T*>(grad), blocks, shape_of(sizes), threads);
  });
  store_weights(blocks, count, groups, of_weights);
}
