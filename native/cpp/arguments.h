// The arguments of the forward and the backward pass: one layer over a whole sequence, for one or
// more networks at once.
#pragma once

#include <cstdint>

#include "thread_pool.h"

namespace lstm {

// Sizes: networks with weights of their own, time, batch, inputs, hidden units.
struct Sizes {
  int64_t G, T, B, I, H;
};

// Arrays are contiguous and need no alignment; gate blocks are in the order i, f, g, o. A null
// pointer stands for an array that is absent or not needed.
template <class S>
struct ForwardArgs {
  Sizes n;
  bool reverse;          // from the last step to the first
  bool round;            // round hidden states to bfloat16
  const S* x;            // [G, T, B, I], zeros at masked steps
  const S* kernel;       // [G, I, 4H]
  const S* recurrent;    // [G, H, 4H]
  const S* bias;         // [G, 4H]
  const S* h_0;          // [G, B, H]
  const S* c_0;          // [G, B, H]
  const bool* valid;     // [G, T, B] or null: true at valid steps; at others the state is kept
  const bool* reset;     // [G, T, B] or null: true where a valid step restarts from zeros
  S* hs;                 // [G, T, B, H] hidden states after every step
  S* h_T;                // [G, B, H] the last of them
  S* c_T;                // [G, B, H]
  S* cs;                 // [G, T, B, H] or null
  S* gates;              // [G, T, B, 4H] or null; zeros at masked steps
};

template <class S>
struct BackwardArgs {
  Sizes n;
  bool reverse;
  const S* x;
  const S* kernel;
  const S* recurrent;
  const S* h_0;
  const S* c_0;
  const bool* valid;
  const bool* reset;
  const S* hs;           // outputs of the forward pass
  const S* cs;
  const S* gates;
  const S* dhs;          // [G, T, B, H] or null for zeros
  const S* dcs;          // [G, T, B, H] or null for zeros
  const S* dh_T;         // [G, B, H]
  const S* dc_T;         // [G, B, H]
  S* dx;                 // [G, T, B, I] or null
  S* dkernel;            // [G, I, 4H]
  S* drecurrent;         // [G, H, 4H]
  S* dbias;              // [G, 4H], or null if the gradients of the weights are not needed
  S* dh_0;               // [G, B, H]
  S* dc_0;               // [G, B, H]
};

// The two passes, compiled for one instruction set.
struct IsaFunctions {
  const char* name;
  void (*forward_f32)(Pool&, const ForwardArgs<float>&);
  void (*forward_f64)(Pool&, const ForwardArgs<double>&);
  void (*backward_f32)(Pool&, const BackwardArgs<float>&);
  void (*backward_f64)(Pool&, const BackwardArgs<double>&);
};

// Those for the instruction set that is selected on this machine: see select_isa.cc.
const IsaFunctions& functions();

// Bytes of the second-level cache of a core.
int64_t second_level_cache();

}  // namespace lstm
