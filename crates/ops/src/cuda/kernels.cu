// The operations between convolutions, one launch each where candle's operations need several passes over memory.
//
// Data are [rows, channels] (NHWC flattened), f32 or f64; values per channel are f64 or of the type of the data. One thread
// computes one element unless stated otherwise. There are no atomics, so results do not depend on the order of the threads.

typedef unsigned int u32;
#define INFINITE __int_as_float(0x7f800000)

// NaN <= 0 is false, so NaN stays NaN.
template <typename T> __device__ T positive(T value) { return value <= T(0) ? T(0) : value; }

__device__ u32 element() { return blockIdx.x * blockDim.x + threadIdx.x; }

// The parameters of batch norm in the order of the arguments; statistics are f64.
template <typename T> struct Norm {
  const double *mean, *inverse;
  const T *scale, *shift;
  int rectify;
};

// The parameters of one channel in the type of the data. `rest` corrects the rounding of the mean.
template <typename T> struct ByChannel {
  T mean, rest, inverse, scale, shift;
  bool rectify;
  __device__ ByChannel(const Norm<T> &norm, u32 channel)
      : mean(norm.mean[channel]), rest((double(mean) - norm.mean[channel]) * norm.inverse[channel]),
        inverse(norm.inverse[channel]), scale(norm.scale[channel]), shift(norm.shift[channel]), rectify(norm.rectify) {}
  __device__ T standard(T x) const { return (x - mean) * inverse + rest; }
  __device__ T value(T x) const { return standard(x) * scale + shift; }
  // The cotangent after the VJP of the fused ReLU.
  __device__ T masked(T g, T x) const { return rectify && !(value(x) > T(0)) ? T(0) : g; }
};

// A block of 32 channels by 8 rows iterates over the rows of its part.
struct Rows {
  u32 channel, begin, end;
  __device__ Rows(u32 rows) : channel(blockIdx.x * 32 + threadIdx.x) {
    u32 stretch = (rows + gridDim.y - 1) / gridDim.y, first = blockIdx.y * stretch;
    begin = first + threadIdx.y;
    end = min(first + stretch, rows);
  }
};

template <typename T> __device__ void shift(u32 count, u32 channels, const T *x, const T *by, int rectify, T *y) {
  u32 i = element();
  if (i >= count) return;
  T value = x[i] + by[i % channels];
  y[i] = rectify ? positive(value) : value;
}

template <typename T> __device__ void affine(u32 count, u32 channels, const T *x, const T *factor, const T *summand, T *y) {
  u32 i = element();
  if (i < count) y[i] = x[i] * factor[i % channels] + summand[i % channels];
}

template <typename T> __device__ void rectify(u32 count, const T *x, T *y) {
  u32 i = element();
  if (i < count) y[i] = positive(x[i]);
}

template <typename T> __device__ void relu_mask(u32 count, const T *x, const T *reference, T *y) {
  u32 i = element();
  if (i < count) y[i] = reference[i] > T(0) ? x[i] : T(0);
}

template <typename T> __device__ void sum(u32 count, const T *a, const T *b, int rectify, T *y) {
  u32 i = element();
  if (i >= count) return;
  T value = a[i] + b[i];
  y[i] = rectify ? positive(value) : value;
}

// The terms that are summed over rows. 0: x. 1: x·y. 2: x - mean and its square. 3: the masked cotangent y, and its product with x̂.
template <typename T, int TERMS>
__device__ void terms(const Rows &at, u32 channels, const T *x, const T *y, const Norm<T> &norm, double &first, double &second) {
  if (TERMS < 2) {
    for (u32 row = at.begin; row < at.end; row += 8) {
      u32 i = row * channels + at.channel;
      first += TERMS == 0 ? double(x[i]) : double(x[i]) * double(y[i]);
    }
  } else if (TERMS == 2) {
    double mean = norm.mean[at.channel];
    for (u32 row = at.begin; row < at.end; row += 8) {
      double centred = double(x[row * channels + at.channel]) - mean;
      first += centred, second += centred * centred;
    }
  } else {
    ByChannel<T> by(norm, at.channel);
    for (u32 row = at.begin; row < at.end; row += 8) {
      u32 i = row * channels + at.channel;
      double g = double(by.masked(y[i], x[i]));
      first += g, second += g * double(by.standard(x[i]));
    }
  }
}

// The sums of each part, [parts, 2, channels]; `add_parts` adds them.
template <typename T>
__device__ void part_sums(u32 rows, u32 channels, int which, const T *x, const T *y, const Norm<T> &norm, double *parts) {
  __shared__ double shared[2][8][32];
  Rows at(rows);
  double first = 0, second = 0;
  if (at.channel < channels) {
    if (which == 0) terms<T, 0>(at, channels, x, y, norm, first, second);
    if (which == 1) terms<T, 1>(at, channels, x, y, norm, first, second);
    if (which == 2) terms<T, 2>(at, channels, x, y, norm, first, second);
    if (which == 3) terms<T, 3>(at, channels, x, y, norm, first, second);
  }
  shared[0][threadIdx.y][threadIdx.x] = first, shared[1][threadIdx.y][threadIdx.x] = second;
  __syncthreads();
  if (threadIdx.y < 2 && at.channel < channels) {
    double total = 0;
    for (int row = 0; row < 8; row++) total += shared[threadIdx.y][row][threadIdx.x];
    parts[(blockIdx.y * 2 + threadIdx.y) * channels + at.channel] = total;
  }
}

template <typename T> __device__ void normalise(u32 rows, u32 channels, const T *x, const Norm<T> &norm, T *y) {
  Rows at(rows);
  if (at.channel >= channels) return;
  ByChannel<T> by(norm, at.channel);
  for (u32 row = at.begin; row < at.end; row += 8) {
    u32 i = row * channels + at.channel;
    T value = by.value(x[i]);
    y[i] = by.rectify ? positive(value) : value;
  }
}

// dx = scale · inverse · (g - mean(g) - x̂ · mean(g·x̂)); sums are those of terms 3.
template <typename T>
__device__ void norm_gradient(u32 rows, u32 channels, const T *x, const T *g, const Norm<T> &norm, const double *sums, T *dx) {
  Rows at(rows);
  if (at.channel >= channels) return;
  ByChannel<T> by(norm, at.channel);
  T level = T(sums[at.channel] / rows), tilt = T(sums[channels + at.channel] / rows);
  T factor = T(double(by.scale) * norm.inverse[at.channel]);
  for (u32 row = at.begin; row < at.end; row += 8) {
    u32 i = row * channels + at.channel;
    dx[i] = factor * (by.masked(g[i], x[i]) - level - by.standard(x[i]) * tilt);
  }
}

// Each of the images [a, b] to [b, a], by tiles of 32 by 32.
template <typename T> __device__ void transpose(u32 a, u32 b, const T *x, T *y) {
  __shared__ T tile[32][33];
  size_t image = size_t(blockIdx.x) * a * b;
  u32 column = blockIdx.y * 32 + threadIdx.x, row = blockIdx.z * 32 + threadIdx.y;
  for (u32 k = 0; k < 32; k += 8)
    if (column < b && row + k < a) tile[threadIdx.y + k][threadIdx.x] = x[image + size_t(row + k) * b + column];
  __syncthreads();
  column = blockIdx.z * 32 + threadIdx.x, row = blockIdx.y * 32 + threadIdx.y;
  for (u32 k = 0; k < 32; k += 8)
    if (column < a && row + k < b) y[image + size_t(row + k) * a + column] = tile[threadIdx.x][threadIdx.y + k];
}

struct Pool { u32 batch, height, width, channels, kernel[2], stride[2], padding[2], out_height, out_width; };

// The window's maximum and its pixel (row · width + column), the first in row-major order; NaN counts as infinite.
template <typename T> __device__ void max_pool(Pool p, const T *x, T *y, u32 *positions) {
  u32 i = element();
  if (i >= p.batch * p.out_height * p.out_width * p.channels) return;
  u32 channel = i % p.channels, column = i / p.channels % p.out_width, row = i / p.channels / p.out_width % p.out_height;
  const T *image = x + size_t(i / p.channels / p.out_width / p.out_height) * p.height * p.width * p.channels + channel;
  int top = int(row * p.stride[0]) - int(p.padding[0]), left = int(column * p.stride[1]) - int(p.padding[1]);
  int bottom = min(top + int(p.kernel[0]), int(p.height)), right = min(left + int(p.kernel[1]), int(p.width));
  top = max(top, 0), left = max(left, 0);
  T best = -T(INFINITE);
  u32 found = top * p.width + left;
  for (int v = top; v < bottom; v++) {
    for (int u = left; u < right; u++) {
      T value = image[(v * p.width + u) * p.channels];
      T key = value == value ? value : T(INFINITE);
      if (key > best) best = key, found = v * p.width + u;
    }
  }
  y[i] = image[found * p.channels];
  positions[i] = found;
}

template <typename T> __device__ void pool_gather(Pool p, const T *x, const u32 *positions, T *y) {
  u32 i = element(), pooled = p.out_height * p.out_width * p.channels;
  if (i >= p.batch * pooled) return;
  y[i] = x[size_t(i / pooled) * p.height * p.width * p.channels + positions[i] * p.channels + i % p.channels];
}

// For each pixel, the sum of the cotangents of the windows whose maximum it is, in the order of the windows.
template <typename T> __device__ void pool_scatter(Pool p, const T *g, const u32 *positions, T *dx) {
  u32 i = element();
  if (i >= p.batch * p.height * p.width * p.channels) return;
  u32 channel = i % p.channels, column = i / p.channels % p.width, row = i / p.channels / p.width % p.height;
  size_t image = size_t(i / p.channels / p.width / p.height) * p.out_height * p.out_width;
  u32 down = row + p.padding[0], across = column + p.padding[1];
  u32 top = down < p.kernel[0] ? 0 : (down - p.kernel[0]) / p.stride[0] + 1;
  u32 left = across < p.kernel[1] ? 0 : (across - p.kernel[1]) / p.stride[1] + 1;
  u32 bottom = min(down / p.stride[0] + 1, p.out_height), right = min(across / p.stride[1] + 1, p.out_width);
  T total = T(0);
  for (u32 v = top; v < bottom; v++) {
    for (u32 u = left; u < right; u++) {
      size_t at = (image + v * p.out_width + u) * p.channels + channel;
      if (positions[at] == row * p.width + column) total += g[at];
    }
  }
  dx[i] = total;
}

// Sums the parts in order; `sums` is [2, channels].
extern "C" __global__ void add_parts(u32 parts, u32 values, const double *from, double *sums) {
  u32 i = element();
  if (i >= values) return;
  double total = 0;
  for (u32 part = 0; part < parts; part++) total += from[part * values + i];
  sums[i] = total;
}

#define NORM(T) const double *mean, const double *inverse, const T *scale, const T *by, int fused_relu
#define MADE(T) (Norm<T>{mean, inverse, scale, by, fused_relu})

#define KERNELS(T, NAME)                                                                                                  \
  extern "C" __global__ void shift_##NAME(u32 n, u32 c, const T *x, const T *by, int r, T *y) { shift(n, c, x, by, r, y); } \
  extern "C" __global__ void affine_##NAME(u32 n, u32 c, const T *x, const T *f, const T *s, T *y) {                       \
    affine(n, c, x, f, s, y);                                                                                              \
  }                                                                                                                        \
  extern "C" __global__ void rectify_##NAME(u32 n, const T *x, T *y) { rectify(n, x, y); }                                 \
  extern "C" __global__ void relu_mask_##NAME(u32 n, const T *x, const T *reference, T *y) { relu_mask(n, x, reference, y); }         \
  extern "C" __global__ void sum_##NAME(u32 n, const T *a, const T *b, int r, T *y) { sum(n, a, b, r, y); }                 \
  extern "C" __global__ void part_sums_##NAME(u32 m, u32 c, int terms, const T *x, const T *y, NORM(T), double *parts) {    \
    part_sums(m, c, terms, x, y, MADE(T), parts);                                                                          \
  }                                                                                                                        \
  extern "C" __global__ void normalise_##NAME(u32 m, u32 c, const T *x, NORM(T), T *y) { normalise(m, c, x, MADE(T), y); }  \
  extern "C" __global__ void transpose_##NAME(u32 a, u32 b, const T *x, T *y) { transpose(a, b, x, y); }                    \
  extern "C" __global__ void norm_gradient_##NAME(u32 m, u32 c, const T *x, const T *g, NORM(T), const double *sums, T *dx) { \
    norm_gradient(m, c, x, g, MADE(T), sums, dx);                                                                          \
  }                                                                                                                        \
  extern "C" __global__ void max_pool_##NAME(Pool p, const T *x, T *y, u32 *at) { max_pool(p, x, y, at); }                  \
  extern "C" __global__ void pool_gather_##NAME(Pool p, const T *x, const u32 *at, T *y) { pool_gather(p, x, at, y); }      \
  extern "C" __global__ void pool_scatter_##NAME(Pool p, const T *g, const u32 *at, T *dx) { pool_scatter(p, g, at, dx); }

KERNELS(float, f32)
KERNELS(double, f64)

// The elements are only moved, so any type of two bytes works.
extern "C" __global__ void transpose_bf16(u32 a, u32 b, const unsigned short *x, unsigned short *y) { transpose(a, b, x, y); }
