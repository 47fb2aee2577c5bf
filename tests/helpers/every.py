"""A small example of every cell and of every transform, for what holds for all of them."""

import jax
import jax.numpy as jnp

import lstm_jax as lj

CELLS = {
    "lstm": lj.LSTM(3, 4),
    "lstm in bfloat16": lj.LSTM(3, 4, dtype=jnp.bfloat16),
    "original": lj.OriginalLSTM(3, 4),
    "peephole": lj.PeepholeLSTM(3, 4),
    "coupled": lj.CoupledLSTM(3, 4),
    "refined": lj.RefinedLSTM(3, 4),
    "ba2016": lj.LayerNormLSTM(3, 4),
    "haste": lj.LayerNormLSTM(3, 4, variant="haste"),
    "pytorch": lj.LayerNormLSTM(3, 4, variant="pytorch"),
    "tensorflow": lj.LayerNormLSTM(3, 4, variant="tensorflow"),
    "projected": lj.ProjectedLSTM(3, 4, projection_size=2),
    "slstm": lj.SLSTM(3, 4, num_heads=2),
    "slstm exp": lj.SLSTM(3, 4, forget_gate="exp"),
    "mlstm": lj.MLSTM(3, 4, num_heads=2),
    "min lstm": lj.MinLSTM(3, 4),
    "gru": lj.GRU(3, 4),
    "gru reset before": lj.GRU(3, 4, reset_after=False),
    "tanh": lj.TanhRNN(3, 4),
    "conv": lj.ConvLSTM((4, 3), 2, kernel_size=3),
    "conv 2d": lj.ConvLSTM((3, 4, 3), 2, kernel_size=2, peephole=True),
}

TRANSFORMS = {
    "dropout": lj.dropout(lj.LSTM(3, 4), 0.5),
    "variational dropout": lj.dropout(lj.LSTM(3, 4), 0.5, variational=True),
    "recurrent dropout": lj.recurrent_dropout(lj.LSTM(3, 4), 0.5),
    "recurrent dropout of a gru": lj.recurrent_dropout(lj.GRU(3, 4), 0.5),
    "candidate dropout": lj.candidate_dropout(lj.LSTM(3, 4), 0.5),
    "zoneout": lj.zoneout(lj.LSTM(3, 4), h=0.3, c=0.4),
    "zoneout of a gru": lj.zoneout(lj.GRU(3, 4), h=0.3),
    "clip": lj.clip(lj.GRU(3, 4), h=0.5),
    "learned": lj.learned_initial_state(lj.LSTM(3, 4)),
    "learned gru": lj.learned_initial_state(lj.GRU(3, 4)),
    "residual": lj.residual(lj.GRU(3, 3)),
    "skip": lj.skip(lj.LSTM(3, 4)),
    "weight drop": lj.weight_drop(lj.GRU(3, 4), 0.5),
    "stack": lj.stack(lj.GRU(3, 4), lj.LSTM(4, 2), dropout=0.5),
    "functions": lj.stack(lj.GRU(3, 4), jax.nn.relu, lj.LSTM(4, 2), jnp.cos),
    "stack of one": lj.stack(lj.GRU(3, 4)),
    "deep": lj.stack(lj.residual(lj.GRU(3, 3)), lj.stack(lj.zoneout(lj.MinLSTM(3, 2), h=0.5))),
}

BIDIRECTIONAL = {
    "bidirectional": lj.bidirectional(lj.LSTM(3, 4)),
    "bidirectional gru": lj.bidirectional(lj.GRU(3, 4), lj.TanhRNN(3, 4), merge="sum"),
    "stack of bidirectional": lj.stack(lj.bidirectional(lj.GRU(3, 2)), lj.LSTM(4, 2)),
}

WITH_STEPS = CELLS | TRANSFORMS
EVERY = WITH_STEPS | BIDIRECTIONAL


def example(cell, batch=(2,), seed=0):
    """Parameters and an input of a cell."""
    features = cell.input_shape if isinstance(cell, lj.ConvLSTM) else (cell.input_size,)
    k_params, k_x = jax.random.split(jax.random.key(seed))
    return cell.init(k_params), jax.random.normal(k_x, (*batch, *features))
