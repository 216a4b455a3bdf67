"""Networks: encoders (image -> Pyramid), decoders (Pyramid -> image), heads (Pyramid -> logits)."""
