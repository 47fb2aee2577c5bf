// Tests both passes against plain loops on random problems: sizes, masks, resets, directions, threads.
//
//   fuzz [problems] [seed]
//
// Built with sanitizers it also looks for reads and writes out of bounds: arrays end where the
// problem ends, and start at odd places.
#include <cstdio>
#include <cstdlib>
#include <random>

#include "reference.h"
#include "threads.h"

namespace {

std::mt19937 generator;

int64_t one_of(std::vector<int64_t> values) {
  return values[std::uniform_int_distribution<size_t>(0, values.size() - 1)(generator)];
}

std::vector<double> normal(int64_t count, double scale) {
  std::normal_distribution<double> draw(0, scale);
  std::vector<double> values(count);
  for (auto& v : values) v = static_cast<float>(draw(generator));
  return values;
}

// An array that is aligned to its numbers only.
template <class S>
class Placed {
 public:
  explicit Placed(const std::vector<double>& values)
      : shift_(one_of({0, 1, 3})), memory_(values.size() + shift_) {
    for (size_t k = 0; k < values.size(); k++) memory_[shift_ + k] = static_cast<S>(values[k]);
  }
  explicit Placed(int64_t count) : Placed(std::vector<double>(count, -99)) {}
  S* data() { return memory_.data() + shift_; }

 private:
  int64_t shift_;
  std::vector<S> memory_;
};

template <class S>
bool near(const char* name, const double* expected, const S* got, int64_t count, double bound,
          const Arrays<double>& a, int64_t per_step) {
  double scale = 1, worst = 0;
  for (int64_t k = 0; k < count; k++) scale = std::max(scale, std::fabs(expected[k]));
  for (int64_t k = 0; k < count; k++) {
    if (per_step != 0 && !a.valid.empty() && !a.valid[k / per_step]) continue;
    const double off = std::fabs(expected[k] - static_cast<double>(got[k]));
    if (!(off <= worst)) worst = off;
  }
  if (worst <= bound * scale) return true;
  std::printf("  %s: off by %g of %g\n", name, worst, scale);
  return false;
}

template <class S>
bool problem(lstm::Pool& pool) {
  lstm::Sizes n{one_of({1, 1, 1, 2, 3, 5}), one_of({0, 1, 2, 5, 9}), one_of({0, 1, 2, 3, 5, 7, 13}),
                one_of({0, 1, 2, 17, 33, 40}), one_of({1, 3, 4, 15, 16, 17, 33, 64, 65, 100})};
  const int64_t unusual = one_of({0, 0, 0, 0, 0, 0, 1, 2});
  if (unusual == 1) n.H = one_of({200, 260}), n.T = one_of({2, 3});
  // More steps than are projected or summed at once.
  if (unusual == 2) n = {1, 70, one_of({1, 7, 13}), one_of({2, 40}), one_of({16, 33})};
  // Fewer rows than threads, but enough to be halved.
  if (pool.threads() > 4) n = {1, 2, one_of({25, 29}), one_of({2, 33}), one_of({129, 160})};
  const int64_t G = n.G, T = n.T, B = n.B, I = n.I, H = n.H;
  const bool reverse = one_of({0, 1}), ragged = one_of({0, 1}), resets = one_of({0, 0, 1});
  const bool summing = one_of({0, 1}), needs_dx = one_of({0, 1}), with_dhs = one_of({0, 1, 1});
  const bool with_dcs = one_of({0, 0, 1});
  Arrays<double> a;
  a.x = normal(G * T * B * I, 1), a.kernel = normal(G * I * 4 * H, 0.3);
  a.recurrent = normal(G * H * 4 * H, 0.7 / std::sqrt(H)), a.bias = normal(G * 4 * H, 1);
  a.h_0 = normal(G * B * H, 0.5), a.c_0 = normal(G * B * H, 1);
  a.dhs = normal(G * T * B * H, with_dhs), a.dcs = normal(G * T * B * H, with_dcs), a.dh_T = normal(G * B * H, 1);
  a.dc_T = normal(G * B * H, 1);
  if (ragged)
    for (int64_t k = 0; k < G * T * B; k++) a.valid.push_back(one_of({0, 1, 1}));
  if (resets)
    for (int64_t k = 0; k < G * T * B; k++) a.reset.push_back(one_of({0, 0, 1}));
  for (int64_t k = 0; ragged && k < G * T * B * I; k++)
    if (!a.valid[k / I]) a.x[k] = 0;
  reference(n, reverse, a);

  const auto flags = [](std::vector<char>& v) {
    return v.empty() ? nullptr : reinterpret_cast<const bool*>(v.data());
  };
  Placed<S> x(a.x), kernel(a.kernel), recurrent(a.recurrent), bias(a.bias), h_0(a.h_0), c_0(a.c_0);
  Placed<S> hs(G * T * B * H), h_T(G * B * H), c_T(G * B * H), cs(G * T * B * H);
  Placed<S> gates(G * T * B * 4 * H), dhs(a.dhs), dcs(a.dcs), dh_T(a.dh_T), dc_T(a.dc_T);
  Placed<S> dx(G * T * B * I), dkernel(G * I * 4 * H);
  Placed<S> drecurrent(G * H * 4 * H), dbias(G * 4 * H), dh_0(G * B * H), dc_0(G * B * H);
  const lstm::ForwardArgs<S> forward{
      n, reverse, false, x.data(), kernel.data(), recurrent.data(), bias.data(), h_0.data(),
      c_0.data(), flags(a.valid), flags(a.reset), hs.data(), h_T.data(), c_T.data(), cs.data(),
      gates.data()};
  const lstm::BackwardArgs<S> backward{
      n, reverse, x.data(), kernel.data(), recurrent.data(), h_0.data(), c_0.data(),
      flags(a.valid), flags(a.reset), hs.data(), cs.data(), gates.data(),
      with_dhs ? dhs.data() : nullptr, with_dcs ? dcs.data() : nullptr, dh_T.data(), dc_T.data(),
      needs_dx ? dx.data() : nullptr, dkernel.data(),
      drecurrent.data(), summing ? dbias.data() : nullptr, dh_0.data(), dc_0.data()};
  Placed<S> alone(G * T * B * H);
  lstm::ForwardArgs<S> saves_nothing = forward;
  saves_nothing.hs = alone.data(), saves_nothing.cs = saves_nothing.gates = nullptr;
  if constexpr (sizeof(S) == 4) {
    lstm::functions().forward_f32(pool, saves_nothing);
    lstm::functions().forward_f32(pool, forward);
    lstm::functions().backward_f32(pool, backward);
  } else {
    lstm::functions().forward_f64(pool, saves_nothing);
    lstm::functions().forward_f64(pool, forward);
    lstm::functions().backward_f64(pool, backward);
  }
  const double bound = sizeof(S) == 4 ? 1e-5 : 1e-13;
  bool good = true;
  const auto check = [&](const char* name, std::vector<double>& expected, Placed<S>& got,
                         int64_t per_step = 0) {
    good &= near(name, expected.data(), got.data(), expected.size(), bound, a, per_step);
  };
  check("hs", a.hs, hs), check("hs alone", a.hs, alone), check("cs", a.cs, cs), check("gates", a.gates, gates, 4 * H);
  check("h_T", a.h_T, h_T), check("c_T", a.c_T, c_T), check("dh_0", a.dh_0, dh_0);
  check("dc_0", a.dc_0, dc_0);
  if (needs_dx) check("dx", a.dx, dx);
  if (summing) check("dkernel", a.dkernel, dkernel);
  if (summing) check("drecurrent", a.drecurrent, drecurrent), check("dbias", a.dbias, dbias);
  if (!good)
    std::printf("  in G=%ld T=%ld B=%ld I=%ld H=%ld %s%s%s%s%d-byte numbers\n", (long)G, (long)T,
                (long)B, (long)I, (long)H, reverse ? "reverse " : "", ragged ? "ragged " : "",
                resets ? "resets " : "", summing ? "summing " : "", (int)sizeof(S));
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  const int problems = argc > 1 ? std::atoi(argv[1]) : 300;
  generator.seed(argc > 2 ? std::atoi(argv[2]) : 0);
  Threads one(1), two(2), four(4), many(32);
  Failing failing(4);
  lstm::Pool* const pools[] = {&one, &two, &four, &failing, &many};
  int bad = 0;
  for (int k = 0; k < problems; k++) {
    lstm::Pool& pool = *pools[k % 30 == 29 ? 4 : one_of({0, 1, 2, 3})];
    if (!(k % 2 ? problem<double>(pool) : problem<float>(pool))) bad++;
  }
  std::printf("%s: %d problems, %d wrong\n", lstm::functions().name, problems, bad);
  return bad == 0 ? 0 : 1;
}
