// Products of matrices that are small, or long and narrow, as recurrent cells have them: the sums of a tile of the
// result stay in registers while its rows and a panel of columns of the right side pass by.
//
// A panel is (depth, COLS), its values side by side; the last one of a matrix is filled up with zeros.

namespace {

// As many as their sums fit the registers.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int ROWS = 8;
#else
constexpr int ROWS = 4;
#endif
constexpr Size COLS = 2 * FLOATS;
constexpr Size DEPTH = 256;  // of a panel that stays in the first cache

using Vector = float __attribute__((vector_size(sizeof(float) * FLOATS), aligned(sizeof(float)), may_alias));

inline Vector& vector(float* at) { return *reinterpret_cast<Vector*>(at); }
inline const Vector& vector(const float* at) { return *reinterpret_cast<const Vector*>(at); }

struct Side {  // the left one, its element (r, k) at r * row + k * step
  const float* values;
  Size row, step;
};

// into (R, COLS) += left (R, depth) times a panel. The sum of a panel is added as a whole: of a long product single
// terms would be lost in what is there already.
template <int R>
inline void add_tile(Side left, const float* panel, Size depth, float* into, Size into_row) {
  Vector sums[R][2] = {};
  for (Size k = 0; k < depth; ++k) {
    const Vector first = vector(panel + k * COLS), second = vector(panel + k * COLS + FLOATS);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const float value = left.values[r * left.row + k * left.step];
      sums[r][0] += value * first;
      sums[r][1] += value * second;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    vector(into + r * into_row) += sums[r][0];
    vector(into + r * into_row + FLOATS) += sums[r][1];
  }
}

template <int R = ROWS>
void add_rows(Size rows, Side left, const float* panel, Size depth, float* into, Size into_row) {
  if (rows == R) return add_tile<R>(left, panel, depth, into, into_row);
  if constexpr (R > 1) add_rows<R - 1>(rows, left, panel, depth, into, into_row);
}

// The same for 1 to ROWS rows and 1 to COLS columns.
void add_any(Size rows, Size cols, Side left, const float* panel, Size depth, float* into, Size into_row) {
  if (cols == COLS) return add_rows(rows, left, panel, depth, into, into_row);
  float whole[ROWS * COLS] = {};
  for (Size r = 0; r < rows; ++r) std::copy_n(into + r * into_row, cols, whole + r * COLS);
  add_rows(rows, left, panel, depth, whole, COLS);
  for (Size r = 0; r < rows; ++r) std::copy_n(whole + r * COLS, cols, into + r * into_row);
}

inline Size in_panels(Size cols) { return (cols + COLS - 1) / COLS * COLS; }

// One panel, from column `first` on, of a matrix (depth, cols) whose element (k, j) is at k * step + j * col.
void pack_panel(const float* from, Size step, Size col, Size depth, Size cols, Size first, float* panel) {
  const Size own = std::min(COLS, cols - first);
  for (Size k = 0; k < depth; ++k, panel += COLS) {
    for (Size j = 0; j < own; ++j) panel[j] = from[k * step + (first + j) * col];
    std::fill(panel + own, panel + COLS, 0.0f);
  }
}

// Columns of a matrix of `depth` rows, so many side by side, each of these panels DEPTH rows long.
template <Size WIDTH>
void pack_columns(const float* from, Size row, Size depth, Size cols, float* into) {
  for (Size first = 0; first < cols; first += WIDTH, into += WIDTH * DEPTH) {
    const Size own = std::min(WIDTH, cols - first);
    for (Size k = 0; k < depth; ++k) {
      const float* values = from + k * row + first;
      float* panel = into + k * WIDTH;
      if (own == WIDTH) std::memcpy(panel, values, WIDTH * sizeof(float));  // of a size that is known: one or two moves
      else std::fill(std::copy_n(values, own, panel), panel + WIDTH, 0.0f);
    }
  }
}

// into (rows, cols) += left (rows, depth) times a matrix in panels.
void add_product(const float* left, Size rows, Size depth, const float* panels, Size cols, float* into) {
  for (Size c = 0; c < cols; c += COLS)
    for (Size k = 0; k < depth; k += DEPTH)
      for (Size r = 0; r < rows; r += ROWS)
        add_any(std::min<Size>(ROWS, rows - r), std::min(COLS, cols - c), {left + r * depth + k, depth, 1},
                panels + c * depth + k * COLS, std::min(DEPTH, depth - k), into + r * cols + c, cols);
}

// Sums over rows of products of the values of two matrices, as gradients of a weight (m, n) are: left (rows, m)
// transposed times right (rows, n). Each thread has some of the rows of the sum.
class Sums {
 public:
  Sums(float* into, Size m, Size n)
      : into(into), m(m), n(n), part((m + ROWS - 1) / ROWS), first(part.first * ROWS),
        own(std::max<Size>(0, std::min(part.last * ROWS, m) - first)), lefts((own + ROWS) * DEPTH),
        rights(in_panels(n) * DEPTH) {
    std::fill_n(into + first * n, own * n, 0.0f);
  }

  void add(const float* left, const float* right, Size rows) {
    for (Size k = 0; k < rows && own; k += DEPTH) {
      const Size depth = std::min(DEPTH, rows - k);
      pack_columns<ROWS>(left + k * m + first, m, depth, own, lefts.data());
      pack_columns<COLS>(right + k * n, n, depth, n, rights.data());
      for (Size c = 0; c < n; c += COLS)
        for (Size r = 0; r < own; r += ROWS)
          add_any(std::min<Size>(ROWS, own - r), std::min(COLS, n - c), {lefts.data() + r * DEPTH, 1, ROWS},
                  rights.data() + c * DEPTH, depth, into + (first + r) * n + c, n);
    }
  }

 private:
  float* into;
  Size m, n;
  Part part;
  Size first, own;
  std::vector<float> lefts, rights;
};

}  // namespace

extern "C" void sum_of_products(const float* left, const float* right, float* into, Size rows, Size m, Size n,
                                int threads) {
#pragma omp parallel num_threads(threads)
  Sums(into, m, n).add(left, right, rows);
}
