"""The networks and the results of Hochreiter & Schmidhuber (1997), experiments 1 to 6.

Numbers are those of the paper's tables 1 to 10. Where table 10 and the text differ, the text is
followed: g maps to (-2, 2) and h to (-1, 1). All trainings are online, one update a sequence.

Reference: Hochreiter & Schmidhuber (1997), *Long short-term memory*, section 5.
"""

from dataclasses import dataclass
from typing import Any, Literal

from experiments.tasks.hs1997.adding import Adding1997
from experiments.tasks.hs1997.lag import Lag1997
from experiments.tasks.hs1997.multiplication import Multiplication1997
from experiments.tasks.hs1997.temporal_order import TemporalOrder1997
from experiments.tasks.hs1997.two_sequences import TwoSequences1997

TEST_SEQUENCES = 2560
"""Test sequences of experiments 3 to 6."""


@dataclass(frozen=True)
class PaperNetwork:
    """A network of the paper: memory cell blocks, whose cells share their gates.

    Attributes:
      inputs: input units.
      outputs: output units.
      blocks: memory cell blocks.
      cells: memory cells of every block.
      biases: which units have a bias: none, the gates, all hidden units, or the outputs as well.
      input_gate_bias: its initial value in every block; None where it is drawn as other weights
        are, or where there is none.
      output_gate_bias: likewise.
      init: initial weights are drawn from U[-init, init].
      simple: the network of 2a and 2b: no output gates, g = sigmoid, h = identity, no connection
        from a hidden unit to a hidden unit, and connections from the inputs to the outputs.
    """

    inputs: int
    outputs: int
    blocks: int
    cells: int
    biases: Literal["none", "gates", "hidden", "all"]
    input_gate_bias: tuple[float, ...] | None = None
    output_gate_bias: tuple[float, ...] | None = None
    init: float = 0.1
    simple: bool = False

    @property
    def weights(self) -> int:
        """The number of weights, as the paper counts them.

        Every hidden unit, which is a cell or a gate of a block, has connections from all inputs and
        all hidden units; every output has connections from all cells.
        """
        cells = self.blocks * self.cells
        gates = self.blocks if self.simple else 2 * self.blocks
        hidden = cells + gates
        if self.simple:
            return hidden * self.inputs + self.outputs * (cells + self.inputs)
        biases = {"none": 0, "gates": gates, "hidden": hidden, "all": hidden + self.outputs}
        return hidden * (self.inputs + hidden) + self.outputs * cells + biases[self.biases]


@dataclass(frozen=True)
class PaperResult:
    """A row of the paper's results.

    Attributes:
      experiment: its name in the paper.
      setting: what tells it from other rows of the experiment.
      task: the task with the fields of the row; None for experiment 1, which is the task `reber`.
      goal: the goal of the task that is the paper's stopping criterion.
      network: the network.
      learning_rate: of plain gradient descent.
      trials: trainings with different initial weights.
      success: the share of them that ended well; 1 where the paper mentions no failure.
      sequences: the mean number of training sequences until then.
      wrong: the mean share of wrong test sequences afterwards; None where none is given.
    """

    experiment: str
    setting: str
    task: Any
    goal: Literal["solved", "mastered"]
    network: PaperNetwork
    learning_rate: float
    trials: int
    sequences: int
    success: float = 1.0
    wrong: float | None = None


def _reber(blocks: int, cells: int, rate: float, success: float, sequences: int) -> PaperResult:
    network = PaperNetwork(
        7, 7, blocks, cells, "gates", None, tuple(-1.0 - k for k in range(blocks)), 0.2
    )
    setting = f"{blocks} blocks of {cells}, learning rate {rate}"
    return PaperResult("1", setting, None, "mastered", network, rate, 30, sequences, success)


def _lag(experiment: Literal["2a", "2b"], sequences: int) -> PaperResult:
    task = Lag1997(experiment=experiment, p=100)
    network = PaperNetwork(101, 101, 1, 1, "none", init=0.2, simple=True)
    return PaperResult(experiment, "p = 100", task, "solved", network, 1.0, 18, sequences)


def _long_lag(q: int, p: int, sequences: int) -> PaperResult:
    task = Lag1997(experiment="2c", p=p, q=q)
    network = PaperNetwork(p + 4, 2, 2, 1, "none", init=0.2)
    return PaperResult("2c", f"q = {q}, p = {p}", task, "solved", network, 0.01, 20, sequences)


def _two_sequences(
    experiment: Literal["3a", "3b", "3c"], length: int, signal: int, *found: float
) -> list[PaperResult]:
    """The rows of one setting: of ST1, then of ST2; in 3c of its only criterion."""
    task = TwoSequences1997(experiment=experiment, length=length, signal=signal)
    network = PaperNetwork(1, 1, 3, 1, "hidden", (-1.0, -3.0, -5.0), (-2.0, -4.0, -6.0))
    rate = 0.1 if experiment == "3c" else 1.0
    *counts, wrong = found
    setting = f"T = {length}, N = {signal}"
    names = ("solved",) if len(counts) == 1 else ("solved", "mastered")
    rows = []
    for name, count in zip(names, counts, strict=True):
        criterion = "" if len(counts) == 1 else (", ST1" if name == "solved" else ", ST2")
        share = wrong if name == names[-1] else None
        rows.append(
            PaperResult(
                experiment, setting + criterion, task, name, network, rate, 10, int(count),
                wrong=share,
            )
        )  # fmt: skip
    return rows


def _adding(length: int, sequences: int, wrong: int) -> PaperResult:
    network = PaperNetwork(2, 1, 2, 2, "all", (-3.0, -6.0))
    return PaperResult(
        "4", f"T = {length}", Adding1997(length=length), "solved", network, 0.5, 10, sequences,
        wrong=wrong / TEST_SEQUENCES,
    )  # fmt: skip


def _multiplication(
    goal: Literal["solved", "mastered"], wrong_of_2000: int, sequences: int, wrong: int
) -> PaperResult:
    network = PaperNetwork(2, 1, 2, 2, "all")
    setting = f"T = 100, fewer than {wrong_of_2000} of 2,000 wrong"
    return PaperResult(
        "5", setting, Multiplication1997(length=100), goal, network, 0.1, 10, sequences,
        wrong=wrong / TEST_SEQUENCES,
    )  # fmt: skip


def _order(
    experiment: Literal["6a", "6b"], rate: float, trials: int, sequences: int, wrong: int
) -> PaperResult:
    task = TemporalOrder1997(experiment=experiment)
    blocks = 2 if experiment == "6a" else 3
    biases = tuple(-2.0 * (k + 1) for k in range(blocks))
    network = PaperNetwork(8, task.output_size, blocks, 2, "all", biases)
    setting = "two symbols" if experiment == "6a" else "three symbols"
    return PaperResult(
        experiment, setting, task, "solved", network, rate, trials, sequences,
        wrong=wrong / TEST_SEQUENCES,
    )  # fmt: skip


PAPER: tuple[PaperResult, ...] = (
    _reber(4, 1, 0.1, 1.0, 39_740),
    _reber(3, 2, 0.1, 1.0, 21_730),
    _reber(3, 2, 0.2, 0.97, 14_060),
    _reber(4, 1, 0.5, 0.97, 9_500),
    _reber(3, 2, 0.5, 1.0, 8_440),
    _lag("2a", 5_040),
    _lag("2b", 5_680),
    _long_lag(50, 50, 30_000),
    _long_lag(100, 100, 31_000),
    _long_lag(200, 200, 33_000),
    _long_lag(500, 500, 38_000),
    _long_lag(1000, 1000, 49_000),
    _long_lag(1000, 500, 49_000),
    _long_lag(1000, 200, 75_000),
    _long_lag(1000, 100, 135_000),
    _long_lag(1000, 50, 203_000),
    *_two_sequences("3a", 100, 3, 27_380, 39_850, 0.000195),
    *_two_sequences("3a", 100, 1, 58_370, 64_330, 0.000117),
    *_two_sequences("3a", 1000, 3, 446_850, 452_460, 0.000078),
    *_two_sequences("3b", 100, 3, 41_740, 43_250, 0.00828),
    *_two_sequences("3b", 100, 1, 74_950, 78_430, 0.01500),
    *_two_sequences("3b", 1000, 1, 481_060, 485_080, 0.01207),
    *_two_sequences("3c", 100, 3, 269_650, 0.00558),
    *_two_sequences("3c", 100, 1, 565_640, 0.00441),
    _adding(100, 74_000, 1),
    _adding(500, 209_000, 0),
    _adding(1000, 853_000, 1),
    _multiplication("solved", 140, 482_000, 139),
    _multiplication("mastered", 13, 1_273_000, 14),
    _order("6a", 0.5, 20, 31_390, 1),
    _order("6b", 0.1, 10, 571_100, 2),
)
"""The results of the paper's LSTM in the order of its tables."""
