// The kernels for one instruction set: this file is compiled once for each.
#include "backward.h"
#include "forward.h"

#define LSTM_TEXT_(x) #x
#define LSTM_TEXT(x) LSTM_TEXT_(x)

namespace lstm::LSTM_ISA {

extern const Kernels kKernels;
const Kernels kKernels = {LSTM_TEXT(LSTM_ISA), forward<float>, forward<double>, backward<float>,
                          backward<double>};

}  // namespace lstm::LSTM_ISA
