"""Networks: encoders give a Pyramid, decoders an image, heads logits."""
