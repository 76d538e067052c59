"""What all tests share: one thread each, so that tests side by side do not wait on each other."""

import torch

torch.set_num_threads(1)
