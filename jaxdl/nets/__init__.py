"""Pure Flax modules: arrays in, tensors or distribution parameters out.

Each net ends in a float32 layer, so that logits are float32 also where the rest computes in bfloat16.
"""
