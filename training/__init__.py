"""PyTorch: photos in, checkpoint (safetensors with its dimensions) out."""
