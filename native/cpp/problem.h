// What the kernels are asked for: one layer over a whole sequence, for one or more networks at once.
#pragma once

#include <cstdint>

#include "parallel.h"

namespace lstm {

// Sizes: networks with weights of their own, time, batch, inputs, hidden units.
struct Sizes {
  int64_t G, T, B, I, H;
};

// Arrays are contiguous and not aligned; gate blocks stand in the order i, f, g, o. A null pointer
// stands for an array that is not there, or not wanted.
template <class S>
struct Forward {
  Sizes n;
  bool reverse;          // from the last step to the first
  bool round;            // hidden states are rounded to bfloat16
  const S* x;            // [G, T, B, I], zeros at masked steps
  const S* kernel;       // [G, I, 4H]
  const S* recurrent;    // [G, H, 4H]
  const S* bias;         // [G, 4H]
  const S* h_0;          // [G, B, H]
  const S* c_0;          // [G, B, H]
  const bool* valid;     // [G, T, B] or null: whether a row has this step; if not, its state is held
  const bool* reset;     // [G, T, B] or null: whether a row starts anew, from zeros, if it has it
  S* hs;                 // [G, T, B, H] hidden states after every step
  S* h_T;                // [G, B, H] the last of them
  S* c_T;                // [G, B, H]
  S* cs;                 // [G, T, B, H] or null
  S* gates;              // [G, T, B, 4H] or null; zeros at masked steps
};

template <class S>
struct Backward {
  Sizes n;
  bool reverse;
  const S* x;
  const S* kernel;
  const S* recurrent;
  const S* h_0;
  const S* c_0;
  const bool* valid;
  const bool* reset;
  const S* hs;           // as the forward pass left them
  const S* cs;
  const S* gates;
  const S* dhs;          // [G, T, B, H] or null for zeros
  const S* dcs;          // [G, T, B, H] or null for zeros
  const S* dh_T;         // [G, B, H]
  const S* dc_T;         // [G, B, H]
  S* dx;                 // [G, T, B, I] or null
  S* dkernel;            // [G, I, 4H]
  S* drecurrent;         // [G, H, 4H]
  S* dbias;              // [G, 4H], or null if gradients of the weights are not wanted
  S* dh_0;               // [G, B, H]
  S* dc_0;               // [G, B, H]
};

// The kernels of one instruction set.
struct Kernels {
  const char* name;
  void (*forward_f32)(Pool&, const Forward<float>&);
  void (*forward_f64)(Pool&, const Forward<double>&);
  void (*backward_f32)(Pool&, const Backward<float>&);
  void (*backward_f64)(Pool&, const Backward<double>&);
};

// The best kernels that this machine can run.
const Kernels& kernels();

// Bytes of the second-level cache of a core.
int64_t second_level_cache();

}  // namespace lstm
