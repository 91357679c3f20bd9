"""PPO balances a pole: stable-baselines3."""

import gymnasium
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback


class Follow(BaseCallback):
    def _on_step(self):
        return True

    def _on_rollout_start(self):
        values = self.logger.name_to_value
        print(self.num_timesteps, *(f"{k} {values[k]:.6f}" for k in sorted(values) if k.startswith("train/")))


environment = gymnasium.make("CartPole-v1")
model = PPO("MlpPolicy", environment, n_steps=128, batch_size=64, n_epochs=2, seed=0, device="cuda")
model.learn(512, callback=Follow())
print("weights", sum(p.detach().double().abs().sum().item() for p in model.policy.parameters()))
print("device", "cuda" if model.policy.device.type == torch.device("cuda").type else "another")
