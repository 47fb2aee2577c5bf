// The two passes for one instruction set: this file is compiled once for each.
#include "backward_sequence.h"
#include "forward_sequence.h"

#define LSTM_TEXT_(x) #x
#define LSTM_TEXT(x) LSTM_TEXT_(x)

namespace lstm::LSTM_ISA {

extern const IsaFunctions kFunctions;
const IsaFunctions kFunctions = {LSTM_TEXT(LSTM_ISA), forward<float>, forward<double>,
                                 backward<float>, backward<double>};

}  // namespace lstm::LSTM_ISA
