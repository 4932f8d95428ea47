# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # One step at a time, or the whole sequence
#
# A recurrent policy acts one step at a time, because the next observation depends on its action.
# For training, it runs over the whole collected trajectory in one program. Both must give the same
# numbers, even if an episode ends within the trajectory and the state is reset. This notebook
# collects a trajectory with `seqjax.step`, runs over it with `seqjax.unroll`, and computes a policy
# gradient.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax

import seqjax

# %% [markdown]
# ## The environment
#
# A walker starts on a line, 2 to 5 places from its goal at 0. In each step it moves left or right.
# With a probability of 0.1, a gust moves it in a random direction instead. It observes on which
# side of the goal it is, with noise, and a second feature that is only noise. An episode ends at
# the goal or after 12 steps, and the next episode starts at once. `B` environments run in parallel,
# and their episodes end at different times.

# %%
T, B, LONGEST = 40, 6, 12


def new_episodes(key):
    """Places to start from, int[B]."""
    side, distance = jax.random.split(key)
    sides = jnp.where(jax.random.bernoulli(side, 0.5, (B,)), 1, -1)
    return sides * jax.random.randint(distance, (B,), 2, 6)


def observe(key, place):
    """The side of the goal and noise, float32[B, 2]."""
    noise = jax.random.normal(key, (B, 2), jnp.float32)
    return noise.at[:, 0].multiply(0.5).at[:, 0].add(jnp.sign(place))


def move(key, place, age, action):
    """The next place and age of each episode, whether a new one starts, and the rewards."""
    gust_key, gust_side, start_key = jax.random.split(key, 3)
    gust = jax.random.bernoulli(gust_key, 0.1, (B,))
    moved = jnp.where(gust, jax.random.bernoulli(gust_side, 0.5, (B,)), action)
    place, age = place + jnp.where(moved, 1, -1), age + 1
    reward = (place == 0).astype(jnp.float32)
    start = (place == 0) | (age == LONGEST)
    return (
        jnp.where(start, new_episodes(start_key), place), jnp.where(start, 0, age), start, reward
    )  # fmt: skip


# %% [markdown]
# ## One step at a time
#
# `seqjax.step` runs one step of a cell. `start` marks the rows whose episode starts at this step,
# and resets their state before the step. Every episode starts this way, including the first. The
# next cell acts for T steps and collects the trajectory.

# %%
policy = seqjax.OutputProjection(seqjax.GRU(16), size=2)  # logits of left and right
params = policy.init(jax.random.key(0), input_size=2)


def collect(params, key):
    """Act for T steps: the trajectory, each array [T, B, ...], and the state at its end."""
    key, start_key = jax.random.split(key)
    place, age, start = new_episodes(start_key), jnp.zeros(B, jnp.int32), jnp.ones(B, bool)
    state, steps = policy.initial_state((B,)), []
    for step_key in jax.random.split(key, T):
        see_key, act_key, move_key = jax.random.split(step_key, 3)
        seen = observe(see_key, place)
        state, logits = seqjax.step(policy, params, state, seen, start=start)
        action = jax.random.categorical(act_key, logits)
        place, age, next_start, reward = move(move_key, place, age, action)
        steps.append((start, seen, logits, action, reward))
        start = next_start
    return state, [jnp.stack(arrays) for arrays in zip(*steps, strict=True)]


state, (starts, seen, logits, actions, rewards) = collect(params, jax.random.key(1))
print("starts", starts.shape, "observations", seen.shape, "logits", logits.shape)
print("episodes that began in each environment:", starts.sum(0))

# %% [markdown]
# The step is compiled once and then called T times. If an environment is written in JAX, it can be
# part of the same program. The loop above also works with any other environment. The next cell
# plots where episodes start.

# %%
figure, ax = plt.subplots(figsize=(9, 2.2), layout="constrained")
ax.imshow(starts.T, cmap="Greys", aspect="auto", interpolation="none")
ax.set(title="Where episodes start, in black", xlabel="step", ylabel="environment")
plt.show()

# %% [markdown]
# After the first step, episodes start at different steps in different environments.
#
# ## The whole trajectory at once
#
# `Reset` is a cell around the policy that resets the state within a row. Its inputs are
# `ResetInputs`: the starts, and the inputs of the policy. The time axis of the trajectory comes
# first, so pass `time_major=True`. The next cell compares the logits and the final state with those
# of the single steps.

# %%
learner = seqjax.Reset(policy)  # has the parameters of the policy


def replay(params):
    """Run over the whole trajectory: the final state, and the logits [T, B, 2]."""
    return seqjax.unroll(
        learner, params, seqjax.wrappers.ResetInputs(starts, seen), time_major=True
    )


final, replayed = replay(params)
differences = {
    "logits": jnp.abs(replayed - logits).max(),
    "final state": jnp.abs(final.h - state.h).max(),
}
for name, difference in differences.items():
    print(f"{name:12} differ by at most {difference:.0e}")
    assert difference < 1e-6

# %% [markdown]
# They are equal up to rounding.
#
# Without the starts, the state of an episode leaks into the next one. The next cell runs the policy
# without `Reset`, and finds the first step at which its logits differ.

# %%
_, leaking = seqjax.unroll(policy, params, seen, time_major=True)
differs = (jnp.abs(leaking - logits) > 1e-6).any(-1)  # [T, B]
second = jnp.argmax(starts.at[0].set(False), axis=0)  # the step where each row's second one starts
print("second episodes start at steps ", second)
print("and outputs are wrong from steps", jnp.argmax(differs, axis=0))
assert (second == jnp.argmax(differs, axis=0)).all()

# %% [markdown]
# In every environment, the outputs are wrong from the start of the second episode.
#
# ## A policy gradient
#
# The policy gradient multiplies the log probability of each action by the sum of the rewards from
# this step to the end of the episode. Errors flow back within an episode and stop at its start. The
# next cell computes the loss and the gradient.


# %%
@jax.jit
def rewards_to_come(starts, rewards):
    """The sum of rewards from each step to the end of its episode, [T, B]."""
    ends = jnp.concatenate([starts[1:], jnp.ones((1, B), bool)])

    def add(after, step):
        end, reward = step
        total = reward + jnp.where(end, 0, after)
        return total, total

    return jax.lax.scan(add, jnp.zeros(B, jnp.float32), (ends, rewards), reverse=True)[1]


def loss(params):
    _, logits = replay(params)
    cost = optax.softmax_cross_entropy_with_integer_labels(logits, actions)
    return (cost * rewards_to_come(starts, rewards)).mean()


value, gradient = jax.jit(jax.value_and_grad(loss))(params)
print(f"loss {value:.4f}")
for path, leaf in jax.tree.leaves_with_path(gradient):
    print(f"{jax.tree_util.keystr(path):24} {leaf.shape!s:10} norm {jnp.linalg.norm(leaf):.4f}")

# %% [markdown]
# The output lists the norm of the gradient for each parameter.
