// What kernels of all kinds need. The files of this folder are compiled as one, this one first.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include <omp.h>

namespace {

using Size = int64_t;

// Of a vector register. Longer vectors would be compiled too, but kept in memory.
#if defined(__AVX512F__)
constexpr int FLOATS = 16;
#elif defined(__AVX__)
constexpr int FLOATS = 8;
#else
constexpr int FLOATS = 4;
#endif

// e^x by 2^n e^r with |r| <= ln(2) / 2 and the Taylor series of e^r: for -87 <= x <= 88 right to
// 2 units in the last place, the ends' values beyond, NaN for NaN.
inline float exponential(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  const float n = std::nearbyint(x * 1.44269504f);
  const float r = std::fma(n, -1.42860677e-6f, std::fma(n, -0.693145752f, x));
  float series = 1.0f / 5040;
  series = std::fma(series, r, 1.0f / 720);
  series = std::fma(series, r, 1.0f / 120);
  series = std::fma(series, r, 1.0f / 24);
  series = std::fma(series, r, 1.0f / 6);
  series = std::fma(series, r, 0.5f);
  series = std::fma(series, r, 1.0f);
  series = std::fma(series, r, 1.0f);
  return series * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
}

struct Part {  // of `count`, this thread's
  Size first, last;
  explicit Part(Size count)
      : first(count * omp_get_thread_num() / omp_get_num_threads()),
        last(count * (omp_get_thread_num() + 1) / omp_get_num_threads()) {}
};

}  // namespace
