"""The networks that MPP is compared with: a Fourier neural operator, and a U-Net."""
