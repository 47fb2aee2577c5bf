"""An agent that has to remember: recurrent PPO, all in JAX.

A corridor shows a symbol at its first step, other symbols at every later step, and a door at the
end. The action at the door must name the first symbol. Corridors have 6 to 20 steps, so the
episodes of a batch end at different times. The LSTM or GRU is reset where an episode ends, inside
of the sequence; an agent without one can only guess.

States:   more than 98 % of the doors right with a GRU or an LSTM, where an agent without memory and
          random actions have 25 %.
Command:  python examples/ppo_memory.py      (a minute on two cores; `--cell gru` trains only that)
"""

import argparse
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import lstm_jax as lj
from lstm_jax.linen import GRU, LSTM

SYMBOLS, SHORTEST, LONGEST = 4, 6, 20
ENVS, STEPS, EPOCHS, MINIBATCHES, HIDDEN = 64, 64, 4, 4, 64
GAMMA, LAMBDA, CLIP, ENTROPY, VALUE = 0.99, 0.95, 0.2, 0.01, 0.5
CELLS = "none", "gru", "lstm"


class Corridor(NamedTuple):
    """The state of one environment: the first symbol, the position, and the place of the door."""

    symbol: jax.Array
    position: jax.Array
    door: jax.Array


def enter(key: jax.Array) -> Corridor:
    """A new corridor."""
    k_symbol, k_door = jax.random.split(key)
    symbol = jax.random.randint(k_symbol, (), 0, SYMBOLS)
    return Corridor(symbol, jnp.int32(0), jax.random.randint(k_door, (), SHORTEST, LONGEST + 1) - 1)


def observe(key: jax.Array, state: Corridor) -> jax.Array:
    """What the agent sees: one symbol, and whether it is at the first step or at the door."""
    first, last = state.position == 0, state.position == state.door
    symbol = jnp.where(first, state.symbol, jax.random.randint(key, (), 0, SYMBOLS))
    return jnp.append(jax.nn.one_hot(symbol, SYMBOLS), jnp.array([first, last], jnp.float32))


def move(key: jax.Array, state: Corridor, action: jax.Array) -> tuple[Corridor, Any, Any]:
    """The next state, the reward, and whether the episode ended; then a new corridor follows."""
    done = state.position == state.door
    reward = (done & (action == state.symbol)).astype(jnp.float32)
    states = enter(key), state._replace(position=state.position + 1)
    return jax.tree.map(partial(jnp.where, done), *states), reward, done


class Agent(nn.Module):
    """Policy and value, with memory or without; or random actions."""

    cell: str

    @nn.compact
    def __call__(self, carry: Any, inputs: jax.Array, reset: jax.Array) -> tuple[Any, Any, Any]:
        """The carry, logits and values ``[T, B]`` from inputs ``[T, B, I]``, resets ``[T, B]``."""
        if self.cell == "random":
            return carry, jnp.zeros((*reset.shape, SYMBOLS)), jnp.zeros(reset.shape)
        x = nn.relu(nn.Dense(HIDDEN)(inputs))
        if self.cell == "none":
            x = nn.relu(nn.Dense(HIDDEN)(x))
        else:
            memory = {"gru": GRU, "lstm": LSTM}[self.cell](HIDDEN, time_major=True)
            carry, x = memory(x, initial_carry=carry, reset=reset, return_carry=True)
        logits = nn.Dense(SYMBOLS, kernel_init=nn.initializers.orthogonal(0.01))(x)
        return carry, logits, nn.Dense(1)(x)[..., 0]


class Rollout(NamedTuple):
    """What the environments did, ``[T, B]``."""

    inputs: jax.Array
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    reward: jax.Array
    done: jax.Array


def log_prob_of(logits: jax.Array, action: jax.Array) -> jax.Array:
    """The log-probability of an action."""
    return jnp.take_along_axis(nn.log_softmax(logits), action[..., None], axis=-1)[..., 0]


def act(policy: Any, world: Any, key: jax.Array) -> tuple[Any, Rollout]:
    """One step of all environments: the policy reads a sequence of one step."""
    states, carry, done = world
    k_observe, k_act, k_move = (jax.random.split(k, ENVS) for k in jax.random.split(key, 3))
    inputs = jax.vmap(observe)(k_observe, states)
    # The carry is reset before this step where an episode ended with the last one.
    carry, logits, value = policy(carry, inputs[None], done[None])
    action = jax.vmap(jax.random.categorical)(k_act, logits[0])
    log_prob = log_prob_of(logits[0], action)
    states, reward, done = jax.vmap(move)(k_move, states, action)
    return (states, carry, done), Rollout(inputs, action, log_prob, value[0], reward, done)


def start(policy: Any, key: jax.Array) -> Any:
    """The world before its first step. All rows begin with a reset, so any carry will do."""
    carry, *_ = policy(None, jnp.zeros((1, ENVS, SYMBOLS + 2)), jnp.ones((1, ENVS), bool))
    return jax.vmap(enter)(jax.random.split(key, ENVS)), carry, jnp.ones(ENVS, bool)


@partial(jax.jit, static_argnames=("cell", "steps"))
def evaluate(cell: str, params: Any, key: jax.Array, steps: int = 500) -> tuple[Any, Rollout]:
    """A first carry, and a rollout of an agent from there, step by step in new environments."""
    policy, (k_start, k_steps) = partial(Agent(cell).apply, params), jax.random.split(key)
    world = start(policy, k_start)
    return world[1], jax.lax.scan(partial(act, policy), world, jax.random.split(k_steps, steps))[1]


def advantages(rollout: Rollout, last_value: jax.Array) -> jax.Array:
    """Generalised advantage estimates (Schulman et al. 2016)."""

    def step(later: Any, at_t: Rollout) -> Any:
        advantage, value = jax.tree.map(lambda leaf: GAMMA * (1.0 - at_t.done) * leaf, later)
        advantage = at_t.reward + value - at_t.value + LAMBDA * advantage
        return (advantage, at_t.value), advantage

    return jax.lax.scan(step, (jnp.zeros(ENVS), last_value), rollout, reverse=True)[1]


def loss(agent: Agent, params: Any, carry: Any, batch: Any) -> jax.Array:
    """The loss of PPO (Schulman et al. 2017), over whole sequences from their stored carries."""
    reset, rollout, advantage = batch
    _, logits, value = agent.apply(params, carry, rollout.inputs, reset)
    ratio = jnp.exp(log_prob_of(logits, rollout.action) - rollout.log_prob)
    gain = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    policy = jnp.minimum(ratio * gain, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * gain).mean()
    entropy = -(nn.softmax(logits) * nn.log_softmax(logits)).sum(-1).mean()
    return VALUE * jnp.square(value - rollout.value - advantage).mean() - policy - ENTROPY * entropy


@partial(jax.jit, static_argnames=("cell", "updates"))
def train(cell: str, updates: int, key: jax.Array) -> Any:
    """The parameters of an agent after so many updates."""
    k_init, k_start, key = jax.random.split(key, 3)
    agent = Agent(cell)
    params = agent.init(k_init, None, jnp.zeros((1, 1, SYMBOLS + 2)), jnp.ones((1, 1), bool))
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-3))

    def update(learner: Any, key: jax.Array) -> Any:
        params, moments, world = learner
        k_act, k_last, k_rows = jax.random.split(key, 3)
        _, carry, done = world
        step = partial(act, partial(agent.apply, params))
        world, rollout = jax.lax.scan(step, world, jax.random.split(k_act, STEPS))
        advantage = advantages(rollout, step(world, k_last)[1].value)
        batch = lj.resets_from_dones(rollout.done, first=done), rollout, advantage

        def improve(learner: Any, rows: jax.Array) -> Any:
            # A minibatch has whole sequences: those of some environments, with their carries.
            params, moments = learner
            carries = jax.tree.map(lambda leaf: leaf[rows], carry)
            part = jax.tree.map(lambda leaf: leaf[:, rows], batch)
            grads = jax.grad(partial(loss, agent))(params, carries, part)
            changes, moments = optimizer.update(grads, moments)
            return (optax.apply_updates(params, changes), moments), None

        shuffle = jax.vmap(partial(jax.random.permutation, x=ENVS))
        rows = shuffle(jax.random.split(k_rows, EPOCHS)).reshape(EPOCHS * MINIBATCHES, -1)
        (params, moments), _ = jax.lax.scan(improve, (params, moments), rows)
        return (params, moments, world), None

    learner = params, optimizer.init(params), start(partial(agent.apply, params), k_start)
    return jax.lax.scan(update, learner, jax.random.split(key, updates))[0][0]


def main(cells: Sequence[str] = CELLS, updates: int = 100) -> dict[str, float]:
    """Train, and return the part of the doors that each agent has right, and random actions."""
    (k_train, k_evaluate), right = jax.random.split(jax.random.key(0)), {}
    for cell in ("random", *cells):
        began = time.perf_counter()
        params = {} if cell == "random" else train(cell, updates, k_train)
        _, rollout = evaluate(cell, params, k_evaluate)
        right[cell] = float(rollout.reward.sum() / rollout.done.sum())
        print(f"{cell:6}  {right[cell]:6.1%} right  {time.perf_counter() - began:3.0f} s")
    return right


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cell", nargs="+", default=CELLS, choices=CELLS)
    main(parser.parse_args().cell)
