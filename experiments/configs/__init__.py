"""Configs of `pretrain` and `segment`, one file each."""
