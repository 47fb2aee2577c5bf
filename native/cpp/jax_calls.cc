// The functions that JAX calls, through XLA's foreign function interface (FFI).
//
// Every array has the axis G of networks first. An empty array stands for one that is absent or not
// needed.
#include <exception>
#include <string>

#include "arguments.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

class XlaPool : public lstm::Pool {
 public:
  explicit XlaPool(ffi::ThreadPool& pool)
      : pool_(pool), threads_(static_cast<int>(pool.num_threads())) {}
  int threads() const override { return threads_ < 1 ? 1 : threads_; }
  void schedule(std::function<void()> work) override { pool_.Schedule(std::move(work)); }

 private:
  ffi::ThreadPool& pool_;
  int threads_;
};

template <class S>
S* data(const ffi::AnyBuffer& buffer) {
  return buffer.element_count() == 0 ? nullptr : static_cast<S*>(buffer.untyped_data());
}

template <class S>
S* data(ffi::Result<ffi::AnyBuffer>& buffer) {
  return data<S>(*buffer);
}

const bool* flags(const ffi::AnyBuffer& buffer) { return data<const bool>(buffer); }

// Checks dtypes and sizes of arrays; keeps the first error.
class Check {
 public:
  Check(lstm::Sizes n, ffi::DataType type) : n_(n), type_(type) {}
  void has(const char* name, const ffi::AnyBuffer& b, std::initializer_list<int64_t> shape,
           bool optional = false) {
    type(name, b, type_);
    size(name, b, shape, optional);
  }
  void has(const char* name, ffi::Result<ffi::AnyBuffer>& b,
           std::initializer_list<int64_t> shape, bool optional = false) {
    has(name, *b, shape, optional);
  }
  void has_flags(const char* name, const ffi::AnyBuffer& b) {
    type(name, b, ffi::DataType::PRED);
    size(name, b, {n_.G, n_.T, n_.B}, true);
  }
  const std::string& wrong() const { return wrong_; }

 private:
  void type(const char* name, const ffi::AnyBuffer& b, ffi::DataType expected) {
    if (b.element_type() != expected) add(name, "the wrong dtype");
  }
  void size(const char* name, const ffi::AnyBuffer& b, std::initializer_list<int64_t> shape,
            bool optional) {
    int64_t count = 1;
    for (const int64_t n : shape) count *= n;
    const int64_t got = static_cast<int64_t>(b.element_count());
    if (got != count && !(optional && got == 0)) add(name, "the wrong size");
  }
  void add(const char* name, const char* what) {
    if (wrong_.empty()) wrong_ = std::string("lstm_jax: ") + name + " has " + what;
  }

  lstm::Sizes n_;
  ffi::DataType type_;
  std::string wrong_;
};

bool sizes(const ffi::AnyBuffer& x, const ffi::AnyBuffer& recurrent, lstm::Sizes& n) {
  const auto of_x = x.dimensions(), of_recurrent = recurrent.dimensions();
  if (of_x.size() != 4 || of_recurrent.size() != 3) return false;
  n = {of_x[0], of_x[1], of_x[2], of_x[3], of_recurrent[1]};
  return true;
}

// Turns exceptions into errors: they must not cross into XLA.
template <class F>
ffi::Error guarded(F&& run) {
  try {
    run();
    return ffi::Error::Success();
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "lstm_jax: out of memory");
  } catch (const std::exception& error) {
    return ffi::Error::Internal(std::string("lstm_jax: ") + error.what());
  }
}

using In = ffi::AnyBuffer;
using Out = ffi::Result<ffi::AnyBuffer>;

ffi::Error forward(ffi::ThreadPool threads, In x, In kernel, In recurrent, In bias, In h_0, In c_0,
                   In valid, In reset, Out hs, Out h_T, Out c_T, Out cs, Out gates, bool reverse,
                   bool round) {
  lstm::Sizes n;
  if (!sizes(x, recurrent, n)) return ffi::Error::InvalidArgument("lstm_jax: wrong ranks");
  const auto [G, T, B, I, H] = n;
  Check check(n, x.element_type());
  check.has("kernel", kernel, {G, I, 4 * H}), check.has("recurrent", recurrent, {G, H, 4 * H});
  check.has("bias", bias, {G, 4 * H}), check.has_flags("valid", valid);
  check.has("h_0", h_0, {G, B, H}), check.has("c_0", c_0, {G, B, H});
  check.has_flags("reset", reset), check.has("hs", hs, {G, T, B, H});
  check.has("h_T", h_T, {G, B, H}), check.has("c_T", c_T, {G, B, H});
  check.has("cs", cs, {G, T, B, H}, true), check.has("gates", gates, {G, T, B, 4 * H}, true);
  if (!check.wrong().empty()) return ffi::Error::InvalidArgument(check.wrong());
  const auto run = [&](auto number, auto pass) {
    using S = decltype(number);
    XlaPool pool(threads);
    pass(pool,
         lstm::ForwardArgs<S>{n, reverse, round, data<S>(x), data<S>(kernel), data<S>(recurrent),
                              data<S>(bias), data<S>(h_0), data<S>(c_0), flags(valid),
                              flags(reset), data<S>(hs), data<S>(h_T), data<S>(c_T), data<S>(cs),
                              data<S>(gates)});
  };
  switch (x.element_type()) {
    case ffi::DataType::F32: return guarded([&] { run(0.0f, lstm::functions().forward_f32); });
    case ffi::DataType::F64: return guarded([&] { run(0.0, lstm::functions().forward_f64); });
    default: return ffi::Error::InvalidArgument("lstm_jax: x must be float32 or float64");
  }
}

ffi::Error backward(ffi::ThreadPool threads, In x, In kernel, In recurrent, In h_0, In c_0,
                    In valid, In reset, In hs, In cs, In gates, In dhs, In dcs, In dh_T, In dc_T,
                    Out dx, Out dkernel, Out drecurrent, Out dbias, Out dh_0, Out dc_0,
                    bool reverse) {
  lstm::Sizes n;
  if (!sizes(x, recurrent, n)) return ffi::Error::InvalidArgument("lstm_jax: wrong ranks");
  const auto [G, T, B, I, H] = n;
  Check check(n, x.element_type());
  const bool sums = dbias->element_count() != 0;
  check.has("kernel", kernel, {G, I, 4 * H}), check.has("recurrent", recurrent, {G, H, 4 * H});
  check.has("h_0", h_0, {G, B, H}), check.has("c_0", c_0, {G, B, H});
  check.has_flags("valid", valid), check.has_flags("reset", reset);
  check.has("hs", hs, {G, T, B, H}), check.has("cs", cs, {G, T, B, H});
  check.has("gates", gates, {G, T, B, 4 * H}), check.has("dhs", dhs, {G, T, B, H}, true);
  check.has("dcs", dcs, {G, T, B, H}, true);
  check.has("dh_T", dh_T, {G, B, H}), check.has("dc_T", dc_T, {G, B, H});
  check.has("dx", dx, {G, T, B, I}, true), check.has("dkernel", dkernel, {G, I, 4 * H}, !sums);
  check.has("drecurrent", drecurrent, {G, H, 4 * H}, !sums);
  check.has("dbias", dbias, {G, 4 * H}, !sums);
  check.has("dh_0", dh_0, {G, B, H}), check.has("dc_0", dc_0, {G, B, H});
  if (!check.wrong().empty()) return ffi::Error::InvalidArgument(check.wrong());
  const auto run = [&](auto number, auto pass) {
    using S = decltype(number);
    XlaPool pool(threads);
    pass(pool, lstm::BackwardArgs<S>{
                   n, reverse, data<S>(x), data<S>(kernel), data<S>(recurrent), data<S>(h_0),
                   data<S>(c_0), flags(valid), flags(reset), data<S>(hs), data<S>(cs),
                   data<S>(gates), data<S>(dhs), data<S>(dcs), data<S>(dh_T), data<S>(dc_T),
                   data<S>(dx), data<S>(dkernel), data<S>(drecurrent), data<S>(dbias),
                   data<S>(dh_0), data<S>(dc_0)});
  };
  switch (x.element_type()) {
    case ffi::DataType::F32: return guarded([&] { run(0.0f, lstm::functions().backward_f32); });
    case ffi::DataType::F64: return guarded([&] { run(0.0, lstm::functions().backward_f64); });
    default: return ffi::Error::InvalidArgument("lstm_jax: x must be float32 or float64");
  }
}

}  // namespace

#pragma GCC visibility push(default)

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    lstm_jax_forward, forward,
    ffi::Ffi::Bind()
        .Ctx<ffi::ThreadPool>()
        .Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>()
        .Ret<In>().Ret<In>().Ret<In>().Ret<In>().Ret<In>()
        .Attr<bool>("reverse")
        .Attr<bool>("round"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    lstm_jax_backward, backward,
    ffi::Ffi::Bind()
        .Ctx<ffi::ThreadPool>()
        .Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>()
        .Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>()
        .Ret<In>().Ret<In>().Ret<In>().Ret<In>().Ret<In>().Ret<In>()
        .Attr<bool>("reverse"));

extern "C" const char* lstm_jax_instruction_set();
extern "C" const char* lstm_jax_instruction_set() { return lstm::functions().name; }

#pragma GCC visibility pop
