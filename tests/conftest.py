"""What all tests share."""

from __future__ import annotations

import torch

# Small tensors: a second thread costs more than it gives, above all beside other processes.
torch.set_num_threads(1)
