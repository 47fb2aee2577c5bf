"""The suites: their cases, the quantities to measure, and the peers."""

from dataclasses import dataclass

from experiments.bench.cases import Case
from experiments.bench.implementation import FLAX_LAYERS, REFERENCE, TUNED

SEQUENCE_PEERS = ("flax", "torch", "haiku", "equinox", "keras")
NAMES = ("cpu", "gpu", "layers", "stream", "memory", "compile", "scaling")


@dataclass(frozen=True)
class Suite:
    """One benchmark suite.

    Attributes:
      name: its name on the command line and in file names.
      title: the title of its page.
      about: what it measures, as Markdown.
      cases: the cases to measure.
      quantities: the quantities to measure for each case.
      peers: other libraries to measure.
      device: ``"cpu"`` or ``"gpu"``.
      rounds: number of rounds; every round measures everything once.
      budget: seconds for which a call is repeated in a round.
      ours: names of this library's implementations, if not its backends.
      ceiling: sizes of the square matrix products that give the ceiling; empty for no ceiling.
      fresh: whether every measurement needs a new process.
      tuned_jax: whether to measure this library and peers in JAX with tuned malloc as well.
    """

    name: str
    title: str
    about: str
    cases: tuple[Case, ...]
    quantities: tuple[str, ...]
    peers: tuple[str, ...] = SEQUENCE_PEERS
    device: str = "cpu"
    rounds: int = 5
    budget: float = 0.5
    ours: tuple[str, ...] = ()
    ceiling: tuple[int, ...] = ()
    fresh: bool = False
    tuned_jax: bool = False

    def products(self) -> list[Case]:
        """The cases of the square products, for every number of threads."""
        threads = dict.fromkeys(case.threads for case in self.cases)
        return [
            Case(f"{n}" + (f", {t} threads" if t else ""), B=n, T=1, I=0, H=n, threads=t)
            for t in threads
            for n in self.ceiling
        ]

    def own_implementations(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The names of this library's implementations that the suite measures by default.

        Args:
          names: names of all backends, from `backend_names`.
        """
        if self.ours:
            return self.ours
        # "parallel" is for cells that are linear in their state; an LSTM would run by "scan".
        found = [name for name in names if name != "parallel"]
        return tuple(name for name in found if self.tuned_jax or not name.endswith(TUNED))


def make_suite(name: str, cores: int = 1) -> Suite:
    """The suite with a name.

    Args:
      name: one of `NAMES`.
      cores: the largest number of threads in the suite `scaling`.
    """
    match name:
        case "cpu":
            return CPU
        case "gpu":
            return GPU
        case "layers":
            return LAYERS
        case "stream":
            return STREAM
        case "memory":
            return MEMORY
        case "compile":
            return COMPILE
        case "scaling":
            return scaling(cores)
    raise ValueError(f"no suite {name}")


def scaling(cores: int) -> Suite:
    """Training steps along each axis around one case.

    Args:
      cores: the largest number of threads.
    """
    powers = [2**k for k in range(cores.bit_length()) if 2**k < cores]
    cases = [
        *(Case(f"T={T}", 32, T, 64, 128, group="T") for T in (32, 128, 512, 2048)),
        *(Case(f"B={B}", B, 128, 64, 128, group="B") for B in (1, 4, 16, 64, 256)),
        *(Case(f"H={H}", 32, 128, 64, H, group="H") for H in (32, 64, 128, 256, 512, 1024)),
        *(
            Case(f"threads={n}", 64, 128, 256, 256, group="threads", threads=n)
            for n in (*powers, cores)
        ),
    ]
    return Suite(
        "scaling",
        "Scaling on a CPU",
        "Time of a training step against the number of time steps T, the batch B, the hidden units"
        " H, and the number of threads. The roofline is the time of the matrix products of the step"
        " at the ceiling.",
        tuple(cases),
        ("training",),
        rounds=3,
        ceiling=CPU.ceiling,
    )


CPU = Suite(
    "cpu",
    "Speed on a CPU",
    "One layer in float32: the forward pass alone, and a training step, which is the forward pass"
    " and the gradients of all weights (not of the input) for the sum of the outputs. All use the"
    " same number of threads.",
    (
        Case("adding", 64, 200, 2, 128),
        Case("copy", 32, 520, 10, 128),
        Case("small", 16, 100, 32, 64),
        Case("medium", 32, 128, 256, 256),
        Case("large", 32, 64, 512, 512),
        Case("one-row", 1, 1000, 64, 128),
        Case("long", 8, 2000, 16, 128),
    ),
    ("forward", "training"),
    ceiling=(512, 1024, 2048),
    tuned_jax=True,
)

GPU = Suite(
    "gpu",
    "Speed on a GPU",
    "One layer in float32, with the default precision of matrix products in each library"
    " (TF32 if the GPU has it): the forward pass alone, and a training step, which is the"
    " forward pass and the gradients of all weights (not of the input) for the sum of the outputs.",
    (
        Case("small", 64, 100, 64, 256),
        Case("adding", 64, 1000, 2, 256),
        Case("medium", 128, 200, 256, 512),
        Case("batch", 256, 200, 256, 512),
        Case("wide", 128, 200, 512, 1024),
        Case("long", 64, 1000, 512, 1024),
    ),
    ("forward", "training"),
    device="gpu",
    ceiling=(2048, 4096, 8192),
)

LAYERS = Suite(
    "layers",
    "Layers for Flax on a CPU",
    "This library's layers for linen and NNX, and `unroll`, beside Flax's own layers. One layer in"
    " float32: the forward pass alone, and a training step, as for the speed on a CPU.",
    CPU.cases,
    ("forward", "training"),
    peers=("flax", "flax-nnx"),
    ours=(REFERENCE, *FLAX_LAYERS),
)

STREAM = Suite(
    "stream",
    "One step at a time on a CPU",
    "A stream of single steps, batch 1, I = H, float32: the time from an input to the new state,"
    " from which the next step starts.",
    tuple(Case(f"H={H}", 1, 1, H, H) for H in (64, 128, 512)),
    ("step",),
    peers=("numpy", *SEQUENCE_PEERS),
    ours=(REFERENCE,),
)

MEMORY = Suite(
    "memory",
    "Memory of a gradient",
    "The gradients of all weights for the sum of squares of the final `h`, float32, on a CPU. The"
    " columns are what `remat` keeps: everything (None), the state of every step, or the state of"
    " every k-th step. Growth is the increase of a fresh process's peak resident memory during"
    " training steps; temporaries are from XLA's memory analysis of the compiled gradient.",
    tuple(
        Case("none" if remat is None else f"{remat}", 32, 1024, 256, 256, remat=remat)
        for remat in (None, "step", 64, 32, 16)
    ),
    ("memory",),
    rounds=2,
    fresh=True,
)

COMPILE = Suite(
    "compile",
    "Time to compile on a CPU",
    "From a Python function to an executable: tracing, lowering, and XLA's compilation, with JAX's"
    " caches empty. PyTorch runs without compilation.",
    (Case("medium", 32, 128, 256, 256),),
    ("compile_forward", "compile_training"),
    peers=("flax", "haiku", "equinox", "keras"),
    rounds=3,
)
