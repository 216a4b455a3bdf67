"""aeseg: how much does pretraining an autoencoder on unlabelled images improve a segmentation model?"""
