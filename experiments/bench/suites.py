"""The suites: which problems, what is measured on them, and beside whom."""

from dataclasses import dataclass

from experiments.bench.cases import Case
from experiments.bench.implementations import FLAX_LAYERS, REFERENCE, TUNED

SEQUENCE_PEERS = ("flax", "torch", "haiku", "equinox", "keras")
NAMES = ("cpu", "gpu", "layers", "stream", "memory", "compile", "scaling")


@dataclass(frozen=True)
class Suite:
    """What one run of the command measures.

    Attributes:
      name: its name on the command line and of its files.
      title: its name on its page.
      about: what is measured, in a sentence or two, as Markdown.
      cases: the problems.
      quantities: what is measured on each.
      peers: other libraries that can be measured.
      device: ``"cpu"`` or ``"gpu"``.
      rounds: how often each is visited.
      budget: seconds of a visit.
      ours: this library's implementations, where they are not its implementations.
      ceiling: sizes of the square products that give the ceiling; none where it says nothing.
      fresh: whether every visit needs a process of its own.
      keeps_pages: whether this library, and others in JAX, are also measured in a process whose
        memory is kept.
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
    keeps_pages: bool = False

    def products(self) -> list[Case]:
        """The square products, for every number of threads that cases use."""
        threads = dict.fromkeys(case.threads for case in self.cases)
        return [
            Case(f"{n}" + (f", {t} threads" if t else ""), B=n, T=1, I=0, H=n, threads=t)
            for t in threads
            for n in self.ceiling
        ]

    def own_implementations(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Which of this library's implementations are measured when none is named.

        Args:
          names: all of them.
        """
        if self.ours:
            return self.ours
        # "parallel" is for cells that are linear in their state: for an LSTM it is the scan.
        found = [name for name in names if name != "parallel"]
        return tuple(name for name in found if self.keeps_pages or not name.endswith(TUNED))


def make_suite(name: str, cores: int = 1) -> Suite:
    """A suite by name.

    Args:
      name: one of `NAMES`.
      cores: processor cores to scale over.
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
    """Along each axis from one problem in the middle.

    Args:
      cores: processor cores, all of which are the last point of their axis.
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
        " H, and the threads it may use. The roofline is the time in which the matrix products of"
        " the step alone would run at the ceiling.",
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
    keeps_pages=True,
)

GPU = Suite(
    "gpu",
    "Speed on a GPU",
    "One layer in float32, matrix products as each library does them when it is not told otherwise"
    " (TF32 where the GPU has it): the forward pass alone, and a training step, which is the"
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
    "What a model gains whose recurrent layer is exchanged: this library's layers for linen and"
    " NNX, and `unroll` itself, beside Flax's own. One layer in float32: the forward pass alone,"
    " and a training step, as for the speed on a CPU.",
    CPU.cases,
    ("forward", "training"),
    peers=("flax", "flax-nnx"),
    ours=(REFERENCE, *(layer.name for layer in FLAX_LAYERS)),
)

STREAM = Suite(
    "stream",
    "One step at a time on a CPU",
    "A stream of single steps, batch 1, I = H, float32: the time from an input to its new state,"
    " which the next step starts from.",
    tuple(Case(f"H={H}", 1, 1, H, H) for H in (64, 128, 512)),
    ("step",),
    peers=("numpy", *SEQUENCE_PEERS),
    ours=(REFERENCE,),
)

MEMORY = Suite(
    "memory",
    "Memory of a gradient",
    "The gradients of all weights for the sum of squares of the final `h`, float32, on a CPU. The"
    " columns are what `remat` keeps: everything (None), the state of every step, or that of every"
    " k-th step. Growth is by how much training steps raise the peak of a fresh process's resident"
    " memory; temporaries are what XLA's memory analysis says of the compiled gradient.",
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
    "From a Python function to a program: tracing, lowering, and XLA's compilation, with JAX's"
    " caches empty. PyTorch runs without compiling.",
    (Case("medium", 32, 128, 256, 256),),
    ("compile_forward", "compile_training"),
    peers=("flax", "haiku", "equinox", "keras"),
    rounds=3,
)
