"""Train a stylizer with PyTorch: photos in, a checkpoint (safetensors with its dimensions) out."""
