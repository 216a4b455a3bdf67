// Convolutions of float32 images by oneDNN, as three functions that XLA calls (aeseg/models/onednn.py builds and registers them).
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
int dnnl_reorder_primitive_desc_create(Description *, Layout from, Engine, Layout to, Engine, Attributes);
Layout dnnl_primitive_desc_query_md(Description, int what, int index);
int dnnl_primitive_create(Primitive *, Description);
int dnnl_primitive_execute(Primitive, Stream, int count, const Argument *);
}
constexpr int kCpu = 1, kInOrder = 1, kFloat = 3, kAnyLayout = 1, kGivenScratch = 1, kTraining = 64, kDirect = 1;
constexpr int kLayoutOfKernel = 131, kLayoutOfKernelGradient = 132, kLayoutOfScratch = 136;
constexpr int kImage = 1, kResult = 17, kKernel = 33, kScratch = 80, kImageGradient = 129, kResultGradient = 145, kKernelGradient = 161;

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
      size = (wanted + 4095) / 4096 * 4096;
      data = std::aligned_alloc(4096, size);
      if (!data) throw std::bad_alloc();
    }
    return data;
  }
};

Engine engine() {
  static Engine it = made(dnnl_engine_create, kCpu, size_t{0});
  return it;
}

enum Task { kForward, kToImage, kToKernel };

// One of the three tasks for given sizes.
class Convolution {
 public:
  // sizes: b h w c of the image; y x d of the kernel; rows and columns of the result; stride; padding before and after.
  Convolution(Task task, const std::vector<int64_t> &n) : task_(task) {
    const int64_t b = n[0], h = n[1], w = n[2], c = n[3], y = n[4], x = n[5], d = n[6], i = n[7], j = n[8];
    const int64_t strides[] = {n[9], n[9]}, dilation[] = {0, 0}, before[] = {n[10], n[12]}, after[] = {n[11], n[13]};
    Layout image = pixels(b, h, w, c), result = pixels(b, i, j, d);
    const int64_t kernel_sizes[] = {d, c, y, x}, kernel_strides[] = {1, d, x * c * d, c * d};
    Layout plain = made(dnnl_memory_desc_create_with_strides, 4, kernel_sizes, kFloat, kernel_strides);
    Layout any = made(dnnl_memory_desc_create_with_tag, 4, kernel_sizes, kFloat, kAnyLayout);
    Attributes attributes = made(dnnl_primitive_attr_create);
    check(dnnl_primitive_attr_set_scratchpad_mode(attributes, kGivenScratch));
    Description forward = made(dnnl_convolution_forward_primitive_desc_create, engine(), kTraining, kDirect, image, any, nullptr, result,
                               strides, dilation, before, after, attributes);
    Description chosen = forward;
    if (task == kToImage)
      chosen = made(dnnl_convolution_backward_data_primitive_desc_create, engine(), kDirect, image, any, result, strides, dilation, before,
                    after, forward, attributes);
    if (task == kToKernel)
      chosen = made(dnnl_convolution_backward_weights_primitive_desc_create, engine(), kDirect, image, any, nullptr, result, strides,
                    dilation, before, after, forward, attributes);
    convolve_ = made(dnnl_primitive_create, chosen);
    Layout kernel = dnnl_primitive_desc_query_md(chosen, task == kToKernel ? kLayoutOfKernelGradient : kLayoutOfKernel, 0);
    copies_ = !dnnl_memory_desc_equal(kernel, plain);
    if (copies_) {
      kernel_bytes_ = dnnl_memory_desc_get_size(kernel);
      Layout from = task == kToKernel ? kernel : plain, to = task == kToKernel ? plain : kernel;
      Description copy = made(dnnl_reorder_primitive_desc_create, from, engine(), to, engine(), attributes);
      copy_ = made(dnnl_primitive_create, copy);
      copy_scratch_ = scratch(copy, copy_scratch_bytes_);
      plain_ = made(dnnl_memory_create, plain, engine(), nullptr);
    }
    scratch_ = scratch(chosen, scratch_bytes_);
    image_ = made(dnnl_memory_create, image, engine(), nullptr);
    kernel_ = made(dnnl_memory_create, kernel, engine(), nullptr);
    result_ = made(dnnl_memory_create, result, engine(), nullptr);
  }

  void run(Stream stream, float *image, float *kernel, float *result) {
    static Space kernels, scratch;
    check(dnnl_memory_set_data_handle(image_, image));
    check(dnnl_memory_set_data_handle(result_, result));
    check(dnnl_memory_set_data_handle(kernel_, copies_ ? kernels.of(kernel_bytes_) : kernel));
    if (copies_) check(dnnl_memory_set_data_handle(plain_, kernel));
    if (copies_ && task_ != kToKernel) copy(stream, plain_, kernel_, scratch);
    const int names[3][3] = {{kImage, kKernel, kResult}, {kImageGradient, kKernel, kResultGradient}, {kImage, kKernelGradient, kResultGradient}};
    check(dnnl_memory_set_data_handle(scratch_, scratch.of(scratch_bytes_)));
    const Argument arguments[] = {{names[task_][0], image_}, {names[task_][1], kernel_}, {names[task_][2], result_}, {kScratch, scratch_}};
    check(dnnl_primitive_execute(convolve_, stream, 4, arguments));
    if (copies_ && task_ == kToKernel) copy(stream, kernel_, plain_, scratch);
    check(dnnl_stream_wait(stream));
  }

 private:
  static Layout pixels(int64_t b, int64_t h, int64_t w, int64_t c) {
    const int64_t sizes[] = {b, c, h, w}, strides[] = {h * w * c, 1, w * c, c};
    return made(dnnl_memory_desc_create_with_strides, 4, sizes, kFloat, strides);
  }
  static Memory scratch(Description description, size_t &bytes) {
    Layout layout = dnnl_primitive_desc_query_md(description, kLayoutOfScratch, 0);
    bytes = dnnl_memory_desc_get_size(layout);
    return made(dnnl_memory_create, layout, engine(), nullptr);
  }
  void copy(Stream stream, Memory from, Memory to, Space &scratch) {
    check(dnnl_memory_set_data_handle(copy_scratch_, scratch.of(copy_scratch_bytes_)));
    const Argument arguments[] = {{kImage, from}, {kResult, to}, {kScratch, copy_scratch_}};
    check(dnnl_primitive_execute(copy_, stream, 3, arguments));
  }

  Task task_;
  bool copies_ = false;
  size_t kernel_bytes_ = 0, scratch_bytes_ = 0, copy_scratch_bytes_ = 0;
  Primitive convolve_ = nullptr, copy_ = nullptr;
  Memory image_ = nullptr, kernel_ = nullptr, plain_ = nullptr, result_ = nullptr, scratch_ = nullptr, copy_scratch_ = nullptr;
};

using Floats = ffi::Buffer<ffi::F32>;

ffi::Error run(Task task, Floats &image, Floats &kernel, Floats &result, int64_t stride, int64_t top, int64_t bottom,
               int64_t left, int64_t right) {
  auto n = image.dimensions(), k = kernel.dimensions(), r = result.dimensions();
  std::vector<int64_t> sizes = {n[0], n[1], n[2], n[3], k[0], k[1], k[3], r[1], r[2], stride, top, bottom, left, right};
  try {
    static std::mutex mutex;
    std::lock_guard<std::mutex> alone(mutex);
    static Stream stream = made(dnnl_stream_create, engine(), unsigned{kInOrder});
    static std::map<std::pair<Task, std::vector<int64_t>>, std::unique_ptr<Convolution>> known;
    auto &convolution = known[{task, sizes}];
    if (!convolution) convolution = std::make_unique<Convolution>(task, sizes);
    convolution->run(stream, image.typed_data(), kernel.typed_data(), result.typed_data());
  } catch (const std::exception &exception) {
    return ffi::Error::Internal(std::string("A convolution by oneDNN failed: ") + exception.what());
  }
  return ffi::Error::Success();
}

ffi::Error forward(Floats image, Floats kernel, ffi::Result<Floats> result, int64_t stride, int64_t top, int64_t bottom,
                   int64_t left, int64_t right) {
  return run(kForward, image, kernel, *result, stride, top, bottom, left, right);
}

ffi::Error to_image(Floats kernel, Floats gradient, ffi::Result<Floats> image, int64_t stride, int64_t top,
                    int64_t bottom, int64_t left, int64_t right) {
  return run(kToImage, *image, kernel, gradient, stride, top, bottom, left, right);
}

ffi::Error to_kernel(Floats image, Floats gradient, ffi::Result<Floats> kernel, int64_t stride, int64_t top,
                     int64_t bottom, int64_t left, int64_t right) {
  return run(kToKernel, image, *kernel, gradient, stride, top, bottom, left, right);
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
