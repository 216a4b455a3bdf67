// Convolutions, matrix products, attention, layer norm and GELU of float32 by oneDNN, as functions that XLA calls (aeseg/models/onednn.py
// builds and registers them); and the sums of batch norm, which oneDNN has only together with what XLA fuses into the next operation.
//
// Images are [b h w c], kernels [y x c d], or [y x c] of a depthwise convolution.  oneDNN chooses its own layout for kernels, so each call
// first copies its kernel into that layout, or copies the gradient of a kernel out of it; with AVX2 alone, some images are copied, too.
// Attention shares its images and heads out to the cores: the weights of one stay in the cache of its core.  One call runs at a time,
// because XLA may make several at once: on all cores, or on one core if it is small.

#include <algorithm>
#include <atomic>
#include <cfloat>
#include <cstdlib>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

// The functions and constants of oneDNN 3 that are used here; its interface is stable within version 3.
extern "C" {
typedef struct dnnl_engine *Engine;
typedef struct dnnl_stream *Stream;
typedef struct dnnl_memory_desc *Layout;
typedef struct dnnl_memory *Memory;
typedef struct dnnl_primitive_desc *Description;
typedef struct dnnl_primitive *Primitive;
typedef struct dnnl_primitive_attr *Attributes;
struct Argument {
  int name;
  Memory memory;
};
int dnnl_get_effective_cpu_isa();
int dnnl_engine_create(Engine *, int kind, size_t index);
int dnnl_stream_create(Stream *, Engine, unsigned flags);
int dnnl_stream_wait(Stream);
int dnnl_memory_desc_create_with_strides(Layout *, int axes, const int64_t *sizes, int type, const int64_t *strides);
int dnnl_memory_desc_create_with_tag(Layout *, int axes, const int64_t *sizes, int type, int tag);
size_t dnnl_memory_desc_get_size(Layout);
int dnnl_memory_desc_equal(Layout, Layout);
int dnnl_memory_create(Memory *, Layout, Engine, void *data);
int dnnl_memory_set_data_handle(Memory, void *data);
int dnnl_primitive_attr_create(Attributes *);
int dnnl_primitive_attr_set_scratchpad_mode(Attributes, int mode);
int dnnl_convolution_forward_primitive_desc_create(Description *, Engine, int kind, int algorithm, Layout image, Layout kernel, Layout bias,
                                                   Layout result, const int64_t *strides, const int64_t *dilation, const int64_t *before,
                                                   const int64_t *after, Attributes);
int dnnl_convolution_backward_data_primitive_desc_create(Description *, Engine, int algorithm, Layout image, Layout kernel, Layout result,
                                                         const int64_t *strides, const int64_t *dilation, const int64_t *before,
                                                         const int64_t *after, Description forward, Attributes);
int dnnl_convolution_backward_weights_primitive_desc_create(Description *, Engine, int algorithm, Layout image, Layout kernel, Layout bias,
                                                            Layout result, const int64_t *strides, const int64_t *dilation,
                                                            const int64_t *before, const int64_t *after, Description forward, Attributes);
int dnnl_matmul_primitive_desc_create(Description *, Engine, Layout left, Layout right, Layout bias, Layout result, Attributes);
int dnnl_softmax_forward_primitive_desc_create(Description *, Engine, int kind, int algorithm, Layout scores, Layout weights, int axis,
                                               Attributes);
int dnnl_softmax_backward_primitive_desc_create(Description *, Engine, int algorithm, Layout of_scores, Layout of_weights, Layout weights,
                                                int axis, Description forward, Attributes);
int dnnl_eltwise_forward_primitive_desc_create(Description *, Engine, int kind, int algorithm, Layout values, Layout result, float alpha,
                                               float beta, Attributes);
int dnnl_eltwise_backward_primitive_desc_create(Description *, Engine, int algorithm, Layout of_values, Layout of_result, Layout values,
                                                float alpha, float beta, Description forward, Attributes);
int dnnl_layer_normalization_forward_primitive_desc_create(Description *, Engine, int kind, Layout values, Layout result, Layout statistics,
                                                           float epsilon, unsigned flags, Attributes);
int dnnl_layer_normalization_backward_primitive_desc_create(Description *, Engine, int kind, Layout of_values, Layout of_result,
                                                            Layout values, Layout statistics, float epsilon, unsigned flags,
                                                            Description forward, Attributes);
int dnnl_reorder_primitive_desc_create(Description *, Layout from, Engine, Layout to, Engine, Attributes);
Layout dnnl_primitive_desc_query_md(Description, int what, int index);
int dnnl_primitive_create(Primitive *, Description);
int dnnl_primitive_execute(Primitive, Stream, int count, const Argument *);
// OpenMP's, which oneDNN uses: the number of threads that calls from this thread use, and a call of a function by several threads at once.
int omp_get_max_threads();
void omp_set_num_threads(int);
void GOMP_parallel(void (*function)(void *), void *data, unsigned threads, unsigned flags);
}
constexpr int kAvx512 = 0x20;
constexpr int kCpu = 1, kInOrder = 1, kFloat = 3, kAnyLayout = 1, kGivenScratch = 1, kTraining = 64, kBackward = 128;
constexpr int kDirect = 1, kSoftmax = 0x30000, kExactGelu = 0x31, kScaleAndShift = 2 | 4;
constexpr int kLayoutOfImage = 129, kLayoutOfImageGradient = 130, kLayoutOfKernel = 131, kLayoutOfKernelGradient = 132;
constexpr int kLayoutOfResult = 133, kLayoutOfResultGradient = 134, kLayoutOfScratch = 136;
constexpr int kLeft = 1, kResult = 17, kRight = 33, kMean = 49, kVariance = 50, kScale = 51, kShift = 52, kScratch = 80;
constexpr int kImageGradient = 129, kResultGradient = 145, kKernelGradient = 161, kScaleGradient = 255, kShiftGradient = 256;

namespace {

void check(int status) {
  if (status) throw std::runtime_error("oneDNN returned status " + std::to_string(status));
}

template <typename T, typename... A>
T made(int (*create)(T *, A...), std::common_type_t<A>... arguments) {
  T object;
  check(create(&object, arguments...));
  return object;
}

// Memory that grows and is used by one call at a time.
struct Space {
  void *data = nullptr;
  size_t size = 0;
  void *of(size_t wanted) {
    if (wanted > size) {
      std::free(data);
      size = 0;
      const size_t pages = (wanted + 4095) / 4096;
      data = std::aligned_alloc(4096, 4096 * pages);
      if (!data) throw std::bad_alloc();
      size = 4096 * pages;
    }
    return data;
  }
};

Engine engine() {
  static Engine it = made(dnnl_engine_create, kCpu, size_t{0});
  return it;
}

Attributes attributes() {
  static Attributes it = [] {
    Attributes made_here = made(dnnl_primitive_attr_create);
    check(dnnl_primitive_attr_set_scratchpad_mode(made_here, kGivenScratch));
    return made_here;
  }();
  return it;
}

// A primitive of oneDNN, with its scratch memory.
class Step {
 public:
  explicit Step(Description description) : primitive_(made(dnnl_primitive_create, description)) {
    Layout layout = dnnl_primitive_desc_query_md(description, kLayoutOfScratch, 0);
    bytes_ = dnnl_memory_desc_get_size(layout);
    scratch_ = made(dnnl_memory_create, layout, engine(), nullptr);
  }
  void run(Stream stream, Space &space, std::vector<Argument> arguments) {
    check(dnnl_memory_set_data_handle(scratch_, space.of(bytes_)));
    arguments.push_back({kScratch, scratch_});
    check(dnnl_primitive_execute(primitive_, stream, static_cast<int>(arguments.size()), arguments.data()));
  }

 private:
  Primitive primitive_;
  Memory scratch_;
  size_t bytes_;
};

Memory memory(Layout layout) { return made(dnnl_memory_create, layout, engine(), nullptr); }

using Sizes = std::vector<int64_t>;

Layout layout(const Sizes &sizes, const Sizes &strides) {
  return made(dnnl_memory_desc_create_with_strides, static_cast<int>(sizes.size()), sizes.data(), kFloat, strides.data());
}

// Products of two matrices, or of pairs of them, in memory of the given layouts.
class Multiply {
 public:
  Multiply(Layout left, Layout right, Layout result)
      : step_(made(dnnl_matmul_primitive_desc_create, engine(), left, right, nullptr, result, attributes())),
        left_(memory(left)),
        right_(memory(right)),
        result_(memory(result)) {}
  void run(Stream stream, Space &space, float *left, float *right, float *result) {
    check(dnnl_memory_set_data_handle(left_, left));
    check(dnnl_memory_set_data_handle(right_, right));
    check(dnnl_memory_set_data_handle(result_, result));
    step_.run(stream, space, {{kLeft, left_}, {kRight, right_}, {kResult, result_}});
  }

 private:
  Step step_;
  Memory left_, right_, result_;
};

enum Task { kForward, kToImage, kToKernel, kProduct, kNorm, kOfNorm, kGelu, kOfGelu };

// What a function of XLA runs; made once for its sizes, and kept.
struct Job {
  virtual ~Job() = default;
  // `arrays` are the arguments and then the results of the function.
  virtual void run(Stream stream, Space &space, float *const *arrays) = 0;
};

// With AVX2 alone, oneDNN takes 1.1 to 1.9 times as long for the gradient of a kernel if the images are channels last and their rows are
// long.  These are then copied into a layout of its own.
constexpr int64_t kLong = 4096, kMany = 64;
bool avx512() { return dnnl_get_effective_cpu_isa() & kAvx512; }

// An array in the layout of XLA that a primitive reads or writes in a layout of its own: it is copied if they differ.
class Array {
 public:
  Array(Layout plain, Layout chosen, bool written) : chosen_(memory(chosen)), written_(written) {
    if (dnnl_memory_desc_equal(plain, chosen)) return;
    plain_ = memory(plain);
    bytes_ = dnnl_memory_desc_get_size(chosen);
    Layout from = written ? chosen : plain, to = written ? plain : chosen;
    copy_ = std::make_unique<Step>(made(dnnl_reorder_primitive_desc_create, from, engine(), to, engine(), attributes()));
  }

  // What the primitive reads or writes.  `copies` holds the copy.
  Memory begin(Stream stream, Space &space, Space &copies, float *data) {
    if (copy_) check(dnnl_memory_set_data_handle(plain_, data));
    check(dnnl_memory_set_data_handle(chosen_, copy_ ? copies.of(bytes_) : data));
    if (copy_ && !written_) copy_->run(stream, space, {{kLeft, plain_}, {kResult, chosen_}});
    return chosen_;
  }

  // After the primitive.
  void end(Stream stream, Space &space) {
    if (copy_ && written_) copy_->run(stream, space, {{kLeft, chosen_}, {kResult, plain_}});
  }

 private:
  std::unique_ptr<Step> copy_;
  Memory chosen_, plain_ = nullptr;
  size_t bytes_ = 0;
  bool written_;
};

// A convolution, or the gradient of its image or kernel.
class Convolution : public Job {
 public:
  // sizes: b h w c of the image; y x d of the kernel; rows and columns of the result; stride; padding before and after; whether it is
  // depthwise.
  Convolution(Task task, const Sizes &n) : task_(task) {
    const int64_t b = n[0], h = n[1], w = n[2], c = n[3], y = n[4], x = n[5], d = n[6], i = n[7], j = n[8];
    const int64_t strides[] = {n[9], n[9]}, dilation[] = {0, 0}, before[] = {n[10], n[12]}, after[] = {n[11], n[13]};
    const Sizes of_image = {b, c, h, w}, of_result = {b, d, i, j}, of_kernel = n[14] ? Sizes{c, 1, 1, y, x} : Sizes{d, c, y, x};
    const Layout plain_image = layout(of_image, {h * w * c, 1, w * c, c}), plain_result = layout(of_result, {i * j * d, 1, j * d, d});
    const Layout plain_kernel = layout(of_kernel, n[14] ? Sizes{1, c, c, x * c, c} : Sizes{1, d, x * c * d, c * d});
    const bool copied = task == kToKernel && !avx512() && y * x > 1 && w * c >= kLong && d >= kMany;
    const Layout image = copied ? any(of_image) : plain_image, kernel = any(of_kernel), result = copied ? any(of_result) : plain_result;
    Description forward = made(dnnl_convolution_forward_primitive_desc_create, engine(), kTraining, kDirect, image, kernel, nullptr, result,
                               strides, dilation, before, after, attributes());
    Description chosen = forward;
    if (task == kToImage)
      chosen = made(dnnl_convolution_backward_data_primitive_desc_create, engine(), kDirect, image, kernel, result, strides, dilation,
                    before, after, forward, attributes());
    if (task == kToKernel)
      chosen = made(dnnl_convolution_backward_weights_primitive_desc_create, engine(), kDirect, image, kernel, nullptr, result, strides,
                    dilation, before, after, forward, attributes());
    auto array = [chosen](Layout plain, int what, bool written) {
      return std::make_unique<Array>(plain, dnnl_primitive_desc_query_md(chosen, what, 0), written);
    };
    image_ = array(plain_image, task == kToImage ? kLayoutOfImageGradient : kLayoutOfImage, task == kToImage);
    kernel_ = array(plain_kernel, task == kToKernel ? kLayoutOfKernelGradient : kLayoutOfKernel, task == kToKernel);
    result_ = array(plain_result, task == kForward ? kLayoutOfResult : kLayoutOfResultGradient, task == kForward);
    convolve_ = std::make_unique<Step>(chosen);
  }

  static double multiplications(const Sizes &n) { return 1. * n[0] * n[7] * n[8] * n[4] * n[5] * n[6] * (n[14] ? 1 : n[3]); }

  void run(Stream stream, Space &space, float *const *arrays) override {
    static Space images, kernels, results;
    Memory image = image_->begin(stream, space, images, arrays[task_ == kToImage ? 2 : 0]);
    Memory kernel = kernel_->begin(stream, space, kernels, arrays[task_ == kToImage ? 0 : task_ == kToKernel ? 2 : 1]);
    Memory result = result_->begin(stream, space, results, arrays[task_ == kForward ? 2 : 1]);
    if (task_ == kForward) convolve_->run(stream, space, {{kLeft, image}, {kRight, kernel}, {kResult, result}});
    if (task_ == kToImage) convolve_->run(stream, space, {{kImageGradient, image}, {kRight, kernel}, {kResultGradient, result}});
    if (task_ == kToKernel) convolve_->run(stream, space, {{kLeft, image}, {kKernelGradient, kernel}, {kResultGradient, result}});
    for (Array *each : {image_.get(), kernel_.get(), result_.get()}) each->end(stream, space);
  }

 private:
  static Layout any(const Sizes &sizes) {
    return made(dnnl_memory_desc_create_with_tag, static_cast<int>(sizes.size()), sizes.data(), kFloat, kAnyLayout);
  }

  Task task_;
  std::unique_ptr<Step> convolve_;
  std::unique_ptr<Array> image_, kernel_, result_;
};

// Products of pairs of matrices.
class Product : public Job {
 public:
  // sizes: pairs, m, k, n; whether the left matrices lie in memory as [k m], and the right ones as [n k].
  explicit Product(const Sizes &sizes) {
    const int64_t b = sizes[0], m = sizes[1], k = sizes[2], n = sizes[3];
    Layout left = layout({b, m, k}, sizes[4] ? Sizes{m * k, 1, m} : Sizes{m * k, k, 1});
    Layout right = layout({b, k, n}, sizes[5] ? Sizes{k * n, 1, k} : Sizes{k * n, n, 1});
    multiply_ = std::make_unique<Multiply>(left, right, layout({b, m, n}, {m * n, n, 1}));
  }

  static double multiplications(const Sizes &sizes) { return 1. * sizes[0] * sizes[1] * sizes[2] * sizes[3]; }

  void run(Stream stream, Space &space, float *const *arrays) override {
    multiply_->run(stream, space, arrays[0], arrays[1], arrays[2]);
  }

 private:
  std::unique_ptr<Multiply> multiply_;
};

// An element of a norm or of GELU takes as long as about this number of multiplications.
constexpr double kEach = 30;

// One primitive, each of whose arguments is a whole array.
class Whole : public Job {
 public:
  void run(Stream stream, Space &space, float *const *arrays) override {
    for (size_t number = 0; number < arguments_.size(); ++number)
      check(dnnl_memory_set_data_handle(arguments_[number].memory, arrays[number]));
    step_->run(stream, space, arguments_);
  }

 protected:
  std::unique_ptr<Step> step_;
  std::vector<Argument> arguments_;
};

// Layer norm over the columns of a matrix, or its gradient.
class Norm : public Whole {
 public:
  static double multiplications(const Sizes &n) { return kEach * n[0] * n[1]; }

  // sizes: rows, columns.
  Norm(Task task, const Sizes &n, float epsilon) {
    Layout matrix = layout(n, {n[1], 1}), of_rows = layout({n[0]}, {1}), of_columns = layout({n[1]}, {1});
    Description forward = made(dnnl_layer_normalization_forward_primitive_desc_create, engine(), kTraining, matrix, matrix, of_rows,
                               epsilon, unsigned{kScaleAndShift}, attributes());
    if (task == kNorm) {
      step_ = std::make_unique<Step>(forward);
      arguments_ = {{kLeft, memory(matrix)},   {kScale, memory(of_columns)}, {kShift, memory(of_columns)},
                    {kResult, memory(matrix)}, {kMean, memory(of_rows)},     {kVariance, memory(of_rows)}};
      return;
    }
    step_ = std::make_unique<Step>(made(dnnl_layer_normalization_backward_primitive_desc_create, engine(), kBackward, matrix, matrix,
                                        matrix, of_rows, epsilon, unsigned{kScaleAndShift}, forward, attributes()));
    arguments_ = {{kLeft, memory(matrix)},  {kScale, memory(of_columns)}, {kShift, memory(of_columns)},
                  {kMean, memory(of_rows)}, {kVariance, memory(of_rows)}, {kResultGradient, memory(matrix)},
                  {kImageGradient, memory(matrix)}, {kScaleGradient, memory(of_columns)}, {kShiftGradient, memory(of_columns)}};
  }
};

// Exact GELU of a vector, or its gradient.
class Gelu : public Whole {
 public:
  static double multiplications(const Sizes &n) { return kEach * n[0]; }

  // sizes: elements.
  Gelu(Task task, const Sizes &n) {
    Layout vector = layout(n, {1});
    Description forward =
        made(dnnl_eltwise_forward_primitive_desc_create, engine(), kTraining, kExactGelu, vector, vector, 0.f, 0.f, attributes());
    if (task == kGelu) {
      step_ = std::make_unique<Step>(forward);
      arguments_ = {{kLeft, memory(vector)}, {kResult, memory(vector)}};
      return;
    }
    step_ = std::make_unique<Step>(made(dnnl_eltwise_backward_primitive_desc_create, engine(), kExactGelu, vector, vector, vector, 0.f, 0.f,
                                        forward, attributes()));
    arguments_ = {{kLeft, memory(vector)}, {kResultGradient, memory(vector)}, {kImageGradient, memory(vector)}};
  }
};

std::unique_ptr<Job> job_of(Task task, const Sizes &sizes, float epsilon) {
  switch (task) {
    case kProduct:
      return std::make_unique<Product>(sizes);
    case kNorm:
    case kOfNorm:
      return std::make_unique<Norm>(task, sizes, epsilon);
    case kGelu:
    case kOfGelu:
      return std::make_unique<Gelu>(task, sizes);
    default:
      return std::make_unique<Convolution>(task, sizes);
  }
}

std::mutex one_call;

// Do the work of a call, one call at a time; return what it throws as an error of XLA.
template <typename Work>
ffi::Error in_turn(const Work &work) {
  try {
    std::lock_guard<std::mutex> alone(one_call);
    work();
  } catch (const std::exception &exception) {
    return ffi::Error::Internal(std::string("A call of oneDNN failed: ") + exception.what());
  }
  return ffi::Error::Success();
}

// While it lives, calls of oneDNN from this thread use one thread.
class Alone {
 public:
  Alone() { omp_set_num_threads(1); }
  ~Alone() { omp_set_num_threads(before_); }

 private:
  const int before_ = omp_get_max_threads();
};

// The least number of multiplications for which other threads are woken: 0.1 ms of one core.
constexpr double kSharedOut = 8e6;

// Work that several threads share: each takes the next number until none is left.
struct Shared {
  const std::function<void(size_t, int64_t)> &work;
  const int64_t count;
  std::atomic<int64_t> next{0};
  std::atomic<size_t> thread{0};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;

  static void take_part(void *data) {
    Shared &shared = *static_cast<Shared *>(data);
    const size_t thread = shared.thread++;
    try {
      for (int64_t number; (number = shared.next++) < shared.count;) shared.work(thread, number);
    } catch (...) {
      if (!shared.failed.exchange(true)) shared.failure = std::current_exception();
    }
  }
};

// Call `work` with the number of a thread and a number, once for each number below `count`; by several threads if the multiplications are
// many.
void share_out(int64_t count, double multiplications, const std::function<void(size_t, int64_t)> &work) {
  Shared shared{work, count};
  GOMP_parallel(Shared::take_part, &shared, multiplications < kSharedOut ? 1 : omp_get_max_threads(), 0);
  if (shared.failed) std::rethrow_exception(shared.failure);
}

double multiplications_of(Task task, const Sizes &sizes) {
  switch (task) {
    case kProduct:
      return Product::multiplications(sizes);
    case kNorm:
    case kOfNorm:
      return Norm::multiplications(sizes);
    case kGelu:
    case kOfGelu:
      return Gelu::multiplications(sizes);
    default:
      return Convolution::multiplications(sizes);
  }
}

// Run the job of these sizes on the arguments and results of a call.
ffi::Error run(Task task, const Sizes &sizes, const std::vector<float *> &arrays, float epsilon = 0) {
  return in_turn([&] {
    static Stream stream = made(dnnl_stream_create, engine(), unsigned{kInOrder});
    static Space space;
    static std::map<std::tuple<Task, Sizes, float>, std::unique_ptr<Job>> jobs;
    std::unique_ptr<Job> &job = jobs[{task, sizes, epsilon}];
    std::optional<Alone> alone;
    if (multiplications_of(task, sizes) < kSharedOut) alone.emplace();
    if (!job) job = job_of(task, sizes, epsilon);
    job->run(stream, space, arrays.data());
    check(dnnl_stream_wait(stream));
  });
}

// Attention of one image and head at a time, softmax(query key^T) value, or its gradient; one thread uses it at a time.
class Head {
 public:
  // sizes: queries, keys, heads, channels of a head.
  Head(const Sizes &sizes, bool gradient) : queries_(sizes[0]), keys_(sizes[1]) {
    const int64_t q = queries_, k = keys_, c = sizes[3], row = sizes[2] * c;
    Layout query = layout({q, c}, {row, 1}), key = layout({k, c}, {row, 1}), turned = layout({c, k}, {1, row});
    Layout weights = layout({q, k}, {k, 1}), over_queries = layout({k, q}, {1, k});
    Description softmax =
        made(dnnl_softmax_forward_primitive_desc_create, engine(), kTraining, kSoftmax, weights, weights, 1, attributes());
    score_ = std::make_unique<Multiply>(query, turned, weights);
    normalise_ = std::make_unique<Step>(softmax);
    weights_ = memory(weights);
    attend_ = std::make_unique<Multiply>(weights, key, query);
    if (!gradient) return;
    change_ = memory(weights);
    to_key_ = std::make_unique<Multiply>(over_queries, query, key);
    through_softmax_ = std::make_unique<Step>(
        made(dnnl_softmax_backward_primitive_desc_create, engine(), kSoftmax, weights, weights, weights, 1, softmax, attributes()));
  }

  // Keys from the first `present` on have the lowest score.
  void attend(float *query, float *key, float *value, int64_t present, float *result) {
    float *weights = weigh(query, key, present);
    attend_->run(stream_, scratch_, weights, value, result);
  }

  void differentiate(float *query, float *key, float *value, int64_t present, float *gradient, float *to_query, float *to_key,
                     float *to_value) {
    float *weights = weigh(query, key, present), *change = weights + queries_ * keys_;
    to_key_->run(stream_, scratch_, weights, gradient, to_value);
    score_->run(stream_, scratch_, gradient, value, change);
    check(dnnl_memory_set_data_handle(change_, change));
    through_softmax_->run(stream_, scratch_, {{kResult, weights_}, {kResultGradient, change_}, {kImageGradient, change_}});
    attend_->run(stream_, scratch_, change, key, to_query);
    to_key_->run(stream_, scratch_, change, query, to_key);
  }

 private:
  float *weigh(float *query, float *key, int64_t present) {
    float *weights = static_cast<float *>(space_.of(2 * queries_ * keys_ * sizeof(float)));
    score_->run(stream_, scratch_, query, key, weights);
    if (present < keys_)
      for (int64_t row = 0; row < queries_; ++row) std::fill(weights + row * keys_ + present, weights + (row + 1) * keys_, -FLT_MAX);
    check(dnnl_memory_set_data_handle(weights_, weights));
    normalise_->run(stream_, scratch_, {{kLeft, weights_}, {kResult, weights_}});
    return weights;
  }

  const int64_t queries_, keys_;
  Stream stream_ = made(dnnl_stream_create, engine(), unsigned{kInOrder});
  Space space_, scratch_;
  std::unique_ptr<Multiply> score_, attend_, to_key_;
  std::unique_ptr<Step> normalise_, through_softmax_;
  Memory weights_, change_;
};

// Attention of many images and heads, by several threads at once.
class Heads {
 public:
  Heads(const Sizes &sizes, bool gradient) {
    const int threads = omp_get_max_threads();
    Alone alone;
    for (int thread = 0; thread < threads; ++thread) heads_.push_back(std::make_unique<Head>(sizes, gradient));
  }

  // Call `work` once for each number below `count`.
  void share(int64_t count, double multiplications, const std::function<void(Head &, int64_t)> &work) {
    share_out(count, multiplications, [&](size_t thread, int64_t number) { work(*heads_.at(thread), number); });
  }

 private:
  std::vector<std::unique_ptr<Head>> heads_;
};

using Floats = ffi::Buffer<ffi::F32>;

template <typename... B>
std::vector<float *> data(B &...buffers) {
  return {buffers.typed_data()...};
}

// The sizes of `Convolution`.
Sizes sizes_of(const Floats &image, const Floats &kernel, const Floats &result, const Sizes &stride_and_padding) {
  auto n = image.dimensions(), k = kernel.dimensions(), r = result.dimensions();
  Sizes sizes = {n[0], n[1], n[2], n[3], k[0], k[1], r[3], r[1], r[2]};
  sizes.insert(sizes.end(), stride_and_padding.begin(), stride_and_padding.end());
  sizes.push_back(k.size() == 3);
  return sizes;
}

ffi::Error forward(Floats image, Floats kernel, ffi::Result<Floats> result, int64_t stride, int64_t top, int64_t bottom,
                   int64_t left, int64_t right) {
  return run(kForward, sizes_of(image, kernel, *result, {stride, top, bottom, left, right}), data(image, kernel, *result));
}

ffi::Error to_image(Floats kernel, Floats gradient, ffi::Result<Floats> image, int64_t stride, int64_t top,
                    int64_t bottom, int64_t left, int64_t right) {
  return run(kToImage, sizes_of(*image, kernel, gradient, {stride, top, bottom, left, right}), data(kernel, gradient, *image));
}

ffi::Error to_kernel(Floats image, Floats gradient, ffi::Result<Floats> kernel, int64_t stride, int64_t top,
                     int64_t bottom, int64_t left, int64_t right) {
  return run(kToKernel, sizes_of(image, *kernel, gradient, {stride, top, bottom, left, right}), data(image, gradient, *kernel));
}

ffi::Error product(Floats left, Floats right, ffi::Result<Floats> result, int64_t swap_left, int64_t swap_right) {
  auto of_left = left.dimensions(), of_result = result->dimensions();
  const Sizes sizes = {of_result[0], of_result[1], of_left[swap_left ? 1 : 2], of_result[2], swap_left, swap_right};
  return run(kProduct, sizes, data(left, right, *result));
}

// Rows and columns of an array [... d].
Sizes matrix(const Floats &values) {
  const int64_t columns = values.dimensions().back();
  return {static_cast<int64_t>(values.element_count()) / columns, columns};
}

ffi::Error norm(Floats values, Floats scale, Floats shift, ffi::Result<Floats> result, ffi::Result<Floats> mean,
                ffi::Result<Floats> variance, float epsilon) {
  return run(kNorm, matrix(values), data(values, scale, shift, *result, *mean, *variance), epsilon);
}

ffi::Error of_norm(Floats values, Floats scale, Floats mean, Floats variance, Floats gradient, ffi::Result<Floats> to_values,
                   ffi::Result<Floats> to_scale, ffi::Result<Floats> to_shift, float epsilon) {
  Floats &shift = scale;  // oneDNN asks for the shift, and does not read it
  return run(kOfNorm, matrix(values), data(values, scale, shift, mean, variance, gradient, *to_values, *to_scale, *to_shift), epsilon);
}

ffi::Error gelu(Floats values, ffi::Result<Floats> result) {
  return run(kGelu, {static_cast<int64_t>(values.element_count())}, data(values, *result));
}

ffi::Error of_gelu(Floats values, Floats gradient, ffi::Result<Floats> to_values) {
  return run(kOfGelu, {static_cast<int64_t>(values.element_count())}, data(values, gradient, *to_values));
}

// Eight numbers anywhere in memory.  Longer ones are no faster with AVX-512, and half as fast with AVX2: the compiler keeps them in memory.
typedef float Lanes __attribute__((vector_size(32), aligned(4), may_alias));
constexpr int64_t kLanes = 8;
// The number of values that one core adds up at a time, in float32.
constexpr int64_t kPart = 8192;

#ifdef __x86_64__
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

// Add up the values of some rows in `sums`, and values times (others - shift) in `products`; `width` is a multiple of kLanes.
FOR_EACH_PROCESSOR void add_up(const float *values, const float *others, const float *shift, int64_t rows, int64_t width, float *sums,
                               float *products) {
  for (int64_t column = 0; column < width; column += kLanes) {
    const Lanes shifts = *reinterpret_cast<const Lanes *>(shift + column);
    Lanes sum = {}, product = {};
    for (int64_t at = column; at < rows * width; at += width) {
      const Lanes value = *reinterpret_cast<const Lanes *>(values + at), other = *reinterpret_cast<const Lanes *>(others + at);
      sum += value;
      product += value * (other - shifts);
    }
    *reinterpret_cast<Lanes *>(sums + column) = sum;
    *reinterpret_cast<Lanes *>(products + column) = product;
  }
}

// The sums over the rows of a matrix.  Cores share its parts, and the sums do not depend on the number of cores.
ffi::Error sums(Floats values, Floats others, Floats shift, ffi::Result<Floats> sums, ffi::Result<Floats> products) {
  return in_turn([&] {
    const int64_t size = static_cast<int64_t>(values.element_count()), columns = matrix(values)[1];
    const int64_t width = std::lcm(columns, kLanes);  // columns of several rows that are read as one
    const int64_t rows = size / width, part = std::max<int64_t>(1, kPart / width), parts = (rows + part - 1) / part;
    const float *value = values.typed_data(), *other = others.typed_data();
    std::vector<float> shifts(width), found(2 * width * parts);
    for (int64_t at = 0; at < width; ++at) shifts[at] = shift.typed_data()[at % columns];
    share_out(parts, kEach * size, [&](size_t, int64_t number) {
      const int64_t first = number * part, at = first * width;
      float *sum = &found[2 * width * number];
      add_up(value + at, other + at, shifts.data(), std::min(part, rows - first), width, sum, sum + width);
    });
    std::vector<double> sum(columns), product(columns);
    for (auto from = found.begin(); from != found.end();)
      for (std::vector<double> *to : {&sum, &product})
        for (const auto end = from + width; from != end; from += columns)
          for (int64_t column = 0; column < columns; ++column) (*to)[column] += from[column];
    for (int64_t at = rows * width; at < size; ++at) {  // the last rows
      sum[at % columns] += value[at];
      product[at % columns] += value[at] * (other[at] - shifts[at % columns]);
    }
    std::copy(sum.begin(), sum.end(), sums->typed_data());
    std::copy(product.begin(), product.end(), products->typed_data());
  });
}

using Integers = ffi::Buffer<ffi::S32>;

// Share out the images and heads of queries [b q h c] and keys [b k h c]; `work` gets their first numbers and the number of present keys.
ffi::Error share(Floats &query, Floats &key, Integers &present, bool gradient,
                 const std::function<void(Head &, int64_t query, int64_t key, int64_t present)> &work) {
  auto n = query.dimensions();
  const int64_t b = n[0], q = n[1], k = key.dimensions()[1], h = n[2], c = n[3];
  return in_turn([&] {
    static std::map<std::pair<bool, Sizes>, std::unique_ptr<Heads>> all;
    std::unique_ptr<Heads> &heads = all[{gradient, {q, k, h, c}}];
    if (!heads) heads = std::make_unique<Heads>(Sizes{q, k, h, c}, gradient);
    heads->share(b * h, 2. * b * h * q * k * c, [&](Head &head, int64_t number) {
      const int64_t image = number / h, channel = number % h * c;
      work(head, image * q * h * c + channel, image * k * h * c + channel, present.typed_data()[image]);
    });
  });
}

ffi::Error attend(Floats query, Floats key, Floats value, Integers present, ffi::Result<Floats> result) {
  return share(query, key, present, false, [&](Head &head, int64_t at, int64_t from, int64_t keys) {
    head.attend(query.typed_data() + at, key.typed_data() + from, value.typed_data() + from, keys, result->typed_data() + at);
  });
}

ffi::Error differentiate(Floats query, Floats key, Floats value, Integers present, Floats gradient,
                         ffi::Result<Floats> to_query, ffi::Result<Floats> to_key, ffi::Result<Floats> to_value) {
  return share(query, key, present, true, [&](Head &head, int64_t at, int64_t from, int64_t keys) {
    head.differentiate(query.typed_data() + at, key.typed_data() + from, value.typed_data() + from, keys, gradient.typed_data() + at,
                       to_query->typed_data() + at, to_key->typed_data() + from, to_value->typed_data() + from);
  });
}

// A description of a function with further arguments or results, all of them arrays of float32.
template <int count, typename Bound>
auto takes(Bound &&bound) {
  if constexpr (count == 1)
    return std::move(bound).template Arg<Floats>();
  else
    return takes<count - 1>(std::move(bound).template Arg<Floats>());
}

template <int count, typename Bound>
auto returns(Bound &&bound) {
  if constexpr (count == 1)
    return std::move(bound).template Ret<Floats>();
  else
    return returns<count - 1>(std::move(bound).template Ret<Floats>());
}

auto convolution() {
  return returns<1>(takes<2>(ffi::Ffi::Bind()))
      .Attr<int64_t>("stride")
      .Attr<int64_t>("top")
      .Attr<int64_t>("bottom")
      .Attr<int64_t>("left")
      .Attr<int64_t>("right");
}

auto queried() { return takes<3>(ffi::Ffi::Bind()).Arg<Integers>(); }

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(aeseg_convolution, forward, convolution());
XLA_FFI_DEFINE_HANDLER_SYMBOL(aeseg_image_gradient, to_image, convolution());
XLA_FFI_DEFINE_HANDLER_SYMBOL(aeseg_kernel_gradient, to_kernel, convolution());
XLA_FFI_DEFINE_HANDLER_SYMBOL(aeseg_product, product,
                              returns<1>(takes<2>(ffi::Ffi::Bind())).Attr<int64_t>("swap_left").Attr<int64_t>("swap_right"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(aeseg_attention, attend, returns<1>(queried()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(aeseg_attention_gradient, differentiate, returns<3>(takes<1>(queried())));
XLA_FFI_DEFINE_HANDLER_SYMBOL(aeseg_norm, norm, returns<3>(takes<3>(ffi::Ffi::Bind())).Attr<float>("epsilon"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(aeseg_norm_gradient, of_norm, returns<3>(takes<5>(ffi::Ffi::Bind())).Attr<float>("epsilon"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(aeseg_gelu, gelu, returns<1>(takes<1>(ffi::Ffi::Bind())));
XLA_FFI_DEFINE_HANDLER_SYMBOL(aeseg_gelu_gradient, of_gelu, returns<1>(takes<2>(ffi::Ffi::Bind())));
XLA_FFI_DEFINE_HANDLER_SYMBOL(aeseg_sums, sums, returns<2>(takes<3>(ffi::Ffi::Bind())));
