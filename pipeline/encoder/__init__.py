"""The networks: their definition, training, weights on disk, and how a server calls them. The only user of torch.

Training needs nothing but torch, NumPy, Pillow, safetensors and rich, so it runs on a bare GPU machine.
"""
