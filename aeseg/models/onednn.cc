// Convolutions and matrix products of float32 by oneDNN, as functions that XLA calls (aeseg/models/onednn.py builds and registers them).
//
// Images are [b h w c], kernels [y x c d].  oneDNN chooses its own layout for kernels, so each call first copies its kernel into that
// layout, or copies the gradient of a kernel out of it.  One call runs at a time, on all cores: XLA may make several at once.

#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
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
int dnnl_reorder_primitive_desc_create(Description *, Layout from, Engine, Layout to, Engine, Attributes);
Layout dnnl_primitive_desc_query_md(Description, int what, int index);
int dnnl_primitive_create(Primitive *, Description);
int dnnl_primitive_execute(Primitive, Stream, int count, const Argument *);
}
constexpr int kCpu = 1, kInOrder = 1, kFloat = 3, kAnyLayout = 1, kGivenScratch = 1, kTraining = 64, kDirect = 1;
constexpr int kLayoutOfKernel = 131, kLayoutOfKernelGradient = 132, kLayoutOfScratch = 136;
constexpr int kLeft = 1, kResult = 17, kRight = 33, kScratch = 80, kImageGradient = 129, kResultGradient = 145, kKernelGradient = 161;

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
  void run(Stream stream, std::vector<Argument> arguments) {
    static Space space;
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

enum Task { kForward, kToImage, kToKernel, kProduct };

// What a function of XLA runs; made once for its sizes, and kept.
struct Job {
  virtual ~Job() = default;
  virtual void run(Stream stream, float *left, float *right, float *result) = 0;
};

// A convolution, or the gradient of its image or kernel.
class Convolution : public Job {
 public:
  // sizes: b h w c of the image; y x d of the kernel; rows and columns of the result; stride; padding before and after.
  Convolution(Task task, const Sizes &n) : task_(task) {
    const int64_t b = n[0], h = n[1], w = n[2], c = n[3], y = n[4], x = n[5], d = n[6], i = n[7], j = n[8];
    const int64_t strides[] = {n[9], n[9]}, dilation[] = {0, 0}, before[] = {n[10], n[12]}, after[] = {n[11], n[13]};
    Layout image = layout({b, c, h, w}, {h * w * c, 1, w * c, c}), result = layout({b, d, i, j}, {i * j * d, 1, j * d, d});
    Layout plain = layout({d, c, y, x}, {1, d, x * c * d, c * d});
    Layout any = made(dnnl_memory_desc_create_with_tag, 4, Sizes{d, c, y, x}.data(), kFloat, kAnyLayout);
    Description forward = made(dnnl_convolution_forward_primitive_desc_create, engine(), kTraining, kDirect, image, any, nullptr, result,
                               strides, dilation, before, after, attributes());
    Description chosen = forward;
    if (task == kToImage)
      chosen = made(dnnl_convolution_backward_data_primitive_desc_create, engine(), kDirect, image, any, result, strides, dilation, before,
                    after, forward, attributes());
    if (task == kToKernel)
      chosen = made(dnnl_convolution_backward_weights_primitive_desc_create, engine(), kDirect, image, any, nullptr, result, strides,
                    dilation, before, after, forward, attributes());
    convolve_ = std::make_unique<Step>(chosen);
    Layout kernel = dnnl_primitive_desc_query_md(chosen, task == kToKernel ? kLayoutOfKernelGradient : kLayoutOfKernel, 0);
    if (!dnnl_memory_desc_equal(kernel, plain)) {
      Layout from = task == kToKernel ? kernel : plain, to = task == kToKernel ? plain : kernel;
      copy_ = std::make_unique<Step>(made(dnnl_reorder_primitive_desc_create, from, engine(), to, engine(), attributes()));
      kernel_bytes_ = dnnl_memory_desc_get_size(kernel);
    }
    image_ = memory(image);
    kernel_ = memory(kernel);
    plain_ = memory(plain);
    result_ = memory(result);
  }

  void run(Stream stream, float *image, float *kernel, float *result) override {
    static Space kernels;
    check(dnnl_memory_set_data_handle(image_, image));
    check(dnnl_memory_set_data_handle(result_, result));
    check(dnnl_memory_set_data_handle(plain_, kernel));
    check(dnnl_memory_set_data_handle(kernel_, copy_ ? kernels.of(kernel_bytes_) : kernel));
    if (copy_ && task_ != kToKernel) copy_->run(stream, {{kLeft, plain_}, {kResult, kernel_}});
    if (task_ == kForward) convolve_->run(stream, {{kLeft, image_}, {kRight, kernel_}, {kResult, result_}});
    if (task_ == kToImage) convolve_->run(stream, {{kImageGradient, image_}, {kRight, kernel_}, {kResultGradient, result_}});
    if (task_ == kToKernel) convolve_->run(stream, {{kLeft, image_}, {kKernelGradient, kernel_}, {kResultGradient, result_}});
    if (copy_ && task_ == kToKernel) copy_->run(stream, {{kLeft, kernel_}, {kResult, plain_}});
  }

 private:
  Task task_;
  size_t kernel_bytes_ = 0;
  std::unique_ptr<Step> convolve_, copy_;
  Memory image_, kernel_, plain_, result_;
};

// Products of pairs of matrices.
class Product : public Job {
 public:
  // sizes: pairs, m, k, n; whether the left matrices lie in memory as [k m], and the right ones as [n k].
  explicit Product(const Sizes &sizes) {
    const int64_t b = sizes[0], m = sizes[1], k = sizes[2], n = sizes[3];
    Layout left = layout({b, m, k}, sizes[4] ? Sizes{m * k, 1, m} : Sizes{m * k, k, 1});
    Layout right = layout({b, k, n}, sizes[5] ? Sizes{k * n, 1, k} : Sizes{k * n, n, 1});
    Layout result = layout({b, m, n}, {m * n, n, 1});
    multiply_ = std::make_unique<Step>(made(dnnl_matmul_primitive_desc_create, engine(), left, right, nullptr, result, attributes()));
    left_ = memory(left);
    right_ = memory(right);
    result_ = memory(result);
  }

  void run(Stream stream, float *left, float *right, float *result) override {
    check(dnnl_memory_set_data_handle(left_, left));
    check(dnnl_memory_set_data_handle(right_, right));
    check(dnnl_memory_set_data_handle(result_, result));
    multiply_->run(stream, {{kLeft, left_}, {kRight, right_}, {kResult, result_}});
  }

 private:
  std::unique_ptr<Step> multiply_;
  Memory left_, right_, result_;
};

// Run the job of these sizes.
ffi::Error run(Task task, const Sizes &sizes, float *left, float *right, float *result) {
  try {
    static std::mutex mutex;
    std::lock_guard<std::mutex> alone(mutex);
    static Stream stream = made(dnnl_stream_create, engine(), unsigned{kInOrder});
    static std::map<std::pair<Task, Sizes>, std::unique_ptr<Job>> jobs;
    std::unique_ptr<Job> &job = jobs[{task, sizes}];
    if (!job) job = task == kProduct ? std::unique_ptr<Job>(new Product(sizes)) : std::unique_ptr<Job>(new Convolution(task, sizes));
    job->run(stream, left, right, result);
    check(dnnl_stream_wait(stream));
  } catch (const std::exception &exception) {
    return ffi::Error::Internal(std::string("A call of oneDNN failed: ") + exception.what());
  }
  return ffi::Error::Success();
}

using Floats = ffi::Buffer<ffi::F32>;

ffi::Error convolve(Task task, Floats &image, Floats &kernel, Floats &result, int64_t stride, int64_t top, int64_t bottom, int64_t left,
                    int64_t right) {
  auto n = image.dimensions(), k = kernel.dimensions(), r = result.dimensions();
  const Sizes sizes = {n[0], n[1], n[2], n[3], k[0], k[1], k[3], r[1], r[2], stride, top, bottom, left, right};
  return run(task, sizes, image.typed_data(), kernel.typed_data(), result.typed_data());
}

ffi::Error forward(Floats image, Floats kernel, ffi::Result<Floats> result, int64_t stride, int64_t top, int64_t bottom,
                   int64_t left, int64_t right) {
  return convolve(kForward, image, kernel, *result, stride, top, bottom, left, right);
}

ffi::Error to_image(Floats kernel, Floats gradient, ffi::Result<Floats> image, int64_t stride, int64_t top,
                    int64_t bottom, int64_t left, int64_t right) {
  return convolve(kToImage, *image, kernel, gradient, stride, top, bottom, left, right);
}

ffi::Error to_kernel(Floats image, Floats gradient, ffi::Result<Floats> kernel, int64_t stride, int64_t top,
                     int64_t bottom, int64_t left, int64_t right) {
  return convolve(kToKernel, image, *kernel, gradient, stride, top, bottom, left, right);
}

ffi::Error product(Floats left, Floats right, ffi::Result<Floats> result, int64_t swap_left, int64_t swap_right) {
  auto of_left = left.dimensions(), of_result = result->dimensions();
  const Sizes sizes = {of_result[0], of_result[1], of_left[swap_left ? 1 : 2], of_result[2], swap_left, swap_right};
  return run(kProduct, sizes, left.typed_data(), right.typed_data(), result->typed_data());
}

}  // namespace

#define TASK(name, function)                                                                                              \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, function,                                                                           \
                                ffi::Ffi::Bind()                                                                          \
                                    .Arg<Floats>()                                                                        \
                                    .Arg<Floats>()                                                                        \
                                    .Ret<Floats>()                                                                        \
                                    .Attr<int64_t>("stride")                                                              \
                                    .Attr<int64_t>("top")                                                                 \
                                    .Attr<int64_t>("bottom")                                                              \
                                    .Attr<int64_t>("left")                                                                \
                                    .Attr<int64_t>("right"))
TASK(aeseg_convolution, forward);
TASK(aeseg_image_gradient, to_image);
TASK(aeseg_kernel_gradient, to_kernel);
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    aeseg_product, product,
    ffi::Ffi::Bind().Arg<Floats>().Arg<Floats>().Ret<Floats>().Attr<int64_t>("swap_left").Attr<int64_t>("swap_right"));
