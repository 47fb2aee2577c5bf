// The LSTM and its gradient as plain loops in double precision, one row at a time.
#pragma once

#include <cmath>
#include <vector>

#include "../cpp/arguments.h"

template <class S>
struct Arrays {
  using Array = std::vector<S>;
  Array x, kernel, recurrent, bias, h_0, c_0, hs, h_T, c_T, cs, gates;
  Array dhs, dcs, dh_T, dc_T, dz, dx, dkernel, drecurrent, dbias, dh_0, dc_0;
  std::vector<char> valid, reset;  // empty for none
};

// Computes all results of both passes; slow.
inline void reference(const lstm::Sizes& n, bool reverse, Arrays<double>& a) {
  const int64_t G = n.G, T = n.T, B = n.B, I = n.I, H = n.H;
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  const auto time = [&](int64_t k) { return reverse ? T - 1 - k : k; };
  a.hs.assign(G * T * B * H, 0), a.cs = a.hs;
  a.gates.assign(G * T * B * 4 * H, 0), a.dz = a.gates;
  a.h_T.assign(G * B * H, 0), a.c_T = a.dh_0 = a.dc_0 = a.h_T;
  a.dx.assign(G * T * B * I, 0);
  a.dkernel.assign(G * I * 4 * H, 0), a.drecurrent.assign(G * H * 4 * H, 0);
  a.dbias.assign(G * 4 * H, 0);
  std::vector<double> h(H), c(H), z(4 * H), dh(H), dc(H);
  for (int64_t g = 0; g < G; g++)
    for (int64_t b = 0; b < B; b++) {
      const double *W = a.kernel.data() + g * I * 4 * H, *R = a.recurrent.data() + g * H * 4 * H;
      const auto row = [&](int64_t t) { return (g * T + t) * B + b; };
      const auto is_valid = [&](int64_t t) { return a.valid.empty() || a.valid[row(t)]; };
      const auto is_reset = [&](int64_t t) { return !a.reset.empty() && a.reset[row(t)] && is_valid(t); };
      const int64_t first = (g * B + b) * H;
      for (int64_t j = 0; j < H; j++) h[j] = a.h_0[first + j], c[j] = a.c_0[first + j];
      std::vector<std::vector<double>> before_h, before_c;
      for (int64_t k = 0; k < T; k++) {
        const int64_t t = time(k), at = row(t);
        if (is_reset(t)) h.assign(H, 0), c.assign(H, 0);
        before_h.push_back(h), before_c.push_back(c);
        for (int64_t m = 0; m < 4 * H; m++) {
          z[m] = a.bias[g * 4 * H + m];
          for (int64_t i = 0; i < I; i++) z[m] += a.x[at * I + i] * W[i * 4 * H + m];
          for (int64_t j = 0; j < H; j++) z[m] += before_h.back()[j] * R[j * 4 * H + m];
        }
        for (int64_t j = 0; j < H && is_valid(t); j++) {
          const double i = sigmoid(z[j]), f = sigmoid(z[H + j]);
          const double u = std::tanh(z[2 * H + j]), o = sigmoid(z[3 * H + j]);
          c[j] = f * c[j] + i * u, h[j] = o * std::tanh(c[j]);
          const double values[] = {i, f, u, o};
          for (int64_t q = 0; q < 4; q++) a.gates[(at * 4 + q) * H + j] = values[q];
        }
        for (int64_t j = 0; j < H; j++) a.hs[at * H + j] = h[j], a.cs[at * H + j] = c[j];
      }
      for (int64_t j = 0; j < H; j++) {
        a.h_T[first + j] = h[j], a.c_T[first + j] = c[j];
        dh[j] = a.dh_T[first + j], dc[j] = a.dc_T[first + j];
      }
      for (int64_t k = T - 1; k >= 0; k--) {
        const int64_t t = time(k), at = row(t);
        for (int64_t j = 0; j < H; j++) dh[j] += a.dhs[at * H + j], dc[j] += a.dcs[at * H + j];
        if (!is_valid(t)) continue;
        double* const dz = &a.dz[at * 4 * H];
        for (int64_t j = 0; j < H; j++) {
          const double* const gate = &a.gates[at * 4 * H + j];
          const double i = gate[0], f = gate[H], u = gate[2 * H], o = gate[3 * H];
          const double s = std::tanh(a.cs[at * H + j]);
          dc[j] += dh[j] * o * (1 - s * s);
          dz[j] = dc[j] * u * i * (1 - i), dz[H + j] = dc[j] * before_c[k][j] * f * (1 - f);
          dz[2 * H + j] = dc[j] * i * (1 - u * u), dz[3 * H + j] = dh[j] * s * o * (1 - o);
          dc[j] *= f;
        }
        dh.assign(H, 0);
        for (int64_t m = 0; m < 4 * H; m++) {
          a.dbias[g * 4 * H + m] += dz[m];
          for (int64_t i = 0; i < I; i++) {
            a.dkernel[(g * I + i) * 4 * H + m] += a.x[at * I + i] * dz[m];
            a.dx[at * I + i] += W[i * 4 * H + m] * dz[m];
          }
          for (int64_t j = 0; j < H; j++) {
            a.drecurrent[(g * H + j) * 4 * H + m] += before_h[k][j] * dz[m];
            dh[j] += R[j * 4 * H + m] * dz[m];
          }
        }
        if (is_reset(t)) dh.assign(H, 0), dc.assign(H, 0);
      }
      for (int64_t j = 0; j < H; j++) a.dh_0[first + j] = dh[j], a.dc_0[first + j] = dc[j];
    }
}
